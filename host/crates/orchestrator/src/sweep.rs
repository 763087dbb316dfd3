//! Forgets idempotency keys that are past their time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nestor_core::ports::{Batch, CommitError, Guard, StoreError};

use crate::context::Context;
use crate::records::{decode, key};
use crate::submit::{IDEMPOTENCY_MS, IdempotencyRecord};

/// Keys are kept for a day: an hour more of them is little.
const EVERY_MS: u64 = 3_600_000;
/// Keys of one read and one commit.
const PAGE: usize = 1_000;

/// When that was last done, in this process.
#[derive(Debug, Default)]
pub(crate) struct Swept(AtomicU64);

/// Sweeps in the background, unless that was done within the hour. For where
/// keys come in: while none does, they do not become more.
pub(crate) fn now_and_then(context: &Arc<Context>) {
    let (last, now) = (&context.swept.0, context.now().0);
    let before = last.load(Ordering::SeqCst);
    let recent = now.abs_diff(before) < EVERY_MS;
    let mine = || last.compare_exchange(before, now, Ordering::SeqCst, Ordering::SeqCst);
    if recent || mine().is_err() {
        return;
    }
    let context = Arc::clone(context);
    context.tasks.clone().spawn(async move {
        if let Err(error) = sweep(&context).await {
            tracing::error!(%error, "old idempotency keys could not be forgotten");
        }
    });
}

async fn sweep(context: &Context) -> Result<(), StoreError> {
    let now = context.now();
    let mut after: Option<String> = None;
    while !context.shutdown.is_cancelled() {
        let page = context
            .store
            .scan(key::IDEMPOTENCY, after.as_deref(), PAGE)
            .await?;
        let Some((last, _)) = page.last() else {
            break;
        };
        after = Some(last.clone());
        let mut batch = Batch::new();
        for (at, bytes) in page {
            let record: Result<IdempotencyRecord, _> = decode(&at, &bytes);
            if record.is_ok_and(|r| r.at.plus_millis(IDEMPOTENCY_MS) <= now) {
                // It may be used anew just now.
                batch.guard(Guard::Equals(at.clone(), bytes)).delete(at);
            }
        }
        if batch.writes.is_empty() {
            continue;
        }
        match context.store.commit(batch).await {
            // These are for the next time.
            Ok(()) | Err(CommitError::Guard { .. }) => {}
            Err(CommitError::Store(error)) => return Err(error),
        }
    }
    Ok(())
}
