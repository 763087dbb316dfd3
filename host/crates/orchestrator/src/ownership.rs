//! Who has which real thing outside.
//!
//! A definition's `identity` names the thing that a resource is. Whoever
//! brings it about owns it: a document under the digest of the identity,
//! written under a guard before anything is done to it, and taken away once
//! the resource is gone. Only the owner's driver lets go, between two runs, so
//! no batch of a run can fail for it.
//!
//! Who waits for a thing stands in the owner's document: letting go and
//! queueing up guard on the same bytes, so nobody is overlooked. What waits
//! has no task and no timer; what it was asked to do stays on the list of what
//! is to be done, and so a crash loses no wake-up.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use nestor_core::identity::{Belongs, Known};
use nestor_core::ids::{DeploymentId, ResourceName};
use nestor_core::planner::resolve_config;
use nestor_core::ports::{Batch, Guard, StoreError};
use nestor_core::spec::{DeploymentSpec, OnConflict};
use nestor_core::violation::{Violation, ViolationCode};

use crate::context::Context;
use crate::driver::{Driver, Guarded, Stop};
use crate::expiry;
use crate::gate::{Intent, restore};
use crate::lookup::outputs_unknown;
use crate::records::{DeploymentRecord, Request, ResourceRecord, RevisionRecord, encode, key};
use crate::scheduler::wake;
use crate::view::{DeploymentStatus, Phase};

/// Deployments that wait for one thing. More is a mistake of somebody's.
pub(crate) const MAX_WAITERS: usize = 64;
/// Deployments of which each waits for the next; whoever would be one more is
/// refused, because nobody can tell any more whether it closes a circle.
const MAX_CHAIN: usize = 64;
/// Tries against others who want the same things; each lost one means that
/// another got something.
const ATTEMPTS: usize = 64;

/// Who has a thing. Guarded on by whoever changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnerRecord {
    pub(crate) identity: String,
    pub(crate) deployment: DeploymentId,
    pub(crate) resource: ResourceName,
    /// Those that are told when it is free, in the order in which they came.
    #[serde(default)]
    pub(crate) waiters: Vec<DeploymentId>,
}

/// The same from the owner's side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HoldRecord {
    pub(crate) identity: String,
    pub(crate) resource: ResourceName,
}

/// What a deployment waits for, while it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockRecord {
    pub(crate) identity: String,
    /// Its own resource.
    pub(crate) resource: ResourceName,
    pub(crate) owner: DeploymentId,
    pub(crate) owned: ResourceName,
}

impl BlockRecord {
    pub(crate) fn reason(&self) -> String {
        format!(
            "{} is the same real thing ({:?}) as resource {} of deployment {}; it waits until that one lets go",
            self.resource, self.identity, self.owned, self.owner
        )
    }
}

/// What came of wanting things.
enum Owned {
    /// All are this deployment's.
    All,
    /// One is somebody else's, for good.
    Refused(String),
    /// Written down that it waits.
    Waits,
    /// It would wait, and somebody has asked for something else meanwhile.
    GivenUp,
}

/// How it goes on with a revision.
pub(crate) enum Next {
    Begin,
    /// The request is dealt with.
    Over,
    Refused(String),
}

/// The identities of a revision that are known before it runs.
fn wanted(intent: &Intent) -> Vec<(String, ResourceName)> {
    let (spec, plan) = (&intent.revision.spec, &intent.revision.plan);
    let in_part = |name: &ResourceName| {
        let part = intent.part.as_ref();
        part.is_none_or(|part| part.contains(name))
    };
    let resources = plan.resources.iter().filter(|r| in_part(&r.name));
    let known = resources.filter_map(|resource| {
        let identity = resource.relations.identity.as_ref()?;
        let revision = intent.revision.revision;
        let mut lookup = |reference: &_| outputs_unknown(spec, revision, plan, reference);
        let resolved = resolve_config(&resource.config, &mut lookup).ok()?;
        match identity.of(Belongs::of(spec), &resolved.config) {
            Known::Whole(identity) => Some((identity, resource.name.clone())),
            Known::NotYet | Known::Never { .. } => None,
        }
    });
    known.collect()
}

/// Things of a deployment that others have, as far as that is known now.
pub(crate) async fn taken(
    context: &Context,
    spec: &DeploymentSpec,
    plan: &nestor_core::planner::ExecutionPlan,
) -> Result<Vec<Violation>, StoreError> {
    let mut violations = Vec::new();
    if spec.strategy.on_conflict != OnConflict::Fail {
        return Ok(violations);
    }
    for resource in &plan.resources {
        let Some(identity) = resource.relations.identity.as_ref() else {
            continue;
        };
        let mut lookup = |reference: &_| outputs_unknown(spec, 1, plan, reference);
        let Ok(resolved) = resolve_config(&resource.config, &mut lookup) else {
            continue;
        };
        let Known::Whole(identity) = identity.of(Belongs::of(spec), &resolved.config) else {
            continue;
        };
        let owner = context.read::<OwnerRecord>(&key::owner(&identity)).await?;
        if let Some(owner) = owner.filter(|owner| owner.deployment != spec.id) {
            let place = spec.resources.iter().position(|r| r.name == resource.name);
            violations.push(Violation::new(
                ViolationCode::SameThing,
                format!("/resources/{}", place.unwrap_or_default()),
                has_it(&resource.name, &owner),
            ));
        }
    }
    Ok(violations)
}

fn has_it(resource: &ResourceName, owner: &OwnerRecord) -> String {
    format!(
        "resource {resource} is the same real thing ({:?}) as resource {} of deployment {}, which has it; \
         delete that one, or wait for it with \"strategy\": {{\"onConflict\": \"queue\"}}",
        owner.identity, owner.resource, owner.deployment
    )
}

impl Driver {
    /// Makes the things of a revision this deployment's before it begins.
    pub(crate) async fn own(&mut self, request: Request, intent: &Intent) -> Result<Next, Stop> {
        let wanted = wanted(intent);
        if wanted.is_empty() && !self.status.blocked {
            return Ok(Next::Begin);
        }
        for _ in 0..ATTEMPTS {
            match self.try_to_own(&wanted, intent).await {
                Ok(Owned::All) => return Ok(Next::Begin),
                Ok(Owned::Refused(reason)) => return Ok(Next::Refused(reason)),
                Ok(Owned::Waits) => return Err(Stop::Blocked),
                Ok(Owned::GivenUp) => {
                    self.stop_waiting(request, intent.revision.revision).await?;
                    return Ok(Next::Over);
                }
                // Somebody else was faster: look again.
                Err(Guarded::Changed) => {}
                Err(Guarded::Stop(stop)) => return Err(stop),
            }
        }
        Ok(Next::Refused(
            "too many deployments want the same things at once; retry".into(),
        ))
    }

    async fn try_to_own(
        &mut self,
        wanted: &[(String, ResourceName)],
        intent: &Intent,
    ) -> Result<Owned, Guarded> {
        let mut batch = Batch::new();
        let mut changes = false;
        for (identity, resource) in wanted {
            let at = key::owner(identity);
            let owner = self
                .context
                .read_raw::<OwnerRecord>(&at)
                .await
                .map_err(stopped)?;
            let mut waiters = Vec::new();
            match owner {
                None => {
                    batch.guard(Guard::Absent(at.clone()));
                }
                Some((owner, _)) if owner.deployment == self.id && &owner.resource == resource => {
                    continue;
                }
                Some((owner, raw)) if owner.deployment == self.id => {
                    if intent.resources.iter().any(|r| r.name == owner.resource) {
                        return Ok(Owned::Refused(format!(
                            "resource {resource} is the same real thing ({identity:?}) as resource {}, which is deployed under that name; keep the name, or take it away first",
                            owner.resource
                        )));
                    }
                    batch.guard(Guard::Equals(at.clone(), raw));
                    waiters = owner.waiters;
                }
                Some((owner, raw)) => {
                    return match intent.revision.spec.strategy.on_conflict {
                        OnConflict::Fail => Ok(Owned::Refused(has_it(resource, &owner))),
                        OnConflict::Queue => self.queue_up(resource, owner, raw, intent).await,
                        OnConflict::Adopt => Ok(Owned::Refused(format!(
                            "{}; taking it over is not offered by this version",
                            has_it(resource, &owner)
                        ))),
                    };
                }
            }
            changes = true;
            let mine = OwnerRecord {
                identity: identity.clone(),
                deployment: self.id.clone(),
                resource: resource.clone(),
                waiters,
            };
            batch.put(at, encode(&mine));
            self.hold(&mut batch, identity, resource);
        }
        if !changes && !self.status.blocked {
            return Ok(Owned::All);
        }
        batch.delete(key::blocked(&self.id));
        let before = (self.status.holds, self.status.blocked);
        self.status.holds |= changes;
        self.status.blocked = false;
        batch.put(key::status(&self.id), encode(&self.status));
        match self.commit(batch).await {
            Ok(()) => Ok(Owned::All),
            Err(failed) => {
                (self.status.holds, self.status.blocked) = before;
                Err(failed)
            }
        }
    }

    fn hold(&self, batch: &mut Batch, identity: &str, resource: &ResourceName) {
        let hold = HoldRecord {
            identity: identity.to_owned(),
            resource: resource.clone(),
        };
        batch.put(key::hold(&self.id, identity), encode(&hold));
    }

    /// Waits for a thing, unless its owner waits, in the end, for this
    /// deployment. Guards on all that was looked at: of two that would close a
    /// circle at once, one looks again.
    async fn queue_up(
        &mut self,
        resource: &ResourceName,
        mut owner: OwnerRecord,
        raw: nestor_core::ports::Bytes,
        intent: &Intent,
    ) -> Result<Owned, Guarded> {
        let record = self
            .context
            .read::<DeploymentRecord>(&key::deployment(&self.id))
            .await
            .map_err(stopped)?;
        if record.is_some_and(|record| gives_up(&record)) {
            return Ok(Owned::GivenUp);
        }
        let mut batch = Batch::new();
        let mut path = vec![self.id.clone(), owner.deployment.clone()];
        loop {
            let last = &path[path.len() - 1];
            if last == &self.id {
                let path: Vec<String> = path.iter().map(ToString::to_string).collect();
                return Ok(Owned::Refused(format!(
                    "resource {resource} would wait for {:?}, and in the end for itself: {}; delete one of these deployments, or take the thing out of it",
                    owner.identity,
                    path.join(" → ")
                )));
            }
            if path.len() > MAX_CHAIN {
                return Ok(Owned::Refused(format!(
                    "resource {resource} would wait for {:?} behind more than {MAX_CHAIN} deployments of which each waits for the next",
                    owner.identity
                )));
            }
            let at = key::blocked(last);
            match self
                .context
                .read_raw::<BlockRecord>(&at)
                .await
                .map_err(stopped)?
            {
                None => {
                    batch.guard(Guard::Absent(at));
                    break;
                }
                Some((block, raw)) => {
                    batch.guard(Guard::Equals(at, raw));
                    path.push(block.owner);
                }
            }
        }
        let block = BlockRecord {
            identity: owner.identity.clone(),
            resource: resource.clone(),
            owner: owner.deployment.clone(),
            owned: owner.resource.clone(),
        };
        let at = key::owner(&owner.identity);
        batch.guard(Guard::Equals(at.clone(), raw));
        if !owner.waiters.contains(&self.id) {
            if owner.waiters.len() >= MAX_WAITERS {
                return Ok(Owned::Refused(format!(
                    "{MAX_WAITERS} deployments wait for {:?} already",
                    owner.identity
                )));
            }
            owner.waiters.push(self.id.clone());
            batch.put(at, encode(&owner));
        }
        let known = self
            .context
            .read::<BlockRecord>(&key::blocked(&self.id))
            .await
            .map_err(stopped)?;
        let before = self.status.clone();
        let number = intent.revision.revision;
        let mut told = None;
        if known.as_ref() != Some(&block) || !self.status.blocked {
            let reason = block.reason();
            self.status.keep_before();
            self.status.blocked = true;
            batch.put(key::blocked(&self.id), encode(&block));
            let mut event = self.event("waiting", number, Some(resource), reason.clone());
            event.status = Some(DeploymentStatus::Pending);
            event.data = serde_json::json!({
                "identity": block.identity,
                "blockedBy": { "deployment": block.owner, "resource": block.owned },
            });
            self.record_event(&mut batch, event.clone());
            self.status.progress = 0;
            self.set_status(
                &mut batch,
                DeploymentStatus::Pending,
                Phase::Queued,
                number,
                Some(reason),
            );
            told = Some(event);
        }
        self.give_up(&mut batch);
        match self.commit(batch).await {
            Ok(()) => {
                if let Some(event) = told {
                    self.context.publish(&self.id, event);
                }
                Ok(Owned::Waits)
            }
            Err(failed) => {
                self.status = before;
                Err(failed)
            }
        }
    }

    /// Somebody does not want it any more: all is as it was before.
    async fn stop_waiting(&mut self, request: Request, revision: u64) -> Result<(), Stop> {
        let message = format!(
            "revision {revision} was not begun, because the deployment was cancelled or deleted while it waited"
        );
        restore(&mut self.status, revision, &message);
        self.status.blocked = false;
        let mut event = self.event("cancelled", revision, None, message);
        event.status = Some(self.status.status);
        let record_key = key::deployment(&self.id);
        loop {
            let mut batch = Batch::new();
            if let Some((mut record, raw)) = self
                .context
                .read_raw::<DeploymentRecord>(&record_key)
                .await?
            {
                // Both at once: alone, the cancellation would mean what was
                // there before.
                for gone in [request, Request::Cancel] {
                    if let Some(place) = record.inbox.iter().position(|r| *r == gone) {
                        record.inbox.remove(place);
                    }
                }
                batch
                    .guard(Guard::Equals(record_key.clone(), raw))
                    .put(record_key.clone(), encode(&record));
            }
            batch.put(key::outcome(&self.id, revision), encode(&"cancelled"));
            batch.delete(key::blocked(&self.id));
            self.status.updated_at = self.context.now();
            batch.put(key::status(&self.id), encode(&self.status));
            self.record_event(&mut batch, event.clone());
            match self.commit(batch).await {
                Ok(()) => break,
                Err(Guarded::Changed) => {}
                Err(Guarded::Stop(stop)) => return Err(stop),
            }
        }
        self.context.publish(&self.id, event);
        Ok(())
    }

    /// Lets go of every thing that no resource is any more, and rings those
    /// that wait for it. Called between runs.
    pub(crate) async fn let_go(&mut self, record: &DeploymentRecord) -> Result<(), Stop> {
        let goes_on = self.status.active || self.status.gate.is_some();
        let halted = match self.status.status {
            DeploymentStatus::Stuck => true,
            DeploymentStatus::Failed => self.status.run.is_some(),
            DeploymentStatus::Pending
            | DeploymentStatus::InProgress
            | DeploymentStatus::AwaitingApproval
            | DeploymentStatus::Ready
            | DeploymentStatus::Cancelling
            | DeploymentStatus::RollingBack
            | DeploymentStatus::RolledBack
            | DeploymentStatus::Cancelled
            | DeploymentStatus::Deleting
            | DeploymentStatus::Deleted => false,
        };
        if !self.status.holds || goes_on || halted {
            return Ok(());
        }
        let holds = self
            .context
            .read_all::<HoldRecord>(&key::holds(&self.id))
            .await?;
        let still: HashMap<String, ResourceName> = self
            .resources()
            .await?
            .into_iter()
            .filter_map(|resource| Some((identity(record, &resource)?, resource.name)))
            .collect();
        let mut woken = Vec::new();
        loop {
            let mut batch = Batch::new();
            let mut left = 0;
            woken.clear();
            for (at, hold) in &holds {
                if still.get(&hold.identity) == Some(&hold.resource) {
                    left += 1;
                    continue;
                }
                batch.delete(at.clone());
                let owner_key = key::owner(&hold.identity);
                if let Some((owner, raw)) = self.context.read_raw::<OwnerRecord>(&owner_key).await?
                    && owner.deployment == self.id
                    && owner.resource == hold.resource
                {
                    batch
                        .guard(Guard::Equals(owner_key.clone(), raw))
                        .delete(owner_key);
                    woken.extend(owner.waiters);
                }
            }
            if left == holds.len() && left > 0 {
                return Ok(());
            }
            self.status.holds = left > 0;
            batch.put(key::status(&self.id), encode(&self.status));
            match self.commit(batch).await {
                Ok(()) => break,
                Err(Guarded::Changed) => {}
                Err(Guarded::Stop(stop)) => return Err(stop),
            }
        }
        for waiter in woken {
            let record = self
                .context
                .read::<DeploymentRecord>(&key::deployment(&waiter))
                .await?;
            if let Some(record) = record {
                wake(&self.context, &waiter, &record.ticket());
            }
        }
        Ok(())
    }

    /// Makes a thing this deployment's whose identity is known only now, right
    /// before the intent to work on it is written. An error is for people.
    pub(crate) async fn own_now(
        &mut self,
        revision: &RevisionRecord,
        resource: &ResourceName,
        config: &serde_json::Value,
        identity: &nestor_core::identity::Identity,
        stands: impl Fn(&ResourceName) -> bool,
    ) -> Result<Result<(), String>, Stop> {
        let identity = match identity.of(Belongs::of(&revision.spec), config) {
            Known::Whole(identity) => identity,
            Known::NotYet => return Ok(Err("its identity is not known".into())),
            Known::Never { pointer, problem } => {
                return Ok(Err(format!("config{pointer}: {problem}")));
            }
        };
        let at = key::owner(&identity);
        for _ in 0..ATTEMPTS {
            let mut batch = Batch::new();
            let mut waiters = Vec::new();
            match self.context.read_raw::<OwnerRecord>(&at).await? {
                None => {
                    batch.guard(Guard::Absent(at.clone()));
                }
                Some((owner, _)) if owner.deployment == self.id && &owner.resource == resource => {
                    return Ok(Ok(()));
                }
                Some((owner, raw)) if owner.deployment == self.id && !stands(&owner.resource) => {
                    batch.guard(Guard::Equals(at.clone(), raw));
                    waiters = owner.waiters;
                }
                Some((owner, _)) => return Ok(Err(has_it(resource, &owner))),
            }
            let mine = OwnerRecord {
                identity: identity.clone(),
                deployment: self.id.clone(),
                resource: resource.clone(),
                waiters,
            };
            batch.put(at.clone(), encode(&mine));
            self.hold(&mut batch, &identity, resource);
            self.status.holds = true;
            batch.put(key::status(&self.id), encode(&self.status));
            match self.commit(batch).await {
                Ok(()) => return Ok(Ok(())),
                Err(Guarded::Changed) => {}
                Err(Guarded::Stop(stop)) => return Err(stop),
            }
        }
        Ok(Err(
            "too many deployments want the same thing at once".into()
        ))
    }
}

/// Whether somebody does not want what waits any more.
fn gives_up(record: &DeploymentRecord) -> bool {
    record.inbox.iter().any(|request| match request {
        Request::Cancel | Request::Delete => true,
        Request::Expire { .. } => expiry::is_over(record),
        Request::Apply { .. }
        | Request::Approve
        | Request::Retry
        | Request::Expiring { .. }
        | Request::CheckDrift { .. } => false,
    })
}

fn stopped(error: StoreError) -> Guarded {
    Guarded::Stop(Stop::Store(error))
}

/// The identity of a resource as it is deployed.
pub(crate) fn identity(record: &DeploymentRecord, resource: &ResourceRecord) -> Option<String> {
    let belongs = Belongs {
        environment: &record.environment,
        deployment: &record.id,
        composer: &record.composer,
    };
    match resource
        .relations
        .identity
        .as_ref()?
        .of(belongs, &resource.config)
    {
        Known::Whole(identity) => Some(identity),
        Known::NotYet | Known::Never { .. } => None,
    }
}
