//! Webhooks: what can be asked about them, and the answers.

use serde::Deserialize;
use serde_json::Value;

use crate::client::{ANSWER, Client, Reply};
use crate::error::ClientError;

impl Client {
    /// Every webhook.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn webhooks(&self) -> Result<Reply<Webhooks>, ClientError> {
        self.get(&["api", "v1", "webhooks"]).await
    }

    /// One webhook.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn webhook(&self, name: &str) -> Result<Reply<Webhook>, ClientError> {
        self.get(&["api", "v1", "webhooks", name]).await
    }

    /// Makes a webhook, or changes one; the body as the API describes it.
    ///
    /// # Errors
    /// The server's problem with every violation, or the connection's.
    pub async fn put_webhook(
        &self,
        name: &str,
        body: &Value,
    ) -> Result<Reply<Webhook>, ClientError> {
        let url = self.url(&["api", "v1", "webhooks", name]);
        let request = self.http.put(url.clone()).json(body);
        self.json(request, &url, ANSWER).await
    }

    /// Takes a webhook away, with what waits for it.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn delete_webhook(&self, name: &str) -> Result<(), ClientError> {
        let url = self.url(&["api", "v1", "webhooks", name]);
        let request = self.http.delete(url.clone());
        self.body(request, &url, ANSWER).await.map(|_| ())
    }

    /// Posts a test message and answers what came of it.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn test_webhook(&self, name: &str) -> Result<Reply<WebhookTest>, ClientError> {
        let url = self.url(&["api", "v1", "webhooks", name, "test"]);
        self.json(self.http.post(url.clone()), &url, ANSWER).await
    }

    /// A page of events that were given up, oldest first.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn dead_letters(
        &self,
        name: &str,
        cursor: Option<&str>,
        limit: u64,
    ) -> Result<Reply<DeadLetters>, ClientError> {
        let mut url = self.url(&["api", "v1", "webhooks", name, "dead-letters"]);
        url.query_pairs_mut()
            .append_pair("limit", &limit.to_string());
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        self.json(self.http.get(url.clone()), &url, ANSWER).await
    }

    /// Sends events again that were given up: those with these ids, or all.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn redeliver(
        &self,
        name: &str,
        ids: Option<&[String]>,
    ) -> Result<Reply<Redelivered>, ClientError> {
        let url = self.url(&["api", "v1", "webhooks", name, "redeliver"]);
        let mut request = self.http.post(url.clone());
        if let Some(ids) = ids {
            request = request.json(&serde_json::json!({ "ids": ids }));
        }
        self.json(request, &url, ANSWER).await
    }
}

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
    /// Whether private addresses are meant, as far as the host allows.
    #[serde(default)]
    pub allow_private: bool,
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
