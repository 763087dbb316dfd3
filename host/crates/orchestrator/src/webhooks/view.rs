//! Webhooks as the outside sees them. No secret is ever in one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use nestor_core::violation::Violation;

use crate::view::EventView;

/// A subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookView {
    /// Its name.
    pub name: String,
    /// Where events are posted to.
    pub url: String,
    /// Which events.
    pub filter: FilterView,
    /// Whether private addresses are meant, as far as the host allows.
    pub allow_private: bool,
    /// Whether anything is sent.
    pub state: WebhookState,
    /// Why nothing is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether messages are signed with the secret before as well.
    pub previous_secret: bool,
    /// Events that wait.
    pub pending: u64,
    /// Events that were given up.
    pub dead_letters: u64,
    /// RFC 3339; since the host started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_delivery: Option<String>,
    /// Since the host started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<DeliveryAttemptView>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// Whether a subscription is sent anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// Yes.
    Active,
    /// The receiver said that it is gone; a PUT switches it on again.
    Disabled,
}

/// Which events; what is absent does not restrict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilterView {
    /// Only of this composer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub composer: Option<String>,
    /// Only in this environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Only of this deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// Any of these types: `deployment.ready`, `deployment.*`, `resource.*`, `*`.
    pub types: Vec<String>,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryAttemptView {
    /// RFC 3339.
    pub at: String,
    /// What went wrong.
    pub reason: String,
}

/// Every subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WebhookList {
    /// In order of name.
    pub items: Vec<WebhookView>,
}

/// An event that was not delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterView {
    /// The event's id, the same on the wire.
    pub id: String,
    /// Its type on the wire.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The deployment.
    pub deployment: String,
    /// Why it was given up.
    pub reason: String,
    /// Attempts that were made.
    pub attempts: u32,
    /// When it was given up, RFC 3339.
    pub at: String,
    /// What was not told.
    pub event: EventView,
}

/// A page of dead letters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterPage {
    /// Oldest first.
    pub items: Vec<DeadLetterView>,
    /// Pass it as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a redelivery did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Redelivered {
    /// Dead letters that wait for delivery again.
    pub queued: u64,
}

/// What came of a test message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookTest {
    /// Whether the receiver took it.
    pub delivered: bool,
    /// The message's id.
    pub id: String,
    /// The receiver's HTTP status, if it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why a request about webhooks was not carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WebhookRejection {
    /// There is none of that name.
    #[error("there is no webhook {0}")]
    NotFound(String),
    /// The body is not a subscription; every violation at once.
    #[error("the subscription has {} violation(s)", .0.len())]
    Invalid(Vec<Violation>),
    /// It does not fit what is there.
    #[error("{0}")]
    Conflict(String),
    /// Something inside failed; the log has it under the correlation id.
    #[error("an internal error; the log has it under the request's correlation id")]
    Internal,
}
