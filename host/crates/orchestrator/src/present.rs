//! Documents and runs as views.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use nestor_core::execution::mutation::{Mutation, active};
use nestor_core::execution::{Run, StepState, replay};
use nestor_core::ids::DeploymentId;
use nestor_core::ports::StoreError;

use crate::approve;
use crate::context::Context;
use crate::drift;
use crate::live::Live;
use crate::ownership::{BlockRecord, HandoverRecord, handed_over};
use crate::records::{
    DeploymentRecord, GateRecord, JournalEntry, Request, ResourceRecord, RevisionRecord, RunRecord,
    StatusRecord, key,
};
use crate::status;
use crate::surroundings::rfc3339;
use crate::view::{
    DeliveryView, DeploymentStatus, DeploymentSummary, DeploymentView, GraphEdge, GraphNode,
    GraphView, ResourceStatus, ResourceView,
};
use crate::why::why;

/// What stands in the place of a sensitive value.
pub(crate) const MASK: &str = "(sensitive)";
/// Resources that a warning names; the rest are counted.
const SHOWN: usize = 10;

/// Everything about one deployment.
struct Whole {
    record: DeploymentRecord,
    status: StatusRecord,
    revision: Option<RevisionRecord>,
    resources: HashMap<String, ResourceRecord>,
    gate: Option<GateRecord>,
    block: Option<BlockRecord>,
    /// What went to others and did not come back, by its name here.
    handed: HashMap<String, HandoverRecord>,
    live: Option<Live>,
}

async fn read(context: &Context, id: &DeploymentId) -> Result<Option<Whole>, StoreError> {
    let Some(record) = context
        .read::<DeploymentRecord>(&key::deployment(id))
        .await?
    else {
        return Ok(None);
    };
    let Some(status) = context.read::<StatusRecord>(&key::status(id)).await? else {
        return Ok(None);
    };
    let revision = context
        .read::<RevisionRecord>(&key::revision(id, status.revision))
        .await?;
    let resources = context
        .read_all::<ResourceRecord>(&key::resources(id))
        .await?;
    let resources = resources
        .into_iter()
        .map(|(_, r)| (r.name.to_string(), r))
        .collect::<HashMap<String, ResourceRecord>>();
    let gate = context.read::<GateRecord>(&key::gate(id)).await?;
    let block = match status.blocked || status.active {
        true => context.read::<BlockRecord>(&key::blocked(id)).await?,
        false => None,
    };
    let handed = handed_over(context, id, Some(&status)).await?;
    let handed = handed
        .into_iter()
        .filter(|h| h.revision == status.revision && h.at >= record.created_at)
        .filter(|h| !resources.contains_key(h.resource.as_str()))
        .map(|h| (h.resource.to_string(), h))
        .collect();
    let live = match shown_by_driver(context, id) {
        Some(live) => Some(live),
        None => last_run(context, id, &status).await?.map(|live| {
            live.with_progress(|name| resources.get(name).and_then(|r| r.progress.as_ref()))
        }),
    };
    Ok(Some(Whole {
        record,
        status,
        revision,
        resources,
        gate,
        block,
        handed,
        live,
    }))
}

/// That the last run was of a part, as long as that is what stands.
fn in_part(status: &StatusRecord) -> Option<String> {
    let stands = match status.status {
        DeploymentStatus::InProgress
        | DeploymentStatus::Ready
        | DeploymentStatus::Failed
        | DeploymentStatus::Stuck => true,
        DeploymentStatus::Pending
        | DeploymentStatus::AwaitingApproval
        | DeploymentStatus::Cancelling
        | DeploymentStatus::RollingBack
        | DeploymentStatus::RolledBack
        | DeploymentStatus::Cancelled
        | DeploymentStatus::Deleting
        | DeploymentStatus::Deleted => false,
    };
    (stands && !status.left_out.is_empty()).then(|| {
        let mut names = status.left_out.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        if status.left_out.len() > SHOWN {
            names.push_str(&format!(" and {} more", status.left_out.len() - SHOWN));
        }
        format!("revision {} is applied in part; left as they are: {names}. Post it again without targets to apply the rest", status.revision)
    })
}

fn shown_by_driver(context: &Context, id: &DeploymentId) -> Option<Live> {
    let handle = context.scheduler.handle(id)?;
    handle.live(|live| live.clone())
}

/// The last run, from its journal; none when the current revision had none.
async fn last_run(
    context: &Context,
    id: &DeploymentId,
    status: &StatusRecord,
) -> Result<Option<Live>, StoreError> {
    let Some(number) = status.run else {
        return Ok(None);
    };
    let Some(record) = context.read::<RunRecord>(&key::run(id, number)).await? else {
        return Ok(None);
    };
    let journal = context
        .read_all::<JournalEntry>(&key::journal(id, number))
        .await?;
    let fresh = Run::new(std::sync::Arc::new(record.plan.clone()));
    let run =
        replay(fresh, journal.iter().flat_map(|(_, entry)| &entry.events)).map_err(|illegal| {
            StoreError::Failed(format!(
                "the journal of run {number} does not replay: {illegal}"
            ))
        })?;
    Ok(Some(Live::new(run)))
}

/// A deployment, whole.
pub(crate) async fn deployment(
    context: &Context,
    id: &DeploymentId,
) -> Result<Option<DeploymentView>, StoreError> {
    let Some(whole) = read(context, id).await? else {
        return Ok(None);
    };
    let Whole {
        record,
        status,
        revision,
        gate,
        block,
        handed,
        ..
    } = &whole;
    let mut warnings = revision
        .as_ref()
        .map(|r| r.plan.warnings.clone())
        .unwrap_or_default();
    warnings.extend(in_part(status));
    let mut gone: Vec<String> = handed
        .iter()
        .map(|(name, handover)| format!("resource {name} is {}", handover.reason()))
        .collect();
    gone.sort_unstable();
    warnings.extend(gone);
    let queued = record.inbox.iter().rev().find_map(|request| match request {
        Request::Apply { revision, .. } if *revision != status.revision => Some(*revision),
        Request::Apply { .. }
        | Request::Approve
        | Request::Delete
        | Request::Cancel
        | Request::Retry
        | Request::Expiring { .. }
        | Request::Expire { .. }
        | Request::CheckDrift { .. } => None,
    });
    Ok(Some(DeploymentView {
        id: record.id.to_string(),
        status: status.status,
        phase: status.phase,
        revision: status.revision,
        composer: record.composer.to_string(),
        environment: record.environment.to_string(),
        reason: status
            .reason
            .clone()
            .or_else(|| {
                let queued = status.status == DeploymentStatus::Pending;
                let others = context.scheduler.queued_with(id).filter(|_| queued)?;
                Some(format!("waits for its turn, as {others} others do"))
            })
            .or_else(|| {
                let waits = block.as_ref().filter(|_| status.active)?;
                Some(waits.reason())
            }),
        progress: format!("{}%", status.progress),
        resources: resource_views(&whole),
        approval: gate.clone().and_then(|gate| approve::view(gate, status)),
        warnings,
        labels: record.labels.clone(),
        queued_revision: queued,
        expires_at: expires_at(record, status),
        drift: drift::summary(context, id, status).await?,
        created_at: rfc3339(record.created_at),
        updated_at: rfc3339(status.updated_at),
    }))
}

/// Every resource of the revision in plan order, then what else is deployed.
fn resource_views(whole: &Whole) -> Vec<ResourceView> {
    let Whole {
        status,
        revision,
        resources,
        live,
        block,
        handed,
        ..
    } = whole;
    let planned: HashMap<&str, (&str, &str)> = revision
        .iter()
        .flat_map(|r| &r.plan.resources)
        .map(|p| (p.name.as_str(), (p.engine.as_str(), p.catalog_ref.as_str())))
        .collect();
    // What waits has no run yet; the last one is history.
    let live = live
        .as_ref()
        .filter(|_| status.gate.is_none() && !status.blocked);
    let mut views = live.map_or_else(Vec::new, |live| steps(live, &planned, resources));
    for view in &mut views {
        let block = block.as_ref().and_then(|block| block.about(&view.name));
        if let Some(block) = block.filter(|_| view.status == ResourceStatus::Pending) {
            waits(view, block);
        }
    }
    let shown: HashSet<String> = views.iter().map(|view| view.name.clone()).collect();
    let going = matches!(
        status.status,
        DeploymentStatus::Deleting | DeploymentStatus::Deleted
    );
    let wanted = revision
        .iter()
        .flat_map(|r| &r.plan.resources)
        .map(|p| p.name.as_str())
        .filter(|name| !going || resources.contains_key(*name));
    let mut others: Vec<&str> = resources
        .keys()
        .map(String::as_str)
        .filter(|name| !planned.contains_key(name))
        .collect();
    others.sort_unstable();
    for name in wanted.chain(others).filter(|name| !shown.contains(*name)) {
        let record = resources.get(name);
        let stands = record.is_some_and(|r| r.applied.is_some());
        let is = if stands {
            ResourceStatus::Ready
        } else {
            ResourceStatus::Pending
        };
        let mut view = bare(name, planned.get(name).copied(), record, is);
        view.reason = (!stands).then(|| not_begun(status));
        if status.left_out.iter().any(|left| left == name) {
            view.reason = Some("left as it is: the last run was of a part only".into());
        }
        if let Some(block) = block.as_ref().and_then(|block| block.about(name)) {
            waits(&mut view, block);
        }
        views.push(view);
    }
    for view in &mut views {
        if let Some(handover) = handed.get(&view.name) {
            view.status = ResourceStatus::Skipped;
            view.reason = Some(handover.reason());
            view.attempts = 0;
        }
    }
    let places: HashMap<&str, usize> = revision
        .iter()
        .flat_map(|r| &r.plan.resources)
        .enumerate()
        .map(|(place, p)| (p.name.as_str(), place))
        .collect();
    // Stable: what is not in the plan keeps its order behind the rest.
    views.sort_by_key(|view| {
        places
            .get(view.name.as_str())
            .copied()
            .unwrap_or(usize::MAX)
    });
    views
}

fn waits(view: &mut ResourceView, block: &BlockRecord) {
    view.status = ResourceStatus::Blocked;
    view.reason = Some(block.reason());
    view.blocked_by = vec![format!("{}/{}", block.owner, block.owned)];
}

/// Why a resource that no run has begun with is where it is.
fn not_begun(status: &StatusRecord) -> String {
    match status.status {
        DeploymentStatus::Pending => "its revision has not begun".into(),
        DeploymentStatus::AwaitingApproval => "waits for approval of the plan".into(),
        DeploymentStatus::InProgress => "engines look at its revision first".into(),
        DeploymentStatus::Ready
        | DeploymentStatus::Failed
        | DeploymentStatus::Cancelling
        | DeploymentStatus::RollingBack
        | DeploymentStatus::RolledBack
        | DeploymentStatus::Cancelled
        | DeploymentStatus::Deleting
        | DeploymentStatus::Deleted
        | DeploymentStatus::Stuck => match &status.reason {
            Some(reason) => format!("not begun: {reason}"),
            None => "not begun by the last run".into(),
        },
    }
}

fn steps(
    live: &Live,
    planned: &HashMap<&str, (&str, &str)>,
    resources: &HashMap<String, ResourceRecord>,
) -> Vec<ResourceView> {
    (0u32..)
        .zip(&live.plan().steps)
        .map(|(step, planned_step)| {
            let name = planned_step.name.as_str();
            let status = status::of_resource(live.run.resource_state(step));
            let mut view = bare(
                name,
                planned.get(name).copied(),
                resources.get(name),
                status,
            );
            let run = &live.run.steps()[step as usize];
            view.attempts = run.attempts;
            view.blocked_by = live
                .run
                .blocked_by(step)
                .iter()
                .map(ToString::to_string)
                .collect();
            match &run.state {
                StepState::Failed { reason } => view.reason = Some(reason.clone()),
                StepState::Due { not_before, reason } => {
                    view.reason.clone_from(reason);
                    view.next_attempt_at = not_before.map(rfc3339);
                }
                StepState::Pending { poll_at } => view.next_attempt_at = Some(rfc3339(*poll_at)),
                StepState::Unsettled { not_before } => {
                    view.next_attempt_at = not_before.map(rfc3339)
                }
                StepState::Skipped { .. }
                | StepState::Waiting { .. }
                | StepState::Running
                | StepState::Done { .. } => {}
            }
            match view.status {
                ResourceStatus::InProgress
                | ResourceStatus::Deleting
                | ResourceStatus::RollingBack => {
                    let progress = live.progress(step);
                    view.progress = Some(format!(
                        "{}%",
                        progress.and_then(|p| p.percent).unwrap_or(0)
                    ));
                    let message = progress
                        .map(|p| p.message.clone())
                        .filter(|m| !m.is_empty());
                    view.reason = view.reason.or(message);
                }
                ResourceStatus::Pending
                | ResourceStatus::Blocked
                | ResourceStatus::Ready
                | ResourceStatus::Failed
                | ResourceStatus::Skipped
                | ResourceStatus::RolledBack
                | ResourceStatus::Deleted
                | ResourceStatus::Stuck => {}
            }
            view.reason = view.reason.take().or_else(|| why(&live.run, step));
            if active(Mutation::EverythingSaysWhy) && view.status == ResourceStatus::Blocked {
                view.blocked_by.clear();
            }
            view
        })
        .collect()
}

fn bare(
    name: &str,
    planned: Option<(&str, &str)>,
    record: Option<&ResourceRecord>,
    status: ResourceStatus,
) -> ResourceView {
    let (engine, catalog_ref) = match (planned, record) {
        (Some((engine, catalog_ref)), _) => (engine.to_owned(), catalog_ref.to_owned()),
        (None, Some(record)) => (record.engine.to_string(), record.catalog_ref.clone()),
        (None, None) => (String::new(), String::new()),
    };
    let outputs = record.map(|r| &r.outputs[..]).unwrap_or_default();
    ResourceView {
        name: name.to_owned(),
        status,
        engine,
        catalog_ref,
        outputs: outputs
            .iter()
            .map(|o| {
                (
                    o.name.to_string(),
                    if o.sensitive {
                        Value::from(MASK)
                    } else {
                        o.value.clone()
                    },
                )
            })
            .collect::<BTreeMap<_, _>>(),
        progress: None,
        reason: None,
        attempts: 0,
        blocked_by: Vec::new(),
        next_attempt_at: None,
        delivery: record
            .and_then(|r| r.delivered.as_ref())
            .map(DeliveryView::from),
        engine_digest: record.and_then(|r| r.engine_digest).map(|d| d.to_string()),
        notes: record.and_then(|r| r.notes.clone()),
    }
}

/// A deployment in a list.
pub(crate) fn summary(record: &DeploymentRecord, status: &StatusRecord) -> DeploymentSummary {
    DeploymentSummary {
        id: record.id.to_string(),
        status: status.status,
        phase: status.phase,
        revision: status.revision,
        composer: record.composer.to_string(),
        environment: record.environment.to_string(),
        expires_at: expires_at(record, status),
        created_at: rfc3339(record.created_at),
        updated_at: rfc3339(status.updated_at),
    }
}

/// When it will be destroyed; what is gone already has no such time.
fn expires_at(record: &DeploymentRecord, status: &StatusRecord) -> Option<String> {
    let there = status.status != DeploymentStatus::Deleted;
    record.expires_at.filter(|_| there).map(rfc3339)
}

/// The graph of the current revision.
pub(crate) async fn graph(
    context: &Context,
    id: &DeploymentId,
) -> Result<Option<GraphView>, StoreError> {
    let Some(whole) = read(context, id).await? else {
        return Ok(None);
    };
    let views = resource_views(&whole);
    let nodes = views
        .into_iter()
        .map(|v| GraphNode {
            name: v.name,
            engine: v.engine,
            catalog_ref: v.catalog_ref,
            status: v.status,
        })
        .collect();
    let edges = whole.revision.iter().flat_map(|r| {
        r.plan.edges.iter().map(|edge| GraphEdge {
            from: r.plan.resources[edge.from as usize].name.to_string(),
            to: r.plan.resources[edge.to as usize].name.to_string(),
            reason: match (edge.explicit, edge.reference) {
                (true, true) => "explicit and reference",
                (true, false) => "explicit",
                (false, _) => "reference",
            }
            .into(),
        })
    });
    let edges = edges.collect();
    Ok(Some(GraphView { nodes, edges }))
}
