//! Names of the metrics, in one place.

/// Deployments accepted, by `environment`: one that the config names, or `other`.
pub const ACCEPTED: &str = "nestor_deployments_accepted_total";
/// Runs that ended, by `outcome`.
pub const RUNS_ENDED: &str = "nestor_runs_ended_total";
/// Seconds from accepted to ended, by `outcome`.
pub const RUN_SECONDS: &str = "nestor_run_duration_seconds";
/// Operations that ended, by `engine`, `purpose` and `outcome`.
pub const OPERATIONS: &str = "nestor_operations_total";
/// Seconds of one call of an operation, by `engine` and `purpose`.
pub const OPERATION_SECONDS: &str = "nestor_operation_duration_seconds";
/// Deployments that wait for their turn.
pub const QUEUED: &str = "nestor_deployments_queued";
/// Deployments that only wait for a time, such as for a claim to become ready.
pub const PARKED: &str = "nestor_deployments_parked";
/// Deployments that have a driver now.
pub const ACTIVE: &str = "nestor_deployments_active";
/// Looks for drift, by `environment` and `outcome`.
pub const DRIFT_CHECKS: &str = "nestor_drift_checks_total";
/// Resources that a look found changed or gone, by `environment`.
pub const DRIFTED: &str = "nestor_drifted_resources_total";
/// Attempts after the first, by `engine`.
pub const RETRIES: &str = "nestor_operation_retries_total";
/// Attempts to deliver an event to a webhook, by `webhook` and `outcome`.
pub const WEBHOOK_ATTEMPTS: &str = "nestor_webhook_attempts_total";
/// Events that a webhook was not told, by `webhook`.
pub const WEBHOOK_DEAD: &str = "nestor_webhook_dead_letters_total";
