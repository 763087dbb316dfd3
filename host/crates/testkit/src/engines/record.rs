//! What the fakes saw.

use nestor_core::engine::Purpose;
use nestor_core::ids::{DeploymentId, EngineId, ResourceName};
use nestor_core::ports::{Function, Standing};
use serde_json::Value;

/// One call, recorded when it began.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Whom.
    pub engine: EngineId,
    /// Which function.
    pub function: Function,
    /// For which deployment.
    pub deployment: DeploymentId,
    /// For which revision.
    pub revision: u64,
    /// For which resource.
    pub resource: ResourceName,
    /// In which operation.
    pub operation_id: String,
    /// In which attempt.
    pub attempt: u32,
    /// To which end.
    pub purpose: Purpose,
    /// How it stood to others.
    pub standing: Standing,
    /// With which config.
    pub config: Value,
    /// With which state of what is there already; none when nothing was known.
    pub prior_state: Option<Value>,
    /// How it ended; none while it runs, or when the caller gave it up.
    pub answer: Option<Answer>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// `Ready`, or a finished function.
    Done,
    /// `Pending`.
    Pending,
    /// An error of any kind.
    Error,
}
