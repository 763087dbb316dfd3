//! Names of the metrics, in one place.

use std::time::Duration;

/// Commits that shared one flush.
pub const GROUP_COMMITS: &str = "nestor_store_group_commits";
/// Seconds from gathering a group to its being durable.
pub const GROUP_SECONDS: &str = "nestor_store_group_duration_seconds";

pub(crate) fn group(commits: usize, took: Duration) {
    metrics::histogram!(GROUP_COMMITS).record(commits as f64);
    metrics::histogram!(GROUP_SECONDS).record(took.as_secs_f64());
    tracing::trace!(commits, ?took, "group committed");
}
