//! A scenario: people want something of deployments while hosts die.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nestor_core::environment::{DriftAction, DriftPolicy, EnvironmentPolicy};
use nestor_core::ids::EnvironmentName;
use nestor_orchestrator::{Limits, Orchestrator, Parts, Surroundings as _};

use crate::check;
use crate::clock::{START, SimClock};
use crate::dice::Dice;
use crate::engines::{SimEngines, Weather, World};
use crate::hasty::{self, Goodbyes};
use crate::people::{Acknowledged, Person, meddle};
use crate::platform::{NoDelivery, OneDefinition};
use crate::receivers::{self, Receivers, SimNotifier};
use crate::store::{Boundaries, Crash, Disk, Fate, SimStore};
use crate::trace::Trace;
use crate::watch::{Seen, Watcher};
use crate::{Invariant, Violation};

/// Whatever is drawn with dice of its own leaves the rest of a seed alone.
const OWN_DICE: u64 = 0xd21f_7000_0000_0001;
const WATCHER: u64 = 0x3a7c_4e00_0000_0002;
/// The period of looks for drift.
const LOOK_EVERY: Duration = Duration::from_secs(20 * 60);
/// Milliseconds after which nobody looks any more: some looks after the last
/// change that somebody can have made.
const LOOKS_END: u64 = 3 * 3_600_000;

/// How large and how bad a scenario is.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Deployments per seed.
    pub deployments: u64,
    /// Requests per deployment.
    pub requests: u64,
    /// How engines behave.
    pub weather: Weather,
    /// What happens to hosts.
    pub fate: Fate,
    /// Hosts on one disk: a second one makes them workers that share it.
    pub workers: usize,
    /// One death at one commit or effect of the whole scenario.
    pub crash: Option<Crash>,
    /// Calls that a host has under way at once; others wait for their turn.
    pub calls: usize,
    /// Deaths after which the host lives on, so that every scenario ends.
    pub deaths: u32,
    /// What people ask for.
    pub habits: Habits,
    /// Keep the lines of the trace.
    pub keep_trace: bool,
}

/// What people ask for besides new revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habits {
    /// The latest revision, of all resources. Draws no dice of its own, so
    /// that a seed tells the same story for as long as possible.
    Plain,
    /// Also every revision after the other, parts, plans that wait for approval,
    /// deployments that live for minutes, and looks for drift.
    Mixed,
    /// The next thing before the one before has begun, in two environments and
    /// with two engines.
    Hasty,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deployments: 4,
            requests: 4,
            weather: Weather {
                transient: 8,
                permanent: 14,
                pending: 6,
                lies: 10,
                hangs: 60,
                slow: 3,
                twice: 8,
                not_now: 12,
            },
            fate: Fate {
                dies: 25,
                dies_at_effects: 25,
                freezes: 0,
            },
            workers: 1,
            crash: None,
            calls: 64,
            deaths: 8,
            habits: Habits::Mixed,
            keep_trace: false,
        }
    }
}

impl Options {
    /// As the first seeds were run: no dice are thrown for what came later.
    #[must_use]
    pub fn plain() -> Self {
        let usual = Self::default();
        Self {
            weather: Weather {
                hangs: 0,
                slow: 0,
                twice: 0,
                not_now: 0,
                ..usual.weather
            },
            fate: Fate {
                dies_at_effects: 0,
                ..usual.fate
            },
            habits: Habits::Plain,
            ..usual
        }
    }

    /// Two workers on one disk, which die, and stand still for longer than
    /// they count as alive.
    #[must_use]
    pub fn shared() -> Self {
        let usual = Self::default();
        Self {
            fate: Fate {
                dies: 60,
                dies_at_effects: 60,
                freezes: 40,
            },
            workers: 2,
            calls: 2,
            ..usual
        }
    }

    /// People in a hurry, on a host that does one thing at a time.
    #[must_use]
    pub fn hasty() -> Self {
        Self {
            requests: 7,
            habits: Habits::Hasty,
            ..Self::default()
        }
    }

    /// What happens to a host that starts after so many deaths.
    pub(crate) fn fate_after(&self, deaths: u32) -> Fate {
        if deaths < self.deaths {
            self.fate
        } else {
            Fate::default()
        }
    }

    /// What a host is started with.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            calls: self.calls,
            runs: match self.habits {
                Habits::Hasty => 1,
                Habits::Plain | Habits::Mixed => Limits::default().runs,
            },
            // What is checked at the end must still be known.
            keep_deleted: Duration::MAX,
            ..Limits::default()
        }
    }

    /// Every fourth seed has two workers.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        if seed.is_multiple_of(4) {
            Self::shared()
        } else {
            Self::default()
        }
    }
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
    /// Calls to engines.
    pub calls: u64,
    /// Deployments posted.
    pub deployments: u64,
}

/// A host that is up.
pub(crate) struct Host {
    pub(crate) store: Arc<SimStore>,
    pub(crate) orchestrator: Orchestrator,
}

/// Of each worker, the host that it is now.
pub(crate) type Hosts = Arc<Mutex<Vec<Option<Arc<Host>>>>>;

pub(crate) fn lock(hosts: &Hosts) -> std::sync::MutexGuard<'_, Vec<Option<Arc<Host>>>> {
    hosts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything has ended long before, if it ever does: six hours.
const LONG_MS: u64 = 6 * 3_600_000;
/// Whatever lives for minutes is gone by then, if nothing holds it up.
const EXPIRED_MS: u64 = 3_600_000;

/// Runs one seed twice: whether that gives the same.
#[must_use]
pub fn again(seed: u64, options: &Options) -> Option<Violation> {
    let (first, second) = (run(seed, options), run(seed, options));
    (first != second).then(|| Violation {
        invariant: Invariant::SameTrace,
        detail: format!("trace {:016x}, again {:016x}", first.trace, second.trace),
    })
}

/// Runs one seed to its end.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
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
    let world = World::new(
        Dice::new(dice.roll()),
        clock.clone(),
        Arc::clone(&trace),
        options.weather,
    );
    let world = Arc::new(world);
    // Drawn only where it was not fixed before, so that old seeds stay what they were.
    let subscribed = options.habits == Habits::Mixed && dice.once_in(3);
    let receivers = Arc::new(Receivers::new(
        subscribed.then(|| Dice::new(dice.roll())),
        clock.clone(),
        Arc::clone(&trace),
    ));
    let hosts: Hosts = Arc::new(Mutex::new(vec![None; options.workers]));
    let acknowledged: Arc<Mutex<Acknowledged>> = Arc::default();
    let mut people = Vec::new();
    if subscribed {
        people.push(tokio::spawn(receivers::subscribe_somewhere(
            Arc::clone(&receivers),
            Arc::clone(&hosts),
            clock.clone(),
        )));
    }
    let goodbyes = Goodbyes::default();
    for number in 0..options.deployments {
        let id = format!("d{number}");
        let own = Dice::new(dice.roll());
        if options.habits == Habits::Hasty {
            let person = hasty::Person {
                id,
                dice: own,
                clock: clock.clone(),
                hosts: Arc::clone(&hosts),
                acknowledged: Arc::clone(&acknowledged),
                goodbyes: Arc::clone(&goodbyes),
                trace: Arc::clone(&trace),
            };
            people.push(tokio::spawn(person.live(options.requests)));
            continue;
        }
        let person = Person {
            id,
            dice: own,
            clock: clock.clone(),
            hosts: Arc::clone(&hosts),
            acknowledged: Arc::clone(&acknowledged),
            trace: Arc::clone(&trace),
            habits: options.habits,
        };
        people.push(tokio::spawn(person.live(options.requests)));
    }
    let seen = Seen::default();
    if options.habits == Habits::Mixed {
        let watcher = Watcher {
            dice: Dice::new(seed ^ WATCHER),
            clock: clock.clone(),
            hosts: Arc::clone(&hosts),
            disk: Arc::clone(&disk),
            seen: Arc::clone(&seen),
        };
        people.push(tokio::spawn(watcher.look(options.deployments)));
    }
    // A seed in two has a schedule of looks, and somebody who gives them
    // something to see.
    let mut chance = Dice::new(seed ^ OWN_DICE);
    let one = options.workers == 1;
    let scheduled = options.habits == Habits::Mixed && one && chance.once_in(2);
    let action = if chance.once_in(3) {
        DriftAction::Report
    } else {
        DriftAction::Remediate
    };
    let mut looks = scheduled.then_some(DriftPolicy {
        every: LOOK_EVERY,
        action,
    });
    if scheduled {
        people.push(tokio::spawn(meddle(
            Arc::clone(&world),
            clock.clone(),
            chance,
        )));
    }
    let mut deaths = 0;
    loop {
        let up: Vec<_> = lock(&hosts).clone();
        let lost = (0..)
            .zip(&up)
            .find_map(|(place, host): (usize, _)| match host {
                Some(host) if host.store.dead() => Some((place, true)),
                Some(_) => None,
                None => Some((place, false)),
            });
        match lost {
            None => {
                let happened = clock.tick().await;
                let asked = people.iter().all(tokio::task::JoinHandle::is_finished);
                // Looks would go on for ever: the platform gives them up.
                if looks.is_some() && asked && clock.now().0 > START + LOOKS_END {
                    looks = None;
                    up.iter().flatten().for_each(|host| host.store.kill());
                }
                // Workers that share a disk never rest: they say that they are alive.
                let since = clock.now().0 - START;
                let over = match options.workers {
                    1 => !happened,
                    _ => since > LONG_MS || disk.nothing_to_do() && since > EXPIRED_MS,
                };
                let lost = up.iter().flatten().any(|host| host.store.dead());
                if over && asked && !lost {
                    break;
                }
            }
            Some((place, true)) => {
                deaths += 1;
                lock(&hosts)[place] = None;
            }
            Some((place, false)) => {
                let store = SimStore::new(
                    Arc::clone(&disk),
                    clock.clone(),
                    Dice::new(dice.roll()),
                    options.fate_after(deaths),
                    options.workers == 1,
                );
                let (store, limits) = (Arc::new(store), options.limits());
                let started = start(store, looks, &world, &clock, &receivers, limits).await;
                deaths += u32::from(started.is_none());
                lock(&hosts)[place] = started.map(Arc::new);
            }
        }
    }
    let violations = {
        let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        let mut violations = world.violations();
        let put_right = scheduled && action == DriftAction::Remediate;
        violations.extend(disk.violations());
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        violations.extend(seen.iter().cloned());
        violations.extend(check::all(
            &disk.documents(),
            &world,
            &acknowledged,
            put_right,
        ));
        violations.extend(receivers.violations(&disk.documents()));
        violations.extend(hasty::check(&disk.documents(), &goodbyes));
        violations
    };
    Report {
        violations,
        trace: trace.hash(),
        lines: trace.lines(),
        deaths,
        boundaries: boundaries.passed(),
        calls: world.calls(),
        deployments: options.deployments,
    }
}

/// Starts a host; none when it died on the way.
pub(crate) async fn start(
    store: Arc<SimStore>,
    looks: Option<DriftPolicy>,
    world: &Arc<World>,
    clock: &SimClock,
    receivers: &Arc<Receivers>,
    limits: Limits,
) -> Option<Host> {
    let policy = EnvironmentPolicy {
        drift: looks,
        ..EnvironmentPolicy::DEFAULT
    };
    let parts = Parts {
        store: store.clone(),
        engines: Arc::new(SimEngines::new(Arc::clone(world), store.clone())),
        catalog: Arc::new(OneDefinition),
        delivery: Arc::new(NoDelivery),
        notifier: Arc::new(SimNotifier::new(Arc::clone(receivers), store.clone())),
        surroundings: Arc::new(clock.clone()),
        limits,
        environments: [(EnvironmentName::new("sim").expect("a name"), policy)]
            .into_iter()
            .collect(),
    };
    let starting = tokio::spawn(Orchestrator::start(parts));
    while !starting.is_finished() && !store.dead() {
        clock.tick().await;
    }
    if store.dead() {
        return None;
    }
    let orchestrator = starting.await.ok()?.ok()?;
    Some(Host {
        store,
        orchestrator,
    })
}
