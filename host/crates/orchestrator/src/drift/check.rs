//! The look itself, by the deployment's driver.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use serde_json::json;

use nestor_core::definition::declared_outputs;
use nestor_core::engine::{
    Action, CallContext, EngineError, ProposedChanges, Purpose, ResourceRequest,
};
use nestor_core::environment::DriftAction;
use nestor_core::ids::Timestamp;
use nestor_core::ports::{
    Batch, EngineCall, EngineStatus, Function, NoObserver, Reply, Standing, Write,
};
use nestor_core::queue::{Class, Ticket};
use nestor_core::spec::DeliveryMode;

use super::records::{DriftAlarm, DriftRecord, ResourceDrift};
use super::view::{DeploymentDriftStatus, DriftStatus};
use super::{BUSY_AGAIN_MS, end, next, policy};
use crate::alarms::Kind;
use crate::ask::ask;
use crate::context::Context;
use crate::driver::{Driver, Stop};
use crate::foresee::Basis;
use crate::gate::Intent;
use crate::mask::{self, Secrets};
use crate::ownership::handed_over;
use crate::prepared::prepared;
use crate::records::{
    DeploymentRecord, Request, ResourceRecord, RevisionRecord, RunKind, encode, key,
};
use crate::run_loop::BYTES_PER_COMMIT;
use crate::view::{DeploymentStatus, EventView};

/// Differences of one resource that are kept; the rest is counted.
const CHANGES_KEPT: usize = 100;

/// A deployment's place among those that are looked at.
struct Place<'a>(&'a Context, &'a nestor_core::ids::DeploymentId);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        end(self.0, self.1);
    }
}

/// How looking at every resource ended.
enum Seen {
    All(Vec<ResourceDrift>),
    /// Something else was asked of the deployment.
    Interrupted,
}

impl Driver {
    /// Looks at every resource, unless something else is to do.
    pub(crate) async fn check_drift(
        &mut self,
        request: Request,
        asked: bool,
        action: DriftAction,
        record: &DeploymentRecord,
    ) -> Result<Option<Timestamp>, Stop> {
        let (context, id) = (Arc::clone(&self.context), self.id.clone());
        let room = context.looking.begin(&id);
        let _place = Place(&context, &id);
        let again = asked.then_some(action);
        if !room || record.inbox.len() > 1 || !self.is_whole() {
            return self.drop_look(request, again, record).await;
        }
        let at = context.now();
        let resources = match self.look_at_all(record).await? {
            Seen::All(resources) => resources,
            Seen::Interrupted => return self.drop_look(request, again, record).await,
        };
        let seen = DriftRecord {
            at,
            revision: self.status.revision,
            run: self.status.run,
            resources,
        };
        count(&context, record, &seen);
        self.keep_look(request, action, record, seen).await
    }

    /// Nothing is under way that a look could be mistaken about.
    fn is_whole(&self) -> bool {
        match self.status.status {
            DeploymentStatus::Ready
            | DeploymentStatus::Failed
            | DeploymentStatus::RolledBack
            | DeploymentStatus::Cancelled
            | DeploymentStatus::Stuck => !self.status.active,
            DeploymentStatus::Pending
            | DeploymentStatus::InProgress
            | DeploymentStatus::AwaitingApproval
            | DeploymentStatus::Cancelling
            | DeploymentStatus::RollingBack
            | DeploymentStatus::Deleting
            | DeploymentStatus::Deleted => false,
        }
    }

    async fn look_at_all(&self, record: &DeploymentRecord) -> Result<Seen, Stop> {
        let mut seen = Vec::new();
        let resources = self.resources().await?;
        // What is one's secret stands in the configs of others.
        let secrets = Arc::new(Secrets::of(resources.iter().flat_map(|r| &r.outputs)));
        for resource in resources {
            let found = tokio::select! {
                biased;
                () = self.context.shutdown.cancelled() => return Err(Stop::Shutdown),
                asked = self.something_else_is_asked() => {
                    asked?;
                    return Ok(Seen::Interrupted);
                }
                found = self.look_at_one(record, &resource, &secrets) => found?,
            };
            seen.push(found);
        }
        Ok(Seen::All(seen))
    }

    /// Looks at one resource. Dropped at any moment, as what is asked for goes
    /// first: the engine's work ends with that.
    async fn look_at_one(
        &self,
        record: &DeploymentRecord,
        resource: &ResourceRecord,
        secrets: &Arc<Secrets>,
    ) -> Result<ResourceDrift, Stop> {
        // What cannot be looked at now can be in a moment.
        prepared(&self.context, &resource.engine).await;
        if let Some(found) = cannot_tell(&self.context, resource) {
            return Ok(found);
        }
        let ticket = Ticket {
            composer: record.composer.clone(),
            environment: record.environment.clone(),
            engine: Some(resource.engine.clone()),
            priority: record.priority,
            class: Class::Background,
        };
        loop {
            let slot = self.context.slots.acquire(&ticket).await;
            // A worker whose leases ran out must begin nothing.
            let held = self.lease.worker();
            if !self.context.worker.alive_as(held, self.context.now()) {
                return Err(Stop::Fenced);
            }
            let call = self.drift_call(record, resource);
            let call = ask(&self.context, call, Arc::clone(secrets));
            let answer = tokio::select! {
                biased;
                answer = AssertUnwindSafe(call).catch_unwind() => answer,
                // Work needs the place: the look begins anew when there is room.
                () = slot.wanted() => continue,
            };
            let answer = answer.unwrap_or_else(|_| {
                Err(EngineError::Trapped(
                    "the host failed during the call; its log has more".into(),
                ))
            });
            return Ok(judge(resource, answer, secrets));
        }
    }

    /// Returns once something else is asked of the deployment.
    async fn something_else_is_asked(&self) -> Result<(), Stop> {
        while !self.something_else_waits().await? {
            self.handle.bell.notified().await;
        }
        Ok(())
    }

    async fn something_else_waits(&self) -> Result<bool, Stop> {
        let record = self
            .context
            .read::<DeploymentRecord>(&key::deployment(&self.id))
            .await?;
        Ok(record.is_some_and(|r| r.inbox.len() > 1))
    }

    fn drift_call(&self, record: &DeploymentRecord, resource: &ResourceRecord) -> EngineCall {
        EngineCall {
            engine: resource.engine.clone(),
            digest: None,
            function: Function::Drift,
            context: CallContext {
                operation_id: format!(
                    "{}/drift/{}/{}",
                    self.id,
                    self.context.now().0,
                    resource.name
                ),
                purpose: Purpose::Inspect,
                deployment: self.id.clone(),
                revision: self.status.revision,
                environment: record.environment.clone(),
                composer: record.composer.clone(),
                attempt: 1,
                traceparent: None,
            },
            request: ResourceRequest {
                name: resource.name.clone(),
                catalog_ref: resource.catalog_ref.clone(),
                definition: Arc::new(resource.section.clone()),
                config: resource.config.clone(),
                declared_outputs: Arc::new(declared_outputs(&resource.declared_outputs)),
                prior: resource.prior(),
            },
            definition_folder: resource.definition_folder.clone(),
            home: resource.home.clone(),
            standing: Standing::Look,
            observer: Arc::new(NoObserver),
        }
    }

    /// The look is not made now. What somebody asked for comes again soon; the
    /// schedule's, a period later: what is asked for now changes things anyway.
    async fn drop_look(
        &mut self,
        request: Request,
        again: Option<DriftAction>,
        record: &DeploymentRecord,
    ) -> Result<Option<Timestamp>, Stop> {
        let now = self.context.now();
        let alarm = match again {
            Some(action) => Some(DriftAlarm {
                at: now.plus_millis(BUSY_AGAIN_MS),
                asked: Some(action),
            }),
            None => self.next_alarm(record),
        };
        let mut batch = Batch::new();
        let kept = self.put_alarm(&mut batch, alarm).await?;
        self.commit_taking(batch, &[request]).await?;
        if let Some(alarm) = kept {
            self.context.alarms.look(Kind::Drift, &self.id, alarm.at);
        }
        Ok(None)
    }

    /// The schedule's next look.
    fn next_alarm(&self, record: &DeploymentRecord) -> Option<DriftAlarm> {
        let policy = policy(&self.context, &record.environment)?;
        let jitter = self.context.surroundings.jitter();
        let at = next(self.context.now(), policy, jitter);
        Some(DriftAlarm { at, asked: None })
    }

    /// Writes an alarm, unless somebody asked for a look meanwhile.
    async fn put_alarm(
        &self,
        batch: &mut Batch,
        alarm: Option<DriftAlarm>,
    ) -> Result<Option<DriftAlarm>, Stop> {
        let alarm_key = key::alarm(Kind::Drift.as_str(), &self.id);
        let there = self.context.read::<DriftAlarm>(&alarm_key).await?;
        if there.is_some_and(|there| there.asked.is_some()) {
            return Ok(None);
        }
        if let Some(alarm) = &alarm {
            batch.put(alarm_key, encode(alarm));
        }
        Ok(alarm)
    }

    /// Keeps what was seen, tells what is new of it, and puts right what is to
    /// be put right.
    async fn keep_look(
        &mut self,
        request: Request,
        action: DriftAction,
        record: &DeploymentRecord,
        seen: DriftRecord,
    ) -> Result<Option<Timestamp>, Stop> {
        let before = self
            .context
            .read::<DriftRecord>(&key::drift(&self.id))
            .await?;
        let mut events = Vec::new();
        let drifted = seen.drifted().count();
        let news = before
            .as_ref()
            .map_or(drifted > 0, |b| !b.same_drift(&seen));
        if news {
            events.push(self.drift_event(&seen));
        }
        let remediates = drifted > 0
            && action == DriftAction::Remediate
            && self.status.status == DeploymentStatus::Ready;
        let mut batch = Batch::new();
        let mut resources = self.resources().await?;
        let names: Vec<_> = seen.drifted().map(|r| r.name.clone()).collect();
        if remediates {
            for resource in resources.iter_mut().filter(|r| names.contains(&r.name)) {
                resource.drifted = true;
                batch.put(key::resource(&self.id, &resource.name), encode(resource));
                // Whoever looks again after a crash marks them again.
                if batch.writes.iter().map(Write::bytes).sum::<usize>() >= BYTES_PER_COMMIT {
                    self.commit(std::mem::take(&mut batch)).await?;
                }
            }
        }
        let alarm = self.next_alarm(record);
        let alarm = self.put_alarm(&mut batch, alarm).await?;
        batch.put(key::drift(&self.id), encode(&seen));
        if remediates {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            let message = format!("applying again what drifted: {}", names.join(", "));
            let mut event = self.event("remediating", seen.revision, None, message);
            event.data = json!({ "resources": names });
            events.push(event);
        }
        for event in &events {
            self.record_event(&mut batch, event.clone());
        }
        batch.put(key::status(&self.id), encode(&self.status));
        // With the request still there: a host that dies now looks again.
        if remediates {
            self.commit(batch).await?;
        } else {
            self.commit_taking(batch, &[request]).await?;
        }
        for event in events {
            self.context.publish(&self.id, event);
        }
        if let Some(alarm) = alarm {
            self.context.alarms.look(Kind::Drift, &self.id, alarm.at);
        }
        if remediates {
            return self.remediate(request, resources).await;
        }
        Ok(None)
    }

    fn drift_event(&mut self, seen: &DriftRecord) -> EventView {
        let names: Vec<String> = seen.drifted().map(|r| r.name.to_string()).collect();
        let (kind, message) = if names.is_empty() {
            let message = "everything is as it was applied again".to_owned();
            ("in_sync", message)
        } else {
            (
                "drifted",
                format!("not as it was applied: {}", names.join(", ")),
            )
        };
        let mut event = self.event(kind, seen.revision, None, message);
        event.data = json!({ "resources": names });
        event
    }

    /// Applies the current revision again, unless something else waits: the
    /// marked resources are not skipped by whatever run comes next.
    async fn remediate(
        &mut self,
        request: Request,
        resources: Vec<ResourceRecord>,
    ) -> Result<Option<Timestamp>, Stop> {
        let revision = self
            .context
            .read::<RevisionRecord>(&key::revision(&self.id, self.status.revision))
            .await?;
        let Some(revision) = revision else {
            return self.finish_request(request, Vec::new()).await;
        };
        if self.something_else_waits().await? {
            return self.finish_request(request, Vec::new()).await;
        }
        // What the last run was told to leave alone, this leaves alone.
        let mut left_out = self.status.left_out.clone();
        // And what others have by now.
        let handed = handed_over(&self.context, &self.id, Some(&self.status)).await?;
        let gone = handed.iter().map(|h| h.resource.to_string());
        left_out.extend(gone.filter(|gone| resources.iter().all(|r| r.name.as_str() != gone)));
        let whole = left_out.is_empty();
        let drifted = resources.iter().filter(|r| r.drifted);
        let part = (!whole).then(|| {
            let name = |r: &ResourceRecord| r.name.clone();
            drifted
                .map(name)
                .filter(|n| !left_out.contains(&n.to_string()))
                .collect()
        });
        let intent = Intent {
            kind: RunKind::Apply,
            revision: Arc::new(revision),
            resources,
            part,
            taking: Vec::new(),
            basis: Basis::new(),
        };
        self.start_run(request, intent, Batch::new()).await
    }
}

fn found(resource: &ResourceRecord, status: DriftStatus, reason: Option<String>) -> ResourceDrift {
    ResourceDrift {
        name: resource.name.clone(),
        engine: resource.engine.clone(),
        status,
        reason,
        changes: Vec::new(),
        more: 0,
    }
}

/// What is known without asking the engine.
fn cannot_tell(context: &Context, resource: &ResourceRecord) -> Option<ResourceDrift> {
    let (status, reason) = if resource.delivery == DeliveryMode::Gitops {
        let reason = "delivered through Git: what applies it from there looks after it";
        (DriftStatus::Unsupported, reason.to_owned())
    } else if resource.open.is_some() {
        let reason = "its last operation did not end";
        (DriftStatus::Unknown, reason.to_owned())
    } else if resource.applied.is_none() {
        (
            DriftStatus::Unknown,
            "it was never applied whole".to_owned(),
        )
    } else {
        match context.engines.head(&resource.engine) {
            Ok(head) if head.status == EngineStatus::Ready && !head.features.drift => {
                let reason = format!("the engine {} cannot detect drift", resource.engine);
                (DriftStatus::Unsupported, reason)
            }
            Ok(_) => return None,
            Err(error) => (DriftStatus::Unknown, error.to_string()),
        }
    };
    Some(found(resource, status, Some(reason)))
}

fn judge(
    resource: &ResourceRecord,
    answer: Result<Reply, EngineError>,
    secrets: &Secrets,
) -> ResourceDrift {
    match answer {
        Ok(Reply::Proposed(proposed)) => differs(resource, proposed, secrets),
        Ok(Reply::Validated(_) | Reply::Outcome(_) | Reply::Rendered(_)) => found(
            resource,
            DriftStatus::Unknown,
            Some("the engine answered something else".into()),
        ),
        Err(EngineError::Missing(reason)) => found(resource, DriftStatus::Missing, Some(reason)),
        Err(EngineError::Unsupported(reason)) => {
            found(resource, DriftStatus::Unsupported, Some(reason))
        }
        Err(
            error @ (EngineError::Invalid(_)
            | EngineError::Denied(_)
            | EngineError::Conflict(_)
            | EngineError::Transient { .. }
            | EngineError::Failed(_)
            | EngineError::Trapped(_)
            | EngineError::LimitExceeded { .. }
            | EngineError::Unavailable { .. }),
        ) => found(resource, DriftStatus::Unknown, Some(error.to_string())),
    }
}

fn differs(
    resource: &ResourceRecord,
    proposed: ProposedChanges,
    secrets: &Secrets,
) -> ResourceDrift {
    let status = match proposed.action {
        Action::Noop => DriftStatus::InSync,
        Action::Update | Action::Replace => DriftStatus::Drifted,
        // As seen from what was applied, or from what would have to be done.
        Action::Delete | Action::Create => DriftStatus::Missing,
    };
    let more = proposed.changes.len().saturating_sub(CHANGES_KEPT);
    let changes = proposed.changes.into_iter().take(CHANGES_KEPT);
    ResourceDrift {
        changes: changes
            .map(|change| mask::masked(change, &[], secrets))
            .collect(),
        more,
        ..found(resource, status, Some(proposed.summary))
    }
}

fn count(context: &Context, record: &DeploymentRecord, seen: &DriftRecord) {
    let environment = context.environments.label(&record.environment);
    let outcome = match seen.status() {
        DeploymentDriftStatus::NotChecked => "not_checked",
        DeploymentDriftStatus::InSync => "in_sync",
        DeploymentDriftStatus::Drifted => "drifted",
        DeploymentDriftStatus::Unknown => "unknown",
        DeploymentDriftStatus::Unsupported => "unsupported",
    };
    metrics::counter!(crate::metrics::DRIFT_CHECKS, "environment" => environment.clone(), "outcome" => outcome).increment(1);
    let drifted = seen.drifted().count() as u64;
    metrics::counter!(crate::metrics::DRIFTED, "environment" => environment).increment(drifted);
}
