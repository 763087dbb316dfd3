//! Deployments that were there before their environment had a policy.

use std::sync::Arc;

use nestor_core::ports::{Batch, CommitError, Guard, StoreError};

use super::records::DriftAlarm;
use super::{first, millis, policy};
use crate::alarms::Kind;
use crate::context::Context;
use crate::records::{DeploymentRecord, StatusRecord, decode, encode, key};
use crate::view::DeploymentStatus;

/// Deployments read at once.
const PAGE: usize = 500;

/// Gives every deployment whose environment has a policy an alarm, unless it
/// has one within the policy's period. Runs besides everything else.
pub(crate) async fn enroll(context: Arc<Context>) {
    if context.environments.iter().all(|(_, p)| p.drift.is_none()) {
        return;
    }
    if let Err(error) = all(&context).await {
        tracing::error!(%error, "not every deployment is looked at for drift; the next start of the host tries again");
    }
}

async fn all(context: &Context) -> Result<(), StoreError> {
    let mut after: Option<String> = None;
    loop {
        let page = context
            .store
            .scan(key::DEPLOYMENTS, after.as_deref(), PAGE)
            .await?;
        let last = page.len() < PAGE;
        for (at, bytes) in page {
            if context.shutdown.is_cancelled() {
                return Ok(());
            }
            let record: DeploymentRecord = decode(&at, &bytes)?;
            one(context, &record).await?;
            after = Some(at);
        }
        if last {
            return Ok(());
        }
    }
}

async fn one(context: &Context, record: &DeploymentRecord) -> Result<(), StoreError> {
    let Some(policy) = policy(context, &record.environment) else {
        return Ok(());
    };
    let now = context.now();
    let known = context.alarms.known(Kind::Drift, &record.id);
    if known.is_some_and(|at| at <= now.plus_millis(millis(policy.every).saturating_mul(2))) {
        return Ok(());
    }
    let status = context
        .read::<StatusRecord>(&key::status(&record.id))
        .await?;
    if status.is_none_or(|s| s.status == DeploymentStatus::Deleted) {
        return Ok(());
    }
    let alarm_key = key::alarm(Kind::Drift.as_str(), &record.id);
    let old = context.read_raw::<DriftAlarm>(&alarm_key).await?;
    let at = first(now, policy, context.surroundings.jitter());
    if old.as_ref().is_some_and(|(alarm, _)| alarm.at <= at) {
        return Ok(());
    }
    let mut batch = Batch::new();
    batch.guard(match old {
        Some((_, raw)) => Guard::Equals(alarm_key.clone(), raw),
        None => Guard::Absent(alarm_key.clone()),
    });
    batch.put(alarm_key, encode(&DriftAlarm { at, asked: None }));
    match context.store.commit(batch).await {
        Ok(()) => context.alarms.look(Kind::Drift, &record.id, at),
        // Somebody else set it.
        Err(CommitError::Guard { .. }) => {}
        Err(CommitError::Store(error)) => return Err(error),
    }
    Ok(())
}
