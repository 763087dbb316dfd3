//! What is kept of the past, so that a deployment that lives for years does
//! not fill the store.
//!
//! Events go in the batch that writes a later one, revisions in the batch that
//! accepts a later one, runs after the end of a later one. What a run under way
//! needs is never among them: it is of the latest run, and of a revision that
//! waited in the inbox, which is far shorter than what is kept.

use serde::{Deserialize, Serialize};

use nestor_core::ids::{DeploymentId, Timestamp};
use nestor_core::ports::{Batch, StoreError};
use nestor_core::webhook::About;

use crate::context::Context;
use crate::driver::{Driver, Stop};
use crate::records::{RevisionRecord, encode, key};
use crate::view::EventView;

/// Events of a deployment: about 3 MB, and some days of a busy one. A stream
/// that resumes from before them is told how many it missed.
const EVENTS_KEPT: u64 = 10_000;
/// Runs with their journals: what a person looks into after a failure.
const RUNS_KEPT: u64 = 10;
/// Of a deployment that is gone: its end.
const RUNS_KEPT_OF_THE_GONE: u64 = 1;
/// Revisions whole, to go back to.
const REVISIONS_KEPT: u64 = 100;
/// Revisions of which is known who posted them, when, and what changed.
const SUMMARIES_KEPT: u64 = 1_000;
/// Documents deleted in one batch.
const AT_ONCE: usize = 500;

/// What is kept of a revision that nobody can go back to any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PastRevision {
    pub(crate) revision: u64,
    pub(crate) by: String,
    pub(crate) created_at: Timestamp,
    pub(crate) outcome: Option<String>,
    pub(crate) added: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) removed: Vec<String>,
}

impl PastRevision {
    pub(crate) fn of(record: RevisionRecord, outcome: Option<String>) -> Self {
        Self {
            revision: record.revision,
            by: record.by,
            created_at: record.created_at,
            outcome,
            added: record.added,
            changed: record.changed,
            removed: record.removed,
        }
    }
}

/// The event that goes when one of this number is written.
fn forgotten_event(number: u64) -> Option<u64> {
    number.checked_sub(EVENTS_KEPT).filter(|old| *old > 0)
}

/// With a revision of this number, an old one becomes its summary, and the
/// oldest summary goes.
pub(crate) async fn forget_revision(
    context: &Context,
    id: &DeploymentId,
    number: u64,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let Some(old) = number.checked_sub(REVISIONS_KEPT).filter(|old| *old > 0) else {
        return Ok(());
    };
    let at = key::revision(id, old);
    if let Some(record) = context.read::<RevisionRecord>(&at).await? {
        let outcome_key = key::outcome(id, old);
        let became = context.read::<String>(&outcome_key).await?;
        let past = PastRevision::of(record, became);
        batch
            .put(key::past_revision(id, old), encode(&past))
            .delete(outcome_key)
            .delete(at);
    }
    if let Some(oldest) = number.checked_sub(REVISIONS_KEPT + SUMMARIES_KEPT) {
        batch.delete(key::past_revision(id, oldest));
    }
    Ok(())
}

/// Writes a durable event, and notes it for those who subscribed; one that is
/// long past goes.
pub(crate) fn record_event(
    context: &Context,
    batch: &mut Batch,
    about: About<'_>,
    event: EventView,
) {
    let Some(number) = event.id else { return };
    let id = about.deployment;
    batch.put(key::event(id, number), encode(&event));
    if let Some(old) = forgotten_event(number) {
        batch.delete(key::event(id, old));
    }
    context.hooks.note(context, batch, about, &event);
}

impl Driver {
    /// Writes a durable event, and notes it for those who subscribed; one that
    /// is long past goes.
    pub(crate) fn record_event(&self, batch: &mut Batch, event: EventView) {
        record_event(&self.context, batch, self.subject.about(&self.id), event);
    }

    /// After the end of a run: those long before it go.
    pub(crate) async fn forget_runs(&self, newest: u64, gone: bool) -> Result<(), Stop> {
        let kept = if gone {
            RUNS_KEPT_OF_THE_GONE
        } else {
            RUNS_KEPT
        };
        if newest <= kept {
            return Ok(());
        }
        let prefix = key::runs(&self.id);
        loop {
            let oldest = self.context.store.scan(&prefix, None, 1).await?;
            let number = oldest
                .first()
                .and_then(|(at, _)| at[prefix.len()..].parse::<u64>().ok());
            let Some(number) = number.filter(|number| number + kept <= newest) else {
                return Ok(());
            };
            for prefix in [
                key::journal(&self.id, number),
                key::befores(&self.id, number),
            ] {
                loop {
                    let page = self.context.store.scan(&prefix, None, AT_ONCE).await?;
                    if page.is_empty() {
                        break;
                    }
                    let mut batch = Batch::new();
                    for (at, _) in page {
                        batch.delete(at);
                    }
                    self.commit(batch).await?;
                }
            }
            // Last: a host that dies before this finds the rest of the run.
            let mut batch = Batch::new();
            batch.delete(key::run(&self.id, number));
            self.commit(batch).await?;
        }
    }
}
