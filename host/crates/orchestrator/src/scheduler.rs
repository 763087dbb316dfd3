//! Which deployments are worked on now, which wait for their turn, and which
//! wait for a time.
//!
//! A deployment that has nothing to do but to wait for a time (a claim that
//! takes twenty minutes, a long backoff) is parked: it has no task, no run in
//! memory and no timer of its own, only an entry here of a few hundred bytes.
//! One task sleeps until the earliest of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tracing::Instrument as _;

use nestor_core::ids::{DeploymentId, Timestamp};
use nestor_core::queue::{Bounds, FairQueue, Place, Ticket};

use crate::context::Context;
use crate::driver::drive;
use crate::live::Live;
use crate::surroundings::is_due;
use crate::worker::Lease;

/// One composer leaves a quarter of the places to the others.
const SHARE: usize = 4;

/// How many deployments have something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// They are worked on.
    pub active: usize,
    /// They wait for their turn.
    pub queued: usize,
    /// They have nothing to do before some time.
    pub parked: usize,
}

/// Entries and the queue of those that wait for their turn.
pub(crate) struct Scheduler {
    state: Mutex<State>,
    /// Somebody may have to be woken earlier than was thought.
    earlier: Notify,
}

struct State {
    entries: HashMap<DeploymentId, Entry>,
    queue: FairQueue<DeploymentId>,
    sleepers: BTreeSet<(Timestamp, DeploymentId)>,
}

enum Entry {
    /// Waits for its turn.
    Queued {
        lease: Option<Lease>,
        ticket: Ticket,
        place: Place,
        since: Timestamp,
    },
    /// Has a task.
    Active { handle: Handle, ticket: Ticket },
    /// Waits for a time.
    Parked {
        until: Timestamp,
        ticket: Ticket,
        lease: Option<Lease>,
    },
}

/// A deployment's task, from the outside.
#[derive(Clone)]
pub(crate) struct Handle {
    /// Rung when there is something in the inbox.
    pub(crate) bell: Arc<Notify>,
    /// Rung when operations under way have come further.
    pub(crate) further: Arc<Notify>,
    /// Rung since the inbox was last read.
    rung: Arc<AtomicBool>,
    /// What it is doing, for views.
    live: Arc<Mutex<Option<Live>>>,
}

impl Handle {
    fn new() -> Self {
        Self {
            bell: Arc::new(Notify::new()),
            further: Arc::new(Notify::new()),
            rung: Arc::new(AtomicBool::new(false)),
            live: Arc::default(),
        }
    }

    /// To be called before the inbox is read: what comes after is seen.
    pub(crate) fn heard(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }

    /// There is something to look at.
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
        self.bell.notify_one();
    }

    /// The live view, held only for the time of `work`, which must not block.
    pub(crate) fn live<T>(&self, work: impl FnOnce(&mut Option<Live>) -> T) -> T {
        // A view is whole at every panic point.
        work(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How a task left its deployment.
pub(crate) enum Left {
    /// There is nothing to do.
    Idle,
    /// There is, at that time. With the lease, if it is still held.
    Until(Timestamp, Option<Lease>),
    /// The host goes down.
    Shutdown,
}

impl Scheduler {
    /// At most so many tasks at once.
    pub(crate) fn new(runs: usize) -> Self {
        let bounds = Bounds {
            per_composer: (runs - runs / SHARE).max(1),
            ..Bounds::of(runs)
        };
        Self {
            state: Mutex::new(State {
                entries: HashMap::new(),
                queue: FairQueue::new(bounds),
                sleepers: BTreeSet::new(),
            }),
            earlier: Notify::new(),
        }
    }

    /// The deployment's task, if it has one now.
    pub(crate) fn handle(&self, id: &DeploymentId) -> Option<Handle> {
        match self.lock().entries.get(id) {
            Some(Entry::Active { handle, .. }) => Some(handle.clone()),
            Some(Entry::Queued { .. } | Entry::Parked { .. }) | None => None,
        }
    }

    /// How many there are of each kind.
    pub(crate) fn occupancy(&self) -> Occupancy {
        let state = self.lock();
        Occupancy {
            active: state.queue.under_way(),
            queued: state.queue.waiting(),
            parked: state.sleepers.len(),
        }
    }

    /// How many others wait for their turn beside this one; none when it does not.
    pub(crate) fn queued_with(&self, id: &DeploymentId) -> Option<usize> {
        let state = self.lock();
        match state.entries.get(id) {
            Some(Entry::Queued { .. }) => Some(state.queue.waiting().saturating_sub(1)),
            Some(Entry::Active { .. } | Entry::Parked { .. }) | None => None,
        }
    }

    /// Whether it is worked on here, or will be.
    pub(crate) fn knows(&self, id: &DeploymentId) -> bool {
        self.lock().entries.contains_key(id)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The maps are whole at every await and panic point.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// There is something to do for a deployment: it gets a turn, or, if it has a
/// task, that task is told. One that waits already does so by the new ticket,
/// as if it had come with that.
pub(crate) fn wake(context: &Arc<Context>, id: &DeploymentId, ticket: &Ticket) {
    if context.shutdown.is_cancelled() {
        return;
    }
    {
        let mut state = context.scheduler.lock();
        match state.entries.get(id) {
            Some(Entry::Active { handle, .. }) => {
                handle.ring();
                return;
            }
            Some(Entry::Queued { ticket: old, .. }) if old == ticket => return,
            Some(Entry::Queued {
                lease,
                place,
                since,
                ..
            }) => {
                let (lease, place, since) = (lease.clone(), place.clone(), *since);
                state.enqueue(id, ticket, lease, since);
                state.queue.remove(&place);
            }
            Some(Entry::Parked { until, lease, .. }) => {
                let (until, lease) = (*until, lease.clone());
                state.sleepers.remove(&(until, id.clone()));
                state.enqueue(id, ticket, lease, context.now());
            }
            None => state.enqueue(id, ticket, None, context.now()),
        }
    }
    give_turns(context);
}

/// Enters a deployment that has nothing to do before a time.
pub(crate) fn park(context: &Context, id: &DeploymentId, ticket: Ticket, until: Timestamp) {
    let mut state = context.scheduler.lock();
    if !state.entries.contains_key(id) {
        state.park(id, ticket, until, None);
        drop(state);
        context.scheduler.earlier.notify_one();
    }
}

/// Wakes what is parked when its time comes, until the host goes down.
pub(crate) async fn keep_time(context: Arc<Context>) {
    loop {
        let (woken, next) = context.scheduler.lock().wake_due(context.now());
        if woken {
            give_turns(&context);
        }
        let time = async {
            match next {
                Some(at) => context.surroundings.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time => {}
            () = context.scheduler.earlier.notified() => {}
            () = context.shutdown.cancelled() => return,
        }
    }
}

/// Starts tasks for those whose turn it is.
fn give_turns(context: &Arc<Context>) {
    loop {
        let (id, handle, lease) = {
            let mut state = context.scheduler.lock();
            let Some((ticket, id)) = state.queue.next(context.now()) else {
                break;
            };
            let handle = Handle::new();
            let active = Entry::Active {
                handle: handle.clone(),
                ticket,
            };
            let lease = match state.entries.insert(id.clone(), active) {
                Some(Entry::Queued { lease, .. } | Entry::Parked { lease, .. }) => lease,
                Some(Entry::Active { .. }) | None => None,
            };
            (id, handle, lease)
        };
        let span = tracing::info_span!(parent: None, "deployment", deployment = %id);
        let work = task(Arc::clone(context), id, handle, lease);
        context.tasks.spawn(work.instrument(span));
    }
    context.scheduler.gauges();
}

async fn task(context: Arc<Context>, id: DeploymentId, handle: Handle, lease: Option<Lease>) {
    let left = drive(&context, &id, &handle, lease).await;
    context.scheduler.leave(&context, &id, left);
    give_turns(&context);
}

impl Scheduler {
    /// A task is over. What rang meanwhile gets another turn.
    fn leave(&self, context: &Context, id: &DeploymentId, left: Left) {
        let mut state = self.lock();
        let Some(Entry::Active { handle, ticket }) = state.entries.remove(id) else {
            return;
        };
        state.queue.release(&ticket);
        let rung = handle.rung.load(Ordering::SeqCst);
        match left {
            Left::Shutdown => {}
            Left::Idle if rung => state.enqueue(id, &ticket, None, context.now()),
            Left::Idle => {}
            Left::Until(_, lease) if rung => state.enqueue(id, &ticket, lease, context.now()),
            Left::Until(until, lease) => {
                state.park(id, ticket, until, lease);
                drop(state);
                self.earlier.notify_one();
            }
        }
    }

    fn gauges(&self) {
        let now = self.occupancy();
        metrics::gauge!(crate::metrics::ACTIVE).set(now.active as f64);
        metrics::gauge!(crate::metrics::QUEUED).set(now.queued as f64);
        metrics::gauge!(crate::metrics::PARKED).set(now.parked as f64);
    }
}

impl State {
    fn enqueue(
        &mut self,
        id: &DeploymentId,
        ticket: &Ticket,
        lease: Option<Lease>,
        since: Timestamp,
    ) {
        let queued = Entry::Queued {
            lease,
            ticket: ticket.clone(),
            place: self.queue.push(ticket, since, id.clone()),
            since,
        };
        self.entries.insert(id.clone(), queued);
    }

    /// Queues what is due. Says whether anything was, and when something else is.
    fn wake_due(&mut self, now: Timestamp) -> (bool, Option<Timestamp>) {
        let mut woken = false;
        loop {
            // What is too far away to be true stands at the end.
            let ends = [self.sleepers.first(), self.sleepers.last()];
            let found = ends.into_iter().flatten().find(|(at, _)| is_due(*at, now));
            let Some(due) = found.cloned() else {
                break;
            };
            self.sleepers.remove(&due);
            let (_, id) = due;
            if let Some(Entry::Parked { ticket, lease, .. }) = self.entries.remove(&id) {
                self.enqueue(&id, &ticket, lease, now);
                woken = true;
            }
        }
        (woken, self.sleepers.first().map(|(at, _)| *at))
    }

    fn park(&mut self, id: &DeploymentId, ticket: Ticket, until: Timestamp, lease: Option<Lease>) {
        self.sleepers.insert((until, id.clone()));
        let parked = Entry::Parked {
            until,
            ticket,
            lease,
        };
        self.entries.insert(id.clone(), parked);
    }
}
