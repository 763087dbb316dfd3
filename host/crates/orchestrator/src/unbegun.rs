//! Revisions that never begin.

use nestor_core::ids::Timestamp;
use nestor_core::ports::Batch;

use crate::driver::{Driver, Stop};
use crate::records::{Request, encode, key};
use crate::view::{DeploymentStatus, Phase};

impl Driver {
    /// A revision that never begins.
    pub(crate) async fn skip(
        &mut self,
        request: Request,
        revision: u64,
        outcome: &str,
        message: String,
    ) -> Result<Option<Timestamp>, Stop> {
        let event = self.event("superseded", revision, None, message);
        let mut batch = Batch::new();
        self.status.blocked = false;
        batch.delete(key::blocked(&self.id));
        batch.put(key::outcome(&self.id, revision), encode(&outcome));
        batch.put(key::status(&self.id), encode(&self.status));
        self.record_event(&mut batch, event.clone());
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
