//! Calls that come back when their run has turned around or ended: what the
//! engine says it did is kept, so that whoever comes next knows it.

mod common;

use std::time::Duration;

use serde_json::json;

use common::{World, assert_status, deploy, post, resource, settle, two, web};
use nestor_core::engine::EngineError;
use nestor_core::ports::Function;
use nestor_orchestrator::service::RequestMeta;
use nestor_orchestrator::view::{DeploymentStatus, ResourceStatus};
use nestor_testkit::engines::{Behaviour, Hang};

/// Ready after one look, which does not answer before it is released.
fn slow_to_look() -> Behaviour {
    Behaviour::ready([("endpoint", json!("db.internal")), ("port", json!(3306))])
        .pending(1)
        .poll_after(Duration::from_millis(100))
        .hang(Hang::Looking)
}

/// The deployment, cancelled while the database is being looked at.
async fn cancelled_while_looking(world: &World, body: &serde_json::Value) {
    world.engines.script("database", slow_to_look());
    let host = world.host().await;
    post(&host, body).await;
    let looking = world.engines.wait_for_call(Function::Observe, "database");
    looking.await;
    let cancelled = host.cancel("web", RequestMeta::default());
    cancelled.await.expect("there is something to cancel");
    // The run has turned around when the look answers.
    while host.get("web").await.expect("there").status != DeploymentStatus::RollingBack
        && host.get("web").await.expect("there").status != DeploymentStatus::Cancelling
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.engines.script(
        "database",
        Behaviour::ready([("endpoint", json!("db.internal")), ("port", json!(3306))]),
    );
    world.engines.release("database");
    let view = settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::Cancelled);
    assert_eq!(world.engines.overlaps(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_destroyed_after_a_cancelled_look_is_what_the_look_found() {
    let world = World::new();
    cancelled_while_looking(&world, &two()).await;
    let destroys = world.engines.calls_of(Function::Destroy, "database");
    assert_eq!(destroys.len(), 1);
    assert_eq!(
        destroys[0].prior_state,
        Some(json!({ "operation": "web/1/database/do" }))
    );
    assert!(world.engines.world("web").is_empty());
}

#[tokio::test]
async fn what_is_put_back_after_a_cancelled_look_starts_from_what_the_look_found() {
    let world = World::new();
    let ready = Behaviour::ready([("endpoint", json!("db.internal")), ("port", json!(3306))]);
    world.engines.script("database", ready);
    let host = world.host().await;
    assert_status(&deploy(&host, &two()).await, DeploymentStatus::Ready);
    host.shutdown(Duration::from_secs(1)).await;
    let mut second = two();
    second["resources"][0]["config"]["size"] = json!(2);
    cancelled_while_looking(&world, &second).await;
    let applies = world.engines.calls_of(Function::Apply, "database");
    let last = applies.last().expect("applied");
    assert_eq!(last.operation_id, "web/2/database/undo");
    assert_eq!(
        last.prior_state,
        Some(json!({ "operation": "web/2/database/do" }))
    );
    let existing = world.engines.existing("web", "database").expect("there");
    assert_eq!(existing.config, json!({ "size": 1 }));
}

#[tokio::test]
async fn a_run_that_halts_waits_for_its_looks_and_keeps_what_they_found() {
    let world = World::new();
    world.engines.script("database", slow_to_look());
    // Fails when the look at the database is under way.
    world.engines.script(
        "cache",
        Behaviour::default()
            .hang(Hang::BeforeEffect)
            .fail(EngineError::Failed("quota".into())),
    );
    let mut body = web(&[
        ("database", "db:1.0.0", json!({ "size": 1 })),
        ("cache", "app:1.0.0", json!({})),
    ]);
    body["policy"] = json!({ "onFailure": "halt" });
    let host = world.host().await;
    post(&host, &body).await;
    let looking = world.engines.wait_for_call(Function::Observe, "database");
    looking.await;
    world.engines.release("cache");
    let view = settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::Failed);
    world.engines.script("cache", Behaviour::default());
    let retried = host.retry("web", RequestMeta::default());
    retried.await.expect("retries");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(
        world.engines.calls_of(Function::Apply, "database").len(),
        1,
        "nothing begins while the look is under way"
    );
    world.engines.release("database");
    let view = settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::Ready);
    assert_eq!(resource(&view, "database").status, ResourceStatus::Ready);
    assert_eq!(resource(&view, "database").outputs["port"], 3306);
    assert_eq!(world.engines.overlaps(), Vec::<String>::new());
    assert_eq!(
        world.engines.calls_of(Function::Apply, "database").len(),
        1,
        "the look found it ready: there is nothing to apply again"
    );
    // It was begun in this run all the same: taking it away works.
    host.delete("web", RequestMeta::default())
        .await
        .expect("deletes");
    assert_status(&settle(&host, "web").await, DeploymentStatus::Deleted);
    assert!(world.engines.world("web").is_empty());
}
