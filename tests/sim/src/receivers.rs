//! Somebody who subscribed to everything: sometimes out of reach, sometimes
//! refusing, sometimes slow, and sometimes it took a message and the answer
//! got lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use nestor_core::ids::WebhookName;
use nestor_core::ports::{Bytes, Notice, NoticeAnswer, Notifier};
use nestor_orchestrator::{Orchestrator, Surroundings as _};
use serde_json::{Value, json};

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::scenario::{Hosts, lock};
use crate::store::SimStore;
use crate::trace::Trace;
use crate::{Invariant, Violation};

const NAME: &str = "everything";
/// Until every host that shares the store knows of a webhook: as long as one
/// counts as alive that was not heard of.
const KNOWN_ELSEWHERE_MS: u64 = 15_000;

/// What was received, whatever became of the hosts.
pub(crate) struct Receivers {
    clock: SimClock,
    trace: Arc<Trace>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// None: nobody subscribes.
    dice: Option<Dice>,
    /// Since when everything has to be told.
    since: Option<u64>,
    /// Ids of events in the order in which they came, and again when they came again.
    heard: Vec<String>,
}

impl Receivers {
    /// With dice for somebody who subscribes.
    #[must_use]
    pub(crate) fn new(dice: Option<Dice>, clock: SimClock, trace: Arc<Trace>) -> Self {
        Self {
            clock,
            trace,
            state: Mutex::new(State {
                dice,
                ..State::default()
            }),
        }
    }

    /// Whether the subscription was acknowledged.
    #[must_use]
    pub(crate) fn subscribed(&self) -> bool {
        self.lock().since.is_some()
    }

    /// Everything has to be told from now on; where there are other hosts,
    /// from when they have to know.
    pub(crate) fn told_that_it_is_made(&self, hosts: usize) {
        let known = if hosts == 1 { 0 } else { KNOWN_ELSEWHERE_MS };
        self.lock().since = Some(self.clock.now().0 + known);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the disk says happened, against what was heard.
    #[must_use]
    pub(crate) fn violations(&self, disk: &BTreeMap<String, Bytes>) -> Vec<Violation> {
        let state = self.lock();
        let Some(since) = state.since else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let heard: BTreeSet<&str> = state.heard.iter().map(String::as_str).collect();
        let dead: BTreeSet<String> = under(disk, "wdl/")
            .filter_map(|(_, letter)| letter["entry"]["id"].as_str().map(str::to_owned))
            .collect();
        for (key, _) in under(disk, "wob/") {
            found.push(Violation {
                invariant: Invariant::NothingUntold,
                detail: format!("{key} still waits, and nothing can happen any more"),
            });
        }
        for (key, event) in under(disk, "evt/") {
            let Some((id, number)) = key["evt/".len()..].split_once('/') else {
                continue;
            };
            let number: u64 = number.parse().unwrap_or(0);
            let id = format!("{id}/{number}");
            let told = heard.contains(id.as_str()) || dead.contains(&id);
            if !told && millis(&event) > since {
                found.push(Violation {
                    invariant: Invariant::NothingUntold,
                    detail: format!("{id} was neither told nor given up: {event}"),
                });
            }
        }
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for id in &state.heard {
            let Some((deployment, number)) = id.split_once('/') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            // Told again: at least once is what was promised.
            if !seen.insert(id) {
                continue;
            }
            let before = last.insert(deployment, number).unwrap_or(0);
            if number < before {
                found.push(Violation {
                    invariant: Invariant::ToldInOrder,
                    detail: format!("{id} was first told after {deployment}/{before}"),
                });
            }
        }
        found
    }
}

/// Documents under a prefix.
fn under<'a>(
    disk: &'a BTreeMap<String, Bytes>,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a str, Value)> {
    disk.range(prefix.to_owned()..)
        .take_while(move |(key, _)| key.starts_with(prefix))
        .map(|(key, bytes)| {
            let value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
            (key.as_str(), value)
        })
}

/// When an event happened.
fn millis(event: &Value) -> u64 {
    let text = event["at"].as_str().unwrap_or_default();
    humantime::parse_rfc3339(text)
        .ok()
        .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

/// Asks one host after another until one has acknowledged it.
pub(crate) async fn subscribe_somewhere(receivers: Arc<Receivers>, hosts: Hosts, clock: SimClock) {
    while !receivers.subscribed() {
        let (count, up) = {
            let hosts = lock(&hosts);
            let up = hosts.iter().flatten().find(|h| !h.store.dead()).cloned();
            (hosts.len(), up)
        };
        if let Some(host) = up {
            tokio::select! {
                made = subscribe(&host.orchestrator) => {
                    if made {
                        receivers.told_that_it_is_made(count);
                    }
                }
                // A dead host answers nobody.
                () = clock.sleep(1_000) => {}
            }
        } else {
            clock.sleep(100).await;
        }
    }
}

/// Subscribes to everything; whether it was acknowledged.
pub(crate) async fn subscribe(orchestrator: &Orchestrator) -> bool {
    let body = json!({
        "url": "https://receiver.example/hook",
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "filter": { "types": ["*"] },
    });
    let name = WebhookName::new(NAME).expect("a name");
    let body = body.to_string();
    orchestrator
        .put_webhook(&name, body.as_bytes())
        .await
        .is_ok()
}

/// One host's way to the receivers.
pub(crate) struct SimNotifier {
    receivers: Arc<Receivers>,
    store: Arc<SimStore>,
}

impl SimNotifier {
    /// Of the host with that store.
    #[must_use]
    pub(crate) fn new(receivers: Arc<Receivers>, store: Arc<SimStore>) -> Self {
        Self { receivers, store }
    }

    /// What the receiver does with a message: how long it takes, whether it
    /// takes it, what it answers.
    fn fate(&self) -> (u64, bool, NoticeAnswer) {
        let mut state = self.receivers.lock();
        let Some(dice) = &mut state.dice else {
            return (0, false, NoticeAnswer::NotAllowed("nobody is there".into()));
        };
        let status = |code| NoticeAnswer::Status {
            code,
            retry_after_ms: None,
        };
        let takes = dice.below(50);
        match dice.below(12) {
            0 => (takes, false, NoticeAnswer::Unreachable("away".into())),
            1 => (takes, false, status(503)),
            // Taken, and nobody knows.
            2 => (takes, true, NoticeAnswer::Unreachable("away".into())),
            3 if dice.once_in(2) => (takes, false, status(400)),
            _ => (takes, true, status(200)),
        }
    }
}

#[async_trait]
impl Notifier for SimNotifier {
    fn check(&self, _: &str, _: bool) -> Result<(), String> {
        Ok(())
    }

    async fn post(&self, notice: Notice) -> NoticeAnswer {
        let (takes, arrives, answer) = self.fate();
        self.receivers.clock.sleep(takes).await;
        if self.store.dead() {
            std::future::pending::<()>().await;
        }
        if arrives {
            self.receivers.trace.note(format!("told {}", notice.id));
            self.receivers.lock().heard.push(notice.id);
        }
        answer
    }
}
