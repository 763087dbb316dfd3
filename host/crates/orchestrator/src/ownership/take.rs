//! Taking things over: one batch, after which they are this deployment's and
//! the former owner's no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use nestor_core::engine::{Action, EngineError};
use nestor_core::execution::mutation::{Mutation, active};
use nestor_core::ids::{DeploymentId, Digest, EnvironmentName, ResourceName};
use nestor_core::planner::{Resolved, resolve_config};
use nestor_core::ports::{Batch, Guard};
use nestor_core::webhook::About;

use super::adopt::{Adoption, Former, Looked, Wanting, look};
use super::handed::HandoverRecord;
use super::{HoldRecord, OwnerRecord};
use crate::driver::{Driver, Guarded, Stop};
use crate::foresee::{Question, Unasked};
use crate::gate::Intent;
use crate::keep;
use crate::lookup::outputs_unknown;
use crate::mask::Secrets;
use crate::neighbours;
use crate::records::{ResourceRecord, RevisionRecord, encode, key};
use crate::scope::Compared;
use crate::surroundings::rfc3339;
use crate::view::EventView;

/// How long to ask an engine that is being prepared or fails for now, whether
/// it can go on with what another deployment recorded.
const ASK_MS: u64 = 600_000;

/// Why nothing was taken over.
pub(crate) enum Untaken {
    /// Something changed since it was looked at.
    Moved,
    /// It cannot be done; for people.
    Refused(String),
}

/// What came of taking over.
pub(super) enum Taken {
    /// They are this deployment's. With events that are durable and were not
    /// told yet.
    Yes(Vec<EventView>),
    No(Untaken),
}

impl Driver {
    /// Before a run: takes over all that it was planned with.
    pub(crate) async fn take_all(&mut self, intent: &Intent) -> Result<Result<(), Untaken>, Stop> {
        let revision = Arc::clone(&intent.revision);
        match self.take_over(&revision, &intent.taking, None).await? {
            Taken::Yes(told) => {
                for event in told {
                    self.context.publish(&self.id, event);
                }
                Ok(Ok(()))
            }
            Taken::No(why) => Ok(Err(why)),
        }
    }

    /// Takes over exactly what was looked at, or nothing. `config` is that of
    /// the one resource which is taken over in its run.
    pub(super) async fn take_over(
        &mut self,
        revision: &RevisionRecord,
        expected: &[Adoption],
        config: Option<&Resolved>,
    ) -> Result<Taken, Stop> {
        if expected.is_empty() {
            return Ok(Taken::Yes(Vec::new()));
        }
        let things: Vec<(String, ResourceName)> = expected
            .iter()
            .map(|a| (a.identity.clone(), a.resource.clone()))
            .collect();
        let deployed = self.resources().await?;
        let wanting = Wanting {
            spec: &revision.spec,
            plan: &revision.plan,
            deployed: &deployed,
        };
        let looked = look(&self.context, wanting, &things).await?;
        if let Some((_, reason)) = looked.refused.into_iter().next() {
            return Ok(Taken::No(Untaken::Refused(reason)));
        }
        let same = looked.unsettled.is_empty()
            && looked.adoptions.len() == expected.len()
            && expected
                .iter()
                .all(|e| looked.adoptions.iter().any(|a| a.is(e)));
        if !same {
            return Ok(Taken::No(Untaken::Moved));
        }
        for adoption in &looked.adoptions {
            if let Err(reason) = self.goes_on(revision, adoption, config).await? {
                return Ok(Taken::No(Untaken::Refused(reason)));
            }
        }
        let Looked {
            adoptions, formers, ..
        } = looked;
        self.take(revision.revision, adoptions, formers).await
    }

    /// Whether the engine can go on with what it recorded for another
    /// deployment: it is asked what it would do.
    async fn goes_on(
        &self,
        revision: &RevisionRecord,
        adoption: &Adoption,
        config: Option<&Resolved>,
    ) -> Result<Result<(), String>, Stop> {
        let plan = &revision.plan;
        let planned = plan.resources.iter().find(|p| p.name == adoption.resource);
        let Some(planned) = planned else {
            return Ok(Ok(()));
        };
        let mut lookup =
            |reference: &_| outputs_unknown(&revision.spec, revision.revision, plan, reference);
        let resolved = match config {
            Some(config) => config.clone(),
            None => match resolve_config(&planned.config, &mut lookup) {
                Ok(resolved) => resolved,
                // Told where it is decided on.
                Err(_) => return Ok(Ok(())),
            },
        };
        let question = Question {
            context: &self.context,
            compared: Compared {
                spec: &revision.spec,
                revision: revision.revision,
                plan,
                deployed: &[],
            },
            part: None,
            taking: &[],
            homes: &self.homes,
            traceparent: revision.traceparent.as_deref(),
            worker: Some(self.lease.worker()),
        };
        // It is asked also when the config is the same.
        let current = ResourceRecord {
            applied: Some(Digest::of(b"")),
            ..adoption.record.clone()
        };
        let mut secrets = Secrets::of(&current.outputs);
        secrets.put_into(&resolved);
        let secrets = Arc::new(secrets);
        let cannot = |why: String| {
            format!(
                "resource {} cannot be taken over from {}: {why}",
                adoption.resource,
                adoption.origin()
            )
        };
        let give_up = self.context.now().plus_millis(ASK_MS);
        loop {
            let asked = tokio::select! {
                asked = question.one(planned, &resolved, Some(&current), &secrets) => asked,
                () = self.context.shutdown.cancelled() => return Err(Stop::Shutdown),
            };
            let wait = match asked {
                Ok(proposed) if proposed.action == Action::Create => {
                    return Ok(Err(cannot(format!(
                        "engine {} does not find it with what it recorded there",
                        planned.engine
                    ))));
                }
                Ok(_) => return Ok(Ok(())),
                Err(Unasked::Stale) => return Err(Stop::Fenced),
                Err(Unasked::Engine(EngineError::Transient { retry_after, .. })) => {
                    retry_after.unwrap_or(std::time::Duration::from_secs(1))
                }
                Err(Unasked::Engine(EngineError::Unavailable {
                    retry_after: Some(wait),
                    ..
                })) => wait,
                Err(Unasked::Engine(error)) => return Ok(Err(cannot(error.to_string()))),
            };
            let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            let at = self.context.now().plus_millis(millis);
            if at > give_up {
                return Ok(Err(cannot(format!(
                    "engine {} does not answer",
                    planned.engine
                ))));
            }
            tokio::select! {
                () = self.context.surroundings.sleep_until(at) => {}
                () = self.context.shutdown.cancelled() => return Err(Stop::Shutdown),
            }
        }
    }

    async fn take(
        &mut self,
        revision: u64,
        adoptions: Vec<Adoption>,
        mut formers: BTreeMap<DeploymentId, Former>,
    ) -> Result<Taken, Stop> {
        let before = self.status.clone();
        let mut batch = Batch::new();
        let (mut mine, mut told, mut woken) = (Vec::new(), Vec::new(), Vec::new());
        let things: Vec<ResourceName> = adoptions.iter().map(|a| a.resource.clone()).collect();
        for adoption in adoptions {
            let Some(former) = formers.get_mut(&adoption.from) else {
                continue;
            };
            let environment = former.record.0.environment.clone();
            mine.push(self.adopted(&mut batch, revision, &environment, &adoption));
            told.push((
                adoption.from.clone(),
                self.left(&mut batch, former, &adoption).await?,
            ));
            woken.extend(adoption.owner.0.waiters.iter().cloned());
        }
        for (id, former) in &mut formers {
            former.guard(id, &mut batch);
            former.status.0.handed_over = true;
            former.status.0.updated_at = self.context.now();
            batch.put(key::status(id), encode(&former.status.0));
        }
        if let Some(waits) = self.waits_with().await?
            && things.contains(&waits)
        {
            batch.delete(key::blocked(&self.id));
        }
        self.status.holds = true;
        batch.put(key::status(&self.id), encode(&self.status));
        match self.commit(batch).await {
            Ok(()) => {}
            Err(Guarded::Changed) => {
                self.status = before;
                return Ok(Taken::No(Untaken::Moved));
            }
            Err(Guarded::Stop(stop)) => return Err(stop),
        }
        for (id, event) in told {
            tracing::info!(from = %id, "took a real thing over");
            self.context.publish(&id, event);
        }
        // They wait for another deployment now, and have to know.
        woken.retain(|waiter| waiter != &self.id);
        self.wake_all(woken).await?;
        Ok(Taken::Yes(mine))
    }

    /// This side of it.
    fn adopted(
        &mut self,
        batch: &mut Batch,
        revision: u64,
        environment: &EnvironmentName,
        adoption: &Adoption,
    ) -> EventView {
        let Adoption {
            identity,
            resource,
            from,
            owned,
            record,
            owner: (owner, raw),
            ..
        } = adoption;
        let at = key::owner(identity);
        let waiters = owner.waiters.iter().filter(|w| *w != &self.id).cloned();
        let mine = OwnerRecord {
            identity: identity.clone(),
            deployment: self.id.clone(),
            resource: resource.clone(),
            waiters: waiters.collect(),
        };
        batch
            .guard(Guard::Equals(at.clone(), raw.clone()))
            .put(at, encode(&mine));
        let hold = HoldRecord {
            identity: identity.clone(),
            resource: resource.clone(),
            reserved: None,
        };
        batch.put(key::hold(&self.id, identity), encode(&hold));
        batch.put(key::resource(&self.id, resource), encode(record));
        neighbours::note(batch, environment, &self.id, None, Some(record));
        let message = format!("took over {identity:?} from resource {owned} of deployment {from}");
        let mut event = self.event("adopted", revision, Some(resource), message);
        event.data = json!({
            "identity": identity,
            "from": { "deployment": from, "resource": owned },
        });
        self.record_event(batch, event.clone());
        event
    }

    /// The former owner's side: it is left without the thing.
    async fn left(
        &self,
        batch: &mut Batch,
        former: &mut Former,
        adoption: &Adoption,
    ) -> Result<EventView, Stop> {
        let Adoption {
            identity,
            resource,
            from,
            owned,
            theirs,
            ..
        } = adoption;
        let at = key::handover(from, owned);
        let last = self.context.read::<HandoverRecord>(&at).await?;
        let given = last.map_or(0, |last| last.homes);
        let homes = match &theirs.home {
            None => given.max(1),
            Some(home) if (&home.deployment, &home.resource) == (from, owned) => {
                given.max(home.given + 1)
            }
            // It had taken it over itself, and its own home is free.
            Some(_) => given,
        };
        let status = &mut former.status.0;
        let handover = HandoverRecord {
            identity: identity.clone(),
            resource: owned.clone(),
            to: self.id.clone(),
            there: resource.clone(),
            at: self.context.now(),
            revision: status.revision,
            homes,
        };
        batch.put(at, encode(&handover));
        batch.delete(key::hold(from, identity));
        if !active(Mutation::OneOwner) {
            batch.delete(key::resource(from, owned));
        }
        let environment = &former.record.0.environment;
        neighbours::note(batch, environment, from, Some(theirs), None);
        status.events += 1;
        let event = EventView {
            id: Some(status.events),
            kind: "handed_over".into(),
            at: rfc3339(self.context.now()),
            revision: status.revision,
            resource: Some(owned.to_string()),
            status: None,
            message: handover.reason(),
            data: json!({
                "identity": identity,
                "to": { "deployment": self.id, "resource": resource },
            }),
        };
        let about = About {
            deployment: from,
            composer: &former.record.0.composer,
            environment,
        };
        keep::record_event(&self.context, batch, about, event.clone());
        Ok(event)
    }
}

impl Former {
    /// Everything that was looked at is still so.
    fn guard(&self, id: &DeploymentId, batch: &mut Batch) {
        let lease = key::lease(id);
        match &self.lease {
            // Whoever had it once, and writes late, fails.
            Some((record, raw)) => batch
                .guard(Guard::Equals(lease.clone(), raw.clone()))
                .put(lease, encode(&record.passed_on())),
            None => batch.guard(Guard::Absent(lease)),
        };
        batch
            .guard(Guard::Absent(key::todo(id)))
            .guard(Guard::Equals(key::deployment(id), self.record.1.clone()))
            .guard(Guard::Equals(key::status(id), self.status.1.clone()));
    }
}
