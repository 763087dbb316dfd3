//! Where a run and its steps are.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::plan::{RunPlan, StepKind};
use crate::ids::{ResourceName, Timestamp};

/// A run: its plan and where every step of it is. Made by [`Run::new`],
/// moved only by [`super::step`].
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub(super) plan: Arc<RunPlan>,
    /// `dependents[i]`: steps that come after step `i`.
    pub(super) dependents: Arc<Vec<Vec<u32>>>,
    pub(super) mode: Mode,
    pub(super) steps: Vec<StepRun>,
    /// Steps that have not ended in the current direction.
    pub(super) open: u32,
    /// What failed first on the way forward.
    pub(super) first_failure: Option<(u32, String)>,
}

/// What a run is doing as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not begun.
    Fresh,
    /// Applying and destroying as planned.
    Forward,
    /// Nothing new starts; operations under way are ending.
    Stopping(StopReason),
    /// Undoing what was touched, in reverse order.
    Unwinding(StopReason),
    /// Nothing moves by itself any more.
    Ended(Outcome),
}

/// Why a run stopped going forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// A step failed and its policy says rollback.
    Rollback,
    /// A step failed and its policy says halt.
    Halt,
    /// Somebody asked.
    Cancel,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every step is done.
    Completed,
    /// Steps failed and what was done stays; `retry` goes on from there.
    Failed,
    /// Steps failed and everything touched was put back.
    RolledBack,
    /// Stopped on request and everything touched was put back.
    Cancelled,
    /// Putting back failed; `retry` tries that again.
    Stuck,
}

impl Outcome {
    /// In documents and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Cancelled => "cancelled",
            Self::Stuck => "stuck",
        }
    }
}

/// For a step or against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// As the plan says.
    Forward,
    /// Back to what was before the run.
    Undo,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRun {
    /// For it or against it.
    pub direction: Direction,
    /// Where it is.
    pub state: StepState,
    /// An operation was begun forward: something may have changed outside.
    pub touched: bool,
    /// Attempts begun in the current direction.
    pub attempts: u32,
    /// When the first attempt in the current direction began.
    pub began_at: Option<Timestamp>,
    /// Times in a row that nothing came of a call that is no attempt: looking
    /// failed, or the engine could not be called.
    pub misses: u32,
}

/// Where a step is, in its direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepState {
    /// Waits for this many other steps.
    Waiting {
        /// How many.
        missing: u32,
    },
    /// May begin, from `not_before` on if there is one (backoff).
    Due {
        /// After a transient failure.
        not_before: Option<Timestamp>,
        /// What failed the last time.
        reason: Option<String>,
    },
    /// A call is under way, or the intent to make it is durable.
    Running,
    /// The operation goes on outside; look at `poll_at`.
    Pending {
        /// When.
        poll_at: Timestamp,
    },
    /// The host died during a call: `observe` tells what became of it, from
    /// `not_before` on if looking failed before.
    Unsettled {
        /// After a transient failure of looking.
        not_before: Option<Timestamp>,
    },
    /// Done; `changed` is false when no operation was needed.
    Done {
        /// Whether an operation ran.
        changed: bool,
    },
    /// Failed for good.
    Failed {
        /// What failed.
        reason: String,
    },
    /// Will not begin: because of that step, or (none) because the run stopped.
    Skipped {
        /// The step that failed.
        because: Option<u32>,
    },
}

impl StepState {
    /// For messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Due { .. } => "due",
            Self::Running => "running",
            Self::Pending { .. } => "pending",
            Self::Unsettled { .. } => "unsettled",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
        }
    }
}

/// A resource's status within a run, in the API's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words of the API, explained there")]
pub enum ResourceState {
    Pending,
    Blocked,
    InProgress,
    Ready,
    Failed,
    Skipped,
    RollingBack,
    RolledBack,
    Deleting,
    Deleted,
    Stuck,
}

impl Run {
    /// A run that has not begun.
    #[must_use]
    pub fn new(plan: Arc<RunPlan>) -> Self {
        let mut dependents = vec![Vec::new(); plan.steps.len()];
        for (place, step) in (0u32..).zip(&plan.steps) {
            for &before in &step.after {
                dependents[before as usize].push(place);
            }
        }
        let steps = plan
            .steps
            .iter()
            .map(|step| StepRun {
                direction: Direction::Forward,
                state: StepState::Waiting {
                    missing: u32::try_from(step.after.len()).unwrap_or(u32::MAX),
                },
                touched: false,
                attempts: 0,
                began_at: None,
                misses: 0,
            })
            .collect::<Vec<_>>();
        let open = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        Self {
            plan,
            dependents: Arc::new(dependents),
            mode: Mode::Fresh,
            steps,
            open,
            first_failure: None,
        }
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &RunPlan {
        &self.plan
    }
    /// What it is doing.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
    /// Its steps, in plan order.
    #[must_use]
    pub fn steps(&self) -> &[StepRun] {
        &self.steps
    }
    /// How it ended, if it did.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self.mode {
            Mode::Ended(outcome) => Some(outcome),
            Mode::Fresh | Mode::Forward | Mode::Stopping(_) | Mode::Unwinding(_) => None,
        }
    }

    /// What failed first on the way forward, also after it was undone.
    #[must_use]
    pub fn first_failure(&self) -> Option<(&ResourceName, &str)> {
        self.first_failure
            .as_ref()
            .map(|(step, reason)| (&self.plan.steps[*step as usize].name, reason.as_str()))
    }

    /// A step's resource in the words of the API.
    #[must_use]
    pub fn resource_state(&self, step: u32) -> ResourceState {
        let run = &self.steps[step as usize];
        let kind = self.plan.steps[step as usize].kind;
        match (run.direction, kind, &run.state) {
            (Direction::Forward, _, StepState::Waiting { missing }) if *missing > 0 => {
                ResourceState::Blocked
            }
            (Direction::Forward, _, StepState::Waiting { .. }) => ResourceState::Pending,
            (Direction::Forward, kind, StepState::Due { .. }) => match (run.attempts, kind) {
                (0, _) => ResourceState::Pending,
                (_, StepKind::Apply) => ResourceState::InProgress,
                (_, StepKind::Destroy) => ResourceState::Deleting,
            },
            (
                Direction::Forward,
                StepKind::Apply,
                StepState::Running | StepState::Pending { .. } | StepState::Unsettled { .. },
            ) => ResourceState::InProgress,
            (
                Direction::Forward,
                StepKind::Destroy,
                StepState::Running | StepState::Pending { .. } | StepState::Unsettled { .. },
            ) => ResourceState::Deleting,
            (Direction::Forward, StepKind::Apply, StepState::Done { .. }) => ResourceState::Ready,
            (Direction::Forward, StepKind::Destroy, StepState::Done { .. }) => {
                ResourceState::Deleted
            }
            (Direction::Forward, _, StepState::Failed { .. }) => ResourceState::Failed,
            (Direction::Forward, _, StepState::Skipped { .. }) => ResourceState::Skipped,
            (
                Direction::Undo,
                _,
                StepState::Waiting { .. }
                | StepState::Due { .. }
                | StepState::Running
                | StepState::Pending { .. }
                | StepState::Unsettled { .. },
            ) => ResourceState::RollingBack,
            (Direction::Undo, _, StepState::Done { .. }) => ResourceState::RolledBack,
            (Direction::Undo, _, StepState::Failed { .. } | StepState::Skipped { .. }) => {
                ResourceState::Stuck
            }
        }
    }

    /// Resources that a waiting or skipped step waits for, or was skipped because of.
    #[must_use]
    pub fn blocked_by(&self, step: u32) -> Vec<ResourceName> {
        let run = &self.steps[step as usize];
        let name = |i: u32| self.plan.steps[i as usize].name.clone();
        let not_done = |i: &u32| !matches!(self.steps[*i as usize].state, StepState::Done { .. });
        match (&run.state, run.direction) {
            (StepState::Waiting { .. }, Direction::Forward) => self.plan.steps[step as usize]
                .after
                .iter()
                .copied()
                .filter(not_done)
                .map(name)
                .collect(),
            (StepState::Waiting { .. }, Direction::Undo) => self.dependents[step as usize]
                .iter()
                .copied()
                .filter(|i| self.steps[*i as usize].direction == Direction::Undo)
                .filter(not_done)
                .map(name)
                .collect(),
            (StepState::Skipped { because }, _) => because.map(name).into_iter().collect(),
            (
                StepState::Due { .. }
                | StepState::Running
                | StepState::Pending { .. }
                | StepState::Unsettled { .. }
                | StepState::Done { .. }
                | StepState::Failed { .. },
                _,
            ) => Vec::new(),
        }
    }
}
