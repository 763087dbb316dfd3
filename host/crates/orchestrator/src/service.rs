//! What the API and the command line can ask of the orchestrator.

use nestor_core::violation::Violation;

/// What came along with a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestMeta {
    /// Found again in every log line, event and engine call that follows.
    pub correlation_id: String,
    /// `Idempotency-Key`: the same key and body within 24 h answer the same.
    pub idempotency_key: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Who asks, once requests are authenticated; the composer until then.
    pub actor: Option<String>,
}

/// Which deployments to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Of this composer.
    pub composer: Option<String>,
    /// In this environment.
    pub environment: Option<String>,
    /// With this status (snake case).
    pub status: Option<String>,
}

/// Why a request was not accepted. Carries only what the client may know; the
/// inner cause goes to the log.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// The body is not a deployment; every violation at once.
    #[error("the request has {} violation(s)", .0.len())]
    Invalid(Vec<Violation>),
    /// No deployment of that id.
    #[error("there is no deployment {0}")]
    NotFound(String),
    /// The request does not fit the deployment's state.
    #[error("{0}")]
    Conflict(String),
    /// The same idempotency key came with another body.
    #[error("the idempotency key was used for another request within the last 24 hours")]
    IdempotencyMismatch,
    /// The queue is full, or the host is shutting down.
    #[error("{message}")]
    Busy {
        /// Why.
        message: String,
        /// Seconds.
        retry_after: u64,
    },
    /// Something inside failed; the log has it under the correlation id.
    #[error("an internal error; the log has it under the request's correlation id")]
    Internal,
}
