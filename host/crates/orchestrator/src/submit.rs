//! A new revision: from the bytes of a request to a durable intent.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use nestor_core::execution::mutation::{Mutation, active};
use nestor_core::ids::{DeploymentId, Digest, EngineId, Timestamp};
use nestor_core::planner::{self, Definitions, ExecutionPlan};
use nestor_core::ports::{Batch, Bytes, CommitError, EngineHead, Guard};
use nestor_core::spec::{self, DeliveryMode, DeploymentSpec, Queued};
use nestor_core::violation::{Violation, ViolationCode};
use nestor_core::webhook::About;

use crate::alarms::Kind;
use crate::context::Context;
use crate::drift;
use crate::expiry::ExpiryAlarm;
use crate::gate::other_plan;
use crate::keep;
use crate::lookup::outputs_unknown;
use crate::preview;
use crate::records::{
    DeploymentRecord, Request, ResourceRecord, RevisionRecord, StatusRecord, encode, key,
};
use crate::scheduler::wake;
use crate::scope::{Compared, Difference};
use crate::service::{Rejection, RequestMeta, Scope};
use crate::surroundings::rfc3339;
use crate::view::{Accepted, DeploymentStatus, EventView};
use crate::{fixed, neighbours, ownership, sweep};

/// How long an idempotency key is remembered.
pub(crate) const IDEMPOTENCY_MS: u64 = 24 * 3_600_000;
/// Attempts against concurrent requests for one deployment; each lost one
/// means that another was accepted.
const ATTEMPTS: usize = 16;
/// What a client should wait when the queue is full: about what a few runs take.
const BUSY_RETRY_SECONDS: u64 = 5;

/// The answer to a request that came with an idempotency key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IdempotencyRecord {
    pub(crate) body: Digest,
    pub(crate) answer: crate::view::Accepted,
    pub(crate) at: Timestamp,
}

/// A request that is a deployment, with everything looked up.
pub(crate) struct Checked {
    pub(crate) spec: DeploymentSpec,
    pub(crate) plan: ExecutionPlan,
}

/// Parses, looks up, plans. Changes nothing.
pub(crate) async fn check(context: &Context, body: &[u8]) -> Result<Checked, Rejection> {
    let spec = spec::parse(body).map_err(Rejection::Invalid)?;
    let mut definitions = Definitions::new();
    for reference in planner::catalog_refs(&spec) {
        let answer = context.catalog.lookup(&reference).await;
        definitions.insert(&reference, answer);
    }
    neighbours::meet(context, &spec, &mut definitions)
        .await
        .map_err(internal)?;
    let engines: BTreeMap<EngineId, EngineHead> = context
        .engines
        .names()
        .into_iter()
        .filter_map(|id| context.engines.head(&id).ok().map(|head| (id, head)))
        .collect();
    let plan = planner::plan(&spec, &definitions, &engines).map_err(Rejection::Invalid)?;
    let mut violations = secrets_in_git(&spec, &plan);
    violations.extend(
        ownership::taken(context, &spec, &plan)
            .await
            .map_err(internal)?,
    );
    if !violations.is_empty() {
        return Err(Rejection::Invalid(violations));
    }
    Ok(Checked { spec, plan })
}

/// A sensitive output must not end up in a commit: Git forgets nothing.
fn secrets_in_git(spec: &DeploymentSpec, plan: &ExecutionPlan) -> Vec<Violation> {
    let mut violations = Vec::new();
    for resource in plan
        .resources
        .iter()
        .filter(|r| r.delivery == DeliveryMode::Gitops)
    {
        let mut lookup = |reference: &_| outputs_unknown(spec, 1, plan, reference);
        let Ok(resolved) = planner::resolve_config(&resource.config, &mut lookup) else {
            continue;
        };
        let place = spec
            .resources
            .iter()
            .position(|r| r.name == resource.name)
            .unwrap_or_default();
        violations.extend(resolved.sensitive.iter().map(|pointer| {
            Violation::new(
                ViolationCode::SensitiveInGit,
                format!("/resources/{place}/config{pointer}"),
                format!(
                    "resource {} is delivered through Git, and this would commit a sensitive output in clear text; \
                     hand over the name of a secret instead, or use \"delivery\": \"direct\"",
                    resource.name
                ),
            )
        }));
    }
    violations
}

/// Accepts a revision.
pub(crate) async fn submit(
    context: &Arc<Context>,
    body: &[u8],
    meta: &RequestMeta,
) -> Result<Accepted, Rejection> {
    let used = match idempotency(context, body, meta).await? {
        Known::Answered(answer) => return Ok(answer),
        Known::New(used) => used,
    };
    let checked = check(context, body).await?;
    if let Some(named) = meta.plan {
        let foreseen = preview::of(context, &checked, meta).await?;
        if let Some(reason) = other_plan(named, &foreseen) {
            return Err(Rejection::PlanMoved(reason));
        }
    }
    let posted = Posted {
        checked,
        body,
        meta,
        used,
        now: context.now(),
    };
    for _ in 0..ATTEMPTS {
        let Staged {
            batch,
            record,
            answer,
            alarms,
        } = posted.stage(context).await?;
        match context.store.commit(batch).await {
            Ok(()) => {
                let Accepted { id, revision, .. } = &answer;
                metrics::counter!(crate::metrics::ACCEPTED, "environment" => context.environments.label(&record.environment)).increment(1);
                tracing::info!(deployment = %id, revision, composer = %record.composer, "accepted");
                for (kind, at) in alarms {
                    context.alarms.look(kind, &record.id, at);
                }
                context.hooks.ring();
                wake(context, &record.id, &record.ticket());
                if posted.used.is_some() {
                    sweep::now_and_then(context);
                }
                return Ok(answer);
            }
            // Another request was faster: look again. With the same key it may
            // have been the same request.
            Err(CommitError::Guard { key })
                if posted.used.as_ref().is_some_and(|u| u.at == key) =>
            {
                return Err(Rejection::Conflict(
                    "a request with the same idempotency key is being accepted right now; ask again".into(),
                ));
            }
            Err(CommitError::Guard { .. }) => {}
            Err(CommitError::Store(error)) => return Err(internal(error)),
        }
    }
    Err(busy(format!(
        "deployment {} is being changed by many requests at once",
        posted.checked.spec.id
    )))
}

/// What is known of an idempotency key.
enum Known {
    /// The answer of then.
    Answered(Accepted),
    /// Nothing that counts; there is none, or it is to be kept.
    New(Option<UsedKey>),
}

/// An idempotency key that is to be kept with the answer.
struct UsedKey {
    at: String,
    guard: Guard,
    body: Digest,
}

async fn idempotency(
    context: &Context,
    body: &[u8],
    meta: &RequestMeta,
) -> Result<Known, Rejection> {
    let Some(idempotency) = &meta.idempotency_key else {
        return Ok(Known::New(None));
    };
    let (at, body) = (key::idempotency(idempotency), asked_for(body, meta));
    let before = context
        .read_raw::<IdempotencyRecord>(&at)
        .await
        .map_err(internal)?;
    let guard = match before {
        None => Guard::Absent(at.clone()),
        Some((record, raw)) if record.at.plus_millis(IDEMPOTENCY_MS) <= context.now() => {
            Guard::Equals(at.clone(), raw)
        }
        Some((record, _)) if record.body == body => return Ok(Known::Answered(record.answer)),
        Some(_) => return Err(Rejection::IdempotencyMismatch),
    };
    Ok(Known::New(Some(UsedKey { at, guard, body })))
}

/// A request that is in order in itself.
struct Posted<'a> {
    checked: Checked,
    body: &'a [u8],
    meta: &'a RequestMeta,
    used: Option<UsedKey>,
    now: Timestamp,
}

/// A revision that only has to be committed. Guards on all that was looked at.
struct Staged {
    batch: Batch,
    record: DeploymentRecord,
    answer: Accepted,
    alarms: Vec<(Kind, Timestamp)>,
}

impl Posted<'_> {
    /// Looks whether it fits what there is now, and puts together what is to be
    /// written.
    async fn stage(&self, context: &Context) -> Result<Staged, Rejection> {
        let Checked { spec, plan } = &self.checked;
        let (id, now) = (&spec.id, self.now);
        let at = key::deployment(id);
        let existing = context
            .read_raw::<DeploymentRecord>(&at)
            .await
            .map_err(internal)?;
        // One that runs or waits already takes no further place.
        if !context.scheduler.knows(id) {
            room(context)?;
        }
        let (existing, guard) = match existing {
            Some((record, raw)) => (Some(record), Guard::Equals(at.clone(), raw)),
            None => (None, Guard::Absent(at.clone())),
        };
        let status = match &existing {
            Some(_) => context
                .read::<StatusRecord>(&key::status(id))
                .await
                .map_err(internal)?,
            None => None,
        };
        let resources = match &existing {
            Some(_) => context
                .read_all::<ResourceRecord>(&key::resources(id))
                .await
                .map_err(internal)?,
            None => Vec::new(),
        };
        let resources: Vec<ResourceRecord> = resources.into_iter().map(|(_, r)| r).collect();
        fixed::check(
            existing.as_ref(),
            status.as_ref(),
            &resources,
            &self.checked,
        )?;
        let first = existing.is_none();
        let mut record = self.record(existing);
        let revision = record.revision;
        if record.inbox.len() >= context.limits.inbox {
            return Err(busy(format!(
                "{} requests for deployment {id} wait already",
                record.inbox.len()
            )));
        }
        record.ask(Request::Apply {
            revision,
            latest: spec.strategy.queued == Queued::Latest,
        });
        let compared = Compared {
            spec,
            revision,
            plan,
            deployed: &resources,
        };
        let unknown = compared.check_targets(&self.meta.scope);
        if !unknown.is_empty() {
            return Err(Rejection::Invalid(unknown));
        }

        let mut batch = Batch::new();
        batch.guard(guard);
        let part = compared.part(&self.meta.scope);
        let reserved = ownership::reserve(context, spec, plan, revision, part.as_ref(), &mut batch)
            .await
            .map_err(internal)?;
        if !reserved.violations.is_empty() {
            return Err(Rejection::Invalid(reserved.violations));
        }
        record.reserved |= reserved.some;
        let news = accepted_event(first, revision, now, self.meta);
        let about = About {
            deployment: id,
            composer: &spec.composer,
            environment: &spec.environment,
        };
        context.hooks.note(context, &mut batch, about, &news);
        if first {
            let mut status = StatusRecord::accepted(revision, now);
            status.events = 1;
            // Of one of that id that was there before, and is forgotten.
            status.handed_over = ownership::gave_away(context, id).await.map_err(internal)?;
            batch.put(key::status(id), encode(&status));
            batch.put(key::event(id, 1), encode(&news));
        }
        let answer = Accepted {
            id: id.to_string(),
            revision,
            status: status.map_or(DeploymentStatus::Pending, |s| s.status),
            warnings: plan.warnings.clone(),
        };
        keep::forget_revision(context, id, revision, &mut batch)
            .await
            .map_err(internal)?;
        let of_revision = self.revision(revision, compared.difference());
        batch.put(key::revision(id, revision), encode(&of_revision));
        let alarms = self.alarms(context, revision, &mut batch).await?;
        batch.put(at, encode(&record));
        if !active(Mutation::NothingLost) {
            batch.put(key::todo(id), encode(&record.todo()));
        }
        if let Some(used) = &self.used {
            batch.guard(used.guard.clone());
            let kept = IdempotencyRecord {
                body: used.body,
                answer: answer.clone(),
                at: now,
            };
            batch.put(used.at.clone(), encode(&kept));
        }
        Ok(Staged {
            batch,
            record,
            answer,
            alarms,
        })
    }

    /// The deployment's record with this as its latest revision.
    fn record(&self, existing: Option<DeploymentRecord>) -> DeploymentRecord {
        let (spec, now) = (&self.checked.spec, self.now);
        let mut record = existing.unwrap_or_else(|| DeploymentRecord {
            id: spec.id.clone(),
            composer: spec.composer.clone(),
            environment: spec.environment.clone(),
            labels: BTreeMap::new(),
            created_at: now,
            revision: 0,
            priority: 0,
            expires_at: None,
            asked: 0,
            reserved: false,
            inbox: Vec::new(),
        });
        record.revision += 1;
        record.environment = spec.environment.clone();
        record.priority = spec.priority;
        record.labels = spec.labels.clone();
        let ttl = |ttl| ExpiryAlarm::new(record.revision, now, ttl).expires_at;
        record.expires_at = spec.ttl.map(ttl);
        record
    }

    /// What is kept of it.
    fn revision(&self, revision: u64, difference: Difference) -> RevisionRecord {
        let (Checked { spec, plan }, meta) = (&self.checked, self.meta);
        let Difference {
            added,
            changed,
            removed,
        } = difference;
        let composer = || spec.composer.to_string();
        RevisionRecord {
            revision,
            by: meta.actor.clone().unwrap_or_else(composer),
            created_at: self.now,
            correlation_id: meta.correlation_id.clone(),
            traceparent: meta.traceparent.clone(),
            body: String::from_utf8_lossy(self.body).into_owned(),
            spec: spec.clone(),
            plan: plan.clone(),
            added,
            changed,
            removed,
            scope: meta.scope.clone(),
            pinned: meta.plan,
        }
    }

    /// What is to happen at some time without anybody asking.
    async fn alarms(
        &self,
        context: &Context,
        revision: u64,
        batch: &mut Batch,
    ) -> Result<Vec<(Kind, Timestamp)>, Rejection> {
        let spec = &self.checked.spec;
        let mut alarms = Vec::new();
        let at = key::alarm(Kind::Expiry.as_str(), &spec.id);
        match spec.ttl {
            Some(ttl) => {
                let alarm = ExpiryAlarm::new(revision, self.now, ttl);
                batch.put(at, encode(&alarm));
                alarms.push((Kind::Expiry, alarm.at));
            }
            None => {
                batch.delete(at);
            }
        }
        let look = drift::alarm_for(context, &spec.id, &spec.environment)
            .await
            .map_err(internal)?;
        if let Some(look) = look {
            batch.put(key::alarm(Kind::Drift.as_str(), &spec.id), encode(&look));
            alarms.push((Kind::Drift, look.at));
        }
        Ok(alarms)
    }
}

/// Of all that an idempotency key stands for.
fn asked_for(body: &[u8], meta: &RequestMeta) -> Digest {
    match (&meta.scope, &meta.plan) {
        (Scope::Whole, None) => Digest::of(body),
        (scope, plan) => Digest::of(&encode(&(Digest::of(body), scope, plan))),
    }
}

/// Whether the host takes on another deployment.
fn room(context: &Context) -> Result<(), Rejection> {
    let now = context.scheduler.occupancy();
    let moving = now.active + now.queued;
    if moving >= context.limits.queue {
        return Err(busy(format!("{moving} deployments wait or run already")));
    }
    if now.parked >= context.limits.parked {
        let parked = now.parked;
        return Err(busy(format!(
            "{parked} deployments wait for something outside already"
        )));
    }
    Ok(())
}

/// Puts a request into the inbox of a deployment that exists.
pub(crate) async fn ask(
    context: &Arc<Context>,
    id: &DeploymentId,
    request: Request,
) -> Result<(), Rejection> {
    ask_and_put(context, id, request, None).await
}

/// The same, with a document that belongs to the request.
pub(crate) async fn ask_and_put(
    context: &Arc<Context>,
    id: &DeploymentId,
    request: Request,
    document: Option<(String, Bytes)>,
) -> Result<(), Rejection> {
    let at = key::deployment(id);
    for _ in 0..ATTEMPTS {
        let Some((mut record, raw)) = context
            .read_raw::<DeploymentRecord>(&at)
            .await
            .map_err(internal)?
        else {
            return Err(Rejection::NotFound(id.to_string()));
        };
        if record.inbox.last() == Some(&request) {
            wake(context, id, &record.ticket());
            return Ok(());
        }
        if record.inbox.len() >= context.limits.inbox {
            return Err(busy(format!(
                "{} requests for deployment {id} wait already",
                record.inbox.len()
            )));
        }
        record.ask(request);
        let mut batch = Batch::new();
        batch.guard(Guard::Equals(at.clone(), raw));
        batch
            .put(at.clone(), encode(&record))
            .put(key::todo(id), encode(&record.todo()));
        if let Some((at, document)) = &document {
            batch.put(at.clone(), document.clone());
        }
        match context.store.commit(batch).await {
            Ok(()) => {
                wake(context, id, &record.ticket());
                return Ok(());
            }
            Err(CommitError::Guard { .. }) => {}
            Err(CommitError::Store(error)) => return Err(internal(error)),
        }
    }
    Err(busy(format!(
        "deployment {id} is being changed by many requests at once"
    )))
}

/// The first event of a deployment is the first of its numbered ones. Of a
/// later revision only its deployment's driver may write numbered ones, so this
/// is told to those who subscribed and stands nowhere else.
fn accepted_event(
    first: bool,
    revision: u64,
    now: nestor_core::ids::Timestamp,
    meta: &RequestMeta,
) -> EventView {
    EventView {
        id: first.then_some(1),
        kind: "accepted".into(),
        at: rfc3339(now),
        revision,
        resource: None,
        status: first.then_some(DeploymentStatus::Pending),
        message: "accepted".into(),
        data: serde_json::json!({ "correlationId": meta.correlation_id }),
    }
}

fn busy(message: String) -> Rejection {
    Rejection::Busy {
        message,
        retry_after: BUSY_RETRY_SECONDS,
    }
}

/// The client hears that something failed; the log hears what.
pub(crate) fn internal(error: impl std::fmt::Display) -> Rejection {
    tracing::error!(%error, "a request failed inside");
    Rejection::Internal
}
