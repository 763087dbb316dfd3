//! Composers who want more than the host can do at once: in which order their
//! deployments have their turns. Nothing fails and nobody dies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use nestor_core::queue::AGE_MS;
use nestor_orchestrator::service::RequestMeta;
use nestor_orchestrator::{Limits, Orchestrator, Surroundings as _};
use serde_json::json;

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::engines::{Weather, World};
use crate::receivers::Receivers;
use crate::scenario::start;
use crate::store::{Boundaries, Disk, Fate, SimStore};
use crate::trace::Trace;
use crate::{Invariant, Violation};

/// The flood of one composer: a deployment takes 2.5 seconds on average.
const FLOOD: u64 = 250;
const EVERY_MS: u64 = 2_000;
/// Its priorities, but for some that are lower.
const HIGH: u64 = 10;
/// From the turn that it could have had by its age, to the one it gets: the
/// call that is under way, and the time until a request is a turn.
const SLACK_MS: u64 = 15_000;

/// Breaches of one kind that are told.
const SHOWN: usize = 5;

/// A deployment that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    at: u64,
    priority: u64,
}

type Accepted = Arc<Mutex<BTreeMap<String, Asked>>>;

/// Runs one seed: what was breached.
#[must_use]
pub fn run(seed: u64) -> Vec<Violation> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without I/O");
    runtime.block_on(simulate(seed))
}

async fn simulate(seed: u64) -> Vec<Violation> {
    let mut dice = Dice::new(seed);
    let trace = Arc::new(Trace::keeping(false));
    let clock = SimClock::new(Dice::new(dice.roll()));
    let disk = Disk::new(Arc::clone(&trace), Arc::new(Boundaries::new(None)));
    let fair = Weather {
        transient: 0,
        permanent: 0,
        pending: 0,
        lies: 0,
        hangs: 0,
        slow: 0,
        twice: 0,
        not_now: 0,
    };
    let world = World::new(
        Dice::new(dice.roll()),
        clock.clone(),
        Arc::clone(&trace),
        fair,
    );
    let world = Arc::new(world);
    let store = SimStore::new(
        Arc::new(disk),
        clock.clone(),
        Dice::new(dice.roll()),
        Fate::default(),
        true,
    );
    let one_at_a_time = Limits {
        runs: 1,
        calls: 1,
        ..Limits::default()
    };
    let nobody = Arc::new(Receivers::new(None, clock.clone(), Arc::clone(&trace)));
    let store = Arc::new(store);
    let host = start(store, None, &world, &clock, &nobody, one_at_a_time).await;
    let host = host.expect("nobody dies here").orchestrator;
    let accepted: Accepted = Arc::default();
    let flood = flood(
        host.clone(),
        clock.clone(),
        Dice::new(dice.roll()),
        Arc::clone(&accepted),
    );
    let one = one(
        host,
        clock.clone(),
        60_000 + dice.below(120_000),
        Arc::clone(&accepted),
    );
    let people = [tokio::spawn(flood), tokio::spawn(one)];
    loop {
        let happened = clock.tick().await;
        if !happened && people.iter().all(tokio::task::JoinHandle::is_finished) {
            break;
        }
    }
    let accepted = accepted.lock().unwrap_or_else(PoisonError::into_inner);
    check(&accepted, &world.begun())
}

/// One composer posts without end, or so it seems.
async fn flood(host: Orchestrator, clock: SimClock, mut dice: Dice, accepted: Accepted) {
    for number in 0..FLOOD {
        let priority = match dice.below(3) {
            0 => dice.below(HIGH),
            _ => HIGH,
        };
        post(&host, &clock, "flood", number, priority, &accepted).await;
        clock.sleep(EVERY_MS).await;
    }
}

/// Another has one deployment, of no priority.
async fn one(host: Orchestrator, clock: SimClock, at: u64, accepted: Accepted) {
    clock.sleep(at).await;
    post(&host, &clock, "one", 0, 0, &accepted).await;
}

async fn post(
    host: &Orchestrator,
    clock: &SimClock,
    composer: &str,
    number: u64,
    priority: u64,
    accepted: &Accepted,
) {
    let id = format!("{composer}-{number}");
    let body = json!({
        "id": id, "composer": composer, "environment": "sim", "priority": priority,
        "resources": [{ "name": "r", "catalogRef": "thing:1.0.0", "config": { "v": 1, "needs": {} } }],
        "dependencies": [],
    });
    host.submit(body.to_string().as_bytes(), RequestMeta::default())
        .await
        .expect("accepted");
    let at = clock.now().0;
    let mut accepted = accepted.lock().unwrap_or_else(PoisonError::into_inner);
    accepted.insert(id, Asked { at, priority });
}

fn check(accepted: &BTreeMap<String, Asked>, begun: &[(String, u64)]) -> Vec<Violation> {
    let mut found = Vec::new();
    if begun.len() != accepted.len() {
        let detail = format!("{} of {} had a turn", begun.len(), accepted.len());
        found.push(Violation {
            invariant: Invariant::EverythingEnds,
            detail,
        });
    }
    let turns: Vec<(&str, u64, &Asked)> = begun
        .iter()
        .filter_map(|(id, at)| Some((id.as_str(), *at, accepted.get(id)?)))
        .collect();
    // Older by one age is worth one step of priority.
    let rank = |asked: &Asked| asked.at.cast_signed() - (asked.priority * AGE_MS).cast_signed();
    for (place, (id, began, asked)) in turns.iter().enumerate() {
        let later = turns[place + 1..]
            .iter()
            .filter(|(other, ..)| other.split('-').next() == id.split('-').next());
        for (other, _, waited) in later {
            let waiting = waited.at + SLACK_MS < *began;
            if waiting && rank(waited) + SLACK_MS.cast_signed() < rank(asked) {
                let detail = format!("{id} {asked:?} had its turn before {other} {waited:?}");
                found.push(Violation {
                    invariant: Invariant::HigherPriorityFirst,
                    detail,
                });
            }
        }
    }
    // Each kind of breach is told, however many there are of another.
    found.truncate(SHOWN);
    let bound = HIGH * AGE_MS + SLACK_MS;
    for (id, began, asked) in turns.iter().filter(|(id, ..)| id.starts_with("one-")) {
        if began - asked.at > bound {
            let detail = format!("{id} waited {} ms for its turn", began - asked.at);
            found.push(Violation {
                invariant: Invariant::NobodyStarves,
                detail,
            });
        }
    }
    found
}
