//! What is asked for while a run is under way.

use nestor_core::execution::{Event, Outcome};
use nestor_core::ports::Batch;

use super::RunLoop;
use crate::driver::{Driver, Stop};
use crate::expiry;
use crate::records::{DeploymentRecord, Request, RunKind, key};

impl RunLoop {
    /// Requests for a run that is under way.
    pub(super) async fn look_into_inbox(&mut self, driver: &mut Driver) -> Result<(), Stop> {
        if !std::mem::take(&mut self.rung) {
            return Ok(());
        }
        driver.handle.heard();
        let record = driver
            .context
            .read::<DeploymentRecord>(&key::deployment(&driver.id))
            .await?;
        self.asked = record.as_ref().map_or(0, |r| r.asked);
        let over = record.as_ref().is_some_and(expiry::is_over);
        let apply = self.record.kind == RunKind::Apply;
        // A revision that was posted before what is looked at, and that this is
        // about as well: the driver takes both out together.
        let mut waits = false;
        for request in record.map(|r| r.inbox).unwrap_or_default() {
            if self.taking.iter().any(|(_, taken)| *taken == request) {
                // Of a run that had ended; it is only about to go on.
                waits |= request == Request::Retry;
                continue;
            }
            match request {
                // Waits for its turn.
                Request::Apply { .. } => waits = true,
                Request::Expiring { .. } | Request::CheckDrift { .. } => {}
                Request::Cancel | Request::Delete if waits && !apply => {}
                // Stays until the run has been unwound; then it is destroyed.
                Request::Delete if waits => self.unwind(driver).await?,
                Request::Expire { .. } if over && apply => self.unwind(driver).await?,
                Request::Expire { .. } => {}
                // Deleting what is in flight is stopping it and unwinding.
                Request::Cancel | Request::Delete if apply => {
                    let ended = self.run.outcome().filter(|_| self.queue.is_empty());
                    match (ended, request) {
                        // An earlier request ended it: the driver unwinds what
                        // failed, and destroys the rest.
                        (Some(Outcome::Failed), _) | (Some(_), Request::Delete) => {}
                        (Some(_), _) => driver.commit_taking(Batch::new(), &[request]).await?,
                        (None, _) => {
                            self.ask(Event::CancelRequested, request);
                            self.advance(driver).await?;
                        }
                    }
                }
                // A deletion cannot be taken back half-way, and what is under
                // way needs no retry.
                Request::Approve | Request::Cancel | Request::Delete | Request::Retry => {
                    driver.commit_taking(Batch::new(), &[request]).await?;
                }
            }
        }
        // Whoever lets go of a thing rings too.
        self.look_again();
        self.advance(driver).await
    }
    /// Stops the run for somebody who wants everything gone, unless it is on its
    /// way out already.
    async fn unwind(&mut self, driver: &mut Driver) -> Result<(), Stop> {
        if let Some(event) = expiry::stop(self.run.mode()) {
            self.queue.push_back(event);
            self.advance(driver).await?;
        }
        Ok(())
    }
}
