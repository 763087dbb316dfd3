//! People in a hurry: they post, delete and go back before what they asked for
//! before has begun, in two environments and with two engines, on a host that
//! does one thing at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use nestor_core::ports::Bytes;
use nestor_orchestrator::service::{Rejection, RequestMeta};
use nestor_orchestrator::view::{Accepted, DeploymentStatus as Is};
use serde_json::{Value, json};

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::people::{Acknowledged, some_host, unless_dead};
use crate::scenario::Hosts;
use crate::trace::Trace;
use crate::{Invariant, Violation};

/// Milliseconds between two requests, at most: less than most operations take.
const HURRY: u64 = 1_500;

/// What each deployment's person was told when the last thing that they asked
/// for was its deletion.
pub(crate) type Goodbyes = Arc<Mutex<BTreeMap<String, Is>>>;

pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) dice: Dice,
    pub(crate) clock: SimClock,
    pub(crate) hosts: Hosts,
    pub(crate) acknowledged: Arc<Mutex<Acknowledged>>,
    pub(crate) goodbyes: Goodbyes,
    pub(crate) trace: Arc<Trace>,
}

/// What is asked for.
enum Wish {
    Post(Value),
    Rollback(u64),
    Retry,
    Delete,
}

impl Person {
    /// Makes so many requests.
    pub(crate) async fn live(mut self, requests: u64) {
        let mut revisions = 0;
        for request in 0..requests {
            let pause = self.dice.below(HURRY);
            self.clock.sleep(pause).await;
            let choice = if request == 0 { 0 } else { self.dice.below(10) };
            let wish = match choice {
                0..=4 => Wish::Post(self.deployment(request)),
                5..=7 => Wish::Delete,
                8 => Wish::Rollback(1 + self.dice.below(revisions)),
                _ => Wish::Retry,
            };
            if let Some(accepted) = self.ask(wish).await {
                revisions = revisions.max(accepted.revision);
            }
        }
    }

    async fn ask(&mut self, wish: Wish) -> Option<Accepted> {
        let host = some_host(&self.hosts, &mut self.dice, &self.clock).await;
        let (orchestrator, id) = (host.orchestrator.clone(), self.id.clone());
        self.goodbyes().remove(&self.id);
        let (makes, deletes) = match &wish {
            Wish::Post(_) | Wish::Rollback(_) => (true, false),
            Wish::Retry => (false, false),
            Wish::Delete => (false, true),
        };
        let asked = async move {
            let meta = RequestMeta::default();
            match wish {
                Wish::Post(body) => {
                    let bytes = serde_json::to_vec(&body).expect("JSON");
                    orchestrator.submit(&bytes, meta).await
                }
                Wish::Rollback(to) => orchestrator.rollback(&id, Some(to), meta).await,
                Wish::Retry => orchestrator.retry(&id, meta).await,
                Wish::Delete => orchestrator.delete(&id, meta).await,
            }
        };
        // No answer is no promise.
        match unless_dead(&host, &self.clock, asked).await? {
            Ok(accepted) => {
                let line = format!("{} {} {:?}", self.id, accepted.revision, accepted.status);
                self.trace.note(line);
                if makes {
                    let acknowledged = self.acknowledged.lock();
                    let mut acknowledged = acknowledged.unwrap_or_else(PoisonError::into_inner);
                    let of = (self.id.clone(), accepted.revision);
                    acknowledged.revisions.insert(of, BTreeMap::new());
                }
                if deletes {
                    self.goodbyes().insert(self.id.clone(), accepted.status);
                }
                Some(accepted)
            }
            Err(Rejection::Invalid(found)) => {
                let message = &found[0].message;
                self.trace.note(format!("refused {}: {message}", self.id));
                None
            }
            Err(Rejection::Conflict(_) | Rejection::NotFound(_)) => None,
            Err(other) => panic!("a good request was rejected: {other:?}"),
        }
    }

    fn goodbyes(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Is>> {
        self.goodbyes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One or two resources, mostly of the same engine and in the same
    /// environment.
    fn deployment(&mut self, version: u64) -> Value {
        let mut resources = Vec::new();
        for place in 0..=self.dice.below(2) {
            let engine = if self.dice.once_in(4) {
                "second"
            } else {
                "sim"
            };
            let mut needs = serde_json::Map::new();
            if place > 0 && self.dice.once_in(2) {
                needs.insert("r0".into(), json!("${resources.r0.outputs.out}"));
            }
            resources.push(json!({
                "name": format!("r{place}"), "catalogRef": "thing:1.0.0", "engine": engine,
                "config": { "v": version, "needs": needs },
            }));
        }
        let elsewhere = self.dice.once_in(3);
        let halts = self.dice.once_in(4);
        json!({
            "id": self.id,
            "composer": "people",
            "environment": if elsewhere { "other" } else { "sim" },
            "resources": resources,
            "dependencies": [],
            "policy": { "onFailure": if halts { "halt" } else { "rollback" }, "retries": 3 },
        })
    }
}

/// What was deleted last of all is not there in the end; unless it was in
/// flight, it is deleted, or it says why it is not.
pub(crate) fn check(disk: &BTreeMap<String, Bytes>, goodbyes: &Goodbyes) -> Vec<Violation> {
    let goodbyes = goodbyes.lock().unwrap_or_else(PoisonError::into_inner);
    let broken = goodbyes.iter().filter_map(|(id, answer)| {
        let status = disk.get(&format!("sta/{id}"))?;
        let status: Value = serde_json::from_slice(status).unwrap_or_default();
        let word = status["status"].as_str().unwrap_or_default().to_owned();
        let kept = match answer {
            Is::Deleting | Is::Deleted => ["deleted", "failed", "stuck"].contains(&word.as_str()),
            _ => word != "ready",
        };
        (!kept).then(|| Violation {
            invariant: Invariant::NothingLost,
            detail: format!("{id} is {word} although its deletion was answered with {answer:?}"),
        })
    });
    broken.collect()
}
