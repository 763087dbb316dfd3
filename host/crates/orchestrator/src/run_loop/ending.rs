//! What the end of a run leaves behind, beside its status.

use nestor_core::execution::{Direction, Mode, Outcome};
use nestor_core::ids::Timestamp;
use nestor_core::ports::{Batch, StoreError};

use super::RunLoop;
use crate::alarms::Kind;
use crate::driver::Driver;
use crate::ownership::given_homes;
use crate::records::{RunKind, encode, key};
use crate::view::DeploymentStatus;
use crate::{expiry, forget};

impl RunLoop {
    /// What a run that put things back could not: a resource that came back as
    /// another real thing has other outputs, and what stands on it, put back
    /// before it, was given the old ones.
    pub(super) fn not_as_before(&self) -> Option<String> {
        if !matches!(
            self.run.mode(),
            Mode::Ended(Outcome::RolledBack | Outcome::Cancelled)
        ) {
            return None;
        }
        let steps = self.run.plan().steps.iter().zip(self.run.steps());
        let mut told = steps.filter_map(|(step, run)| {
            let now = self.resources.get(&step.name)?;
            let before = self.before.get(&step.name)?.as_ref()?;
            let undone = run.direction == Direction::Undo && before.applied.is_some();
            let moved: Vec<&str> = before
                .outputs
                .iter()
                .filter(|was| {
                    !now.outputs
                        .iter()
                        .any(|is| is.name == was.name && is.value == was.value)
                })
                .map(|was| was.name.as_str())
                .collect();
            let users = self.resources.values();
            let users: Vec<&str> = users
                .filter(|other| other.depends_on.contains(&step.name))
                .map(|other| other.name.as_str())
                .collect();
            let (users, moved) = (users.join(", "), moved.join(", "));
            (undone && !users.is_empty() && !moved.is_empty()).then(|| {
                format!(
                    "{} was put back with another {moved}, and {users} has the one before",
                    step.name
                )
            })
        });
        let first = told.next()?;
        let more = match told.count() {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        Some(format!(
            "{first}{more}; post the revision again that is to stand, and it is passed on"
        ))
    }

    /// Writes down what became of the revision, unless it was applied whole.
    fn note_outcome(&self, driver: &Driver, outcome: Outcome, batch: &mut Batch) {
        let at = key::outcome(&driver.id, self.revision.revision);
        if outcome == Outcome::Completed {
            batch.delete(at);
        } else {
            batch.put(at, encode(&outcome.as_str()));
        }
    }

    /// At its end: what became of the revision; and of a deletion, an alarm to
    /// forget it, or to try again what nobody asked for and so nobody looks at.
    pub(super) async fn leave_behind(
        &self,
        driver: &Driver,
        status: DeploymentStatus,
        batch: &mut Batch,
    ) -> Result<Option<(Kind, Timestamp)>, StoreError> {
        let Some(outcome) = self.run.outcome() else {
            return Ok(None);
        };
        if self.record.kind == RunKind::Apply {
            self.note_outcome(driver, outcome, batch);
        }
        if status == DeploymentStatus::Deleted {
            let (context, id) = (&driver.context, &driver.id);
            if context.worker.alive(context.now()) {
                let given = given_homes(context, id, &driver.status).await?;
                context.engines.forget_deployment(id, &given).await;
            }
            let at = forget::set(&driver.context, &driver.id, batch);
            return Ok(at.map(|at| (Kind::Forget, at)));
        }
        if (self.record.kind, outcome) == (RunKind::Expire, Outcome::Failed) {
            let at = expiry::set_again(&driver.context, &driver.id, batch).await?;
            return Ok(at.map(|at| (Kind::Expiry, at)));
        }
        Ok(None)
    }
}
