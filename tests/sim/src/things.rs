//! Deployments that are after the same real things, with every strategy, while
//! engines fail and hosts die.
//!
//! The engines check, at each effect, that the thing is touched for its owner
//! and is there once. In the end everybody wants everything gone, and nothing
//! may be left that nobody has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use nestor_core::identity;
use nestor_core::ports::Bytes;
use nestor_orchestrator::Surroundings as _;
use nestor_orchestrator::service::{Rejection, RequestMeta};
use serde_json::{Value, json};

use crate::clock::{START, SimClock};
use crate::dice::Dice;
use crate::engines::World;
use crate::people::{hosts_that_answer, unless_dead};
use crate::receivers::Receivers;
use crate::scenario::{Host, Hosts, Options, lock, start};
use crate::store::{Boundaries, Crash, Disk, Fate, SimStore};
use crate::trace::Trace;
use crate::{Invariant, Violation};

/// Deployments of one scenario.
const DEPLOYMENTS: u64 = 4;
/// Requests for each, before everything is to go.
const REQUESTS: u64 = 6;
/// Milliseconds between two of them, at most.
const WITHIN: u64 = 30_000;
/// Real things: fewer than deployments.
const THINGS: u64 = 3;
/// All requests have been made by then, and all that they began has ended but
/// for what waits for somebody.
const ASKED_MS: u64 = 2 * 3_600_000;
/// Time for everything to go, and then again: what was under way when it was
/// asked for is only unwound.
const GOING_MS: u64 = 2 * 3_600_000;
/// Times that everything is asked to go.
const GOINGS: u64 = 3;
/// The end.
const END_MS: u64 = ASKED_MS + GOINGS * GOING_MS;

/// How the platform tells it apart.
fn identity_of(thing: &str) -> String {
    format!("thing/{thing}")
}

/// What a seed gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Breaches; empty is good.
    pub violations: Vec<Violation>,
    /// The same for the same seed.
    pub trace: u64,
    /// Lines of the trace, if they were kept.
    pub lines: Vec<String>,
    /// Deaths of the host.
    pub deaths: u32,
    /// Commits and effects: as many moments to die.
    pub boundaries: u64,
    /// Things that changed hands.
    pub adoptions: u64,
    /// Deployments that waited for a thing, in a run or before it.
    pub waits: u64,
}

/// Runs one seed to its end; every fourth has two workers.
#[must_use]
pub fn run(seed: u64, keep_trace: bool) -> Report {
    let options = Options {
        keep_trace,
        ..Options::of_seed(seed)
    };
    run_with(seed, &options)
}

/// The same with one death, and no other.
#[must_use]
pub fn run_with_death(seed: u64, crash: Crash) -> Report {
    let options = Options {
        crash: Some(crash),
        fate: Fate::default(),
        ..Options::default()
    };
    run_with(seed, &options)
}

fn run_with(seed: u64, options: &Options) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without I/O");
    runtime.block_on(simulate(seed, options))
}

async fn simulate(seed: u64, options: &Options) -> Report {
    let mut dice = Dice::new(seed);
    let trace = Arc::new(Trace::keeping(options.keep_trace));
    let clock = SimClock::new(Dice::new(dice.roll()));
    let boundaries = Arc::new(Boundaries::new(options.crash));
    let disk = Arc::new(Disk::new(Arc::clone(&trace), Arc::clone(&boundaries)));
    let world = Arc::new(World::new(
        Dice::new(dice.roll()),
        clock.clone(),
        Arc::clone(&trace),
        options.weather,
    ));
    let nobody = Arc::new(Receivers::new(None, clock.clone(), Arc::clone(&trace)));
    let hosts: Hosts = Arc::new(Mutex::new(vec![None; options.workers]));
    let promises: Promises = Arc::default();
    let mut people = Vec::new();
    for number in 0..DEPLOYMENTS {
        let person = Person {
            id: format!("d{number}"),
            // One of them is another composer's.
            composer: if number == 3 { "others" } else { "people" },
            dice: Dice::new(dice.roll()),
            clock: clock.clone(),
            hosts: Arc::clone(&hosts),
            promises: Arc::clone(&promises),
            trace: Arc::clone(&trace),
        };
        people.push(tokio::spawn(person.live()));
    }
    // Time goes on to the end also when nobody wants anything.
    let end = clock.clone();
    people.push(tokio::spawn(async move { end.sleep(END_MS).await }));
    let mut deaths = 0;
    loop {
        let up: Vec<_> = lock(&hosts).clone();
        let dead = |host: &Option<Arc<Host>>| host.as_ref().is_none_or(|h| h.store.dead());
        let Some(place) = up.iter().position(dead) else {
            let happened = clock.tick().await;
            let late = clock.now().0 - START > END_MS + GOING_MS;
            let over = disk.nothing_to_do() || !happened || late;
            let died = up.iter().flatten().any(|host| host.store.dead());
            if over && !died && people.iter().all(tokio::task::JoinHandle::is_finished) {
                break;
            }
            continue;
        };
        if up[place].is_some() {
            deaths += 1;
            lock(&hosts)[place] = None;
        }
        let store = Arc::new(SimStore::new(
            Arc::clone(&disk),
            clock.clone(),
            Dice::new(dice.roll()),
            options.fate_after(deaths),
            options.workers == 1,
        ));
        let limits = options.limits();
        let started = start(store, None, &world, &clock, &nobody, limits).await;
        deaths += u32::from(started.is_none());
        lock(&hosts)[place] = started.map(Arc::new);
    }
    let documents = disk.documents();
    let mut violations = world.violations();
    violations.extend(disk.violations());
    let promises = promises.lock().unwrap_or_else(PoisonError::into_inner);
    violations.extend(check(&documents, &world, &promises));
    let told = |kind: &str| {
        let events = documents.iter().filter(|(at, _)| at.starts_with("evt/"));
        let of = events.filter(|(_, raw)| parse(raw)["type"] == kind);
        u64::try_from(of.count()).unwrap_or(0)
    };
    Report {
        violations,
        trace: trace.hash(),
        lines: trace.lines(),
        deaths,
        boundaries: boundaries.passed(),
        adoptions: told("adopted"),
        waits: told("waiting"),
    }
}

/// The highest revision that was accepted, by deployment.
type Promises = Arc<Mutex<BTreeMap<String, u64>>>;

/// Somebody with one deployment.
struct Person {
    id: String,
    composer: &'static str,
    dice: Dice,
    clock: SimClock,
    hosts: Hosts,
    promises: Promises,
    trace: Arc<Trace>,
}

impl Person {
    async fn live(mut self) {
        for request in 0..REQUESTS {
            let pause = self.dice.below(WITHIN);
            self.clock.sleep(pause).await;
            let choice = if request == 0 { 0 } else { self.dice.below(10) };
            match choice {
                0..=6 => self.post(request).await,
                7 => self.ask("delete").await,
                8 => self.ask("cancel").await,
                _ => self.ask("retry").await,
            }
        }
        for going in 0..GOINGS {
            let at = START + ASKED_MS + going * GOING_MS;
            let now = self.clock.now().0;
            self.clock.sleep(at.saturating_sub(now)).await;
            // A destruction that failed half-way goes on with a retry.
            self.ask("retry").await;
            self.ask("delete").await;
        }
    }

    async fn host(&mut self) -> Arc<Host> {
        loop {
            let up = hosts_that_answer(&self.hosts);
            let count = u64::try_from(up.len()).unwrap_or(0);
            if count > 0 {
                let chosen = usize::try_from(self.dice.below(count)).unwrap_or(0);
                return Arc::clone(&up[chosen]);
            }
            self.clock.sleep(100).await;
        }
    }

    async fn post(&mut self, version: u64) {
        let body = self.deployment(version);
        let host = self.host().await;
        let orchestrator = host.orchestrator.clone();
        let bytes = serde_json::to_vec(&body).expect("JSON");
        let posting = async move { orchestrator.submit(&bytes, RequestMeta::default()).await };
        match unless_dead(&host, &self.clock, posting).await {
            // No answer is no promise.
            None => {}
            Some(Ok(accepted)) => {
                self.trace
                    .note(format!("accepted {} {}", self.id, accepted.revision));
                let mut promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
                promises.insert(self.id.clone(), accepted.revision);
            }
            // Somebody has it.
            Some(Err(Rejection::Invalid(found))) => {
                let message = &found[0].message;
                self.trace.note(format!("refused {}: {message}", self.id));
            }
            Some(Err(Rejection::Busy { .. })) => {}
            Some(Err(other)) => panic!("a good request was rejected: {other:?}"),
        }
    }

    async fn ask(&mut self, what: &'static str) {
        let host = self.host().await;
        let (orchestrator, id) = (host.orchestrator.clone(), self.id.clone());
        let asked = async move {
            let meta = RequestMeta::default();
            match what {
                "cancel" => orchestrator.cancel(&id, meta).await.is_ok(),
                "delete" => orchestrator.delete(&id, meta).await.is_ok(),
                _ => orchestrator.retry(&id, meta).await.is_ok(),
            }
        };
        if let Some(taken) = unless_dead(&host, &self.clock, asked).await {
            self.trace.note(format!("{what} {} {taken}", self.id));
        }
    }

    /// Something that picks a thing, a thing that is known before, one that the
    /// first picks, and something that stands on the second: some of these.
    fn deployment(&mut self, version: u64) -> Value {
        let mut resources = Vec::new();
        let pick = format!("t{}", self.dice.below(THINGS));
        let v = if self.dice.once_in(2) { 0 } else { version };
        let mut add = |name: &str, definition: &str, config: Value| {
            let reference = format!("{definition}:1.0.0");
            resources.push(json!({ "name": name, "catalogRef": reference, "config": config }));
        };
        add("pick", "picker", json!({ "v": v, "pick": pick }));
        let known = self.dice.once_in(2) || self.dice.once_in(2);
        if known {
            // Mostly under one name, so that a name comes to be another thing.
            let name = if self.dice.once_in(4) {
                "other"
            } else {
                "known"
            };
            let thing = format!("t{}", self.dice.below(THINGS));
            add(name, "shared", json!({ "v": v, "thing": thing }));
            if self.dice.once_in(4) {
                let on = format!("${{resources.{name}.outputs.out}}");
                add("stands", "thing", json!({ "v": v, "on": on }));
            }
        }
        if self.dice.once_in(3) {
            let thing = "${resources.pick.outputs.pick}";
            add("late", "shared", json!({ "v": v, "thing": thing }));
        }
        let on_conflict = ["fail", "queue", "adopt", "adopt"];
        let chosen = usize::try_from(self.dice.below(4)).unwrap_or(0);
        let on_failure = ["rollback", "rollback", "halt", "continue"];
        let failing = usize::try_from(self.dice.below(4)).unwrap_or(0);
        let queued = if self.dice.once_in(3) {
            "latest"
        } else {
            "each"
        };
        json!({
            "id": self.id, "composer": self.composer, "environment": "sim",
            "resources": resources, "dependencies": [],
            "policy": { "onFailure": on_failure[failing], "retries": 3 },
            "strategy": { "onConflict": on_conflict[chosen], "queued": queued },
        })
    }
}

fn parse(raw: &Bytes) -> Value {
    serde_json::from_slice(raw).unwrap_or(Value::Null)
}

fn under<'a>(
    disk: &'a BTreeMap<String, Bytes>,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a str, Value)> {
    let of = disk
        .range(prefix.to_owned()..)
        .take_while(move |(at, _)| at.starts_with(prefix));
    of.map(move |(at, raw)| (&at[prefix.len()..], parse(raw)))
}

/// What the documents and the world say about each other in the end.
fn check(
    disk: &BTreeMap<String, Bytes>,
    world: &World,
    promises: &BTreeMap<String, u64>,
) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut breach = |invariant, detail: String| found.push(Violation { invariant, detail });
    for (id, revision) in promises {
        let known = disk.get(&format!("dep/{id}")).map(parse);
        if known.is_none_or(|known| known["revision"].as_u64() < Some(*revision)) {
            let detail = format!("revision {revision} of {id} was acknowledged and is not there");
            breach(Invariant::NothingLost, detail);
        }
    }
    for kind in ["todo/", "blk/"] {
        for (id, document) in under(disk, kind) {
            let detail = format!("{kind}{id} is there in the end: {document}");
            breach(Invariant::EverythingEnds, detail);
        }
    }
    // Where each real thing's one resource is.
    let mut had: BTreeMap<(String, String), String> = BTreeMap::new();
    for (place, record) in under(disk, "res/") {
        let (deployment, name) = place.split_once('/').unwrap_or_default();
        let home = &record["home"];
        let home = match home["deployment"].as_str() {
            Some(of) => (of.to_owned(), folder(home)),
            None => (deployment.to_owned(), name.to_owned()),
        };
        if let Some(other) = had.insert(home, place.to_owned()) {
            let detail = format!("{place} and {other} have the same thing");
            breach(Invariant::OneOwner, detail);
        }
        let Some(thing) = record["config"]["thing"].as_str() else {
            continue;
        };
        let digest = identity::digest(&identity_of(thing));
        let owner = disk.get(&format!("own/{}", digest.hex())).map(parse);
        let owner = owner.unwrap_or(Value::Null);
        if owner["deployment"] != deployment || owner["resource"] != name {
            let detail = format!("{place} is {thing}, whose owner is {owner}");
            breach(Invariant::OneOwner, detail);
        }
    }
    for place in world.places() {
        if !had.contains_key(&place) {
            let detail = format!("{place:?} is there, and nobody has it");
            breach(Invariant::WorldMatchesStatus, detail);
        }
    }
    for (of, owner) in under(disk, "own/") {
        let deployment = owner["deployment"].as_str().unwrap_or_default();
        if !disk.contains_key(&format!("hld/{deployment}/{of}")) {
            let detail = format!("{owner} does not know that it has it");
            breach(Invariant::OneOwner, detail);
        }
        // What is gone is let go.
        let status = disk.get(&format!("sta/{deployment}")).map(parse);
        if status.is_some_and(|status| status["status"] == "deleted") {
            let detail = format!("{owner} is deleted and has it still");
            breach(Invariant::OneOwner, detail);
        }
    }
    found
}

fn folder(home: &Value) -> String {
    let resource = home["resource"].as_str().unwrap_or_default();
    match home["given"].as_u64().unwrap_or(0) {
        0 => resource.to_owned(),
        given => format!("{resource}@{given}"),
    }
}
