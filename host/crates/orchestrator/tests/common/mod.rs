//! A host with fakes, whose clock jumps.

#![allow(dead_code, reason = "each file of tests uses its part")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use serde_json::{Value, json};

use nestor_core::definition::JsonType;
use nestor_core::engine::Features;
use nestor_core::environment::Environments;
use nestor_core::execution::Jitter;
use nestor_core::ids::Timestamp;
use nestor_core::ports::{Batch, Bytes, CommitError, EngineStatus, Store, StoreError};
use nestor_orchestrator::service::RequestMeta;
use nestor_orchestrator::view::{DeploymentStatus, DeploymentView, ResourceView};
use nestor_orchestrator::{Limits, Orchestrator, Parts, Surroundings};
use nestor_store::MemoryStore;
use nestor_testkit::{FakeEngines, FakeNotifier, MemoryCatalog, MemoryDelivery};

/// A clock that jumps to whatever is waited for; no chance.
#[derive(Debug, Default, Clone)]
pub(crate) struct Clock {
    since_start: Arc<AtomicU64>,
    held: Arc<AtomicBool>,
    /// By how much it was set back.
    back: Arc<AtomicU64>,
}

impl Clock {
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_millis(self.since_start.load(Ordering::SeqCst))
    }
    /// It does not jump any more, or does again.
    pub(crate) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }
    pub(crate) fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).expect("a short test");
        self.since_start.fetch_add(millis, Ordering::SeqCst);
    }
    /// Somebody corrects it. Who sleeps does so for as long as before.
    pub(crate) fn set_back(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).expect("a short test");
        self.back.fetch_add(millis, Ordering::SeqCst);
    }
}

const START: u64 = 1_700_000_000_000;
/// Nobody who waits for less wants the clock to jump further: ten days.
const FAR_MS: u64 = 10 * 24 * 3_600_000;

impl Surroundings for Clock {
    fn now(&self) -> Timestamp {
        let back = self.back.load(Ordering::SeqCst);
        Timestamp(START + self.since_start.load(Ordering::SeqCst) - back)
    }
    fn jitter(&self) -> Jitter {
        Jitter(0)
    }
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = self.clone();
        let since_start = move || clock.since_start.load(Ordering::SeqCst);
        let wait = at.0.saturating_sub(self.now().0);
        let (clock, end) = (self.clone(), since_start() + wait);
        Box::pin(async move {
            // What can happen at once happens first.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let far = wait > FAR_MS;
            while (far || clock.held.load(Ordering::SeqCst)) && since_start() < end {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            clock.since_start.fetch_max(end, Ordering::SeqCst);
        })
    }
}

/// What outlives a restart.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) engines: Arc<FakeEngines>,
    pub(crate) catalog: Arc<MemoryCatalog>,
    pub(crate) delivery: Arc<MemoryDelivery>,
    pub(crate) notifier: Arc<FakeNotifier>,
    pub(crate) clock: Clock,
    pub(crate) environments: Environments,
    pub(crate) limits: Limits,
}

impl World {
    /// Definitions `db:1.0.0` (outputs endpoint, port), `app:1.0.0` (no
    /// outputs) by engine `fake`, and `chart:1.0.0` by the rendering engine
    /// `charts`.
    pub(crate) fn new() -> Self {
        let engines = FakeEngines::with(&["fake"]);
        let render = Features {
            render: true,
            ..Features::default()
        };
        engines.add_with("charts", render, EngineStatus::Ready);
        let catalog = MemoryCatalog::new();
        catalog.add_simple(
            "db:1.0.0",
            "fake",
            &[("endpoint", JsonType::String), ("port", JsonType::Integer)],
        );
        catalog.add_simple("app:1.0.0", "fake", &[]);
        catalog.add_simple("chart:1.0.0", "charts", &[]);
        Self {
            store: Arc::new(MemoryStore::new()),
            engines: Arc::new(engines),
            catalog: Arc::new(catalog),
            delivery: Arc::new(MemoryDelivery::new()),
            notifier: Arc::default(),
            clock: Clock::default(),
            environments: Environments::default(),
            limits: Limits::default(),
        }
    }

    /// A host on this world. Dropping it without `shutdown` is a crash.
    pub(crate) async fn host(&self) -> Orchestrator {
        self.try_host().await.expect("starts")
    }

    /// The same on a store that may be dead.
    pub(crate) async fn try_host(&self) -> Option<Orchestrator> {
        let parts = Parts {
            store: Arc::clone(&self.store),
            engines: self.engines.clone(),
            catalog: self.catalog.clone(),
            delivery: self.delivery.clone(),
            notifier: self.notifier.clone(),
            surroundings: Arc::new(self.clock.clone()),
            limits: self.limits.clone(),
            environments: self.environments.clone(),
        };
        Orchestrator::start(parts).await.ok()
    }

    /// Hosts from now on die after that many commits; what they wrote is found
    /// by hosts of a clone that was made before.
    pub(crate) fn mortal(&mut self, commits: usize) -> Arc<Mortal> {
        let store = Arc::new(Mortal {
            store: Arc::clone(&self.store),
            left: AtomicUsize::new(commits),
            dead: AtomicBool::new(false),
        });
        self.store = store.clone();
        store
    }
}

/// A store that is gone after some commits, as when the process dies.
pub(crate) struct Mortal {
    store: Arc<dyn Store>,
    left: AtomicUsize,
    dead: AtomicBool,
}

impl Mortal {
    /// It dies after that many more commits.
    pub(crate) fn dies_after(&self, commits: usize) {
        self.left.store(commits, Ordering::SeqCst);
    }
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Store for Mortal {
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if left.is_ok() && !self.is_dead() {
            return self.store.commit(batch).await;
        }
        self.dead.store(true, Ordering::SeqCst);
        Err(CommitError::Store(StoreError::Failed("dead".into())))
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.store.get(key).await
    }
    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Bytes)>, StoreError> {
        self.store.scan(prefix, after, limit).await
    }
    fn exclusive(&self) -> bool {
        true
    }
}

/// A deployment `web` with these resources: name, catalogRef, config.
pub(crate) fn web(resources: &[(&str, &str, Value)]) -> Value {
    let resources: Vec<Value> = resources
        .iter()
        .map(|(name, reference, config)| json!({ "name": name, "catalogRef": reference, "config": config }))
        .collect();
    json!({ "id": "web", "composer": "team-alpha", "environment": "production", "resources": resources, "dependencies": [] })
}

/// `database` and an `app` that needs its endpoint.
pub(crate) fn two() -> Value {
    web(&[
        ("database", "db:1.0.0", json!({ "size": 1 })),
        (
            "app",
            "app:1.0.0",
            json!({ "url": "${resources.database.outputs.endpoint}" }),
        ),
    ])
}

pub(crate) async fn post(host: &Orchestrator, body: &Value) -> u64 {
    let body = serde_json::to_vec(body).expect("JSON");
    host.submit(&body, RequestMeta::default())
        .await
        .expect("accepted")
        .revision
}

/// Waits until the deployment has settled.
pub(crate) async fn settle(host: &Orchestrator, id: &str) -> DeploymentView {
    let mut events = host.events(id, None, false).await.expect("there");
    while events.next().await.is_some() {}
    host.get(id).await.expect("there")
}

pub(crate) async fn deploy(host: &Orchestrator, body: &Value) -> DeploymentView {
    post(host, body).await;
    settle(host, "web").await
}

pub(crate) fn resource<'a>(view: &'a DeploymentView, name: &str) -> &'a ResourceView {
    view.resources
        .iter()
        .find(|r| r.name == name)
        .expect("a resource of that name")
}

/// Waits until something holds; fails after some seconds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..5_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

pub(crate) fn assert_status(view: &DeploymentView, status: DeploymentStatus) {
    assert_eq!(view.status, status, "{view:#?}");
}
