//! A run as it looks right now: what is durable, and the progress on top.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use nestor_core::execution::{Event, Run, RunPlan, StepState, step};

/// Percent of a run that are worth writing down although nothing ended: what is
/// shown is what is written down, so that it never goes back.
const MARK: u8 = 5;

/// A run under way, kept for views. It follows the journal by the same state
/// machine, a commit behind the driver, so nothing is shown that a crash could
/// take back.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) run: Run,
    /// By step: percent and message of the operation under way.
    progress: HashMap<u32, Progress>,
    /// Percent of the whole run that is written down, or is about to be.
    marked: u8,
}

/// What an engine last said of an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) percent: Option<u8>,
    pub(crate) message: String,
}

impl Live {
    pub(crate) fn new(run: Run) -> Self {
        Self {
            run,
            progress: HashMap::new(),
            marked: 0,
        }
    }

    /// With what the engines last said of operations that go on outside.
    pub(crate) fn with_progress<'a>(mut self, of: impl Fn(&str) -> Option<&'a Progress>) -> Self {
        for (step, planned) in (0u32..).zip(&self.run.plan().steps) {
            let pending = matches!(
                self.run.steps()[step as usize].state,
                StepState::Pending { .. } | StepState::Unsettled { .. }
            );
            if let Some(progress) = of(planned.name.as_str()).filter(|_| pending) {
                self.progress.insert(step, progress.clone());
            }
        }
        self
    }

    pub(crate) fn plan(&self) -> &RunPlan {
        self.run.plan()
    }

    /// Follows the driver; what it took, this takes.
    pub(crate) fn follow(&mut self, events: &[Event]) {
        for event in events {
            if let Err(illegal) = step(&mut self.run, event) {
                tracing::error!(%illegal, "the view of a run fell out of step with its driver");
            }
        }
    }

    /// Percent never goes back while an operation is under way.
    pub(crate) fn note_progress(
        &mut self,
        step: u32,
        percent: Option<u8>,
        message: &str,
    ) -> Progress {
        let entry = self.progress.entry(step).or_default();
        entry.percent = entry.percent.max(percent.map(|p| p.min(100)));
        if !message.is_empty() {
            entry.message = message.to_owned();
        }
        entry.clone()
    }

    /// Puts a message in the place of the last one, which it answers.
    pub(crate) fn say(&mut self, step: u32, message: String) -> String {
        let entry = self.progress.entry(step).or_default();
        std::mem::replace(&mut entry.message, message)
    }

    pub(crate) fn forget_progress(&mut self, step: u32) {
        self.progress.remove(&step);
    }

    pub(crate) fn progress(&self, step: u32) -> Option<&Progress> {
        self.progress.get(&step)
    }

    /// Percent of the whole run, which is being written down.
    pub(crate) fn mark(&mut self) -> u8 {
        let percent = self.percent();
        self.marked = self.marked.max(percent);
        percent
    }

    /// Whether operations under way have come so far that it is worth writing
    /// down. True once for each such part of a run.
    pub(crate) fn is_further(&mut self) -> bool {
        let percent = self.percent();
        let further = percent >= self.marked.saturating_add(MARK);
        if further {
            self.marked = percent;
        }
        further
    }

    /// Percent of the whole run: steps that ended, and the progress of those under way.
    pub(crate) fn percent(&self) -> u8 {
        percent(&self.run, |step| {
            self.progress
                .get(&step)
                .and_then(|p| p.percent)
                .unwrap_or(0)
        })
    }
}

/// Percent of a run; `of_step` says how far an operation under way is.
pub(crate) fn percent(run: &Run, of_step: impl Fn(u32) -> u8) -> u8 {
    let total = run.steps().len() as u64 * 100;
    if total == 0 {
        return 100;
    }
    let done: u64 = (0u32..)
        .zip(run.steps())
        .map(|(i, s)| match s.state {
            StepState::Done { .. } | StepState::Failed { .. } | StepState::Skipped { .. } => 100,
            StepState::Running | StepState::Pending { .. } | StepState::Unsettled { .. } => {
                u64::from(of_step(i).min(99))
            }
            StepState::Waiting { .. } | StepState::Due { .. } => 0,
        })
        .sum();
    u8::try_from(done * 100 / total).unwrap_or(100)
}
