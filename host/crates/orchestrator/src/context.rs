//! What every part of the orchestrator shares.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use nestor_core::environment::Environments;
use nestor_core::ids::{DeploymentId, EngineId, Timestamp};
use nestor_core::ports::{Bytes, Catalog, Delivery, Engines, Notifier, Store, StoreError};

use crate::alarms::Alarms;
use crate::drift::Looking;
use crate::records::decode;
use crate::scheduler::Scheduler;
use crate::slots::{self, Slots};
use crate::surroundings::Surroundings;
use crate::sweep::Swept;
use crate::view::EventView;
use crate::webhooks::Hooks;
use crate::worker::Worker;

/// Live events that a slow listener may lag behind before it reads the durable
/// ones from the store again.
const LIVE_EVENTS: usize = 4_096;
/// Documents per read of a scan: bounds memory, large enough to be few reads.
const SCAN_PAGE: usize = 1_000;

/// How much at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Engine calls under way at once in the whole host. Calls mostly wait for
    /// tools and networks, so this is more than there are cores.
    pub calls: usize,
    /// Operations under way at once within one run.
    pub calls_per_run: usize,
    /// Requests that wait in one deployment's inbox.
    pub inbox: usize,
    /// Deployments that run or wait for their turn at once; new ones beyond
    /// that are refused with 429.
    pub queue: usize,
    /// Deployments that only wait for a time, such as for a claim that takes
    /// twenty minutes; new ones beyond that are refused with 429.
    pub parked: usize,
    /// Deployments that are worked on at once. Each holds its plan in memory.
    pub runs: usize,
    /// Calls under way at once, by engine; one that is not named is bounded by
    /// `calls` and by what it takes.
    pub engines: BTreeMap<EngineId, usize>,
    /// For how long a deployment that was deleted is still known;
    /// [`Duration::MAX`] is for ever.
    pub keep_deleted: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 64,
            calls_per_run: 32,
            inbox: 32,
            queue: 10_000,
            parked: 200_000,
            runs: 1_024,
            engines: BTreeMap::new(),
            // Somebody may come back from a holiday.
            keep_deleted: Duration::from_secs(30 * 24 * 3_600),
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
    pub(crate) environments: Environments,
    pub(crate) slots: Arc<Slots>,
    pub(crate) scheduler: Scheduler,
    pub(crate) worker: Worker,
    pub(crate) alarms: Alarms,
    pub(crate) looking: Looking,
    pub(crate) swept: Swept,
    pub(crate) hooks: Hooks,
    pub(crate) events: broadcast::Sender<Arc<(DeploymentId, EventView)>>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
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
    /// Who posts to receivers outside.
    pub notifier: Arc<dyn Notifier>,
    /// Time and chance.
    pub surroundings: Arc<dyn Surroundings>,
    /// How much at once.
    pub limits: Limits,
    /// What holds where, whatever a deployment asks for.
    pub environments: Environments,
}

impl Context {
    pub(crate) fn new(parts: Parts, worker: Worker) -> Self {
        let Parts {
            store,
            engines,
            catalog,
            delivery,
            notifier,
            surroundings,
            limits,
            environments,
        } = parts;
        let bounds = slots::bounds(&limits, &environments);
        let slots = Slots::new(bounds, Arc::clone(&engines), Arc::clone(&surroundings));
        let scheduler = Scheduler::new(limits.runs);
        Self {
            store,
            engines,
            catalog,
            delivery,
            surroundings,
            limits,
            environments,
            slots,
            scheduler,
            worker,
            alarms: Alarms::default(),
            looking: Looking::default(),
            swept: Swept::default(),
            hooks: Hooks::new(notifier),
            events: broadcast::Sender::new(LIVE_EVENTS),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.surroundings.now()
    }

    /// Tells whoever listens; nobody listening is fine.
    pub(crate) fn publish(&self, id: &DeploymentId, event: EventView) {
        if event.id.is_some() {
            self.hooks.ring();
        }
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
