//! What the shell looked up before planning: in the catalog, and in the
//! environment.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::definition::Definition;
use crate::ids::DefinitionName;
use crate::ports::CatalogError;
use crate::relation::{Neighbour, Scope};
use crate::spec::{CatalogRef, DeploymentSpec};

/// The catalog's answers, by the text of the reference that was asked for, and
/// what else is ready in the environment.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    answers: HashMap<String, Result<Arc<Definition>, CatalogError>>,
    neighbours: Vec<Neighbour>,
}

impl Definitions {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records an answer; a later one for the same reference wins.
    pub fn insert(
        &mut self,
        reference: &CatalogRef,
        answer: Result<Arc<Definition>, CatalogError>,
    ) {
        self.answers.insert(reference.to_string(), answer);
    }

    /// The answer for a reference; none if it was not looked up.
    #[must_use]
    pub fn get(&self, reference: &CatalogRef) -> Option<&Result<Arc<Definition>, CatalogError>> {
        self.answers.get(&reference.to_string())
    }

    /// The definitions that were found, each once.
    pub fn found(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.answers
            .values()
            .filter_map(|answer| answer.as_ref().ok())
    }

    /// Definitions whose presence elsewhere in the environment matters.
    #[must_use]
    pub fn beyond(&self) -> BTreeSet<DefinitionName> {
        self.found()
            .flat_map(|d| d.relations.requires.iter().chain(&d.relations.conflicts))
            .filter(|relation| relation.scope == Scope::Environment)
            .map(|relation| relation.definition.clone())
            .collect()
    }

    /// Records a ready resource of another deployment in the same environment.
    pub fn meet(&mut self, neighbour: Neighbour) {
        self.neighbours.push(neighbour);
    }

    /// All that were met.
    #[must_use]
    pub fn neighbours(&self) -> &[Neighbour] {
        &self.neighbours
    }
}

/// What has to be looked up before [`plan`](super::plan), each once, in the
/// order of the request.
#[must_use]
pub fn catalog_refs(spec: &DeploymentSpec) -> Vec<CatalogRef> {
    let mut seen = std::collections::HashSet::new();
    let mut refs = Vec::new();
    for resource in &spec.resources {
        if seen.insert(resource.catalog_ref.to_string()) {
            refs.push(resource.catalog_ref.clone());
        }
    }
    refs
}
