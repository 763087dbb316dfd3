//! What the API answers. Fields that are not here are in [`crate::Reply::raw`].

use std::collections::BTreeMap;

use crate::impact::Impact;
use serde::Deserialize;
use serde_json::Value;

macro_rules! statuses {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
        pub enum $type {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
            /// One that this version of the client does not know.
            #[serde(other)]
            Unknown,
        }
        impl $type {
            /// As the API writes it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* Self::Unknown => "unknown" }
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.pad(self.as_str()) }
        }
    };
}

statuses! {
    /// Where a deployment is.
    DeploymentStatus {
        /// Accepted, not begun.
        Pending = "pending",
        /// A run is under way.
        InProgress = "in_progress",
        /// Waits for a person.
        AwaitingApproval = "awaiting_approval",
        /// Everything is as the revision says.
        Ready = "ready",
        /// Something failed.
        Failed = "failed",
        /// Asked to stop.
        Cancelling = "cancelling",
        /// Putting back what the failed run changed.
        RollingBack = "rolling_back",
        /// Back at what was before.
        RolledBack = "rolled_back",
        /// Stopped on request.
        Cancelled = "cancelled",
        /// Being destroyed.
        Deleting = "deleting",
        /// Gone.
        Deleted = "deleted",
        /// Undoing failed too.
        Stuck = "stuck",
    }
}

statuses! {
    /// Where a resource is.
    ResourceStatus {
        /// Not begun.
        Pending = "pending",
        /// Waits for what it depends on.
        Blocked = "blocked",
        /// An operation is under way.
        InProgress = "in_progress",
        /// As the config says.
        Ready = "ready",
        /// Its operation failed for good.
        Failed = "failed",
        /// Not begun, because of another that failed.
        Skipped = "skipped",
        /// Being put back.
        RollingBack = "rolling_back",
        /// Put back.
        RolledBack = "rolled_back",
        /// Being destroyed.
        Deleting = "deleting",
        /// Gone.
        Deleted = "deleted",
        /// Undoing it failed.
        Stuck = "stuck",
    }
}

impl DeploymentStatus {
    /// Whether nothing moves until somebody asks for something.
    #[must_use]
    pub fn is_settled(self) -> bool {
        match self {
            Self::Ready
            | Self::Failed
            | Self::RolledBack
            | Self::Cancelled
            | Self::Deleted
            | Self::Stuck => true,
            Self::Pending
            | Self::InProgress
            | Self::AwaitingApproval
            | Self::Cancelling
            | Self::RollingBack
            | Self::Deleting
            | Self::Unknown => false,
        }
    }

    /// Whether what was asked for is not what is.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::RolledBack | Self::Cancelled | Self::Stuck
        )
    }
}

/// The answer to an accepted request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Accepted {
    /// The deployment.
    pub id: String,
    /// The revision that the request made, or that it acts on.
    pub revision: u64,
    /// Right after the request.
    pub status: DeploymentStatus,
    /// What to know although the request was accepted.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A deployment, whole.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub status: DeploymentStatus,
    /// What it is doing.
    pub phase: String,
    /// The revision that is, or is being, applied.
    pub revision: u64,
    /// Who asked.
    pub composer: String,
    /// Where to.
    pub environment: String,
    /// Why it is where it is.
    #[serde(default)]
    pub reason: Option<String>,
    /// Of the whole run, such as "50%".
    #[serde(default)]
    pub progress: String,
    /// In plan order.
    pub resources: Vec<Resource>,
    /// What to know although nothing failed.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Free-form, by key.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What waits for somebody to approve it, or was approved.
    #[serde(default)]
    pub approval: Option<Approval>,
    /// A later revision that waits for this one to settle.
    #[serde(default)]
    pub queued_revision: Option<u64>,
    /// When it will be destroyed (`ttl`), RFC 3339.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// A plan that waits for somebody to approve it, or that was approved.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The plan's digest.
    pub plan: String,
    /// Of which revision.
    pub revision: u64,
    /// `apply` or `delete`.
    pub action: String,
    /// Since when it waits, RFC 3339.
    pub requested_at: String,
    /// Who approved it; none while it waits.
    #[serde(default)]
    pub approved_by: Option<String>,
}

/// A resource of a deployment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub status: ResourceStatus,
    /// Who owns it.
    pub engine: String,
    /// `name:version`, resolved.
    #[serde(default)]
    pub catalog_ref: String,
    /// Sensitive values are `"(sensitive)"`.
    #[serde(default)]
    pub outputs: BTreeMap<String, Value>,
    /// "50%", of the attempt that is under way.
    #[serde(default)]
    pub progress: Option<String>,
    /// What the engine says, or why it is where it is.
    #[serde(default)]
    pub reason: Option<String>,
    /// Of the current or last operation.
    #[serde(default)]
    pub attempts: u32,
    /// What it waits for.
    #[serde(default)]
    pub blocked_by: Vec<String>,
    /// RFC 3339.
    #[serde(default)]
    pub next_attempt_at: Option<String>,
    /// Where its manifests are.
    #[serde(default)]
    pub delivery: Option<Delivery>,
    /// What the engine says to the person who deploys.
    #[serde(default)]
    pub notes: Option<String>,
}

/// Where manifests were committed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Delivery {
    /// The repository's configured name.
    pub repository: String,
    /// The branch.
    pub branch: String,
    /// 40 hex digits.
    pub commit: String,
    /// The resource's folder.
    pub path: String,
}

/// A deployment in a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSummary {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub status: DeploymentStatus,
    /// What it is doing.
    pub phase: String,
    /// The revision that is, or is being, applied.
    pub revision: u64,
    /// Who asked.
    pub composer: String,
    /// Where to.
    pub environment: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeploymentPage {
    /// In order of id.
    pub items: Vec<DeploymentSummary>,
    /// The cursor of the next page; absent on the last.
    #[serde(default)]
    pub next: Option<String>,
}

/// One event of a deployment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Grows within a deployment; absent for progress and log lines.
    #[serde(default)]
    pub id: Option<u64>,
    /// `accepted`, `started`, `ready`, `failed`, `progress`, `log`…
    #[serde(rename = "type")]
    pub kind: String,
    /// RFC 3339.
    pub at: String,
    /// The revision it belongs to.
    pub revision: u64,
    /// The resource, if it is about one.
    #[serde(default)]
    pub resource: Option<String>,
    /// The deployment's status after it.
    #[serde(default)]
    pub status: Option<DeploymentStatus>,
    /// For people.
    pub message: String,
    /// Depends on the type.
    #[serde(default)]
    pub data: Value,
}

/// One revision of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Counts from 1.
    pub revision: u64,
    /// Who posted it.
    pub by: String,
    /// RFC 3339.
    pub created_at: String,
    /// `queued`, `applied`, `failed`, `superseded`…
    pub outcome: String,
    /// New against the one before.
    #[serde(default)]
    pub added: Vec<String>,
    /// Changed against the one before.
    #[serde(default)]
    pub changed: Vec<String>,
    /// Gone against the one before.
    #[serde(default)]
    pub removed: Vec<String>,
}

/// The dependency graph of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Graph {
    /// In plan order.
    pub nodes: Vec<GraphNode>,
    /// `from` goes first.
    pub edges: Vec<GraphEdge>,
}

/// A node of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GraphNode {
    /// The resource.
    pub name: String,
    /// Who owns it.
    pub engine: String,
    /// `name:version`, resolved.
    #[serde(default)]
    pub catalog_ref: String,
    /// Where it is.
    pub status: ResourceStatus,
}

/// An edge of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GraphEdge {
    /// Goes first.
    pub from: String,
    /// Depends on it.
    pub to: String,
    /// `explicit`, `reference`, or `explicit and reference`.
    #[serde(default)]
    pub reason: String,
}

/// What would change.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Plan {
    /// The deployment.
    pub id: String,
    /// The revision that posting it would make.
    pub revision: u64,
    /// With the same digest the same would happen.
    #[serde(default)]
    pub digest: String,
    /// In the order in which they would be done.
    pub resources: Vec<PlannedChange>,
    /// What to know.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Counts by action.
    #[serde(default)]
    pub summary: BTreeMap<String, u32>,
    /// What it would touch besides.
    #[serde(default)]
    pub impact: Option<Impact>,
}

/// What would happen to one resource.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedChange {
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub engine: String,
    /// `name:version`, resolved.
    #[serde(default)]
    pub catalog_ref: String,
    /// `noop`, `create`, `update`, `replace`, `delete` or `possible`.
    pub action: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Resources that go first.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// Differences, as the engine sees them.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// `deployment/resource` that it takes the real thing over from.
    #[serde(default)]
    pub adopts: Option<String>,
    /// Outputs afterwards: a value, `"(sensitive)"`, or `{"$unknown": "string"}`.
    #[serde(default)]
    pub outputs: BTreeMap<String, Value>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Change {
    /// A JSON pointer or the engine's own address.
    pub path: String,
    /// Before; absent for a creation.
    #[serde(default)]
    pub before: Option<Value>,
    /// After; absent for a deletion or when not known yet.
    #[serde(default)]
    pub after: Option<Value>,
    /// The values are masked.
    #[serde(default)]
    pub sensitive: bool,
}

/// What the last look for drift saw.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// The deployment.
    pub id: String,
    /// `not_checked`, `in_sync`, `drifted`, `unknown` or `unsupported`.
    pub status: String,
    /// A look that somebody asked for is still to come.
    #[serde(default)]
    pub pending: bool,
    /// RFC 3339; absent when nobody has looked.
    #[serde(default)]
    pub checked_at: Option<String>,
    /// The revision that was looked at.
    #[serde(default)]
    pub revision: Option<u64>,
    /// The deployment changed since the look.
    #[serde(default)]
    pub outdated: bool,
    /// When the next look is due, RFC 3339.
    #[serde(default)]
    pub next_check_at: Option<String>,
    /// In order of name.
    #[serde(default)]
    pub resources: Vec<ResourceDrift>,
}

/// What the last look saw of one resource.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceDrift {
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub engine: String,
    /// `in_sync`, `drifted`, `missing`, `unknown` or `unsupported`.
    pub status: String,
    /// In the engine's words, or why nothing is known.
    #[serde(default)]
    pub reason: Option<String>,
    /// Differences; sensitive values masked.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// Differences beyond those.
    #[serde(default)]
    pub more_changes: usize,
}

/// An engine.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Engine {
    /// Its name.
    pub name: String,
    /// `ready`, `preparing` or `failed`.
    pub status: String,
    /// Why it is not ready.
    #[serde(default)]
    pub reason: Option<String>,
    /// As it describes itself.
    #[serde(default)]
    pub version: String,
    /// As it describes itself.
    #[serde(default)]
    pub summary: String,
    /// `sha256:…` of the component.
    pub digest: String,
    /// Of the component, in bytes.
    #[serde(default)]
    pub size: u64,
    /// `built-in`, `file` or `api`.
    #[serde(default)]
    pub source: String,
    /// RFC 3339.
    #[serde(default)]
    pub loaded_at: String,
    /// What it can do beyond the core.
    #[serde(default)]
    pub features: Vec<String>,
    /// What it requests.
    #[serde(default)]
    pub requested: Value,
    /// What it may do.
    #[serde(default)]
    pub granted: Value,
}

/// All engines.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EngineList {
    /// Sorted by name.
    pub items: Vec<Engine>,
}

/// A definition of one version. In a list only its first fields are set.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `name:version`.
    pub catalog_ref: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// The engines that can run it.
    #[serde(default)]
    pub engines: Vec<String>,
    /// JSON Schema of the config.
    #[serde(default)]
    pub config_schema: Value,
    /// What others can refer to.
    #[serde(default)]
    pub outputs: BTreeMap<String, OutputDeclaration>,
}

/// What a definition says of an output.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OutputDeclaration {
    /// A JSON type.
    #[serde(rename = "type")]
    pub json_type: String,
    /// Masked wherever it is shown.
    #[serde(default)]
    pub sensitive: bool,
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// Every definition.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DefinitionList {
    /// By name, then version.
    pub items: Vec<Definition>,
}

/// Every version of a definition.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DefinitionVersions {
    /// The definition's name.
    pub name: String,
    /// Lowest first.
    pub versions: Vec<Definition>,
}
