//! The types of a parsed deployment.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::environment::Approval;
use crate::ids::{
    ComposerId, DefinitionName, DeploymentId, EngineId, EnvironmentName, ResourceName,
};
use crate::text::shortened;

/// A deployment as requested. Parsed by [`super::parse`]; every name in it is
/// well-formed and resource names are unique, but references and dependencies
/// are resolved only by the planner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSpec {
    /// The deployment's id.
    pub id: DeploymentId,
    /// Who asks.
    pub composer: ComposerId,
    /// Where to.
    pub environment: EnvironmentName,
    /// In the order of the request.
    pub resources: Vec<ResourceSpec>,
    /// Explicit edges.
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
    /// Higher goes first; 0 is normal.
    #[serde(default)]
    pub priority: i32,
    /// How it gets on with others, with people and with its own revisions.
    #[serde(default)]
    pub strategy: Strategy,
    /// What to do when something fails.
    #[serde(default)]
    pub policy: Policy,
    /// After this the deployment is destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// Free-form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How manifests reach their target, where the engine leaves a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryMode>,
}

/// One resource as requested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceSpec {
    /// Unique within the deployment.
    pub name: ResourceName,
    /// What the catalog offers.
    pub catalog_ref: CatalogRef,
    /// With references in it.
    pub config: Config,
    /// None: the definition's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineId>,
    /// In place of the deployment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

/// A config: a JSON object whose texts may hold references.
pub type Config = Value;

/// An explicit edge: `to` is applied after `from` is ready.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dependency {
    /// Goes first.
    pub from: ResourceName,
    /// Depends on it.
    pub to: ResourceName,
}

/// How a deployment gets on with other deployments, with the people who
/// approve, and with its own revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Strategy {
    /// When another deployment has the same real thing.
    pub on_conflict: OnConflict,
    /// Whether somebody approves what would change; the environment may ask
    /// for it as well.
    pub approval: Approval,
    /// What becomes of revisions that are posted while one is under way.
    pub queued: Queued,
}

/// When two deployments want the same real thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The later one is refused.
    #[default]
    Fail,
    /// The later one waits until the thing is free.
    Queue,
    /// The later one takes it over.
    Adopt,
}

/// What becomes of revisions that are posted while one is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Queued {
    /// They are applied one after another.
    #[default]
    Each,
    /// Only the latest is; those that waited before it are skipped.
    Latest,
}

/// What to do when a resource fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Unwind to the revision before, in reverse order.
    #[default]
    Rollback,
    /// Stop and wait for `retry`.
    Halt,
    /// Independent branches go on.
    Continue,
}

/// How often and how long to try, and what then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// When a resource fails for good.
    pub on_failure: OnFailure,
    /// Attempts after the first for transient errors.
    pub retries: u32,
    /// The whole of one resource's operation, attempts and waits together.
    pub timeout: Duration,
}

impl Policy {
    /// Four more attempts span about half a minute of backoff: longer than a
    /// restart of most things that engines talk to.
    pub const DEFAULT_RETRIES: u32 = 4;
    /// More would only hide a permanent error for hours.
    pub const MAX_RETRIES: u32 = 20;
    /// Databases of cloud vendors take up to 40 minutes to come up.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);
    /// A day: nothing that takes longer is still the same operation.
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(86_400);
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            on_failure: OnFailure::default(),
            retries: Self::DEFAULT_RETRIES,
            timeout: Self::DEFAULT_TIMEOUT,
        }
    }
}

/// How what an engine renders reaches its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryMode {
    /// The engine applies it itself.
    Direct,
    /// The host commits the manifests to a Git repository.
    Gitops,
}

/// `name:version`; the version may be exact (`1.0.0`) or a range (`^1.2`, `~1.2.3`, `1.x`, `>=1, <3`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogRef {
    /// The definition.
    pub name: DefinitionName,
    /// Which versions will do.
    pub version: VersionSelector,
}

/// Which versions of a definition will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionSelector {
    /// This one.
    Exact(semver::Version),
    /// The highest that matches, pre-releases only when the range names one.
    Range(semver::VersionReq),
}

impl VersionSelector {
    /// Whether a version will do.
    #[must_use]
    pub fn matches(&self, version: &semver::Version) -> bool {
        match self {
            Self::Exact(exact) => exact == version,
            Self::Range(range) => range.matches(version),
        }
    }
}

impl fmt::Display for CatalogRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            VersionSelector::Exact(version) => write!(f, "{}:{version}", self.name),
            VersionSelector::Range(range) => write!(f, "{}:{range}", self.name),
        }
    }
}

impl FromStr for CatalogRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, version)) = text.split_once(':') else {
            return Err(format!(
                "{:?} is not 'name:version', such as 'aws-rds-mysql:1.0.0' or 'aws-rds-mysql:^1.2'",
                shortened(text, 80)
            ));
        };
        let name = DefinitionName::new(name).map_err(|e| e.to_string())?;
        let version = match semver::Version::parse(version) {
            Ok(exact) => VersionSelector::Exact(exact),
            Err(_) => VersionSelector::Range(semver::VersionReq::parse(version).map_err(|e| {
                format!(
                    "version {:?} is neither a version (1.0.0) nor a range (^1.2, ~1.2.3, 1.x): {e}",
                    shortened(version, 80)
                )
            })?),
        };
        Ok(Self { name, version })
    }
}

impl Serialize for CatalogRef {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for CatalogRef {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
