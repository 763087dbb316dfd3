//! Waiting for a thing that somebody else has.

use nestor_core::ids::ResourceName;
use nestor_core::ports::{Batch, Bytes, Guard, StoreError};

use super::{BlockRecord, MAX_CHAIN, MAX_WAITERS, OwnerRecord, stopped};
use crate::driver::{Driver, Guarded};
use crate::expiry;
use crate::records::{DeploymentRecord, Request, encode, key};
use crate::view::{DeploymentStatus, EventView, Phase};

/// Who wants to wait.
pub(super) struct Asked<'a> {
    pub(super) resource: &'a ResourceName,
    pub(super) revision: u64,
    /// Why it cannot take the thing over now, if it would.
    pub(super) adopts: Option<String>,
    /// Half-way; else before anything was begun.
    pub(super) in_run: bool,
}

/// What came of queueing up.
pub(super) enum Queued {
    /// Written down that it waits. With events that are durable and were not
    /// told yet.
    Waits(Vec<EventView>),
    /// It cannot.
    Refused(String),
}

impl Driver {
    /// Waits for a thing, unless its owner waits, in the end, for this
    /// deployment. Guards on all that was looked at: of two that would close a
    /// circle at once, one looks again.
    pub(super) async fn queue_up(
        &mut self,
        asked: &Asked<'_>,
        mut owner: OwnerRecord,
        raw: Bytes,
    ) -> Result<Queued, Guarded> {
        let Asked {
            resource,
            revision,
            in_run,
            ref adopts,
        } = *asked;
        let mut batch = Batch::new();
        let mut path = vec![self.id.clone(), owner.deployment.clone()];
        loop {
            let last = &path[path.len() - 1];
            if last == &self.id {
                let path: Vec<String> = path.iter().map(ToString::to_string).collect();
                return Ok(Queued::Refused(format!(
                    "resource {resource} would wait for {:?}, and in the end for itself: {}; delete one of these deployments, or take the thing out of it",
                    owner.identity,
                    path.join(" → ")
                )));
            }
            if path.len() > MAX_CHAIN {
                return Ok(Queued::Refused(format!(
                    "resource {resource} would wait for {:?} behind more than {MAX_CHAIN} deployments of which each waits for the next",
                    owner.identity
                )));
            }
            let at = key::blocked(last);
            match self
                .context
                .read_raw::<BlockRecord>(&at)
                .await
                .map_err(stopped)?
            {
                None => {
                    batch.guard(Guard::Absent(at));
                    break;
                }
                Some((block, raw)) => {
                    batch.guard(Guard::Equals(at, raw));
                    path.push(block.owner);
                }
            }
        }
        let mut block = BlockRecord::of(resource, &owner, adopts.clone());
        let at = key::owner(&owner.identity);
        batch.guard(Guard::Equals(at.clone(), raw));
        if !owner.waiters.contains(&self.id) {
            if owner.waiters.len() >= MAX_WAITERS {
                return Ok(Queued::Refused(format!(
                    "{MAX_WAITERS} deployments wait for {:?} already",
                    owner.identity
                )));
            }
            owner.waiters.push(self.id.clone());
            batch.put(at, encode(&owner));
        }
        let known = self
            .context
            .read::<BlockRecord>(&key::blocked(&self.id))
            .await
            .map_err(stopped)?;
        if let Some(known) = known.as_ref().filter(|known| &known.resource == resource) {
            block.also.clone_from(&known.also);
        }
        let before = self.status.clone();
        let mut told = Vec::new();
        if known.as_ref() != Some(&block) || !(in_run || self.status.blocked) {
            let reason = block.reason();
            batch.put(key::blocked(&self.id), encode(&block));
            let mut event = self.event("waiting", revision, Some(resource), reason.clone());
            event.data = serde_json::json!({
                "identity": block.identity,
                "blockedBy": { "deployment": block.owner, "resource": block.owned },
            });
            if in_run {
                self.record_event(&mut batch, event.clone());
                batch.put(key::status(&self.id), encode(&self.status));
            } else {
                self.status.keep_before();
                self.status.blocked = true;
                self.record_event(&mut batch, event.clone());
                self.status.progress = 0;
                self.set_status(
                    &mut batch,
                    DeploymentStatus::Pending,
                    Phase::Queued,
                    revision,
                    Some(reason.clone()),
                );
                if before.status != DeploymentStatus::Pending {
                    told.push(self.status_event(&mut batch, revision, reason));
                }
            }
            told.insert(0, event);
        }
        if !in_run {
            self.give_up(&mut batch);
        }
        match self.commit(batch).await {
            Ok(()) => Ok(Queued::Waits(told)),
            Err(failed) => {
                self.status = before;
                Err(failed)
            }
        }
    }

    /// Whether somebody does not want what waits any more.
    pub(super) async fn is_given_up(&self) -> Result<bool, StoreError> {
        let record = self
            .context
            .read::<DeploymentRecord>(&key::deployment(&self.id))
            .await?;
        Ok(record.is_some_and(|record| gives_up(&record)))
    }
}

fn gives_up(record: &DeploymentRecord) -> bool {
    record.inbox.iter().any(|request| match request {
        Request::Cancel | Request::Delete => true,
        Request::Expire { .. } => expiry::is_over(record),
        Request::Apply { .. }
        | Request::Approve
        | Request::Retry
        | Request::Expiring { .. }
        | Request::CheckDrift { .. } => false,
    })
}
