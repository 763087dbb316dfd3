//! Turns for calls to engines: as many at once as the host, an engine and an
//! environment may have, handed out fairly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use nestor_core::environment::Environments;
use nestor_core::ids::{EngineId, Timestamp};
use nestor_core::ports::Engines;
use nestor_core::queue::{Bounds, Class, FairQueue, Place, Ticket};

use crate::context::Limits;
use crate::surroundings::Surroundings;

/// Hands out turns in the order of [`nestor_core::queue`].
pub(crate) struct Slots {
    state: Mutex<State>,
    engines: Arc<dyn Engines>,
    /// What the config allows of each.
    allowed: BTreeMap<EngineId, usize>,
    surroundings: Arc<dyn Surroundings>,
}

struct State {
    queue: FairQueue<oneshot::Sender<()>>,
    /// Turns of background work that may be asked to end.
    background: Vec<(Ticket, Arc<Notify>)>,
}

/// A turn. It is over when this is dropped.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    ticket: Ticket,
    wanted: Arc<Notify>,
}

impl Slot {
    /// Returns once work waits that could begin if this turn was over; never
    /// for a turn of work.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mine = |(_, wanted): &(Ticket, Arc<Notify>)| Arc::ptr_eq(wanted, &self.wanted);
        self.slots.lock().background.retain(|turn| !mine(turn));
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
        let waited = self.slots.lock().queue.remove(&self.place).is_some();
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
            state: Mutex::new(State {
                queue: FairQueue::new(bounds),
                background: Vec::new(),
            }),
            engines,
            surroundings,
        })
    }

    /// Waits for a turn. Giving up (dropping the future) is fine at any moment.
    pub(crate) async fn acquire(self: &Arc<Self>, ticket: &Ticket) -> Slot {
        let (sender, mut turn) = oneshot::channel();
        let bound = ticket.engine.as_ref().and_then(|id| self.bound(id));
        let place = {
            let now = self.surroundings.now();
            let mut state = self.lock();
            if let Some((engine, bound)) = bound {
                state.queue.bound_engine(engine, bound);
            }
            let place = state.queue.push(ticket, now, sender);
            state.hand_out(now);
            place
        };
        let mut waiting = Waiting {
            slots: Arc::clone(self),
            ticket: ticket.clone(),
            place,
            done: false,
        };
        if turn.try_recv().is_err() {
            self.lock().make_room(ticket);
            // The sender is in the queue until the turn comes.
            let _ = turn.await;
        }
        waiting.done = true;
        let wanted = Arc::new(Notify::new());
        if ticket.class == Class::Background {
            let turn = (ticket.clone(), Arc::clone(&wanted));
            self.lock().background.push(turn);
        }
        Slot {
            slots: Arc::clone(self),
            ticket: ticket.clone(),
            wanted,
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
        let mut state = self.lock();
        state.queue.release(ticket);
        state.hand_out(now);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // It is whole at every panic point.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Who gave up between being chosen and being told gives the turn back itself.
    fn hand_out(&mut self, now: Timestamp) {
        while let Some((_, waiting)) = self.queue.next(now) {
            let _ = waiting.send(());
        }
    }

    /// Asks one turn of background work to end, if that is what work waits for.
    fn make_room(&mut self, waiting: &Ticket) {
        let in_the_way = |(turn, _): &(Ticket, Arc<Notify>)| self.queue.in_the_way(turn, waiting);
        if waiting.class == Class::Work
            && let Some(place) = self.background.iter().position(in_the_way)
        {
            self.background.swap_remove(place).1.notify_one();
        }
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
        assert_eq!(slots.lock().queue.under_way(), 1);
        drop(fourth);
        assert_eq!(slots.lock().queue.under_way(), 0);
        assert_eq!(slots.lock().queue.waiting(), 0);
    }

    #[tokio::test]
    async fn background_work_is_asked_to_end_by_work_that_waits_for_it() {
        let of = |class, engine: &str| Ticket {
            class,
            engine: Some(EngineId::new(engine).unwrap()),
            ..ticket()
        };
        let mut bounds = Bounds::of(10);
        for engine in ["x", "y"] {
            bounds.engines.insert(EngineId::new(engine).unwrap(), 1);
        }
        let engines = Arc::new(FakeEngines::with(&["x", "y"]));
        let slots = Slots::new(bounds, engines, Arc::new(RealSurroundings));
        let look = slots.acquire(&of(Class::Background, "x")).await;
        let mut wanted = Box::pin(look.wanted());
        // None of these waits for it.
        let other = slots.acquire(&of(Class::Work, "y")).await;
        let (work, background) = (of(Class::Work, "y"), of(Class::Background, "x"));
        let mut more = Box::pin(slots.acquire(&work));
        assert!(futures::poll!(&mut more).is_pending());
        let mut second = Box::pin(slots.acquire(&background));
        assert!(futures::poll!(&mut second).is_pending());
        assert!(futures::poll!(&mut wanted).is_pending());
        let work = of(Class::Work, "x");
        let mut work = Box::pin(slots.acquire(&work));
        assert!(futures::poll!(&mut work).is_pending());
        assert!(futures::poll!(&mut wanted).is_ready());
        drop(wanted);
        drop(look);
        let turn = work.await;
        assert!(futures::poll!(&mut second).is_pending());
        drop((turn, other));
        second.await;
        assert!(slots.lock().background.is_empty());
    }

    fn ticket_ref() -> &'static Ticket {
        Box::leak(Box::new(ticket()))
    }
}
