//! Time that jumps when nothing else can happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nestor_core::execution::Jitter;
use nestor_core::ids::Timestamp;
use nestor_orchestrator::Surroundings;
use tokio::sync::oneshot;

use crate::dice::Dice;

/// Where simulated time begins.
pub const START: u64 = 1_800_000_000_000;
/// Turns of the scheduler without any news after which nothing can happen any
/// more at this time. A chain of wake-ups inside the coordinator is far shorter.
const QUIET_TURNS: u32 = 48;

/// The simulated clock, and the dice it hands out jitter from.
#[derive(Clone)]
pub struct SimClock {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    now: u64,
    next: u64,
    sleepers: BinaryHeap<Reverse<Sleeper>>,
    dice: Dice,
    news: u64,
}

struct Sleeper {
    at: u64,
    order: u64,
    wake: oneshot::Sender<()>,
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Sleeper {}
impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl SimClock {
    /// At [`START`].
    #[must_use]
    pub fn new(dice: Dice) -> Self {
        let inner = Inner {
            now: START,
            next: 0,
            sleepers: BinaryHeap::new(),
            dice,
            news: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Something happened: time must not jump yet.
    pub fn news(&self) {
        self.lock().news += 1;
    }

    /// Waits for some milliseconds.
    pub async fn sleep(&self, millis: u64) {
        let at = self.lock().now + millis;
        self.sleep_to(at).await;
    }

    fn sleep_to(&self, at: u64) -> impl Future<Output = ()> + Send + 'static {
        let mut inner = self.lock();
        inner.news += 1;
        let (wake, woken) = oneshot::channel();
        let order = inner.next;
        inner.next += 1;
        if at <= inner.now {
            let _ = wake.send(());
        } else {
            inner.sleepers.push(Reverse(Sleeper { at, order, wake }));
        }
        drop(inner);
        async move {
            // A clock that is gone wakes nobody.
            if woken.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Lets everything happen that can happen now, then jumps to the next
    /// sleeper. False when there is none: nothing will ever happen again.
    pub async fn tick(&self) -> bool {
        let mut seen = self.lock().news;
        let mut quiet = 0;
        while quiet < QUIET_TURNS {
            tokio::task::yield_now().await;
            let news = self.lock().news;
            quiet = if news == seen { quiet + 1 } else { 0 };
            seen = news;
        }
        let mut inner = self.lock();
        while let Some(Reverse(sleeper)) = inner.sleepers.pop() {
            inner.now = inner.now.max(sleeper.at);
            // Who sleeps no more (a select chose another branch) is passed over.
            if sleeper.wake.send(()).is_ok() {
                inner.news += 1;
                return true;
            }
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Surroundings for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.lock().now)
    }

    fn jitter(&self) -> Jitter {
        Jitter(u16::try_from(self.lock().dice.below(1 << 16)).unwrap_or(u16::MAX))
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.sleep_to(at.0))
    }
}
