//! Revisions that are applied in part, and plans that are applied exactly.

mod common;

use serde_json::{Value, json};

use common::{World, assert_status, deploy, resource, settle, web};
use nestor_core::engine::EngineError;
use nestor_core::ids::{Digest, ResourceName};
use nestor_core::ports::Function;
use nestor_orchestrator::Orchestrator;
use nestor_orchestrator::service::{Rejection, RequestMeta, Scope};
use nestor_orchestrator::view::{DeploymentStatus as Is, DeploymentView, ResourceStatus};
use nestor_testkit::engines::Behaviour;

fn database() -> Behaviour {
    Behaviour::ready([("endpoint", json!("db.internal")), ("port", json!(3306))])
}

/// `database` ← `app`, and `cache` and `worker` beside them; version `v`.
fn four(v: u64) -> Value {
    let url = "${resources.database.outputs.endpoint}";
    web(&[
        ("database", "db:1.0.0", json!({ "v": v })),
        ("app", "app:1.0.0", json!({ "v": v, "url": url })),
        ("cache", "app:1.0.0", json!({ "v": v })),
        ("worker", "app:1.0.0", json!({ "v": v })),
    ])
}

fn targets(names: &[&str]) -> Scope {
    let name = |name: &&str| name.parse::<ResourceName>().expect("a name");
    Scope::Targets(names.iter().map(name).collect())
}

async fn submit(
    host: &Orchestrator,
    body: &Value,
    scope: Scope,
    plan: Option<Digest>,
) -> Result<u64, Rejection> {
    let body = serde_json::to_vec(body).expect("JSON");
    let meta = RequestMeta {
        scope,
        plan,
        ..RequestMeta::default()
    };
    host.submit(&body, meta)
        .await
        .map(|accepted| accepted.revision)
}

async fn apply(host: &Orchestrator, body: &Value, scope: Scope) -> DeploymentView {
    submit(host, body, scope, None).await.expect("accepted");
    settle(host, "web").await
}

/// Resources and their versions, as they are outside.
fn there(world: &World) -> Vec<(String, u64)> {
    let mut all: Vec<_> = world
        .engines
        .world("web")
        .into_iter()
        .map(|name| {
            let config = world.engines.existing("web", &name).expect("there").config;
            (name, config["v"].as_u64().unwrap_or_default())
        })
        .collect();
    all.sort();
    all
}

fn versions(all: &[(&str, u64)]) -> Vec<(String, u64)> {
    all.iter()
        .map(|(name, v)| ((*name).to_owned(), *v))
        .collect()
}

fn world() -> World {
    let world = World::new();
    world.engines.script("database", database());
    world
}

#[tokio::test]
async fn only_targets_and_what_they_need_are_worked_on() {
    let world = world();
    let host = world.host().await;
    let view = apply(&host, &four(1), targets(&["app"])).await;
    assert_status(&view, Is::Ready);
    assert_eq!(there(&world), versions(&[("app", 1), ("database", 1)]));
    assert_eq!(resource(&view, "cache").status, ResourceStatus::Pending);
    let names: Vec<_> = view.resources.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(
        names,
        ["database", "app", "cache", "worker"],
        "in plan order"
    );
    let warning = view.warnings.last().expect("says so");
    assert!(
        warning.starts_with("revision 1 is applied in part; left as they are: cache, worker"),
        "{warning}"
    );
    // The same again without targets applies the rest, and nothing twice.
    let view = apply(&host, &four(1), Scope::Whole).await;
    assert_status(&view, Is::Ready);
    assert!(view.warnings.is_empty(), "{:?}", view.warnings);
    let all = [("app", 1), ("cache", 1), ("database", 1), ("worker", 1)];
    assert_eq!(there(&world), versions(&all));
    assert_eq!(world.engines.calls_of(Function::Apply, "database").len(), 1);
}

#[tokio::test]
async fn what_vanished_is_destroyed_only_when_it_is_a_target() {
    let world = world();
    let host = world.host().await;
    deploy(&host, &four(1)).await;
    let mut fewer = four(2);
    let resources = fewer["resources"].as_array_mut().expect("a list");
    resources.retain(|r| r["name"] == "database" || r["name"] == "app");
    let view = apply(&host, &fewer, targets(&["database", "worker"])).await;
    assert_status(&view, Is::Ready);
    let all = [("app", 1), ("cache", 1), ("database", 2)];
    assert_eq!(there(&world), versions(&all));
    assert_eq!(resource(&view, "cache").status, ResourceStatus::Ready);
    let warning = view.warnings.last().expect("says so");
    assert!(
        warning.contains("left as they are: app, cache"),
        "{warning}"
    );
    let view = apply(&host, &fewer, Scope::Whole).await;
    assert_status(&view, Is::Ready);
    assert_eq!(there(&world), versions(&[("app", 2), ("database", 2)]));
}

#[tokio::test]
async fn affected_is_what_changed_and_what_depends_on_it() {
    let world = world();
    let host = world.host().await;
    deploy(&host, &four(1)).await;
    let mut next = four(1);
    next["resources"][0]["config"]["v"] = json!(2);
    next["resources"][3] =
        json!({ "name": "queue", "catalogRef": "app:1.0.0", "config": { "v": 2 } });
    let validated = world.engines.calls_of(Function::Validate, "cache").len();
    let view = apply(&host, &next, Scope::Affected).await;
    assert_status(&view, Is::Ready);
    let all = [("app", 1), ("cache", 1), ("database", 2), ("queue", 2)];
    assert_eq!(there(&world), versions(&all), "worker vanished");
    assert!(
        view.warnings.is_empty(),
        "nothing differs: {:?}",
        view.warnings
    );
    let looked = world.engines.calls_of(Function::Validate, "cache").len();
    assert_eq!(looked, validated, "what is not affected is not looked at");
}

#[tokio::test]
async fn a_part_that_fails_goes_back_to_what_was_before() {
    let world = world();
    let host = world.host().await;
    deploy(&host, &four(1)).await;
    let fails = EngineError::Failed("no".into());
    world
        .engines
        .script("worker", Behaviour::default().fail(fails));
    let mut next = four(2);
    next["dependencies"] = json!([{ "from": "cache", "to": "worker" }]);
    submit(&host, &next, targets(&["worker"]), None)
        .await
        .expect("accepted");
    let view = settle(&host, "web").await;
    // Putting the worker back fails as well: a person has to look.
    assert_status(&view, Is::Stuck);
    world.engines.script("worker", Behaviour::default());
    host.retry("web", RequestMeta::default())
        .await
        .expect("retries");
    let view = settle(&host, "web").await;
    assert_status(&view, Is::RolledBack);
    let all = [("app", 1), ("cache", 1), ("database", 1), ("worker", 1)];
    assert_eq!(there(&world), versions(&all));
    assert_eq!(world.engines.calls_of(Function::Apply, "database").len(), 1);
    assert!(view.warnings.is_empty(), "{:?}", view.warnings);
}

#[tokio::test]
async fn what_stands_on_something_that_changes_is_left_out_too() {
    let world = world();
    let host = world.host().await;
    deploy(&host, &four(1)).await;
    let mut next = four(1);
    next["resources"][0]["config"]["v"] = json!(2);
    // The app's own config is the same, and the endpoint that it was given may not be.
    let view = apply(&host, &next, targets(&["database"])).await;
    let warning = view.warnings.last().expect("says so");
    assert!(warning.contains("left as they are: app."), "{warning}");
}

#[tokio::test]
async fn targets_that_are_not_there_are_violations() {
    let world = world();
    let host = world.host().await;
    let refused = submit(&host, &four(1), targets(&["databse", "x"]), None).await;
    let Err(Rejection::Invalid(found)) = refused else {
        panic!("{refused:?}");
    };
    let said: Vec<_> = found.iter().map(|v| v.message.as_str()).collect();
    assert_eq!(said.len(), 2);
    assert!(said[0].contains("did you mean \"database\"?"), "{said:?}");
    assert!(
        said[1].contains("there are: app, cache, database, worker"),
        "{said:?}"
    );
}

async fn plan(host: &Orchestrator, body: &Value, scope: Scope) -> Digest {
    let body = serde_json::to_vec(body).expect("JSON");
    let meta = RequestMeta {
        scope,
        ..RequestMeta::default()
    };
    let view = host.plan(&body, meta).await.expect("a plan");
    view.digest.parse().expect("a digest")
}

#[tokio::test]
async fn a_plan_that_is_named_is_applied_exactly_or_not_at_all() {
    let world = world();
    let host = world.host().await;
    let named = plan(&host, &four(1), Scope::Whole).await;
    assert_eq!(
        named,
        plan(&host, &four(1), Scope::Whole).await,
        "the same again"
    );
    // Another body, another part, another engine: another plan.
    assert_ne!(named, plan(&host, &four(2), Scope::Whole).await);
    assert_ne!(named, plan(&host, &four(1), targets(&["app"])).await);
    let refused = submit(&host, &four(2), Scope::Whole, Some(named)).await;
    assert!(
        matches!(refused, Err(Rejection::PlanMoved(_))),
        "{refused:?}"
    );
    world.engines.swap("fake", b"another");
    let refused = submit(&host, &four(1), Scope::Whole, Some(named)).await;
    assert!(
        matches!(refused, Err(Rejection::PlanMoved(_))),
        "{refused:?}"
    );
    assert!(matches!(host.get("web").await, Err(Rejection::NotFound(_))));
    let named = plan(&host, &four(1), Scope::Whole).await;
    submit(&host, &four(1), Scope::Whole, Some(named))
        .await
        .expect("accepted");
    assert_status(&settle(&host, "web").await, Is::Ready);
    // Once applied, it is not what would happen any more.
    let refused = submit(&host, &four(1), Scope::Whole, Some(named)).await;
    assert!(
        matches!(refused, Err(Rejection::PlanMoved(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_plan_that_moves_while_its_revision_waits_is_not_applied() {
    let world = world();
    let host = world.host().await;
    deploy(&host, &four(1)).await;
    // Both are made from what is deployed now; the first to run moves the second.
    let (second, third) = (
        plan(&host, &four(2), Scope::Whole).await,
        plan(&host, &four(3), Scope::Whole).await,
    );
    submit(&host, &four(2), Scope::Whole, Some(second))
        .await
        .expect("accepted");
    let accepted = submit(&host, &four(3), Scope::Whole, Some(third)).await;
    let view = settle(&host, "web").await;
    match accepted {
        Ok(_) => {
            assert_eq!((view.status, view.revision), (Is::Failed, 3));
            let reason = view.reason.expect("says why");
            assert!(
                reason.starts_with("what would happen now is not the plan"),
                "{reason}"
            );
        }
        // Revision 2 was faster than the request.
        Err(Rejection::PlanMoved(_)) => assert_eq!(view.status, Is::Ready),
        Err(other) => panic!("{other:?}"),
    }
    let all = [("app", 2), ("cache", 2), ("database", 2), ("worker", 2)];
    assert_eq!(there(&world), versions(&all));
}
