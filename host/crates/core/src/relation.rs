//! What a definition says of other definitions, and of the real thing that it
//! stands for.

use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::ids::{DefinitionName, DeploymentId, EngineId, ResourceName};

/// Relations of one kind that a definition may declare. More of them is a
/// catalog of its own, and each is compared with every version in use.
pub const MAX_RELATIONS: usize = 32;

/// All that a definition says of others.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relations {
    /// Each must be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Relation>,
    /// None of them may be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Relation>,
    /// Which real thing a resource is: two resources of one identity are one
    /// and the same thing outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// Another definition, in some of its versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relation {
    /// Its name.
    pub definition: DefinitionName,
    /// Which of its versions are meant.
    #[serde(default)]
    pub version: semver::VersionReq,
    /// Only when this engine runs it; none: whoever does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineId>,
    /// Where it is looked for.
    #[serde(default)]
    pub scope: Scope,
}

/// Where the other definition is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Among the resources of the same deployment.
    #[default]
    Deployment,
    /// There, and among what is ready in the same environment.
    Environment,
}

/// A resource of another deployment in the same environment, that is ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Whose it is.
    pub deployment: DeploymentId,
    /// Its name there.
    pub resource: ResourceName,
    /// What it was made from.
    pub definition: DefinitionName,
    /// In which version.
    pub version: semver::Version,
    /// Who runs it.
    pub engine: EngineId,
    /// What it says of others.
    #[serde(default)]
    pub relations: Relations,
}

impl Relation {
    /// Whether something made of a definition is meant.
    #[must_use]
    pub fn means(
        &self,
        definition: &DefinitionName,
        version: &semver::Version,
        engine: &EngineId,
    ) -> bool {
        &self.definition == definition
            && self.version.matches(version)
            && self.engine.as_ref().is_none_or(|wanted| wanted == engine)
    }

    /// `vpc >=2, <4`, and by whom it is to be run.
    #[must_use]
    pub fn show(&self) -> String {
        let engine = self.engine.as_ref();
        let by = engine.map_or(String::new(), |engine| format!(" run by {engine}"));
        format!("{} {}{by}", self.definition, self.version)
    }

    /// Where it is looked for, in words.
    #[must_use]
    pub fn place(&self) -> &'static str {
        match self.scope {
            Scope::Deployment => "in the same deployment",
            Scope::Environment => "in the same environment",
        }
    }
}

impl Relations {
    /// Those that look beyond the deployment.
    #[must_use]
    pub fn beyond(&self) -> Self {
        let outside = |all: &[Relation]| {
            all.iter()
                .filter(|relation| relation.scope == Scope::Environment)
                .cloned()
                .collect()
        };
        Self {
            requires: outside(&self.requires),
            conflicts: outside(&self.conflicts),
            identity: None,
        }
    }
}
