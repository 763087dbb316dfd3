//! A deployment's durable events: numbered, written, and noted for those who
//! subscribed, in one batch.

use nestor_core::ids::ResourceName;
use nestor_core::ports::Batch;

use crate::driver::Driver;
use crate::records::{encode, key};
use crate::surroundings::rfc3339;
use crate::view::EventView;

impl Driver {
    /// A durable event that has its number already.
    pub(crate) fn event(
        &mut self,
        kind: &str,
        revision: u64,
        resource: Option<&ResourceName>,
        message: String,
    ) -> EventView {
        self.status.events += 1;
        EventView {
            id: Some(self.status.events),
            kind: kind.to_owned(),
            at: rfc3339(self.context.now()),
            revision,
            resource: resource.map(ToString::to_string),
            status: None,
            message,
            data: serde_json::Value::Null,
        }
    }

    /// The event that tells the status that was just set.
    pub(crate) fn status_event(
        &mut self,
        batch: &mut Batch,
        revision: u64,
        message: String,
    ) -> EventView {
        let mut event = self.event("status", revision, None, message);
        event.status = Some(self.status.status);
        // With the number of its last event.
        batch.put(key::status(&self.id), encode(&self.status));
        self.record_event(batch, event.clone());
        event
    }
}
