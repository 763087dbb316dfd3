//! What is kept of the past.

mod common;

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};

use common::{World, assert_status, deploy, settle, two, web};
use nestor_core::engine::EngineError;
use nestor_core::ports::Batch;
use nestor_orchestrator::Orchestrator;
use nestor_orchestrator::service::{Rejection, RequestMeta};
use nestor_orchestrator::view::{DeploymentStatus, EventView};
use nestor_testkit::engines::Behaviour;

fn world() -> World {
    let world = World::new();
    let database = Behaviour::ready([("endpoint", json!("db.internal")), ("port", json!(3306))]);
    world.engines.script("database", database);
    world
}

fn sized(size: u64) -> Value {
    let mut body = two();
    body["resources"][0]["config"]["size"] = json!(size);
    body
}

async fn count(world: &World, prefix: &str) -> usize {
    let all = world.store.scan(prefix, None, 100_000).await;
    all.expect("read").len()
}

async fn events(host: &Orchestrator, after: u64) -> Vec<EventView> {
    let events = host.events("web", Some(after), false).await;
    events.expect("there").collect().await
}

#[tokio::test]
async fn old_runs_go_and_what_is_gone_keeps_its_end() {
    let world = world();
    let host = world.host().await;
    for size in 1..=13 {
        assert_status(&deploy(&host, &sized(size)).await, DeploymentStatus::Ready);
    }
    assert_eq!(count(&world, "run/web/").await, 10);
    for prefix in ["jrn/web/", "bef/web/"] {
        let all = world.store.scan(prefix, None, 10_000).await.expect("read");
        let old = all.iter().find(|(at, _)| *at < format!("{prefix}00000004"));
        assert!(old.is_none(), "{old:?}");
    }
    host.delete("web", RequestMeta::default())
        .await
        .expect("taken");
    let view = settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::Deleted);
    // The store is written after the last event was told.
    for _ in 0..2_000 {
        if count(&world, "run/web/").await == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(count(&world, "run/web/").await, 1);
    let journal = world
        .store
        .scan("jrn/web/", None, 10_000)
        .await
        .expect("read");
    assert!(
        !journal.is_empty()
            && journal
                .iter()
                .all(|(at, _)| at.starts_with("jrn/web/00000014/"))
    );
    assert_status(
        &host.get("web").await.expect("there"),
        DeploymentStatus::Deleted,
    );
    // And it can come back.
    assert_status(&deploy(&host, &sized(1)).await, DeploymentStatus::Ready);
}

#[tokio::test]
async fn what_was_deleted_long_ago_is_forgotten_whenever_the_host_dies() {
    const MONTH: Duration = Duration::from_secs(30 * 24 * 3_600);
    for commits in 0.. {
        let mut world = world();
        let next = world.clone();
        let store = world.mortal(usize::MAX);
        let host = world.host().await;
        for size in 1..=3 {
            deploy(&host, &sized(size)).await;
        }
        let meta = RequestMeta::default;
        host.delete("web", meta()).await.expect("taken");
        assert_status(&settle(&host, "web").await, DeploymentStatus::Deleted);
        common::until("it rests", async || host.occupancy().active == 0).await;
        world.clock.hold(true);
        world.clock.advance(MONTH - Duration::from_secs(3_600));
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(host.get("web").await.is_ok());
        store.dies_after(commits);
        world.clock.advance(2 * Duration::from_secs(3_600));
        let known = async |host: &Orchestrator| host.get("web").await.is_ok();
        common::until("it is forgotten, or the host died", async || {
            store.is_dead() || !known(&host).await
        })
        .await;
        let host = next.host().await;
        common::until("it is forgotten", async || !known(&host).await).await;
        // Nothing of it is left but the number that is never used again.
        let mut left = Vec::new();
        for (at, _) in next.store.scan("", None, 10_000).await.expect("read") {
            if at.split('/').any(|part| part == "web") {
                left.push(at);
            }
        }
        assert_eq!(left, ["cnt/web"], "after {commits}");
        let list = host.list(Default::default(), None, 10).await.expect("read");
        assert!(list.items.is_empty());
        let view = deploy(&host, &sized(1)).await;
        assert_status(&view, DeploymentStatus::Ready);
        assert_eq!(view.revision, 1);
        assert_eq!(count(&next, "run/web/00000005").await, 1);
        if !store.is_dead() {
            assert!(commits > 2, "it died only {commits} times");
            break;
        }
    }
}

#[tokio::test]
async fn what_was_posted_anew_is_not_forgotten() {
    let world = world();
    let host = world.host().await;
    deploy(&host, &sized(1)).await;
    let meta = RequestMeta::default;
    host.delete("web", meta()).await.expect("taken");
    settle(&host, "web").await;
    let again = deploy(&host, &sized(2)).await;
    assert_eq!(again.revision, 2);
    world.clock.advance(Duration::from_secs(31 * 24 * 3_600));
    common::until("the alarm went off", async || {
        count(&world, "alm/fgt/").await == 0
    })
    .await;
    let view = host.get("web").await.expect("there");
    assert_status(&view, DeploymentStatus::Ready);
    assert_eq!(host.revisions("web").await.expect("there").len(), 2);
}

#[tokio::test]
async fn old_events_go_and_a_stream_says_so() {
    let world = world();
    let host = world.host().await;
    deploy(&host, &sized(1)).await;
    let before = events(&host, 0).await;
    // As if much had happened.
    let raw = world
        .store
        .get("sta/web")
        .await
        .expect("read")
        .expect("there");
    let mut status: Value = serde_json::from_slice(&raw).expect("JSON");
    status["events"] = json!(9_999);
    let mut batch = Batch::new();
    batch.put("sta/web", serde_json::to_vec(&status).expect("JSON"));
    world.store.commit(batch).await.expect("written");
    deploy(&host, &sized(2)).await;
    let after = events(&host, 0).await;
    let written = after
        .iter()
        .filter_map(|e| e.id)
        .filter(|id| *id > 9_999)
        .count() as u64;
    assert!(
        written > 1 && (written as usize) < before.len(),
        "{written} of {}",
        before.len()
    );
    // 10,000 makes no room, 10,001 takes the first away.
    let first = after.iter().find_map(|e| e.id).expect("events");
    assert_eq!(first, written);
    assert_eq!((after[0].kind.as_str(), after[0].id), ("gap", None));
    assert_eq!(after[0].data, json!({ "from": 1, "to": written - 1 }));
    // Who has seen them is told nothing.
    let rest = events(&host, written - 1).await;
    assert_eq!(rest[0].id, Some(written));
}

#[tokio::test]
async fn old_revisions_are_listed_and_no_longer_gone_back_to() {
    let world = world();
    let host = world.host().await;
    for _ in 0..103 {
        deploy(&host, &two()).await;
    }
    assert_eq!(count(&world, "rev/web/").await, 100);
    assert_eq!(count(&world, "rvs/web/").await, 3);
    let all = host.revisions("web").await.expect("there");
    let numbers: Vec<u64> = all.iter().map(|r| r.revision).collect();
    assert_eq!(numbers, (1..=103).rev().collect::<Vec<u64>>());
    assert_eq!(all[102].added, ["database", "app"]);
    let refused = host.rollback("web", Some(3), RequestMeta::default()).await;
    assert!(
        matches!(refused, Err(Rejection::Conflict(_))),
        "{refused:?}"
    );
    host.rollback("web", Some(4), RequestMeta::default())
        .await
        .expect("taken");
    assert_status(&settle(&host, "web").await, DeploymentStatus::Ready);
}

#[tokio::test]
async fn what_engines_kept_of_a_resource_goes_with_it() {
    let world = World::new();
    let host = world.host().await;
    let gone = Behaviour::default().fail_destroy(EngineError::Missing("gone".into()));
    world.engines.script("gone", gone);
    let both = web(&[
        ("site", "chart:1.0.0", json!({})),
        ("gone", "app:1.0.0", json!({})),
        ("stays", "app:1.0.0", json!({})),
    ]);
    deploy(&host, &both).await;
    assert_eq!(world.engines.forgotten(), Vec::<String>::new());
    // Withdrawn from Git, and gone already when it was to be destroyed.
    deploy(&host, &web(&[("stays", "app:1.0.0", json!({}))])).await;
    let mut forgotten = world.engines.forgotten();
    forgotten.sort();
    assert_eq!(forgotten, ["web/gone", "web/site"]);
    let meta = RequestMeta::default();
    host.delete("web", meta).await.expect("accepted");
    settle(&host, "web").await;
    assert_eq!(world.engines.forgotten()[2..], ["web/stays", "web but []"]);
}
