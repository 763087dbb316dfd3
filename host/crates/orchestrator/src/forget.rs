//! The end of a deleted deployment: some time after it was destroyed, what is
//! still known of it goes.
//!
//! The number of its last run stays: operations are told apart by the numbers of
//! their runs, outside as well, so a number is never used again. So does what it
//! handed over: an engine may still have that under its names.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use nestor_core::ids::{DeploymentId, Timestamp};
use nestor_core::ports::{Batch, CommitError, Guard, StoreError};

use crate::alarms::{Fired, Kind, again};
use crate::context::Context;
use crate::records::{DeploymentRecord, StatusRecord, encode, key};
use crate::view::DeploymentStatus;

/// Documents deleted in one batch.
const AT_ONCE: usize = 500;

/// The alarm's document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct ForgetAlarm {
    at: Timestamp,
}

/// Sets the alarm in the batch that makes a deployment deleted; answers when it
/// goes off, if ever.
pub(crate) fn set(context: &Context, id: &DeploymentId, batch: &mut Batch) -> Option<Timestamp> {
    // More milliseconds than there are is for ever.
    let keep = u64::try_from(context.limits.keep_deleted.as_millis()).ok()?;
    let at = context.now().plus_millis(keep);
    batch.put(
        key::alarm(Kind::Forget.as_str(), id),
        encode(&ForgetAlarm { at }),
    );
    Some(at)
}

/// The alarm's time has come. Everything else goes before the deployment's own
/// document and the alarm, so a host that dies in between begins again; one that
/// is posted anew meanwhile keeps what is left.
pub(crate) async fn fire(context: &Arc<Context>, id: &DeploymentId) -> Result<Fired, StoreError> {
    let alarm_key = key::alarm(Kind::Forget.as_str(), id);
    let Some((alarm, raw_alarm)) = context.read_raw::<ForgetAlarm>(&alarm_key).await? else {
        return Ok(Fired::Done);
    };
    if alarm.at > context.now() {
        return Ok(Fired::Later(alarm.at));
    }
    let record_key = key::deployment(id);
    let record = context.read_raw::<DeploymentRecord>(&record_key).await?;
    let status = context.read::<StatusRecord>(&key::status(id)).await?;
    let gone = status.is_some_and(|s| s.status == DeploymentStatus::Deleted && !s.active);
    if gone && record.as_ref().is_some_and(|(r, _)| !r.inbox.is_empty()) {
        // Whether that is begun is not known yet.
        return Ok(Fired::Later(again(context)));
    }
    let Some((record, raw)) = record.filter(|_| gone) else {
        // Posted anew: when that is deleted, there is an alarm again.
        let mut batch = Batch::new();
        batch
            .guard(Guard::Equals(alarm_key.clone(), raw_alarm))
            .delete(alarm_key);
        return done(context.store.commit(batch).await);
    };
    let still = |batch: &mut Batch| {
        batch
            .guard(Guard::Equals(alarm_key.clone(), raw_alarm.clone()))
            .guard(Guard::Equals(record_key.clone(), raw.clone()));
    };
    for prefix in key::of_deployment(id) {
        loop {
            let page = context.store.scan(&prefix, None, AT_ONCE).await?;
            if page.is_empty() {
                break;
            }
            let mut batch = Batch::new();
            still(&mut batch);
            for (at, _) in page {
                batch.delete(at);
            }
            match context.store.commit(batch).await {
                Ok(()) => {}
                Err(CommitError::Guard { .. }) => return Ok(Fired::Done),
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
    }
    let mut batch = Batch::new();
    still(&mut batch);
    for at in key::alone_of_deployment(id) {
        batch.delete(at);
    }
    batch.delete(record_key.clone()).delete(alarm_key.clone());
    tracing::info!(deployment = %id, revisions = record.revision, "a deleted deployment is forgotten");
    done(context.store.commit(batch).await)
}

/// Who changed the deployment in between keeps it.
fn done(committed: Result<(), CommitError>) -> Result<Fired, StoreError> {
    match committed {
        Ok(()) | Err(CommitError::Guard { .. }) => Ok(Fired::Done),
        Err(CommitError::Store(error)) => Err(error),
    }
}
