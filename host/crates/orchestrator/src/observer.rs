//! Hears a call's log lines and progress and passes them on.

use std::sync::Arc;
use std::task::Poll;

use serde_json::{Value, json};

use nestor_core::ids::ResourceName;
use nestor_core::ports::{CallObserver, LogLevel};

use crate::context::Context;
use crate::driver::Driver;
use crate::scheduler::Handle;
use crate::surroundings::rfc3339;
use crate::view::EventView;

pub(crate) struct Observer {
    context: Arc<Context>,
    handle: Handle,
    id: nestor_core::ids::DeploymentId,
    revision: u64,
    step: u32,
    resource: ResourceName,
}

impl Observer {
    pub(crate) fn new(driver: &Driver, revision: u64, step: u32, resource: ResourceName) -> Self {
        Self {
            context: Arc::clone(&driver.context),
            handle: driver.handle.clone(),
            id: driver.id.clone(),
            revision,
            step,
            resource,
        }
    }

    /// Says what a call waits for, while `waits` goes on.
    pub(crate) async fn while_waiting<T>(
        &self,
        message: &str,
        waits: impl Future<Output = T>,
    ) -> T {
        let mut waits = std::pin::pin!(waits);
        if let Poll::Ready(done) = futures::poll!(waits.as_mut()) {
            return done;
        }
        let say = |message: String| {
            self.handle
                .live(|live| live.as_mut().map(|live| live.say(self.step, message)))
        };
        let before = say(message.to_owned()).unwrap_or_default();
        let done = waits.await;
        say(before);
        done
    }

    fn publish(&self, kind: &str, message: &str, data: Value) {
        let event = EventView {
            id: None,
            kind: kind.to_owned(),
            at: rfc3339(self.context.now()),
            revision: self.revision,
            resource: Some(self.resource.to_string()),
            status: None,
            message: message.to_owned(),
            data,
        };
        self.context.publish(&self.id, event);
    }
}

impl CallObserver for Observer {
    fn log(&self, level: LogLevel, message: &str, fields: &Value) {
        self.publish("log", message, json!({ "level": level, "fields": fields }));
    }

    fn progress(&self, percent: Option<u8>, message: &str) {
        let noted = self.handle.live(|live| {
            let live = live.as_mut()?;
            let shown = live.note_progress(self.step, percent, message);
            Some((shown, live.is_further()))
        });
        let Some((shown, further)) = noted else {
            return;
        };
        if further {
            self.handle.further.notify_one();
        }
        self.publish(
            "progress",
            &shown.message,
            json!({ "percent": shown.percent }),
        );
    }
}
