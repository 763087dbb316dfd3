//! The state machine under random graphs, failures, crashes and requests.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::ids::{ResourceName, Timestamp};
use crate::spec::{OnFailure, Policy};

fn plan(edges: &[&[u32]], on_failure: OnFailure) -> Arc<RunPlan> {
    let steps = (0..)
        .zip(edges)
        .map(|(i, after): (u32, _)| RunStep {
            name: ResourceName::new(format!("r{i}")).expect("a name"),
            kind: StepKind::Apply,
            place: Some(i),
            after: after.to_vec(),
            on_failure,
            retries: 1,
            timeout_ms: 60_000,
        })
        .collect();
    Arc::new(RunPlan { steps })
}

/// What the outside does with each call, drawn by proptest.
#[derive(Debug, Clone, Copy)]
enum Behaviour {
    Succeeds,
    Unchanged,
    Fails,
    Transient,
    NotNow,
    Pends,
}

/// Drives a run to its end like the shell does, checking every effect.
struct Driver {
    run: Run,
    journal: Vec<Event>,
    now: u64,
    behaviours: Vec<Behaviour>,
    drawn: usize,
    open_calls: BTreeSet<u32>,
    undone: Vec<u32>,
}

impl Driver {
    fn new(plan: Arc<RunPlan>, behaviours: Vec<Behaviour>) -> Self {
        let run = Run::new(plan);
        let (journal, open_calls, undone) = Default::default();
        Self {
            run,
            journal,
            now: 1,
            behaviours,
            drawn: 0,
            open_calls,
            undone,
        }
    }

    fn draw(&mut self) -> Behaviour {
        let drawn = self.behaviours[self.drawn % self.behaviours.len()];
        self.drawn += 1;
        drawn
    }

    fn feed(&mut self, event: Event) -> Vec<Effect> {
        self.journal.push(event.clone());
        step(&mut self.run, &event).expect("the shell sends only legal events")
    }

    /// Depth-first over effects; `crash_after` events the journal is replayed.
    fn drive(
        &mut self,
        first: Event,
        crash_after: &BTreeSet<usize>,
        cancel_after: Option<usize>,
    ) -> Outcome {
        let mut todo = self.feed(first);
        for _ in 0..100_000 {
            if cancel_after == Some(self.journal.len()) {
                todo.extend(self.feed(Event::CancelRequested));
            }
            if crash_after.contains(&self.journal.len()) {
                let fresh = Run::new(Arc::new(self.run.plan().clone()));
                self.run = replay(fresh, &self.journal).expect("the journal replays");
                self.open_calls.clear();
                todo = self.feed(Event::Recovered);
            }
            let Some(effect) = todo.pop() else {
                return self
                    .run
                    .outcome()
                    .expect("nothing left to do, so the run has ended");
            };
            let follow = self.react(effect);
            todo.extend(follow);
        }
        panic!("no end after 100,000 effects");
    }

    fn react(&mut self, effect: Effect) -> Vec<Effect> {
        match effect {
            Effect::Dispatch { step } => self.dispatch(step),
            Effect::Call {
                step,
                direction,
                call,
                ..
            } => self.call(step, direction, call),
            Effect::WakeAt { step, at } => {
                self.now = self.now.max(at.0);
                match self.run.steps()[step as usize].state {
                    StepState::Due { .. } => self.dispatch(step),
                    StepState::Pending { .. } | StepState::Unsettled { .. } => {
                        let direction = self.run.steps()[step as usize].direction;
                        self.call(step, direction, Call::Observe)
                    }
                    StepState::Waiting { .. }
                    | StepState::Running
                    | StepState::Done { .. }
                    | StepState::Failed { .. }
                    | StepState::Skipped { .. } => Vec::new(),
                }
            }
            Effect::Ended(_) => Vec::new(),
        }
    }

    fn dispatch(&mut self, step: u32) -> Vec<Effect> {
        // A stale dispatch (the run was stopped meanwhile) does nothing.
        if !matches!(self.run.steps()[step as usize].state, StepState::Due { .. }) {
            return Vec::new();
        }
        self.check_order(step);
        let forward = self.run.steps()[step as usize].direction == Direction::Forward;
        if forward && matches!(self.draw(), Behaviour::Unchanged) {
            return self.feed(Event::Unchanged { step });
        }
        self.now += 1;
        self.feed(Event::Started {
            step,
            at: Timestamp(self.now),
        })
    }

    fn check_order(&self, step: u32) {
        let steps = self.run.steps();
        match steps[step as usize].direction {
            Direction::Forward => {
                assert_eq!(
                    self.run.mode(),
                    Mode::Forward,
                    "a stopped run starts nothing new"
                );
                for &before in &self.run.plan().steps[step as usize].after {
                    assert!(
                        matches!(steps[before as usize].state, StepState::Done { .. }),
                        "{step} before {before}"
                    );
                }
            }
            Direction::Undo => {
                assert!(
                    steps[step as usize].touched,
                    "only what was touched is undone"
                );
                for (later, planned) in (0u32..).zip(&self.run.plan().steps) {
                    let undone = steps[later as usize].direction == Direction::Undo;
                    if planned.after.contains(&step) && undone {
                        assert!(
                            matches!(steps[later as usize].state, StepState::Done { .. }),
                            "{later} is undone first"
                        );
                    }
                }
            }
        }
    }

    fn call(&mut self, step: u32, direction: Direction, call: Call) -> Vec<Effect> {
        if call == Call::Act {
            assert!(
                self.open_calls.insert(step),
                "two operations at once on step {step}"
            );
        }
        self.open_calls.remove(&step);
        self.now += 1;
        let at = Timestamp(self.now);
        let fail = |failure| Event::CallFailed {
            step,
            failure,
            reason: "no".into(),
            at,
            jitter: Jitter(7),
        };
        let event = match (self.draw(), call) {
            (Behaviour::Succeeds | Behaviour::Unchanged, _) => Event::Succeeded { step },
            (Behaviour::Fails, Call::Act) => fail(Failure::Permanent),
            (Behaviour::Fails, Call::Observe) => fail(Failure::NeverHappened),
            (Behaviour::Transient, _) => fail(Failure::Transient {
                retry_after_ms: None,
            }),
            (Behaviour::NotNow, _) => fail(Failure::NotNow {
                retry_after_ms: Some(1_000),
            }),
            (Behaviour::Pends, _) => Event::Pended {
                step,
                poll_at: at.plus_millis(9_000),
                at,
            },
        };
        let effects = self.feed(event);
        if direction == Direction::Undo
            && matches!(
                self.run.steps()[step as usize].state,
                StepState::Done { .. }
            )
        {
            self.undone.push(step);
        }
        effects
    }
}

fn graphs() -> impl Strategy<Value = Vec<Vec<u32>>> {
    prop::collection::vec(
        prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        1..12,
    )
    .prop_map(|nodes| {
        nodes
            .into_iter()
            .enumerate()
            .map(|(i, before)| {
                if i == 0 {
                    return Vec::new();
                }
                let set: BTreeSet<u32> = before
                    .into_iter()
                    .map(|x| u32::try_from(x.index(i)).expect("small"))
                    .collect();
                set.into_iter().collect()
            })
            .collect()
    })
}

fn behaviours() -> impl Strategy<Value = Vec<Behaviour>> {
    let one = prop_oneof![
        5 => Just(Behaviour::Succeeds),
        1 => Just(Behaviour::Unchanged),
        1 => Just(Behaviour::Fails),
        1 => Just(Behaviour::Transient),
        1 => Just(Behaviour::NotNow),
        1 => Just(Behaviour::Pends),
    ];
    prop::collection::vec(one, 1..30)
}

fn policies() -> impl Strategy<Value = OnFailure> {
    prop_oneof![
        Just(OnFailure::Rollback),
        Just(OnFailure::Halt),
        Just(OnFailure::Continue)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_in_order(
        graph in graphs(),
        policy in policies(),
        behaviours in behaviours(),
        crashes in prop::collection::btree_set(1usize..60, 0..4),
        cancel in prop::option::of(1usize..40),
    ) {
        let edges: Vec<&[u32]> = graph.iter().map(Vec::as_slice).collect();
        let mut driver = Driver::new(plan(&edges, policy), behaviours);
        let outcome = driver.drive(Event::Began, &crashes, cancel);
        match outcome {
            Outcome::Completed => {
                let all_done = driver.run.steps().iter().all(|s| matches!(s.state, StepState::Done { .. }));
                prop_assert!(all_done);
            }
            Outcome::RolledBack | Outcome::Cancelled => {
                let mut touched = driver.run.steps().iter().filter(|s| s.touched);
                let undone = |s: &StepRun| s.direction == Direction::Undo && matches!(s.state, StepState::Done { .. });
                prop_assert!(touched.all(undone));
            }
            Outcome::Failed => prop_assert!(policy != OnFailure::Rollback),
            Outcome::Stuck => {
                let failed = |s: &StepRun| s.direction == Direction::Undo && matches!(s.state, StepState::Failed { .. });
                prop_assert!(driver.run.steps().iter().any(failed));
            }
        }
        // The journal replays to exactly this state.
        let fresh = Run::new(Arc::new(driver.run.plan().clone()));
        prop_assert_eq!(replay(fresh, &driver.journal).expect("replays"), driver.run);
    }

    #[test]
    fn retry_finishes_what_failed(graph in graphs(), policy in policies(), behaviours in behaviours()) {
        let edges: Vec<&[u32]> = graph.iter().map(Vec::as_slice).collect();
        let mut driver = Driver::new(plan(&edges, policy), behaviours);
        let outcome = driver.drive(Event::Began, &BTreeSet::new(), None);
        if matches!(outcome, Outcome::Failed | Outcome::Stuck) {
            driver.behaviours = vec![Behaviour::Succeeds];
            let after = driver.drive(Event::RetryRequested, &BTreeSet::new(), None);
            let wanted = if outcome == Outcome::Failed { Outcome::Completed } else { Outcome::RolledBack };
            prop_assert_eq!(after, wanted);
        }
    }
}

#[test]
fn unwinding_is_in_reverse_order() {
    // r0 → r1 → r2 → r3; r3 fails for good.
    let mut driver = Driver::new(
        plan(&[&[], &[0], &[1], &[2]], OnFailure::Rollback),
        vec![Behaviour::Succeeds],
    );
    let mut effects = driver.feed(Event::Began);
    for step in 0..4 {
        assert_eq!(effects, [Effect::Dispatch { step }]);
        driver.feed(Event::Started {
            step,
            at: Timestamp(1),
        });
        effects = if step < 3 {
            driver.feed(Event::Succeeded { step })
        } else {
            let (failure, reason) = (Failure::Permanent, "disk full".into());
            driver.feed(Event::CallFailed {
                step,
                failure,
                reason,
                at: Timestamp(2),
                jitter: Jitter(0),
            })
        };
    }
    for step in [3, 2, 1, 0] {
        assert_eq!(effects, [Effect::Dispatch { step }], "undone in reverse");
        driver.feed(Event::Started {
            step,
            at: Timestamp(3),
        });
        effects = driver.feed(Event::Succeeded { step });
    }
    assert_eq!(effects, [Effect::Ended(Outcome::RolledBack)]);
}

#[test]
fn dependants_of_a_failure_are_skipped_and_say_why() {
    let mut driver = Driver::new(
        plan(&[&[], &[0], &[], &[1]], OnFailure::Continue),
        vec![Behaviour::Succeeds],
    );
    driver.feed(Event::Began);
    driver.feed(Event::Started {
        step: 0,
        at: Timestamp(1),
    });
    let (failure, reason) = (Failure::Permanent, "quota".into());
    driver.feed(Event::CallFailed {
        step: 0,
        failure,
        reason,
        at: Timestamp(2),
        jitter: Jitter(0),
    });
    assert_eq!(driver.run.resource_state(1), ResourceState::Skipped);
    assert_eq!(
        driver.run.blocked_by(1),
        [ResourceName::new("r0").expect("name")]
    );
    assert_eq!(
        driver.run.blocked_by(3),
        [ResourceName::new("r0").expect("name")]
    );
    driver.feed(Event::Started {
        step: 2,
        at: Timestamp(3),
    });
    assert_eq!(
        driver.feed(Event::Succeeded { step: 2 }),
        [Effect::Ended(Outcome::Failed)]
    );
}

#[test]
fn transient_failures_back_off_and_end() {
    let mut driver = Driver::new(plan(&[&[]], OnFailure::Halt), vec![Behaviour::Succeeds]);
    driver.feed(Event::Began);
    let fail = |at| Event::CallFailed {
        step: 0,
        failure: Failure::Transient {
            retry_after_ms: None,
        },
        reason: "connection refused".into(),
        at: Timestamp(at),
        jitter: Jitter(u16::MAX),
    };
    driver.feed(Event::Started {
        step: 0,
        at: Timestamp(1_000),
    });
    assert_eq!(
        driver.feed(fail(1_000)),
        [Effect::WakeAt {
            step: 0,
            at: Timestamp(1_500)
        }]
    );
    driver.feed(Event::Started {
        step: 0,
        at: Timestamp(1_500),
    });
    assert_eq!(
        driver.feed(fail(1_600)),
        [Effect::Ended(Outcome::Failed)],
        "one retry is allowed here"
    );
}

#[test]
fn whom_nobody_can_look_at_is_asked_ever_less_often() {
    let mut driver = Driver::new(plan(&[&[]], OnFailure::Halt), vec![Behaviour::Succeeds]);
    driver.feed(Event::Began);
    driver.feed(Event::Started {
        step: 0,
        at: Timestamp(0),
    });
    let pend = |at: u64| Event::Pended {
        step: 0,
        poll_at: Timestamp(at),
        at: Timestamp(at),
    };
    let fail = |at: u64| Event::CallFailed {
        step: 0,
        failure: Failure::Transient {
            retry_after_ms: None,
        },
        reason: "no route to host".into(),
        at: Timestamp(at),
        jitter: Jitter(u16::MAX),
    };
    driver.feed(pend(0));
    let mut now = 0;
    let mut looks = |driver: &mut Driver, count: usize| -> Vec<u64> {
        let waits = (0..count).map(|_| {
            let effects = driver.feed(fail(now));
            let [Effect::WakeAt { at, .. }] = effects.as_slice() else {
                panic!("{effects:?}")
            };
            let wait = at.0 - now;
            now = at.0;
            wait
        });
        waits.collect()
    };
    assert_eq!(looks(&mut driver, 4), [500, 1_000, 2_000, 4_000]);
    driver.feed(pend(10_000));
    assert_eq!(
        looks(&mut driver, 2),
        [500, 1_000],
        "a look that succeeded counts"
    );
    assert_eq!(driver.run.steps()[0].attempts, 1, "looking is no attempt");
}

/// A step of an hour and one retry, begun at 0.
fn begun() -> Driver {
    let mut plan = RunPlan::clone(&plan(&[&[]], OnFailure::Halt));
    plan.steps[0].timeout_ms = 3_600_000;
    let mut driver = Driver::new(Arc::new(plan), vec![Behaviour::Succeeds]);
    driver.feed(Event::Began);
    driver.feed(started(0));
    driver
}

fn started(at: u64) -> Event {
    let at = Timestamp(at);
    Event::Started { step: 0, at }
}

fn failed(at: u64, failure: Failure) -> Event {
    Event::CallFailed {
        step: 0,
        failure,
        reason: "the engine is being prepared".into(),
        at: Timestamp(at),
        jitter: Jitter(u16::MAX),
    }
}

#[test]
fn not_now_is_no_attempt_and_ends_at_the_timeout() {
    let not_now = Failure::NotNow {
        retry_after_ms: Some(5_000),
    };
    let mut driver = begun();
    let (mut now, mut waits) = (0, Vec::new());
    for _ in 0..60 {
        let effects = driver.feed(failed(now, not_now));
        assert_eq!(driver.run.steps()[0].attempts, 0);
        let [Effect::WakeAt { at, .. }] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        waits.push(at.0 - now);
        now = at.0;
        driver.feed(started(now));
        assert_eq!(driver.run.steps()[0].attempts, 1);
    }
    assert_eq!(waits[..6], [5_000, 5_000, 5_000, 5_000, 8_000, 16_000]);
    assert_eq!(waits[8..], [60_000; 52]);
    let blip = Failure::Transient {
        retry_after_ms: None,
    };
    driver.feed(failed(now, blip));
    driver.feed(started(now + 500));
    assert_eq!(
        driver.run.steps()[0].attempts,
        2,
        "one retry is still allowed"
    );
    let effects = driver.feed(failed(3_599_000, not_now));
    assert_eq!(effects, [Effect::Ended(Outcome::Failed)]);
    let (_, reason) = driver.run.first_failure().expect("it failed");
    assert_eq!(
        reason,
        "the timeout of 3600 s was reached (policy.timeout); the last thing known: the engine is being prepared"
    );
}

#[test]
fn what_ends_because_the_run_is_stopped_does_not_speak_of_a_timeout() {
    let blip = Failure::Transient {
        retry_after_ms: None,
    };
    let not_now = Failure::NotNow {
        retry_after_ms: None,
    };
    for lost in [false, true] {
        for failure in [blip, not_now] {
            let mut driver = begun();
            if lost {
                driver.feed(Event::Recovered);
            }
            driver.feed(Event::CancelRequested);
            driver.feed(failed(1, failure));
            let (_, reason) = driver.run.first_failure().expect("it failed");
            assert_eq!(reason, "the engine is being prepared", "{lost} {failure:?}");
        }
    }
}

#[test]
fn a_pending_operation_ends_at_its_timeout() {
    let mut driver = Driver::new(plan(&[&[]], OnFailure::Halt), vec![Behaviour::Succeeds]);
    driver.feed(Event::Began);
    driver.feed(Event::Started {
        step: 0,
        at: Timestamp(0),
    });
    let pend = |at: u64| Event::Pended {
        step: 0,
        poll_at: Timestamp(at + 50_000),
        at: Timestamp(at),
    };
    assert_eq!(
        driver.feed(pend(0)),
        [Effect::WakeAt {
            step: 0,
            at: Timestamp(50_000)
        }]
    );
    assert_eq!(
        driver.feed(pend(50_000)),
        [Effect::WakeAt {
            step: 0,
            at: Timestamp(60_000)
        }],
        "not past the deadline"
    );
    assert_eq!(driver.feed(pend(60_000)), [Effect::Ended(Outcome::Failed)]);
}

#[test]
fn waiting_for_a_turn_is_not_the_operations_time() {
    let mut driver = begun();
    driver.feed(Event::Waited {
        step: 0,
        ms: 7_200_000,
    });
    let pended = |at| Event::Pended {
        step: 0,
        poll_at: Timestamp(at),
        at: Timestamp(at),
    };
    let effects = driver.feed(pended(10_799_999));
    let [Effect::WakeAt { .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let effects = driver.feed(pended(10_800_000));
    assert_eq!(effects, [Effect::Ended(Outcome::Failed)]);
}

#[test]
fn illegal_events_are_errors() {
    let mut driver = Driver::new(
        plan(&[&[], &[0]], OnFailure::Halt),
        vec![Behaviour::Succeeds],
    );
    driver.feed(Event::Began);
    for event in [
        Event::Began,
        Event::RetryRequested,
        Event::Started {
            step: 1,
            at: Timestamp(1),
        },
        Event::Started {
            step: 9,
            at: Timestamp(1),
        },
        Event::Succeeded { step: 0 },
        Event::Waited { step: 0, ms: 1 },
        Event::Unchanged { step: 1 },
    ] {
        let before = driver.run.clone();
        assert!(step(&mut driver.run, &event).is_err(), "{event:?}");
        assert_eq!(driver.run, before);
    }
}

#[test]
fn what_vanished_goes_in_reverse_order_after_its_users() {
    let name = |n: &str| ResourceName::new(n).expect("name");
    let deployed = |n: &str, on: &[&str]| Deployed {
        name: name(n),
        depends_on: on.iter().map(|d| name(d)).collect(),
        policy: Policy::default(),
    };
    let was = [
        deployed("db", &[]),
        deployed("cache", &["db"]),
        deployed("app", &["db", "cache"]),
    ];
    let plan = RunPlan::destroy(&was);
    let order: Vec<_> = plan
        .steps
        .iter()
        .map(|s| (s.name.to_string(), s.after.clone()))
        .collect();
    assert_eq!(
        order,
        [
            ("app".into(), vec![]),
            ("cache".into(), vec![0]),
            ("db".into(), vec![0, 1])
        ]
    );
    for step in &plan.steps {
        assert_eq!(step.kind, StepKind::Destroy);
    }
}
