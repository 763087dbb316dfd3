//! The coordinator with an engine that does nothing, and what its store sees.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nestor_core::definition::JsonType;
use nestor_core::engine::{EngineError, Features, Outcome, Output, Purpose, Settled};
use nestor_core::environment::Environments;
use nestor_core::ids::{Digest, EngineId, OutputName};
use nestor_core::ports::{
    Batch, Bytes, CommitError, EngineCall, EngineHead, EngineStatus, Engines, Function, Reply,
    Store, StoreError, Write,
};
use nestor_orchestrator::{Limits, Orchestrator, Parts, RealSurroundings};
use nestor_testkit::{MemoryCatalog, MemoryDelivery};
use serde_json::{Value, json};

/// What a test engine at the level of the port does with a call.
#[async_trait]
pub(crate) trait Behaviour: Send + Sync {
    /// A call of anything but `validate`, before it is answered.
    async fn called(&self, call: &EngineCall);
    /// Right before the answer is given.
    fn answered(&self, _call: &EngineCall) {}
}

/// An engine that is ready at once, without a sandbox around it.
pub(crate) struct Plain<B>(pub(crate) Arc<B>);

#[async_trait]
impl<B: Behaviour> Engines for Plain<B> {
    fn head(&self, engine: &EngineId) -> Result<EngineHead, EngineError> {
        Ok(EngineHead {
            id: engine.clone(),
            digest: Digest::of(b"plain"),
            version: "1.0.0".into(),
            features: Features::default(),
            status: EngineStatus::Ready,
            concurrency: 1_000,
        })
    }

    fn names(&self) -> Vec<EngineId> {
        EngineId::new("plain").into_iter().collect()
    }

    async fn call(&self, call: EngineCall) -> Result<Reply, EngineError> {
        if call.function == Function::Validate {
            return Ok(Reply::Validated(Vec::new()));
        }
        self.0.called(&call).await;
        let outputs = match call.context.purpose {
            Purpose::Destroy => Vec::new(),
            Purpose::Apply | Purpose::Inspect => vec![Output {
                name: OutputName::new("value").map_err(|e| EngineError::Failed(e.to_string()))?,
                value: json!("v"),
                sensitive: false,
            }],
        };
        self.0.answered(&call);
        Ok(Reply::Outcome(Outcome::Ready(Settled {
            outputs,
            state: json!({}),
        })))
    }
}

/// A store that notes when a run's journal was last made durable, and what was
/// written.
pub(crate) struct Watched<S> {
    store: Arc<S>,
    inner: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    /// By deployment: how long its last journal entry took, and when it was durable.
    journaled: HashMap<String, (Duration, Instant)>,
    /// Every batch, once asked for.
    batches: Option<Vec<Batch>>,
}

impl<S> Watched<S> {
    pub(crate) fn new(store: Arc<S>) -> Self {
        Self {
            store,
            inner: Mutex::default(),
        }
    }

    /// How long the deployment's last journal entry took, and when it was durable.
    pub(crate) fn journaled(&self, deployment: &str) -> Option<(Duration, Instant)> {
        self.lock().journaled.get(deployment).copied()
    }

    /// Keeps every batch from now on.
    pub(crate) fn record(&self) {
        self.lock().batches = Some(Vec::new());
    }

    /// What was kept, in the order of becoming durable.
    pub(crate) fn recorded(&self) -> Vec<Batch> {
        self.lock().batches.take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<S: Store> Store for Watched<S> {
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let journal = batch.writes.iter().find_map(|write| match write {
            Write::Put(key, _) => key.strip_prefix("jrn/")?.split('/').next(),
            Write::Delete(_) => None,
        });
        let journal = journal.map(str::to_owned);
        let kept = self.lock().batches.is_some().then(|| batch.clone());
        let began = Instant::now();
        let result = self.store.commit(batch).await;
        if result.is_ok() {
            let mut notes = self.lock();
            if let Some(deployment) = journal {
                let now = Instant::now();
                notes.journaled.insert(deployment, (now - began, now));
            }
            if let (Some(batches), Some(batch)) = (&mut notes.batches, kept) {
                batches.push(batch);
            }
        }
        result
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
}

/// A coordinator on these, with a catalog of one definition, `nothing:1.0.0`.
pub(crate) async fn start(
    store: Arc<dyn Store>,
    engines: Arc<dyn Engines>,
    limits: Limits,
) -> anyhow::Result<Orchestrator> {
    let catalog = MemoryCatalog::new();
    catalog.add_simple("nothing:1.0.0", "plain", &[("value", JsonType::String)]);
    let parts = Parts {
        store,
        engines,
        catalog: Arc::new(catalog),
        delivery: Arc::new(MemoryDelivery::new()),
        notifier: Arc::new(nestor_core::ports::NoNotifier),
        surroundings: Arc::new(RealSurroundings),
        limits,
        environments: Environments::default(),
    };
    Ok(Orchestrator::start(parts).await?)
}

/// Resources of which each waits for the one before.
pub(crate) fn chain(id: &str, length: usize) -> String {
    let name = |i: usize| format!("r{i}");
    let resources: Vec<Value> = (0..length)
        .map(|i| json!({ "name": name(i), "catalogRef": "nothing:1.0.0", "config": {} }))
        .collect();
    let dependencies: Vec<Value> = (1..length)
        .map(|i| json!({ "from": name(i - 1), "to": name(i) }))
        .collect();
    json!({
        "id": id, "composer": "bench", "environment": "test", "delivery": "direct",
        "resources": resources, "dependencies": dependencies
    })
    .to_string()
}
