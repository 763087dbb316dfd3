//! What the shell looked up in the catalog before planning.

use std::collections::HashMap;
use std::sync::Arc;

use crate::definition::Definition;
use crate::ports::CatalogError;
use crate::spec::{CatalogRef, DeploymentSpec};

/// The catalog's answers, by the text of the reference that was asked for.
#[derive(Debug, Clone, Default)]
pub struct Definitions(HashMap<String, Result<Arc<Definition>, CatalogError>>);

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
        self.0.insert(reference.to_string(), answer);
    }

    /// The answer for a reference; none if it was not looked up.
    #[must_use]
    pub fn get(&self, reference: &CatalogRef) -> Option<&Result<Arc<Definition>, CatalogError>> {
        self.0.get(&reference.to_string())
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
