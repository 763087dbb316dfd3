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
        for request in record.map(|r| r.inbox).unwrap_or_default() {
            if self.taking.iter().any(|(_, taken)| *taken == request) {
                continue;
            }
            match request {
                // Waits for its turn.
                Request::Apply { .. } | Request::Expiring { .. } | Request::CheckDrift { .. } => {}
                // Stays until the run has been unwound; then it is destroyed.
                Request::Expire { .. } => {
                    let stops = self.record.kind == RunKind::Apply && over;
                    if let Some(event) = expiry::stop(self.run.mode()).filter(|_| stops) {
                        self.queue.push_back(event);
                        self.advance(driver).await?;
                    }
                }
                // Deleting what is in flight is stopping it and unwinding.
                Request::Cancel | Request::Delete if self.record.kind == RunKind::Apply => {
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
}
