//! What the API needs from the rest of the host: one trait for deployments and
//! one for engines. The catalog is the core's own port.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use nestor_core::ids::{EngineId, WebhookName};
use nestor_orchestrator::Offer;
use nestor_orchestrator::report::ReportView;
use nestor_orchestrator::service::{Approving, ListFilter, Rejection, RequestMeta};
use nestor_orchestrator::view::{
    Accepted, DeploymentPage, DeploymentView, DriftView, EventView, GraphView, ImpactView,
    PlanView, RevisionView,
};
use nestor_orchestrator::webhooks::{
    DeadLetterPage, Redelivered, WebhookList, WebhookRejection, WebhookTest, WebhookView,
};

use crate::problem::ViolationView;
use crate::view::EngineView;

/// Deployments, as the orchestrator offers them. Every write is durable when
/// it answers `Ok`.
#[async_trait]
pub trait Service: Send + Sync {
    /// Takes a deployment in: a new one, or a new revision of a known one.
    async fn submit(&self, body: &[u8], meta: RequestMeta) -> Result<Accepted, Rejection>;
    /// What posting the body would change. Writes nothing.
    async fn plan(&self, body: &[u8], meta: RequestMeta) -> Result<PlanView, Rejection>;
    /// What applying the latest revision again would change. Writes nothing.
    async fn plan_again(&self, id: &str, meta: RequestMeta) -> Result<PlanView, Rejection>;
    /// One deployment.
    async fn get(&self, id: &str) -> Result<DeploymentView, Rejection>;
    /// A page of deployments, in order of id.
    async fn list(
        &self,
        filter: ListFilter,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<DeploymentPage, Rejection>;
    /// In flight: cancels and unwinds. Settled: destroys in reverse order.
    async fn delete(&self, id: &str, meta: RequestMeta) -> Result<Accepted, Rejection>;
    /// Approves the plan that waits.
    async fn approve(
        &self,
        id: &str,
        approving: Approving,
        meta: RequestMeta,
    ) -> Result<Accepted, Rejection>;
    /// The plan that waits for approval, or was approved last.
    async fn waiting_plan(&self, id: &str) -> Result<PlanView, Rejection>;
    /// Goes on from the resources that failed.
    async fn retry(&self, id: &str, meta: RequestMeta) -> Result<Accepted, Rejection>;
    /// Stops what is under way.
    async fn cancel(&self, id: &str, meta: RequestMeta) -> Result<Accepted, Rejection>;
    /// Goes back to a revision; none: the last one that was applied whole.
    async fn rollback(
        &self,
        id: &str,
        to_revision: Option<u64>,
        meta: RequestMeta,
    ) -> Result<Accepted, Rejection>;
    /// Every revision, the latest first.
    async fn revisions(&self, id: &str) -> Result<Vec<RevisionView>, Rejection>;
    /// What a change of a resource, or the deletion of all, would touch.
    async fn impact(&self, id: &str, resource: Option<&str>) -> Result<ImpactView, Rejection>;
    /// What a change of a definition or an engine would touch.
    async fn impact_of(&self, offer: &Offer) -> Result<ImpactView, Rejection>;
    /// What a run did, or does; without a number, of the last.
    async fn report(&self, id: &str, run: Option<u64>) -> Result<ReportView, Rejection>;
    /// The dependency graph of the current revision.
    async fn graph(&self, id: &str) -> Result<GraphView, Rejection>;
    /// Looks for drift as soon as the deployment rests and there is room; with
    /// `remediate`, applies again what is not as it was applied.
    async fn check_drift(
        &self,
        id: &str,
        remediate: bool,
        meta: RequestMeta,
    ) -> Result<Accepted, Rejection>;
    /// What the last look for drift saw.
    async fn drift(&self, id: &str) -> Result<DriftView, Rejection>;
    /// Durable events after `after`, then live ones. Ends when the deployment
    /// settled and everything was sent, unless `follow`.
    async fn events(
        &self,
        id: &str,
        after: Option<u64>,
        follow: bool,
    ) -> Result<BoxStream<'static, EventView>, Rejection>;
    /// Whether requests can be taken; else why not, in words for an operator.
    fn ready(&self) -> Result<(), String>;
}

/// Webhooks, as the orchestrator offers them. Every write is durable when it
/// answers `Ok`.
#[async_trait]
pub trait WebhookAdmin: Send + Sync {
    /// Every subscription, in order of name.
    fn list(&self) -> WebhookList;
    /// One subscription.
    fn get(&self, name: &WebhookName) -> Result<WebhookView, WebhookRejection>;
    /// Makes one, or changes it; true when it is new.
    async fn put(
        &self,
        name: &WebhookName,
        body: &[u8],
    ) -> Result<(WebhookView, bool), WebhookRejection>;
    /// Takes one away, with what waits for it.
    async fn delete(&self, name: &WebhookName) -> Result<(), WebhookRejection>;
    /// Posts a test message and answers what came of it.
    async fn test(&self, name: &WebhookName) -> Result<WebhookTest, WebhookRejection>;
    /// A page of dead letters, oldest first.
    async fn dead_letters(
        &self,
        name: &WebhookName,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<DeadLetterPage, WebhookRejection>;
    /// Sends dead letters again: those with these ids, or all.
    async fn redeliver(
        &self,
        name: &WebhookName,
        ids: Option<&[String]>,
    ) -> Result<Redelivered, WebhookRejection>;
}

/// The loaded engines, as the engine host offers them.
#[async_trait]
pub trait EngineAdmin: Send + Sync {
    /// Every engine, sorted by name.
    fn list(&self) -> Vec<EngineView>;
    /// One engine.
    fn get(&self, name: &EngineId) -> Option<EngineView>;
    /// Checks, compiles and probes a component, then puts it in place of the
    /// engine of that name. When it answers an error, nothing changed.
    async fn put(&self, name: &EngineId, upload: EngineUpload) -> Result<Put, EngineRejection>;
    /// Takes a component that was put or loaded from a file away; a built-in
    /// engine of that name takes its place again and is answered.
    async fn delete(&self, name: &EngineId) -> Result<Option<EngineView>, EngineRejection>;
}

/// A component with what it requests.
#[derive(Debug, Clone)]
pub struct EngineUpload {
    /// The component.
    pub component: Bytes,
    /// Its `engine.toml`; none: it gets no capability.
    pub manifest: Option<String>,
}

/// What a `put` did.
#[derive(Debug, Clone)]
pub struct Put {
    /// The engine as it is now.
    pub engine: EngineView,
    /// Whether there was none of that name before.
    pub created: bool,
}

/// Why an engine was not put or deleted. Carries only what the client may know.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EngineRejection {
    /// There is no engine of that name.
    #[error("there is no engine {0}")]
    NotFound(EngineId),
    /// The bytes are not a component, or one of another kind.
    #[error("{0}")]
    NotAComponent(String),
    /// It speaks a contract, or imports something, that this host does not offer.
    #[error("{0}")]
    UnsupportedContract(String),
    /// The `engine.toml` is wrong; each problem with its line.
    #[error("the engine.toml has {} problem(s)", .0.len())]
    InvalidManifest(Vec<ViolationView>),
    /// It requests more than the platform grants; each missing grant.
    #[error("the engine requests {} capabilities that are not granted", .0.len())]
    MissingGrants(Vec<ViolationView>),
    /// It loaded, and failed when it was asked to describe itself.
    #[error("{0}")]
    Unhealthy(String),
    /// The request does not fit what the engine is (a built-in cannot be deleted).
    #[error("{0}")]
    Conflict(String),
    /// The host cannot take it now.
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
