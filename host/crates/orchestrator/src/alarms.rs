//! Durable timers: something that has to happen to a deployment at some time.
//!
//! An alarm is a document `alm/<kind>/<deployment>`, written and taken away in
//! the batch of the decision that needs it. Memory holds only when to look at
//! which of them, in one ordered set; one task sleeps until the earliest. The
//! document alone decides: an alarm that was moved or taken away meanwhile is
//! found out when its time in memory comes, so memory is never told of it.
//!
//! An alarm that goes off puts a request into the deployment's inbox, in one
//! batch with its own end. Where that cannot be done now (the inbox is full,
//! the store fails) it goes off again a little later.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use nestor_core::ids::{DeploymentId, Timestamp};
use nestor_core::ports::StoreError;

use crate::context::Context;
use crate::drift;
use crate::expiry;
use crate::forget;
use crate::records::{decode, key};

/// Documents per read while loading: small ones.
const LOAD_PAGE: usize = 5_000;
/// Alarms that go off at once, after a night without the host: each is a
/// commit, and commits at the same time share a flush.
const AT_ONCE: usize = 64;
/// Deleted deployments that are forgotten at once: nobody waits for that.
const FORGOTTEN_AT_ONCE: usize = 4;
/// Before an alarm that could not go off tries again: a store that fails, and
/// an inbox that is full, mostly stay so for a while.
const AGAIN_MS: u64 = 30_000;
/// What an alarm is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// The deployment's time is over, or nearly.
    Expiry,
    /// Somebody wants to know whether it is still as it was applied.
    Drift,
    /// It was deleted long ago.
    Forget,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Expiry, Self::Drift, Self::Forget];

    /// In keys.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Expiry => "exp",
            Self::Drift => "dft",
            Self::Forget => "fgt",
        }
    }
}

/// What every alarm's document has.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct When {
    at: Timestamp,
}

/// What came of an alarm whose time has come.
pub(crate) enum Fired {
    /// It is dealt with; or the document says that it was moved or taken away.
    Done,
    /// It is to be looked at then.
    Later(Timestamp),
}

/// When to look at which alarm. Per alarm two small entries that share the id:
/// a hundred thousand take about 20 MB.
#[derive(Default)]
pub(crate) struct Alarms {
    times: Mutex<Times>,
    /// Something is due earlier than was thought.
    pub(crate) earlier: Notify,
}

#[derive(Default)]
struct Times {
    at: HashMap<(Kind, DeploymentId), Timestamp>,
    order: BTreeMap<Kind, BTreeSet<(Timestamp, DeploymentId)>>,
}

/// How many alarms of a kind may go off now.
type Room = [(Kind, usize); 3];

impl Alarms {
    /// Looks at the alarm at that time, or earlier if that was to be anyway.
    /// Called after the commit that wrote the alarm; commits that were nearly
    /// at the same time may call this in another order, and the earliest is
    /// right for all of them.
    pub(crate) fn look(&self, kind: Kind, id: &DeploymentId, at: Timestamp) {
        let first = {
            let mut times = self.lock();
            let known = times.at.get(&(kind, id.clone())).copied();
            if known.is_some_and(|known| known <= at) {
                return;
            }
            times.at.insert((kind, id.clone()), at);
            let order = times.order.entry(kind).or_default();
            if let Some(known) = known {
                order.remove(&(known, id.clone()));
            }
            order.insert((at, id.clone()));
            order.first().is_some_and(|(first, _)| *first == at)
        };
        if first {
            self.earlier.notify_one();
        }
    }

    /// When the alarm is looked at, if it is known.
    pub(crate) fn known(&self, kind: Kind, id: &DeploymentId) -> Option<Timestamp> {
        self.lock().at.get(&(kind, id.clone())).copied()
    }

    /// Alarms whose time has come, as far as there is room; they are forgotten
    /// here.
    fn due(&self, now: Timestamp, room: Room) -> Vec<(Kind, DeploymentId)> {
        let mut times = self.lock();
        let mut due = Vec::new();
        for (kind, most) in room {
            for _ in 0..most {
                let Some(order) = times.order.get_mut(&kind) else {
                    break;
                };
                match order.first() {
                    Some((at, _)) if *at <= now => {}
                    Some(_) | None => break,
                }
                if let Some((_, id)) = order.pop_first() {
                    times.at.remove(&(kind, id.clone()));
                    due.push((kind, id));
                }
            }
        }
        due
    }

    /// When the next of those is due for which there is room.
    fn next(&self, room: Room) -> Option<Timestamp> {
        let times = self.lock();
        let of = |kind| times.order.get(&kind)?.first().map(|(at, _)| *at);
        room.into_iter()
            .filter(|(_, most)| *most > 0)
            .filter_map(|(kind, _)| of(kind))
            .min()
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        // Both maps are whole at every panic point.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads when every alarm is due: at start, and now and then where other
/// workers set alarms too.
pub(crate) async fn load(context: &Context) -> Result<(), StoreError> {
    for kind in Kind::ALL {
        let prefix = key::alarms(kind.as_str());
        let mut after: Option<String> = None;
        loop {
            let page = context
                .store
                .scan(&prefix, after.as_deref(), LOAD_PAGE)
                .await?;
            let last = page.len() < LOAD_PAGE;
            for (at, bytes) in page {
                let when: When = decode(&at, &bytes)?;
                match DeploymentId::new(&at[prefix.len()..]) {
                    Ok(id) => context.alarms.look(kind, &id, when.at),
                    Err(_) => tracing::warn!(key = %at, "not a deployment; left alone"),
                }
                after = Some(at);
            }
            if last {
                break;
            }
        }
    }
    Ok(())
}

/// Lets alarms go off when their time comes, until the host goes down.
pub(crate) async fn keep(context: Arc<Context>) {
    loop {
        let now = context.now();
        let room = [
            (Kind::Expiry, AT_ONCE),
            (Kind::Drift, context.looking.room()),
            (Kind::Forget, FORGOTTEN_AT_ONCE),
        ];
        let due = context.alarms.due(now, room);
        if !due.is_empty() {
            futures::stream::iter(due)
                .for_each_concurrent(AT_ONCE, |(kind, id)| fire(&context, kind, id))
                .await;
            continue;
        }
        let next = context.alarms.next(room);
        let time = async {
            match next {
                Some(at) => context.surroundings.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time => {}
            () = context.alarms.earlier.notified() => {}
            () = context.shutdown.cancelled() => return,
        }
    }
}

async fn fire(context: &Arc<Context>, kind: Kind, id: DeploymentId) {
    if context.shutdown.is_cancelled() {
        return;
    }
    let fired = match kind {
        Kind::Expiry => expiry::fire(context, &id).await,
        Kind::Drift => drift::fire(context, &id).await,
        Kind::Forget => forget::fire(context, &id).await,
    };
    match fired {
        Ok(Fired::Done) => {}
        Ok(Fired::Later(at)) => context.alarms.look(kind, &id, at),
        Err(error) => {
            tracing::error!(deployment = %id, alarm = kind.as_str(), %error, "an alarm did not go off; it will again");
            context.alarms.look(kind, &id, again(context));
        }
    }
}

/// When an alarm that cannot go off now tries again.
pub(crate) fn again(context: &Context) -> Timestamp {
    context.now().plus_millis(AGAIN_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = [(Kind::Expiry, 1_000), (Kind::Drift, 0), (Kind::Forget, 0)];

    fn id(number: u64) -> DeploymentId {
        DeploymentId::new(format!("d{number}")).unwrap()
    }

    #[test]
    fn the_earliest_time_of_an_alarm_counts() {
        let alarms = Alarms::default();
        for at in [30, 10, 20] {
            alarms.look(Kind::Expiry, &id(1), Timestamp(at));
        }
        assert_eq!(alarms.next(ROOM), Some(Timestamp(10)));
        assert_eq!(alarms.due(Timestamp(9), ROOM), []);
        assert_eq!(alarms.due(Timestamp(10), ROOM), [(Kind::Expiry, id(1))]);
        assert_eq!(alarms.next(ROOM), None);
    }

    #[test]
    fn what_has_no_room_waits_and_keeps_nobody_waiting() {
        let alarms = Alarms::default();
        for number in 0..3 {
            alarms.look(Kind::Drift, &id(number), Timestamp(number));
        }
        alarms.look(Kind::Expiry, &id(9), Timestamp(5));
        let now = Timestamp(5);
        assert_eq!(alarms.next(ROOM), Some(now));
        assert_eq!(alarms.due(now, ROOM), [(Kind::Expiry, id(9))]);
        assert_eq!(alarms.next(ROOM), None);
        let two = [(Kind::Expiry, 1), (Kind::Drift, 2), (Kind::Forget, 0)];
        let due = alarms.due(now, two);
        assert_eq!(due, [(Kind::Drift, id(0)), (Kind::Drift, id(1))]);
        assert_eq!(alarms.known(Kind::Drift, &id(2)), Some(Timestamp(2)));
    }

    #[test]
    fn a_hundred_thousand_come_in_order() {
        let alarms = Alarms::default();
        for number in 0..100_000_u64 {
            // Every time once, in an order that is none.
            let at = number * 7_919 % 100_000;
            alarms.look(Kind::Expiry, &id(number), Timestamp(at));
        }
        let mut seen = 0;
        while let Some(next) = alarms.next(ROOM) {
            assert_eq!(next, Timestamp(seen));
            seen += alarms.due(next, ROOM).len() as u64;
        }
        assert_eq!(seen, 100_000);
        assert!(alarms.lock().at.is_empty());
    }
}
