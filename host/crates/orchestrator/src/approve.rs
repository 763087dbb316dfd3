//! What people say to a plan that waits.

use std::sync::Arc;

use nestor_core::ids::DeploymentId;
use nestor_core::ports::Bytes;

use crate::context::Context;
use crate::records::{DecisionRecord, GateRecord, Request, RunKind, StatusRecord, encode, key};
use crate::service::{Approving, Rejection, RequestMeta};
use crate::submit::{ask, ask_and_put, internal};
use crate::surroundings::rfc3339;
use crate::view::{ApprovalView, DeploymentStatus, PlanView};

/// Characters of a comment: a paragraph, not a document.
pub const MAX_COMMENT: usize = 2_000;
/// Who asks when requests are not authenticated.
const NOBODY: &str = "somebody";

/// Approves what waits. Asking for the same again changes nothing.
pub(crate) async fn approve(
    context: &Arc<Context>,
    id: &DeploymentId,
    status: &StatusRecord,
    approving: Approving,
    meta: &RequestMeta,
) -> Result<(), Rejection> {
    let gate = context
        .read::<GateRecord>(&key::gate(id))
        .await
        .map_err(internal)?;
    let waits = status.status == DeploymentStatus::AwaitingApproval;
    let gate = match gate {
        Some(gate) if waits => gate,
        // The same once more, after it was heard.
        Some(gate) if gate.approved.is_some() && approving.plan == Some(gate.digest) => {
            return Ok(());
        }
        Some(_) | None => {
            return Err(Rejection::Conflict(format!(
                "deployment {id} has nothing that waits for approval"
            )));
        }
    };
    if let Some(plan) = approving.plan.filter(|plan| *plan != gate.digest) {
        return Err(Rejection::PlanMoved(format!(
            "plan {plan} does not wait for approval; {} does: look at GET /api/v1/deployments/{id}/plan",
            gate.digest
        )));
    }
    if let Some(revision) = approving.revision.filter(|r| *r != gate.revision) {
        return Err(Rejection::PlanMoved(format!(
            "revision {revision} does not wait for approval; revision {} does: look at GET /api/v1/deployments/{id}/plan",
            gate.revision
        )));
    }
    let before = context
        .read::<DecisionRecord>(&key::approval(id))
        .await
        .map_err(internal)?;
    // Whoever came first has approved it; that it is asked for again may be
    // because it could not be begun.
    if before.is_some_and(|d| (d.plan, d.revision) == (gate.digest, gate.revision)) {
        return ask(context, id, Request::Approve).await;
    }
    let decision = decision(context, &gate, approving.comment, meta);
    tracing::info!(deployment = %id, revision = gate.revision, plan = %gate.digest, by = %decision.by, correlation_id = %meta.correlation_id, "approval asked for");
    let put = (key::approval(id), encode(&decision));
    ask_and_put(context, id, Request::Approve, Some(put)).await
}

/// Who refuses what waits, to be kept with the request to do so.
pub(crate) async fn refusal(
    context: &Context,
    id: &DeploymentId,
    meta: &RequestMeta,
) -> Result<Option<(String, Bytes)>, Rejection> {
    let gate = context
        .read::<GateRecord>(&key::gate(id))
        .await
        .map_err(internal)?;
    Ok(gate.map(|gate| {
        let decision = decision(context, &gate, None, meta);
        (key::refusal(id), encode(&decision))
    }))
}

fn decision(
    context: &Context,
    gate: &GateRecord,
    comment: Option<String>,
    meta: &RequestMeta,
) -> DecisionRecord {
    DecisionRecord {
        revision: gate.revision,
        plan: gate.digest,
        by: meta.actor.clone().unwrap_or_else(|| NOBODY.to_owned()),
        at: context.now(),
        comment,
    }
}

/// The plan that waits, or was approved last.
pub(crate) async fn plan(context: &Context, id: &DeploymentId) -> Result<PlanView, Rejection> {
    let plan = context
        .read::<PlanView>(&key::gate_plan(id))
        .await
        .map_err(internal)?;
    plan.ok_or_else(|| {
        Rejection::Conflict(format!(
            "deployment {id} has no plan that waits for approval, or was approved"
        ))
    })
}

/// What waits, or what was approved for the revision that is shown.
pub(crate) fn view(gate: GateRecord, status: &StatusRecord) -> Option<ApprovalView> {
    let waits = status.status == DeploymentStatus::AwaitingApproval;
    if gate.revision != status.revision || !waits && gate.approved.is_none() {
        return None;
    }
    let approved = gate.approved;
    let action = match gate.kind {
        RunKind::Apply => "apply",
        RunKind::Destroy | RunKind::Expire => "delete",
    };
    Some(ApprovalView {
        plan: gate.digest.to_string(),
        revision: gate.revision,
        action: action.into(),
        summary: gate.summary,
        requested_at: rfc3339(gate.requested_at),
        approved_by: approved.as_ref().map(|d| d.by.clone()),
        approved_at: approved.as_ref().map(|d| rfc3339(d.at)),
        comment: approved.and_then(|d| d.comment),
    })
}
