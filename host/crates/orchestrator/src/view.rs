//! What the outside sees. JSON names are the API's and fixed: fields are
//! added, never renamed or removed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use nestor_core::engine::{Action, Change};
use nestor_core::ports::Delivered;

pub use crate::drift::view::{
    DeploymentDriftStatus, DriftStatus, DriftSummary, DriftView, ResourceDriftView,
};

/// Where a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentStatus {
    /// Accepted, not begun.
    Pending,
    /// A run is under way.
    InProgress,
    /// Waits for a person.
    AwaitingApproval,
    /// Everything is as the revision says.
    Ready,
    /// Something failed; nothing moves until `retry` or a new revision.
    Failed,
    /// Asked to stop; running operations are ending.
    Cancelling,
    /// Putting back what the failed run changed.
    RollingBack,
    /// Back at what was before.
    RolledBack,
    /// Stopped on request.
    Cancelled,
    /// Being destroyed.
    Deleting,
    /// Gone.
    Deleted,
    /// Undoing failed too; a person has to look.
    Stuck,
}

impl DeploymentStatus {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Pending,
        Self::InProgress,
        Self::AwaitingApproval,
        Self::Ready,
        Self::Failed,
        Self::Cancelling,
        Self::RollingBack,
        Self::RolledBack,
        Self::Cancelled,
        Self::Deleting,
        Self::Deleted,
        Self::Stuck,
    ];

    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Cancelling => "cancelling",
            Self::RollingBack => "rolling_back",
            Self::RolledBack => "rolled_back",
            Self::Cancelled => "cancelled",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Stuck => "stuck",
        }
    }
}

/// What a deployment is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits for a worker.
    Queued,
    /// Engines check their resources.
    Validating,
    /// The run is being planned.
    Planning,
    /// Resources are being applied.
    Deploying,
    /// Resources are applied, some are not settled yet.
    Verifying,
    /// Undoing.
    RollingBack,
    /// Destroying.
    Destroying,
    /// Nothing.
    Done,
}

/// Where a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceStatus {
    /// Not begun.
    Pending,
    /// Waits for what it depends on.
    Blocked,
    /// An operation is under way.
    InProgress,
    /// As the config says.
    Ready,
    /// Its operation failed for good.
    Failed,
    /// Not begun, because something it depends on failed or the run was stopped.
    Skipped,
    /// Being put back.
    RollingBack,
    /// Put back.
    RolledBack,
    /// Being destroyed.
    Deleting,
    /// Gone.
    Deleted,
    /// Undoing it failed.
    Stuck,
}

/// A deployment, whole.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentView {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub status: DeploymentStatus,
    /// What it is doing.
    pub phase: Phase,
    /// The revision that is, or is being, applied.
    pub revision: u64,
    /// Who asked.
    pub composer: String,
    /// Where to.
    pub environment: String,
    /// Why it is where it is, when that is not obvious.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of the whole run, "0%" to "100%"; never goes backwards within a run.
    pub progress: String,
    /// In plan order.
    pub resources: Vec<ResourceView>,
    /// What to know although nothing failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Free-form.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What waits for somebody to approve it, or was approved last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalView>,
    /// A later revision that waits for this one to settle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_revision: Option<u64>,
    /// What the last look for drift saw; absent when nobody has looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftSummary>,
    /// When it will be destroyed (`ttl`), RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// A plan that waits for somebody to approve it, or that was approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalView {
    /// The plan's digest: name it when approving, so that nothing else is.
    pub plan: String,
    /// Of which revision.
    pub revision: u64,
    /// `apply` or `delete`.
    pub action: String,
    /// Counts by action, such as `{"create": 2}`.
    pub summary: BTreeMap<String, u32>,
    /// Since when it waits, RFC 3339.
    pub requested_at: String,
    /// Who approved it; absent while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<String>,
    /// What whoever approved it had to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A resource of a deployment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceView {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub status: ResourceStatus,
    /// Who owns it.
    pub engine: String,
    /// `name:version`, resolved.
    pub catalog_ref: String,
    /// Sensitive values are shown as `"(sensitive)"`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub outputs: BTreeMap<String, Value>,
    /// "50%", of the attempt that is under way, as far as its engine told this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// What the engine says it is doing, or why the resource is where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Attempts of the current or last operation.
    pub attempts: u32,
    /// Resources that it waits for, or because of which it was skipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<String>,
    /// When the next attempt or look is due, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<String>,
    /// Where its manifests are, for GitOps delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryView>,
    /// The engine component that last worked on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_digest: Option<String>,
    /// What the engine says to the person who deploys (Helm's NOTES).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

/// Where manifests were committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// The repository's configured name.
    pub repository: String,
    /// The branch.
    pub branch: String,
    /// 40 hex digits.
    pub commit: String,
    /// The resource's folder.
    pub path: String,
}

impl From<&Delivered> for DeliveryView {
    fn from(delivered: &Delivered) -> Self {
        Self {
            repository: delivered.repository.clone(),
            branch: delivered.branch.clone(),
            commit: delivered.commit.clone(),
            path: delivered.path.clone(),
        }
    }
}

/// A deployment in a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSummary {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub status: DeploymentStatus,
    /// What it is doing.
    pub phase: Phase,
    /// The revision that is, or is being, applied.
    pub revision: u64,
    /// Who asked.
    pub composer: String,
    /// Where to.
    pub environment: String,
    /// When it will be destroyed (`ttl`), RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DeploymentPage {
    /// In order of id.
    pub items: Vec<DeploymentSummary>,
    /// Pass it as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The answer to an accepted request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The deployment.
    pub id: String,
    /// The revision that the request made, or that it acts on.
    pub revision: u64,
    /// Right after the request.
    pub status: DeploymentStatus,
    /// What to know although the request was accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One event of a deployment. Durable events have an id and can be resumed
/// from; progress is told only to who listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Grows within a deployment; absent for progress and engine log lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// `accepted`, `started`, `pending`, `retrying`, `ready`, `unchanged`, `failed`,
    /// `skipped`, `deleted`, `status`, `progress`, `log`…
    #[serde(rename = "type")]
    pub kind: String,
    /// RFC 3339.
    pub at: String,
    /// The revision it belongs to.
    pub revision: u64,
    /// The resource, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The deployment's status after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<DeploymentStatus>,
    /// For people.
    pub message: String,
    /// Depends on the type.
    #[schema(value_type = Object)]
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

/// One revision of a deployment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    /// Counts from 1.
    pub revision: u64,
    /// Who posted it.
    pub by: String,
    /// RFC 3339.
    pub created_at: String,
    /// The deployment's status when it is the current one; of a later one
    /// `queued`; of an earlier one `superseded` when it was applied whole, else
    /// what became of it: `skipped`, `refused`, `expired`, `failed`,
    /// `rolled_back`, `cancelled` or `stuck`.
    pub outcome: String,
    /// Names of resources that are new, changed or gone against the one before.
    pub added: Vec<String>,
    /// Changed config, definition or engine.
    pub changed: Vec<String>,
    /// No longer in it.
    pub removed: Vec<String>,
}

/// The dependency graph of a deployment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct GraphView {
    /// In plan order.
    pub nodes: Vec<GraphNode>,
    /// `from` goes first.
    pub edges: Vec<GraphEdge>,
}

/// A node of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphNode {
    /// The resource.
    pub name: String,
    /// Who owns it.
    pub engine: String,
    /// `name:version`, resolved.
    pub catalog_ref: String,
    /// Where it is.
    pub status: ResourceStatus,
}

/// An edge of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct GraphEdge {
    /// Goes first.
    pub from: String,
    /// Depends on it.
    pub to: String,
    /// `explicit` (asked for), `reference` (implied by a reference), or both.
    pub reason: String,
}

/// What would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// The deployment.
    pub id: String,
    /// The revision that posting it would make.
    pub revision: u64,
    /// Of all that would happen, and of what it hangs on: with the same digest
    /// the same would happen.
    pub digest: String,
    /// In the order in which they would be done.
    pub resources: Vec<PlannedChangeView>,
    /// What to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Counts by action, such as `{"create": 2}`.
    pub summary: BTreeMap<String, u32>,
    /// What it would touch besides, in this deployment and in others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<ImpactView>,
}

/// What a change would touch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImpactView {
    /// Where the change is; absent when it is in the catalog or an engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// What it is: `deletion`, `resource NAME`, `revision N`,
    /// `definition NAME[:VERSION]` or `engine NAME`.
    pub change: String,
    /// Every resource of this deployment, and those of others that it would
    /// or might touch; of a definition every one that is ready.
    pub resources: Vec<TouchedView>,
    /// Counts, such as `{"certainly": 1, "possibly": 2}`.
    pub summary: BTreeMap<String, u32>,
    /// More deployments may be touched than were looked at.
    pub truncated: bool,
}

/// One resource that a change touches, or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TouchedView {
    /// Whose it is.
    pub deployment: String,
    /// Its name there.
    pub resource: String,
    /// `certainly`, `possibly` or `not`.
    pub affected: String,
    /// Why; empty when it is not, and nothing would make one think so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// From where the change begins to this resource, each `deployment/resource`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
}

/// What would happen to one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedChangeView {
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub engine: String,
    /// `name:version`, resolved.
    pub catalog_ref: String,
    /// What would happen to it.
    pub action: PlannedAction,
    /// Why.
    pub reason: String,
    /// Resources that go first.
    pub depends_on: Vec<String>,
    /// Differences, as the engine sees them; sensitive ones masked.
    #[schema(value_type = Vec<Object>)]
    pub changes: Vec<Change>,
    /// `deployment/resource` that has the real thing now, and is left without
    /// it: it is taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopts: Option<String>,
    /// Outputs afterwards: a value, `"(sensitive)"`, or `{"$unknown": "string"}`.
    #[schema(value_type = Object)]
    pub outputs: BTreeMap<String, Value>,
}

/// What would happen to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlannedAction {
    /// Nothing.
    Noop,
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is destroyed and made anew.
    Replace,
    /// It is destroyed.
    Delete,
    /// Hangs on an output that is not known yet.
    Possible,
}

impl PlannedAction {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Possible => "possible",
        }
    }
}

impl From<Action> for PlannedAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Noop => Self::Noop,
            Action::Create => Self::Create,
            Action::Update => Self::Update,
            Action::Replace => Self::Replace,
            Action::Delete => Self::Delete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_one_word() {
        for status in DeploymentStatus::ALL {
            assert_eq!(serde_json::json!(status), status.as_str());
        }
    }
}
