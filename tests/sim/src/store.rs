//! A disk that the host may die in front of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use nestor_core::ports::{Batch, Bytes, CommitError, Guard, Store, StoreError, Write};
use nestor_orchestrator::Surroundings as _;

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::trace::Trace;
use crate::{Invariant, Violation};

/// What only the worker that has a deployment's lease may write.
const UNDER_LEASE: [&str; 5] = ["jrn", "res", "run", "cnt", "bef"];

/// Phases in which the run that is there is an earlier one.
const BEFORE_A_RUN: [&str; 3] = ["queued", "validating", "planning"];

/// What outlives every host.
pub struct Disk {
    documents: Mutex<BTreeMap<String, Bytes>>,
    trace: Arc<Trace>,
    boundaries: Arc<Boundaries>,
    violations: Mutex<Vec<Violation>>,
}

/// Where the host may be made to die, counted over all hosts.
#[derive(Debug, Default)]
pub struct Boundaries {
    inner: Mutex<(u64, Option<Crash>)>,
}

/// A death at one boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    /// Which, from 1: commits and effects are counted together.
    pub at: u64,
    /// Right before it happens, or right after.
    pub before: bool,
}

impl Boundaries {
    /// With one death, or none.
    #[must_use]
    pub fn new(crash: Option<Crash>) -> Self {
        Self {
            inner: Mutex::new((0, crash)),
        }
    }

    /// Another commit or effect: whether the host dies at it, and if so
    /// whether before.
    pub fn next(&self) -> Option<bool> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 += 1;
        let now = inner.0;
        inner.1.filter(|crash| crash.at == now).map(|c| c.before)
    }

    /// So many there were.
    pub fn passed(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Disk {
    /// Empty.
    #[must_use]
    pub fn new(trace: Arc<Trace>, boundaries: Arc<Boundaries>) -> Self {
        Self {
            documents: Mutex::default(),
            trace,
            boundaries,
            violations: Mutex::default(),
        }
    }

    /// Everything, for the checks.
    #[must_use]
    pub fn documents(&self) -> BTreeMap<String, Bytes> {
        self.lock().clone()
    }

    /// Breaches seen by the disk.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let violations = self.violations.lock();
        violations.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether no deployment has anything to do.
    #[must_use]
    pub fn nothing_to_do(&self) -> bool {
        let documents = self.lock();
        let first = documents.range("todo/".to_owned()..).next();
        first.is_none_or(|(key, _)| !key.starts_with("todo/"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The deployment's last run, if it is under way or has just ended.
    pub(crate) fn run_of(&self, deployment: &str) -> Option<u64> {
        let documents = self.lock();
        let status = document(documents.get(&format!("sta/{deployment}"))?);
        let of_a_run = !BEFORE_A_RUN.contains(&status["phase"].as_str()?);
        status["run"].as_u64().filter(|_| of_a_run)
    }

    fn breach(&self, invariant: Invariant, detail: String) {
        let violation = Violation { invariant, detail };
        let violations = self.violations.lock();
        let mut violations = violations.unwrap_or_else(PoisonError::into_inner);
        self.trace.note(&violation.detail);
        violations.push(violation);
    }

    fn apply(&self, batch: &Batch, numbers: &BTreeSet<u64>) -> Result<(), CommitError> {
        let mut documents = self.lock();
        for guard in &batch.guards {
            let (key, holds) = match guard {
                Guard::Absent(key) => (key, !documents.contains_key(key)),
                Guard::Equals(key, value) => (key, documents.get(key) == Some(value)),
            };
            if !holds {
                return Err(CommitError::Guard { key: key.clone() });
            }
        }
        if let Some(detail) = stale(&documents, batch, numbers) {
            self.breach(Invariant::StaleWritesAreRefused, detail);
        }
        if let Some(detail) = goes_back(&documents, batch) {
            self.breach(Invariant::ProgressOnlyGrows, detail);
        }
        for write in &batch.writes {
            match write {
                Write::Put(key, value) => {
                    self.trace.note(format!("put {key}"));
                    documents.insert(key.clone(), value.clone());
                }
                Write::Delete(key) => {
                    self.trace.note(format!("delete {key}"));
                    documents.remove(key);
                }
            }
        }
        Ok(())
    }
}

fn document(raw: &Bytes) -> serde_json::Value {
    serde_json::from_slice(raw).unwrap_or_default()
}

/// A status whose progress is less than that of the same run before.
fn goes_back(documents: &BTreeMap<String, Bytes>, batch: &Batch) -> Option<String> {
    batch.writes.iter().find_map(|write| {
        let Write::Put(key, value) = write else {
            return None;
        };
        let before = documents
            .get(key)
            .filter(|_| key.starts_with("sta/"))
            .map(document)?;
        let now = document(value);
        let begins = BEFORE_A_RUN.contains(&now["phase"].as_str()?);
        let less = now["progress"].as_u64() < before["progress"].as_u64();
        (less && !begins && now["run"] == before["run"])
            .then(|| format!("{key} goes back from {before} to {now}"))
    })
}

/// Who has a deployment's lease; 0 is nobody.
fn holder(documents: &BTreeMap<String, Bytes>, deployment: &str) -> u64 {
    let lease = documents.get(&format!("fen/{deployment}"));
    let lease = lease.and_then(|raw| serde_json::from_slice::<serde_json::Value>(raw).ok());
    lease
        .and_then(|lease| lease["worker"].as_u64())
        .unwrap_or(0)
}

/// A write about a deployment whose lease is another worker's.
fn stale(
    documents: &BTreeMap<String, Bytes>,
    batch: &Batch,
    numbers: &BTreeSet<u64>,
) -> Option<String> {
    batch.writes.iter().find_map(|write| {
        let (Write::Put(key, _) | Write::Delete(key)) = write;
        let mut parts = key.split('/');
        let (kind, id) = (parts.next()?, parts.next()?);
        let holder = holder(documents, id);
        // What nobody works on may be changed by who makes sure of that.
        let lease = format!("fen/{id}");
        let sure = |guard: &Guard| matches!(guard, Guard::Equals(at, _) if *at == lease);
        if holder == 0 && batch.guards.iter().any(sure) {
            return None;
        }
        (UNDER_LEASE.contains(&kind) && !numbers.contains(&holder))
            .then(|| format!("{numbers:?} wrote {key}, whose lease is that of {holder}"))
    })
}

/// One host's view of the disk. Once the host is dead, nothing returns to it.
pub struct SimStore {
    disk: Arc<Disk>,
    clock: SimClock,
    exclusive: bool,
    host: Arc<Mutex<Host>>,
}

/// One host process.
pub struct Host {
    dice: Dice,
    fate: Fate,
    dead: bool,
    /// It stands still until then: a paused machine, or one without a network.
    frozen: u64,
    /// Times that it stood still.
    freezes: u64,
    /// The workers that it registered as.
    numbers: BTreeSet<u64>,
}

/// What may happen to a host at a commit, or an effect; each once in so many,
/// 0 for never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fate {
    /// It dies.
    pub dies: u64,
    /// It dies at an effect of an engine that it called.
    pub dies_at_effects: u64,
    /// It stands still for up to [`STILL_MS`], and then goes on as if nothing had been.
    pub freezes: u64,
}

/// Beyond the time after which a silent worker counts as dead.
const STILL_MS: u64 = 40_000;

impl SimStore {
    /// A host on a disk that it has for itself, or shares with others.
    #[must_use]
    pub fn new(disk: Arc<Disk>, clock: SimClock, dice: Dice, fate: Fate, exclusive: bool) -> Self {
        let host = Host {
            dice,
            fate,
            dead: false,
            frozen: 0,
            freezes: 0,
            numbers: BTreeSet::new(),
        };
        Self {
            disk,
            clock,
            exclusive,
            host: Arc::new(Mutex::new(host)),
        }
    }

    /// Whether the host died.
    #[must_use]
    pub fn dead(&self) -> bool {
        self.lock().dead
    }

    /// Whether the host stands still.
    #[must_use]
    pub fn frozen(&self) -> bool {
        self.lock().frozen > self.clock.now().0
    }

    /// Times that it stood still: what was under way before is over.
    #[must_use]
    pub fn freezes(&self) -> u64 {
        self.lock().freezes
    }

    /// Whether this host has the deployment's lease.
    #[must_use]
    pub fn holds(&self, deployment: &str) -> bool {
        let holder = holder(&self.disk.lock(), deployment);
        self.lock().numbers.contains(&holder)
    }

    /// Which resource of which deployment has a real thing.
    #[must_use]
    pub fn owner(&self, identity: &str) -> Option<(String, String)> {
        let at = format!("own/{}", nestor_core::identity::digest(identity).hex());
        let raw = self.disk.lock().get(&at).cloned()?;
        let owner: serde_json::Value = serde_json::from_slice(&raw).ok()?;
        let text = |field: &str| owner[field].as_str().map(str::to_owned);
        Some((text("deployment")?, text("resource")?))
    }

    /// Where a deployment says that it is.
    #[must_use]
    pub fn environment(&self, deployment: &str) -> Option<String> {
        let record = document(self.disk.lock().get(&format!("dep/{deployment}"))?);
        record["environment"].as_str().map(str::to_owned)
    }

    /// A breach of the leases that somebody else saw.
    pub fn stale(&self, detail: String) {
        self.disk.breach(Invariant::StaleWritesAreRefused, detail);
    }

    /// The host dies now.
    pub fn kill(&self) {
        self.lock().dead = true;
        self.clock.news();
    }

    fn freeze(&self) {
        let now = self.clock.now().0;
        let mut host = self.lock();
        host.frozen = now + host.dice.below(STILL_MS);
        host.freezes += 1;
        let until = host.frozen - now;
        drop(host);
        self.disk
            .trace
            .note(format!("a host stands still for {until} ms"));
    }

    /// Another effect of an engine, which may be the last thing that happens
    /// to the host: whether it is, and if so whether the effect still happens.
    pub(crate) fn effect(&self) -> (bool, bool) {
        let once_in = self.lock().fate.dies_at_effects;
        self.boundary(once_in)
    }

    fn boundary(&self, once_in: u64) -> (bool, bool) {
        let planned = self.disk.boundaries.next();
        let mut host = self.lock();
        let dies = once_in > 0 && host.dice.once_in(once_in);
        let before = dies && host.dice.once_in(2);
        planned.map_or((dies, before), |before| (true, before))
    }

    fn lock(&self) -> MutexGuard<'_, Host> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never returns to a dead host, and not to one that stands still.
    pub(crate) async fn alive(&self) {
        loop {
            self.clock.news();
            let (dead, frozen) = {
                let host = self.lock();
                (host.dead, host.frozen)
            };
            if dead {
                std::future::pending::<()>().await;
            }
            let now = self.clock.now().0;
            if frozen <= now {
                return;
            }
            self.clock.sleep(frozen - now).await;
        }
    }
}

#[async_trait]
impl Store for SimStore {
    fn exclusive(&self) -> bool {
        self.exclusive
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.alive().await;
        // Others get their turn in between, as with a real disk.
        tokio::task::yield_now().await;
        self.alive().await;
        let once_in = self.lock().fate.dies;
        let (dies, before) = self.boundary(once_in);
        if before {
            self.kill();
            self.disk.trace.note("the host dies before a commit");
            self.alive().await;
        }
        let (freezes, late) = {
            let mut host = self.lock();
            let once_in = host.fate.freezes;
            let freezes = once_in > 0 && host.dice.once_in(once_in);
            (freezes, freezes && host.dice.once_in(2))
        };
        if freezes && !late {
            self.freeze();
            self.alive().await;
        }
        let numbers = self.lock().numbers.clone();
        let result = self.disk.apply(&batch, &numbers);
        if result.is_ok() {
            let registered = batch.writes.iter().find_map(|write| match write {
                Write::Put(key, value) if key == "worker" => serde_json::from_slice(value).ok(),
                Write::Put(..) | Write::Delete(_) => None,
            });
            self.lock()
                .numbers
                .extend(registered.into_iter().collect::<BTreeSet<u64>>());
        }
        if dies {
            self.kill();
            self.disk.trace.note("the host dies after a commit");
            self.alive().await;
        }
        if late {
            self.freeze();
            self.alive().await;
        }
        result
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.alive().await;
        Ok(self.disk.lock().get(key).cloned())
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Bytes)>, StoreError> {
        self.alive().await;
        let documents = self.disk.lock();
        let page = documents
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()));
        Ok(page.collect())
    }
}
