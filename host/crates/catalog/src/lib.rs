//! The file catalog: versioned definitions with their charts, modules and programs.
//!
//! ```text
//! catalog/
//!   aws-rds-mysql/1.0.0/definition.yaml    names and folders are free;
//!   aws-rds-mysql/1.0.0/module/main.tf     the file says which version of what it is
//! ```
//!
//! A folder with a `definition.yaml` is a definition, with everything in it:
//!
//! ```yaml
//! name: aws-rds-mysql
//! version: 1.0.0
//! description: A MySQL database
//! config:                       # JSON Schema, or short: a field and its type
//!   size: integer
//!   zone?: string
//! outputs:
//!   endpoint: string
//!   password: {type: string, sensitive: true}
//! delivery: direct              # or gitops; the deployment's own goes before it
//! engines: [terraform]          # in order of preference; without it, the sections in their order
//! terraform:                    # what the engine is told
//!   module: ./module
//! ```
//!
//! A broken definition breaks no other: it is reported where it is looked up
//! and by [`FileCatalog::problems`]. Changed files are seen within seconds.

mod definition;
mod folder;
mod relations;
mod shorthand;
mod snapshot;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nestor_core::definition::Definition;
use nestor_core::ports::{Catalog, CatalogError};
use nestor_core::spec::CatalogRef;

pub use snapshot::CatalogProblem;
use snapshot::Snapshot;

/// How old what is known may be for a lookup that succeeds.
const MAX_AGE: Duration = Duration::from_secs(2);
/// How old it may be for one that fails: whoever just wrote a definition finds
/// it, and whoever asks for nonsense a thousand times does not wear the disk out.
const MAX_AGE_OF_A_MISS: Duration = Duration::from_millis(100);

/// Definitions in a directory. Cheap to clone; clones share what was read.
#[derive(Debug, Clone)]
pub struct FileCatalog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Held while reading files, so that only one reads.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    snapshot: Arc<Snapshot>,
    read_at: Option<Instant>,
    reported: Vec<CatalogProblem>,
}

impl FileCatalog {
    /// Opens a directory and reads it. Blocks.
    ///
    /// # Errors
    /// When the directory cannot be read. Broken definitions are no error.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, CatalogError> {
        let root = root.into();
        // Engines get absolute paths, whatever the process's directory is.
        let root = std::path::absolute(&root)
            .map_err(|error| CatalogError::Unavailable(format!("{}: {error}", root.display())))?;
        let catalog = Self(Arc::new(Inner {
            root,
            state: Mutex::default(),
        }));
        catalog.0.fresh(Duration::ZERO)?;
        Ok(catalog)
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Everything that is wrong in it, by path. Blocks.
    ///
    /// # Errors
    /// When the directory cannot be read and never was.
    pub fn problems(&self) -> Result<Vec<CatalogProblem>, CatalogError> {
        Ok(self.0.fresh(Duration::ZERO)?.problems())
    }

    async fn snapshot(&self, max_age: Duration) -> Result<Arc<Snapshot>, CatalogError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || inner.fresh(max_age))
            .await
            .map_err(|error| CatalogError::Unavailable(format!("reading it failed: {error}")))?
    }
}

impl Inner {
    /// What is there, read again if what is known is older than `max_age`. When
    /// the directory cannot be read, what was known before goes on being used.
    fn fresh(&self, max_age: Duration) -> Result<Arc<Snapshot>, CatalogError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .read_at
            .is_some_and(|read_at| read_at.elapsed() < max_age)
        {
            return Ok(Arc::clone(&state.snapshot));
        }
        match Snapshot::load(&self.root, &state.snapshot) {
            Ok(snapshot) => {
                let problems = snapshot.problems();
                for problem in problems
                    .iter()
                    .filter(|problem| !state.reported.contains(problem))
                {
                    tracing::warn!(%problem, "a definition of the catalog cannot be used");
                }
                *state = State {
                    snapshot: Arc::new(snapshot),
                    read_at: Some(Instant::now()),
                    reported: problems,
                };
            }
            Err(error) if state.read_at.is_some() => {
                tracing::error!(directory = %self.root.display(), %error, "the catalog cannot be read; going on with what was read before");
                state.read_at = Some(Instant::now());
            }
            Err(error) => {
                return Err(CatalogError::Unavailable(format!(
                    "directory {}: {error}",
                    self.root.display()
                )));
            }
        }
        Ok(Arc::clone(&state.snapshot))
    }
}

#[async_trait]
impl Catalog for FileCatalog {
    async fn lookup(&self, reference: &CatalogRef) -> Result<Arc<Definition>, CatalogError> {
        match self.snapshot(MAX_AGE).await?.lookup(reference) {
            Ok(definition) => Ok(definition),
            Err(_) => self.snapshot(MAX_AGE_OF_A_MISS).await?.lookup(reference),
        }
    }

    async fn list(&self) -> Result<Vec<Arc<Definition>>, CatalogError> {
        Ok(self.snapshot(MAX_AGE).await?.list())
    }
}
