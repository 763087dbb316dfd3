//! What the events of a run look like to people.

use serde_json::json;

use nestor_core::execution::{Direction, Event, Run, StepKind, StepState};

use crate::driver::Driver;
use crate::records::RunRecord;
use crate::surroundings::rfc3339;
use crate::view::EventView;

/// Whether an event can make the machine skip steps.
pub(crate) fn may_skip(event: &Event) -> bool {
    match event {
        Event::CallFailed { .. } | Event::Pended { .. } | Event::CancelRequested => true,
        Event::Began
        | Event::Started { .. }
        | Event::Unchanged { .. }
        | Event::Waited { .. }
        | Event::Succeeded { .. }
        | Event::RetryRequested
        | Event::Recovered => false,
    }
}

/// Steps that are skipped now.
pub(crate) fn skipped(run: &Run) -> Vec<bool> {
    run.steps()
        .iter()
        .map(|s| matches!(s.state, StepState::Skipped { .. }))
        .collect()
}

/// The public events that follow from an event of the machine; `run` is the
/// run after it.
pub(crate) fn tell(
    driver: &mut Driver,
    record: &RunRecord,
    run: &Run,
    event: &Event,
    skipped_before: Option<Vec<bool>>,
) -> Vec<EventView> {
    let revision = record.revision;
    let mut told = Vec::new();
    let mut say =
        |driver: &mut Driver, kind: &str, step: u32, message: String, data: serde_json::Value| {
            let name = record.plan.steps[step as usize].name.clone();
            let mut view = driver.event(kind, revision, Some(&name), message);
            view.data = data;
            told.push(view);
        };
    match event {
        Event::Began | Event::Waited { .. } => {}
        Event::Started { step, .. } => {
            let state = &run.steps()[*step as usize];
            let what = verb(run, *step);
            let message = match state.attempts {
                1 => format!("{what} began"),
                n => format!("{what}: attempt {n}"),
            };
            say(
                driver,
                "started",
                *step,
                message,
                json!({ "attempt": state.attempts }),
            );
        }
        Event::Unchanged { step } => {
            say(
                driver,
                "unchanged",
                *step,
                "already as wanted; nothing to do".into(),
                json!({}),
            );
        }
        Event::Succeeded { step } => {
            let direction = run.steps()[*step as usize].direction;
            let (kind, message) = match (direction, record.plan.steps[*step as usize].kind) {
                (Direction::Forward, StepKind::Apply) => ("ready", "ready"),
                (Direction::Forward, StepKind::Destroy) => ("deleted", "destroyed"),
                (Direction::Undo, _) => ("rolled_back", "put back"),
            };
            say(driver, kind, *step, message.into(), json!({}));
        }
        Event::Pended { step, .. } | Event::CallFailed { step, .. } => {
            let state = &run.steps()[*step as usize];
            match (&state.state, event) {
                (StepState::Failed { reason }, _) => {
                    say(
                        driver,
                        "failed",
                        *step,
                        reason.clone(),
                        json!({ "attempt": state.attempts }),
                    );
                }
                (StepState::Pending { poll_at }, Event::Pended { .. }) => {
                    let data = json!({ "nextLookAt": rfc3339(*poll_at) });
                    say(driver, "pending", *step, "under way outside".into(), data);
                }
                (
                    StepState::Due {
                        not_before: Some(at),
                        ..
                    }
                    | StepState::Pending { poll_at: at }
                    | StepState::Unsettled {
                        not_before: Some(at),
                    },
                    Event::CallFailed { reason, .. },
                ) => {
                    let data = json!({ "attempt": state.attempts, "nextAttemptAt": rfc3339(*at) });
                    say(driver, "retrying", *step, reason.clone(), data);
                }
                // Turned around or due at once: the next event says so.
                (_, _) => {
                    if let Event::CallFailed { reason, .. } = event {
                        say(
                            driver,
                            "failed",
                            *step,
                            reason.clone(),
                            json!({ "attempt": state.attempts }),
                        );
                    }
                }
            }
        }
        Event::CancelRequested => {
            told.push(driver.event("cancelling", revision, None, "stop requested".into()))
        }
        Event::RetryRequested => {
            told.push(driver.event("retry", revision, None, "retry requested".into()))
        }
        Event::Recovered => {
            told.push(driver.event(
                "recovered",
                revision,
                None,
                "the host restarted and took the run up again".into(),
            ));
        }
    }
    if let Some(before) = skipped_before {
        for (step, run_step) in (0u32..).zip(run.steps()) {
            if before[step as usize] {
                continue;
            }
            if let StepState::Skipped { because } = run_step.state {
                let message = match because {
                    Some(failed) => format!(
                        "not begun, because {} failed",
                        record.plan.steps[failed as usize].name
                    ),
                    None => "not begun, because the run was stopped".into(),
                };
                let name = record.plan.steps[step as usize].name.clone();
                told.push(driver.event("skipped", revision, Some(&name), message));
            }
        }
    }
    told
}

fn verb(run: &Run, step: u32) -> &'static str {
    match (
        run.steps()[step as usize].direction,
        run.plan().steps[step as usize].kind,
    ) {
        (Direction::Forward, StepKind::Apply) => "apply",
        (Direction::Forward, StepKind::Destroy) => "destroy",
        (Direction::Undo, _) => "undo",
    }
}
