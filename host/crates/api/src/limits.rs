//! Every bound of the API, with its reason.

use std::time::Duration;

/// How much and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests under way at once, event streams not counted; more are
    /// answered 503 at once, which is kinder than a queue nobody sees.
    pub requests: usize,
    /// Event streams open at once: a few kilobytes each.
    pub streams: usize,
    /// Connections open at once; more wait in the kernel's queue.
    pub connections: usize,
    /// From the first byte of a request to its answer.
    pub answer: Duration,
    /// The same for dry runs and component uploads, which call engines.
    pub slow_answer: Duration,
    /// A body that trickles in slower than this is given up.
    pub body: Duration,
    /// Silence on an event stream before a comment is sent: proxies cut
    /// connections that are silent for 30 to 60 seconds.
    pub keep_alive: Duration,
    /// After the signal to stop, requests under way get this long.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 512,
            streams: 1024,
            connections: 4096,
            answer: Duration::from_secs(30),
            slow_answer: Duration::from_secs(600),
            body: Duration::from_secs(20),
            keep_alive: Duration::from_secs(15),
            drain: Duration::from_secs(10),
        }
    }
}

/// A component: Helm's own code with everything it uses is 90 MB.
pub const MAX_COMPONENT_BYTES: usize = 128 << 20;
/// An `engine.toml` is a page of text.
pub const MAX_MANIFEST_BYTES: usize = 64 << 10;
/// The body of an action is one small object.
pub const MAX_ACTION_BYTES: usize = 4 << 10;
/// A subscription is an address, two secrets and a few words.
pub const MAX_WEBHOOK_BYTES: usize = 16 << 10;
/// Dead letters of a page: each carries its event.
pub const MAX_LETTERS: usize = 100;
/// Bodies held in memory at once, of all requests: parsing takes a multiple of
/// this, and a host should live in a few hundred megabytes.
pub const BODY_BUDGET: usize = 256 << 20;
/// What is read and dropped of a body that is refused, so that a client which
/// sends before it reads still sees the answer.
pub const MAX_DRAINED_BYTES: usize = 32 << 20;
/// Items of a page, when the request does not say.
pub const DEFAULT_PAGE: usize = 50;
/// Items of a page, at most.
pub const MAX_PAGE: usize = 500;
/// A correlation id is a UUID or a trace id; this leaves room for prefixes.
pub const MAX_CORRELATION_ID: usize = 128;
/// As many as payment APIs allow.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;
/// A cursor is at most a name.
pub const MAX_CURSOR: usize = 512;
/// All headers of a request together.
pub const MAX_HEADER_BYTES: usize = 32 << 10;
/// Browsers behind proxies send about 40.
pub const MAX_HEADERS: usize = 100;
/// A client that has not sent its headers by then is not going to.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
