//! What a run did, from its journal and the documents around it.

mod fold;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use nestor_core::execution::{Run, StepKind};
use nestor_core::ids::{DeploymentId, ResourceName, Timestamp};
use nestor_core::ports::StoreError;

use crate::context::Context;
use crate::records::{
    DeploymentRecord, JournalEntry, ResourceRecord, RevisionRecord, RunKind, RunRecord,
    StatusRecord, decode, key,
};
use crate::status;
use crate::surroundings::rfc3339;
use crate::view::DeliveryView;
use crate::why::why;
use fold::{AttemptOutcome, Story};

pub use view::{AttemptView, MarkView, OutputName, ReportView, ResourceReport, WaitView};

/// Documents read at once.
const PAGE: usize = 500;

/// Why there is no report.
pub(crate) enum NoReport {
    /// No such deployment.
    NoDeployment,
    /// The deployment has no run of that number.
    NoRun,
}

/// The report of a run; without a number, of what is going on or went on last.
pub(crate) async fn report(
    context: &Context,
    id: &DeploymentId,
    number: Option<u64>,
) -> Result<Result<ReportView, NoReport>, StoreError> {
    let record = context
        .read::<DeploymentRecord>(&key::deployment(id))
        .await?;
    let status = context.read::<StatusRecord>(&key::status(id)).await?;
    let (Some(record), Some(status)) = (record, status) else {
        return Ok(Err(NoReport::NoDeployment));
    };
    let run = match number.or(status.run) {
        None => None,
        Some(wanted) => match context.read::<RunRecord>(&key::run(id, wanted)).await? {
            Some(run) => Some(run),
            None => return Ok(Err(NoReport::NoRun)),
        },
    };
    let revision = run.as_ref().map_or(status.revision, |run| run.revision);
    let revision_key = key::revision(id, revision);
    let Some(revision) = context.read::<RevisionRecord>(&revision_key).await? else {
        return Ok(Err(NoReport::NoRun));
    };
    let mut view = ReportView {
        id: id.to_string(),
        composer: record.composer.to_string(),
        environment: revision.spec.environment.to_string(),
        status: status.status,
        revision: revision.revision,
        run: None,
        kind: None,
        outcome: "not_begun".into(),
        reason: status.reason.clone().filter(|_| number.is_none()),
        by: revision.by.clone(),
        correlation_id: revision.correlation_id.clone(),
        accepted_at: rfc3339(revision.created_at),
        started_at: None,
        ended_at: None,
        duration_ms: None,
        marks: Vec::new(),
        resources: Vec::new(),
    };
    let Some(run) = run else {
        return Ok(Ok(view));
    };
    let journal: Vec<JournalEntry> = context
        .read_all::<JournalEntry>(&key::journal(id, run.number))
        .await?
        .into_iter()
        .map(|(_, entry)| entry)
        .collect();
    let fresh = Run::new(Arc::new(run.plan.clone()));
    let story = fold::story(fresh, &journal).map_err(|illegal| {
        let number = run.number;
        StoreError::Failed(format!(
            "the journal of run {number} does not replay: {illegal}"
        ))
    })?;
    let before = befores(context, id, run.number).await?;
    let after = afters(context, id, run.number).await?;
    tell(&mut view, &run, &story, context.now());
    view.resources = (0u32..)
        .zip(&run.plan.steps)
        .map(|(step, planned)| {
            let before = before.get(&planned.name).and_then(Option::as_ref);
            let after = after.get(&planned.name).and_then(Option::as_ref);
            resource(&revision, &story, step, before, after, context.now())
        })
        .collect();
    Ok(Ok(view))
}

fn tell(view: &mut ReportView, run: &RunRecord, story: &Story, now: Timestamp) {
    let kind = match run.kind {
        RunKind::Apply => "apply",
        RunKind::Destroy => "destroy",
        RunKind::Expire => "expire",
    };
    view.run = Some(run.number);
    view.kind = Some(kind.into());
    view.outcome = story.outcome().into();
    view.reason = status::reason(run.kind, &story.run);
    view.started_at = story.started.map(rfc3339);
    view.ended_at = story.ended.map(rfc3339);
    view.duration_ms = duration(story.started, story.ended, now);
    view.marks = story
        .marks
        .iter()
        .map(|(at, what)| MarkView {
            at: rfc3339(*at),
            what: (*what).into(),
        })
        .collect();
}

/// To now while it goes on.
fn duration(from: Option<Timestamp>, to: Option<Timestamp>, now: Timestamp) -> Option<u64> {
    Some(to.unwrap_or(now).0.saturating_sub(from?.0))
}

fn resource(
    revision: &RevisionRecord,
    story: &Story,
    step: u32,
    before: Option<&ResourceRecord>,
    after: Option<&ResourceRecord>,
    now: Timestamp,
) -> ResourceReport {
    let planned = &story.run.plan().steps[step as usize];
    let told = &story.steps[step as usize];
    let in_plan = match planned.kind {
        StepKind::Apply => revision
            .plan
            .resources
            .iter()
            .find(|r| r.name == planned.name),
        StepKind::Destroy => None,
    };
    let record = after.or(before);
    let (engine, catalog_ref, definition_digest) = match (in_plan, record) {
        (Some(r), _) => (
            r.engine.to_string(),
            r.catalog_ref.clone(),
            r.definition_digest.to_string(),
        ),
        (None, Some(r)) => (
            r.engine.to_string(),
            r.catalog_ref.clone(),
            r.definition_digest.to_string(),
        ),
        (None, None) => Default::default(),
    };
    let blocked_by: Vec<String> = story
        .run
        .blocked_by(step)
        .iter()
        .map(ToString::to_string)
        .collect();
    let reason = why(&story.run, step);
    // What was under way when the run was stopped has no end of its own.
    let attempts = told.attempts.iter().map(|attempt| AttemptView {
        number: attempt.number,
        direction: if attempt.undo { "undo" } else { "do" }.into(),
        started_at: rfc3339(attempt.started),
        ended_at: attempt.ended.map(rfc3339),
        outcome: match attempt.outcome {
            Some(AttemptOutcome::Succeeded) => "succeeded",
            Some(AttemptOutcome::Failed) => "failed",
            None => "in_progress",
        }
        .into(),
        reason: attempt.reason.clone(),
    });
    let waits = told.waits.iter().map(|wait| WaitView {
        since: rfc3339(wait.since),
        until: wait.until.map(rfc3339),
        looks: wait.looks,
    });
    ResourceReport {
        name: planned.name.to_string(),
        action: story
            .action(step, before.is_some_and(|r| r.applied.is_some()))
            .into(),
        status: status::of_resource(story.run.resource_state(step)),
        engine,
        engine_digest: record
            .and_then(|r| {
                let open = r.open.as_ref().and_then(|open| open.engine_digest);
                open.or(r.engine_digest)
            })
            .map(|d| d.to_string()),
        catalog_ref,
        definition_digest,
        reason,
        blocked_by,
        started_at: told.started.map(rfc3339),
        ended_at: told.ended.map(rfc3339),
        duration_ms: duration(told.started, told.ended.or(story.ended), now),
        attempts: attempts.collect(),
        waits: waits.collect(),
        outputs: after
            .map(|r| &r.outputs[..])
            .unwrap_or_default()
            .iter()
            .map(|o| OutputName {
                name: o.name.to_string(),
                sensitive: o.sensitive,
            })
            .collect(),
        delivery: after
            .and_then(|r| r.delivered.as_ref())
            .map(DeliveryView::from),
    }
}

type Resources = HashMap<ResourceName, Option<ResourceRecord>>;

/// Resources as they were when the run first touched them.
async fn befores(context: &Context, id: &DeploymentId, run: u64) -> Result<Resources, StoreError> {
    let all = context
        .read_all::<Option<ResourceRecord>>(&key::befores(id, run))
        .await?;
    let named = all.into_iter().filter_map(|(at, before)| {
        let name = ResourceName::new(at.rsplit('/').next()?).ok()?;
        Some((name, before))
    });
    Ok(named.collect())
}

/// Resources as the run left them: as the next run that touched them found
/// them, else as they are.
async fn afters(context: &Context, id: &DeploymentId, run: u64) -> Result<Resources, StoreError> {
    let mut found = Resources::new();
    let prefix = key::all_befores(id);
    let mut after = key::befores(id, run + 1);
    loop {
        let page = context.store.scan(&prefix, Some(&after), PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        for (at, bytes) in page {
            let Some(name) = at
                .rsplit('/')
                .next()
                .and_then(|n| ResourceName::new(n).ok())
            else {
                continue;
            };
            if let Entry::Vacant(place) = found.entry(name) {
                place.insert(decode(&at, &bytes)?);
            }
        }
    }
    for (_, record) in context
        .read_all::<ResourceRecord>(&key::resources(id))
        .await?
    {
        found.entry(record.name.clone()).or_insert(Some(record));
    }
    Ok(found)
}
