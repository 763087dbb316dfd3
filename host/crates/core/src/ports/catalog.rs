//! Where definitions come from.

use std::sync::Arc;

use async_trait::async_trait;

use crate::definition::Definition;
use crate::ids::DefinitionName;
use crate::spec::CatalogRef;

/// Reads definitions. Implementations cache; a lookup of what was looked up
/// before is cheap.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// The highest version that the reference accepts.
    async fn lookup(&self, reference: &CatalogRef) -> Result<Arc<Definition>, CatalogError>;
    /// Every version of every definition, by name and then version.
    async fn list(&self) -> Result<Vec<Arc<Definition>>, CatalogError>;
}

/// Why a definition cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// No definition of that name; `similar` may be what was meant.
    #[error("the catalog has no definition named {name}{}", similar.as_ref().map(|s| format!("; did you mean {s}?")).unwrap_or_default())]
    UnknownName {
        /// Asked for.
        name: DefinitionName,
        /// The nearest name.
        similar: Option<DefinitionName>,
    },
    /// The name is there, but no version matches.
    #[error("no version of {} matches {reference}; there are: {}", reference.name, available.join(", "))]
    NoMatchingVersion {
        /// Asked for.
        reference: CatalogRef,
        /// What there is, highest first, bounded.
        available: Vec<String>,
    },
    /// The definition is there and broken; the message names file and line.
    #[error("{0}")]
    Broken(String),
    /// The catalog cannot be reached.
    #[error("the catalog cannot be read: {0}")]
    Unavailable(String),
}
