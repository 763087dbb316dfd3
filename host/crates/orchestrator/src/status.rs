//! From the state of a run to the words of the API.

use nestor_core::execution::{Direction, Mode, Outcome, ResourceState, Run, StepState, StopReason};

use crate::records::RunKind;
use crate::view::{DeploymentStatus, Phase, ResourceStatus};

/// A deployment's status and phase while, and after, this run goes on.
pub(crate) fn of_run(kind: RunKind, run: &Run) -> (DeploymentStatus, Phase) {
    match (kind, run.mode()) {
        (RunKind::Apply, Mode::Fresh) => (DeploymentStatus::InProgress, Phase::Deploying),
        (RunKind::Apply, Mode::Forward) if only_waiting_outside(run) => {
            (DeploymentStatus::InProgress, Phase::Verifying)
        }
        (
            RunKind::Apply,
            Mode::Forward | Mode::Stopping(StopReason::Halt | StopReason::Rollback),
        ) => (DeploymentStatus::InProgress, Phase::Deploying),
        (RunKind::Apply, Mode::Stopping(StopReason::Cancel)) => {
            (DeploymentStatus::Cancelling, Phase::Deploying)
        }
        (RunKind::Apply, Mode::Unwinding(StopReason::Cancel)) => {
            (DeploymentStatus::Cancelling, Phase::RollingBack)
        }
        (RunKind::Apply, Mode::Unwinding(StopReason::Rollback | StopReason::Halt)) => {
            (DeploymentStatus::RollingBack, Phase::RollingBack)
        }
        (RunKind::Apply, Mode::Ended(Outcome::Completed)) => (DeploymentStatus::Ready, Phase::Done),
        (RunKind::Destroy | RunKind::Expire, Mode::Ended(Outcome::Completed)) => {
            (DeploymentStatus::Deleted, Phase::Done)
        }
        (
            RunKind::Destroy | RunKind::Expire,
            Mode::Fresh | Mode::Forward | Mode::Stopping(_) | Mode::Unwinding(_),
        ) => (DeploymentStatus::Deleting, Phase::Destroying),
        // Nobody is there to see that it failed: a person has to look.
        (RunKind::Expire, Mode::Ended(Outcome::Failed)) => (DeploymentStatus::Stuck, Phase::Done),
        (RunKind::Apply | RunKind::Destroy, Mode::Ended(Outcome::Failed)) => {
            (DeploymentStatus::Failed, Phase::Done)
        }
        (_, Mode::Ended(Outcome::RolledBack)) => (DeploymentStatus::RolledBack, Phase::Done),
        (_, Mode::Ended(Outcome::Cancelled)) => (DeploymentStatus::Cancelled, Phase::Done),
        (_, Mode::Ended(Outcome::Stuck)) => (DeploymentStatus::Stuck, Phase::Done),
    }
}

/// Whether every step that has not ended is pending outside.
fn only_waiting_outside(run: &Run) -> bool {
    let mut pending = false;
    for step in run.steps() {
        match step.state {
            StepState::Pending { .. } => pending = true,
            StepState::Done { .. } | StepState::Failed { .. } | StepState::Skipped { .. } => {}
            StepState::Waiting { .. }
            | StepState::Due { .. }
            | StepState::Running
            | StepState::Unsettled { .. } => {
                return false;
            }
        }
    }
    pending
}

/// Why a deployment is where it is: what failed, and what a person can do.
pub(crate) fn reason(kind: RunKind, run: &Run) -> Option<String> {
    let failures = |direction| {
        let mut lines = (0..)
            .zip(run.steps())
            .filter_map(|(i, s): (usize, _)| match &s.state {
                StepState::Failed { reason } if s.direction == direction => {
                    Some(format!("{}: {reason}", run.plan().steps[i].name))
                }
                StepState::Failed { .. }
                | StepState::Waiting { .. }
                | StepState::Due { .. }
                | StepState::Running
                | StepState::Pending { .. }
                | StepState::Unsettled { .. }
                | StepState::Done { .. }
                | StepState::Skipped { .. } => None,
            });
        let first = lines.next();
        let more = lines.count();
        first.map(|first| {
            if more > 0 {
                format!("{first} (and {more} more)")
            } else {
                first
            }
        })
    };
    match run.mode() {
        Mode::Fresh | Mode::Forward | Mode::Ended(Outcome::Completed) => None,
        Mode::Ended(Outcome::Failed) if kind == RunKind::Expire => failures(Direction::Forward)
            .map(|what| {
                format!("its time is over, and destroying failed: {what}; mend the cause and retry")
            }),
        Mode::Ended(Outcome::Stuck) => failures(Direction::Undo)
            .map(|what| format!("putting things back failed: {what}; mend the cause and retry")),
        Mode::Ended(Outcome::Cancelled)
        | Mode::Stopping(StopReason::Cancel)
        | Mode::Unwinding(StopReason::Cancel) => Some("stopped on request".into()),
        Mode::Ended(Outcome::Failed) | Mode::Stopping(StopReason::Halt | StopReason::Rollback) => {
            failures(Direction::Forward)
        }
        // What failed is being undone and no longer says why; its step keeps
        // the reason in the events.
        Mode::Ended(Outcome::RolledBack)
        | Mode::Unwinding(StopReason::Halt | StopReason::Rollback) => run
            .first_failure()
            .map(|(name, reason)| format!("{name}: {reason}"))
            // A run that was stopped, got stuck on the way back and was retried.
            .or_else(|| Some("stopped on request".into())),
    }
}

/// A resource's status in the words of the API.
pub(crate) fn of_resource(state: ResourceState) -> ResourceStatus {
    match state {
        ResourceState::Pending => ResourceStatus::Pending,
        ResourceState::Blocked => ResourceStatus::Blocked,
        ResourceState::InProgress => ResourceStatus::InProgress,
        ResourceState::Ready => ResourceStatus::Ready,
        ResourceState::Failed => ResourceStatus::Failed,
        ResourceState::Skipped => ResourceStatus::Skipped,
        ResourceState::RollingBack => ResourceStatus::RollingBack,
        ResourceState::RolledBack => ResourceStatus::RolledBack,
        ResourceState::Deleting => ResourceStatus::Deleting,
        ResourceState::Deleted => ResourceStatus::Deleted,
        ResourceState::Stuck => ResourceStatus::Stuck,
    }
}
