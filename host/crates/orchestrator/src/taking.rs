//! Requests are taken out of the inbox in the batch that deals with them.

use nestor_core::ids::Timestamp;
use nestor_core::ports::{Batch, Guard};

use crate::driver::{Driver, Guarded, Stop};
use crate::records::{DeploymentRecord, Request, encode, key};
use crate::view::EventView;

impl Driver {
    /// Takes a request out of the inbox without more.
    pub(crate) async fn finish_request(
        &mut self,
        request: Request,
        events: Vec<EventView>,
    ) -> Result<Option<Timestamp>, Stop> {
        let mut batch = Batch::new();
        for event in &events {
            self.record_event(&mut batch, event.clone());
        }
        if !events.is_empty() {
            batch.put(key::status(&self.id), encode(&self.status));
        }
        self.commit_taking(batch, &[request]).await?;
        for event in events {
            self.context.publish(&self.id, event);
        }
        Ok(None)
    }

    /// Commits and takes a request out of the inbox, both or neither. The API
    /// may put requests in meanwhile; then the inbox is read again.
    pub(crate) async fn commit_taking(
        &self,
        batch: Batch,
        requests: &[Request],
    ) -> Result<(), Stop> {
        self.commit_if(batch, requests, |_| true).await.map(|_| ())
    }

    /// The same, unless what is in the inbox speaks against it; answers whether
    /// it was committed.
    pub(crate) async fn commit_if(
        &self,
        batch: Batch,
        requests: &[Request],
        wanted: impl Fn(&[Request]) -> bool,
    ) -> Result<bool, Stop> {
        let record_key = key::deployment(&self.id);
        loop {
            let mut batch = batch.clone();
            if let Some((mut record, raw)) = self
                .context
                .read_raw::<DeploymentRecord>(&record_key)
                .await?
            {
                if !wanted(&record.inbox) {
                    return Ok(false);
                }
                for request in requests {
                    if let Some(place) = record.inbox.iter().position(|r| r == request) {
                        record.inbox.remove(place);
                    }
                }
                batch
                    .guard(Guard::Equals(record_key.clone(), raw))
                    .put(record_key.clone(), encode(&record));
            }
            match self.commit(batch).await {
                Ok(()) => return Ok(true),
                Err(Guarded::Changed) => {}
                Err(Guarded::Stop(stop)) => return Err(stop),
            }
        }
    }
}
