//! Looks for drift.

mod common;

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;

use common::{World, assert_status, deploy, post, settle, two, web};
use nestor_core::engine::Features;
use nestor_core::environment::{DriftAction, DriftPolicy, EnvironmentPolicy};
use nestor_core::ids::EnvironmentName;
use nestor_core::ports::{EngineStatus, Function};
use nestor_orchestrator::Orchestrator;
use nestor_orchestrator::service::{Rejection, RequestMeta};
use nestor_orchestrator::view::{
    DeploymentDriftStatus, DeploymentStatus, DriftStatus, DriftView, EventView,
};
use nestor_testkit::engines::{Behaviour, Hang};

const HOUR: Duration = Duration::from_secs(3_600);

fn database() -> Behaviour {
    Behaviour::ready([("endpoint", json!("db.internal")), ("port", json!(3306))])
}

/// Time stands still; the engine can detect drift.
fn world(action: Option<DriftAction>) -> World {
    let mut world = World::new();
    world.clock.hold(true);
    let drift = Features {
        drift: true,
        ..Features::default()
    };
    world.engines.add_with("fake", drift, EngineStatus::Ready);
    world.engines.script("database", database());
    if let Some(action) = action {
        let policy = EnvironmentPolicy {
            drift: Some(DriftPolicy {
                every: HOUR,
                action,
            }),
            ..EnvironmentPolicy::DEFAULT
        };
        let name = EnvironmentName::new("production").expect("a name");
        world.environments = [(name, policy)].into_iter().collect();
    }
    world
}

async fn look(host: &Orchestrator, remediate: bool) -> DriftView {
    let meta = RequestMeta::default();
    host.check_drift("web", remediate, meta)
        .await
        .expect("taken");
    seen(host, |view| !view.pending).await
}

async fn seen(host: &Orchestrator, wanted: impl Fn(&DriftView) -> bool) -> DriftView {
    for _ in 0..2_000 {
        let view = host.drift("web").await.expect("there");
        if wanted(&view) {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("not so: {:#?}", host.drift("web").await);
}

fn statuses(view: &DriftView) -> Vec<(&str, DriftStatus)> {
    let all = view.resources.iter();
    all.map(|r| (r.name.as_str(), r.status)).collect()
}

async fn told(host: &Orchestrator, kind: &str) -> Vec<EventView> {
    let all: Vec<EventView> = host
        .events("web", None, false)
        .await
        .expect("there")
        .collect()
        .await;
    all.into_iter().filter(|e| e.kind == kind).collect()
}

#[tokio::test]
async fn who_asks_is_told_what_is_changed_gone_and_as_it_was() {
    let world = world(None);
    let host = world.host().await;
    deploy(&host, &two()).await;
    let never = host.drift("web").await.expect("there");
    assert_eq!(
        (never.status, never.checked_at),
        (DeploymentDriftStatus::NotChecked, None)
    );

    let view = look(&host, false).await;
    assert_eq!(view.status, DeploymentDriftStatus::InSync);
    assert_eq!(
        statuses(&view),
        [
            ("app", DriftStatus::InSync),
            ("database", DriftStatus::InSync)
        ]
    );
    assert!(told(&host, "drifted").await.is_empty());

    world
        .engines
        .tamper("web", "database", Some(json!({ "size": 99 })));
    world.engines.tamper("web", "app", None);
    for _ in 0..2 {
        let view = look(&host, false).await;
        assert_eq!(view.status, DeploymentDriftStatus::Drifted);
        assert_eq!(
            statuses(&view),
            [
                ("app", DriftStatus::Missing),
                ("database", DriftStatus::Drifted)
            ]
        );
        assert_eq!(
            view.resources[1].changes[0].before,
            Some(json!({ "size": 99 }))
        );
    }
    // The same drift twice is one piece of news.
    assert_eq!(told(&host, "drifted").await.len(), 1);
    let deployment = host.get("web").await.expect("there");
    assert_status(&deployment, DeploymentStatus::Ready);
    let summary = deployment.drift.expect("looked at");
    assert_eq!(
        (summary.status, summary.outdated),
        (DeploymentDriftStatus::Drifted, false)
    );
    assert_eq!(summary.resources, ["app", "database"]);

    // What is put right is told too.
    look(&host, true).await;
    let view = common::settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::Ready);
    assert!(view.drift.expect("looked at").outdated);
    assert_eq!(world.engines.world("web"), ["app", "database"]);
    let existing = world.engines.existing("web", "database").expect("there");
    assert_eq!(existing.config, json!({ "size": 1 }));
    assert_eq!(
        look(&host, false).await.status,
        DeploymentDriftStatus::InSync
    );
    assert_eq!(told(&host, "in_sync").await.len(), 1);
    // And touched no more.
    let applied = world.engines.calls_of(Function::Apply, "database").len();
    deploy(&host, &two()).await;
    assert_eq!(
        world.engines.calls_of(Function::Apply, "database").len(),
        applied
    );
}

#[tokio::test]
async fn the_schedule_looks_again_and_again_and_puts_right() {
    for action in [DriftAction::Report, DriftAction::Remediate] {
        let world = world(Some(action));
        let host = world.host().await;
        deploy(&host, &two()).await;
        world
            .engines
            .tamper("web", "database", Some(json!({ "size": 99 })));
        world.clock.advance(2 * HOUR);
        let view = seen(&host, |v| v.checked_at.is_some()).await;
        assert_eq!(view.status, DeploymentDriftStatus::Drifted);
        assert!(view.next_check_at.is_some());
        assert_eq!(told(&host, "drifted").await.len(), 1);
        let view = common::settle(&host, "web").await;
        assert_status(&view, DeploymentStatus::Ready);
        let config = world
            .engines
            .existing("web", "database")
            .expect("there")
            .config;
        let size = if action == DriftAction::Remediate {
            1
        } else {
            99
        };
        assert_eq!(config, json!({ "size": size }), "{action:?}");
        assert_eq!(world.engines.calls_of(Function::Apply, "app").len(), 1);

        // Also after a restart, in which time went by.
        host.shutdown(Duration::from_secs(1)).await;
        world.engines.tamper("web", "app", None);
        world.clock.advance(2 * HOUR);
        let host = world.host().await;
        let first = view.drift.expect("looked at").checked_at;
        seen(&host, |v| {
            v.checked_at.as_ref().is_some_and(|at| *at != first)
        })
        .await;
        let view = common::settle(&host, "web").await;
        assert_status(&view, DeploymentStatus::Ready);
        assert_eq!(world.engines.world("web").len(), size_of_world(action));
    }
}

fn size_of_world(action: DriftAction) -> usize {
    match action {
        DriftAction::Report => 1,
        DriftAction::Remediate => 2,
    }
}

#[tokio::test]
async fn a_look_makes_way_for_what_is_asked() {
    let world = world(None);
    let host = world.host().await;
    deploy(&host, &two()).await;
    world
        .engines
        .script("app", Behaviour::default().hang(Hang::Looking));
    host.check_drift("web", true, RequestMeta::default())
        .await
        .expect("taken");
    world.engines.wait_for_call(Function::Drift, "app").await;
    world
        .engines
        .tamper("web", "database", Some(json!({ "size": 99 })));
    let mut next = two();
    next["resources"][0]["config"]["size"] = json!(2);
    post(&host, &next).await;
    // Whatever the engine is doing: the look is dropped, and comes again.
    let view = common::settle(&host, "web").await;
    assert_eq!((view.revision, view.status), (2, DeploymentStatus::Ready));
    assert!(
        world
            .engines
            .calls_of(Function::Drift, "database")
            .is_empty()
    );
    assert!(host.drift("web").await.expect("there").pending);
    world.engines.script("app", Behaviour::default());
    world.clock.advance(Duration::from_secs(10));
    let view = seen(&host, |v| !v.pending).await;
    assert_eq!(
        (view.status, view.revision),
        (DeploymentDriftStatus::InSync, Some(2))
    );
    assert_eq!(world.engines.overlaps(), Vec::<String>::new());
}

#[tokio::test]
async fn a_look_through_an_engine_that_takes_one_call_lets_work_go_first() {
    let world = world(None);
    world.engines.takes_at_once("fake", 1);
    let host = world.host().await;
    deploy(&host, &two()).await;
    world
        .engines
        .script("app", Behaviour::default().hang(Hang::Looking));
    host.check_drift("web", false, RequestMeta::default())
        .await
        .expect("taken");
    world.engines.wait_for_call(Function::Drift, "app").await;
    let mut other = common::web(&[("other", "app:1.0.0", json!({}))]);
    other["id"] = json!("other");
    post(&host, &other).await;
    let view = common::settle(&host, "other").await;
    assert_eq!(view.status, DeploymentStatus::Ready);
    // Nothing is lost of the look.
    world.engines.release("app");
    let view = seen(&host, |v| !v.pending).await;
    assert_eq!(view.status, DeploymentDriftStatus::InSync);
    assert!(world.engines.calls_of(Function::Drift, "app").len() > 1);
    assert_eq!(world.engines.overlaps(), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_tell_says_so() {
    let world = world(None);
    world.engines.add("fake");
    let host = world.host().await;
    deploy(&host, &two()).await;
    let view = look(&host, false).await;
    assert_eq!(view.status, DeploymentDriftStatus::Unsupported);
    let reason = view.resources[0].reason.as_deref().expect("a reason");
    assert!(reason.contains("cannot detect drift"), "{reason}");
    assert!(world.engines.calls_of(Function::Drift, "app").is_empty());
}

#[tokio::test]
async fn sensitive_values_are_masked_wherever_they_turn_up() {
    let world = world(None);
    let secret = database().sensitive("password", "hunter22");
    world.catalog.add_simple(
        "db:1.0.0",
        "fake",
        &[
            ("password", nestor_core::definition::JsonType::String),
            ("endpoint", nestor_core::definition::JsonType::String),
        ],
    );
    world.engines.script("database", secret);
    let host = world.host().await;
    deploy(&host, &two()).await;
    world
        .engines
        .tamper("web", "database", Some(json!({ "was": "hunter22" })));
    let view = look(&host, false).await;
    let change = &view.resources[1].changes[0];
    assert!(change.sensitive);
    assert_eq!(change.before, Some(json!("(sensitive)")));
    let kept = world.store.scan("drf/", None, 10).await.expect("read");
    let text = String::from_utf8_lossy(&kept[0].1).into_owned();
    assert!(!text.contains("hunter22"), "{text}");
}

#[tokio::test]
async fn deployments_from_before_the_policy_are_looked_at_until_they_are_gone() {
    let before = world(None);
    let host = before.host().await;
    deploy(&host, &two()).await;
    host.shutdown(Duration::from_secs(1)).await;
    let world = World {
        environments: world(Some(DriftAction::Report)).environments,
        ..before
    };
    let host = world.host().await;
    seen(&host, |v| {
        v.next_check_at.is_some() || v.checked_at.is_some()
    })
    .await;
    world.clock.advance(2 * HOUR);
    seen(&host, |v| v.checked_at.is_some()).await;
    host.delete("web", RequestMeta::default())
        .await
        .expect("taken");
    let view = common::settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::Deleted);
    world.clock.advance(2 * HOUR);
    for _ in 0..2_000 {
        if world
            .store
            .scan("alm/", None, 1)
            .await
            .expect("read")
            .is_empty()
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(
        world
            .store
            .scan("alm/dft/", None, 1)
            .await
            .expect("read")
            .is_empty()
    );
    let refused = host.check_drift("web", false, RequestMeta::default()).await;
    assert!(
        matches!(refused, Err(Rejection::Conflict(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_look_waits_for_an_engine_that_is_being_prepared() {
    let world = world(None);
    let host = world.host().await;
    deploy(&host, &two()).await;
    let features = Features {
        drift: true,
        ..Features::default()
    };
    world
        .engines
        .add_with("fake", features, EngineStatus::Preparing);
    host.check_drift("web", true, RequestMeta::default())
        .await
        .expect("taken");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(host.drift("web").await.expect("there").pending);
    world
        .engines
        .add_with("fake", features, EngineStatus::Ready);
    world.clock.hold(false);
    let view = seen(&host, |view| !view.pending).await;
    let in_sync = DriftStatus::InSync;
    assert_eq!(statuses(&view), [("app", in_sync), ("database", in_sync)]);
}

#[tokio::test]
async fn resources_of_large_states_that_drifted_are_put_right() {
    let world = world(None);
    let names: Vec<String> = (0..18).map(|n| format!("app-{n}")).collect();
    for name in &names {
        let large = Behaviour::default().state("x".repeat(8 << 20));
        world.engines.script(name, large);
    }
    let resources: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), "app:1.0.0", json!({ "size": 1 })))
        .collect();
    let host = world.host().await;
    deploy(&host, &web(&resources)).await;
    for name in &names {
        world
            .engines
            .tamper("web", name, Some(json!({ "size": 9 })));
    }
    let view = look(&host, true).await;
    assert_eq!(view.status, DeploymentDriftStatus::Drifted);
    settle(&host, "web").await;
    for name in &names {
        let existing = world.engines.existing("web", name).expect("there");
        assert_eq!(existing.config, json!({ "size": 1 }), "{name}");
    }
}
