//! Journals, and the story that each tells.

use std::fmt::Write as _;
use std::sync::Arc;

use expect_test::{Expect, expect};
use nestor_core::execution::{Event, Failure, Jitter, Run, RunPlan, RunStep, StepKind};
use nestor_core::ids::{ResourceName, Timestamp};
use nestor_core::spec::OnFailure;

use super::fold::{AttemptOutcome, story};
use crate::records::JournalEntry;

/// `database`, then `app`.
fn plan(on_failure: OnFailure, retries: u32) -> RunPlan {
    let step = |name: &str, after: Vec<u32>, place| RunStep {
        name: ResourceName::new(name).unwrap(),
        kind: StepKind::Apply,
        place: Some(place),
        after,
        on_failure,
        retries,
        timeout_ms: 60_000,
    };
    RunPlan {
        steps: vec![step("database", vec![], 0), step("app", vec![0], 1)],
    }
}

/// A second passes with each entry.
fn told(plan: RunPlan, events: Vec<Event>) -> String {
    let journal: Vec<JournalEntry> = (0u64..)
        .zip(events)
        .map(|(second, event)| JournalEntry {
            at: Timestamp(second * 1_000),
            events: vec![event],
        })
        .collect();
    let story = story(Run::new(Arc::new(plan)), &journal).unwrap();
    let ms = |at: Option<Timestamp>| at.map_or("?".to_owned(), |at| at.0.to_string());
    let mut text = format!(
        "{} {}..{}\n",
        story.outcome(),
        ms(story.started),
        ms(story.ended)
    );
    for (at, what) in &story.marks {
        let _ = writeln!(text, "  {} {what}", ms(Some(*at)));
    }
    for (step, planned) in (0u32..).zip(&story.run.plan().steps) {
        let told = &story.steps[step as usize];
        let _ = writeln!(
            text,
            "{}: {} {}..{}",
            planned.name,
            story.action(step, false),
            ms(told.started),
            ms(told.ended)
        );
        for a in &told.attempts {
            let direction = if a.undo { "undo" } else { "do" };
            let outcome = match a.outcome {
                Some(AttemptOutcome::Succeeded) => "succeeded",
                Some(AttemptOutcome::Failed) => "failed",
                None => "in_progress",
            };
            let reason = a.reason.as_deref().unwrap_or("");
            let _ = writeln!(
                text,
                "  {direction} {} {}..{} {outcome} {reason}",
                a.number,
                ms(Some(a.started)),
                ms(a.ended)
            );
        }
        for w in &told.waits {
            let _ = writeln!(
                text,
                "  waited {}..{}, {} looks",
                ms(Some(w.since)),
                ms(w.until),
                w.looks
            );
        }
    }
    text
}

fn started(step: u32, at: u64) -> Event {
    Event::Started {
        step,
        at: Timestamp(at),
    }
}

fn failed(step: u32, failure: Failure, reason: &str, at: u64) -> Event {
    Event::CallFailed {
        step,
        failure,
        reason: reason.into(),
        at: Timestamp(at),
        jitter: Jitter(0),
    }
}

fn pended(step: u32, at: u64) -> Event {
    Event::Pended {
        step,
        poll_at: Timestamp(at + 500),
        at: Timestamp(at),
    }
}

const BLIP: Failure = Failure::Transient {
    retry_after_ms: None,
};

fn check(on_failure: OnFailure, retries: u32, events: Vec<Event>, expected: Expect) {
    expected.assert_eq(&told(plan(on_failure, retries), events));
}

#[test]
fn all_goes_well() {
    check(
        OnFailure::Rollback,
        3,
        vec![
            Event::Began,
            started(0, 1_000),
            Event::Succeeded { step: 0 },
            Event::Unchanged { step: 1 },
        ],
        expect![[r#"
            completed 0..3000
            database: created 1000..2000
              do 1 1000..2000 succeeded 
            app: unchanged 3000..3000
        "#]],
    );
}

#[test]
fn attempts_and_waits() {
    check(
        OnFailure::Rollback,
        3,
        vec![
            Event::Began,
            started(0, 1_000),
            failed(0, BLIP, "a blip", 2_000),
            started(0, 3_000),
            pended(0, 4_000),
            pended(0, 5_000),
            failed(0, BLIP, "cannot look", 6_000),
            pended(0, 7_000),
            Event::Succeeded { step: 0 },
            started(1, 9_000),
        ],
        expect![[r#"
            in_progress 0..?
            database: created 1000..8000
              do 1 1000..2000 failed a blip
              do 2 3000..8000 succeeded 
              waited 4000..8000, 2 looks
            app: creating 9000..?
              do 1 9000..? in_progress 
        "#]],
    );
}

#[test]
fn what_fails_is_put_back() {
    check(
        OnFailure::Rollback,
        0,
        vec![
            Event::Began,
            started(0, 1_000),
            Event::Succeeded { step: 0 },
            started(1, 3_000),
            failed(1, Failure::Permanent, "no", 4_000),
            started(1, 5_000),
            Event::Succeeded { step: 1 },
            started(0, 7_000),
            Event::Succeeded { step: 0 },
        ],
        expect![[r#"
            rolled_back 0..8000
            database: undone 1000..8000
              do 1 1000..2000 succeeded 
              undo 1 7000..8000 succeeded 
            app: undone 3000..6000
              do 1 3000..4000 failed no
              undo 1 5000..6000 succeeded 
        "#]],
    );
}

#[test]
fn halted_and_retried() {
    let halted = vec![
        Event::Began,
        started(0, 1_000),
        failed(0, Failure::Permanent, "no", 2_000),
    ];
    let mut retried = halted.clone();
    retried.extend([Event::RetryRequested, started(0, 4_000)]);
    check(
        OnFailure::Halt,
        0,
        halted,
        expect![[r#"
            failed 0..2000
            database: failed 1000..2000
              do 1 1000..2000 failed no
            app: skipped ?..?
        "#]],
    );
    check(
        OnFailure::Halt,
        0,
        retried,
        expect![[r#"
            in_progress 0..?
              3000 retry requested
            database: creating 1000..?
              do 1 1000..2000 failed no
              do 1 4000..? in_progress 
            app: waiting ?..?
        "#]],
    );
}

#[test]
fn an_attempt_that_could_not_be_made_yet_is_one_attempt() {
    let not_now = Failure::NotNow {
        retry_after_ms: None,
    };
    let events = vec![
        Event::Began,
        started(0, 1_000),
        failed(0, not_now, "busy", 1_000),
        started(0, 2_000),
        failed(0, not_now, "busy", 2_000),
        started(0, 5_000),
        failed(0, BLIP, "no", 6_000),
        started(0, 7_000),
        Event::Succeeded { step: 0 },
        Event::Unchanged { step: 1 },
    ];
    check(
        OnFailure::Rollback,
        3,
        events,
        expect![[r#"
        completed 0..9000
        database: created 1000..8000
          do 1 1000..6000 failed no
          do 2 7000..8000 succeeded 
        app: unchanged 9000..9000
    "#]],
    );
}
