//! Calls to engines.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::{
    CallContext, EngineError, Features, Home, Outcome, ProposedChanges, Rendered, ResourceRequest,
};
use crate::ids::{DeploymentId, Digest, EngineId, EnvironmentName};

/// The loaded engines.
#[async_trait]
pub trait Engines: Send + Sync {
    /// The version that new operations use. `Ok` also while it is being
    /// prepared; an error when there is no engine of that name.
    fn head(&self, engine: &EngineId) -> Result<EngineHead, EngineError>;
    /// The names of all engines, sorted.
    fn names(&self) -> Vec<EngineId>;
    /// Calls one function in a fresh instance. With `digest` the operation
    /// stays on the version it began with, as long as that is still held;
    /// otherwise the head serves it.
    ///
    /// Dropped, the call ends with all it does outside, and the next call for
    /// the same home begins after that.
    async fn call(&self, call: EngineCall) -> Result<Reply, EngineError>;
    /// Drops what an engine kept for a resource that is gone: its checkout and
    /// its small map. What cannot be dropped is said in the log. Those who keep
    /// nothing have nothing to do.
    async fn forget(&self, _engine: &EngineId, _environment: &EnvironmentName, _home: &Home) {}
    /// Drops what is left of a deployment of which nothing is deployed any more,
    /// such as of resources that were looked at and never applied, but for homes
    /// that others have.
    async fn forget_deployment(&self, _deployment: &DeploymentId, _kept: &[Home]) {}
}

/// The head version of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineHead {
    /// Its name.
    pub id: EngineId,
    /// The component's digest.
    pub digest: Digest,
    /// As it describes itself; empty while it is being prepared.
    pub version: String,
    /// As it describes itself; none set while it is being prepared.
    pub features: Features,
    /// Whether it can be called.
    pub status: EngineStatus,
    /// Calls at once; more wait, first come, first served, and not for ever.
    pub concurrency: u32,
}

/// Whether an engine can be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineStatus {
    /// Compiled, linked and probed.
    Ready,
    /// Being compiled; calls answer `Unavailable` with a time to retry.
    Preparing,
    /// It could not be loaded; the text says why.
    Failed(String),
}

/// One call.
pub struct EngineCall {
    /// Whom.
    pub engine: EngineId,
    /// Which version; none for the head.
    pub digest: Option<Digest>,
    /// Which function.
    pub function: Function,
    /// Who asks.
    pub context: CallContext,
    /// For what.
    pub request: ResourceRequest,
    /// What the guest sees at `/definition`; none: an empty folder.
    pub definition_folder: Option<PathBuf>,
    /// Where the engine keeps what it has of the resource; none: under the
    /// names in the request.
    pub home: Option<Home>,
    /// How it stands to other calls for the same resource.
    pub standing: Standing,
    /// Gets log lines and progress.
    pub observer: Arc<dyn CallObserver>,
}

impl EngineCall {
    /// Where the engine keeps what it has of the resource.
    #[must_use]
    pub fn home(&self) -> Home {
        let own = || Home::of(&self.context.deployment, &self.request.name);
        self.home.clone().unwrap_or_else(own)
    }
}

/// How a call stands to others for the same resource. They never overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Part of a run, under the deployment's lease: waits for its turn.
    Work,
    /// Only looks: it is not let in, or ended, with [`EngineError::Unavailable`]
    /// where work waits.
    Look,
    /// A look at what may never be. Where its engine had nothing of the
    /// resource before, it has nothing afterwards.
    Preview,
}

/// The functions that take a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// Warnings, or what is wrong.
    Validate,
    /// A dry run.
    Plan,
    /// Bring it to the config.
    Apply,
    /// Settle what is open.
    Observe,
    /// How the real thing differs.
    Drift,
    /// Take it away.
    Destroy,
    /// Manifests for GitOps.
    Render,
}

impl Function {
    /// As the contract names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Observe => "observe",
            Self::Drift => "drift",
            Self::Destroy => "destroy",
            Self::Render => "render",
        }
    }
}

/// The answer to a call; the variant fits the function.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// To `validate`: warnings.
    Validated(Vec<String>),
    /// To `plan` and `drift`.
    Proposed(ProposedChanges),
    /// To `apply`, `observe` and `destroy`.
    Outcome(Outcome),
    /// To `render`.
    Rendered(Rendered),
}

/// What a running call reports. Called from the call's own task; must not block.
pub trait CallObserver: Send + Sync {
    /// A log line; `fields` is a JSON object, already bounded. Nobody else
    /// writes it to the host's log: only who asks knows what is secret in it.
    fn log(&self, level: LogLevel, message: &str, fields: &Value);
    /// Progress of this operation, 0 to 100.
    fn progress(&self, percent: Option<u8>, message: &str);
}

/// Severity of an engine's log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For the engine's author.
    Debug,
    /// For whoever watches.
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
}

/// Hears nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoObserver;

impl CallObserver for NoObserver {
    fn log(&self, _: LogLevel, _: &str, _: &Value) {}
    fn progress(&self, _: Option<u8>, _: &str) {}
}
