//! Engines without WebAssembly. Each keeps a small world outside the
//! orchestrator, so that a lost answer, a repeated call and an honest
//! `observe` can be tested.
//!
//! ```
//! use nestor_testkit::engines::{Behaviour, FakeEngines};
//! let engines = FakeEngines::new();
//! engines.add("fake");
//! engines.script("database", Behaviour::ready([("endpoint", "db:5432")]).transient(2));
//! ```

mod behaviour;
mod port;
mod record;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nestor_core::engine::Features;
use nestor_core::ids::{DeploymentId, Digest, EngineId};
use nestor_core::ports::{EngineHead, EngineStatus, Function};
use serde_json::Value;
use tokio::sync::watch;

pub use behaviour::{Behaviour, Hang};
pub use record::{Answer, Call};

/// Engines whose answers a test scripts by resource name.
///
/// A resource without a script is ready at once, without outputs. The world
/// (which resources exist with which config) survives as long as this value:
/// share it between two orchestrators to simulate a restart.
#[derive(Debug)]
pub struct FakeEngines {
    state: Mutex<State>,
    /// Bumped by `release` and with every call: wakes who waits.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    engines: BTreeMap<EngineId, EngineHead>,
    scripts: HashMap<String, Behaviour>,
    default: Behaviour,
    /// By where the engine has it.
    world: BTreeMap<(DeploymentId, String), Existing>,
    progress: HashMap<(DeploymentId, String), Progress>,
    calls: Vec<Call>,
    running: HashMap<(DeploymentId, String), usize>,
    most_at_once: usize,
    overlaps: Vec<String>,
    released: Vec<String>,
    forgotten: Vec<String>,
}

/// A resource that exists in the fakes' world.
#[derive(Debug, Clone, PartialEq)]
pub struct Existing {
    /// As last applied.
    pub config: Value,
    /// Which engine made it.
    pub engine: EngineId,
    /// How many operations had an effect on it. A repeated call of one
    /// operation counts once.
    pub effects: u32,
    /// The last operation that had an effect.
    pub operation_id: String,
}

/// How far the current operation on a resource is.
#[derive(Debug, Default)]
struct Progress {
    operation_id: String,
    transient_left: u32,
    pending_left: u32,
}

impl Default for FakeEngines {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            changed: watch::channel(()).0,
        }
    }
}

impl FakeEngines {
    /// Homes that were to be dropped, `deployment/folder`, and deployments, in
    /// the order in which they were.
    #[must_use]
    pub fn forgotten(&self) -> Vec<String> {
        self.state().forgotten.clone()
    }

    /// No engine yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No engine but these, each ready and with no features.
    ///
    /// # Panics
    /// When a name is not one.
    #[must_use]
    pub fn with(names: &[&str]) -> Self {
        let engines = Self::new();
        for name in names {
            engines.add(name);
        }
        engines
    }

    /// Adds an engine, ready, with no features.
    ///
    /// # Panics
    /// When the name is not one.
    pub fn add(&self, name: &str) {
        self.add_with(name, Features::default(), EngineStatus::Ready);
    }

    /// Adds an engine or takes the place of one.
    ///
    /// # Panics
    /// When the name is not one.
    pub fn add_with(&self, name: &str, features: Features, status: EngineStatus) {
        let id = EngineId::new(name).expect("an engine's name");
        let head = EngineHead {
            digest: Digest::of(name.as_bytes()),
            version: "1.0.0".into(),
            features,
            status,
            concurrency: u32::MAX,
            id: id.clone(),
        };
        self.state().engines.insert(id, head);
        self.changed.send_replace(());
    }

    /// How many calls an engine takes at once. It does not hold anybody to it.
    ///
    /// # Panics
    /// When there is no engine of that name.
    pub fn takes_at_once(&self, name: &str, calls: u32) {
        let id = EngineId::new(name).expect("an engine's name");
        let mut state = self.state();
        let head = state.engines.get_mut(&id).expect("an engine of that name");
        head.concurrency = calls;
    }

    /// Puts another component in the place of an engine's.
    ///
    /// # Panics
    /// When there is no engine of that name.
    pub fn swap(&self, name: &str, component: &[u8]) {
        let id = EngineId::new(name).expect("an engine's name");
        let mut state = self.state();
        let head = state.engines.get_mut(&id).expect("an engine of that name");
        head.digest = Digest::of(component);
        drop(state);
        self.changed.send_replace(());
    }

    /// What happens to resources of this name, in every deployment. Counters
    /// such as `transient` begin anew with each operation.
    pub fn script(&self, resource: &str, behaviour: Behaviour) {
        self.state().scripts.insert(resource.to_owned(), behaviour);
    }

    /// What happens to resources without a script.
    pub fn script_others(&self, behaviour: Behaviour) {
        self.state().default = behaviour;
    }

    /// Lets calls that hang on this resource go on, now and later.
    pub fn release(&self, resource: &str) {
        self.state().released.push(resource.to_owned());
        self.changed.send_replace(());
    }

    /// Every call so far, in the order they began.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// The calls of one function on resources of one name, in the order they began.
    #[must_use]
    pub fn calls_of(&self, function: Function, resource: &str) -> Vec<Call> {
        let state = self.state();
        let wanted = |call: &&Call| call.function == function && call.resource.as_str() == resource;
        state.calls.iter().filter(wanted).cloned().collect()
    }

    /// How often each operation was called with `apply` or `destroy`.
    #[must_use]
    pub fn effects_by_operation(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.state().calls {
            if matches!(call.function, Function::Apply | Function::Destroy) {
                *counts.entry(call.operation_id.clone()).or_default() += 1;
            }
        }
        counts
    }

    /// The resource as the world has it.
    #[must_use]
    pub fn existing(&self, deployment: &str, resource: &str) -> Option<Existing> {
        let state = self.state();
        let found = state
            .world
            .iter()
            .find(|((d, r), _)| d.as_str() == deployment && r == resource);
        found.map(|(_, existing)| existing.clone())
    }

    /// Changes a resource behind everybody's back, or takes it away.
    pub fn tamper(&self, deployment: &str, resource: &str, config: Option<Value>) {
        let mut state = self.state();
        let mut world = std::mem::take(&mut state.world);
        world.retain(|(d, r), existing| {
            if d.as_str() != deployment || r != resource {
                return true;
            }
            match &config {
                Some(config) => existing.config = config.clone(),
                None => return false,
            }
            true
        });
        state.world = world;
    }

    /// The names of all resources of a deployment in the world, sorted.
    #[must_use]
    pub fn world(&self, deployment: &str) -> Vec<String> {
        let state = self.state();
        let names = state.world.keys().filter(|(d, _)| d.as_str() == deployment);
        names.map(|(_, r)| r.clone()).collect()
    }

    /// The most calls that ran at the same time.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.state().most_at_once
    }

    /// Every breach of the contract's "two calls for the same resource of the
    /// same deployment never overlap". A test ends by asserting it is empty.
    #[must_use]
    pub fn overlaps(&self) -> Vec<String> {
        self.state().overlaps.clone()
    }

    /// Waits until a call of this function on this resource has begun.
    pub async fn wait_for_call(&self, function: Function, resource: &str) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if !self.calls_of(function, resource).is_empty() {
                return;
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
