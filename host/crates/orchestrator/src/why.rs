//! Why a resource is where it is, when neither its engine nor a failure says so.

use nestor_core::execution::{Direction, Mode, Outcome, Run, StepKind, StepState, StopReason};

/// In a sentence for people; none where the status says it all.
pub(crate) fn why(run: &Run, step: u32) -> Option<String> {
    let is = &run.steps()[step as usize];
    let kind = run.plan().steps[step as usize].kind;
    let others = || {
        let names = run.blocked_by(step);
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        names.join(", ")
    };
    let doing = match (is.direction, kind) {
        (Direction::Undo, _) => "putting it back",
        (Direction::Forward, StepKind::Apply) => "applying it",
        (Direction::Forward, StepKind::Destroy) => "destroying it",
    };
    match &is.state {
        StepState::Waiting { .. } => Some(match (run.mode(), others()) {
            (Mode::Fresh, _) => "the run has not begun".into(),
            (_, others) if others.is_empty() => "begins next".into(),
            (_, others) => format!("waits for {others}"),
        }),
        StepState::Due {
            reason: Some(reason),
            ..
        } => Some(reason.clone()),
        StepState::Due { reason: None, .. } => Some("begins as soon as there is room".into()),
        StepState::Running => Some(format!("{doing}, attempt {}", is.attempts.max(1))),
        StepState::Pending { .. } => Some(format!("{doing} goes on outside")),
        StepState::Unsettled { .. } => Some(format!(
            "the host restarted while {doing}; what became of it is being looked up"
        )),
        StepState::Failed { reason } => Some(reason.clone()),
        StepState::Skipped { because: Some(_) } => {
            Some(format!("not begun, because {} failed", others()))
        }
        StepState::Skipped { because: None } => Some("the run was stopped".into()),
        StepState::Done { .. } => match (is.direction, run.mode()) {
            (Direction::Forward, _) => None,
            (
                Direction::Undo,
                Mode::Unwinding(StopReason::Cancel) | Mode::Ended(Outcome::Cancelled),
            ) => Some("put back, because the run was stopped on request".into()),
            (Direction::Undo, _) => Some(match run.first_failure() {
                Some((name, reason)) => format!("put back, because {name} failed: {reason}"),
                None => "put back, because the run was stopped on request".into(),
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nestor_core::execution::{Event, Failure, Jitter, ResourceState, RunPlan, RunStep, replay};
    use nestor_core::ids::{ResourceName, Timestamp};
    use nestor_core::spec::OnFailure;

    use super::*;

    /// `db`, then `app`; the events, and what the step is and says after them.
    fn run(kind: StepKind, on_failure: OnFailure, events: &[Event]) -> Run {
        let step = |name: &str, after: Vec<u32>| RunStep {
            name: ResourceName::new(name).unwrap(),
            kind,
            place: (kind == StepKind::Apply).then_some(0),
            after,
            on_failure,
            retries: 2,
            timeout_ms: 60_000,
        };
        let plan = RunPlan {
            steps: vec![step("db", vec![]), step("app", vec![0])],
        };
        let mut all = vec![Event::Began];
        all.extend(events.iter().cloned());
        replay(Run::new(Arc::new(plan)), &all).unwrap()
    }

    fn started(step: u32) -> Event {
        Event::Started {
            step,
            at: Timestamp(1),
        }
    }

    fn failed(step: u32, failure: Failure) -> Event {
        Event::CallFailed {
            step,
            failure,
            reason: "no quota".into(),
            at: Timestamp(2),
            jitter: Jitter(0),
        }
    }

    #[test]
    fn every_state_says_why() {
        use OnFailure::{Halt, Rollback};
        use ResourceState as S;
        use StepKind::{Apply, Destroy};
        let done = |step| Event::Succeeded { step };
        let pended = Event::Pended {
            step: 0,
            poll_at: Timestamp(500),
            at: Timestamp(2),
        };
        let blip = Failure::Transient {
            retry_after_ms: None,
        };
        let no = Failure::Permanent;
        let one = vec![started(0), done(0), started(1)];
        let turned = [one.clone(), vec![failed(1, no)]].concat();
        let undone = [turned.clone(), vec![started(1), done(1)]].concat();
        let back = [undone.clone(), vec![started(0), done(0)]].concat();
        let stuck = [turned.clone(), vec![started(1), failed(1, no)]].concat();
        let lost = vec![
            started(0),
            Event::Recovered,
            Event::CancelRequested,
            failed(0, blip),
        ];
        let quota = "no quota";
        type Row<'a> = (StepKind, OnFailure, Vec<Event>, u32, S, Option<&'a str>);
        let table: Vec<Row<'_>> = vec![
            (
                Apply,
                Halt,
                vec![],
                0,
                S::Pending,
                Some("as soon as there is room"),
            ),
            (Apply, Halt, vec![], 1, S::Blocked, Some("waits for db")),
            (
                Apply,
                Halt,
                vec![started(0)],
                0,
                S::InProgress,
                Some("attempt 1"),
            ),
            (
                Apply,
                Halt,
                vec![started(0), pended],
                0,
                S::InProgress,
                Some("goes on outside"),
            ),
            (
                Apply,
                Halt,
                vec![started(0), failed(0, blip)],
                0,
                S::InProgress,
                Some(quota),
            ),
            (
                Apply,
                Halt,
                vec![started(0), Event::Recovered],
                0,
                S::InProgress,
                Some("restarted"),
            ),
            (Apply, Halt, vec![started(0), done(0)], 0, S::Ready, None),
            (
                Apply,
                Halt,
                vec![started(0), failed(0, no)],
                0,
                S::Failed,
                Some(quota),
            ),
            (
                Apply,
                Halt,
                vec![started(0), failed(0, no)],
                1,
                S::Skipped,
                Some(""),
            ),
            (
                Apply,
                Rollback,
                turned.clone(),
                0,
                S::RollingBack,
                Some("waits for app"),
            ),
            (
                Apply,
                Rollback,
                undone,
                1,
                S::RolledBack,
                Some("app failed: no quota"),
            ),
            (
                Apply,
                Rollback,
                back,
                0,
                S::RolledBack,
                Some("app failed: no quota"),
            ),
            (Apply, Rollback, stuck, 1, S::Stuck, Some(quota)),
            (
                Apply,
                Rollback,
                [lost, vec![started(0), done(0)]].concat(),
                0,
                S::RolledBack,
                Some("the run was stopped on request"),
            ),
            (
                Destroy,
                Halt,
                vec![started(0)],
                0,
                S::Deleting,
                Some("destroying it"),
            ),
            (
                Destroy,
                Halt,
                vec![started(0), done(0)],
                0,
                S::Deleted,
                None,
            ),
        ];
        let mut seen = Vec::new();
        for (kind, policy, events, step, state, says) in table {
            let run = run(kind, policy, &events);
            assert_eq!(run.resource_state(step), state, "{events:?}");
            let why = why(&run, step);
            assert_eq!(why.is_some(), says.is_some(), "{state:?}: {why:?}");
            let why = why.unwrap_or_default();
            assert!(why.contains(says.unwrap_or_default()), "{state:?}: {why:?}");
            seen.push(state);
        }
        // No wildcard: a new state needs a row above.
        for state in [
            S::Pending,
            S::Blocked,
            S::InProgress,
            S::Ready,
            S::Failed,
            S::Skipped,
            S::RollingBack,
            S::RolledBack,
            S::Deleting,
            S::Deleted,
            S::Stuck,
        ] {
            match state {
                S::Pending
                | S::Blocked
                | S::InProgress
                | S::Ready
                | S::Failed
                | S::Skipped
                | S::RollingBack
                | S::RolledBack
                | S::Deleting
                | S::Deleted
                | S::Stuck => {
                    assert!(seen.contains(&state), "{state:?} has no row");
                }
            }
        }
    }
}
