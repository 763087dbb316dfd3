//! How much of the machine a call may take.

use std::time::Duration;

/// The bounds of every call of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// All linear memories and tables of the instance together, in bytes.
    pub memory: u64,
    /// Time on a processor, in one call.
    pub cpu: Duration,
    /// From start to end of one call, waits and tools included.
    pub wall: Duration,
    /// Log text of one call, in bytes; more is counted and dropped.
    pub log_bytes: u64,
    /// Log lines and progress reports together; more are counted and dropped.
    pub events_per_second: u32,
    /// All that one call answers, in bytes.
    pub output_bytes: u64,
    /// Calls of this engine at once; others wait.
    pub concurrency: u32,
}

impl Limits {
    /// A Rust guest needs 2 MiB and Helm 40; twice that leaves room for documents.
    pub const DEFAULT_MEMORY: u64 = 96 << 20;
    /// Half of what 32-bit WebAssembly can address.
    pub const MAX_MEMORY: u64 = 2 << 30;
    /// A thousand times what an ordinary call takes.
    pub const DEFAULT_CPU: Duration = Duration::from_secs(10);
    /// Whatever computes longer than this belongs into a tool.
    pub const MAX_CPU: Duration = Duration::from_secs(600);
    /// Long waits are `pending`, not a call; tools are what takes minutes.
    pub const DEFAULT_WALL: Duration = Duration::from_secs(300);
    /// A day, as long as a resource's own timeout may be.
    pub const MAX_WALL: Duration = Duration::from_secs(86_400);
    /// Some ten thousand lines.
    pub const DEFAULT_LOG_BYTES: u64 = 1 << 20;
    /// What a store can take of every call without being a log store.
    pub const MAX_LOG_BYTES: u64 = 64 << 20;
    /// What a person can watch.
    pub const DEFAULT_EVENTS_PER_SECOND: u32 = 20;
    /// What a hundred watchers of a host can be sent.
    pub const MAX_EVENTS_PER_SECOND: u32 = 1000;
    /// The manifests of the largest public charts are under 4 MiB.
    pub const DEFAULT_OUTPUT_BYTES: u64 = 8 << 20;
    /// The store's largest value.
    pub const MAX_OUTPUT_BYTES: u64 = 64 << 20;
    /// Enough to keep every processor busy while tools wait for the network.
    pub const DEFAULT_CONCURRENCY: u32 = 16;
    /// The instance pool's size.
    pub const MAX_CONCURRENCY: u32 = 1000;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: Self::DEFAULT_MEMORY,
            cpu: Self::DEFAULT_CPU,
            wall: Self::DEFAULT_WALL,
            log_bytes: Self::DEFAULT_LOG_BYTES,
            events_per_second: Self::DEFAULT_EVENTS_PER_SECOND,
            output_bytes: Self::DEFAULT_OUTPUT_BYTES,
            concurrency: Self::DEFAULT_CONCURRENCY,
        }
    }
}
