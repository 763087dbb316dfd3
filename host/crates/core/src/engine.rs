//! The words of the engine contract (`wit/engine.wit`) as plain types.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{ComposerId, DeploymentId, EnvironmentName, OutputName, ResourceName};

/// What the surrounding operation wants to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Look only.
    Inspect,
    /// Bring it to the config.
    Apply,
    /// Take it away.
    Destroy,
}

/// Who asks, for what, in which attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct CallContext {
    /// Stable across retries, crashes and replicas.
    pub operation_id: String,
    /// What `observe` settles.
    pub purpose: Purpose,
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its revision.
    pub revision: u64,
    /// Its environment.
    pub environment: EnvironmentName,
    /// Its composer.
    pub composer: ComposerId,
    /// Counts from 1.
    pub attempt: u32,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

/// One resource of a deployment, as an engine sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceRequest {
    /// The resource's name.
    pub name: ResourceName,
    /// `name:version`, resolved.
    pub catalog_ref: String,
    /// The definition's section for this engine.
    pub definition: Arc<Value>,
    /// References resolved; in `plan` unknown values are `{"$unknown": "<type>"}`.
    pub config: Value,
    /// The outputs the definition declares: name → `{type, sensitive}`.
    pub declared_outputs: Arc<Value>,
    /// What this engine last recorded for this resource.
    pub prior: Option<Prior>,
}

/// Where an engine's checkout and its small map for a resource are: under the
/// names of the deployment and the resource that it was created for. A resource
/// that another deployment took over stays where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Home {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its resource.
    pub resource: ResourceName,
    /// How many homes of that name were given away before this one.
    #[serde(default)]
    pub given: u32,
}

impl Home {
    /// The first of that name.
    #[must_use]
    pub fn of(deployment: &DeploymentId, resource: &ResourceName) -> Self {
        Self {
            deployment: deployment.clone(),
            resource: resource.clone(),
            given: 0,
        }
    }

    /// A name among those of the deployment, which no other home has: no
    /// resource's name holds an `@`.
    #[must_use]
    pub fn folder(&self) -> String {
        match self.given {
            0 => self.resource.to_string(),
            given => format!("{}@{given}", self.resource),
        }
    }
}

/// What an engine recorded for a resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// The config last applied.
    pub config: Value,
    /// The outputs of that.
    pub outputs: Vec<Output>,
    /// The engine's own state.
    pub state: Value,
}

/// A value that a resource offers to others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Declared in the definition.
    pub name: OutputName,
    /// Its value.
    pub value: Value,
    /// Masked wherever it is shown.
    #[serde(default)]
    pub sensitive: bool,
}

/// What an engine would do to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing.
    Noop,
    /// It is not there yet.
    Create,
    /// Change it in place.
    Update,
    /// Destroy it and create it anew.
    Replace,
    /// Take it away.
    Delete,
}

/// One difference between what is and what would be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// A JSON pointer or the engine's own address.
    pub path: String,
    /// Before; absent for a creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// After; absent for a deletion or when not known yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// The values are masked wherever they are shown.
    #[serde(default)]
    pub sensitive: bool,
}

/// An engine's dry run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProposedChanges {
    /// What would happen.
    pub action: Action,
    /// Each difference.
    pub changes: Vec<Change>,
    /// The outputs afterwards, as far as known.
    pub outputs: Vec<PlannedOutput>,
    /// One line for people.
    pub summary: String,
}

/// An output after apply: known now, or unknown with its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedOutput {
    /// Declared in the definition.
    pub name: OutputName,
    /// Its value, when known before apply.
    pub known: Option<Value>,
    /// A JSON type: `string`, `number`, `integer`, `boolean`, `object`, `array`.
    pub json_type: String,
    /// Masked wherever it is shown.
    pub sensitive: bool,
}

/// How an apply, observe or destroy ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Done.
    Ready(Settled),
    /// Under way: observe again later.
    Pending(Pending),
}

/// The result of a finished operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Its outputs.
    pub outputs: Vec<Output>,
    /// What the engine wants back as `prior.state`.
    pub state: Value,
}

/// An operation under way outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// When to observe again.
    pub poll_after: Duration,
    /// 0 to 100.
    pub percent: Option<u8>,
    /// For people.
    pub message: String,
    /// What the engine wants back as `prior.state`.
    pub state: Value,
}

/// A file to deliver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Relative, with `/`, without `..`.
    pub path: String,
    /// Text.
    pub content: String,
}

/// What GitOps delivery commits.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// In order of delivery.
    pub manifests: Vec<Manifest>,
    /// Outputs known from rendering alone.
    pub outputs: Vec<Output>,
    /// Text for the person who deploys.
    pub notes: Option<String>,
    /// What the engine wants back as `prior.state`.
    pub state: Value,
}

/// What an engine can do beyond the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Features {
    /// Can render manifests for GitOps.
    pub render: bool,
    /// Can detect drift.
    pub drift: bool,
    /// Can adopt what exists.
    pub adopt: bool,
    /// Can shift traffic.
    pub traffic: bool,
}

/// Something the engine says is wrong with a config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineViolation {
    /// JSON pointer into the config.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// How a call to an engine failed. The first seven are the contract's own,
/// the others are what the sandbox saw.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// The request is wrong.
    #[error("the engine refused the resource: {}", list(.0))]
    Invalid(Vec<EngineViolation>),
    /// A capability was not granted.
    #[error("not granted: {0}")]
    Denied(String),
    /// Somebody else changed it.
    #[error("changed by somebody else: {0}")]
    Conflict(String),
    /// The thing is not there; from `observe`: the operation never took effect.
    #[error("not there: {0}")]
    Missing(String),
    /// Worth another attempt.
    #[error("{message}")]
    Transient {
        /// What happened.
        message: String,
        /// The engine's wish, if any.
        retry_after: Option<Duration>,
    },
    /// It ran and failed.
    #[error("{0}")]
    Failed(String),
    /// The engine cannot do this.
    #[error("the engine cannot do this: {0}")]
    Unsupported(String),
    /// The component trapped, or broke the contract.
    #[error("the engine crashed: {0}")]
    Trapped(String),
    /// A limit of its grant ended the call.
    #[error("the engine exceeded its {limit} limit: {message}")]
    LimitExceeded {
        /// `cpu`, `wall`, `memory`, `output`…
        limit: &'static str,
        /// With the figure, and where to raise it.
        message: String,
    },
    /// The engine is not loaded, still being compiled, or the host is too busy.
    #[error("{message}")]
    Unavailable {
        /// Why.
        message: String,
        /// When to try again; none: it will not come by itself.
        retry_after: Option<Duration>,
    },
}

fn list(violations: &[EngineViolation]) -> String {
    violations
        .iter()
        .map(|v| {
            if v.path.is_empty() {
                v.message.clone()
            } else {
                format!("{} {}", v.path, v.message)
            }
        })
        .collect::<Vec<_>>()
        .join("; ")
}

impl EngineError {
    /// Stable name of the kind, for metrics, reports and reasons.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Denied(_) => "denied",
            Self::Conflict(_) => "conflict",
            Self::Missing(_) => "missing",
            Self::Transient { .. } => "transient",
            Self::Failed(_) => "failed",
            Self::Unsupported(_) => "unsupported",
            Self::Trapped(_) => "trapped",
            Self::LimitExceeded { .. } => "limit-exceeded",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}
