//! Letting go of things.

use std::collections::HashMap;

use nestor_core::ids::{DeploymentId, ResourceName};
use nestor_core::ports::{Batch, Guard};

use super::{HoldRecord, OwnerRecord, identity, waiting};
use crate::driver::{Driver, Guarded, Stop};
use crate::records::{DeploymentRecord, Request, StatusRecord, encode, key};
use crate::scheduler::wake;
use crate::view::DeploymentStatus;

impl Driver {
    /// Lets go of every thing that no resource is any more and no revision that
    /// waits was promised, and rings those that wait for it. Called between runs.
    pub(crate) async fn let_go(&mut self, record: &DeploymentRecord) -> Result<(), Stop> {
        let goes_on = self.status.active || self.status.gate.is_some();
        let halted = halted(&self.status);
        if !(self.status.holds || record.reserved) || goes_on || halted {
            return Ok(());
        }
        let record_key = key::deployment(&self.id);
        let mut woken = Vec::new();
        loop {
            // With every look: what is accepted meanwhile fails the guard.
            let Some((record, raw)) = self
                .context
                .read_raw::<DeploymentRecord>(&record_key)
                .await?
            else {
                return Ok(());
            };
            let holds = self
                .context
                .read_all::<HoldRecord>(&key::holds(&self.id))
                .await?;
            let resources = self.resources().await?;
            // What an operation that did not end has made of it is not known.
            let open = |name: &ResourceName| {
                let mut of = resources.iter().filter(|r| &r.name == name);
                of.any(|r| r.open.is_some())
            };
            let still: HashMap<String, ResourceName> = resources
                .iter()
                .filter_map(|resource| Some((identity(&record, resource)?, resource.name.clone())))
                .collect();
            let mut batch = Batch::new();
            let mut left = 0;
            woken.clear();
            for (at, hold) in &holds {
                let stands = still.get(&hold.identity) == Some(&hold.resource);
                if stands
                    || open(&hold.resource)
                    || hold.reserved.is_some_and(|r| waits(&record, r))
                {
                    left += 1;
                    continue;
                }
                batch.delete(at.clone());
                let owner_key = key::owner(&hold.identity);
                if let Some((owner, raw)) = self.context.read_raw::<OwnerRecord>(&owner_key).await?
                    && owner.deployment == self.id
                    && owner.resource == hold.resource
                {
                    batch
                        .guard(Guard::Equals(owner_key.clone(), raw))
                        .delete(owner_key);
                    woken.extend(owner.waiters);
                }
            }
            let holds_now = left > 0;
            if left == holds.len() && holds_now == self.status.holds {
                return Ok(());
            }
            self.status.holds = holds_now;
            batch
                .guard(Guard::Equals(record_key.clone(), raw))
                .put(key::status(&self.id), encode(&self.status));
            match self.commit(batch).await {
                Ok(()) => break,
                Err(Guarded::Changed) => {}
                Err(Guarded::Stop(stop)) => return Err(stop),
            }
        }
        self.wake_all(woken).await
    }

    /// Tells those that would take something over that this deployment rests.
    /// Called after it does: whoever queues up later looks once more.
    pub(crate) async fn ring_adopters(&self) -> Result<(), Stop> {
        if !self.status.holds {
            return Ok(());
        }
        let holds = self
            .context
            .read_all::<HoldRecord>(&key::holds(&self.id))
            .await?;
        let mut woken = Vec::new();
        for (_, hold) in holds {
            let waiting = waiting(&self.context, &hold.identity).await?;
            let adopters = waiting.into_iter().filter(|(_, b)| b.adopts.is_some());
            woken.extend(adopters.map(|(waiter, _)| waiter));
        }
        self.wake_all(woken).await
    }

    pub(super) async fn wake_all(&self, waiters: Vec<DeploymentId>) -> Result<(), Stop> {
        for waiter in waiters {
            let record = self
                .context
                .read::<DeploymentRecord>(&key::deployment(&waiter))
                .await?;
            if let Some(record) = record {
                wake(&self.context, &waiter, &record.ticket());
            }
        }
        Ok(())
    }
}

/// Whether the last run ended half-way and can be taken up again: now, or when
/// the revision that waits is not begun after all.
pub(crate) fn halted(status: &StatusRecord) -> bool {
    let (is, run) = match &status.before {
        Some(before) => (before.status, before.run),
        None => (status.status, status.run),
    };
    match is {
        DeploymentStatus::Stuck => true,
        DeploymentStatus::Failed => run.is_some(),
        DeploymentStatus::Pending
        | DeploymentStatus::InProgress
        | DeploymentStatus::AwaitingApproval
        | DeploymentStatus::Ready
        | DeploymentStatus::Cancelling
        | DeploymentStatus::RollingBack
        | DeploymentStatus::RolledBack
        | DeploymentStatus::Cancelled
        | DeploymentStatus::Deleting
        | DeploymentStatus::Deleted => false,
    }
}

/// Whether a revision is still to be applied.
fn waits(record: &DeploymentRecord, wanted: u64) -> bool {
    record.inbox.iter().any(|request| match request {
        Request::Apply { revision, .. } => *revision == wanted,
        Request::Approve
        | Request::Delete
        | Request::Cancel
        | Request::Retry
        | Request::Expiring { .. }
        | Request::Expire { .. }
        | Request::CheckDrift { .. } => false,
    })
}
