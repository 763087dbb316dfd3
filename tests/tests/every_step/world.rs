//! Hosts that can die, and what outlives them.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use nestor_core::engine::Features;
use nestor_core::environment::Environments;
use nestor_core::execution::Jitter;
use nestor_core::ids::Timestamp;
use nestor_core::ports::{EngineStatus, NoNotifier};
use nestor_core::spec::DeliveryMode;
use nestor_orchestrator::service::RequestMeta;
use nestor_orchestrator::view::DeploymentView;
use nestor_orchestrator::{Limits, Orchestrator, Parts, Surroundings};
use nestor_store::MemoryStore;
use nestor_testkit::engines::Behaviour;
use nestor_testkit::{FakeEngines, MemoryDelivery};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::example::Example;
use crate::fault::{Faulty, Script};

/// A clock that jumps to whatever is waited for; no chance.
#[derive(Default, Clone)]
struct Clock {
    since_start: Arc<AtomicU64>,
}

/// In real time; a case takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
const START: u64 = 1_700_000_000_000;

impl Surroundings for Clock {
    fn now(&self) -> Timestamp {
        Timestamp(START + self.since_start.load(Ordering::SeqCst))
    }
    fn jitter(&self) -> Jitter {
        Jitter(0)
    }
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = self.clone();
        Box::pin(async move {
            // What can happen at once happens first.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let at = at.0.saturating_sub(START);
            clock.since_start.fetch_max(at, Ordering::SeqCst);
        })
    }
}

/// What outlives a host.
pub(crate) struct World<'a> {
    pub(crate) example: &'a Example,
    pub(crate) engines: Arc<FakeEngines>,
    pub(crate) delivery: Arc<MemoryDelivery>,
    pub(crate) script: Arc<Script>,
    store: Arc<MemoryStore>,
    clock: Clock,
}

impl<'a> World<'a> {
    pub(crate) fn new(example: &'a Example) -> Self {
        let engines = FakeEngines::new();
        for resource in &example.resources {
            let features = Features {
                render: resource.delivery == DeliveryMode::Gitops,
                ..Features::default()
            };
            engines.add_with(resource.engine.as_str(), features, EngineStatus::Ready);
            engines.script(&resource.name, behaviour(example, &resource.name));
        }
        Self {
            example,
            engines: Arc::new(engines),
            delivery: Arc::default(),
            script: Arc::default(),
            store: Arc::default(),
            clock: Clock::default(),
        }
    }

    /// Operations on this resource go on outside until they were looked at.
    pub(crate) fn slow(&self, resource: &str) {
        let slow = behaviour(self.example, resource).pending(1);
        let slow = slow.poll_after(Duration::from_secs(30));
        self.engines.script(resource, slow);
    }

    /// What there is: resources and their configs, or their manifests in Git.
    pub(crate) fn things(&self) -> BTreeMap<String, String> {
        let id = &self.example.id;
        let environment = self.example.bodies[0]["environment"].as_str();
        let environment = environment.expect("an environment");
        let thing = |name: &str, delivery| match delivery {
            DeliveryMode::Direct => {
                let existing = self.engines.existing(id, name)?;
                Some(existing.config.to_string())
            }
            DeliveryMode::Gitops => {
                let manifests = self
                    .delivery
                    .folder(&format!("{environment}/{id}/{name}"))?;
                Some(format!("{manifests:?}"))
            }
        };
        let things = self.example.resources.iter();
        things
            .filter_map(|r| Some((r.name.clone(), thing(&r.name, r.delivery)?)))
            .collect()
    }

    /// How many operations had an effect on each resource that there is, and
    /// how many commits were made.
    pub(crate) fn effects(&self) -> (BTreeMap<String, u32>, usize) {
        let effects = |name: &String| self.engines.existing(&self.example.id, name);
        let all = self.example.resources.iter().map(|r| &r.name);
        let effects = all.filter_map(|name| Some((name.clone(), effects(name)?.effects)));
        (effects.collect(), self.delivery.commits().len())
    }

    /// A host on this world.
    pub(crate) fn host(&self) -> Host {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let parts = Parts {
            store: self.store.clone(),
            engines: Arc::new(Faulty {
                inner: self.engines.clone(),
                script: self.script.clone(),
            }),
            catalog: Arc::new(self.example.catalog.clone()),
            delivery: Arc::new(Faulty {
                inner: self.delivery.clone(),
                script: self.script.clone(),
            }),
            notifier: Arc::new(NoNotifier),
            surroundings: Arc::new(self.clock.clone()),
            limits: Limits::default(),
            environments: Environments::default(),
        };
        let orchestrator = runtime
            .block_on(Orchestrator::start(parts))
            .expect("starts");
        Host {
            runtime,
            orchestrator,
        }
    }
}

fn behaviour(example: &Example, resource: &str) -> Behaviour {
    let resource = example.resources.iter().find(|r| r.name == resource);
    let outputs = &resource.expect("a resource of that name").outputs;
    let (secret, open): (Vec<_>, Vec<_>) = outputs.iter().partition(|(_, _, secret)| *secret);
    let open = open
        .iter()
        .map(|(name, value, _)| (name.as_str(), value.clone()));
    secret
        .iter()
        .fold(Behaviour::ready(open), |behaviour, (name, value, _)| {
            behaviour.sensitive(name, value.clone())
        })
}

/// A host; dropping it is `kill -9`: its tasks end where they are.
pub(crate) struct Host {
    runtime: Runtime,
    orchestrator: Orchestrator,
}

impl Host {
    pub(crate) fn post(&self, body: &Value) {
        let body = body.to_string();
        let meta = RequestMeta::default();
        self.runtime
            .block_on(self.orchestrator.submit(body.as_bytes(), meta))
            .expect("accepted");
    }

    pub(crate) fn delete(&self, id: &str) {
        self.runtime
            .block_on(self.orchestrator.delete(id, RequestMeta::default()))
            .expect("accepted");
    }

    pub(crate) fn retry(&self, id: &str) {
        self.runtime
            .block_on(self.orchestrator.retry(id, RequestMeta::default()))
            .expect("accepted");
    }

    pub(crate) fn view(&self, id: &str) -> DeploymentView {
        self.runtime
            .block_on(self.orchestrator.get(id))
            .expect("there")
    }

    /// Until the deployment has settled; false when the host is to die first.
    pub(crate) fn settles(&self, id: &str, script: &Script) -> bool {
        self.runtime.block_on(async {
            let mut events = self
                .orchestrator
                .events(id, None, false)
                .await
                .expect("there");
            let settled = async { while events.next().await.is_some() {} };
            tokio::select! {
                () = settled => true,
                () = script.dying.notified() => false,
                () = tokio::time::sleep(PATIENCE) => {
                    let view = self.orchestrator.get(id).await;
                    panic!("it does not settle: {view:#?}")
                }
            }
        })
    }
}
