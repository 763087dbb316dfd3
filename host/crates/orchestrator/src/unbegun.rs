//! Revisions that never begin.

use nestor_core::ids::Timestamp;
use nestor_core::ports::Batch;

use crate::driver::{Driver, Stop};
use crate::gate::restore;
use crate::records::{Request, RunKind, StatusRecord, encode, key};
use crate::view::{DeploymentStatus, Phase};

/// Why a revision that waited is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unbegun {
    /// This revision goes before it.
    SkippedFor(u64),
    /// The deployment's time is over.
    Expired,
    /// Somebody does not want it any more.
    CalledOff,
}

impl Unbegun {
    /// What became of the revision, also for people.
    fn told(self, revision: u64) -> (&'static str, String) {
        match self {
            Self::SkippedFor(later) => (
                "skipped",
                format!("revision {revision} was skipped for revision {later}"),
            ),
            Self::Expired => (
                "expired",
                format!("revision {revision} was not begun: its time is over"),
            ),
            Self::CalledOff => (
                "cancelled",
                format!(
                    "revision {revision} was not begun, because the deployment was cancelled or deleted while it waited"
                ),
            ),
        }
    }
}

/// The revision for which a waiting one is skipped, if there is one.
pub(crate) fn skipped_for(inbox: &[Request], revision: u64) -> Option<u64> {
    inbox.iter().find_map(|request| match request {
        Request::Apply {
            revision: later,
            latest: true,
        } if *later > revision => Some(*later),
        Request::Apply { .. }
        | Request::Approve
        | Request::Delete
        | Request::Cancel
        | Request::Retry
        | Request::Expiring { .. }
        | Request::Expire { .. }
        | Request::CheckDrift { .. } => None,
    })
}

/// What was asked for after a request, and so may call it off.
fn after(inbox: &[Request], request: Request) -> &[Request] {
    let place = inbox.iter().position(|other| *other == request);
    place.map_or(&[], |place| &inbox[place + 1..])
}

/// Whether the deployment's deletion was asked for after a request.
pub(crate) fn deleted_after(inbox: &[Request], request: Request) -> bool {
    after(inbox, request).contains(&Request::Delete)
}

/// Whether what a request would begin is not wanted any more. What was begun
/// is not called off: it is stopped, and unwound.
pub(crate) fn called_off(status: &StatusRecord, inbox: &[Request], request: Request) -> bool {
    let begun = |revision| status.phase == Phase::Validating && status.revision == revision;
    match request {
        // A cancellation is of what waits for approval, or else of what would
        // begin next.
        Request::Apply { revision, .. } => {
            let next = status.gate.is_none() && skipped_for(inbox, revision).is_none();
            let cancelled = next && after(inbox, request).contains(&Request::Cancel);
            !begun(revision) && (cancelled || deleted_after(inbox, request))
        }
        Request::Retry => !begun(status.revision) && deleted_after(inbox, request),
        Request::Approve => status.gate == Some(RunKind::Apply) && deleted_after(inbox, request),
        Request::Delete
        | Request::Cancel
        | Request::Expiring { .. }
        | Request::Expire { .. }
        | Request::CheckDrift { .. } => false,
    }
}

impl Driver {
    /// Takes out what is not wanted any more. The deletion that called it off
    /// stays; a cancellation was of this alone.
    pub(crate) async fn call_off(
        &mut self,
        request: Request,
        inbox: &[Request],
    ) -> Result<Option<Timestamp>, Stop> {
        let revision = match request {
            Request::Apply { revision, .. } => revision,
            _ if self.status.phase == Phase::Queued => self.status.revision,
            _ => return self.finish_request(request, Vec::new()).await,
        };
        let cause = after(inbox, request).iter().find(|later| match later {
            Request::Cancel => self.status.gate.is_none(),
            other => **other == Request::Delete,
        });
        let taking: Vec<Request> = match cause {
            Some(Request::Cancel) => vec![request, Request::Cancel],
            _ => vec![request],
        };
        self.skip(&taking, revision, Unbegun::CalledOff).await
    }

    /// A revision that never begins. Where the status speaks of it already, as
    /// it waits for a thing, and it is called off, all is as it was before; else
    /// everything stays as it is.
    pub(crate) async fn skip(
        &mut self,
        taking: &[Request],
        revision: u64,
        why: Unbegun,
    ) -> Result<Option<Timestamp>, Stop> {
        let (outcome, message) = why.told(revision);
        let called_off = why == Unbegun::CalledOff;
        let speaks_of_it = self.status.phase != Phase::Done && self.status.gate.is_none();
        let restores = called_off && speaks_of_it;
        let mut batch = Batch::new();
        self.status.blocked = false;
        batch.delete(key::blocked(&self.id));
        batch.put(key::outcome(&self.id, revision), encode(&outcome));
        let kind = if called_off {
            "withdrawn"
        } else {
            "superseded"
        };
        let mut told = self.event(kind, revision, None, message.clone());
        if restores {
            restore(&mut self.status, revision, &message);
            self.status.updated_at = self.context.now();
        }
        // Who waits for it to settle hears that it has.
        told.status = (called_off && !restores).then_some(self.status.status);
        self.record_event(&mut batch, told.clone());
        let (now, reason) = (self.status.revision, self.status.reason.clone());
        let event =
            restores.then(|| self.status_event(&mut batch, now, reason.unwrap_or_default()));
        batch.put(key::status(&self.id), encode(&self.status));
        self.commit_taking(batch, taking).await?;
        for event in [told].into_iter().chain(event) {
            self.context.publish(&self.id, event);
        }
        Ok(None)
    }

    /// A deletion that finds nothing to destroy.
    pub(crate) async fn gone_already(
        &mut self,
        request: Request,
    ) -> Result<Option<Timestamp>, Stop> {
        let mut batch = Batch::new();
        let message = "nothing was left to destroy".to_owned();
        let event = self.status_event(&mut batch, self.status.revision, message);
        self.commit_taking(batch, &[request]).await?;
        self.context.publish(&self.id, event);
        Ok(None)
    }

    /// No run: nothing was begun, so there is nothing to undo.
    pub(crate) async fn refuse_run(
        &mut self,
        request: Request,
        number: u64,
        reason: String,
    ) -> Result<Option<Timestamp>, Stop> {
        self.status.run = None;
        self.status.progress = 0;
        self.status.before = None;
        self.status.gate = None;
        self.status.blocked = false;
        let mut batch = Batch::new();
        batch.delete(key::blocked(&self.id));
        batch.put(key::outcome(&self.id, number), encode(&"failed"));
        let message = format!("revision {number} was refused before anything was begun: {reason}");
        let mut event = self.event("failed", number, None, message);
        self.set_status(
            &mut batch,
            DeploymentStatus::Failed,
            Phase::Done,
            number,
            Some(reason),
        );
        event.status = Some(DeploymentStatus::Failed);
        self.record_event(&mut batch, event.clone());
        self.commit_taking(batch, &[request]).await?;
        self.context.publish(&self.id, event);
        Ok(None)
    }
}
