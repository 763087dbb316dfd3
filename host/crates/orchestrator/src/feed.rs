//! A deployment's events as a stream: the durable ones first, then live.

use std::sync::Arc;

use futures::stream::BoxStream;
use tokio::sync::broadcast::error::RecvError;

use nestor_core::ids::DeploymentId;

use crate::context::Context;
use crate::records::{DeploymentRecord, Request, StatusRecord, key};
use crate::view::EventView;

/// Events read from the store at once.
const PAGE: usize = 500;

/// Everything after `after`. Without `follow` it ends once the deployment has
/// settled and all was sent.
pub(crate) fn stream(
    context: Arc<Context>,
    id: DeploymentId,
    after: Option<u64>,
    follow: bool,
) -> BoxStream<'static, EventView> {
    Box::pin(async_stream::stream! {
        // Before reading the store, so that nothing falls in between.
        let mut live = context.events.subscribe();
        let mut last = after.unwrap_or(0);
        loop {
            loop {
                let from = key::event(&id, last);
                let Ok(page) = context.store.scan(&key::events(&id), Some(&from), PAGE).await else { return };
                let full = page.len() == PAGE;
                for (_, bytes) in page {
                    let Ok(event) = serde_json::from_slice::<EventView>(&bytes) else { return };
                    if let Some(gap) = gap(last, &event) {
                        yield gap;
                    }
                    last = event.id.unwrap_or(last);
                    yield event;
                }
                if !full {
                    break;
                }
            }
            if !follow && settled(&context, &id, last).await {
                return;
            }
            loop {
                let received = tokio::select! {
                    received = live.recv() => received,
                    () = context.shutdown.cancelled() => return,
                };
                match received {
                    Ok(message) => {
                        let (about, event) = message.as_ref();
                        if about != &id {
                            continue;
                        }
                        match event.id {
                            // The store has told it, or has an earlier one still to tell.
                            Some(number) if number <= last => {}
                            Some(number) if number == last + 1 => {
                                last = number;
                                yield event.clone();
                            }
                            Some(_) => break,
                            None => yield event.clone(),
                        }
                        if !follow && event.status.is_some() {
                            break;
                        }
                    }
                    // Too slow for the live ones: the durable ones are in the store.
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return,
                }
            }
        }
    })
}

/// What to say before an event when those right before it are not kept any
/// more.
fn gap(last: u64, next: &EventView) -> Option<EventView> {
    let until = next.id?.checked_sub(1)?;
    let from = last + 1;
    (from <= until).then(|| EventView {
        id: None,
        kind: "gap".into(),
        at: next.at.clone(),
        revision: next.revision,
        resource: None,
        status: None,
        message: format!("events {from} to {until} are not kept any more"),
        data: serde_json::json!({ "from": from, "to": until }),
    })
}

/// Nothing is under way, nothing waits, and everything was sent.
async fn settled(context: &Context, id: &DeploymentId, last: u64) -> bool {
    let record = context.read::<DeploymentRecord>(&key::deployment(id)).await;
    let status = context.read::<StatusRecord>(&key::status(id)).await;
    match (record, status) {
        (Ok(Some(record)), Ok(Some(status))) => {
            let begun = status.phase == crate::view::Phase::Done;
            let rests = |r: &Request| matches!(r, Request::CheckDrift { .. });
            begun && record.inbox.iter().all(rests) && !status.active && status.events <= last
        }
        (Ok(_), Ok(_)) | (Err(_), _) | (_, Err(_)) => true,
    }
}
