//! Time and chance, so that a simulation can bring its own.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nestor_core::execution::Jitter;
use nestor_core::ids::Timestamp;

/// For how long something may be left alone at most: an operation that goes on
/// outside is looked at so often, and so is what a run waits for. Nobody wants
/// to hear later than that.
pub(crate) const LONGEST_WAIT_MS: u64 = 600_000;

/// Whether the time has come to look at something. What is further away than
/// anybody waits was written down by a clock that was put back since.
pub(crate) fn is_due(at: Timestamp, now: Timestamp) -> bool {
    at <= now || at.0 - now.0 > LONGEST_WAIT_MS
}

/// Where the orchestrator gets time and chance from.
pub trait Surroundings: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
    /// A random number for a backoff.
    fn jitter(&self) -> Jitter;
    /// Waits until that time; at once if it has passed.
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The real ones.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealSurroundings;

impl Surroundings for RealSurroundings {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn jitter(&self) -> Jitter {
        let mut bytes = [0; 2];
        // Without randomness retries of many resources only come closer together.
        let _ = getrandom::fill(&mut bytes);
        Jitter(u16::from_le_bytes(bytes))
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let wait = Duration::from_millis(at.0.saturating_sub(self.now().0));
        Box::pin(tokio::time::sleep(wait))
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    // Later than year 9999 cannot be written so; such a time is nobody's.
    const LAST: u64 = 253_402_300_799_999;
    let time = UNIX_EPOCH + Duration::from_millis(at.0.min(LAST));
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_further_away_than_anybody_waits_is_due() {
        let now = Timestamp(1_000_000);
        for (at, due) in [
            (0, true),
            (1_000_000, true),
            (1_000_001, false),
            (1_600_000, false),
            (1_600_001, true),
            (u64::MAX, true),
        ] {
            assert_eq!(is_due(Timestamp(at), now), due, "{at}");
        }
    }

    #[test]
    fn writes_rfc3339() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_564_799_999, "2026-11-24T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(Timestamp(at)), text);
        }
    }
}
