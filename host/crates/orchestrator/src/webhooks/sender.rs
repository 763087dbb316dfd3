//! Works one subscription's outbox off, from the front.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nestor_core::execution::mutation::{Mutation, active};
use nestor_core::ids::Timestamp;
use nestor_core::ports::{Batch, CommitError, Guard, Notice, StoreError};
use nestor_core::webhook::{self, MAX_DEAD_LETTERS, Next};

use super::records::{DeadRecord, OutboxRecord, SubscriptionRecord, key};
use super::{Hook, envelope};
use crate::context::Context;
use crate::metrics::{WEBHOOK_ATTEMPTS, WEBHOOK_DEAD};
use crate::records::{decode, encode};
use crate::worker::NotTaken;

/// Entries read at once.
const PAGE: usize = 64;
/// After the store failed, before another try.
const STORE_PAUSE_MS: u64 = 5_000;
/// Where several hosts share a store, another one may have written an event.
const LOOK_MS: u64 = 2_000;

/// Why a sender stops for now.
enum Rest {
    /// The outbox is empty.
    Idle,
    /// The first entry is not due before.
    Until(Timestamp),
    /// Another host has the lease.
    Lost,
    /// It is over.
    Ended,
}

/// Until the host stops or the subscription is gone.
pub(super) async fn send_all(context: Arc<Context>, hook: Arc<Hook>) {
    let mut lease: Option<Guard> = None;
    loop {
        let rest = match work(&context, &hook, &mut lease).await {
            Ok(rest) => rest,
            Err(error) => {
                tracing::error!(%error, webhook = %hook.record().name, "webhooks rest for a while: the store failed");
                Rest::Until(context.now().plus_millis(STORE_PAUSE_MS))
            }
        };
        let alone = context.store.exclusive();
        let until = match rest {
            Rest::Ended => return,
            Rest::Lost => {
                lease = None;
                Some(context.now().plus_millis(LOOK_MS))
            }
            Rest::Idle if alone => None,
            Rest::Idle => Some(context.now().plus_millis(LOOK_MS)),
            Rest::Until(at) => Some(at),
        };
        let timer = async {
            match until {
                Some(at) => context.surroundings.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let idle = matches!(rest, Rest::Idle);
        tokio::select! {
            () = timer => {}
            // While the first entry waits, a new one changes nothing.
            () = hook.bell.notified(), if idle => {}
            () = hook.changed.notified() => {}
            () = hook.ended.cancelled() => return,
            () = context.shutdown.cancelled() => return,
        }
    }
}

async fn work(
    context: &Context,
    hook: &Hook,
    lease: &mut Option<Guard>,
) -> Result<Rest, StoreError> {
    let guard = match lease {
        Some(guard) => guard.clone(),
        None => {
            let at = key::lease(hook.number);
            match context.worker.take_at(&at, context.now()).await {
                Ok(taken) => lease.insert(taken.guard_at(at)).clone(),
                Err(NotTaken::Held(_)) => return Ok(Rest::Lost),
                Err(NotTaken::Store(error)) => return Err(error),
            }
        }
    };
    loop {
        if context.shutdown.is_cancelled() || hook.ended.is_cancelled() {
            return Ok(Rest::Ended);
        }
        trim(context, hook, &guard).await?;
        let prefix = key::outbox(hook.number);
        let page = context.store.scan(&prefix, None, PAGE).await?;
        if page.is_empty() {
            hook.pending.store(0, Ordering::Relaxed);
            return Ok(Rest::Idle);
        }
        for (at, bytes) in page {
            let Ok(entry) = decode::<OutboxRecord>(&at, &bytes) else {
                tracing::error!(key = %at, "an event in the outbox cannot be read; it is thrown away");
                let mut batch = Batch::new();
                batch.delete(at);
                if !taken(context, hook, &guard, batch).await? {
                    return Ok(Rest::Lost);
                }
                continue;
            };
            match one(context, hook, &guard, at, entry).await? {
                None => {}
                // Passes by what did not arrive: only as a deliberate bug.
                Some(Rest::Until(_)) if active(Mutation::ToldInOrder) => {}
                Some(rest) => return Ok(rest),
            }
        }
        if active(Mutation::ToldInOrder) {
            return Ok(Rest::Until(context.now().plus_millis(LOOK_MS)));
        }
    }
}

/// One entry; none when the next may follow.
async fn one(
    context: &Context,
    hook: &Hook,
    guard: &Guard,
    at: String,
    mut entry: OutboxRecord,
) -> Result<Option<Rest>, StoreError> {
    let record = hook.record();
    if let Some(reason) = &record.disabled {
        let reason = format!("the subscription is switched off: {reason}");
        return bury(context, hook, guard, at, entry, reason, Batch::new()).await;
    }
    if let Some(not_before) = entry.not_before.filter(|t| *t > context.now()) {
        return Ok(Some(Rest::Until(not_before)));
    }
    // A host whose leases ran out must send nothing: another may be sending.
    if !context.worker.alive(context.now()) {
        return Ok(Some(Rest::Lost));
    }
    if active(Mutation::NothingUntold) {
        let mut batch = Batch::new();
        batch.delete(at.clone());
        taken(context, hook, guard, batch).await?;
    }
    let notice = notice(&record, &entry, context.now());
    let answer = tokio::select! {
        answer = context.hooks.notifier.post(notice) => answer,
        () = hook.ended.cancelled() => return Ok(Some(Rest::Ended)),
        () = context.shutdown.cancelled() => return Ok(Some(Rest::Ended)),
    };
    entry.attempts += 1;
    let (now, jitter) = (context.now(), context.surroundings.jitter());
    let next = webhook::next(&answer, entry.attempts, entry.since, now, jitter);
    let outcome = match &next {
        Next::Delivered => "delivered",
        Next::Again { .. } => "again",
        Next::Dead { .. } => "dead",
        Next::Gone { .. } => "gone",
    };
    metrics::counter!(WEBHOOK_ATTEMPTS, "webhook" => record.name.to_string(), "outcome" => outcome)
        .increment(1);
    match next {
        Next::Delivered => {
            hook.last().delivered = Some(now);
            let mut batch = Batch::new();
            batch.delete(at);
            let there = taken(context, hook, guard, batch).await?;
            Ok((!there).then_some(Rest::Lost))
        }
        Next::Again { at: due, reason } => {
            tracing::info!(webhook = %record.name, event = %entry.id, attempt = entry.attempts, reason, "a webhook was not delivered");
            hook.last().failed = Some((now, reason.clone()));
            entry.not_before = Some(due);
            entry.last = Some(reason);
            let mut batch = Batch::new();
            batch.guard(guard.clone()).put(at, encode(&entry));
            let there = commit(context, batch).await?;
            Ok(Some(if there { Rest::Until(due) } else { Rest::Lost }))
        }
        Next::Dead { reason } => {
            hook.last().failed = Some((now, reason.clone()));
            bury(context, hook, guard, at, entry, reason, Batch::new()).await
        }
        Next::Gone { reason } => {
            hook.last().failed = Some((now, reason.clone()));
            let mut off = record.as_ref().clone();
            off.disabled = Some(reason.clone());
            off.updated_at = now;
            let place = key::subscription(&off.name);
            let mut batch = Batch::new();
            // Somebody who changed it meanwhile meant another receiver.
            batch
                .guard(Guard::Equals(place.clone(), encode(record.as_ref())))
                .put(place, encode(&off));
            let rest = bury(context, hook, guard, at, entry, reason, batch).await?;
            if rest.is_none() {
                tracing::warn!(webhook = %record.name, "the receiver is gone; the subscription is switched off");
                hook.replace(off);
            }
            Ok(rest)
        }
    }
}

/// The message for an attempt.
pub(super) fn notice(record: &SubscriptionRecord, entry: &OutboxRecord, now: Timestamp) -> Notice {
    let body = envelope::body(entry);
    let sent_at = now.0 / 1_000;
    Notice {
        url: record.url.clone(),
        allow_private: record.allow_private,
        signature: webhook::signature(record.secrets(), &entry.id, sent_at, &body),
        id: entry.id.clone(),
        sent_at,
        body: body.into(),
    }
}

/// Makes a dead letter of an entry.
async fn bury(
    context: &Context,
    hook: &Hook,
    guard: &Guard,
    at: String,
    entry: OutboxRecord,
    reason: String,
    mut batch: Batch,
) -> Result<Option<Rest>, StoreError> {
    let name = hook.record().name.to_string();
    tracing::warn!(webhook = %name, event = %entry.id, reason, "a webhook became a dead letter");
    let dead = DeadRecord {
        entry,
        reason,
        at: context.now(),
    };
    let place = at[key::outbox(hook.number).len()..].to_owned();
    batch.delete(at);
    batch.put(format!("{}{place}", key::dead(hook.number)), encode(&dead));
    if !taken(context, hook, guard, batch).await? {
        return Ok(Some(Rest::Lost));
    }
    hook.dead.fetch_add(1, Ordering::Relaxed);
    metrics::counter!(WEBHOOK_DEAD, "webhook" => name).increment(1);
    Ok(None)
}

/// Commits that an entry left the outbox; false when the lease is lost.
async fn taken(
    context: &Context,
    hook: &Hook,
    guard: &Guard,
    mut batch: Batch,
) -> Result<bool, StoreError> {
    batch.guard(guard.clone());
    let there = commit(context, batch).await?;
    if there {
        let less = |n: u64| Some(n.saturating_sub(1));
        let _ = hook
            .pending
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
    Ok(there)
}

/// Keeps the newest dead letters.
async fn trim(context: &Context, hook: &Hook, guard: &Guard) -> Result<(), StoreError> {
    let over = hook
        .dead
        .load(Ordering::Relaxed)
        .saturating_sub(MAX_DEAD_LETTERS);
    if over == 0 {
        return Ok(());
    }
    let most = usize::try_from(over).unwrap_or(PAGE).min(super::PAGE);
    let oldest = context
        .store
        .scan(&key::dead(hook.number), None, most)
        .await?;
    let gone = oldest.len() as u64;
    let mut batch = Batch::new();
    batch.guard(guard.clone());
    for (at, _) in oldest {
        batch.delete(at);
    }
    if commit(context, batch).await? {
        // What was counted and never committed corrects itself here.
        let counted = if gone < over { over } else { gone };
        hook.dead.fetch_sub(counted, Ordering::Relaxed);
    }
    Ok(())
}

/// False when a guard did not hold.
pub(super) async fn commit(context: &Context, batch: Batch) -> Result<bool, StoreError> {
    match context.store.commit(batch).await {
        Ok(()) => Ok(true),
        Err(CommitError::Guard { .. }) => Ok(false),
        Err(CommitError::Store(error)) => Err(error),
    }
}
