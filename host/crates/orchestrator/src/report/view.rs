//! A run's report, as the outside sees it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::view::{DeliveryView, DeploymentStatus, ResourceStatus};

/// What a run did, or does, for machines.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportView {
    /// The deployment.
    pub id: String,
    /// Whose it is.
    pub composer: String,
    /// Where it is.
    pub environment: String,
    /// The deployment's status now; it may be past this run.
    pub status: DeploymentStatus,
    /// The revision that the run is for.
    pub revision: u64,
    /// The run's number; absent when nothing was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// `apply`, `destroy`, or `expire`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `in_progress`, `completed`, `failed`, `rolled_back`, `cancelled`,
    /// `stuck`, or `not_begun`.
    pub outcome: String,
    /// Why, when that is not obvious.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who posted the revision.
    pub by: String,
    /// Of the request that posted the revision.
    pub correlation_id: String,
    /// When the revision was accepted, RFC 3339.
    pub accepted_at: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// From its start to its end, or to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// What happened to the run as a whole: stopped, retried, taken up again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<MarkView>,
    /// In the order of the run's plan.
    pub resources: Vec<ResourceReport>,
}

/// Something that happened to the run as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MarkView {
    /// RFC 3339.
    pub at: String,
    /// What.
    pub what: String,
}

/// What a run did to one resource.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceReport {
    /// Its name.
    pub name: String,
    /// `created`, `updated`, `unchanged`, `deleted`, `undone`, `failed`,
    /// `undo_failed`, `skipped`; while it goes on `waiting`, `creating`,
    /// `updating`, `deleting`, `undoing`.
    pub action: String,
    /// Where it was when the run ended, or is.
    pub status: ResourceStatus,
    /// Who owns it.
    pub engine: String,
    /// The component that worked on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_digest: Option<String>,
    /// `name:version`, resolved.
    pub catalog_ref: String,
    /// Of the definition.
    pub definition_digest: String,
    /// Why it is where it is, when that is not obvious.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Resources that it waits for, or because of which it was skipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// From its start to its end, or to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Every attempt, forward and back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptView>,
    /// While its operation went on outside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<WaitView>,
    /// Names of its outputs; values are in the deployment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputName>,
    /// Where its manifests were committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryView>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptView {
    /// Counts from 1; 0 when there was nothing to call.
    pub number: u32,
    /// `do` or `undo`.
    pub direction: String,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// `succeeded`, `failed`, or `in_progress`.
    pub outcome: String,
    /// What failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A wait for something outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitView {
    /// RFC 3339.
    pub since: String,
    /// RFC 3339; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Looks that found it still going on.
    pub looks: u32,
}

/// An output without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct OutputName {
    /// Its name.
    pub name: String,
    /// Whether its value is masked wherever it is shown.
    pub sensitive: bool,
}
