//! Webhooks, as the API answers them.

use serde::Deserialize;

/// A webhook.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// Where events are posted to.
    pub url: String,
    /// `active` or `disabled`.
    pub state: String,
    /// Why it is switched off.
    #[serde(default)]
    pub reason: Option<String>,
    /// Which events.
    #[serde(default)]
    pub filter: WebhookFilter,
    /// Events that wait.
    #[serde(default)]
    pub pending: u64,
    /// Events that were given up.
    #[serde(default)]
    pub dead_letters: u64,
    /// RFC 3339; since the host started.
    #[serde(default)]
    pub last_delivery: Option<String>,
    /// Since the host started.
    #[serde(default)]
    pub last_failure: Option<WebhookFailure>,
}

/// Which events; what is absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct WebhookFilter {
    /// Only of this composer.
    #[serde(default)]
    pub composer: Option<String>,
    /// Only in this environment.
    #[serde(default)]
    pub environment: Option<String>,
    /// Only of this deployment.
    #[serde(default)]
    pub deployment: Option<String>,
    /// Any of these.
    #[serde(default)]
    pub types: Vec<String>,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WebhookFailure {
    /// RFC 3339.
    pub at: String,
    /// What went wrong.
    pub reason: String,
}

/// Every webhook.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Webhooks {
    /// In order of name.
    pub items: Vec<Webhook>,
}

/// What came of a test message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WebhookTest {
    /// Whether the receiver took it.
    pub delivered: bool,
    /// What went wrong.
    #[serde(default)]
    pub reason: Option<String>,
}

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeadLetter {
    /// The event's id.
    pub id: String,
    /// Its type on the wire.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Why.
    pub reason: String,
    /// Attempts that were made.
    #[serde(default)]
    pub attempts: u32,
    /// When, RFC 3339.
    pub at: String,
}

/// A page of events that were given up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeadLetters {
    /// Oldest first.
    pub items: Vec<DeadLetter>,
    /// Pass it on for the next page.
    #[serde(default)]
    pub next: Option<String>,
}

/// What a redelivery did.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Redelivered {
    /// Events that wait for delivery again.
    pub queued: u64,
}
