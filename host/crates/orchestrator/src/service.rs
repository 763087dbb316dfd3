//! What the API and the command line can ask of the orchestrator.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use nestor_core::ids::{ComposerId, Digest, EnvironmentName, ResourceName};
use nestor_core::violation::Violation;

use crate::records::DeploymentRecord;
use crate::view::DeploymentStatus;

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
    /// Of a deployment: which resources to work on.
    pub scope: Scope,
    /// Of a deployment: the plan that it shall be, and nothing else.
    pub plan: Option<Digest>,
}

/// Which resources of a deployment a run works on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of them.
    #[default]
    Whole,
    /// These, and what they depend on.
    Targets(BTreeSet<ResourceName>),
    /// Those that differ from what is deployed, and what depends on them.
    Affected,
}

/// What somebody approves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approving {
    /// The plan that was looked at; none: whichever waits.
    pub plan: Option<Digest>,
    /// The revision that was looked at; none: whichever waits.
    pub revision: Option<u64>,
    /// For those who read it later.
    pub comment: Option<String>,
}

/// Which deployments to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Of this composer.
    pub composer: Option<ComposerId>,
    /// In this environment.
    pub environment: Option<EnvironmentName>,
    /// With this status.
    pub status: Option<DeploymentStatus>,
    /// With each of these labels.
    pub labels: BTreeMap<String, String>,
}

impl ListFilter {
    /// All but the status, which is in another document.
    pub(crate) fn may_list(&self, record: &DeploymentRecord) -> bool {
        let label = |(name, value)| record.labels.get(name) == Some(value);
        self.composer.as_ref().is_none_or(|c| c == &record.composer)
            && self
                .environment
                .as_ref()
                .is_none_or(|e| e == &record.environment)
            && self.labels.iter().all(label)
    }
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
    /// The deployment has no run of that number.
    #[error("{0}")]
    NoRun(String),
    /// The request does not fit the deployment's state.
    #[error("{0}")]
    Conflict(String),
    /// What would happen now is not what was looked at.
    #[error("{0}")]
    PlanMoved(String),
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
    /// What the answer needs cannot be had just now: an engine is being
    /// prepared, or the resource is being worked on.
    #[error("{message}")]
    NotNow {
        /// Why.
        message: String,
        /// Seconds.
        retry_after: u64,
    },
    /// Something inside failed; the log has it under the correlation id.
    #[error("an internal error; the log has it under the request's correlation id")]
    Internal,
}
