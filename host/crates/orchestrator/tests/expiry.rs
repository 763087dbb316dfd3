//! Deployments whose time is over.

mod common;

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};

use common::{World, assert_status, deploy, post, settle, two};
use nestor_core::engine::EngineError;
use nestor_core::ports::Function;
use nestor_orchestrator::Orchestrator;
use nestor_orchestrator::service::RequestMeta;
use nestor_orchestrator::view::{DeploymentStatus, DeploymentView, EventView};
use nestor_testkit::engines::{Behaviour, Hang};

const MINUTE: Duration = Duration::from_secs(60);

fn database() -> Behaviour {
    Behaviour::ready([("endpoint", json!("db.internal")), ("port", json!(3306))])
}

fn living(ttl: &str) -> Value {
    let mut body = two();
    body["ttl"] = json!(ttl);
    body
}

/// Time passes only when the test says so.
fn world() -> World {
    let world = World::new();
    world.clock.hold(true);
    world.engines.script("database", database());
    world
}

async fn events(host: &Orchestrator) -> Vec<EventView> {
    host.events("web", None, false)
        .await
        .expect("there")
        .collect()
        .await
}

/// Waits for a status; what is looked at is real time, in which a task has to
/// get its turn.
async fn until(host: &Orchestrator, status: DeploymentStatus) -> DeploymentView {
    for _ in 0..2_000 {
        let view = host.get("web").await.expect("there");
        if view.status == status {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("not {status:?}: {:#?}", host.get("web").await);
}

/// Nothing happens by itself.
async fn rests(host: &Orchestrator, status: DeploymentStatus) {
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_status(&host.get("web").await.expect("there"), status);
}

#[tokio::test]
async fn it_is_destroyed_in_reverse_order_when_its_time_is_over() {
    let world = world();
    let host = world.host().await;
    let view = deploy(&host, &living("30m")).await;
    assert_status(&view, DeploymentStatus::Ready);
    assert_eq!(view.expires_at.as_deref(), Some("2023-11-14T22:43:20.000Z"));
    world.clock.advance(29 * MINUTE);
    rests(&host, DeploymentStatus::Ready).await;
    world.clock.advance(MINUTE);
    let view = until(&host, DeploymentStatus::Deleted).await;
    assert_eq!(view.expires_at, None);
    assert!(world.engines.world("web").is_empty());
    let told = events(&host).await;
    let of = |kind: &str| told.iter().filter(|e| e.kind == kind).count();
    assert_eq!((of("expiring"), of("expired")), (1, 1), "{told:#?}");
    let destroyed: Vec<_> = told.iter().filter(|e| e.kind == "deleted").collect();
    let names: Vec<_> = destroyed
        .iter()
        .filter_map(|e| e.resource.as_deref())
        .collect();
    assert_eq!(names, ["app", "database"]);
    // Posted anew without a time, it stays.
    assert_status(&deploy(&host, &two()).await, DeploymentStatus::Ready);
    world.clock.advance(10_000 * MINUTE);
    rests(&host, DeploymentStatus::Ready).await;
}

#[tokio::test]
async fn a_revision_gives_it_more_time_or_takes_the_end_away() {
    for (second, after, ends) in [
        (Some("2h"), 60, false),
        (Some("2h"), 120, true),
        (None, 10_000, false),
    ] {
        let world = world();
        let host = world.host().await;
        deploy(&host, &living("1h")).await;
        world.clock.advance(59 * MINUTE);
        let mut body = two();
        if let Some(ttl) = second {
            body["ttl"] = json!(ttl);
        }
        deploy(&host, &body).await;
        world.clock.advance(after * MINUTE);
        if ends {
            until(&host, DeploymentStatus::Deleted).await;
        } else {
            rests(&host, DeploymentStatus::Ready).await;
        }
    }
}

#[tokio::test]
async fn it_ends_although_the_host_was_down_and_the_definition_is_gone() {
    let world = world();
    let host = world.host().await;
    deploy(&host, &living("1h")).await;
    host.shutdown(Duration::from_secs(1)).await;
    drop(host);
    world.clock.advance(100 * MINUTE);
    let world = World {
        catalog: std::sync::Arc::new(nestor_testkit::MemoryCatalog::new()),
        ..world
    };
    let host = world.host().await;
    until(&host, DeploymentStatus::Deleted).await;
    assert!(world.engines.world("web").is_empty());
}

#[tokio::test]
async fn what_is_under_way_is_unwound_and_then_destroyed() {
    let world = world();
    let host = world.host().await;
    deploy(&host, &living("1h")).await;
    world
        .engines
        .script("database", database().hang(Hang::BeforeEffect));
    let mut next = living("1h");
    next["resources"][0]["config"]["size"] = json!(2);
    post(&host, &next).await;
    while world.engines.calls_of(Function::Apply, "database").len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Waits behind what is under way, and never begins.
    post(&host, &living("1h")).await;
    world.clock.advance(60 * MINUTE);
    until(&host, DeploymentStatus::Cancelling).await;
    world.engines.script("database", database());
    world.engines.release("database");
    until(&host, DeploymentStatus::Deleted).await;
    assert!(world.engines.world("web").is_empty());
    let applied = world.engines.calls_of(Function::Apply, "app");
    assert!(applied.iter().all(|call| call.revision < 3), "{applied:?}");
    let outcomes: Vec<_> = host
        .revisions("web")
        .await
        .expect("there")
        .into_iter()
        .map(|r| r.outcome)
        .collect();
    assert_eq!(outcomes[0], "expired");
    assert_eq!(world.engines.overlaps(), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_destroyed_is_stuck_until_somebody_retries() {
    let world = world();
    let fails = EngineError::Failed("still in use".into());
    world
        .engines
        .script("database", database().fail_destroy(fails));
    let host = world.host().await;
    deploy(&host, &living("1h")).await;
    world.clock.advance(60 * MINUTE);
    let view = until(&host, DeploymentStatus::Stuck).await;
    let reason = view.reason.expect("a reason");
    assert!(
        reason.contains("still in use") && reason.contains("retry"),
        "{reason}"
    );
    assert_eq!(world.engines.world("web"), ["database"]);
    world.engines.script("database", database());
    host.retry("web", RequestMeta::default())
        .await
        .expect("taken");
    until(&host, DeploymentStatus::Deleted).await;
    assert!(world.engines.world("web").is_empty());
}

#[tokio::test]
async fn what_could_not_be_destroyed_is_tried_again_every_hour() {
    let world = world();
    let fails = EngineError::Failed("still in use".into());
    let stubborn = database().fail_destroy(fails);
    world.engines.script("database", stubborn);
    let host = world.host().await;
    deploy(&host, &living("1h")).await;
    world.clock.advance(60 * MINUTE);
    until(&host, DeploymentStatus::Stuck).await;
    let tried = || world.engines.calls_of(Function::Destroy, "database").len();
    let (once, mut hours) = (tried(), 0);
    drop(host);
    let host = world.host().await;
    while hours < 3 {
        world.clock.advance(60 * MINUTE);
        hours += 1;
        common::until("it was tried again", async || tried() == once + hours).await;
        until(&host, DeploymentStatus::Stuck).await;
    }
    world.engines.script("database", database());
    world.clock.advance(60 * MINUTE);
    until(&host, DeploymentStatus::Deleted).await;
    assert!(world.engines.world("web").is_empty());
}

#[tokio::test]
async fn a_deletion_before_the_end_is_the_end() {
    let world = world();
    let host = world.host().await;
    deploy(&host, &living("1h")).await;
    host.delete("web", RequestMeta::default())
        .await
        .expect("taken");
    assert_status(&settle(&host, "web").await, DeploymentStatus::Deleted);
    let before = events(&host).await;
    world.clock.advance(100 * MINUTE);
    rests(&host, DeploymentStatus::Deleted).await;
    assert_eq!(events(&host).await, before);
    assert!(
        world
            .store
            .scan("alm/exp/", None, 10)
            .await
            .expect("read")
            .is_empty()
    );
}

#[tokio::test]
async fn nobody_has_to_approve_of_an_end_that_was_agreed_on() {
    let world = world();
    let host = world.host().await;
    deploy(&host, &living("1h")).await;
    let mut careful = living("1h");
    careful["resources"][0]["config"]["size"] = json!(2);
    careful["strategy"] = json!({ "approval": "required" });
    post(&host, &careful).await;
    until(&host, DeploymentStatus::AwaitingApproval).await;
    world.clock.advance(60 * MINUTE);
    until(&host, DeploymentStatus::Deleted).await;
    assert!(world.engines.world("web").is_empty());
    let outcomes = host.revisions("web").await.expect("there");
    assert_eq!(outcomes[0].outcome, "expired");
}
