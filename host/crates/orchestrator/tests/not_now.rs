//! An engine that cannot take a call now costs a deployment time, and nothing else.

mod common;

use std::time::Duration;

use nestor_core::engine::{EngineError, Features};
use nestor_core::ports::{EngineStatus, Function};
use nestor_orchestrator::service::RequestMeta;
use nestor_orchestrator::view::{DeploymentStatus, DeploymentView};
use nestor_testkit::engines::{Behaviour, Hang};
use serde_json::json;

use common::{World, assert_status, deploy, post, resource, settle, two, until, web};

/// The engine is being prepared from now on.
fn unprepared(world: &World) {
    let (features, status) = (Features::default(), EngineStatus::Preparing);
    world.engines.add_with("fake", features, status);
}

/// It is ready after that time.
fn ready_after(world: &World, time: Duration) {
    let (engines, clock) = (world.engines.clone(), world.clock.clone());
    let end = clock.elapsed() + time;
    tokio::spawn(async move {
        while clock.elapsed() < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        engines.add("fake");
    });
}

/// What the host dies in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum During {
    Applying,
    Destroying,
    PuttingBack,
}

/// A host dies during a call about the database; the next has to prepare its
/// engine for half a minute.
async fn killed(during: During) -> DeploymentView {
    let world = World::new();
    let (database, app) = (
        Behaviour::ready([("endpoint", json!("db")), ("port", json!(5432))]),
        Behaviour::default().hang(Hang::BeforeEffect),
    );
    let hangs = database.clone().hang(Hang::BeforeEffect);
    world.engines.script("database", database);
    let mut first = world.clone();
    let store = first.mortal(usize::MAX);
    let host = first.host().await;
    let function = match during {
        During::Applying => {
            world.engines.script("database", hangs);
            post(&host, &two()).await;
            Function::Apply
        }
        During::Destroying => {
            deploy(&host, &two()).await;
            world.engines.script("database", hangs);
            let deleted = host.delete("web", RequestMeta::default()).await;
            deleted.expect("accepted");
            Function::Destroy
        }
        During::PuttingBack => {
            let fails = app.fail(EngineError::Failed("no quota".into()));
            world.engines.script("app", fails);
            post(&host, &two()).await;
            world.engines.wait_for_call(Function::Apply, "app").await;
            world.engines.script("database", hangs);
            world.engines.release("app");
            Function::Destroy
        }
    };
    world.engines.wait_for_call(function, "database").await;
    store.dies_after(0);
    drop(host);
    unprepared(&world);
    world.clock.hold(true);
    let host = world.host().await;
    until("its engine is waited for", async || {
        let view = host.get("web").await.expect("there");
        let reason = resource(&view, "database").reason.clone();
        reason.is_some_and(|r| r.contains("waits for the engine fake, which is being prepared"))
    })
    .await;
    ready_after(&world, Duration::from_secs(30));
    world.engines.release("database");
    world.clock.hold(false);
    settle(&host, "web").await
}

#[tokio::test]
async fn a_run_goes_on_when_its_engine_is_prepared() {
    for (during, ends) in [
        (During::Applying, DeploymentStatus::Ready),
        (During::Destroying, DeploymentStatus::Deleted),
        (During::PuttingBack, DeploymentStatus::RolledBack),
    ] {
        assert_status(&killed(during).await, ends);
    }
}

#[tokio::test]
async fn an_engine_that_is_busy_for_long_uses_up_no_attempts() {
    let world = World::new();
    let busy = EngineError::Unavailable {
        message: "the engine is busy".into(),
        retry_after: Some(Duration::from_secs(5)),
    };
    world.engines.script("app", Behaviour::default().fail(busy));
    let host = world.host().await;
    post(&host, &web(&[("app", "app:1.0.0", json!({}))])).await;
    until("it was asked often", async || {
        world.engines.calls_of(Function::Apply, "app").len() > 20
    })
    .await;
    let view = host.get("web").await.expect("there");
    let reason = resource(&view, "app").reason.as_deref().unwrap_or_default();
    assert!(reason.contains("the engine is busy"), "{reason}");
    world.engines.script("app", Behaviour::default());
    assert_status(&settle(&host, "web").await, DeploymentStatus::Ready);
}
