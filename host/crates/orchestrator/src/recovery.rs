//! What was under way when some worker stopped.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use nestor_core::ids::{DeploymentId, Timestamp};

use nestor_core::ports::StoreError;

use crate::context::Context;
use crate::records::{TodoRecord, key};
use crate::scheduler::{park, wake};
use crate::surroundings::is_due;
use crate::worker::BEAT_MS;
use crate::{alarms, webhooks};

/// Beats between two looks at the alarms that other workers set: a minute, for
/// which an alarm of a worker that died may go unnoticed.
const ALARMS_EVERY: u64 = 12;

/// A deployment that only waits for a time. Written by its driver; void once
/// somebody has asked for something since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaitRecord {
    pub(crate) until: Timestamp,
    /// What the driver had seen of the inbox.
    pub(crate) asked: u64,
}

/// Enters every deployment that has something to do, now or later. Reads two
/// small documents for each; its run is read when its turn comes.
pub(crate) async fn take_up(context: &Arc<Context>) -> Result<(), StoreError> {
    let waits: HashMap<String, WaitRecord> = context
        .read_all::<WaitRecord>(key::WAITS)
        .await?
        .into_iter()
        .map(|(at, wait)| (at[key::WAITS.len()..].to_owned(), wait))
        .collect();
    let todo = context.read_all::<TodoRecord>(key::TODO).await?;
    if !todo.is_empty() {
        tracing::info!(deployments = todo.len(), "taking up what was under way");
    }
    let now = context.now();
    for (at, todo) in todo {
        let Ok(id) = DeploymentId::new(&at[key::TODO.len()..]) else {
            tracing::warn!(key = %at, "not a deployment; left alone");
            continue;
        };
        // Void when somebody asked for something since it was written.
        let wait = waits
            .get(id.as_str())
            .filter(|wait| wait.asked == todo.asked && !is_due(wait.until, now));
        match wait {
            Some(wait) => park(context, &id, todo.ticket(), wait.until),
            None => wake(context, &id, &todo.ticket()),
        }
    }
    Ok(())
}

/// Says again and again that this worker is alive, and looks for what other
/// workers left or were asked for. Only where several share a store.
pub(crate) async fn keep_alive(context: Arc<Context>) {
    for beat in 1_u64.. {
        let next = context.now().plus_millis(BEAT_MS);
        tokio::select! {
            () = context.surroundings.sleep_until(next) => {}
            () = context.shutdown.cancelled() => return,
        }
        // Before it is alive again, if it stood still: what it records from now
        // on is told to those who subscribed meanwhile.
        if let Err(error) = webhooks::refresh(&context).await {
            tracing::error!(%error, "webhooks that were put through other workers could not be looked up");
        }
        if let Err(error) = context.worker.beat(context.now()).await {
            tracing::error!(%error, "this worker cannot say that it is alive");
            continue;
        }
        if let Err(error) = look_around(&context).await {
            tracing::error!(%error, "what other workers left could not be looked up");
        }
        if beat.is_multiple_of(ALARMS_EVERY)
            && let Err(error) = alarms::load(&context).await
        {
            tracing::error!(%error, "alarms that other workers set could not be read");
        }
    }
}

/// Rings every deployment that was asked for something: a request may have
/// come in through another worker.
async fn look_around(context: &Arc<Context>) -> Result<(), StoreError> {
    let waits: HashMap<String, WaitRecord> = context
        .read_all::<WaitRecord>(key::WAITS)
        .await?
        .into_iter()
        .map(|(at, wait)| (at[key::WAITS.len()..].to_owned(), wait))
        .collect();
    for (at, todo) in context.read_all::<TodoRecord>(key::TODO).await? {
        let Ok(id) = DeploymentId::new(&at[key::TODO.len()..]) else {
            continue;
        };
        let waits = waits
            .get(id.as_str())
            .is_some_and(|wait| wait.asked == todo.asked);
        if !(waits && context.scheduler.knows(&id)) {
            wake(context, &id, &todo.ticket());
        }
    }
    Ok(())
}
