//! What cannot change between revisions, looked at when a revision is accepted
//! and when it begins; and what a way back goes back to.

mod common;

use std::sync::Arc;

use nestor_core::definition::JsonType;
use nestor_core::ids::EngineId;
use nestor_core::ports::Function;
use nestor_core::violation::ViolationCode;
use nestor_orchestrator::Orchestrator;
use nestor_orchestrator::service::{Rejection, RequestMeta};
use nestor_orchestrator::view::DeploymentStatus as Is;
use nestor_testkit::catalog::simple;
use nestor_testkit::engines::{Behaviour, Hang};
use serde_json::{Value, json};

use common::{World, post, settle, two, web};

fn meta() -> RequestMeta {
    RequestMeta::default()
}

fn scripted() -> World {
    let world = World::new();
    let database = Behaviour::ready([("endpoint", json!("db")), ("port", json!(1))]);
    world.engines.script("database", database);
    world
}

fn in_environment(environment: &str, mut body: Value) -> Value {
    body["environment"] = environment.into();
    body
}

/// Where the violations of a refused deployment are; none when it is accepted.
async fn refused(host: &Orchestrator, body: &Value) -> Vec<String> {
    let bytes = serde_json::to_vec(body).expect("JSON");
    match host.submit(&bytes, meta()).await {
        Ok(_) => Vec::new(),
        Err(Rejection::Invalid(found)) => {
            assert!(
                found
                    .iter()
                    .all(|v| v.code == ViolationCode::ImmutableField)
            );
            found.into_iter().map(|v| v.pointer).collect()
        }
        Err(other) => panic!("{other:?}"),
    }
}

async fn deleted(host: &Orchestrator) {
    host.delete("web", meta()).await.expect("accepted");
    assert_eq!(settle(host, "web").await.status, Is::Deleted);
}

#[tokio::test]
async fn a_deployment_moves_when_nothing_of_it_is_left() {
    let world = scripted();
    let host = world.host().await;
    let places = ["staging", "production", "staging"];
    for (place, next) in places.into_iter().zip(places.into_iter().cycle().skip(1)) {
        post(&host, &in_environment(place, two())).await;
        let view = settle(&host, "web").await;
        assert_eq!((view.status, view.environment.as_str()), (Is::Ready, place));
        let elsewhere = in_environment(if next == place { "testing" } else { next }, two());
        assert_eq!(refused(&host, &elsewhere).await, ["/environment"]);
        deleted(&host).await;
    }
}

#[tokio::test]
async fn a_thing_that_is_told_apart_by_its_environment_keeps_its_owner() {
    let world = scripted();
    let mut thing = simple("thing:1.0.0", "fake", &[("id", JsonType::String)]);
    let relations = json!({"identity": "thing/${environment}/${config.name}"});
    thing.relations = serde_json::from_value(relations).expect("relations");
    world.catalog.add(thing);
    world
        .engines
        .script("box", Behaviour::ready([("id", json!("x"))]));
    let host = world.host().await;
    let body = |environment: &str| {
        in_environment(
            environment,
            web(&[("box", "thing:1.0.0", json!({"name": "one"}))]),
        )
    };
    post(&host, &body("staging")).await;
    settle(&host, "web").await;
    deleted(&host).await;
    post(&host, &body("production")).await;
    assert_eq!(settle(&host, "web").await.status, Is::Ready);
    // Another look at what it has.
    host.check_drift("web", false, meta()).await.expect("asked");
    settle(&host, "web").await;
    let mut other = body("production");
    other["id"] = "other".into();
    let bytes = serde_json::to_vec(&other).expect("JSON");
    let answer = host.submit(&bytes, meta()).await;
    assert!(matches!(answer, Err(Rejection::Invalid(_))), "{answer:?}");
    other["environment"] = "staging".into();
    post(&host, &other).await;
    assert_eq!(settle(&host, "other").await.status, Is::Ready);
}

#[tokio::test]
async fn what_waits_or_is_under_way_does_not_move() {
    let mut world = scripted();
    world.limits.runs = 1;
    let hang = || Behaviour::default().hang(Hang::BeforeEffect);
    world.engines.script("blocker", hang());
    let host = world.host().await;
    let mut blocker = web(&[("blocker", "app:1.0.0", json!({}))]);
    blocker["id"] = "blocker".into();
    post(&host, &blocker).await;
    world
        .engines
        .wait_for_call(Function::Apply, "blocker")
        .await;
    post(&host, &in_environment("staging", two())).await;
    let elsewhere = in_environment("testing", two());
    assert_eq!(
        refused(&host, &elsewhere).await,
        ["/environment"],
        "it waits"
    );
    let database = Behaviour::ready([("endpoint", json!("db")), ("port", json!(1))]);
    let hanging = database.hang(Hang::BeforeEffect);
    world.engines.script("database", hanging);
    world.engines.release("blocker");
    world
        .engines
        .wait_for_call(Function::Apply, "database")
        .await;
    assert_eq!(
        refused(&host, &elsewhere).await,
        ["/environment"],
        "it runs"
    );
    world.engines.release("database");
    assert_eq!(settle(&host, "web").await.status, Is::Ready);
}

/// A world in which `either:1.0.0` is made by one of two engines.
fn two_engines() -> World {
    let world = scripted();
    world.engines.add("other");
    let mut either = simple("either:1.0.0", "fake", &[]);
    let other = EngineId::new("other").expect("a name");
    either.engines.push((other, Arc::new(json!({}))));
    world.catalog.add(either);
    world
}

#[tokio::test]
async fn a_resource_does_not_change_its_engine_while_it_waits() {
    let world = two_engines();
    let hanging = Behaviour::default().hang(Hang::BeforeEffect);
    world.engines.script("box", hanging);
    let host = world.host().await;
    // Under way, and without a document of the resource yet.
    let mut first = web(&[
        ("first", "app:1.0.0", json!({})),
        ("box", "either:1.0.0", json!({"v": 1})),
    ]);
    first["resources"][1]["engine"] = "fake".into();
    first["dependencies"] = json!([{"from": "first", "to": "box"}]);
    let hanging = Behaviour::default().hang(Hang::BeforeEffect);
    world.engines.script("first", hanging);
    post(&host, &first).await;
    world.engines.wait_for_call(Function::Apply, "first").await;
    let mut second = first.clone();
    second["resources"][1]["engine"] = "other".into();
    second["resources"][1]["config"]["v"] = json!(2);
    post(&host, &second).await;
    world.engines.release("first");
    world.engines.release("box");
    let view = settle(&host, "web").await;
    assert_eq!((view.revision, view.status), (2, Is::Failed), "{view:#?}");
    let reason = view.reason.unwrap_or_default();
    assert!(reason.contains("belongs to engine fake"), "{reason}");
    let there = world.engines.existing("web", "box").expect("there");
    assert_eq!(
        (there.engine.as_str(), &there.config),
        ("fake", &json!({"v": 1}))
    );
    let engines = world.engines.calls();
    let engines = engines.iter().filter(|c| c.resource.as_str() == "box");
    assert!(engines.into_iter().all(|c| c.engine.as_str() == "fake"));
    // Nothing is lost: the first can be posted again, and all of it deleted.
    post(&host, &first).await;
    assert_eq!(settle(&host, "web").await.status, Is::Ready);
    deleted(&host).await;
    assert!(world.engines.world("web").is_empty());
}

#[tokio::test]
async fn a_rollback_goes_back_to_the_versions_of_then() {
    let world = scripted();
    let host = world.host().await;
    let any = |size: u64| web(&[("app", "app:^1", json!({"size": size}))]);
    post(&host, &any(1)).await;
    settle(&host, "web").await;
    world.catalog.add_simple("app:1.1.0", "fake", &[]);
    post(&host, &any(2)).await;
    settle(&host, "web").await;
    let versions = async || {
        let graph = host.graph("web").await.expect("there");
        let nodes = graph.nodes.into_iter().map(|n| n.catalog_ref);
        nodes.collect::<Vec<_>>()
    };
    assert_eq!(versions().await, ["app:1.1.0"]);
    host.rollback("web", Some(1), meta())
        .await
        .expect("accepted");
    assert_eq!(settle(&host, "web").await.status, Is::Ready);
    assert_eq!(versions().await, ["app:1.0.0"]);
}
