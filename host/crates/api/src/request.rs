//! The bodies that the API takes, for its description. The core's parser reads
//! them, because it knows every violation and its place.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// A deployment.
#[derive(Debug, Clone, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "id": "web-app-v1", "composer": "team-web", "environment": "production",
    "resources": [
        {"name": "database", "catalogRef": "aws-rds-mysql:1.0.0", "config": {"size": "small"}},
        {"name": "deployment", "catalogRef": "k8s-deployment:2.1.0",
         "config": {"databaseHost": "${resources.database.outputs.endpoint}"}}
    ],
    "dependencies": [{"from": "database", "to": "deployment"}]
}))]
pub struct DeploymentRequest {
    /// Unique within the host; the same id again is a new revision.
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length = 128)]
    pub id: String,
    /// The team that asks.
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length = 63)]
    pub composer: String,
    /// Where to.
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length = 63)]
    pub environment: String,
    /// What to deploy.
    #[schema(min_items = 1, max_items = 10000)]
    pub resources: Vec<ResourceRequest>,
    /// Explicit edges; references imply further ones.
    #[schema(required = false)]
    pub dependencies: Vec<DependencyRequest>,
    /// Higher goes first; 0 is normal.
    pub priority: Option<i32>,
    /// How it gets on with others, with people and with its own revisions.
    pub strategy: Option<StrategyRequest>,
    /// What to do when something fails.
    pub policy: Option<PolicyRequest>,
    /// So long after the revision was accepted the deployment is destroyed: `2h`,
    /// `7d`. A later revision begins the time anew, or takes it away by not
    /// having one.
    pub ttl: Option<String>,
    /// Free-form.
    pub labels: Option<BTreeMap<String, String>>,
    /// How manifests reach their target, where the engine leaves a choice.
    pub delivery: Option<DeliveryRequest>,
}

/// One resource of a deployment.
#[derive(Debug, Clone, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ResourceRequest {
    /// Unique within the deployment.
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length = 63)]
    pub name: String,
    /// `name:version`; the version may be a range (`^1.2`).
    pub catalog_ref: String,
    /// As the definition's schema says; texts may hold references such as
    /// `${resources.database.outputs.endpoint}`, `${environment}`, `${deployment.id}`.
    #[schema(value_type = Option<Object>)]
    pub config: Value,
    /// None: the definition's first.
    pub engine: Option<String>,
    /// In place of the deployment's.
    pub policy: Option<PolicyRequest>,
}

/// `to` is applied after `from` is ready.
#[derive(Debug, Clone, ToSchema)]
pub struct DependencyRequest {
    /// Goes first.
    pub from: String,
    /// Depends on it.
    pub to: String,
}

/// How a deployment gets on with other deployments, with the people who
/// approve, and with its own revisions.
#[derive(Debug, Clone, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct StrategyRequest {
    /// When another deployment has the same real thing; `fail` when absent.
    pub on_conflict: Option<OnConflictRequest>,
    /// Whether somebody approves what would change; `automatic` when absent.
    /// The environment may require it as well.
    pub approval: Option<ApprovalRequest>,
    /// What becomes of revisions that are posted while one is under way;
    /// `each` when absent.
    pub queued: Option<QueuedRequest>,
}

/// When two deployments want the same real thing.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum OnConflictRequest {
    /// The later one is refused.
    Fail,
    /// The later one waits until the thing is free.
    Queue,
    /// The later one takes it over.
    Adopt,
}

/// Whether somebody has to approve of what would change.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum ApprovalRequest {
    /// A revision begins as soon as it can.
    Automatic,
    /// A revision that changes something waits until its plan is approved.
    Required,
}

/// What becomes of revisions that are posted while one is under way.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum QueuedRequest {
    /// They are applied one after another.
    Each,
    /// Only the latest is; those that waited before it are skipped.
    Latest,
}

/// How often and how long to try, and what then.
#[derive(Debug, Clone, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct PolicyRequest {
    /// When a resource fails for good; `rollback` when absent.
    pub on_failure: Option<OnFailureRequest>,
    /// Attempts after the first for transient errors; 4 when absent.
    #[schema(maximum = 20)]
    pub retries: Option<u32>,
    /// Of one resource's whole operation: `30s`, `5m`, `1h`.
    pub timeout: Option<String>,
}

/// What to do when a resource fails.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum OnFailureRequest {
    /// Unwind to the revision before.
    Rollback,
    /// Stop and wait for `retry`.
    Halt,
    /// Independent branches go on.
    Continue,
}

/// How what an engine renders reaches its target.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum DeliveryRequest {
    /// The engine applies it itself.
    Direct,
    /// The host commits the manifests to a Git repository.
    Gitops,
}

/// Where to go back to.
#[derive(Debug, Clone, ToSchema)]
pub struct RollbackRequest {
    /// The revision; none: the last one that was applied whole.
    pub revision: Option<u64>,
}

/// What is approved.
#[derive(Debug, Clone, ToSchema)]
pub struct ApproveRequest {
    /// The digest of the plan that was looked at, so that nothing else is
    /// approved; absent: whichever waits.
    pub plan: Option<String>,
    /// The revision that was looked at; absent: whichever waits.
    #[schema(minimum = 1)]
    pub revision: Option<u64>,
    /// For those who read it later.
    #[schema(max_length = 2000)]
    pub comment: Option<String>,
}

/// What to do with drift that is found.
#[derive(Debug, Clone, ToSchema)]
pub struct DriftRequest {
    /// Apply again what is not as it was applied; `false` when absent.
    pub remediate: Option<bool>,
}

/// A component with its manifest.
#[derive(Debug, Clone, ToSchema)]
pub struct EngineUploadForm {
    /// The WebAssembly component.
    #[schema(value_type = String, format = Binary)]
    pub component: Vec<u8>,
    /// Its `engine.toml`; none: it gets no capability.
    pub manifest: Option<String>,
}

/// A webhook subscription.
#[derive(Debug, Clone, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "url": "https://hooks.example.com/nestor", "secret": "whsec_…",
    "filter": {"environment": "production", "types": ["deployment.ready", "deployment.failed", "resource.*"]}
}))]
pub struct WebhookRequest {
    /// Where events are posted to, as CloudEvents.
    #[schema(max_length = 2048)]
    pub url: String,
    /// `whsec_` and 24 to 64 random bytes in base64; messages are signed with
    /// it. Never shown again. Absent on a change: those that it has stay.
    #[schema(write_only)]
    pub secret: Option<String>,
    /// Signs as well, until receivers have changed to the new one.
    #[schema(write_only)]
    pub previous_secret: Option<String>,
    /// Which events; every event of deployments when absent.
    pub filter: Option<WebhookFilterRequest>,
    /// Whether a private address is meant; only as far as the host's config allows.
    pub allow_private: Option<bool>,
}

/// Which events a webhook is told; what is absent does not restrict.
#[derive(Debug, Clone, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct WebhookFilterRequest {
    /// Only of this composer.
    pub composer: Option<String>,
    /// Only in this environment.
    pub environment: Option<String>,
    /// Only of this deployment.
    pub deployment: Option<String>,
    /// Any of these: `deployment.ready`, `deployment.*`, `resource.*`, `*`.
    #[schema(min_items = 1, max_items = 50)]
    pub types: Option<Vec<String>>,
}

/// Which dead letters to send again.
#[derive(Debug, Clone, ToSchema)]
pub struct RedeliverRequest {
    /// Ids of events; absent: all.
    pub ids: Option<Vec<String>>,
}
