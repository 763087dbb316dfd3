//! What every part of the orchestrator shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use nestor_core::environment::Environments;
use nestor_core::ids::{DeploymentId, Timestamp};
use nestor_core::ports::{Bytes, Catalog, Delivery, Engines, Store, StoreError};

use crate::live::Live;
use crate::records::decode;
use crate::surroundings::Surroundings;
use crate::view::EventView;

/// Live events that a slow listener may lag behind before it reads the durable
/// ones from the store again.
const LIVE_EVENTS: usize = 4_096;
/// Documents per read of a scan: bounds memory, large enough to be few reads.
const SCAN_PAGE: usize = 1_000;

/// How much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Engine calls under way at once in the whole host. Calls mostly wait for
    /// tools and networks, so this is more than there are cores.
    pub calls: usize,
    /// Operations under way at once within one run.
    pub calls_per_run: usize,
    /// Requests that wait in one deployment's inbox.
    pub inbox: usize,
    /// Deployments that wait or run at once; more are refused with 429.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 64,
            calls_per_run: 32,
            inbox: 32,
            queue: 10_000,
        }
    }
}

/// Everything shared.
pub(crate) struct Context {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) engines: Arc<dyn Engines>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) delivery: Arc<dyn Delivery>,
    pub(crate) surroundings: Arc<dyn Surroundings>,
    pub(crate) limits: Limits,
    #[allow(dead_code, reason = "gates, slots and drift read it from here")]
    pub(crate) environments: Environments,
    pub(crate) calls: Arc<Semaphore>,
    pub(crate) events: broadcast::Sender<Arc<(DeploymentId, EventView)>>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
    drivers: Mutex<HashMap<DeploymentId, Handle>>,
}

/// A running driver, from the outside.
#[derive(Clone)]
pub(crate) struct Handle {
    /// Rung when there is something in the inbox.
    pub(crate) bell: Arc<Notify>,
    /// What it is doing, for views.
    live: Arc<Mutex<Option<Live>>>,
}

impl Handle {
    /// The live view, held only for the time of `work`, which must not block.
    pub(crate) fn live<T>(&self, work: impl FnOnce(&mut Option<Live>) -> T) -> T {
        // A view is whole at every panic point.
        work(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The ports and limits an orchestrator is made of.
pub struct Parts {
    /// Where everything durable is.
    pub store: Arc<dyn Store>,
    /// Who does the work.
    pub engines: Arc<dyn Engines>,
    /// What can be deployed.
    pub catalog: Arc<dyn Catalog>,
    /// Where manifests go.
    pub delivery: Arc<dyn Delivery>,
    /// Time and chance.
    pub surroundings: Arc<dyn Surroundings>,
    /// How much at once.
    pub limits: Limits,
    /// What holds where, whatever a deployment asks for.
    pub environments: Environments,
}

impl Context {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            store,
            engines,
            catalog,
            delivery,
            surroundings,
            limits,
            environments,
        } = parts;
        Self {
            store,
            engines,
            catalog,
            delivery,
            surroundings,
            limits,
            environments,
            calls: Arc::new(Semaphore::new(limits.calls)),
            events: broadcast::Sender::new(LIVE_EVENTS),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            drivers: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.surroundings.now()
    }

    /// The driver of a deployment, if it has one now.
    pub(crate) fn driver(&self, id: &DeploymentId) -> Option<Handle> {
        self.lock_drivers().get(id).cloned()
    }

    pub(crate) fn drivers(&self) -> usize {
        self.lock_drivers().len()
    }

    /// The handle of the deployment's driver; `true` when it is new and has to
    /// be started by the caller.
    pub(crate) fn driver_or_new(&self, id: &DeploymentId) -> (Handle, bool) {
        let mut drivers = self.lock_drivers();
        if let Some(handle) = drivers.get(id) {
            return (handle.clone(), false);
        }
        let handle = Handle {
            bell: Arc::new(Notify::new()),
            live: Arc::default(),
        };
        drivers.insert(id.clone(), handle.clone());
        (handle, true)
    }

    pub(crate) fn remove_driver(&self, id: &DeploymentId) {
        self.lock_drivers().remove(id);
    }

    fn lock_drivers(&self) -> std::sync::MutexGuard<'_, HashMap<DeploymentId, Handle>> {
        // The map is whole at every await and panic point.
        self.drivers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever listens; nobody listening is fine.
    pub(crate) fn publish(&self, id: &DeploymentId, event: EventView) {
        let _ = self.events.send(Arc::new((id.clone(), event)));
    }

    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<T>, StoreError> {
        match self.store.get(key).await? {
            Some(bytes) => decode(key, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Also the bytes, to guard on.
    pub(crate) async fn read_raw<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<(T, Bytes)>, StoreError> {
        match self.store.get(key).await? {
            Some(bytes) => Ok(Some((decode(key, &bytes)?, bytes))),
            None => Ok(None),
        }
    }

    /// Every document under a prefix, in order of key.
    pub(crate) async fn read_all<T: DeserializeOwned>(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.store.scan(prefix, after.as_deref(), SCAN_PAGE).await?;
            let last = page.len() < SCAN_PAGE;
            for (key, bytes) in page {
                let document = decode(&key, &bytes)?;
                all.push((key, document));
            }
            after = all.last().map(|(key, _)| key.clone());
            if last {
                return Ok(all);
            }
        }
    }
}
