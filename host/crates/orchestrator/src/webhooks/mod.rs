//! Webhooks: every event that somebody subscribed to is written down beside
//! itself, in the same batch, and sent from there until it arrived or became a
//! dead letter.
//!
//! A subscription's outbox is in the order in which this host recorded the
//! events; one sender works it off from the front and does not pass by an event
//! that did not arrive yet. Deployments never wait for it.

mod admin;
mod envelope;
mod records;
mod sender;
mod view;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use nestor_core::ids::{ComposerId, DeploymentId, EnvironmentName, Timestamp};
use nestor_core::ports::{Batch, Notifier, StoreError};
use nestor_core::webhook::{About, MAX_OUTBOX};

use crate::context::Context;
use crate::records::{DeploymentRecord, encode};
use crate::view::EventView;
use records::{DeadRecord, OutboxRecord, SubscriptionRecord, key};

pub use view::{
    DeadLetterPage, DeadLetterView, DeliveryAttemptView, FilterView, Redelivered, WebhookList,
    WebhookRejection, WebhookState, WebhookTest, WebhookView,
};

/// Documents read at once while counting.
const PAGE: usize = 1_000;

/// A subscription of this host.
pub(crate) struct Hook {
    number: u64,
    record: Mutex<Arc<SubscriptionRecord>>,
    /// Rung when there is something new in the outbox.
    bell: Notify,
    /// Rung when the subscription changed.
    changed: Notify,
    /// Events that wait; what was not committed after all may be counted in.
    pending: AtomicU64,
    dead: AtomicU64,
    last: Mutex<Last>,
    ended: CancellationToken,
}

/// What came of the last attempts.
#[derive(Debug, Clone, Default)]
struct Last {
    delivered: Option<Timestamp>,
    failed: Option<(Timestamp, String)>,
}

impl Hook {
    fn new(record: SubscriptionRecord) -> Self {
        Self {
            number: record.number,
            record: Mutex::new(Arc::new(record)),
            bell: Notify::new(),
            changed: Notify::new(),
            pending: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            last: Mutex::default(),
            ended: CancellationToken::new(),
        }
    }

    fn record(&self) -> Arc<SubscriptionRecord> {
        Arc::clone(&self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, record: SubscriptionRecord) {
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(record);
        self.changed.notify_one();
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All subscriptions of this host.
pub(crate) struct Hooks {
    notifier: Arc<dyn Notifier>,
    all: RwLock<Arc<Vec<Arc<Hook>>>>,
    /// The last place in an outbox that this process gave out.
    stamp: AtomicU64,
    /// Subscriptions are changed one at a time.
    changes: tokio::sync::Mutex<()>,
}

impl Hooks {
    pub(crate) fn new(notifier: Arc<dyn Notifier>) -> Self {
        Self {
            notifier,
            all: RwLock::default(),
            stamp: AtomicU64::new(0),
            changes: tokio::sync::Mutex::new(()),
        }
    }

    fn all(&self) -> Arc<Vec<Arc<Hook>>> {
        Arc::clone(&self.all.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Hook>>)) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = all.as_ref().clone();
        change(&mut next);
        *all = Arc::new(next);
    }

    /// Ends a subscription's sender and forgets it.
    fn end(&self, hook: &Hook) {
        self.change(|all| all.retain(|other| other.number != hook.number));
        hook.ended.cancel();
    }

    /// Writes a durable event down for those who want it, in its own batch.
    pub(crate) fn note(
        &self,
        context: &Context,
        batch: &mut Batch,
        about: About<'_>,
        event: &EventView,
    ) {
        let all = self.all();
        if all.is_empty() {
            return;
        }
        let event_type = envelope::event_type(event);
        let mut entry: Option<OutboxRecord> = None;
        for hook in all.iter() {
            let record = hook.record();
            if record.disabled.is_some() || !record.filter.wants(about, &event_type) {
                continue;
            }
            let entry = entry.get_or_insert_with(|| OutboxRecord {
                id: envelope::event_id(about.deployment, event),
                event_type: event_type.clone(),
                deployment: about.deployment.clone(),
                composer: about.composer.clone(),
                environment: about.environment.clone(),
                event: event.clone(),
                since: context.now(),
                attempts: 0,
                not_before: None,
                last: None,
            });
            let place = self.place(context);
            if hook.pending.fetch_add(1, Ordering::Relaxed) < MAX_OUTBOX {
                batch.put(
                    format!("{}{place}", key::outbox(hook.number)),
                    encode(&entry),
                );
            } else {
                hook.pending.fetch_sub(1, Ordering::Relaxed);
                hook.dead.fetch_add(1, Ordering::Relaxed);
                let dead = DeadRecord {
                    entry: entry.clone(),
                    reason: format!("{MAX_OUTBOX} events wait already"),
                    at: context.now(),
                };
                batch.put(format!("{}{place}", key::dead(hook.number)), encode(&dead));
            }
        }
    }

    /// What was noted is durable now.
    pub(crate) fn ring(&self) {
        for hook in self.all().iter() {
            hook.bell.notify_one();
        }
    }

    /// A place behind every other that this process gave out: microseconds, so
    /// that places go on growing after a restart.
    fn place(&self, context: &Context) -> String {
        let now = context.now().0.saturating_mul(1_000);
        let last = self
            .stamp
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| {
                Some(now.max(last + 1))
            })
            .unwrap_or_else(|last| last);
        format!("{:020}-{:06}", now.max(last + 1), context.worker.number())
    }
}

/// Whose a deployment is, and where.
pub(crate) struct Subject {
    composer: ComposerId,
    environment: EnvironmentName,
}

impl Subject {
    pub(crate) fn of(record: &DeploymentRecord) -> Self {
        Self {
            composer: record.composer.clone(),
            environment: record.environment.clone(),
        }
    }

    pub(crate) fn about<'a>(&'a self, deployment: &'a DeploymentId) -> About<'a> {
        About {
            deployment,
            composer: &self.composer,
            environment: &self.environment,
        }
    }
}

/// Takes every subscription up, and throws away what belongs to none.
pub(crate) async fn take_up(context: &Arc<Context>) -> Result<(), StoreError> {
    refresh(context).await?;
    sweep(context).await
}

/// Brings this host's subscriptions to what the store has: another host may
/// have made, changed or taken away some.
pub(crate) async fn refresh(context: &Arc<Context>) -> Result<(), StoreError> {
    let _one = context.hooks.changes.lock().await;
    let stored = stored(context).await?;
    for hook in context.hooks.all().iter() {
        if !stored.iter().any(|record| record.number == hook.number) {
            context.hooks.end(hook);
        }
    }
    for record in stored {
        let known = context.hooks.all();
        match known.iter().find(|hook| hook.number == record.number) {
            None => begin(context, record).await?,
            Some(hook) if *hook.record() != record => hook.replace(record),
            Some(_) => {}
        }
    }
    Ok(())
}

async fn stored(context: &Context) -> Result<Vec<SubscriptionRecord>, StoreError> {
    let all = context.read_all(key::SUBSCRIPTIONS).await?;
    Ok(all.into_iter().map(|(_, record)| record).collect())
}

/// A subscription with its sender.
async fn begin(context: &Arc<Context>, record: SubscriptionRecord) -> Result<(), StoreError> {
    let hook = Hook::new(record);
    let (pending, last) = count(context, &key::outbox(hook.number)).await?;
    let (dead, _) = count(context, &key::dead(hook.number)).await?;
    hook.pending.store(pending, Ordering::Relaxed);
    hook.dead.store(dead, Ordering::Relaxed);
    // The clock may stand where it stood, or before that, when what waits was
    // written.
    if let Some(stamp) = last.as_deref().and_then(key::stamp) {
        context.hooks.stamp.fetch_max(stamp, Ordering::SeqCst);
    }
    let hook = Arc::new(hook);
    context.hooks.change(|all| all.push(Arc::clone(&hook)));
    context
        .tasks
        .spawn(sender::send_all(Arc::clone(context), hook));
    Ok(())
}

/// How many documents there are, and the key of the last.
async fn count(context: &Context, prefix: &str) -> Result<(u64, Option<String>), StoreError> {
    let mut found = 0;
    let mut after: Option<String> = None;
    loop {
        let page = context.store.scan(prefix, after.as_deref(), PAGE).await?;
        found += page.len() as u64;
        match page.into_iter().next_back() {
            Some((last, _)) => after = Some(last),
            None => return Ok((found, after)),
        }
    }
}

/// Entries of subscriptions that are gone: an event may have been written for
/// one while it was deleted.
async fn sweep(context: &Context) -> Result<(), StoreError> {
    for prefix in [key::OUTBOX, key::DEAD] {
        let mut after: Option<String> = None;
        loop {
            let page = context.store.scan(prefix, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            // Read after the entries: a subscription is written before them.
            let known: Vec<u64> = stored(context).await?.iter().map(|r| r.number).collect();
            let mut batch = Batch::new();
            for (at, _) in page {
                if key::number(&at).is_none_or(|number| !known.contains(&number)) {
                    batch.delete(at);
                }
            }
            if !batch.writes.is_empty() {
                sender::commit(context, batch).await?;
            }
        }
    }
    Ok(())
}
