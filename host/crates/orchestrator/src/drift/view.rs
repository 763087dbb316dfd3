//! What the outside sees of drift.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use nestor_core::engine::Change;

/// Whether a resource is as it was last applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftStatus {
    /// It is.
    InSync,
    /// It was changed behind the orchestrator's back.
    Drifted,
    /// It is not there any more.
    Missing,
    /// It could not be looked at; the reason says why.
    Unknown,
    /// Its engine, or its way of delivery, cannot tell.
    Unsupported,
}

impl DriftStatus {
    /// Whether it is not as it was applied.
    #[must_use]
    pub fn is_drift(self) -> bool {
        match self {
            Self::Drifted | Self::Missing => true,
            Self::InSync | Self::Unknown | Self::Unsupported => false,
        }
    }
}

/// The same of a whole deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentDriftStatus {
    /// Nobody has looked.
    NotChecked,
    /// Every resource that can be looked at is as it was applied.
    InSync,
    /// At least one resource is changed or gone.
    Drifted,
    /// Nothing was found changed, but not everything could be looked at.
    Unknown,
    /// No resource's engine can tell.
    Unsupported,
}

/// What the last look at a deployment saw.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftView {
    /// The deployment.
    pub id: String,
    /// In one word.
    pub status: DeploymentDriftStatus,
    /// A look that somebody asked for is still to come.
    pub pending: bool,
    /// When the look began, RFC 3339; absent when nobody has looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<String>,
    /// The revision that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The deployment changed since the look.
    pub outdated: bool,
    /// When the next look is due, RFC 3339; absent when none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_check_at: Option<String>,
    /// In order of name.
    pub resources: Vec<ResourceDriftView>,
}

/// What the last look saw of one resource.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceDriftView {
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub engine: String,
    /// Whether it is as it was last applied.
    pub status: DriftStatus,
    /// In the engine's words, or why nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Differences: `before` as it was applied, `after` as it is; sensitive
    /// values masked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub changes: Vec<Change>,
    /// Differences beyond those that are shown.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_changes: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Drift in a deployment's view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftSummary {
    /// In one word.
    pub status: DeploymentDriftStatus,
    /// When the look began, RFC 3339.
    pub checked_at: String,
    /// The deployment changed since the look.
    pub outdated: bool,
    /// Resources that are changed or gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
}
