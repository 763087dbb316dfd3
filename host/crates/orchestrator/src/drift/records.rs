//! What is kept of looks.

use serde::{Deserialize, Serialize};

use nestor_core::engine::Change;
use nestor_core::environment::DriftAction;
use nestor_core::ids::{EngineId, ResourceName, Timestamp};

use super::view::{DeploymentDriftStatus, DriftStatus};

/// The alarm's document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DriftAlarm {
    /// When to look.
    pub(crate) at: Timestamp,
    /// What somebody asked for; none when the look is due by the schedule.
    #[serde(default)]
    pub(crate) asked: Option<DriftAction>,
}

/// What the last look saw. Nothing in it is sensitive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DriftRecord {
    /// When the look began.
    pub(crate) at: Timestamp,
    /// The revision that was deployed.
    pub(crate) revision: u64,
    /// The run before the look; a later one makes it outdated.
    pub(crate) run: Option<u64>,
    /// In order of name.
    pub(crate) resources: Vec<ResourceDrift>,
}

/// What was seen of one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ResourceDrift {
    pub(crate) name: ResourceName,
    pub(crate) engine: EngineId,
    pub(crate) status: DriftStatus,
    /// In the engine's words, or why nothing is known.
    pub(crate) reason: Option<String>,
    /// Masked.
    pub(crate) changes: Vec<Change>,
    /// Differences beyond those that are kept.
    pub(crate) more: usize,
}

impl DriftRecord {
    /// In one word: the worst of its resources.
    pub(crate) fn status(&self) -> DeploymentDriftStatus {
        let any = |status| self.resources.iter().any(|r| r.status == status);
        if any(DriftStatus::Drifted) || any(DriftStatus::Missing) {
            DeploymentDriftStatus::Drifted
        } else if any(DriftStatus::Unknown) {
            DeploymentDriftStatus::Unknown
        } else if any(DriftStatus::InSync) || self.resources.is_empty() {
            DeploymentDriftStatus::InSync
        } else {
            DeploymentDriftStatus::Unsupported
        }
    }

    /// Resources that are not as they were applied.
    pub(crate) fn drifted(&self) -> impl Iterator<Item = &ResourceDrift> {
        self.resources.iter().filter(|r| r.status.is_drift())
    }

    /// Whether two looks saw the same drift.
    pub(crate) fn same_drift(&self, other: &Self) -> bool {
        self.drifted()
            .map(|r| (&r.name, r.status, &r.changes))
            .eq(other.drifted().map(|r| (&r.name, r.status, &r.changes)))
    }
}
