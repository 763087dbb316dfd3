//! What follows from an answer.

use crate::execution::Jitter;
use crate::ids::Timestamp;
use crate::ports::NoticeAnswer;

/// The wait after the first failure: a blip costs a second.
pub const BACKOFF_BASE_MS: u64 = 1_000;
/// The longest wait. A receiver that comes back hears of it within that time.
pub const BACKOFF_MAX_MS: u64 = 600_000;
/// A receiver may ask for a longer wait than ours, but not for ever.
pub const MAX_RETRY_AFTER_MS: u64 = 3_600_000;
/// Attempts for one event while the receiver cannot be reached or says that it
/// cannot now: about sixteen hours.
pub const MAX_ATTEMPTS: u32 = 100;
/// Attempts for one event that the receiver refuses: it will mostly refuse it
/// again, and the events after it wait.
pub const REFUSED_ATTEMPTS: u32 = 5;
/// An event older than that is no news; it gets one attempt.
pub const MAX_AGE_MS: u64 = 24 * 3_600_000;

/// What to do with an event after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It arrived.
    Delivered,
    /// Again, not before that time.
    Again {
        /// When.
        at: Timestamp,
        /// What went wrong.
        reason: String,
    },
    /// It becomes a dead letter.
    Dead {
        /// Why.
        reason: String,
    },
    /// It becomes a dead letter, and the subscription is switched off.
    Gone {
        /// Why.
        reason: String,
    },
}

/// What follows from the answer to an attempt. `attempts` counts it in.
#[must_use]
pub fn next(
    answer: &NoticeAnswer,
    attempts: u32,
    since: Timestamp,
    now: Timestamp,
    jitter: Jitter,
) -> Next {
    let (reason, most, wish) = match answer {
        NoticeAnswer::Status {
            code: 200..=299, ..
        } => return Next::Delivered,
        NoticeAnswer::Status { code: 410, .. } => {
            return Next::Gone {
                reason: "the receiver answered 410 Gone".into(),
            };
        }
        NoticeAnswer::Status {
            code: code @ (408 | 425 | 429 | 500..=599),
            retry_after_ms,
        } => (
            format!("the receiver answered {code}"),
            MAX_ATTEMPTS,
            *retry_after_ms,
        ),
        NoticeAnswer::Status {
            code: code @ 300..=399,
            ..
        } => (
            format!("the receiver answered {code}; redirects are not followed"),
            REFUSED_ATTEMPTS,
            None,
        ),
        NoticeAnswer::Status {
            code,
            retry_after_ms,
        } => (
            format!("the receiver answered {code}"),
            REFUSED_ATTEMPTS,
            *retry_after_ms,
        ),
        NoticeAnswer::Unreachable(reason) => (reason.clone(), MAX_ATTEMPTS, None),
        NoticeAnswer::NotAllowed(reason) => {
            return Next::Dead {
                reason: reason.clone(),
            };
        }
    };
    if attempts >= most {
        return Next::Dead {
            reason: format!("{reason}; {attempts} attempts"),
        };
    }
    if now.0.saturating_sub(since.0) >= MAX_AGE_MS {
        return Next::Dead {
            reason: format!("{reason}; the event is older than a day"),
        };
    }
    let doublings = attempts.saturating_sub(1).min(16);
    let full = (BACKOFF_BASE_MS << doublings).min(BACKOFF_MAX_MS);
    let half = full / 2;
    let wait = half + (full - half) * u64::from(jitter.0) / u64::from(u16::MAX);
    let wait = wait.max(wish.unwrap_or(0).min(MAX_RETRY_AFTER_MS));
    Next::Again {
        at: now.plus_millis(wait),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn after(answer: NoticeAnswer, attempts: u32, age: u64) -> Next {
        next(
            &answer,
            attempts,
            Timestamp(NOW.0 - age),
            NOW,
            Jitter(u16::MAX),
        )
    }

    fn status(code: u16) -> NoticeAnswer {
        NoticeAnswer::Status {
            code,
            retry_after_ms: None,
        }
    }

    #[test]
    fn every_answer() {
        let again = |wait: u64| move |next: &Next| matches!(next, Next::Again { at, .. } if *at == NOW.plus_millis(wait));
        let dead = |next: &Next| matches!(next, Next::Dead { .. });
        let down = || NoticeAnswer::Unreachable("no answer".into());
        type Right = Box<dyn Fn(&Next) -> bool>;
        let table: Vec<(NoticeAnswer, u32, u64, Right)> = vec![
            (status(200), 1, 0, Box::new(|n| *n == Next::Delivered)),
            (
                status(204),
                99,
                MAX_AGE_MS,
                Box::new(|n| *n == Next::Delivered),
            ),
            (
                status(410),
                1,
                0,
                Box::new(|n| matches!(n, Next::Gone { .. })),
            ),
            (status(500), 1, 0, Box::new(again(1_000))),
            (status(503), 2, 0, Box::new(again(2_000))),
            (status(429), 99, 0, Box::new(again(BACKOFF_MAX_MS))),
            (status(500), MAX_ATTEMPTS, 0, Box::new(dead)),
            (status(500), 1, MAX_AGE_MS, Box::new(dead)),
            (status(400), 4, 0, Box::new(again(8_000))),
            (status(400), REFUSED_ATTEMPTS, 0, Box::new(dead)),
            (status(302), REFUSED_ATTEMPTS, 0, Box::new(dead)),
            (down(), 50, 0, Box::new(again(BACKOFF_MAX_MS))),
            (down(), MAX_ATTEMPTS, 0, Box::new(dead)),
            (
                NoticeAnswer::NotAllowed("private".into()),
                1,
                0,
                Box::new(dead),
            ),
        ];
        for (answer, attempts, age, expected) in table {
            let got = after(answer.clone(), attempts, age);
            assert!(expected(&got), "{answer:?} after {attempts}: {got:?}");
        }
    }

    #[test]
    fn a_wish_to_wait_is_honoured_within_reason() {
        let wish = |ms| NoticeAnswer::Status {
            code: 503,
            retry_after_ms: Some(ms),
        };
        for (ms, wait) in [
            (0, 1_000),
            (120_000, 120_000),
            (u64::MAX, MAX_RETRY_AFTER_MS),
        ] {
            let got = after(wish(ms), 1, 0);
            assert!(
                matches!(got, Next::Again { at, .. } if at == NOW.plus_millis(wait)),
                "{got:?}"
            );
        }
    }
}
