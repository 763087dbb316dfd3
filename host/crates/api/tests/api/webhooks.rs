//! Subscriptions come and go.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use nestor_api::WebhookAdmin;
use nestor_core::ids::WebhookName;
use nestor_orchestrator::webhooks::*;
use serde_json::Value;

use crate::fake::Host;

/// Keeps subscriptions and nothing more; `away` never gets anything.
#[derive(Default)]
pub(crate) struct FakeWebhooks(Mutex<BTreeMap<WebhookName, WebhookView>>);

#[async_trait]
impl WebhookAdmin for FakeWebhooks {
    fn list(&self) -> WebhookList {
        let items = self.0.lock().unwrap().values().cloned().collect();
        WebhookList { items }
    }
    fn get(&self, name: &WebhookName) -> Result<WebhookView, WebhookRejection> {
        let found = self.0.lock().unwrap().get(name).cloned();
        found.ok_or_else(|| WebhookRejection::NotFound(name.to_string()))
    }
    async fn put(
        &self,
        name: &WebhookName,
        body: &[u8],
    ) -> Result<(WebhookView, bool), WebhookRejection> {
        let asked = nestor_core::webhook::parse(body).map_err(WebhookRejection::Invalid)?;
        let view = WebhookView {
            name: name.to_string(),
            url: asked.url,
            filter: FilterView {
                composer: None,
                environment: None,
                deployment: None,
                types: vec!["deployment.*".into()],
            },
            allow_private: asked.allow_private,
            state: WebhookState::Active,
            reason: None,
            previous_secret: false,
            pending: 0,
            dead_letters: 0,
            last_delivery: None,
            last_failure: None,
            created_at: "2026-01-01T00:00:00.000Z".into(),
            updated_at: "2026-01-01T00:00:00.000Z".into(),
        };
        let before = self.0.lock().unwrap().insert(name.clone(), view.clone());
        Ok((view, before.is_none()))
    }
    async fn delete(&self, name: &WebhookName) -> Result<(), WebhookRejection> {
        let before = self.0.lock().unwrap().remove(name);
        before
            .map(|_| ())
            .ok_or_else(|| WebhookRejection::NotFound(name.to_string()))
    }
    async fn test(&self, name: &WebhookName) -> Result<WebhookTest, WebhookRejection> {
        let view = self.get(name)?;
        let delivered = view.name != "away";
        Ok(WebhookTest {
            delivered,
            id: "webhook-test/a/1".into(),
            status: delivered.then_some(204),
            reason: (!delivered).then(|| "nobody answers".into()),
        })
    }
    async fn dead_letters(
        &self,
        name: &WebhookName,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<DeadLetterPage, WebhookRejection> {
        self.get(name)?;
        let next = cursor.map_or_else(|| format!("{limit}-1"), str::to_owned);
        Ok(DeadLetterPage {
            items: vec![],
            next: Some(next),
        })
    }
    async fn redeliver(
        &self,
        name: &WebhookName,
        ids: Option<&[String]>,
    ) -> Result<Redelivered, WebhookRejection> {
        self.get(name)?;
        match ids {
            Some(ids) => Ok(Redelivered {
                queued: ids.len() as u64,
            }),
            None => Err(WebhookRejection::Conflict("it is switched off".into())),
        }
    }
}

fn put(body: &str) -> String {
    format!("PUT /api/v1/webhooks/a\ncontent-type: application/json\n\n{body}")
}

#[tokio::test]
async fn put_get_list_and_delete() {
    let host = Host::new();
    let made = host
        .ask(&put(
            r#"{"url": "https://x.example/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}"#,
        ))
        .await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.body);
    assert!(!made.body.contains("whsec"), "{}", made.body);
    let changed = host.ask(&put(r#"{"url": "https://y.example/"}"#)).await;
    assert_eq!(
        (changed.status.as_u16(), &changed.json()["url"]),
        (200, &Value::from("https://y.example/"))
    );
    assert_eq!(
        host.ask("GET /api/v1/webhooks").await.json()["items"][0],
        changed.json()
    );
    assert_eq!(
        host.ask("GET /api/v1/webhooks/a").await.json(),
        changed.json()
    );
    let tested = host.ask("POST /api/v1/webhooks/a/test").await;
    assert_eq!(
        (tested.status.as_u16(), &tested.json()["delivered"]),
        (200, &Value::from(true))
    );
    let letters = host
        .ask("GET /api/v1/webhooks/a/dead-letters?limit=3&cursor=00-1")
        .await;
    assert_eq!(letters.json()["next"], "00-1");
    let again = host.ask("POST /api/v1/webhooks/a/redeliver\ncontent-type: application/json\n\n{\"ids\": [\"web/1\"]}").await;
    assert_eq!(
        (again.status.as_u16(), &again.json()["queued"]),
        (202, &Value::from(1))
    );
    assert_eq!(
        host.ask("POST /api/v1/webhooks/a/redeliver").await.status,
        409
    );
    assert_eq!(host.ask("DELETE /api/v1/webhooks/a").await.status, 204);
    let gone = host.ask("DELETE /api/v1/webhooks/a").await;
    assert_eq!(
        (gone.status.as_u16(), &gone.json()["code"]),
        (404, &Value::from("webhook-not-found"))
    );
}

#[tokio::test]
async fn bad_requests() {
    let host = Host::new();
    host.ask(&put(r#"{"url": "https://x.example/"}"#)).await;
    for (request, status, code) in [
        (put("{"), 400, "malformed-body"),
        (put(r#"{"url": 1}"#), 422, "invalid-request"),
        (
            "PUT /api/v1/webhooks/A\ncontent-type: application/json\n\n{}".into(),
            400,
            "invalid-parameter",
        ),
        (
            "PUT /api/v1/webhooks/a\ncontent-type: text/plain\n\n{}".into(),
            415,
            "unsupported-media-type",
        ),
        (
            put(&format!("\"{}\"", "x".repeat(20_000))),
            413,
            "body-too-large",
        ),
        (
            "GET /api/v1/webhooks/a/dead-letters?limit=0".into(),
            400,
            "invalid-parameter",
        ),
        (
            "GET /api/v1/webhooks/a/dead-letters?cursor=../x".into(),
            400,
            "invalid-parameter",
        ),
        (
            "POST /api/v1/webhooks/a/redeliver\ncontent-type: application/json\n\n{\"ids\": 1}"
                .into(),
            422,
            "invalid-request",
        ),
        (
            "POST /api/v1/webhooks/a/redeliver\ncontent-type: application/json\n\n{\"id\": 1}"
                .into(),
            422,
            "invalid-request",
        ),
        (
            "POST /api/v1/webhooks/b/test".into(),
            404,
            "webhook-not-found",
        ),
    ] {
        let answer = host.ask(&request).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (status, &Value::from(code)),
            "{request}"
        );
    }
}
