//! The names of what this crate measures.

/// Counter; labels `engine`, `function`, `outcome` (`ok` or the kind of error).
pub const CALLS: &str = "nestor_engine_calls_total";
/// Histogram of seconds from the granted slot to the answer; labels `engine`, `function`.
pub const CALL_SECONDS: &str = "nestor_engine_call_seconds";
/// Histogram of seconds a call waited for a slot; label `engine`.
pub const QUEUE_SECONDS: &str = "nestor_engine_queue_seconds";
/// Counter of traps and broken contracts; label `engine`.
pub const TRAPS: &str = "nestor_engine_traps_total";
/// Counter of log lines and progress reports beyond an engine's limits; label `engine`.
pub const DROPPED_REPORTS: &str = "nestor_engine_dropped_reports_total";
/// Histogram of seconds; label `engine`.
pub const COMPILE_SECONDS: &str = "nestor_engine_compile_seconds";
/// Counter; label `result` (`hit`, `miss`, `refused`).
pub const CACHE: &str = "nestor_engine_cache_total";
/// Counter of versions that became the head; labels `engine`, `reason` (`load`, `remove`, `rollback`).
pub const SWAPS: &str = "nestor_engine_swaps_total";
/// Counter of native tools started; labels `engine`, `tool`, `result` (`started`, `denied`, `failed`).
pub const TOOLS: &str = "nestor_engine_tools_total";
/// Counter of outgoing requests; labels `engine`, `result` (`sent`, `denied`, `failed`).
pub const REQUESTS: &str = "nestor_engine_requests_total";
