//! What webhooks keep in the store.

use serde::{Deserialize, Serialize};

use nestor_core::ids::{ComposerId, DeploymentId, EnvironmentName, Timestamp, WebhookName};
use nestor_core::webhook::{Filter, Secret};

use crate::view::EventView;

/// A subscription. Written by the API under a guard on its last value, and by
/// its sender when the receiver is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubscriptionRecord {
    pub(crate) name: WebhookName,
    /// Never used again, so that a new subscription of an old name does not
    /// inherit what was meant for the old one.
    pub(crate) number: u64,
    pub(crate) url: String,
    pub(crate) secret: Secret,
    pub(crate) previous_secret: Option<Secret>,
    pub(crate) filter: Filter,
    pub(crate) allow_private: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// Why nothing is sent any more.
    pub(crate) disabled: Option<String>,
}

impl SubscriptionRecord {
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.secret).chain(&self.previous_secret)
    }
}

/// An event that a subscription is still to be told. Written in the batch that
/// makes the event durable; taken away by the subscription's sender alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutboxRecord {
    /// The same for every attempt, and for every subscription.
    pub(crate) id: String,
    /// Without the prefix.
    pub(crate) event_type: String,
    pub(crate) deployment: DeploymentId,
    pub(crate) composer: ComposerId,
    pub(crate) environment: EnvironmentName,
    pub(crate) event: EventView,
    pub(crate) since: Timestamp,
    /// Attempts so far.
    pub(crate) attempts: u32,
    /// Not before that time.
    pub(crate) not_before: Option<Timestamp>,
    /// What went wrong the last time.
    pub(crate) last: Option<String>,
}

/// An event that a subscription was not told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeadRecord {
    pub(crate) entry: OutboxRecord,
    pub(crate) reason: String,
    pub(crate) at: Timestamp,
}

/// Where they are.
pub(crate) mod key {
    use nestor_core::ids::WebhookName;

    pub(crate) const SUBSCRIPTIONS: &str = "whk/";
    pub(crate) const COUNTER: &str = "whn";
    pub(crate) const OUTBOX: &str = "wob/";
    pub(crate) const DEAD: &str = "wdl/";

    pub(crate) fn subscription(name: &WebhookName) -> String {
        format!("{SUBSCRIPTIONS}{name}")
    }
    pub(crate) fn lease(number: u64) -> String {
        format!("whl/{number:08}")
    }
    pub(crate) fn outbox(number: u64) -> String {
        format!("{OUTBOX}{number:08}/")
    }
    pub(crate) fn dead(number: u64) -> String {
        format!("{DEAD}{number:08}/")
    }
    /// The time in a key of the outbox.
    pub(crate) fn stamp(key: &str) -> Option<u64> {
        key.split('/').nth(2)?.split('-').next()?.parse().ok()
    }
    /// The subscription's number in a key of the outbox or the dead letters.
    pub(crate) fn number(key: &str) -> Option<u64> {
        key.split('/').nth(1)?.parse().ok()
    }
}
