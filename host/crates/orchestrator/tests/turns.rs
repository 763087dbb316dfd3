//! Whose turn it is, who waits without costing anything, and who works on what
//! when several hosts share a store.

mod common;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use nestor_core::environment::EnvironmentPolicy;
use nestor_core::ids::{EngineId, EnvironmentName};
use nestor_core::ports::{Batch, Bytes, CommitError, Function, Store, StoreError};
use nestor_orchestrator::service::{Rejection, RequestMeta};
use nestor_orchestrator::view::{DeploymentStatus, Phase};
use nestor_orchestrator::{Occupancy, Orchestrator};
use nestor_store::MemoryStore;
use nestor_testkit::engines::{Behaviour, Hang};
use serde_json::{Value, json};

use common::{World, assert_status, post, resource, settle, until};

const CLAIM: Duration = Duration::from_secs(20 * 60);

/// A deployment of one resource.
fn single(id: &str, composer: &str, resource: &str) -> Value {
    json!({
        "id": id, "composer": composer, "environment": "production", "dependencies": [],
        "resources": [{ "name": resource, "catalogRef": "app:1.0.0", "config": {} }],
    })
}

fn occupancy(active: usize, queued: usize, parked: usize) -> Occupancy {
    Occupancy {
        active,
        queued,
        parked,
    }
}

#[tokio::test]
async fn many_deployments_of_one_composer_do_not_hold_up_the_one_of_another() {
    let mut world = World::new();
    world.limits.calls = 1;
    let hang = Behaviour::default().hang(Hang::BeforeEffect);
    world.engines.script("blocker", hang);
    let host = world.host().await;
    post(&host, &single("blocker", "many", "blocker")).await;
    world
        .engines
        .wait_for_call(Function::Apply, "blocker")
        .await;
    for number in 0..100 {
        post(&host, &single(&format!("many-{number}"), "many", "app")).await;
    }
    post(&host, &single("single", "other", "other-app")).await;
    until("all wait for a turn", async || {
        host.occupancy() == occupancy(102, 0, 0)
    })
    .await;
    world.engines.release("blocker");
    settle(&host, "single").await;
    let calls = world.engines.calls();
    let before = calls
        .iter()
        .take_while(|c| !(c.function == Function::Apply && c.resource.as_str() == "other-app"))
        .filter(|c| c.deployment.as_str().starts_with("many-"))
        .count();
    // Two turns are its own (validate, apply); before each, one of the others.
    assert!(before <= 2, "{before} calls of others went first");
}

#[tokio::test]
async fn a_higher_priority_goes_first() {
    let mut world = World::new();
    world.limits.runs = 1;
    let hang = Behaviour::default().hang(Hang::BeforeEffect);
    world.engines.script("blocker", hang);
    let host = world.host().await;
    post(&host, &single("blocker", "team", "blocker")).await;
    world
        .engines
        .wait_for_call(Function::Apply, "blocker")
        .await;
    for (id, priority) in [("low", -5), ("normal", 0), ("high", 7), ("urgent", 100)] {
        let mut body = single(id, "team", id);
        body["priority"] = json!(priority);
        post(&host, &body).await;
    }
    assert_eq!(host.occupancy(), occupancy(1, 4, 0));
    let low = host.get("low").await.expect("there");
    let reason = low.reason.expect("why it has not begun");
    assert_eq!(reason, "waits for its turn, as 3 others do");
    world.engines.release("blocker");
    for id in ["low", "normal", "high", "urgent"] {
        settle(&host, id).await;
    }
    let calls = world.engines.calls();
    let applies = calls.iter().filter(|c| c.function == Function::Apply);
    let order: Vec<_> = applies.map(|c| c.resource.as_str()).collect();
    assert_eq!(order, ["blocker", "urgent", "high", "normal", "low"]);
}

#[tokio::test]
async fn an_engine_that_takes_few_calls_is_shared_fairly_and_keeps_nobody_else_waiting() {
    let world = World::new();
    world.engines.takes_at_once("fake", 2);
    let hang = Behaviour::default().hang(Hang::BeforeEffect);
    world.engines.script("app", hang);
    let host = world.host().await;
    for number in 0..64 {
        post(&host, &single(&format!("many-{number}"), "many", "app")).await;
    }
    until("as many are under way as may be", async || {
        world.engines.calls_of(Function::Apply, "app").len() == 2
    })
    .await;
    post(&host, &single("single", "other", "other-app")).await;
    // Another engine has room all the time.
    let mut chart = single("chart", "many", "chart");
    chart["resources"][0]["catalogRef"] = json!("chart:1.0.0");
    post(&host, &chart).await;
    assert_status(&settle(&host, "chart").await, DeploymentStatus::Ready);
    world.engines.release("app");
    settle(&host, "single").await;
    let calls = world.engines.calls();
    let before = calls
        .iter()
        .take_while(|c| !(c.function == Function::Apply && c.resource.as_str() == "other-app"))
        .filter(|c| c.function == Function::Apply && c.resource.as_str() == "app")
        .count();
    // Two were under way. It takes two turns, and before it asks for the second
    // one others take what is free.
    assert!(before <= 8, "{before} calls of others went first");
    for number in 0..64 {
        settle(&host, &format!("many-{number}")).await;
    }
    assert!(world.engines.most_at_once() <= 3, "two, and the chart");
}

#[tokio::test]
async fn who_waits_and_becomes_more_important_goes_first() {
    let mut world = World::new();
    world.limits.runs = 1;
    let hang = Behaviour::default().hang(Hang::BeforeEffect);
    world.engines.script("blocker", hang);
    let host = world.host().await;
    post(&host, &single("blocker", "team", "blocker")).await;
    world
        .engines
        .wait_for_call(Function::Apply, "blocker")
        .await;
    for id in ["first", "second", "third"] {
        post(&host, &single(id, "team", id)).await;
    }
    let mut urgent = single("third", "team", "third");
    urgent["priority"] = json!(10);
    post(&host, &urgent).await;
    assert_eq!(host.occupancy(), occupancy(1, 3, 0));
    world.engines.release("blocker");
    for id in ["first", "second", "third"] {
        settle(&host, id).await;
    }
    let calls = world.engines.calls();
    let applies = calls.iter().filter(|c| c.function == Function::Apply);
    let order: Vec<_> = applies.map(|c| c.resource.as_str()).collect();
    assert_eq!(order, ["blocker", "third", "first", "second"]);
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_nobody_waiting() {
    for restarted in [false, true] {
        let world = World::new();
        let claim = Behaviour::default().pending(1).poll_after(CLAIM);
        world.engines.script("claim", claim);
        world.clock.advance(Duration::from_secs(3_600));
        world.clock.hold(true);
        let mut host = world.host().await;
        post(&host, &single("claim", "team", "claim")).await;
        until("it is parked", async || {
            host.occupancy() == occupancy(0, 0, 1)
        })
        .await;
        world.clock.set_back(Duration::from_secs(3_600));
        if restarted {
            drop(host);
            host = world.host().await;
        } else {
            world.clock.advance(Duration::from_secs(10 * 60));
        }
        until("it is looked at", async || {
            let view = host.get("claim").await.expect("there");
            view.status == DeploymentStatus::Ready
        })
        .await;
    }
}

#[tokio::test]
async fn a_full_queue_takes_nothing_that_is_not_in_it() {
    let mut world = World::new();
    world.limits.queue = 1;
    let hang = Behaviour::default().hang(Hang::BeforeEffect);
    world.engines.script("blocker", hang);
    let host = world.host().await;
    post(&host, &single("settled", "team", "app")).await;
    settle(&host, "settled").await;
    until("nothing is queued", async || {
        host.occupancy() == occupancy(0, 0, 0)
    })
    .await;
    post(&host, &single("busy", "team", "blocker")).await;
    let posted = async |id: &str| {
        let body = serde_json::to_vec(&single(id, "team", "blocker")).expect("JSON");
        host.submit(&body, RequestMeta::default()).await
    };
    for id in ["new", "settled"] {
        match posted(id).await {
            Err(Rejection::Busy { retry_after, .. }) => assert!(retry_after > 0),
            other => panic!("{id}: {other:?}"),
        }
    }
    // It has its place.
    assert_eq!(posted("busy").await.expect("accepted").revision, 2);
    let deleted = host.delete("settled", RequestMeta::default()).await;
    deleted.expect("what is to go may always go");
}

#[tokio::test]
async fn an_environment_and_an_engine_have_bounds_of_their_own() {
    let slow = Behaviour::default().delay(Duration::from_millis(5));
    let most = async |world: World| {
        world.engines.script("app", slow.clone());
        let host = world.host().await;
        for number in 0..12 {
            post(&host, &single(&format!("d{number}"), "team", "app")).await;
        }
        for number in 0..12 {
            let view = settle(&host, &format!("d{number}")).await;
            assert_status(&view, DeploymentStatus::Ready);
        }
        world.engines.most_at_once()
    };
    assert!(most(World::new()).await > 3, "unbounded");
    let mut world = World::new();
    let policy = EnvironmentPolicy {
        concurrency: NonZeroU32::new(2),
        ..EnvironmentPolicy::default()
    };
    let production = EnvironmentName::new("production").expect("a name");
    world.environments.insert(production, policy);
    assert_eq!(most(world).await, 2);
    let mut world = World::new();
    let fake = EngineId::new("fake").expect("a name");
    world.limits.engines.insert(fake, 3);
    assert_eq!(most(world).await, 3);
}

#[tokio::test]
async fn an_operation_says_that_it_waits_for_a_turn() {
    let mut world = World::new();
    world.limits.calls = 1;
    let hang = Behaviour::default().hang(Hang::BeforeEffect);
    world.engines.script("app", hang);
    let host = world.host().await;
    let two = common::web(&[
        ("app", "app:1.0.0", json!({})),
        ("other", "app:1.0.0", json!({})),
    ]);
    post(&host, &two).await;
    world.engines.wait_for_call(Function::Apply, "app").await;
    until("it says so", async || {
        let view = host.get("web").await.expect("there");
        let reason = resource(&view, "other").reason.clone().unwrap_or_default();
        reason.starts_with("waits for a turn")
    })
    .await;
    world.engines.release("app");
    let view = settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::Ready);
    assert_eq!(resource(&view, "other").reason, None);
}

/// A claim that takes an hour, looked at every twenty minutes.
async fn waiting(world: &World) -> Orchestrator {
    let claim = Behaviour::default().pending(3).poll_after(CLAIM);
    world.engines.script("claim", claim);
    world.clock.hold(true);
    let host = world.host().await;
    post(&host, &single("web", "team", "claim")).await;
    until("it waits outside", async || {
        host.occupancy() == occupancy(0, 0, 1)
    })
    .await;
    host
}

#[tokio::test]
async fn what_only_waits_has_no_task_and_still_says_what_it_does() {
    let world = World::new();
    let host = waiting(&world).await;
    let view = host.get("web").await.expect("there");
    assert_status(&view, DeploymentStatus::InProgress);
    assert_eq!(view.phase, Phase::Verifying);
    let claim = resource(&view, "claim");
    assert!(claim.next_attempt_at.is_some(), "{claim:?}");
    let shown = claim.progress.clone();
    world.clock.hold(false);
    let view = settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::Ready);
    assert_eq!(world.engines.calls_of(Function::Apply, "claim").len(), 1);
    assert!(shown.is_some_and(|p| p.ends_with('%')));
    assert_eq!(host.occupancy(), occupancy(0, 0, 0));
}

#[tokio::test]
async fn what_only_waits_can_be_cancelled() {
    let world = World::new();
    let host = waiting(&world).await;
    host.cancel("web", RequestMeta::default())
        .await
        .expect("accepted");
    world.clock.hold(false);
    let view = settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::Cancelled);
    assert!(world.engines.world("web").is_empty());
}

#[tokio::test]
async fn a_restart_does_not_take_up_what_only_waits() {
    let world = World::new();
    let first = waiting(&world).await;
    first.shutdown(Duration::from_secs(1)).await;
    let calls = world.engines.calls().len();
    let host = world.host().await;
    assert_eq!(host.occupancy(), occupancy(0, 0, 1));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(world.engines.calls().len(), calls, "nobody looked yet");
    // Asked for something, it is taken up at once.
    let mut second = single("web", "team", "claim");
    second["resources"][0]["config"] = json!({ "size": 2 });
    post(&host, &second).await;
    world.clock.hold(false);
    let view = settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::Ready);
    assert_eq!(view.revision, 2);
}

/// A store that several hosts share, as one of them sees it.
struct Shared {
    inner: Arc<MemoryStore>,
    /// The host lost its connection.
    cut: AtomicBool,
}

impl Shared {
    fn of(inner: &Arc<MemoryStore>) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            cut: AtomicBool::new(false),
        })
    }

    fn connected(&self) -> Result<(), StoreError> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(StoreError::Failed("no connection".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Shared {
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.connected()?;
        self.inner.commit(batch).await
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.connected()?;
        self.inner.get(key).await
    }
    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Bytes)>, StoreError> {
        self.connected()?;
        self.inner.scan(prefix, after, limit).await
    }
}

/// Two hosts on one store, each with a connection of its own.
async fn two_workers(world: &mut World) -> (Orchestrator, Arc<Shared>, Orchestrator) {
    let store = Arc::new(MemoryStore::new());
    let first_store = Shared::of(&store);
    world.store = first_store.clone();
    let first = world.host().await;
    world.store = Shared::of(&store);
    let second = world.host().await;
    (first, first_store, second)
}

#[tokio::test]
async fn two_workers_on_one_store_never_run_one_operation_twice() {
    let mut world = World::new();
    world.engines.script(
        "app",
        Behaviour::default()
            .delay(Duration::from_millis(2))
            .transient(1),
    );
    let (first, _, second) = two_workers(&mut world).await;
    let mut config = 0;
    for round in 0..3 {
        for number in 0..10 {
            config += 1;
            let mut body = single(&format!("d{number}"), "team", "app");
            body["resources"][0]["config"] = json!({ "v": config });
            let host = if (round + number) % 2 == 0 {
                &first
            } else {
                &second
            };
            post(host, &body).await;
        }
    }
    for number in 0..10 {
        let id = format!("d{number}");
        until("the last revision is ready", async || {
            let view = second.get(&id).await.expect("there");
            view.status == DeploymentStatus::Ready && view.revision == 3
        })
        .await;
    }
    assert!(
        world.engines.overlaps().is_empty(),
        "{:?}",
        world.engines.overlaps()
    );
    for number in 0..10 {
        let existing = world
            .engines
            .existing(&format!("d{number}"), "app")
            .expect("there");
        assert_eq!(existing.config["v"], json!(21 + number));
        assert!(existing.effects <= 3, "{existing:?}");
    }
}

#[tokio::test]
async fn what_a_dead_worker_left_is_taken_over_and_its_late_answer_is_refused() {
    let mut world = World::new();
    let hang = Behaviour::default().hang(Hang::AfterEffect);
    world.engines.script("app", hang);
    world.clock.hold(true);
    let (first, connection, second) = two_workers(&mut world).await;
    post(&first, &single("web", "team", "app")).await;
    world.engines.wait_for_call(Function::Apply, "app").await;
    // The first loses the store in the middle of the call, and stays dead long
    // enough for the other to notice.
    connection.cut.store(true, Ordering::SeqCst);
    world.clock.hold(false);
    until("the other took it over", async || {
        second.get("web").await.expect("there").status == DeploymentStatus::Ready
    })
    .await;
    assert_eq!(world.engines.calls_of(Function::Apply, "app").len(), 1);
    assert_eq!(world.engines.calls_of(Function::Observe, "app").len(), 1);
    let before = second.get("web").await.expect("there");
    // It comes back, with an answer that is nobody's any more.
    connection.cut.store(false, Ordering::SeqCst);
    world.engines.release("app");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let after = second.get("web").await.expect("there");
    assert_eq!(
        (after.status, &after.updated_at),
        (before.status, &before.updated_at)
    );
    assert_eq!(
        world.engines.existing("web", "app").expect("there").effects,
        1
    );
}

#[tokio::test]
async fn a_deployment_of_large_states_changes_and_goes() {
    let world = World::new();
    let large = Behaviour::default().state("x".repeat(8 << 20));
    let names: Vec<String> = (0..12).map(|n| format!("app-{n}")).collect();
    for name in &names {
        world.engines.script(name, large.clone());
    }
    let wanted = |size: u64| {
        let resources = names.iter().map(
            |name| json!({ "name": name, "catalogRef": "app:1.0.0", "config": { "size": size } }),
        );
        json!({
            "id": "large", "composer": "team", "environment": "production", "dependencies": [],
            "resources": resources.collect::<Vec<_>>(),
        })
    };
    let host = world.host().await;
    for size in 1..=2 {
        post(&host, &wanted(size)).await;
        assert_status(&settle(&host, "large").await, DeploymentStatus::Ready);
    }
    host.delete("large", RequestMeta::default())
        .await
        .expect("accepted");
    assert_status(&settle(&host, "large").await, DeploymentStatus::Deleted);
    assert!(world.engines.world("large").is_empty());
}
