//! Whether definitions go with each other, and whether two resources are one
//! and the same thing.

use std::collections::{BTreeMap, HashMap};

use super::plan::{Chosen, Planner};
use super::{Lookup, resolve_config};
use crate::definition::JsonType;
use crate::identity::{Belongs, Known};
use crate::ids::{DefinitionName, EngineId};
use crate::relation::{Neighbour, Relation, Scope};
use crate::spec::{DeploymentSpec, Reference};
use crate::text::listed;
use crate::violation::{MAX_VIOLATIONS, ViolationCode};

/// What is there of one definition, by version and engine; of each the first
/// two resources, so that one that looks for others never finds itself alone.
type Versions<'a> = BTreeMap<(&'a semver::Version, &'a EngineId), Vec<usize>>;

impl Planner<'_> {
    /// Every `requires` that nothing satisfies and every `conflicts` that
    /// something meets, told at both ends.
    pub(super) fn check_relations(&mut self, chosen: &[Option<Chosen>], neighbours: &[Neighbour]) {
        let mut here: HashMap<&DefinitionName, Versions<'_>> = HashMap::new();
        for (i, chosen) in chosen.iter().enumerate() {
            let Some(Chosen { definition, engine }) = chosen else {
                continue;
            };
            let versions = here.entry(&definition.name).or_default();
            let same = versions.entry((&definition.version, engine)).or_default();
            if same.len() < 2 {
                same.push(i);
            }
        }
        // What could not be looked up is told already; it may be what is missing.
        let unclear = |name: &DefinitionName| {
            let mut resources = self.spec.resources.iter().zip(chosen);
            resources.any(|(r, chosen)| chosen.is_none() && &r.catalog_ref.name == name)
        };
        let mut found = Vec::new();
        for (i, chosen) in chosen.iter().enumerate() {
            if found.len() >= MAX_VIOLATIONS {
                break;
            }
            let Some(Chosen { definition, engine }) = chosen else {
                continue;
            };
            let relations = &definition.relations;
            let who = Who {
                resource: self.spec.resources[i].name.as_str(),
                definition: definition.reference(),
            };
            for required in &relations.requires {
                let others = others(&here, required, i);
                let around = || {
                    neighbours.iter().filter(|n| {
                        required.scope == Scope::Environment && n.definition == required.definition
                    })
                };
                let met = others
                    .iter()
                    .any(|(version, by, _)| required.means(&required.definition, version, by))
                    || around().any(|n| required.means(&n.definition, &n.version, &n.engine));
                if !met && !unclear(&required.definition) {
                    who.misses(
                        i,
                        required,
                        &others,
                        &around().collect::<Vec<_>>(),
                        self.spec,
                        &mut found,
                    );
                }
            }
            for excluded in &relations.conflicts {
                for (version, by, j) in others(&here, excluded, i) {
                    if excluded.means(&excluded.definition, version, by) {
                        who.meets(i, excluded, version, j, self.spec, &mut found);
                    }
                }
                let met = neighbours.iter().filter(|n| {
                    excluded.scope == Scope::Environment
                        && excluded.means(&n.definition, &n.version, &n.engine)
                });
                found.extend(met.map(|n| {
                    let message = format!(
                        "{who} excludes {} in the same environment, and there is {} ({}); take that away first, or use a version of {} that goes with it",
                        excluded.show(), versioned(n), stands(n), definition.name
                    );
                    (format!("/resources/{i}/catalogRef"), message)
                }));
            }
            // Those that were there first may exclude what comes.
            for neighbour in neighbours {
                let excludes = |relation: &&Relation| {
                    relation.scope == Scope::Environment
                        && relation.means(&definition.name, &definition.version, engine)
                };
                if let Some(excluded) = neighbour.relations.conflicts.iter().find(excludes) {
                    let message = format!(
                        "{} ({}) excludes {} in the same environment, and {who} is one; use a version outside of that range, or another environment",
                        versioned(neighbour),
                        stands(neighbour),
                        excluded.show()
                    );
                    found.push((format!("/resources/{i}/catalogRef"), message));
                }
            }
        }
        for (pointer, message) in found {
            self.violation(ViolationCode::Incompatible, pointer, message);
        }
    }

    /// Resources of this deployment that are one and the same thing outside,
    /// and those of which it can never be told.
    pub(super) fn check_identities(&mut self, chosen: &[Option<Chosen>]) {
        let mut first: HashMap<String, usize> = HashMap::new();
        for (i, chosen) in chosen.iter().enumerate() {
            let Some(identity) = chosen
                .as_ref()
                .and_then(|chosen| chosen.definition.relations.identity.as_ref())
            else {
                continue;
            };
            let spec = self.spec;
            let mut lookup = |reference: &Reference| known_at_once(spec, reference);
            // What cannot be resolved is told where references are checked.
            let Ok(resolved) = resolve_config(&spec.resources[i].config, &mut lookup) else {
                continue;
            };
            match identity.of(Belongs::of(spec), &resolved.config) {
                Known::Whole(identity) => match first.get(&identity) {
                    Some(&other) => {
                        let message = format!(
                            "resource {} is the same real thing as resource {}: both are {identity:?}; leave one of them out, or tell them apart in the config",
                            spec.resources[i].name, spec.resources[other].name
                        );
                        self.violation(
                            ViolationCode::SameThing,
                            format!("/resources/{i}/config"),
                            message,
                        );
                    }
                    None => {
                        first.insert(identity, i);
                    }
                },
                Known::NotYet => {}
                Known::Never { pointer, problem } => {
                    let pointer = format!("/resources/{i}/config{pointer}");
                    self.violation(ViolationCode::ConfigSchema, pointer, problem);
                }
            }
        }
    }
}

impl<'a> Belongs<'a> {
    /// Where the resources of a deployment belong.
    #[must_use]
    pub fn of(spec: &'a DeploymentSpec) -> Self {
        Self {
            environment: &spec.environment,
            deployment: &spec.id,
            composer: &spec.composer,
        }
    }
}

/// What a reference stands for before there is a revision or any output.
fn known_at_once(spec: &DeploymentSpec, reference: &Reference) -> Lookup {
    let text = match reference {
        Reference::Environment => spec.environment.as_str(),
        Reference::DeploymentId => spec.id.as_str(),
        Reference::Composer => spec.composer.as_str(),
        Reference::Revision | Reference::Output { .. } => {
            return Lookup::Unknown {
                json_type: JsonType::String,
                sensitive: false,
            };
        }
    };
    Lookup::Value {
        value: text.into(),
        sensitive: false,
    }
}

/// What is in the deployment of the definition that is meant, beside resource `i`.
fn others<'a>(
    here: &HashMap<&DefinitionName, Versions<'a>>,
    relation: &Relation,
    i: usize,
) -> Vec<(&'a semver::Version, &'a EngineId, usize)> {
    let versions = here.get(&relation.definition).into_iter().flatten();
    versions
        .filter_map(|((version, engine), places)| {
            let other = places.iter().find(|place| **place != i)?;
            Some((*version, *engine, *other))
        })
        .collect()
}

struct Who<'a> {
    resource: &'a str,
    definition: String,
}

impl std::fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of resource {}", self.definition, self.resource)
    }
}

impl Who<'_> {
    fn misses(
        &self,
        i: usize,
        required: &Relation,
        others: &[(&semver::Version, &EngineId, usize)],
        around: &[&Neighbour],
        spec: &DeploymentSpec,
        found: &mut Vec<(String, String)>,
    ) {
        let wanted = required.show();
        let mut there: Vec<String> = others
            .iter()
            .map(|(version, engine, j)| {
                format!(
                    "{}:{version} run by {engine} (resource {})",
                    required.definition, spec.resources[*j].name
                )
            })
            .collect();
        there.extend(
            around
                .iter()
                .take(5)
                .map(|n| format!("{} run by {} ({})", versioned(n), n.engine, stands(n))),
        );
        let message = if there.is_empty() {
            let ready = match required.scope {
                Scope::Deployment => "",
                Scope::Environment => ", or wait until one is ready in another deployment",
            };
            format!(
                "{self} requires {wanted} {}, and there is none; add a resource with catalogRef \"{}:{}\"{ready}",
                required.place(),
                required.definition,
                required.version
            )
        } else {
            format!(
                "{self} requires {wanted} {}, and there is {}; use a version that fits on either side",
                required.place(),
                listed(&there)
            )
        };
        found.push((format!("/resources/{i}/catalogRef"), message));
        for (version, engine, j) in others {
            found.push((
                format!("/resources/{j}/catalogRef"),
                format!(
                    "{}:{version} run by {engine} of resource {} does not do for {self}, which requires {wanted}",
                    required.definition, spec.resources[*j].name
                ),
            ));
        }
    }

    fn meets(
        &self,
        i: usize,
        excluded: &Relation,
        version: &semver::Version,
        j: usize,
        spec: &DeploymentSpec,
        found: &mut Vec<(String, String)>,
    ) {
        let other = format!(
            "{}:{version} of resource {}",
            excluded.definition, spec.resources[j].name
        );
        let remedy = "take one of them out, or use a version outside of that range";
        found.push((
            format!("/resources/{i}/catalogRef"),
            format!(
                "{self} excludes {}, and there is {other}; {remedy}",
                excluded.show()
            ),
        ));
        found.push((
            format!("/resources/{j}/catalogRef"),
            format!(
                "{other} is excluded by {self}, which excludes {}; {remedy}",
                excluded.show()
            ),
        ));
    }
}

fn versioned(neighbour: &Neighbour) -> String {
    format!("{}:{}", neighbour.definition, neighbour.version)
}

fn stands(neighbour: &Neighbour) -> String {
    format!(
        "resource {} of deployment {}",
        neighbour.resource, neighbour.deployment
    )
}

#[cfg(test)]
#[path = "compat_tests.rs"]
mod tests;
