//! Looks as views.

use nestor_core::ids::DeploymentId;
use nestor_core::ports::StoreError;

use super::records::{DriftAlarm, DriftRecord};
use super::view::{DeploymentDriftStatus, DriftSummary, DriftView, ResourceDriftView};
use crate::alarms::Kind;
use crate::context::Context;
use crate::records::{DeploymentRecord, Request, StatusRecord, key};
use crate::surroundings::rfc3339;

/// What the last look saw.
pub(crate) async fn view(
    context: &Context,
    id: &DeploymentId,
    status: &StatusRecord,
) -> Result<DriftView, StoreError> {
    // Before the result: a look that ends in between is then still pending.
    let alarm_key = key::alarm(Kind::Drift.as_str(), id);
    let alarm = context.read::<DriftAlarm>(&alarm_key).await?;
    let record = context
        .read::<DeploymentRecord>(&key::deployment(id))
        .await?;
    let inbox = record.map(|r| r.inbox).unwrap_or_default();
    let asked = |r: &Request| matches!(r, Request::CheckDrift { asked: true, .. });
    let pending = alarm.is_some_and(|a| a.asked.is_some()) || inbox.iter().any(asked);
    let seen = context.read::<DriftRecord>(&key::drift(id)).await?;
    let seen = seen.as_ref();
    let resources = seen.map(|seen| &seen.resources[..]).unwrap_or_default();
    Ok(DriftView {
        id: id.to_string(),
        status: seen.map_or(DeploymentDriftStatus::NotChecked, DriftRecord::status),
        pending,
        checked_at: seen.map(|seen| rfc3339(seen.at)),
        revision: seen.map(|seen| seen.revision),
        outdated: seen.is_some_and(|seen| is_outdated(seen, status)),
        next_check_at: alarm.map(|alarm| rfc3339(alarm.at)),
        resources: resources
            .iter()
            .map(|r| ResourceDriftView {
                name: r.name.to_string(),
                engine: r.engine.to_string(),
                status: r.status,
                reason: r.reason.clone(),
                changes: r.changes.clone(),
                more_changes: r.more,
            })
            .collect(),
    })
}

/// The same in a deployment's view; none when nobody has looked.
pub(crate) async fn summary(
    context: &Context,
    id: &DeploymentId,
    status: &StatusRecord,
) -> Result<Option<DriftSummary>, StoreError> {
    let seen = context.read::<DriftRecord>(&key::drift(id)).await?;
    Ok(seen.map(|seen| DriftSummary {
        status: seen.status(),
        checked_at: rfc3339(seen.at),
        outdated: is_outdated(&seen, status),
        resources: seen.drifted().map(|r| r.name.to_string()).collect(),
    }))
}

fn is_outdated(seen: &DriftRecord, status: &StatusRecord) -> bool {
    seen.run != status.run || status.active
}
