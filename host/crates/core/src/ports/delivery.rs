//! GitOps delivery: manifests as commits.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::engine::Manifest;
use crate::ids::{DeploymentId, EnvironmentName, ResourceName};

/// Commits manifests. Delivering the same manifests again makes no new commit
/// and answers the commit that delivered them, so a repeated call after a
/// crash is safe.
#[async_trait]
pub trait Delivery: Send + Sync {
    /// Makes the resource's folder hold exactly these manifests.
    async fn deliver(&self, request: DeliveryRequest) -> Result<Delivered, DeliveryError>;
    /// Removes the resource's folder; gone already is a success.
    async fn withdraw(&self, request: Withdrawal) -> Result<Delivered, DeliveryError>;
}

/// What to commit, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRequest {
    /// Named in the commit message.
    pub deployment: DeploymentId,
    /// Named in the commit message.
    pub revision: u64,
    /// The top folder.
    pub environment: EnvironmentName,
    /// Named in the commit message.
    pub resource: ResourceName,
    /// A trailer of the commit message.
    pub operation_id: String,
    /// The files.
    pub manifests: Vec<Manifest>,
}

/// What to remove, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Named in the commit message.
    pub deployment: DeploymentId,
    /// Named in the commit message.
    pub revision: u64,
    /// The top folder.
    pub environment: EnvironmentName,
    /// Named in the commit message.
    pub resource: ResourceName,
    /// A trailer of the commit message.
    pub operation_id: String,
}

/// Where it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The repository's configured name.
    pub repository: String,
    /// The branch.
    pub branch: String,
    /// The commit that holds the manifests, 40 hex digits.
    pub commit: String,
    /// The resource's folder in it.
    pub path: String,
}

/// Why delivery failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// A manifest's path leaves its folder, or two have the same one.
    #[error("manifest {path:?} cannot be delivered: {problem}")]
    Path {
        /// As the engine gave it.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Worth another attempt.
    #[error("{0}")]
    Transient(String),
    /// Not worth another attempt.
    #[error("{0}")]
    Failed(String),
}
