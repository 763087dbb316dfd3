//! What the end of a run leaves behind, beside its status.

use nestor_core::execution::Outcome;
use nestor_core::ids::Timestamp;
use nestor_core::ports::{Batch, StoreError};

use super::RunLoop;
use crate::alarms::Kind;
use crate::driver::Driver;
use crate::records::{RunKind, encode, key};
use crate::view::DeploymentStatus;
use crate::{expiry, forget};

impl RunLoop {
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
