//! Engines, and the world that they change. They are slow, they fail before
//! and after the effect, they forget to answer; but they keep the contract: a
//! repeated operation id has no second effect.

mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use nestor_core::engine::{
    Action, EngineError, Features, Outcome, Output, Pending, ProposedChanges, Purpose, Settled,
};
use nestor_core::ids::{Digest, EngineId, EnvironmentName, OutputName};
use nestor_core::ports::{EngineCall, EngineHead, EngineStatus, Engines, Function, Reply};
use nestor_orchestrator::Surroundings as _;
use serde_json::{Value, json};

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::store::SimStore;
use crate::trace::Trace;
use crate::{Invariant, Violation};
use watch::{check_order, check_owner, check_place};

/// How badly things go; each is "once in so many calls", 0 for never.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// A transient error, before or after the effect.
    pub transient: u64,
    /// A permanent error, before or after the effect.
    pub permanent: u64,
    /// The operation goes on outside for some polls.
    pub pending: u64,
    /// `observe` denies what is there.
    pub lies: u64,
    /// A call does not come back before its time is over: a change before or
    /// after its effect, or a look.
    pub hangs: u64,
    /// A look takes long.
    pub slow: u64,
    /// A call arrives twice.
    pub twice: u64,
    /// The engine is being prepared, or has too much to do.
    pub not_now: u64,
}

/// How long an engine's call may take.
const WALL_MS: u64 = 600_000;

/// How long a slow look takes, at most.
const SLOW_MS: u64 = 120_000;

/// A resource as it is in the world.
#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    /// As last applied.
    pub config: Value,
    /// By which operation.
    pub operation: String,
    /// Whose it is; another engine would make one of its own.
    pub engine: EngineId,
    /// Where it is.
    pub environment: EnvironmentName,
}

/// The world outside; outlives every host.
pub struct World {
    inner: Mutex<Inner>,
    clock: SimClock,
    trace: Arc<Trace>,
    weather: Weather,
}

struct Inner {
    dice: Dice,
    things: BTreeMap<(String, String), Thing>,
    /// Things that somebody changed since their last operation.
    tampered: BTreeSet<(String, String)>,
    /// Effects by operation, without the attempt or anything else that a
    /// coordinator could be tempted to make it unique with.
    effects: BTreeMap<String, u32>,
    /// Polls that are left, by operation.
    polls: HashMap<String, u32>,
    /// Operations under way, by resource, with the host that called and how
    /// often that had stood still.
    busy: HashMap<(String, String), (String, Arc<SimStore>, u64)>,
    violations: Vec<Violation>,
    calls: u64,
    begun: Vec<(String, u64)>,
}

impl World {
    /// Nothing in it.
    #[must_use]
    pub fn new(dice: Dice, clock: SimClock, trace: Arc<Trace>, weather: Weather) -> Self {
        let inner = Inner {
            dice,
            things: BTreeMap::new(),
            tampered: BTreeSet::new(),
            effects: BTreeMap::new(),
            polls: HashMap::new(),
            busy: HashMap::new(),
            violations: Vec::new(),
            calls: 0,
            begun: Vec::new(),
        };
        Self {
            inner: Mutex::new(inner),
            clock,
            trace,
            weather,
        }
    }

    /// A deployment's resources and their configs.
    #[must_use]
    pub fn of(&self, deployment: &str) -> BTreeMap<String, Value> {
        let inner = self.lock();
        let things = inner.things.iter().filter(|((d, _), _)| d == deployment);
        things
            .map(|((_, r), thing)| (r.clone(), thing.config.clone()))
            .collect()
    }

    /// Changes something behind everybody's back, if there is anything.
    pub fn tamper(&self, dice: &mut Dice) {
        let mut inner = self.lock();
        let things: Vec<_> = inner.things.keys().cloned().collect();
        let chosen = usize::try_from(dice.below(things.len() as u64)).unwrap_or(0);
        if let Some(place) = things.get(chosen) {
            self.trace
                .note(format!("somebody changes {}/{}", place.0, place.1));
            inner.tampered.insert(place.clone());
        }
    }

    /// A deployment's resources that somebody changed, and nobody put right.
    #[must_use]
    pub fn tampered(&self, deployment: &str) -> Vec<String> {
        let inner = self.lock();
        let of = inner.tampered.iter().filter(|(d, _)| d == deployment);
        of.map(|(_, r)| r.clone()).collect()
    }

    /// Where something is.
    #[must_use]
    pub fn places(&self) -> Vec<(String, String)> {
        self.lock().things.keys().cloned().collect()
    }

    /// Breaches seen by the engines.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.lock().violations.clone()
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Which deployment was called for the first time, and when, in order.
    #[must_use]
    pub fn begun(&self) -> Vec<(String, u64)> {
        self.lock().begun.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn breach(&mut self, invariant: Invariant, detail: String) {
        self.violations.push(Violation { invariant, detail });
    }

    fn once_in(&mut self, rolls: u64) -> bool {
        rolls > 0 && self.dice.once_in(rolls)
    }
}

/// The engines as one host has them.
pub struct SimEngines {
    world: Arc<World>,
    host: Arc<SimStore>,
}

impl SimEngines {
    /// For a host; its calls end with it.
    #[must_use]
    pub fn new(world: Arc<World>, host: Arc<SimStore>) -> Self {
        Self { world, host }
    }

    async fn alive(&self) {
        self.world.clock.news();
        self.host.alive().await;
    }

    /// Time goes by. A call does not survive that its host stands still: its
    /// time limit goes on meanwhile.
    async fn pass(&self, millis: u64) -> Result<(), EngineError> {
        let before = self.host.freezes();
        self.world.clock.sleep(millis).await;
        self.alive().await;
        if self.host.freezes() == before {
            Ok(())
        } else {
            Err(too_long())
        }
    }

    fn not_now(&self) -> Option<EngineError> {
        let mut inner = self.world.lock();
        let not_now = inner.once_in(self.world.weather.not_now);
        not_now.then(|| EngineError::Unavailable {
            message: "not now".into(),
            retry_after: Some(Duration::from_secs(inner.dice.below(30))),
        })
    }

    async fn change(&self, call: &EngineCall) -> Result<Outcome, EngineError> {
        let world = &self.world;
        let place = place_of(call);
        let operation = call.context.operation_id.clone();
        let (wait, fails, transient, pends) = {
            let mut inner = world.lock();
            let wait = inner.dice.below(4_000);
            let fails = inner.once_in(world.weather.permanent);
            let transient = inner.once_in(world.weather.transient);
            let pends = inner.once_in(world.weather.pending);
            (wait, fails, transient, pends)
        };
        let after_effect = world.lock().dice.once_in(2);
        let (hangs, twice) = {
            let mut inner = world.lock();
            (
                inner.once_in(world.weather.hangs),
                inner.once_in(world.weather.twice),
            )
        };
        let wait = if hangs { WALL_MS } else { wait };
        call.observer.progress(Some(30), "begins");
        self.pass(wait).await?;
        let error = || match (transient, fails) {
            _ if hangs => Some(too_long()),
            (true, _) => Some(EngineError::Transient {
                message: "try again".into(),
                retry_after: None,
            }),
            (false, true) => Some(EngineError::Failed("it does not work".into())),
            (false, false) => None,
        };
        if let Some(error) = error().filter(|_| !after_effect) {
            return Err(error);
        }
        if pends && !world.lock().effects.contains_key(&effect_key(&operation)) {
            let mut inner = world.lock();
            let polls = u32::try_from(1 + inner.dice.below(3)).unwrap_or(1);
            inner.polls.insert(operation.clone(), polls);
            return Ok(pending());
        }
        let (dies, before) = self.host.effect();
        if before {
            self.host.kill();
            self.world.trace.note("the host dies before an effect");
            self.alive().await;
        }
        self.effect(call, &place);
        if twice {
            self.effect(call, &place);
        }
        if dies {
            self.host.kill();
            self.world.trace.note("the host dies after an effect");
            self.alive().await;
        }
        call.observer.progress(Some(80), "ends");
        let wait = world.lock().dice.below(1_000);
        self.pass(wait).await?;
        match error() {
            Some(error) => Err(error),
            None => Ok(self.settled(call, &place)),
        }
    }

    /// The effect of an operation, once.
    fn effect(&self, call: &EngineCall, place: &(String, String)) {
        let operation = &call.context.operation_id;
        let mut inner = self.world.lock();
        let forward = operation.ends_with("/do");
        check_order(&mut inner, call, place, forward);
        let now = match (call.function, inner.things.get(place)) {
            (Function::Destroy, None) => return,
            (Function::Destroy, Some(_)) => None,
            (_, Some(thing))
                if &thing.operation == operation && thing.config == call.request.config =>
            {
                return;
            }
            (_, _) => Some(Thing {
                config: call.request.config.clone(),
                operation: operation.clone(),
                engine: call.engine.clone(),
                environment: call.context.environment.clone(),
            }),
        };
        check_place(&mut inner, &self.host, call, place);
        check_owner(&mut inner, &self.host, call, place);
        let count = inner.effects.entry(effect_key(operation)).or_default();
        *count += 1;
        if *count > 1 {
            let detail = format!("{operation} took effect {count} times", count = *count);
            inner.breach(Invariant::NoEffectTwice, detail);
        }
        self.world.trace.note(format!("effect of {operation}"));
        inner.tampered.remove(place);
        match now {
            Some(thing) => inner.things.insert(place.clone(), thing),
            None => inner.things.remove(place),
        };
    }

    fn settled(&self, call: &EngineCall, place: &(String, String)) -> Outcome {
        let outputs = match call.context.purpose {
            Purpose::Destroy => Vec::new(),
            Purpose::Apply | Purpose::Inspect => {
                let out = output_of(&place.0, &place.1, &call.request.config);
                let pick = call.request.config["pick"].as_str();
                let all = [("out", Some(out)), ("pick", pick.map(str::to_owned))];
                let known = all.into_iter().filter_map(|(name, value)| {
                    Some(Output {
                        name: OutputName::new(name).expect("a name"),
                        value: value?.into(),
                        sensitive: false,
                    })
                });
                known.collect()
            }
        };
        Outcome::Ready(Settled {
            outputs,
            state: json!({ "by": call.context.operation_id }),
        })
    }

    async fn drift(&self, call: &EngineCall) -> Result<ProposedChanges, EngineError> {
        let place = place_of(call);
        let wait = self.world.lock().dice.below(2_000);
        self.pass(wait).await?;
        let mut inner = self.world.lock();
        if inner.once_in(self.world.weather.transient) {
            return Err(EngineError::Transient {
                message: "cannot look".into(),
                retry_after: None,
            });
        }
        let Some(thing) = inner.things.get(&place) else {
            return Err(EngineError::Missing("not there".into()));
        };
        let same = thing.config == call.request.config && !inner.tampered.contains(&place);
        Ok(ProposedChanges {
            action: if same { Action::Noop } else { Action::Update },
            changes: Vec::new(),
            outputs: Vec::new(),
            summary: "compared".into(),
        })
    }

    async fn observe(&self, call: &EngineCall) -> Result<Outcome, EngineError> {
        let place = place_of(call);
        let operation = call.context.operation_id.clone();
        let (wait, hangs) = {
            let mut inner = self.world.lock();
            let mut wait = inner.dice.below(500);
            // Much can be asked for while a look goes on and on.
            if inner.once_in(self.world.weather.slow) {
                wait = inner.dice.below(SLOW_MS);
            }
            (wait, inner.once_in(self.world.weather.hangs))
        };
        self.pass(if hangs { WALL_MS } else { wait }).await?;
        if hangs {
            return Err(too_long());
        }
        let transient = {
            let mut inner = self.world.lock();
            inner.once_in(self.world.weather.transient)
        };
        if transient {
            return Err(EngineError::Transient {
                message: "cannot look".into(),
                retry_after: None,
            });
        }
        let left = {
            let mut inner = self.world.lock();
            match inner.polls.get_mut(&operation) {
                Some(left) if *left > 1 => {
                    *left -= 1;
                    Some(*left)
                }
                Some(_) => {
                    inner.polls.remove(&operation);
                    Some(0)
                }
                None => None,
            }
        };
        if left.is_some_and(|left| left > 0) {
            return Ok(pending());
        }
        if left.is_some() {
            let call = EngineCall {
                function: acting(call.context.purpose),
                ..copy(call)
            };
            self.effect(&call, &place);
            return Ok(self.settled(&call, &place));
        }
        let mut inner = self.world.lock();
        let there = inner.things.get(&place).cloned();
        let done = match (call.context.purpose, &there) {
            (Purpose::Destroy, None) => true,
            (Purpose::Destroy, Some(_)) => false,
            (_, Some(thing)) => thing.operation == operation,
            (_, None) => false,
        };
        if done && !inner.once_in(self.world.weather.lies) {
            drop(inner);
            return Ok(self.settled(call, &place));
        }
        Err(EngineError::Missing("never happened".into()))
    }
}

/// Where the engine has it.
fn place_of(call: &EngineCall) -> (String, String) {
    let home = call.home();
    (home.deployment.to_string(), home.folder())
}

fn too_long() -> EngineError {
    EngineError::LimitExceeded {
        limit: "wall",
        message: "it took too long".into(),
    }
}

fn acting(purpose: Purpose) -> Function {
    match purpose {
        Purpose::Destroy => Function::Destroy,
        Purpose::Apply | Purpose::Inspect => Function::Apply,
    }
}

fn copy(call: &EngineCall) -> EngineCall {
    EngineCall {
        engine: call.engine.clone(),
        digest: call.digest,
        function: call.function,
        context: call.context.clone(),
        request: call.request.clone(),
        definition_folder: None,
        home: call.home.clone(),
        standing: call.standing,
        observer: Arc::clone(&call.observer),
    }
}

/// `deployment/run/resource/direction`, whatever else the id holds.
fn effect_key(operation: &str) -> String {
    operation.split('/').take(4).collect::<Vec<_>>().join("/")
}

/// What a resource puts out; its users must have exactly this.
#[must_use]
pub fn output_of(deployment: &str, resource: &str, config: &Value) -> String {
    format!("{deployment}.{resource}.{}", config["v"])
}

fn pending() -> Outcome {
    Outcome::Pending(Pending {
        poll_after: Duration::from_secs(30),
        percent: Some(50),
        message: "under way".into(),
        state: json!({ "pending": true }),
    })
}

#[async_trait]
impl Engines for SimEngines {
    fn head(&self, engine: &EngineId) -> Result<EngineHead, EngineError> {
        Ok(EngineHead {
            id: engine.clone(),
            digest: Digest::of(b"sim"),
            version: "1.0.0".into(),
            features: Features {
                drift: true,
                ..Features::default()
            },
            status: EngineStatus::Ready,
            concurrency: 1_000,
        })
    }

    fn names(&self) -> Vec<EngineId> {
        ["sim", "second"]
            .map(|name| EngineId::new(name).expect("a name"))
            .to_vec()
    }

    async fn call(&self, call: EngineCall) -> Result<Reply, EngineError> {
        // A host that stands still does nothing, so it has not called.
        if self.host.frozen() {
            self.alive().await;
            return Err(too_long());
        }
        self.alive().await;
        if let Some(not_now) = self.not_now() {
            return Err(not_now);
        }
        if call.function == Function::Validate {
            return Ok(Reply::Validated(Vec::new()));
        }
        let place = place_of(&call);
        self.world.trace.note(format!(
            "call {:?} {}",
            call.function, call.context.operation_id
        ));
        let deployment = call.context.deployment.to_string();
        if !self.host.holds(&deployment) {
            let operation = &call.context.operation_id;
            self.host
                .stale(format!("{operation} is begun without the lease"));
        }
        {
            let mut inner = self.world.lock();
            inner.calls += 1;
            let operation = call.context.operation_id.clone();
            if call.function == Function::Apply
                && !inner.begun.iter().any(|(there, _)| *there == deployment)
            {
                inner.begun.push((deployment, self.world.clock.now().0));
            }
            let mine = (
                operation.clone(),
                Arc::clone(&self.host),
                self.host.freezes(),
            );
            let other = inner.busy.insert(place.clone(), mine);
            // The calls of a dead host ended with it.
            let other =
                other.filter(|(_, host, freezes)| !host.dead() && host.freezes() == *freezes);
            if let Some((other, ..)) = other {
                let detail = format!("{operation} while {other} is under way");
                inner.breach(Invariant::OneOperationAtATime, detail);
            }
        }
        let _busy = Busy {
            engines: self,
            place,
        };
        let result = match call.function {
            Function::Apply | Function::Destroy => self.change(&call).await.map(Reply::Outcome),
            Function::Observe => self.observe(&call).await.map(Reply::Outcome),
            Function::Drift => self.drift(&call).await.map(Reply::Proposed),
            Function::Validate | Function::Plan | Function::Render => {
                Err(EngineError::Unsupported("not simulated".into()))
            }
        };
        self.alive().await;
        result
    }
}

/// A call under way. It is over with its answer, and when its caller goes away.
struct Busy<'a> {
    engines: &'a SimEngines,
    place: (String, String),
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let own = &self.engines.host;
        let mine = |(_, host, freezes): &(String, Arc<SimStore>, u64)| {
            Arc::ptr_eq(host, own) && *freezes == own.freezes()
        };
        let mut inner = self.engines.world.lock();
        if inner.busy.get(&self.place).is_some_and(mine) {
            inner.busy.remove(&self.place);
        }
    }
}
