//! Processor time of one call, measured where it is spent.
//!
//! The epoch is engine-wide: it says when to look, not how much a guest used.
//! A guest that waits for a tool uses nothing, one that shares a processor with
//! nine others uses a tenth. So the thread's own clock is read around each poll
//! of the call, and again whenever the epoch stops the guest.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How much processor time a call used, and how much it may.
pub(crate) struct Meter {
    budget: Duration,
    /// Of finished polls, in nanoseconds.
    used: AtomicU64,
    /// The thread's clock when the running poll began.
    began: AtomicU64,
}

impl Meter {
    pub(crate) fn new(budget: Duration) -> Arc<Self> {
        Arc::new(Self {
            budget,
            used: AtomicU64::new(0),
            began: AtomicU64::new(0),
        })
    }

    pub(crate) fn budget(&self) -> Duration {
        self.budget
    }

    /// From within a poll: whether the budget is spent.
    pub(crate) fn exhausted(&self) -> bool {
        let running = thread_clock().saturating_sub(self.began.load(Ordering::Relaxed));
        let used = self.used.load(Ordering::Relaxed).saturating_add(running);
        u128::from(used) > self.budget.as_nanos()
    }
}

/// Nanoseconds that this thread has been running.
fn thread_clock() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// A future whose polls are measured.
pub(crate) struct Metered<F> {
    meter: Arc<Meter>,
    future: Pin<Box<F>>,
}

impl<F: Future> Metered<F> {
    pub(crate) fn new(meter: Arc<Meter>, future: F) -> Self {
        Self {
            meter,
            future: Box::pin(future),
        }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let began = thread_clock();
        self.meter.began.store(began, Ordering::Relaxed);
        let polled = self.future.as_mut().poll(cx);
        let spent = thread_clock().saturating_sub(began);
        self.meter.used.fetch_add(spent, Ordering::Relaxed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_is_free_and_computing_is_not() {
        let meter = Meter::new(Duration::from_millis(20));
        let own = Arc::clone(&meter);
        Metered::new(Arc::clone(&meter), async move {
            tokio::time::sleep(Duration::from_millis(60)).await;
            assert!(!own.exhausted(), "a wait is not processor time");
            let end = std::time::Instant::now() + Duration::from_secs(30);
            while !own.exhausted() {
                assert!(std::time::Instant::now() < end, "computing must count");
                std::hint::spin_loop();
            }
        })
        .await;
        assert!(meter.used.load(Ordering::Relaxed) >= 20_000_000);
    }
}
