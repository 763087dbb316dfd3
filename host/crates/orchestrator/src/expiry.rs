//! The end of a deployment's time (`ttl`).
//!
//! It is counted from when the revision was accepted: a later revision with a
//! `ttl` begins it anew, one without takes it away. At its end the deployment
//! is destroyed as by a DELETE; what is under way is stopped and unwound first.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use nestor_core::execution::{Event, Mode, StopReason};
use nestor_core::ids::{DeploymentId, Timestamp};
use nestor_core::ports::{Batch, CommitError, Guard, StoreError};

use crate::alarms::{Fired, Kind, again};
use crate::context::Context;
use crate::driver::{Driver, Stop};
use crate::gate::Intent;
use crate::records::{DeploymentRecord, Request, RevisionRecord, StatusRecord, encode, key};
use crate::scheduler::wake;
use crate::surroundings::rfc3339;
use crate::view::DeploymentStatus;

/// Of the time to live, what is left when people are warned.
const WARN_AT: u32 = 10;
/// Nobody acts on a warning that comes earlier than this.
const WARN_AT_MOST: Duration = Duration::from_secs(24 * 3_600);
/// Nobody can act on a warning that comes later than this.
const WARN_AT_LEAST: Duration = Duration::from_secs(60);
/// After destroying failed, beyond the retries of its resources: nobody waits
/// for it, and most outages are over by then.
const AGAIN_AFTER_MS: u64 = 3_600_000;
/// Attempts against requests that come in at the same moment.
const ATTEMPTS: usize = 16;

/// The alarm's document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExpiryAlarm {
    /// When to warn, then when the time is over.
    pub(crate) at: Timestamp,
    /// Of which revision the time is.
    pub(crate) revision: u64,
    /// When the time is over.
    pub(crate) expires_at: Timestamp,
}

impl ExpiryAlarm {
    pub(crate) fn new(revision: u64, accepted: Timestamp, ttl: Duration) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let expires_at = accepted.plus_millis(millis(ttl));
        let left = (ttl / WARN_AT).min(WARN_AT_MOST);
        let at = if left < WARN_AT_LEAST {
            expires_at
        } else {
            accepted.plus_millis(millis(ttl - left))
        };
        Self {
            at,
            revision,
            expires_at,
        }
    }
}

/// Sets the alarm again in the batch in which destroying a deployment failed
/// whose time is over; answers when it goes off.
pub(crate) async fn set_again(
    context: &Context,
    id: &DeploymentId,
    batch: &mut Batch,
) -> Result<Option<Timestamp>, StoreError> {
    let record = context
        .read::<DeploymentRecord>(&key::deployment(id))
        .await?;
    let at = context.now().plus_millis(AGAIN_AFTER_MS);
    // One that is posted meanwhile writes over it, or finds it outdated.
    Ok(record.map(|record| {
        let alarm = ExpiryAlarm {
            at,
            revision: record.revision,
            expires_at: at,
        };
        batch.put(key::alarm(Kind::Expiry.as_str(), id), encode(&alarm));
        at
    }))
}

/// The alarm's time has come: what it asks for goes into the inbox.
pub(crate) async fn fire(context: &Arc<Context>, id: &DeploymentId) -> Result<Fired, StoreError> {
    let alarm_key = key::alarm(Kind::Expiry.as_str(), id);
    let record_key = key::deployment(id);
    for _ in 0..ATTEMPTS {
        let now = context.now();
        let Some((alarm, raw_alarm)) = context.read_raw::<ExpiryAlarm>(&alarm_key).await? else {
            return Ok(Fired::Done);
        };
        if alarm.at > now {
            return Ok(Fired::Later(alarm.at));
        }
        let record = context.read_raw::<DeploymentRecord>(&record_key).await?;
        let status = context.read::<StatusRecord>(&key::status(id)).await?;
        let mut batch = Batch::new();
        batch.guard(Guard::Equals(alarm_key.clone(), raw_alarm));
        let over = alarm.expires_at <= now;
        let next = (!over).then_some(ExpiryAlarm {
            at: alarm.expires_at,
            ..alarm
        });
        match &next {
            Some(next) => batch.put(alarm_key.clone(), encode(next)),
            None => batch.delete(alarm_key.clone()),
        };
        let gone = status.is_none_or(|s| s.status == DeploymentStatus::Deleted);
        let comes_back = |r: &DeploymentRecord| {
            let applies = |request: &Request| matches!(request, Request::Apply { .. });
            r.inbox.iter().any(applies)
        };
        let mut woken = None;
        match record {
            Some((mut record, raw))
                if record.revision == alarm.revision && (!gone || comes_back(&record)) =>
            {
                let revision = alarm.revision;
                let request = if over {
                    Request::Expire { revision }
                } else {
                    Request::Expiring { revision }
                };
                if !record.inbox.contains(&request) {
                    if record.inbox.len() >= context.limits.inbox {
                        return Ok(Fired::Later(again(context)));
                    }
                    record.ask(request);
                }
                batch
                    .guard(Guard::Equals(record_key.clone(), raw))
                    .put(record_key.clone(), encode(&record))
                    .put(key::todo(id), encode(&record.todo()));
                woken = Some(record.ticket());
            }
            // Gone already, or posted anew: this alarm is nobody's.
            Some(_) | None => {
                batch.delete(alarm_key.clone());
            }
        }
        match context.store.commit(batch).await {
            Ok(()) => {
                let Some(ticket) = woken else {
                    return Ok(Fired::Done);
                };
                wake(context, id, &ticket);
                return Ok(next.map_or(Fired::Done, |next| Fired::Later(next.at)));
            }
            Err(CommitError::Guard { .. }) => {}
            Err(CommitError::Store(error)) => return Err(error),
        }
    }
    Ok(Fired::Later(again(context)))
}

/// Whether the deployment's time is over: nothing that waits before it is
/// worth beginning. A revision that was accepted since has a time of its own.
pub(crate) fn is_over(record: &DeploymentRecord) -> bool {
    let revision = record.revision;
    record.inbox.contains(&Request::Expire { revision })
}

/// What stops a run of a deployment whose time is over; none when it is being
/// unwound already.
pub(crate) fn stop(mode: Mode) -> Option<Event> {
    match mode {
        Mode::Fresh | Mode::Forward | Mode::Stopping(StopReason::Halt) => {
            Some(Event::CancelRequested)
        }
        Mode::Stopping(StopReason::Rollback | StopReason::Cancel)
        | Mode::Unwinding(_)
        | Mode::Ended(_) => None,
    }
}

impl Driver {
    /// Tells that the time is nearly over.
    pub(crate) async fn warn_of_expiry(
        &mut self,
        request: Request,
        revision: u64,
        record: &DeploymentRecord,
    ) -> Result<Option<Timestamp>, Stop> {
        let mut events = Vec::new();
        if let Some(at) = record.expires_at.filter(|_| record.revision == revision) {
            let at = rfc3339(at);
            let message = format!(
                "the deployment will be destroyed at {at}; post a revision to give it more time"
            );
            let mut event = self.event("expiring", revision, None, message);
            event.data = serde_json::json!({ "expiresAt": at });
            events.push(event);
        }
        self.finish_request(request, events).await
    }

    /// Destroys the deployment, unless a revision came in time.
    pub(crate) async fn expire(
        &mut self,
        request: Request,
        record: &DeploymentRecord,
    ) -> Result<Option<Timestamp>, Stop> {
        if !is_over(record) || self.status.status == DeploymentStatus::Deleted {
            return self.finish_request(request, Vec::new()).await;
        }
        let number = self.status.revision;
        let Some(revision) = self
            .context
            .read::<RevisionRecord>(&key::revision(&self.id, number))
            .await?
        else {
            return self.finish_request(request, Vec::new()).await;
        };
        // Nobody is asked: who gave it a time has said so.
        let intent = Intent::expire(Arc::new(revision), self.resources().await?);
        self.start_run(request, intent, Batch::new()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_warned_while_they_can_act() {
        let (minute, hour, day) = (60, 3_600, 86_400);
        for (ttl, left) in [
            (minute, 0),
            (9 * minute, 0),
            (10 * minute, minute),
            (10 * hour, hour),
            (30 * day, day),
        ] {
            let alarm = ExpiryAlarm::new(3, Timestamp(1_000), Duration::from_secs(ttl));
            assert_eq!(alarm.expires_at, Timestamp(1_000 + ttl * 1_000));
            let warned = alarm.expires_at.0 - alarm.at.0;
            assert_eq!(warned, left * 1_000, "of {ttl} s");
        }
    }
}
