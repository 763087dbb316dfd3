//! Webhooks: who wants to hear of what, how an answer is taken, and how a
//! message is signed. Sending is the shell's, behind
//! [`Notifier`](crate::ports::Notifier).

mod attempt;
mod filter;
mod signature;
mod subscription;

pub use attempt::{
    BACKOFF_BASE_MS, BACKOFF_MAX_MS, MAX_AGE_MS, MAX_ATTEMPTS, MAX_RETRY_AFTER_MS, Next,
    REFUSED_ATTEMPTS, next,
};
pub use filter::{About, Filter, MAX_TYPES, Pattern, TYPE_PREFIX};
pub use signature::{MAX_SECRET_BYTES, MIN_SECRET_BYTES, SECRET_PREFIX, Secret, signature};
pub use subscription::{MAX_URL_BYTES, Secrets, SubscriptionRequest, parse};

/// Subscriptions of one host. Each has a task and a stream of commits of its
/// own; a bus that fans out is the better tool for more.
pub const MAX_SUBSCRIPTIONS: usize = 100;
/// Bytes of one message. An event says what happened in a few lines; what is
/// longer is cut, because receivers and their proxies refuse large bodies.
pub const MAX_PAYLOAD_BYTES: usize = 256 << 10;
/// Events of one subscription that wait. About a day of a busy host; events
/// beyond that become dead letters at once, so that a receiver that is down
/// cannot fill the disk.
pub const MAX_OUTBOX: u64 = 10_000;
/// Dead letters kept per subscription; the oldest go first.
pub const MAX_DEAD_LETTERS: u64 = 1_000;
