//! People: they post, update, approve, cancel, delete and retry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use nestor_core::ids::ResourceName;
use nestor_orchestrator::service::{Approving, RequestMeta, Scope};
use serde_json::{Value, json};

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::engines::World;
use crate::scenario::{Habits, Host, Hosts, lock};
use crate::trace::Trace;

/// Changes that somebody makes behind everybody's back.
const CHANGES: u64 = 5;
/// Milliseconds between two of them, at most.
const CHANGE_WITHIN: u64 = 600_000;

/// What people were told, by deployment.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// The highest revision accepted, and its resources with their version.
    pub revisions: BTreeMap<(String, u64), BTreeMap<String, Value>>,
}

/// Somebody who changes things behind everybody's back.
pub(crate) async fn meddle(world: Arc<World>, clock: SimClock, mut dice: Dice) {
    for _ in 0..CHANGES {
        clock.sleep(dice.below(CHANGE_WITHIN)).await;
        world.tamper(&mut dice);
    }
}

/// Those that are up and do not stand still.
pub(crate) fn hosts_that_answer(hosts: &Hosts) -> Vec<Arc<Host>> {
    lock(hosts)
        .iter()
        .flatten()
        .filter(|host| !host.store.dead() && !host.store.frozen())
        .cloned()
        .collect()
}

/// A host that is up, once there is one.
pub(crate) async fn some_host(hosts: &Hosts, dice: &mut Dice, clock: &SimClock) -> Arc<Host> {
    loop {
        match hosts_that_answer(hosts).as_slice() {
            [] => clock.sleep(100).await,
            [host] => return Arc::clone(host),
            several => {
                let count = u64::try_from(several.len()).unwrap_or(1);
                let chosen = usize::try_from(dice.below(count)).unwrap_or(0);
                return Arc::clone(&several[chosen]);
            }
        }
    }
}

/// What a host answers; none when it died first.
pub(crate) async fn unless_dead<T: Send + 'static>(
    host: &Host,
    clock: &SimClock,
    request: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let request = tokio::spawn(request);
    while !request.is_finished() {
        if host.store.dead() {
            request.abort();
            return None;
        }
        if host.store.frozen() {
            // Time has to go on for it to come back.
            clock.sleep(100).await;
            continue;
        }
        clock.news();
        tokio::task::yield_now().await;
    }
    request.await.ok()
}

/// Somebody with one deployment.
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) dice: Dice,
    pub(crate) clock: SimClock,
    pub(crate) hosts: Hosts,
    pub(crate) acknowledged: Arc<Mutex<Acknowledged>>,
    pub(crate) trace: Arc<Trace>,
    pub(crate) habits: Habits,
}

impl Person {
    /// Makes so many requests.
    pub(crate) async fn live(mut self, requests: u64) {
        let mut version = 0;
        for request in 0..requests {
            self.clock.sleep(self.dice.clone().below(20_000)).await;
            self.dice.roll();
            let choices = match self.habits {
                Habits::Plain | Habits::Hasty => 10,
                Habits::Mixed => 14,
            };
            let choice = if request == 0 {
                0
            } else {
                self.dice.below(choices)
            };
            match choice {
                0..=5 => {
                    version += 1;
                    self.post(version).await;
                }
                6 => self.ask("cancel").await,
                7 => self.ask("delete").await,
                10.. => self.ask("approve").await,
                _ => self.ask("retry").await,
            }
        }
    }

    /// A host that is up, once there is one.
    async fn host(&mut self) -> Arc<Host> {
        some_host(&self.hosts, &mut self.dice, &self.clock).await
    }

    async fn post(&mut self, version: u64) {
        let (body, configs) = self.deployment(version);
        let host = self.host().await;
        let bytes = serde_json::to_vec(&body).expect("JSON");
        let meta = RequestMeta {
            scope: self.scope(&configs),
            ..RequestMeta::default()
        };
        let orchestrator = host.orchestrator.clone();
        let answer = self
            .unless_dead(
                &host,
                async move { orchestrator.submit(&bytes, meta).await },
            )
            .await;
        // No answer is no promise: it may have been accepted or not.
        let Some(answer) = answer else { return };
        match answer {
            Ok(accepted) => {
                self.trace
                    .note(format!("accepted {} {}", self.id, accepted.revision));
                let mut acknowledged = self
                    .acknowledged
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                acknowledged
                    .revisions
                    .insert((self.id.clone(), accepted.revision), configs);
            }
            Err(rejection) => panic!("a good request was rejected: {rejection:?}"),
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
                "approve" => {
                    let whatever = Approving::default();
                    orchestrator.approve(&id, whatever, meta).await.is_ok()
                }
                _ => orchestrator.retry(&id, meta).await.is_ok(),
            }
        };
        if let Some(taken) = self.unless_dead(&host, asked).await {
            self.trace.note(format!("{what} {} {taken}", self.id));
        }
    }

    async fn unless_dead<T: Send + 'static>(
        &self,
        host: &Host,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        unless_dead(host, &self.clock, request).await
    }

    /// Sometimes a part is enough.
    fn scope(&mut self, configs: &BTreeMap<String, Value>) -> Scope {
        if self.habits != Habits::Mixed {
            return Scope::Whole;
        }
        match self.dice.below(6) {
            0 => Scope::Affected,
            1 => {
                let mut targets = BTreeSet::new();
                for name in configs.keys() {
                    if self.dice.once_in(2) {
                        targets.insert(ResourceName::new(name).expect("a name"));
                    }
                }
                if targets.is_empty() {
                    Scope::Whole
                } else {
                    Scope::Targets(targets)
                }
            }
            _ => Scope::Whole,
        }
    }

    /// One to five resources, each of which may need earlier ones.
    fn deployment(&mut self, version: u64) -> (Value, BTreeMap<String, Value>) {
        let count = 1 + self.dice.below(5);
        let mut resources = Vec::new();
        let mut configs = BTreeMap::new();
        for place in 0..count {
            let mut needs = serde_json::Map::new();
            for earlier in 0..place {
                if self.dice.once_in(3) {
                    needs.insert(
                        format!("r{earlier}"),
                        json!(format!("${{resources.r{earlier}.outputs.out}}")),
                    );
                }
            }
            // Some resources stay as they were between revisions.
            let v = if self.dice.once_in(3) { 0 } else { version };
            let config = json!({ "v": v, "needs": needs });
            configs.insert(format!("r{place}"), config.clone());
            resources.push(json!({ "name": format!("r{place}"), "catalogRef": "thing:1.0.0", "config": config }));
        }
        let on_failure = match self.dice.below(4) {
            0 => "halt",
            1 => "continue",
            _ => "rollback",
        };
        let queued = match self.habits {
            Habits::Plain | Habits::Hasty => "latest",
            Habits::Mixed if self.dice.once_in(3) => "latest",
            Habits::Mixed => "each",
        };
        let ttl = (self.habits == Habits::Mixed && self.dice.once_in(4))
            .then(|| format!("{}s", 60 + self.dice.below(600)));
        let approval = match self.habits {
            Habits::Mixed if self.dice.once_in(3) => "required",
            Habits::Mixed | Habits::Plain | Habits::Hasty => "automatic",
        };
        let mut body = json!({
            "id": self.id,
            "composer": "people",
            "environment": "sim",
            "resources": resources,
            "dependencies": [],
            "policy": { "onFailure": on_failure, "retries": 3 },
            "strategy": { "queued": queued, "approval": approval },
        });
        if let Some(ttl) = ttl {
            body["ttl"] = json!(ttl);
        }
        (body, configs)
    }
}
