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

/// Revision 1 is ready, revision 2 hangs; then so many more are posted before
/// the deployment is deleted. How it ends, and which sizes were applied.
async fn deleted_in_flight(later: u64) -> (DeploymentView, Vec<u64>, Vec<String>) {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    post(&host, &sized(1, None)).await;
    settle(&host, "web").await;
    let hanging = database().hang(Hang::BeforeEffect);
    world.engines.script("database", hanging);
    post(&host, &sized(2, None)).await;
    until("it hangs", async || {
        world.engines.calls_of(Function::Apply, "database").len() == 2
    })
    .await;
    for size in 3..3 + later {
        post(&host, &sized(size, None)).await;
    }
    let answer = host.delete("web", RequestMeta::default()).await;
    let answer = answer.expect("accepted").status;
    assert_eq!(answer, DeploymentStatus::Cancelling);
    world.engines.script("database", database());
    world.engines.release("database");
    let view = settle(&host, "web").await;
    let applied = world.engines.calls_of(Function::Apply, "database");
    let sizes = applied.iter().filter_map(|c| c.config["size"].as_u64());
    let there = world.engines.world("web").len();
    let expected = if view.status == DeploymentStatus::Deleted {
        0
    } else {
        2
    };
    assert_eq!(there, expected, "{view:#?}");
    (view, sizes.collect(), outcomes(&host).await)
}

#[tokio::test]
async fn a_deletion_in_flight_goes_back_and_begins_nothing_that_waits() {
    // Nothing waits: revision 2 is unwound to revision 1.
    let (view, sizes, _) = deleted_in_flight(0).await;
    assert_eq!(view.status, DeploymentStatus::Cancelled);
    assert!(sizes.iter().all(|size| *size < 3), "{sizes:?}");
    for later in [1, 2] {
        let (view, sizes, outcomes) = deleted_in_flight(later).await;
        assert_eq!(view.status, DeploymentStatus::Deleted);
        assert!(sizes.iter().all(|size| *size < 3), "{sizes:?}");
        assert!(
            outcomes[2..].iter().all(|o| o == "cancelled"),
            "{outcomes:?}"
        );
    }
}

/// A host with room for one, which is taken; `web` is ready, and gets its turn
/// once `blocker` is released.
async fn full() -> (World, Orchestrator) {
    let mut world = World::new();
    world.limits.runs = 1;
    world.engines.script("database", database());
    let host = world.host().await;
    post(&host, &sized(1, None)).await;
    settle(&host, "web").await;
    let hanging = Behaviour::default().hang(Hang::BeforeEffect);
    world.engines.script("blocker", hanging);
    let mut blocker = common::web(&[("blocker", "app:1.0.0", json!({}))]);
    blocker["id"] = json!("blocker");
    post(&host, &blocker).await;
    world
        .engines
        .wait_for_call(Function::Apply, "blocker")
        .await;
    (world, host)
}

#[tokio::test]
async fn what_was_posted_before_a_deletion_never_begins() {
    let meta = RequestMeta::default;
    let (world, host) = full().await;
    post(&host, &sized(2, None)).await;
    post(&host, &sized(3, None)).await;
    let answer = host.delete("web", meta()).await.expect("accepted");
    assert_eq!(answer.status, DeploymentStatus::Deleting);
    world.engines.release("blocker");
    let view = settle(&host, "web").await;
    assert_eq!(view.status, DeploymentStatus::Deleted);
    assert_eq!(outcomes(&host).await[1..], ["cancelled", "cancelled"]);
    assert!(world.engines.world("web").is_empty());
    // What is posted after it does, and nobody takes it for gone.
    let (world, host) = full().await;
    post(&host, &sized(2, None)).await;
    host.delete("web", meta()).await.expect("accepted");
    post(&host, &sized(3, None)).await;
    world.engines.release("blocker");
    let view = settle(&host, "web").await;
    assert_eq!((view.status, view.revision), (DeploymentStatus::Ready, 3));
}

#[tokio::test]
async fn what_waits_to_come_back_can_be_deleted() {
    let meta = RequestMeta::default;
    let (world, host) = full().await;
    host.delete("web", meta()).await.expect("accepted");
    world.engines.release("blocker");
    settle(&host, "web").await;
    let hanging = Behaviour::default().hang(Hang::BeforeEffect);
    world.engines.script("blocker", hanging);
    let mut again = common::web(&[("blocker", "app:1.0.0", json!({"v": 2}))]);
    again["id"] = json!("blocker");
    post(&host, &again).await;
    until("it hangs", async || {
        world.engines.calls_of(Function::Apply, "blocker").len() == 2
    })
    .await;
    post(&host, &sized(2, None)).await;
    host.delete("web", meta()).await.expect("accepted");
    world.engines.release("blocker");
    let view = settle(&host, "web").await;
    assert_eq!(view.status, DeploymentStatus::Deleted);
    assert!(world.engines.world("web").is_empty());
}

#[tokio::test]
async fn what_waits_can_be_cancelled_and_nothing_else_changes() {
    let (world, host) = full().await;
    post(&host, &sized(2, None)).await;
    post(&host, &sized(3, None)).await;
    let waits = host.get("web").await.expect("there").queued_revision;
    assert_eq!(waits, Some(3));
    let answer = host.cancel("web", RequestMeta::default()).await;
    let answer = answer.expect("accepted").status;
    assert_eq!(answer, DeploymentStatus::Ready);
    world.engines.release("blocker");
    // Of several it is the one whose turn comes next.
    let view = settle(&host, "web").await;
    assert_eq!((view.status, view.revision), (DeploymentStatus::Ready, 3));
    let all = outcomes(&host).await;
    assert_eq!(all, ["superseded", "cancelled", "ready"]);
    let applied = world.engines.calls_of(Function::Apply, "database");
    let sizes = applied.iter().filter_map(|c| c.config["size"].as_u64());
    assert_eq!(sizes.collect::<Vec<_>>(), [1, 3]);
}
