//! The one match over event and state.

use super::backoff::backoff_ms;
use super::event::{Call, Effect, Event, Failure, Illegal};
use super::mutation::{Mutation, active};
use super::state::{Direction, Mode, Outcome, Run, StepState, StopReason};
use crate::ids::Timestamp;
use crate::spec::OnFailure;

/// Moves a run by one event.
///
/// # Errors
/// [`Illegal`] when the event cannot happen in that state; the run is then
/// unchanged.
pub fn step(run: &mut Run, event: &Event) -> Result<Vec<Effect>, Illegal> {
    let mut effects = Vec::new();
    match event {
        Event::Began => match run.mode {
            Mode::Fresh => run.begin(&mut effects),
            Mode::Forward | Mode::Stopping(_) | Mode::Unwinding(_) | Mode::Ended(_) => {
                return Err(run.illegal(event));
            }
        },
        Event::Started { step, at } => run.started(*step, *at, event, &mut effects)?,
        Event::Unchanged { step } => run.unchanged(*step, event, &mut effects)?,
        Event::Waited { step, ms } => run.waited(*step, *ms, event)?,
        Event::Pended { step, poll_at, at } => {
            run.pended(*step, *poll_at, *at, event, &mut effects)?
        }
        Event::Succeeded { step } => run.succeeded(*step, event, &mut effects)?,
        Event::CallFailed {
            step,
            failure,
            reason,
            at,
            jitter,
        } => {
            let again = |attempts, wish| at.plus_millis(backoff_ms(attempts, *jitter, wish));
            run.call_failed(*step, *failure, reason, *at, again, event, &mut effects)?;
        }
        Event::CancelRequested if active(Mutation::CancelledStartsNothing) => {}
        Event::CancelRequested => match run.mode {
            Mode::Fresh | Mode::Forward => run.stop(StopReason::Cancel, &mut effects),
            // What stopped for a failure is on its way out already; a halted
            // run would stay, so it is unwound instead.
            Mode::Stopping(StopReason::Halt) => run.mode = Mode::Stopping(StopReason::Cancel),
            Mode::Ended(Outcome::Failed) => run.unwind(StopReason::Cancel, &mut effects),
            Mode::Stopping(StopReason::Cancel | StopReason::Rollback)
            | Mode::Unwinding(_)
            | Mode::Ended(
                Outcome::Completed | Outcome::RolledBack | Outcome::Cancelled | Outcome::Stuck,
            ) => {}
        },
        Event::RetryRequested => match run.mode {
            Mode::Ended(Outcome::Failed) => run.retry_forward(&mut effects),
            Mode::Ended(Outcome::Stuck) => run.retry_unwinding(&mut effects),
            Mode::Fresh
            | Mode::Forward
            | Mode::Stopping(_)
            | Mode::Unwinding(_)
            | Mode::Ended(Outcome::Completed | Outcome::RolledBack | Outcome::Cancelled) => {
                return Err(run.illegal(event));
            }
        },
        Event::Recovered => run.recovered(&mut effects),
    }
    Ok(effects)
}

/// Folds a journal. The effects of all but the last events were carried out
/// before the crash; [`Event::Recovered`] after it asks for what is still to do.
///
/// # Errors
/// [`Illegal`] for a journal that no run can have written.
pub fn replay<'a>(
    mut run: Run,
    journal: impl IntoIterator<Item = &'a Event>,
) -> Result<Run, Illegal> {
    for event in journal {
        step(&mut run, event)?;
    }
    Ok(run)
}

impl Run {
    fn illegal(&self, event: &Event) -> Illegal {
        Illegal {
            event: format!("{event:?}"),
            step: None,
            state: format!("{:?}", self.mode),
        }
    }

    fn illegal_step(&self, step: u32, event: &Event) -> Illegal {
        let state = self
            .steps
            .get(step as usize)
            .map_or("no such step", |s| s.state.name());
        Illegal {
            event: format!("{event:?}"),
            step: Some(step),
            state: format!("{state} of a run {:?}", self.mode),
        }
    }

    fn check(&self, step: u32, event: &Event) -> Result<(), Illegal> {
        if (step as usize) < self.steps.len() {
            Ok(())
        } else {
            Err(self.illegal_step(step, event))
        }
    }

    fn begin(&mut self, effects: &mut Vec<Effect>) {
        self.mode = Mode::Forward;
        if self.open == 0 {
            return self.end(Outcome::Completed, effects);
        }
        for step in self.places() {
            if self.steps[step as usize].state == (StepState::Waiting { missing: 0 }) {
                self.due(step, effects);
            }
        }
    }

    fn started(
        &mut self,
        step: u32,
        at: Timestamp,
        event: &Event,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Illegal> {
        self.check(step, event)?;
        let moving = self.moving(self.steps[step as usize].direction);
        let run = &mut self.steps[step as usize];
        match run.state {
            StepState::Due { .. } if moving => {
                run.state = StepState::Running;
                run.attempts += 1;
                run.began_at.get_or_insert(at);
                run.touched = true;
                let (direction, attempt) = (run.direction, run.attempts);
                effects.push(Effect::Call {
                    step,
                    direction,
                    call: Call::Act,
                    attempt,
                });
                Ok(())
            }
            StepState::Due { .. }
            | StepState::Waiting { .. }
            | StepState::Running
            | StepState::Pending { .. }
            | StepState::Unsettled { .. }
            | StepState::Done { .. }
            | StepState::Failed { .. }
            | StepState::Skipped { .. } => Err(self.illegal_step(step, event)),
        }
    }

    fn unchanged(
        &mut self,
        step: u32,
        event: &Event,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Illegal> {
        self.check(step, event)?;
        match self.steps[step as usize].state {
            StepState::Due { .. } => {
                self.done(step, false, effects);
                Ok(())
            }
            StepState::Waiting { .. }
            | StepState::Running
            | StepState::Pending { .. }
            | StepState::Unsettled { .. }
            | StepState::Done { .. }
            | StepState::Failed { .. }
            | StepState::Skipped { .. } => Err(self.illegal_step(step, event)),
        }
    }

    fn waited(&mut self, step: u32, ms: u64, event: &Event) -> Result<(), Illegal> {
        self.check(step, event)?;
        let run = &mut self.steps[step as usize];
        match run.state {
            StepState::Running | StepState::Pending { .. } | StepState::Unsettled { .. } => {
                run.began_at = run.began_at.map(|at| at.plus_millis(ms));
                Ok(())
            }
            StepState::Due { .. }
            | StepState::Waiting { .. }
            | StepState::Done { .. }
            | StepState::Failed { .. }
            | StepState::Skipped { .. } => Err(self.illegal_step(step, event)),
        }
    }

    fn pended(
        &mut self,
        step: u32,
        poll_at: Timestamp,
        at: Timestamp,
        event: &Event,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Illegal> {
        self.check(step, event)?;
        let deadline = self.deadline(step);
        let giving_up = matches!(self.mode, Mode::Stopping(_));
        let run = &mut self.steps[step as usize];
        match run.state {
            StepState::Running | StepState::Pending { .. } | StepState::Unsettled { .. } => {
                if at >= deadline {
                    let reason = self.timed_out(step, "it was still pending");
                    self.failed(step, reason, effects);
                } else if giving_up {
                    // Nobody waits for it any more; unwinding, or a retry, deals with it.
                    self.failed(
                        step,
                        "the run was stopped while the operation was pending".into(),
                        effects,
                    );
                } else {
                    let poll_at = poll_at.min(deadline);
                    run.misses = 0;
                    run.state = StepState::Pending { poll_at };
                    effects.push(Effect::WakeAt { step, at: poll_at });
                }
                Ok(())
            }
            StepState::Due { .. }
            | StepState::Waiting { .. }
            | StepState::Done { .. }
            | StepState::Failed { .. }
            | StepState::Skipped { .. } => Err(self.illegal_step(step, event)),
        }
    }

    fn succeeded(
        &mut self,
        step: u32,
        event: &Event,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Illegal> {
        self.check(step, event)?;
        match self.steps[step as usize].state {
            StepState::Running | StepState::Pending { .. } | StepState::Unsettled { .. } => {
                self.done(step, true, effects);
                Ok(())
            }
            StepState::Due { .. }
            | StepState::Waiting { .. }
            | StepState::Done { .. }
            | StepState::Failed { .. }
            | StepState::Skipped { .. } => Err(self.illegal_step(step, event)),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the event's own fields")]
    fn call_failed(
        &mut self,
        step: u32,
        failure: Failure,
        reason: &str,
        at: Timestamp,
        again: impl Fn(u32, Option<u64>) -> Timestamp,
        event: &Event,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Illegal> {
        self.check(step, event)?;
        let retries = self.plan.steps[step as usize].retries;
        let stopping = matches!(self.mode, Mode::Stopping(_));
        let run = &mut self.steps[step as usize];
        if let StepState::Due { .. } = run.state {
            run.began_at.get_or_insert(at);
        }
        let deadline = self.deadline(step);
        let run = &mut self.steps[step as usize];
        let in_time = |next: Timestamp| Some(next).filter(|next| *next < deadline && !stopping);
        // What is no attempt has a count of its own: whom nobody can ask for
        // an hour is not asked twice a second.
        let after_miss = |wish| in_time(again(run.misses + 1, wish));
        match (&run.state, failure) {
            // Before the call: the shell could not even begin (no such engine,
            // a reference that does not resolve). It counts as an attempt.
            (StepState::Due { .. }, Failure::Transient { retry_after_ms })
                if run.attempts < retries =>
            {
                run.attempts += 1;
                let next = again(run.attempts, retry_after_ms);
                self.back_off(step, next, reason, effects);
            }
            (StepState::Running, Failure::Transient { retry_after_ms })
                if run.attempts <= retries =>
            {
                match in_time(again(run.attempts.max(1), retry_after_ms)) {
                    Some(next) => {
                        run.misses = 0;
                        self.back_off(step, next, reason, effects);
                    }
                    None => self.given_up(step, reason, effects),
                }
            }
            (StepState::Due { .. } | StepState::Running, Failure::NotNow { retry_after_ms }) => {
                let next = after_miss(retry_after_ms);
                if run.state == StepState::Running {
                    run.attempts = run.attempts.saturating_sub(1);
                }
                match next {
                    Some(next) => {
                        run.misses += 1;
                        self.back_off(step, next, reason, effects);
                    }
                    None => self.given_up(step, reason, effects),
                }
            }
            // Looking failed, not the operation: it does not use up attempts.
            (
                StepState::Pending { .. } | StepState::Unsettled { .. },
                Failure::Transient { retry_after_ms } | Failure::NotNow { retry_after_ms },
            ) => match after_miss(retry_after_ms) {
                Some(next) => {
                    run.misses += 1;
                    run.state = if matches!(run.state, StepState::Pending { .. }) {
                        StepState::Pending { poll_at: next }
                    } else {
                        StepState::Unsettled {
                            not_before: Some(next),
                        }
                    };
                    effects.push(Effect::WakeAt { step, at: next });
                }
                None => self.given_up(step, reason, effects),
            },
            // Under way once, and now said never to have been: begin again, as
            // a new attempt, so that it ends.
            (StepState::Pending { .. }, Failure::NeverHappened)
                if run.attempts <= retries && !stopping =>
            {
                self.due(step, effects);
            }
            // It never took effect: the same attempt begins anew.
            (StepState::Unsettled { .. }, Failure::NeverHappened) => {
                run.attempts = run.attempts.saturating_sub(1);
                if stopping {
                    self.failed(step, reason.into(), effects);
                } else {
                    self.due(step, effects);
                }
            }
            (
                StepState::Due { .. }
                | StepState::Running
                | StepState::Pending { .. }
                | StepState::Unsettled { .. },
                Failure::Transient { .. } | Failure::Permanent | Failure::NeverHappened,
            ) => self.failed(step, reason.into(), effects),
            (
                StepState::Waiting { .. }
                | StepState::Done { .. }
                | StepState::Failed { .. }
                | StepState::Skipped { .. },
                _,
            ) => return Err(self.illegal_step(step, event)),
        }
        Ok(())
    }

    fn recovered(&mut self, effects: &mut Vec<Effect>) {
        for step in self.places() {
            let run = &mut self.steps[step as usize];
            match run.state {
                StepState::Running if active(Mutation::EverythingEnds) => {}
                StepState::Running => {
                    run.state = StepState::Unsettled { not_before: None };
                    let (direction, attempt) = (run.direction, run.attempts);
                    effects.push(Effect::Call {
                        step,
                        direction,
                        call: Call::Observe,
                        attempt,
                    });
                }
                StepState::Unsettled { not_before: None } => {
                    let (direction, attempt) = (run.direction, run.attempts);
                    effects.push(Effect::Call {
                        step,
                        direction,
                        call: Call::Observe,
                        attempt,
                    });
                }
                StepState::Unsettled {
                    not_before: Some(at),
                }
                | StepState::Pending { poll_at: at } => {
                    effects.push(Effect::WakeAt { step, at });
                }
                StepState::Due {
                    not_before: Some(at),
                    ..
                } => effects.push(Effect::WakeAt { step, at }),
                StepState::Due {
                    not_before: None, ..
                } => effects.push(Effect::Dispatch { step }),
                StepState::Waiting { .. }
                | StepState::Done { .. }
                | StepState::Failed { .. }
                | StepState::Skipped { .. } => {}
            }
        }
    }

    fn places(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    /// Whether steps of that direction may begin.
    fn moving(&self, direction: Direction) -> bool {
        match (self.mode, direction) {
            (Mode::Forward, Direction::Forward) | (Mode::Unwinding(_), Direction::Undo) => true,
            (Mode::Fresh | Mode::Stopping(_) | Mode::Ended(_), _)
            | (Mode::Forward, Direction::Undo)
            | (Mode::Unwinding(_), Direction::Forward) => false,
        }
    }

    fn deadline(&self, step: u32) -> Timestamp {
        let timeout = self.plan.steps[step as usize].timeout_ms;
        self.steps[step as usize]
            .began_at
            .map_or(Timestamp(u64::MAX), |at| at.plus_millis(timeout))
    }

    /// No other try is made: the time is over, or the run is being stopped.
    fn given_up(&mut self, step: u32, reason: &str, effects: &mut Vec<Effect>) {
        let reason = match self.mode {
            Mode::Stopping(_) => reason.into(),
            Mode::Fresh | Mode::Forward | Mode::Unwinding(_) | Mode::Ended(_) => {
                self.timed_out(step, reason)
            }
        };
        self.failed(step, reason, effects);
    }

    fn timed_out(&self, step: u32, last: &str) -> String {
        let seconds = self.plan.steps[step as usize].timeout_ms / 1_000;
        format!(
            "the timeout of {seconds} s was reached (policy.timeout); the last thing known: {last}"
        )
    }

    fn due(&mut self, step: u32, effects: &mut Vec<Effect>) {
        self.steps[step as usize].misses = 0;
        self.steps[step as usize].state = StepState::Due {
            not_before: None,
            reason: None,
        };
        effects.push(Effect::Dispatch { step });
    }

    fn back_off(&mut self, step: u32, until: Timestamp, reason: &str, effects: &mut Vec<Effect>) {
        self.steps[step as usize].state = StepState::Due {
            not_before: Some(until),
            reason: Some(reason.into()),
        };
        effects.push(Effect::WakeAt { step, at: until });
    }

    /// A step ended well in its direction: those that waited for it move up.
    fn done(&mut self, step: u32, changed: bool, effects: &mut Vec<Effect>) {
        let direction = self.steps[step as usize].direction;
        self.steps[step as usize].state = StepState::Done { changed };
        self.open -= 1;
        let moving = self.moving(direction);
        for next in self.waiting_for(step, direction) {
            if let StepState::Waiting { missing } = &mut self.steps[next as usize].state {
                *missing -= 1;
                if active(Mutation::DependenciesFirst) && direction == Direction::Forward {
                    *missing = 0;
                }
                if *missing == 0 && moving {
                    self.due(next, effects);
                }
            }
        }
        self.settle(effects);
    }

    /// Steps that wait for this one in that direction.
    fn waiting_for(&self, step: u32, direction: Direction) -> Vec<u32> {
        match direction {
            Direction::Forward => self.dependents[step as usize].clone(),
            Direction::Undo => self.plan.steps[step as usize]
                .after
                .iter()
                .copied()
                .filter(|i| self.steps[*i as usize].direction == Direction::Undo)
                .collect(),
        }
    }

    /// A step failed for good: what needs it is skipped, and its policy says what then.
    fn failed(&mut self, step: u32, reason: String, effects: &mut Vec<Effect>) {
        let direction = self.steps[step as usize].direction;
        if direction == Direction::Forward && self.first_failure.is_none() {
            self.first_failure = Some((step, reason.clone()));
        }
        self.steps[step as usize].state = StepState::Failed { reason };
        self.open -= 1;
        let mut blocked = self.waiting_for(step, direction);
        while let Some(next) = blocked.pop() {
            if matches!(self.steps[next as usize].state, StepState::Waiting { .. }) {
                self.steps[next as usize].state = StepState::Skipped {
                    because: Some(step),
                };
                self.open -= 1;
                blocked.extend(self.waiting_for(next, direction));
            }
        }
        match (self.mode, self.plan.steps[step as usize].on_failure) {
            (Mode::Forward, OnFailure::Rollback) => self.stop(StopReason::Rollback, effects),
            (Mode::Forward, OnFailure::Halt) => self.stop(StopReason::Halt, effects),
            (Mode::Forward, OnFailure::Continue)
            | (Mode::Fresh | Mode::Stopping(_) | Mode::Unwinding(_) | Mode::Ended(_), _) => {
                self.settle(effects)
            }
        }
    }

    /// Nothing new starts. What waits is skipped, what waits for another
    /// attempt or outside is given up; calls under way end by themselves.
    fn stop(&mut self, reason: StopReason, effects: &mut Vec<Effect>) {
        self.mode = Mode::Stopping(reason);
        for run in &mut self.steps {
            match &run.state {
                StepState::Waiting { .. } => {
                    run.state = StepState::Skipped { because: None };
                    self.open -= 1;
                }
                StepState::Due { .. } if !run.touched => {
                    run.state = StepState::Skipped { because: None };
                    self.open -= 1;
                }
                StepState::Due { reason, .. } => {
                    let last = reason.clone().unwrap_or_default();
                    run.state = StepState::Failed {
                        reason: format!(
                            "the run was stopped before another attempt; the last one: {last}"
                        ),
                    };
                    self.open -= 1;
                }
                StepState::Pending { .. } => {
                    run.state = StepState::Failed {
                        reason: "the run was stopped while the operation was pending".into(),
                    };
                    self.open -= 1;
                }
                StepState::Running
                | StepState::Unsettled { .. }
                | StepState::Done { .. }
                | StepState::Failed { .. }
                | StepState::Skipped { .. } => {}
            }
        }
        self.settle(effects);
    }

    /// When no step is open any more, the run turns or ends.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        if self.open > 0 {
            return;
        }
        let failed = |direction| {
            self.steps.iter().any(|s| {
                s.direction == direction
                    && matches!(
                        s.state,
                        StepState::Failed { .. } | StepState::Skipped { .. }
                    )
            })
        };
        match self.mode {
            Mode::Forward if failed(Direction::Forward) => self.end(Outcome::Failed, effects),
            Mode::Forward => self.end(Outcome::Completed, effects),
            Mode::Stopping(StopReason::Halt) => self.end(Outcome::Failed, effects),
            Mode::Stopping(reason @ (StopReason::Rollback | StopReason::Cancel)) => {
                self.unwind(reason, effects)
            }
            Mode::Unwinding(_) if failed(Direction::Undo) => self.end(Outcome::Stuck, effects),
            Mode::Unwinding(StopReason::Cancel) => self.end(Outcome::Cancelled, effects),
            Mode::Unwinding(StopReason::Rollback | StopReason::Halt) => {
                self.end(Outcome::RolledBack, effects)
            }
            Mode::Fresh | Mode::Ended(_) => {}
        }
    }

    fn end(&mut self, outcome: Outcome, effects: &mut Vec<Effect>) {
        self.mode = Mode::Ended(outcome);
        effects.push(Effect::Ended(outcome));
    }

    /// Turns around: every touched step is undone, after all steps that came
    /// after it.
    fn unwind(&mut self, reason: StopReason, effects: &mut Vec<Effect>) {
        self.mode = Mode::Unwinding(reason);
        for run in &mut self.steps {
            if run.touched {
                run.direction = Direction::Undo;
                run.state = StepState::Waiting { missing: 0 };
                run.attempts = 0;
                run.began_at = None;
            }
        }
        self.wait_again(Direction::Undo, effects);
    }

    fn retry_forward(&mut self, effects: &mut Vec<Effect>) {
        self.mode = Mode::Forward;
        self.first_failure = None;
        self.reopen();
        self.wait_again(Direction::Forward, effects);
    }

    fn retry_unwinding(&mut self, effects: &mut Vec<Effect>) {
        let reason = StopReason::Rollback;
        self.mode = Mode::Unwinding(reason);
        self.reopen();
        self.wait_again(Direction::Undo, effects);
    }

    /// What failed or was skipped waits again, with fresh attempts.
    fn reopen(&mut self) {
        for run in &mut self.steps {
            let again = match (&run.state, run.direction, self.mode) {
                (
                    StepState::Failed { .. } | StepState::Skipped { .. },
                    Direction::Forward,
                    Mode::Forward,
                )
                | (
                    StepState::Failed { .. } | StepState::Skipped { .. },
                    Direction::Undo,
                    Mode::Unwinding(_),
                ) => true,
                (
                    StepState::Failed { .. }
                    | StepState::Skipped { .. }
                    | StepState::Waiting { .. }
                    | StepState::Due { .. }
                    | StepState::Running
                    | StepState::Pending { .. }
                    | StepState::Unsettled { .. }
                    | StepState::Done { .. },
                    _,
                    _,
                ) => false,
            };
            if again {
                run.state = StepState::Waiting { missing: 0 };
                run.attempts = 0;
                run.began_at = None;
            }
        }
    }

    /// Counts anew what each waiting step waits for, and dispatches those that
    /// wait for nothing.
    fn wait_again(&mut self, direction: Direction, effects: &mut Vec<Effect>) {
        self.open = 0;
        let open = |run: &Self, i: u32| {
            let step = &run.steps[i as usize];
            step.direction == direction && !matches!(step.state, StepState::Done { .. })
        };
        let mut ready = Vec::new();
        for step in self.places() {
            let run = &self.steps[step as usize];
            if run.direction != direction || !matches!(run.state, StepState::Waiting { .. }) {
                continue;
            }
            let before = match direction {
                Direction::Forward => &self.plan.steps[step as usize].after,
                Direction::Undo => &self.dependents[step as usize],
            };
            let missing = before.iter().filter(|i| open(self, **i)).count();
            let at_once = active(Mutation::UnwindsInReverse) && direction == Direction::Undo;
            let missing = if at_once { 0 } else { missing };
            self.steps[step as usize].state = StepState::Waiting {
                missing: u32::try_from(missing).unwrap_or(u32::MAX),
            };
            self.open += 1;
            if missing == 0 {
                ready.push(step);
            }
        }
        for step in ready {
            self.due(step, effects);
        }
        self.settle(effects);
    }
}
