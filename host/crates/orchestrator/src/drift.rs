//! Drift: whether what is deployed still is as it was last applied.
//!
//! A look is due by an alarm, every so often where the environment's policy
//! says so, or at once because somebody asked. It is background: it begins only
//! when the deployment rests and there is room, its calls wait behind all
//! others, and it is dropped between two resources as soon as something else
//! is asked of the deployment.

mod check;
mod enroll;
mod present;
mod records;
pub(crate) mod view;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nestor_core::environment::{DriftAction, DriftPolicy};
use nestor_core::execution::Jitter;
use nestor_core::ids::{DeploymentId, EnvironmentName, Timestamp};
use nestor_core::ports::{Batch, CommitError, Guard, StoreError};

use crate::alarms::{Fired, Kind};
use crate::context::Context;
use crate::records::{DeploymentRecord, Request, StatusRecord, encode, key};
use crate::scheduler::wake;
use crate::service::Rejection;
use crate::submit::internal;
use crate::view::{DeploymentStatus, Phase};
pub(crate) use enroll::enroll;
pub(crate) use present::{summary, view};
pub(crate) use records::DriftAlarm;

/// Deployments looked at at a time in one host: enough for a thousand an hour
/// at fifteen seconds each, few enough to be no load.
pub(crate) const LOOKS_AT_ONCE: usize = 4;
/// Before a look that somebody asked for, and that cannot begin, is tried again.
const BUSY_AGAIN_MS: u64 = 5_000;
/// Attempts against requests that come in at the same moment.
const ATTEMPTS: usize = 16;
/// A period is stretched or shortened by up to this part of it, so that what
/// came due together after a night without the host spreads again.
const SPREAD: u64 = 10;

/// Which deployments are being looked at.
#[derive(Default)]
pub(crate) struct Looking(Mutex<HashSet<DeploymentId>>);

impl Looking {
    /// How many more may be.
    pub(crate) fn room(&self) -> usize {
        LOOKS_AT_ONCE.saturating_sub(self.lock().len())
    }

    /// True when it has a place, also when it had one already.
    fn begin(&self, id: &DeploymentId) -> bool {
        let mut ids = self.lock();
        ids.contains(id) || (ids.len() < LOOKS_AT_ONCE && ids.insert(id.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<DeploymentId>> {
        // The set is whole at every panic point.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A deployment's place is free again, if it had one.
pub(crate) fn end(context: &Context, id: &DeploymentId) {
    if context.looking.lock().remove(id) {
        context.alarms.earlier.notify_one();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The first look: anywhere within a period, so that a thousand deployments
/// that were posted together are not looked at together.
fn first(now: Timestamp, policy: &DriftPolicy, Jitter(jitter): Jitter) -> Timestamp {
    let every = u128::from(millis(policy.every));
    let part = every * u128::from(jitter) / u128::from(u16::MAX);
    now.plus_millis(u64::try_from(part).unwrap_or(u64::MAX))
}

/// The look after one.
fn next(now: Timestamp, policy: &DriftPolicy, Jitter(jitter): Jitter) -> Timestamp {
    let every = millis(policy.every);
    let spread = every / SPREAD;
    let part = u128::from(spread) * 2 * u128::from(jitter) / u128::from(u16::MAX);
    let part = u64::try_from(part).unwrap_or(u64::MAX);
    now.plus_millis(every - spread).plus_millis(part)
}

fn policy<'a>(context: &'a Context, environment: &EnvironmentName) -> Option<&'a DriftPolicy> {
    context.environments.get(environment).drift.as_ref()
}

/// The alarm of a deployment that is posted, when it has none and its
/// environment wants one.
pub(crate) async fn alarm_for(
    context: &Context,
    id: &DeploymentId,
    environment: &EnvironmentName,
) -> Result<Option<DriftAlarm>, StoreError> {
    let Some(policy) = policy(context, environment) else {
        return Ok(None);
    };
    let alarm_key = key::alarm(Kind::Drift.as_str(), id);
    if context.store.get(&alarm_key).await?.is_some() {
        return Ok(None);
    }
    let at = first(context.now(), policy, context.surroundings.jitter());
    Ok(Some(DriftAlarm { at, asked: None }))
}

/// Nothing is under way and nothing waits.
fn rests(record: &DeploymentRecord, status: &StatusRecord) -> bool {
    !status.active && status.phase == Phase::Done && record.inbox.is_empty()
}

/// The alarm's time has come: the look goes into the inbox, if there is room
/// and the deployment rests.
pub(crate) async fn fire(context: &Arc<Context>, id: &DeploymentId) -> Result<Fired, StoreError> {
    let fired = try_fire(context, id).await;
    match fired {
        Ok(None) => Ok(Fired::Done),
        // It has not begun, so it has no place.
        Ok(Some(fired)) => {
            end(context, id);
            Ok(fired)
        }
        Err(error) => {
            end(context, id);
            Err(error)
        }
    }
}

/// None when the look is in the inbox.
async fn try_fire(context: &Arc<Context>, id: &DeploymentId) -> Result<Option<Fired>, StoreError> {
    let alarm_key = key::alarm(Kind::Drift.as_str(), id);
    let record_key = key::deployment(id);
    for _ in 0..ATTEMPTS {
        let now = context.now();
        let Some((alarm, raw_alarm)) = context.read_raw::<DriftAlarm>(&alarm_key).await? else {
            return Ok(Some(Fired::Done));
        };
        if alarm.at > now {
            return Ok(Some(Fired::Later(alarm.at)));
        }
        let record = context.read_raw::<DeploymentRecord>(&record_key).await?;
        let status = context.read::<StatusRecord>(&key::status(id)).await?;
        let mut batch = Batch::new();
        batch.guard(Guard::Equals(alarm_key.clone(), raw_alarm));
        let there = record
            .zip(status)
            .filter(|(_, status)| status.status != DeploymentStatus::Deleted);
        let policy = there
            .as_ref()
            .and_then(|((record, _), _)| policy(context, &record.environment));
        let action = alarm.asked.or(policy.map(|policy| policy.action));
        let mut fired = Some(Fired::Done);
        let mut woken = None;
        match (there, action) {
            (Some(((mut record, raw), status)), Some(action)) => {
                if rests(&record, &status) && context.scheduler.occupancy().queued == 0 {
                    if !context.looking.begin(id) {
                        return Ok(Some(Fired::Later(now.plus_millis(BUSY_AGAIN_MS))));
                    }
                    record.ask(Request::CheckDrift {
                        asked: alarm.asked.is_some(),
                        action,
                    });
                    batch
                        .guard(Guard::Equals(record_key.clone(), raw))
                        .put(record_key.clone(), encode(&record))
                        .put(key::todo(id), encode(&record.todo()))
                        .delete(alarm_key.clone());
                    woken = Some(record.ticket());
                    fired = None;
                } else {
                    let Some(policy) = policy.filter(|_| alarm.asked.is_none()) else {
                        return Ok(Some(Fired::Later(now.plus_millis(BUSY_AGAIN_MS))));
                    };
                    // What is under way changes it anyway.
                    let at = next(now, policy, context.surroundings.jitter());
                    batch.put(alarm_key.clone(), encode(&DriftAlarm { at, asked: None }));
                    fired = Some(Fired::Later(at));
                }
            }
            // Gone, or nobody wants to know any more.
            (Some(_), None) | (None, _) => {
                batch.delete(alarm_key.clone());
            }
        }
        match context.store.commit(batch).await {
            Ok(()) => {
                if let Some(ticket) = woken {
                    wake(context, id, &ticket);
                }
                return Ok(fired);
            }
            Err(CommitError::Guard { .. }) => {}
            Err(CommitError::Store(error)) => return Err(error),
        }
    }
    Ok(Some(Fired::Later(context.now().plus_millis(BUSY_AGAIN_MS))))
}

/// Somebody asks for a look: as soon as the deployment rests and there is room.
pub(crate) async fn ask(
    context: &Arc<Context>,
    id: &DeploymentId,
    action: DriftAction,
) -> Result<(), Rejection> {
    let alarm_key = key::alarm(Kind::Drift.as_str(), id);
    let at = context.now();
    for _ in 0..ATTEMPTS {
        let old = context
            .read_raw::<DriftAlarm>(&alarm_key)
            .await
            .map_err(internal)?;
        // Who wants it put right, still does.
        let action = match old.as_ref().and_then(|(alarm, _)| alarm.asked) {
            Some(DriftAction::Remediate) => DriftAction::Remediate,
            Some(DriftAction::Report) | None => action,
        };
        let mut batch = Batch::new();
        batch.guard(match old {
            Some((_, raw)) => Guard::Equals(alarm_key.clone(), raw),
            None => Guard::Absent(alarm_key.clone()),
        });
        let asked = Some(action);
        batch.put(alarm_key.clone(), encode(&DriftAlarm { at, asked }));
        match context.store.commit(batch).await {
            Ok(()) => {
                context.alarms.look(Kind::Drift, id, at);
                return Ok(());
            }
            Err(CommitError::Guard { .. }) => {}
            Err(CommitError::Store(error)) => return Err(internal(error)),
        }
    }
    Err(Rejection::Busy {
        message: format!("deployment {id} is being changed by many requests at once"),
        retry_after: BUSY_AGAIN_MS / 1_000,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_spread_over_a_period() {
        let policy = DriftPolicy {
            every: Duration::from_secs(3_600),
            action: DriftAction::Report,
        };
        let now = Timestamp(1_000);
        let hour = 3_600_000;
        for (jitter, first_in, next_in) in [(0, 0, hour * 9 / 10), (u16::MAX, hour, hour * 11 / 10)]
        {
            assert_eq!(first(now, &policy, Jitter(jitter)).0 - now.0, first_in);
            assert_eq!(next(now, &policy, Jitter(jitter)).0 - now.0, next_in);
        }
    }

    #[test]
    fn only_so_many_are_looked_at_at_a_time() {
        let looking = Looking::default();
        let id = |n: usize| DeploymentId::new(format!("d{n}")).unwrap();
        for n in 0..LOOKS_AT_ONCE {
            assert!(looking.begin(&id(n)));
        }
        assert!(!looking.begin(&id(LOOKS_AT_ONCE)));
        // Who has a place, has it.
        assert!(looking.begin(&id(0)));
        assert_eq!(looking.room(), 0);
    }
}
