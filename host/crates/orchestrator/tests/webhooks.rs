//! Webhooks as scenarios, with a receiver that keeps what it is told.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::time::Duration;

use common::{World, post, settle, two, until};
use nestor_core::ids::WebhookName;
use nestor_core::ports::NoticeAnswer;
use nestor_core::webhook::{Secret, signature};
use nestor_orchestrator::Orchestrator;
use nestor_orchestrator::webhooks::{WebhookRejection, WebhookState};
use nestor_testkit::engines::Behaviour;
use serde_json::{Value, json};

const URL: &str = "https://receiver.example/hook";
const OTHER: &str = "https://other.example/hook";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn name(text: &str) -> WebhookName {
    WebhookName::new(text).unwrap()
}

fn world() -> World {
    let world = World::new();
    let outputs = [("endpoint", json!("db.internal")), ("port", json!(3306))];
    world.engines.script("database", Behaviour::ready(outputs));
    world
}

async fn eventually(holds: impl Fn() -> bool) {
    until("what receivers are told", async || holds()).await;
}

async fn subscribe(host: &Orchestrator, hook: &str, url: &str, filter: Value) {
    let body = json!({ "url": url, "secret": SECRET, "filter": filter });
    host.put_webhook(&name(hook), body.to_string().as_bytes())
        .await
        .unwrap();
}

fn status(code: u16) -> NoticeAnswer {
    NoticeAnswer::Status {
        code,
        retry_after_ms: None,
    }
}

/// Types without the prefix and ids of what a receiver took, in order.
fn told(world: &World, url: &str) -> Vec<(String, String)> {
    let all = world.notifier.posted();
    let taken = all
        .iter()
        .filter(|(notice, answer)| notice.url == url && *answer == status(200));
    taken
        .map(|(notice, _)| {
            let body: Value = serde_json::from_slice(&notice.body).unwrap();
            let event_type = body["type"].as_str().unwrap();
            let event_type = event_type.strip_prefix("dev.nestor.").unwrap().to_owned();
            assert_eq!(body["id"], notice.id.as_str());
            (event_type, notice.id.clone())
        })
        .collect()
}

fn types(told: &[(String, String)]) -> Vec<&str> {
    told.iter()
        .map(|(event_type, _)| event_type.as_str())
        .collect()
}

#[tokio::test]
async fn every_transition_is_told_in_order_and_signed() {
    let world = world();
    let host = world.host().await;
    subscribe(&host, "all", URL, json!({ "types": ["*"] })).await;
    subscribe(
        &host,
        "few",
        OTHER,
        json!({ "types": ["deployment.ready", "deployment.deleted"] }),
    )
    .await;
    post(&host, &two()).await;
    settle(&host, "web").await;
    host.delete("web", Default::default()).await.unwrap();
    settle(&host, "web").await;
    eventually(|| told(&world, OTHER).len() == 2).await;
    assert_eq!(
        types(&told(&world, OTHER)),
        ["deployment.ready", "deployment.deleted"]
    );
    eventually(|| {
        told(&world, URL)
            .iter()
            .any(|(t, _)| t == "deployment.deleted")
    })
    .await;
    let all = told(&world, URL);
    assert_eq!(
        types(&all),
        [
            "deployment.accepted",
            "deployment.in_progress",
            "resource.started",
            "resource.ready",
            "resource.started",
            "resource.ready",
            "deployment.ready",
            "deployment.deleting",
            "resource.started",
            "resource.deleted",
            "resource.started",
            "resource.deleted",
            "deployment.deleted",
        ]
    );
    let ids: Vec<String> = (1..=13).map(|n| format!("web/{n}")).collect();
    assert_eq!(
        all.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>(),
        ids
    );
    let secret = Secret::parse(SECRET).unwrap();
    for (notice, _) in world.notifier.posted() {
        let expected = signature([&secret], &notice.id, notice.sent_at, &notice.body);
        assert_eq!(notice.signature, expected);
    }
}

#[tokio::test]
async fn a_later_revision_is_told_when_it_is_accepted() {
    let world = world();
    let host = world.host().await;
    subscribe(
        &host,
        "a",
        URL,
        json!({ "types": ["deployment.accepted", "deployment.in_progress"] }),
    )
    .await;
    post(&host, &two()).await;
    settle(&host, "web").await;
    post(&host, &two()).await;
    settle(&host, "web").await;
    eventually(|| told(&world, URL).len() == 4).await;
    let told = told(&world, URL);
    assert_eq!(
        types(&told),
        [
            "deployment.accepted",
            "deployment.in_progress",
            "deployment.accepted",
            "deployment.in_progress"
        ]
    );
    assert_eq!(told[2].1, "web/accepted/2");
}

#[tokio::test]
async fn what_fails_is_tried_again_and_what_follows_waits() {
    let world = world();
    let host = world.host().await;
    subscribe(&host, "a", URL, json!({})).await;
    let slow_down = NoticeAnswer::Status {
        code: 503,
        retry_after_ms: Some(90_000),
    };
    let away = NoticeAnswer::Unreachable("nobody answers".into());
    world.notifier.answer(URL, [slow_down, away]);
    post(&host, &two()).await;
    settle(&host, "web").await;
    eventually(|| told(&world, URL).len() == 3).await;
    assert_eq!(
        types(&told(&world, URL)),
        [
            "deployment.accepted",
            "deployment.in_progress",
            "deployment.ready"
        ]
    );
    let attempts = world.notifier.posted();
    assert_eq!(attempts[0].0.id, attempts[1].0.id);
    assert_eq!(attempts[1].0.id, attempts[2].0.id);
    assert!(
        attempts[1].0.sent_at >= attempts[0].0.sent_at + 90,
        "Retry-After"
    );
    assert_eq!(attempts[0].0.body, attempts[2].0.body);
    assert_eq!(host.webhook(&name("a")).unwrap().pending, 0);
}

#[tokio::test]
async fn what_is_refused_becomes_a_dead_letter_and_can_be_sent_again() {
    let world = world();
    let host = world.host().await;
    subscribe(&host, "a", URL, json!({})).await;
    world.notifier.answer(URL, vec![status(400); 5]);
    post(&host, &two()).await;
    settle(&host, "web").await;
    eventually(|| told(&world, URL).len() == 2).await;
    let dead = host.dead_letters(&name("a"), None, 10).await.unwrap();
    assert_eq!(dead.items.len(), 1);
    assert_eq!(
        (dead.items[0].id.as_str(), dead.items[0].attempts),
        ("web/1", 5)
    );
    assert!(dead.items[0].reason.contains("answered 400"), "{dead:?}");
    assert_eq!(host.webhook(&name("a")).unwrap().dead_letters, 1);
    let none = host
        .redeliver(&name("a"), Some(&["web/9".into()]))
        .await
        .unwrap();
    assert_eq!(none.queued, 0);
    let queued = host.redeliver(&name("a"), None).await.unwrap().queued;
    assert_eq!(queued, 1);
    eventually(|| told(&world, URL).len() == 3).await;
    assert_eq!(told(&world, URL)[2].1, "web/1");
    assert!(
        host.dead_letters(&name("a"), None, 10)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn a_receiver_that_is_gone_hears_nothing_until_it_is_put_again() {
    let world = world();
    let host = world.host().await;
    subscribe(&host, "a", URL, json!({})).await;
    world.notifier.answer(URL, [status(410)]);
    post(&host, &two()).await;
    eventually(|| host.webhook(&name("a")).unwrap().state == WebhookState::Disabled).await;
    settle(&host, "web").await;
    assert!(told(&world, URL).is_empty());
    assert!(matches!(
        host.redeliver(&name("a"), None).await,
        Err(WebhookRejection::Conflict(_))
    ));
    subscribe(&host, "a", URL, json!({})).await;
    assert_eq!(
        host.webhook(&name("a")).unwrap().state,
        WebhookState::Active
    );
    host.delete("web", Default::default()).await.unwrap();
    settle(&host, "web").await;
    eventually(|| types(&told(&world, URL)) == ["deployment.deleting", "deployment.deleted"]).await;
}

#[tokio::test]
async fn a_host_that_dies_sends_what_waited_when_it_is_back() {
    let world = world();
    let host = world.host().await;
    subscribe(&host, "a", URL, json!({ "types": ["*"] })).await;
    world.notifier.hang(URL, true);
    post(&host, &two()).await;
    settle(&host, "web").await;
    drop(host);
    assert!(told(&world, URL).is_empty());
    world.notifier.hang(URL, false);
    let host = world.host().await;
    eventually(|| told(&world, URL).len() >= 7).await;
    let mut ids: Vec<String> = told(&world, URL).into_iter().map(|(_, id)| id).collect();
    // The first was under way when the host died, and may have arrived twice.
    ids.dedup();
    let expected: Vec<String> = (1..=7).map(|n| format!("web/{n}")).collect();
    assert_eq!(ids, expected);
    drop(host);
}

#[tokio::test]
async fn a_slow_receiver_delays_nobody() {
    let world = world();
    let host = world.host().await;
    subscribe(&host, "slow", URL, json!({})).await;
    subscribe(&host, "fast", OTHER, json!({})).await;
    world.notifier.hang(URL, true);
    post(&host, &two()).await;
    let settled = tokio::time::timeout(Duration::from_secs(20), settle(&host, "web"));
    settled.await.expect("the deployment does not wait");
}

#[tokio::test]
async fn without_a_subscription_nothing_is_written() {
    let world = world();
    let host = world.host().await;
    post(&host, &two()).await;
    settle(&host, "web").await;
    assert!(
        world
            .store
            .scan("w", None, 10)
            .await
            .unwrap()
            .iter()
            .all(|(key, _)| !key.starts_with("wob/"))
    );
}

#[tokio::test]
async fn secrets_can_be_changed_without_a_gap_and_are_never_shown() {
    let world = world();
    let host = world.host().await;
    let new = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let body = json!({ "url": URL, "secret": new, "previousSecret": SECRET });
    host.put_webhook(&name("a"), body.to_string().as_bytes())
        .await
        .unwrap();
    assert!(host.test_webhook(&name("a")).await.unwrap().delivered);
    let (notice, _) = world.notifier.posted().remove(0);
    let (new, old) = (Secret::parse(new).unwrap(), Secret::parse(SECRET).unwrap());
    let both = signature([&new, &old], &notice.id, notice.sent_at, &notice.body);
    assert_eq!(notice.signature, both);
    assert_eq!(notice.signature.split(' ').count(), 2);
    let shown = serde_json::to_string(&host.webhooks()).unwrap();
    assert!(!shown.contains("whsec_"), "{shown}");
    // Without secrets in the request those that it has stay.
    let body = json!({ "url": OTHER });
    let (view, created) = host
        .put_webhook(&name("a"), body.to_string().as_bytes())
        .await
        .unwrap();
    assert!(!created && view.previous_secret && view.url == OTHER);
    let missing = host
        .put_webhook(&name("b"), body.to_string().as_bytes())
        .await;
    assert!(matches!(missing, Err(WebhookRejection::Invalid(_))));
}
