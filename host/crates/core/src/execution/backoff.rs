//! How long to wait before the next attempt.

use serde::{Deserialize, Serialize};

/// The first wait. Short enough that a blip costs little, long enough that a
/// restarting peer is not hammered.
pub const BACKOFF_BASE_MS: u64 = 500;
/// The longest wait: people who watch should see something move every minute.
pub const BACKOFF_MAX_MS: u64 = 60_000;

/// A random number from the shell, uniform over `u16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Jitter(pub u16);

/// Exponential backoff with equal jitter: half of the wait is certain, half is
/// random, so that many failures at once do not come back at once.
///
/// `attempt` is the attempt that just failed, from 1. The engine's own wish
/// (`retry_after_ms`) is a lower bound, itself bounded by [`BACKOFF_MAX_MS`].
#[must_use]
pub fn backoff_ms(attempt: u32, jitter: Jitter, retry_after_ms: Option<u64>) -> u64 {
    let doublings = attempt.saturating_sub(1).min(16);
    let full = (BACKOFF_BASE_MS << doublings).min(BACKOFF_MAX_MS);
    let half = full / 2;
    let wait = half + (full - half) * u64::from(jitter.0) / u64::from(u16::MAX);
    wait.max(retry_after_ms.unwrap_or(0).min(BACKOFF_MAX_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_within_bounds() {
        let (low, high) = (Jitter(0), Jitter(u16::MAX));
        assert_eq!(
            (backoff_ms(1, low, None), backoff_ms(1, high, None)),
            (250, 500)
        );
        assert_eq!(
            (backoff_ms(2, low, None), backoff_ms(2, high, None)),
            (500, 1_000)
        );
        assert_eq!(backoff_ms(u32::MAX, high, None), BACKOFF_MAX_MS);
        assert_eq!(backoff_ms(1, low, Some(5_000)), 5_000);
        assert_eq!(backoff_ms(1, low, Some(u64::MAX)), BACKOFF_MAX_MS);
    }
}
