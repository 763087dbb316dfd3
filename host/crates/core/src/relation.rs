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

/// Why resources cannot be beside what is ready around them, told of the first;
/// none: they can. What is required may also be among `ours`.
///
/// Of relations only those of scope `environment` count: the others cannot
/// change between accepting a deployment and beginning with it.
#[must_use]
pub fn misfit(ours: &[Neighbour], around: &[Neighbour]) -> Option<String> {
    let shown = |n: &Neighbour| format!("{}:{}", n.definition, n.version);
    ours.iter().find_map(|own| {
        let relations = own.relations.beyond();
        let missing = relations.requires.iter().find(|required| {
            let mut all = ours.iter().chain(around).filter(|n| *n != own);
            !all.any(|n| required.means(&n.definition, &n.version, &n.engine))
        });
        if let Some(missing) = missing {
            return Some(format!(
                "{} of resource {} requires {} in the same environment, and that is not there any more; bring it back, or use another version",
                shown(own), own.resource, missing.show()
            ));
        }
        around.iter().find_map(|other| {
            let excludes = |one: &Neighbour, another: &Neighbour| {
                let conflicts = one.relations.beyond().conflicts;
                conflicts
                    .iter()
                    .any(|c| c.means(&another.definition, &another.version, &another.engine))
            };
            (excludes(own, other) || excludes(other, own)).then(|| {
                format!(
                    "{} of resource {} does not go with {} (resource {} of deployment {}), which has become ready in the same environment; take that away first, or use another version",
                    shown(own), own.resource, shown(other), other.resource, other.deployment
                )
            })
        })
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, definition: &str, relations: serde_json::Value) -> Neighbour {
        let (definition, version) = definition.split_once(':').expect("name:version");
        Neighbour {
            deployment: format!("of-{name}").parse().expect("an id"),
            resource: name.parse().expect("a name"),
            definition: definition.parse().expect("a name"),
            version: version.parse().expect("a version"),
            engine: "noop".parse().expect("a name"),
            relations: serde_json::from_value(relations).expect("relations"),
        }
    }

    #[test]
    fn what_stands_around_may_have_changed() {
        use serde_json::json;
        let none = || json!({});
        let excludes = |scope: &str| json!({ "conflicts": [{ "definition": "vpc", "version": ">=2", "scope": scope }] });
        let requires = |scope: &str| json!({ "requires": [{ "definition": "vpc", "version": ">=2", "scope": scope }] });
        let vpc = |version: &str| one("net", &format!("vpc:{version}"), none());
        let fits = |ours: &[Neighbour], around: &[Neighbour]| misfit(ours, around).is_none();

        let app = [one("app", "app:1.0.0", excludes("environment"))];
        assert!(fits(&app, &[vpc("1.0.0")]));
        assert_eq!(
            misfit(&app, &[vpc("2.0.0")]).as_deref(),
            Some(
                "app:1.0.0 of resource app does not go with vpc:2.0.0 (resource net of deployment of-net), which has become ready in the same environment; take that away first, or use another version"
            )
        );
        // Those that were there first may exclude what comes.
        assert!(!fits(&[vpc("2.0.0")], &app));
        assert!(fits(
            &[one("app", "app:1.0.0", excludes("deployment"))],
            &[vpc("2.0.0")]
        ));

        let app = [one("app", "app:1.0.0", requires("environment"))];
        assert!(fits(&app, &[vpc("2.1.0")]));
        assert!(fits(&[app[0].clone(), vpc("2.1.0")], &[]));
        assert!(fits(
            &[one("app", "app:1.0.0", requires("deployment"))],
            &[]
        ));
        assert_eq!(
            misfit(&app, &[vpc("1.0.0")]).as_deref(),
            Some(
                "app:1.0.0 of resource app requires vpc >=2 in the same environment, and that is not there any more; bring it back, or use another version"
            )
        );
    }
}
