//! A run's journal, read as a story: what was tried when, and what came of it.

use nestor_core::execution::{
    Direction, Event, Failure, Illegal, Outcome, Run, StepKind, StepState, step,
};
use nestor_core::ids::Timestamp;

use crate::records::JournalEntry;

/// What the journal says of a run.
#[derive(Debug)]
pub(super) struct Story {
    /// The run after all of it.
    pub(super) run: Run,
    pub(super) started: Option<Timestamp>,
    /// None while it goes on.
    pub(super) ended: Option<Timestamp>,
    /// In the plan's order.
    pub(super) steps: Vec<StepStory>,
    /// What happened to the run as a whole.
    pub(super) marks: Vec<(Timestamp, &'static str)>,
}

/// What the journal says of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StepStory {
    pub(super) attempts: Vec<Attempt>,
    pub(super) waits: Vec<Wait>,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
}

/// One attempt at an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    /// Counts from 1 in its direction.
    pub(super) number: u32,
    pub(super) undo: bool,
    pub(super) started: Timestamp,
    pub(super) ended: Option<Timestamp>,
    /// None while it goes on.
    pub(super) outcome: Option<AttemptOutcome>,
    pub(super) reason: Option<String>,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptOutcome {
    Succeeded,
    Failed,
}

/// While an operation went on outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) since: Timestamp,
    pub(super) until: Option<Timestamp>,
    /// Looks that found it still going on.
    pub(super) looks: u32,
}

/// Reads a journal through the machine that wrote it.
pub(super) fn story(fresh: Run, journal: &[JournalEntry]) -> Result<Story, Illegal> {
    let count = fresh.steps().len();
    let mut story = Story {
        run: fresh,
        started: None,
        ended: None,
        steps: vec![StepStory::default(); count],
        marks: Vec::new(),
    };
    for entry in journal {
        for event in &entry.events {
            step(&mut story.run, event)?;
            story.take(event, entry.at);
        }
    }
    Ok(story)
}

impl Story {
    /// An event, after the machine took it; `at` is when it was written.
    fn take(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Began => self.started = Some(at),
            Event::Waited { .. } => {}
            Event::Started { step, at } => {
                let run = &self.run.steps()[*step as usize];
                let attempt = Attempt {
                    number: run.attempts,
                    undo: run.direction == Direction::Undo,
                    started: *at,
                    ended: None,
                    outcome: None,
                    reason: None,
                };
                self.started = self.started.or(Some(*at));
                let told = &mut self.steps[*step as usize];
                told.started = told.started.or(Some(*at));
                told.ended = None;
                // One that could not be made yet is made now.
                let same = |a: &Attempt| {
                    a.outcome.is_none() && (a.number, a.undo) == (attempt.number, attempt.undo)
                };
                if !told.attempts.last().is_some_and(same) {
                    told.attempts.push(attempt);
                }
            }
            Event::Unchanged { step } => {
                let told = &mut self.steps[*step as usize];
                told.started = told.started.or(Some(at));
                told.ended = Some(at);
            }
            Event::Succeeded { step } => {
                let told = &mut self.steps[*step as usize];
                told.close(AttemptOutcome::Succeeded, None, at);
                told.ended = Some(at);
            }
            Event::Pended { step, at, .. } => {
                let failed = self.failure(*step);
                let told = &mut self.steps[*step as usize];
                match told.waits.last_mut().filter(|wait| wait.until.is_none()) {
                    Some(wait) => wait.looks += 1,
                    None => told.waits.push(Wait {
                        since: *at,
                        until: None,
                        looks: 0,
                    }),
                }
                // It waited for too long.
                if let Some(reason) = failed {
                    told.close(AttemptOutcome::Failed, Some(reason), *at);
                    told.ended = Some(*at);
                }
            }
            Event::CallFailed {
                step,
                failure,
                reason,
                at,
                ..
            } => {
                let goes_on = matches!(
                    self.run.steps()[*step as usize].state,
                    StepState::Pending { .. } | StepState::Unsettled { .. }
                );
                let ended = self.failure(*step).is_some();
                let undo = self.run.steps()[*step as usize].direction == Direction::Undo;
                let told = &mut self.steps[*step as usize];
                let not_now = matches!(failure, Failure::NotNow { .. }) && !ended;
                if goes_on || not_now {
                    // Looking failed, or nobody was called: the attempt goes on.
                    if let Some(attempt) = told.attempts.last_mut() {
                        attempt.reason = Some(reason.clone());
                    }
                    return;
                }
                if told.attempts.last().is_none_or(|a| a.outcome.is_some()) {
                    // Failed before there was anything to call.
                    told.attempts.push(Attempt {
                        number: 0,
                        undo,
                        started: *at,
                        ended: None,
                        outcome: None,
                        reason: None,
                    });
                    told.started = told.started.or(Some(*at));
                }
                told.close(AttemptOutcome::Failed, Some(reason.clone()), *at);
                if ended {
                    told.ended = Some(*at);
                }
            }
            Event::CancelRequested => self.marks.push((at, "cancel requested")),
            Event::RetryRequested => self.marks.push((at, "retry requested")),
            Event::Recovered => self.marks.push((at, "taken up again after a restart")),
        }
        self.ended = self.run.outcome().map(|_| at);
    }

    /// Why a step failed for good.
    fn failure(&self, step: u32) -> Option<String> {
        match &self.run.steps()[step as usize].state {
            StepState::Failed { reason } => Some(reason.clone()),
            StepState::Waiting { .. }
            | StepState::Due { .. }
            | StepState::Running
            | StepState::Pending { .. }
            | StepState::Unsettled { .. }
            | StepState::Done { .. }
            | StepState::Skipped { .. } => None,
        }
    }

    /// What the run does, or did, to a resource; `existed` says whether it was
    /// deployed before.
    pub(super) fn action(&self, step: u32, existed: bool) -> &'static str {
        let run = &self.run.steps()[step as usize];
        let kind = self.run.plan().steps[step as usize].kind;
        match (run.direction, &run.state, kind) {
            (_, StepState::Skipped { .. }, _) => "skipped",
            (_, StepState::Waiting { .. }, _) if run.direction == Direction::Forward => "waiting",
            (Direction::Forward, StepState::Due { .. }, _) if run.attempts == 0 => "waiting",
            (Direction::Forward, StepState::Done { changed: false }, _) => "unchanged",
            (Direction::Forward, StepState::Done { .. }, StepKind::Destroy) => "deleted",
            (Direction::Forward, StepState::Done { .. }, StepKind::Apply) if existed => "updated",
            (Direction::Forward, StepState::Done { .. }, StepKind::Apply) => "created",
            (Direction::Forward, StepState::Failed { .. }, _) => "failed",
            (Direction::Forward, _, StepKind::Destroy) => "deleting",
            (Direction::Forward, _, StepKind::Apply) if existed => "updating",
            (Direction::Forward, _, StepKind::Apply) => "creating",
            (Direction::Undo, StepState::Done { .. }, _) => "undone",
            (Direction::Undo, StepState::Failed { .. }, _) => "undo_failed",
            (Direction::Undo, _, _) => "undoing",
        }
    }

    /// In the API's words.
    pub(super) fn outcome(&self) -> &'static str {
        self.run.outcome().map_or("in_progress", Outcome::as_str)
    }
}

impl StepStory {
    fn close(&mut self, outcome: AttemptOutcome, reason: Option<String>, at: Timestamp) {
        if let Some(attempt) = self.attempts.last_mut().filter(|a| a.outcome.is_none()) {
            attempt.outcome = Some(outcome);
            attempt.ended = Some(at);
            if reason.is_some() || outcome == AttemptOutcome::Succeeded {
                attempt.reason = reason;
            }
        }
        if let Some(wait) = self.waits.last_mut().filter(|w| w.until.is_none()) {
            wait.until = Some(at);
        }
    }
}
