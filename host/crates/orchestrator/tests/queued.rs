//! Revisions that are posted while one is under way.

mod common;

use serde_json::{Value, json};

use common::{World, post, settle, two, until};
use futures::StreamExt as _;
use nestor_core::engine::Features;
use nestor_core::ports::{EngineStatus, Function};
use nestor_orchestrator::Orchestrator;
use nestor_orchestrator::service::RequestMeta;
use nestor_orchestrator::view::{DeploymentStatus, DeploymentView, Phase};
use nestor_testkit::engines::{Behaviour, Hang};

fn database() -> Behaviour {
    Behaviour::ready([("endpoint", json!("db.internal")), ("port", json!(3306))])
}

fn sized(size: u64, queued: Option<&str>) -> Value {
    let mut body = two();
    body["resources"][0]["config"]["size"] = json!(size);
    if let Some(queued) = queued {
        body["strategy"] = json!({ "queued": queued });
    }
    body
}

/// Revision 1 is under way while the others are posted; answers how it ended
/// and the sizes that were applied.
async fn busy(later: &[(u64, Option<&str>)]) -> (World, Orchestrator, DeploymentView, Vec<u64>) {
    let world = World::new();
    let hanging = database().hang(Hang::BeforeEffect);
    world.engines.script("database", hanging);
    let host = world.host().await;
    post(&host, &sized(1, None)).await;
    world
        .engines
        .wait_for_call(Function::Apply, "database")
        .await;
    for (size, queued) in later {
        post(&host, &sized(*size, *queued)).await;
    }
    let waiting = host.get("web").await.expect("there").queued_revision;
    assert_eq!(waiting, Some(1 + later.len() as u64));
    world.engines.release("database");
    let view = settle(&host, "web").await;
    let applied = world.engines.calls_of(Function::Apply, "database");
    let sizes = applied.iter().filter_map(|c| c.config["size"].as_u64());
    let sizes = sizes.collect();
    (world, host, view, sizes)
}

async fn outcomes(host: &Orchestrator) -> Vec<String> {
    let mut all = host.revisions("web").await.expect("there");
    all.reverse();
    all.into_iter().map(|r| r.outcome).collect()
}

#[tokio::test]
async fn each_is_applied_after_the_other() {
    for queued in [None, Some("each")] {
        let (_, host, view, sizes) = busy(&[(2, queued), (3, queued)]).await;
        assert_eq!((view.revision, view.status), (3, DeploymentStatus::Ready));
        assert_eq!(sizes, [1, 2, 3], "{queued:?}");
        assert_eq!(outcomes(&host).await, ["superseded", "superseded", "ready"]);
    }
}

#[tokio::test]
async fn the_latest_skips_those_that_wait() {
    let (_, host, view, sizes) = busy(&[(2, None), (3, None), (4, Some("latest"))]).await;
    assert_eq!((view.revision, view.status), (4, DeploymentStatus::Ready));
    assert_eq!(sizes, [1, 4]);
    assert_eq!(
        outcomes(&host).await,
        ["superseded", "skipped", "skipped", "ready"]
    );
}

#[tokio::test]
async fn what_is_posted_after_the_latest_is_not_skipped() {
    let (_, host, view, sizes) = busy(&[(2, None), (3, Some("latest")), (4, None)]).await;
    assert_eq!((view.revision, view.status), (4, DeploymentStatus::Ready));
    assert_eq!(sizes, [1, 3, 4]);
    assert_eq!(
        outcomes(&host).await,
        ["superseded", "skipped", "superseded", "ready"]
    );
}

#[tokio::test]
async fn a_revision_that_fails_does_not_stop_the_next() {
    let world = World::new();
    let hanging = database().hang(Hang::BeforeEffect);
    world.engines.script("database", hanging);
    let host = world.host().await;
    post(&host, &sized(1, None)).await;
    world
        .engines
        .wait_for_call(Function::Apply, "database")
        .await;
    let mut wrong = two();
    wrong["resources"][1]["config"]["url"] = json!("broken");
    post(&host, &wrong).await;
    post(&host, &sized(3, None)).await;
    let fails = nestor_core::engine::EngineError::Failed("no".into());
    world
        .engines
        .script("app", Behaviour::default().fail(fails));
    world.engines.release("database");
    let view = settle(&host, "web").await;
    assert_eq!(
        (view.revision, view.status),
        (3, DeploymentStatus::RolledBack)
    );
    let tried = world.engines.calls_of(Function::Apply, "app");
    let tried: Vec<u64> = tried.iter().map(|call| call.revision).collect();
    assert_eq!(tried, [1, 2, 3]);
}

/// Revision 2 is still being looked at when two requests come in, of which the
/// first ends its run at once: how often it was told to stop, and how it ended.
async fn while_validating(requests: [&str; 2]) -> (usize, DeploymentStatus) {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    post(&host, &sized(1, None)).await;
    settle(&host, "web").await;
    let preparing = EngineStatus::Preparing;
    world
        .engines
        .add_with("fake", Features::default(), preparing);
    post(&host, &sized(2, None)).await;
    until("validating", async || {
        host.get("web").await.expect("there").phase == Phase::Validating
    })
    .await;
    for request in requests {
        let meta = RequestMeta::default();
        let asked = match request {
            "cancel" => host.cancel("web", meta).await,
            _ => host.delete("web", meta).await,
        };
        asked.expect(request);
    }
    world.engines.add("fake");
    let view = settle(&host, "web").await;
    let events: Vec<_> = host
        .events("web", None, false)
        .await
        .expect("there")
        .collect()
        .await;
    let stops = events.iter().filter(|e| e.kind == "cancelling").count();
    (stops, view.status)
}

#[tokio::test]
async fn what_comes_after_a_run_was_stopped_is_not_for_that_run() {
    let twice = while_validating(["cancel", "cancel"]).await;
    assert_eq!(twice, (1, DeploymentStatus::Cancelled));
    let gone = while_validating(["cancel", "delete"]).await;
    assert_eq!(gone, (1, DeploymentStatus::Deleted));
}
