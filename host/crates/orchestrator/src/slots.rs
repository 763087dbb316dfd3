//! Turns for calls to engines: as many at once as the host, an engine and an
//! environment may have, handed out fairly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use nestor_core::environment::Environments;
use nestor_core::ids::{EngineId, Timestamp};
use nestor_core::ports::Engines;
use nestor_core::queue::{Bounds, FairQueue, Place, Ticket};

use crate::context::Limits;
use crate::surroundings::Surroundings;

/// Hands out turns in the order of [`nestor_core::queue`].
pub(crate) struct Slots {
    queue: Mutex<FairQueue<oneshot::Sender<()>>>,
    engines: Arc<dyn Engines>,
    /// What the config allows of each.
    allowed: BTreeMap<EngineId, usize>,
    surroundings: Arc<dyn Surroundings>,
}

/// A turn. It is over when this is dropped.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    ticket: Ticket,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.over(&self.ticket);
    }
}

/// Somebody who waits. Dropped, it gives its place up, or its turn back.
struct Waiting {
    slots: Arc<Slots>,
    ticket: Ticket,
    place: Place,
    done: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let waited = self.slots.lock().remove(&self.place).is_some();
        if !waited {
            self.slots.over(&self.ticket);
        }
    }
}

impl Slots {
    pub(crate) fn new(
        bounds: Bounds,
        engines: Arc<dyn Engines>,
        surroundings: Arc<dyn Surroundings>,
    ) -> Arc<Self> {
        Arc::new(Self {
            allowed: bounds.engines.clone(),
            queue: Mutex::new(FairQueue::new(bounds)),
            engines,
            surroundings,
        })
    }

    /// Waits for a turn. Giving up (dropping the future) is fine at any moment.
    pub(crate) async fn acquire(self: &Arc<Self>, ticket: &Ticket) -> Slot {
        let (sender, turn) = oneshot::channel();
        let bound = ticket.engine.as_ref().and_then(|id| self.bound(id));
        let place = {
            let now = self.surroundings.now();
            let mut queue = self.lock();
            if let Some((engine, bound)) = bound {
                queue.bound_engine(engine, bound);
            }
            let place = queue.push(ticket, now, sender);
            hand_out(&mut queue, now);
            place
        };
        let mut waiting = Waiting {
            slots: Arc::clone(self),
            ticket: ticket.clone(),
            place,
            done: false,
        };
        // The sender is in the queue until the turn comes.
        let came = turn.await.is_ok();
        waiting.done = came;
        Slot {
            slots: Arc::clone(self),
            ticket: ticket.clone(),
        }
    }

    /// What an engine takes at once, so that who waits for it waits here, where
    /// turns are fair, and not in front of it. Another version may take more.
    fn bound(&self, engine: &EngineId) -> Option<(EngineId, usize)> {
        let head = self.engines.head(engine).ok()?;
        let takes = usize::try_from(head.concurrency).unwrap_or(usize::MAX);
        let allowed = self.allowed.get(engine).copied().unwrap_or(usize::MAX);
        Some((head.id, takes.min(allowed)))
    }

    fn over(&self, ticket: &Ticket) {
        let now = self.surroundings.now();
        let mut queue = self.lock();
        queue.release(ticket);
        hand_out(&mut queue, now);
    }

    fn lock(&self) -> MutexGuard<'_, FairQueue<oneshot::Sender<()>>> {
        // The queue is whole at every panic point.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who gave up between being chosen and being told gives the turn back itself.
fn hand_out(queue: &mut FairQueue<oneshot::Sender<()>>, now: Timestamp) {
    while let Some((_, waiting)) = queue.next(now) {
        let _ = waiting.send(());
    }
}

/// The bounds of calls.
pub(crate) fn bounds(limits: &Limits, environments: &Environments) -> Bounds {
    let environments = environments.iter().filter_map(|(name, policy)| {
        let at_once = usize::try_from(policy.concurrency?.get()).ok()?;
        Some((name.clone(), at_once))
    });
    Bounds {
        engines: limits.engines.clone(),
        environments: environments.collect(),
        ..Bounds::of(limits.calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surroundings::RealSurroundings;
    use nestor_core::ids::{ComposerId, EnvironmentName};
    use nestor_core::queue::Class;
    use nestor_testkit::FakeEngines;

    fn ticket() -> Ticket {
        Ticket {
            composer: ComposerId::new("a").unwrap(),
            environment: EnvironmentName::new("e").unwrap(),
            engine: Some(EngineId::new("x").unwrap()),
            priority: 0,
            class: Class::Work,
        }
    }

    #[tokio::test]
    async fn a_turn_that_nobody_takes_goes_on_to_the_next() {
        let slots = Slots::new(
            Bounds::of(1),
            Arc::new(FakeEngines::with(&["x"])),
            Arc::new(RealSurroundings),
        );
        let first = slots.acquire(&ticket()).await;
        // Waits, and gives up before its turn.
        let mut second = Box::pin(slots.acquire(ticket_ref()));
        assert!(futures::poll!(&mut second).is_pending());
        // Waits, and gives up after its turn came but before it was told.
        let mut third = Box::pin(slots.acquire(ticket_ref()));
        assert!(futures::poll!(&mut third).is_pending());
        drop(second);
        drop(first);
        drop(third);
        let fourth = slots.acquire(&ticket()).await;
        assert_eq!(slots.lock().under_way(), 1);
        drop(fourth);
        assert_eq!(slots.lock().under_way(), 0);
        assert_eq!(slots.lock().waiting(), 0);
    }

    fn ticket_ref() -> &'static Ticket {
        Box::leak(Box::new(ticket()))
    }
}
