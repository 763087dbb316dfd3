//! The engine host: the registry of engines, and everything that calls need.

mod calls;
mod checkouts;
mod forget;
mod load;
mod prepare;
mod start;

pub(crate) use checkouts::Checkout;
pub use load::MAX_ENGINES;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nestor_core::engine::EngineError;
use nestor_core::grant::Capabilities;
use nestor_core::ids::EngineId;
use nestor_core::ports::Store;

use crate::cache::Cache;
use crate::call::{Answer, Bounds, Question};
use crate::convert::Description;
use crate::info::EngineInfo;
use crate::registry::{Persistence, Registry};
use crate::runtime::Runtime;
use crate::tools::Tools;
use checkouts::Checkouts;

/// How often [`EngineHost::settled`] looks.
const LOOK: Duration = Duration::from_millis(5);

/// Runs engines. Cheap to share; everything of it ends when the last handle is
/// dropped, running tools included.
pub struct EngineHost {
    runtime: Arc<Runtime>,
    cache: Cache,
    /// None: this process compiles.
    compiler: Option<PathBuf>,
    registry: Registry,
    persistence: Persistence,
    folders: Folders,
    checkouts: Arc<Checkouts>,
    tools: Arc<Tools>,
    kv: Arc<dyn Store>,
    grants: BTreeMap<EngineId, Capabilities>,
    /// What the built-in versions request, and so what their names stand for.
    builtin_grants: BTreeMap<EngineId, Capabilities>,
    /// JSON texts.
    settings: BTreeMap<EngineId, Arc<str>>,
    /// One at a time: Cranelift takes all processors and a gigabyte.
    compiling: tokio::sync::Semaphore,
    /// Held by whoever changes the registry.
    changing: tokio::sync::Mutex<()>,
    /// Itself, for tasks that outlive a call.
    own: std::sync::Weak<EngineHost>,
}

struct Folders {
    /// Empty, and read-only to guests.
    empty: PathBuf,
    /// Short-lived ones, emptied at start.
    scratch: PathBuf,
}

impl EngineHost {
    /// Every engine, by name.
    #[must_use]
    pub fn list(&self) -> Vec<EngineInfo> {
        self.registry.all().iter().map(|slot| slot.info()).collect()
    }

    /// One engine.
    #[must_use]
    pub fn get(&self, id: &EngineId) -> Option<EngineInfo> {
        self.registry.slot(id).map(|slot| slot.info())
    }

    /// Waits until no engine is being prepared: each is ready or failed.
    pub async fn settled(&self) {
        while !self.registry.all().iter().all(|slot| slot.head.settled()) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until one engine is ready or failed; at once when there is none.
    pub async fn settled_of(&self, id: &EngineId) {
        while let Some(slot) = self.registry.slot(id)
            && !slot.head.settled()
        {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether an engine's compiled form is in the cache: it is ready in
    /// milliseconds. Compiling takes up to a minute.
    #[must_use]
    pub fn is_compiled(&self, id: &EngineId) -> bool {
        let slot = self.registry.slot(id);
        slot.is_some_and(|slot| self.cache.has(&slot.head.digest))
    }

    /// Asks an engine to describe itself: the smallest whole call.
    ///
    /// # Errors
    /// As any call.
    pub async fn describe(&self, id: &EngineId) -> Result<Description, EngineError> {
        let version = self.registry.version(id, None)?;
        let ready = version.ready()?;
        let limits = ready.grant.limits();
        let bounds = Bounds {
            cpu: limits.cpu,
            wall: limits.wall,
        };
        let turn = crate::call::turn(&self.runtime, &version.slots).await?;
        let around = self.no_resource(
            &version.id,
            &ready.grant,
            self.folders.empty.clone(),
            bounds,
        );
        match crate::call::ask(
            &self.runtime,
            ready.pre.clone(),
            around,
            bounds,
            Question::Describe,
            Some(turn),
        )
        .await?
        {
            Answer::Description(description) => Ok(description),
            Answer::Healthy | Answer::Reply(_) => {
                Err(EngineError::Trapped("it answered another question".into()))
            }
        }
    }

    /// What the platform grants an engine of this name.
    fn granted(&self, id: &EngineId) -> Capabilities {
        let granted = self.grants.get(id).or_else(|| self.builtin_grants.get(id));
        granted.cloned().unwrap_or_default()
    }
}
