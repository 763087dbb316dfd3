//! What people do with subscriptions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nestor_core::execution::Jitter;
use nestor_core::ids::WebhookName;
use nestor_core::ports::{Batch, Guard, NoticeAnswer, StoreError};
use nestor_core::violation::{Violation, ViolationCode};
use nestor_core::webhook::{self, MAX_OUTBOX, MAX_SUBSCRIPTIONS, TYPE_PREFIX};

use super::records::{DeadRecord, OutboxRecord, SubscriptionRecord, key};
use super::view::{
    DeadLetterPage, DeadLetterView, DeliveryAttemptView, FilterView, Redelivered, WebhookList,
    WebhookRejection, WebhookState, WebhookTest, WebhookView,
};
use super::{Hook, PAGE, begin, sender};
use crate::context::Context;
use crate::orchestrator::Orchestrator;
use crate::records::{decode, encode};
use crate::surroundings::rfc3339;
use crate::view::EventView;

/// The largest page of dead letters.
const MAX_PAGE: usize = 100;
/// Dead letters taken up again in one commit.
const REDELIVERED_AT_ONCE: usize = 100;
/// Of a test message: nobody's deployment.
const TEST: &str = "webhook-test";

impl Orchestrator {
    /// Every subscription, in order of name.
    #[must_use]
    pub fn webhooks(&self) -> WebhookList {
        let mut items: Vec<WebhookView> =
            self.context.hooks.all().iter().map(|h| view(h)).collect();
        items.sort_by(|a, b| a.name.cmp(&b.name));
        WebhookList { items }
    }

    /// One subscription.
    ///
    /// # Errors
    /// [`WebhookRejection::NotFound`].
    pub fn webhook(&self, name: &WebhookName) -> Result<WebhookView, WebhookRejection> {
        Ok(view(&*find(&self.context, name)?))
    }

    /// Makes a subscription, or changes one; true when it is new. Durable when
    /// it answers. One that was switched off is switched on again.
    ///
    /// # Errors
    /// See [`WebhookRejection`].
    pub async fn put_webhook(
        &self,
        name: &WebhookName,
        body: &[u8],
    ) -> Result<(WebhookView, bool), WebhookRejection> {
        let context = &self.context;
        let request = webhook::parse(body).map_err(WebhookRejection::Invalid)?;
        context
            .hooks
            .notifier
            .check(&request.url, request.allow_private)
            .map_err(|message| invalid(ViolationCode::InvalidValue, "/url", message))?;
        let _one = context.hooks.changes.lock().await;
        let now = context.now();
        let existing = find(context, name).ok();
        let Some(hook) = existing else {
            let Some(secrets) = request.secrets else {
                let message = "the field \"secret\" is missing: messages are signed with it";
                return Err(invalid(ViolationCode::MissingField, "", message.into()));
            };
            if context.hooks.all().len() >= MAX_SUBSCRIPTIONS {
                return Err(WebhookRejection::Conflict(format!(
                    "there are {MAX_SUBSCRIPTIONS} webhooks already, as many as a host has"
                )));
            }
            let record = SubscriptionRecord {
                name: name.clone(),
                number: number(context).await.map_err(internal)?,
                url: request.url,
                secret: secrets.current,
                previous_secret: secrets.previous,
                filter: request.filter,
                allow_private: request.allow_private,
                created_at: now,
                updated_at: now,
                disabled: None,
            };
            let at = key::subscription(name);
            let mut batch = Batch::new();
            batch
                .guard(Guard::Absent(at.clone()))
                .put(at, encode(&record));
            write(context, batch).await?;
            begin(context, record).await.map_err(internal)?;
            return Ok((self.webhook(name)?, true));
        };
        let before = hook.record();
        let mut record = before.as_ref().clone();
        record.url = request.url;
        record.filter = request.filter;
        record.allow_private = request.allow_private;
        record.updated_at = now;
        record.disabled = None;
        if let Some(secrets) = request.secrets {
            record.secret = secrets.current;
            record.previous_secret = secrets.previous;
        }
        let at = key::subscription(name);
        let mut batch = Batch::new();
        batch
            .guard(Guard::Equals(at.clone(), encode(before.as_ref())))
            .put(at, encode(&record));
        write(context, batch).await?;
        hook.replace(record);
        Ok((view(&hook), false))
    }

    /// Takes a subscription away, with everything that waits for it.
    ///
    /// # Errors
    /// See [`WebhookRejection`].
    pub async fn delete_webhook(&self, name: &WebhookName) -> Result<(), WebhookRejection> {
        let context = &self.context;
        let _one = context.hooks.changes.lock().await;
        let hook = find(context, name)?;
        let mut batch = Batch::new();
        batch
            .delete(key::subscription(name))
            .delete(key::lease(hook.number));
        write(context, batch).await?;
        context.hooks.end(&hook);
        super::sweep(context).await.map_err(internal)
    }

    /// Posts a test message and waits for what comes of it.
    ///
    /// # Errors
    /// [`WebhookRejection::NotFound`].
    pub async fn test_webhook(&self, name: &WebhookName) -> Result<WebhookTest, WebhookRejection> {
        let context = &self.context;
        let hook = find(context, name)?;
        let now = context.now();
        let entry = test_message(&hook, now);
        let notice = sender::notice(&hook.record(), &entry, now);
        let answer = context.hooks.notifier.post(notice).await;
        let status = match &answer {
            NoticeAnswer::Status { code, .. } => Some(*code),
            NoticeAnswer::Unreachable(_) | NoticeAnswer::NotAllowed(_) => None,
        };
        let reason = match webhook::next(&answer, 1, now, now, Jitter(0)) {
            webhook::Next::Delivered => None,
            webhook::Next::Again { reason, .. }
            | webhook::Next::Dead { reason }
            | webhook::Next::Gone { reason } => Some(reason),
        };
        Ok(WebhookTest {
            delivered: reason.is_none(),
            id: entry.id,
            status,
            reason,
        })
    }

    /// Dead letters, oldest first, after `cursor`.
    ///
    /// # Errors
    /// See [`WebhookRejection`].
    pub async fn dead_letters(
        &self,
        name: &WebhookName,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<DeadLetterPage, WebhookRejection> {
        let hook = find(&self.context, name)?;
        let limit = limit.clamp(1, MAX_PAGE);
        let prefix = key::dead(hook.number);
        let after = cursor.map(|c| format!("{prefix}{c}"));
        let page = self
            .context
            .store
            .scan(&prefix, after.as_deref(), limit)
            .await
            .map_err(internal)?;
        let next = (page.len() == limit)
            .then(|| page.last().map(|(at, _)| at[prefix.len()..].to_owned()))
            .flatten();
        let items = page
            .iter()
            .map(|(at, bytes)| decode::<DeadRecord>(at, bytes).map(letter))
            .collect::<Result<_, _>>()
            .map_err(internal)?;
        Ok(DeadLetterPage { items, next })
    }

    /// Puts dead letters back into the outbox, behind what waits there: those
    /// with these ids, or all.
    ///
    /// # Errors
    /// See [`WebhookRejection`].
    pub async fn redeliver(
        &self,
        name: &WebhookName,
        ids: Option<&[String]>,
    ) -> Result<Redelivered, WebhookRejection> {
        let context = &self.context;
        let _one = context.hooks.changes.lock().await;
        let hook = find(context, name)?;
        if let Some(reason) = &hook.record().disabled {
            return Err(WebhookRejection::Conflict(format!(
                "webhook {name} is switched off: {reason}; put it again first"
            )));
        }
        let mut queued = 0;
        let mut after: Option<String> = None;
        loop {
            let prefix = key::dead(hook.number);
            let page = context
                .store
                .scan(&prefix, after.as_deref(), PAGE.min(REDELIVERED_AT_ONCE))
                .await
                .map_err(internal)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let mut batch = Batch::new();
            let mut taken = 0;
            for (at, raw) in page {
                let dead: DeadRecord = decode(&at, &raw).map_err(internal)?;
                let waiting = hook.pending.load(Ordering::Relaxed) + taken;
                if ids.is_some_and(|ids| !ids.contains(&dead.entry.id)) || waiting >= MAX_OUTBOX {
                    continue;
                }
                let mut entry = dead.entry;
                entry.since = context.now();
                entry.attempts = 0;
                entry.not_before = None;
                entry.last = Some(dead.reason);
                let place = context.hooks.place(context);
                // Trimmed meanwhile: then it is gone.
                batch.guard(Guard::Equals(at.clone(), raw)).delete(at).put(
                    format!("{}{place}", key::outbox(hook.number)),
                    encode(&entry),
                );
                taken += 1;
            }
            if taken > 0 && sender::commit(context, batch).await.map_err(internal)? {
                queued += taken;
                hook.pending.fetch_add(taken, Ordering::Relaxed);
                let less = |n: u64| Some(n.saturating_sub(taken));
                let _ = hook
                    .dead
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
                hook.bell.notify_one();
            }
        }
        Ok(Redelivered { queued })
    }
}

fn find(context: &Context, name: &WebhookName) -> Result<Arc<Hook>, WebhookRejection> {
    let all = context.hooks.all();
    let found = all.iter().find(|h| h.record().name == *name);
    found
        .cloned()
        .ok_or_else(|| WebhookRejection::NotFound(name.to_string()))
}

/// A number that no subscription had before.
async fn number(context: &Context) -> Result<u64, StoreError> {
    loop {
        let old = context.store.get(key::COUNTER).await?;
        let next = match &old {
            Some(raw) => decode::<u64>(key::COUNTER, raw)? + 1,
            None => 1,
        };
        let mut batch = Batch::new();
        batch.guard(match old {
            Some(raw) => Guard::Equals(key::COUNTER.into(), raw),
            None => Guard::Absent(key::COUNTER.into()),
        });
        batch.put(key::COUNTER, encode(&next));
        if sender::commit(context, batch).await? {
            return Ok(next);
        }
    }
}

async fn write(context: &Context, batch: Batch) -> Result<(), WebhookRejection> {
    if sender::commit(context, batch).await.map_err(internal)? {
        return Ok(());
    }
    Err(WebhookRejection::Conflict(
        "the webhook was changed by somebody else at the same moment; look at it and ask again"
            .into(),
    ))
}

fn test_message(hook: &Hook, now: nestor_core::ids::Timestamp) -> OutboxRecord {
    let name = hook.record().name.clone();
    let label = |text: &str| text.to_owned();
    OutboxRecord {
        id: format!("{TEST}/{name}/{}", now.0),
        event_type: "webhook.test".into(),
        deployment: TEST.parse().expect("a label"),
        composer: TEST.parse().expect("a label"),
        environment: TEST.parse().expect("a label"),
        event: EventView {
            id: None,
            kind: label("test"),
            at: rfc3339(now),
            revision: 0,
            resource: None,
            status: None,
            message: format!("a test of webhook {name}"),
            data: serde_json::Value::Null,
        },
        since: now,
        attempts: 0,
        not_before: None,
        last: None,
    }
}

fn view(hook: &Hook) -> WebhookView {
    let record = hook.record();
    let last = hook.last().clone();
    let filter = &record.filter;
    WebhookView {
        name: record.name.to_string(),
        url: record.url.clone(),
        filter: FilterView {
            composer: filter.composer.as_ref().map(ToString::to_string),
            environment: filter.environment.as_ref().map(ToString::to_string),
            deployment: filter.deployment.as_ref().map(ToString::to_string),
            types: filter.types.iter().map(|p| p.as_str().to_owned()).collect(),
        },
        allow_private: record.allow_private,
        state: match record.disabled {
            Some(_) => WebhookState::Disabled,
            None => WebhookState::Active,
        },
        reason: record.disabled.clone(),
        previous_secret: record.previous_secret.is_some(),
        pending: hook.pending.load(Ordering::Relaxed),
        dead_letters: hook.dead.load(Ordering::Relaxed),
        last_delivery: last.delivered.map(rfc3339),
        last_failure: last.failed.map(|(at, reason)| DeliveryAttemptView {
            at: rfc3339(at),
            reason,
        }),
        created_at: rfc3339(record.created_at),
        updated_at: rfc3339(record.updated_at),
    }
}

fn letter(dead: DeadRecord) -> DeadLetterView {
    DeadLetterView {
        id: dead.entry.id,
        event_type: format!("{TYPE_PREFIX}{}", dead.entry.event_type),
        deployment: dead.entry.deployment.to_string(),
        reason: dead.reason,
        attempts: dead.entry.attempts,
        at: rfc3339(dead.at),
        event: dead.entry.event,
    }
}

fn invalid(code: ViolationCode, pointer: &str, message: String) -> WebhookRejection {
    WebhookRejection::Invalid(vec![Violation::new(code, pointer, message)])
}

fn internal(error: StoreError) -> WebhookRejection {
    tracing::error!(%error, "a request about webhooks failed inside");
    WebhookRejection::Internal
}
