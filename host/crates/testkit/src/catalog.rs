//! Definitions from code.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use nestor_core::definition::{Definition, JsonType, OutputDeclaration};
use nestor_core::ids::{DefinitionName, Digest, EngineId, OutputName};
use nestor_core::ports::{Catalog, CatalogError};
use nestor_core::spec::CatalogRef;
use semver::Version;
use serde_json::{Value, json};

/// A catalog that a test fills.
#[derive(Debug, Default)]
pub struct MemoryCatalog {
    definitions: Mutex<BTreeMap<(DefinitionName, Version), Arc<Definition>>>,
}

impl MemoryCatalog {
    /// An empty catalog.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a definition, or takes the place of the one with its name and version.
    pub fn add(&self, definition: Definition) {
        let key = (definition.name.clone(), definition.version.clone());
        self.lock().insert(key, Arc::new(definition));
    }

    /// Adds a definition that takes any config; `reference` is `name:version`,
    /// outputs are names with a JSON type.
    ///
    /// # Panics
    /// When a name or the version is not one.
    pub fn add_simple(&self, reference: &str, engine: &str, outputs: &[(&str, JsonType)]) {
        self.add(simple(reference, engine, outputs));
    }

    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<(DefinitionName, Version), Arc<Definition>>> {
        self.definitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A definition that takes any config, to be changed before it is added.
///
/// # Panics
/// When a name or the version is not one.
#[must_use]
pub fn simple(reference: &str, engine: &str, outputs: &[(&str, JsonType)]) -> Definition {
    let (name, version) = reference.split_once(':').expect("name:version");
    let outputs = outputs.iter().map(|(name, json_type)| {
        let declaration = OutputDeclaration {
            json_type: *json_type,
            sensitive: false,
            description: String::new(),
        };
        (
            OutputName::new(name).expect("an output's name"),
            declaration,
        )
    });
    Definition {
        name: DefinitionName::new(name).expect("a definition's name"),
        version: version.parse().expect("a version"),
        description: format!("{reference} for tests"),
        engines: vec![(
            EngineId::new(engine).expect("an engine's name"),
            Arc::new(json!({})),
        )],
        config_schema: Arc::new(Value::Bool(true)),
        outputs: outputs.collect(),
        delivery: None,
        relations: Default::default(),
        folder: None,
        digest: Digest::of(reference.as_bytes()),
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    async fn lookup(&self, reference: &CatalogRef) -> Result<Arc<Definition>, CatalogError> {
        let definitions = self.lock();
        let versions = || {
            definitions
                .iter()
                .rev()
                .filter(|((name, _), _)| *name == reference.name)
        };
        if let Some((_, found)) =
            versions().find(|((_, version), _)| reference.version.matches(version))
        {
            return Ok(found.clone());
        }
        let available: Vec<String> = versions()
            .map(|((_, version), _)| version.to_string())
            .collect();
        if available.is_empty() {
            return Err(CatalogError::UnknownName {
                name: reference.name.clone(),
                similar: None,
            });
        }
        Err(CatalogError::NoMatchingVersion {
            reference: reference.clone(),
            available,
        })
    }

    async fn list(&self) -> Result<Vec<Arc<Definition>>, CatalogError> {
        Ok(self.lock().values().cloned().collect())
    }
}
