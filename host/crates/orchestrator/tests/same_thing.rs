//! Deployments that are after one and the same real thing, definitions that
//! have to go with each other, and configs that are whole only in the end.

mod common;

use std::sync::Arc;

use futures::StreamExt as _;
use nestor_core::definition::JsonType;
use nestor_core::engine::EngineError;
use nestor_core::ids::{DefinitionName, EngineId};
use nestor_orchestrator::service::{Rejection, RequestMeta};
use nestor_orchestrator::view::{DeploymentStatus, EventView, Phase, ResourceStatus};
use nestor_orchestrator::{Offer, Orchestrator};
use nestor_testkit::catalog::simple;
use nestor_testkit::engines::Behaviour;
use serde_json::{Value, json};

use common::*;

/// `thing:1.0.0` is told apart by its name, and puts out an id.
fn world() -> World {
    let world = World::new();
    let mut thing = simple("thing:1.0.0", "fake", &[("id", JsonType::String)]);
    thing.relations =
        serde_json::from_value(json!({"identity": "thing/${environment}/${config.name}"}))
            .expect("relations");
    world.catalog.add(thing);
    world
        .engines
        .script_others(Behaviour::ready([("id", "x"), ("endpoint", "there")]));
    world.engines.script(
        "data",
        Behaviour::ready([("endpoint", json!("there")), ("port", json!(1))]),
    );
    world
}

fn body(id: &str, on_conflict: &str, resources: &[(&str, &str, Value)]) -> Value {
    let mut body = web(resources);
    body["id"] = id.into();
    body["strategy"] = json!({"onConflict": on_conflict});
    body
}

fn thing(id: &str, on_conflict: &str, name: &str) -> Value {
    body(
        id,
        on_conflict,
        &[("box", "thing:1.0.0", json!({"name": name}))],
    )
}

async fn refused(host: &Orchestrator, body: &Value) -> Vec<(String, String, String)> {
    let body = serde_json::to_vec(body).expect("JSON");
    match host.submit(&body, RequestMeta::default()).await {
        Err(Rejection::Invalid(violations)) => violations
            .into_iter()
            .map(|v| (v.code.as_str().to_owned(), v.pointer, v.message))
            .collect(),
        other => panic!("{other:?}"),
    }
}

async fn ready(host: &Orchestrator, body: &Value) {
    post(host, body).await;
    let id = body["id"].as_str().expect("an id");
    assert_status(&settle(host, id).await, DeploymentStatus::Ready);
}

async fn waits(host: &Orchestrator, id: &str) {
    until("waits", async || {
        let view = host.get(id).await.expect("there");
        view.status == DeploymentStatus::Pending
            && view
                .reason
                .is_some_and(|r| r.contains("until that one lets go"))
    })
    .await;
}

async fn is(host: &Orchestrator, id: &str, status: DeploymentStatus) {
    until(&format!("{id} is {status:?}"), async || {
        host.get(id).await.expect("there").status == status
    })
    .await;
}

#[tokio::test]
async fn the_second_is_refused_and_told_who_has_it() {
    let world = world();
    let host = world.host().await;
    ready(&host, &thing("first", "fail", "x")).await;
    let violations = refused(&host, &thing("second", "fail", "x")).await;
    assert_eq!(violations.len(), 1);
    let (code, pointer, message) = &violations[0];
    assert_eq!(
        (code.as_str(), pointer.as_str()),
        ("same-thing", "/resources/0")
    );
    assert!(
        message.contains("resource box of deployment first"),
        "{message}"
    );
    // Another thing, and the owner's own next revision, are fine.
    ready(&host, &thing("third", "fail", "y")).await;
    ready(&host, &thing("first", "fail", "x")).await;
    // Gone, it is free.
    host.delete("first", RequestMeta::default())
        .await
        .expect("accepted");
    is(&host, "first", DeploymentStatus::Deleted).await;
    until("free", async || {
        let body = serde_json::to_vec(&thing("second", "fail", "x")).expect("JSON");
        host.submit(&body, RequestMeta::default()).await.is_ok()
    })
    .await;
    is(&host, "second", DeploymentStatus::Ready).await;
}

#[tokio::test]
async fn rolled_back_to_nothing_it_is_free() {
    let world = world();
    world.engines.script(
        "box",
        Behaviour::ready([("id", "x")]).fail(EngineError::Failed("no".into())),
    );
    let host = world.host().await;
    post(&host, &thing("first", "fail", "x")).await;
    is(&host, "first", DeploymentStatus::RolledBack).await;
    until("free", async || {
        let body = serde_json::to_vec(&thing("second", "fail", "x")).expect("JSON");
        host.submit(&body, RequestMeta::default()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn what_queues_waits_without_a_task_and_goes_on_when_it_is_free() {
    let world = world();
    let mut host = world.host().await;
    ready(&host, &thing("first", "fail", "x")).await;
    post(&host, &thing("second", "queue", "x")).await;
    waits(&host, "second").await;
    let view = host.get("second").await.expect("there");
    assert_eq!(view.phase, Phase::Queued);
    assert_eq!(view.resources[0].status, ResourceStatus::Blocked);
    assert_eq!(view.resources[0].blocked_by, ["first/box"]);
    until("nothing is worked on", async || {
        let now = host.occupancy();
        (now.active, now.queued, now.parked) == (0, 0, 0)
    })
    .await;
    // A crash loses neither who waits nor for what.
    drop(host);
    host = world.host().await;
    waits(&host, "second").await;
    host.delete("first", RequestMeta::default())
        .await
        .expect("accepted");
    is(&host, "first", DeploymentStatus::Deleted).await;
    is(&host, "second", DeploymentStatus::Ready).await;
}

#[tokio::test]
async fn what_waits_can_be_cancelled_and_deleted() {
    for delete in [false, true] {
        let world = world();
        let host = world.host().await;
        ready(&host, &thing("first", "fail", "x")).await;
        post(&host, &thing("second", "queue", "x")).await;
        waits(&host, "second").await;
        if delete {
            host.delete("second", RequestMeta::default())
                .await
                .expect("accepted");
            is(&host, "second", DeploymentStatus::Deleted).await;
        } else {
            host.cancel("second", RequestMeta::default())
                .await
                .expect("accepted");
            is(&host, "second", DeploymentStatus::Cancelled).await;
        }
        assert_status(
            &host.get("first").await.expect("there"),
            DeploymentStatus::Ready,
        );
    }
}

#[tokio::test]
async fn a_circle_of_waiting_deployments_is_refused() {
    let world = world();
    let host = world.host().await;
    ready(&host, &thing("first", "queue", "x")).await;
    ready(&host, &thing("second", "queue", "y")).await;
    let both = |id: &str, own: &str, other: &str| {
        body(
            id,
            "queue",
            &[
                ("box", "thing:1.0.0", json!({"name": own})),
                ("more", "thing:1.0.0", json!({"name": other})),
            ],
        )
    };
    post(&host, &both("first", "x", "y")).await;
    waits(&host, "first").await;
    post(&host, &both("second", "y", "x")).await;
    is(&host, "second", DeploymentStatus::Failed).await;
    let reason = host
        .get("second")
        .await
        .expect("there")
        .reason
        .expect("a reason");
    assert!(reason.contains("second → first → second"), "{reason}");
    // The other one goes on once this one lets go.
    host.delete("second", RequestMeta::default())
        .await
        .expect("accepted");
    is(&host, "first", DeploymentStatus::Ready).await;
}

/// `late` is a thing whose name is an output of `source`.
fn late(id: &str, on_conflict: &str) -> Value {
    let source = format!("source of {id}");
    let resources = [
        ("source", "thing:1.0.0", json!({"name": source})),
        (
            "late",
            "thing:1.0.0",
            json!({"name": "${resources.source.outputs.id}"}),
        ),
    ];
    body(id, on_conflict, &resources)
}

async fn is_held(host: &Orchestrator, id: &str) {
    until("held in its run", async || {
        let view = host.get(id).await.expect("there");
        view.resources
            .iter()
            .any(|r| r.name == "late" && r.status == ResourceStatus::Blocked)
    })
    .await;
}

#[tokio::test]
async fn an_identity_from_an_output_is_checked_before_the_intent() {
    let world = world();
    let host = world.host().await;
    ready(&host, &thing("first", "fail", "x")).await;
    post(&host, &late("second", "fail")).await;
    is(&host, "second", DeploymentStatus::RolledBack).await;
    let reason = host
        .get("second")
        .await
        .expect("there")
        .reason
        .expect("a reason");
    assert!(
        reason.contains("resource box of deployment first"),
        "{reason}"
    );
}

#[tokio::test]
async fn an_identity_from_an_output_queues_in_the_run() {
    let world = world();
    let mut host = world.host().await;
    ready(&host, &thing("first", "fail", "x")).await;
    post(&host, &late("second", "queue")).await;
    is_held(&host, "second").await;
    let view = host.get("second").await.expect("there");
    assert_status(&view, DeploymentStatus::InProgress);
    assert_eq!(resource(&view, "source").status, ResourceStatus::Ready);
    let waiting = resource(&view, "late");
    assert_eq!(waiting.blocked_by, ["first/box"]);
    assert!(view.reason.is_some_and(|r| r.contains("lets go")));
    // It has no task.
    until("nothing is worked on", async || {
        let now = host.occupancy();
        (now.active, now.queued, now.parked) == (0, 0, 1)
    })
    .await;
    // A crash loses neither who waits nor for what.
    drop(host);
    host = world.host().await;
    is_held(&host, "second").await;
    host.delete("first", RequestMeta::default())
        .await
        .expect("accepted");
    is(&host, "first", DeploymentStatus::Deleted).await;
    is(&host, "second", DeploymentStatus::Ready).await;
    // It is its own now, and nobody else's.
    refused(&host, &thing("third", "fail", "x")).await;
}

#[tokio::test]
async fn what_waits_in_its_run_can_be_cancelled_and_closes_no_circle() {
    let world = world();
    let host = world.host().await;
    ready(&host, &thing("first", "fail", "x")).await;
    post(&host, &late("second", "queue")).await;
    is_held(&host, "second").await;
    // The first wants what the second has by now, and would wait for itself.
    let wants = body(
        "first",
        "queue",
        &[
            ("box", "thing:1.0.0", json!({"name": "x"})),
            ("more", "thing:1.0.0", json!({"name": "source of second"})),
        ],
    );
    post(&host, &wants).await;
    is(&host, "first", DeploymentStatus::Failed).await;
    let reason = host.get("first").await.expect("there").reason;
    let reason = reason.expect("a reason");
    assert!(reason.contains("first → second → first"), "{reason}");
    host.cancel("second", RequestMeta::default())
        .await
        .expect("accepted");
    is(&host, "second", DeploymentStatus::Cancelled).await;
    let view = host.get("second").await.expect("there");
    assert!(view.resources.iter().all(|r| r.blocked_by.is_empty()));
    // What it had is free, and what it waited for was not touched.
    ready(&host, &wants).await;
}

#[tokio::test]
async fn of_two_posted_at_once_one_is_refused() {
    for round in 0..50 {
        let world = world();
        let host = world.host().await;
        let post = |id: &'static str| {
            let (host, body) = (host.clone(), thing(id, "fail", "x"));
            let body = serde_json::to_vec(&body).expect("JSON");
            tokio::spawn(async move { host.submit(&body, RequestMeta::default()).await })
        };
        let (first, second) = tokio::join!(post("first"), post("second"));
        let (first, second) = (first.expect("no panic"), second.expect("no panic"));
        let accepted = u32::from(first.is_ok()) + u32::from(second.is_ok());
        assert_eq!(accepted, 1, "round {round}: {first:?} {second:?}");
        for answer in [&first, &second] {
            if let Err(refusal) = answer {
                assert!(matches!(refusal, Rejection::Invalid(_)), "{refusal:?}");
            }
        }
    }
}

/// What was promised to a revision is free again when the revision comes to
/// nothing, however it does.
#[tokio::test]
async fn a_reservation_ends_with_its_revision() {
    let refuse = |world: &World| {
        let no = EngineError::Invalid(Vec::new());
        world
            .engines
            .script("box", Behaviour::ready([("id", "x")]).invalid(no));
    };
    for (what, scripted) in [("refused by the engine", true), ("skipped", false)] {
        let world = world();
        if scripted {
            refuse(&world);
        }
        let host = world.host().await;
        if scripted {
            post(&host, &thing("first", "fail", "x")).await;
            is(&host, "first", DeploymentStatus::Failed).await;
        } else {
            ready(&host, &thing("first", "fail", "other")).await;
            ready(&host, &thing("owner", "fail", "y")).await;
            // Waits in front of the one that reserves.
            post(&host, &thing("first", "queue", "y")).await;
            waits(&host, "first").await;
            post(&host, &thing("first", "fail", "x")).await;
            let violations = refused(&host, &thing("second", "fail", "x")).await;
            assert!(violations[0].2.contains("deployment first"), "{what}");
            let mut latest = thing("first", "fail", "other");
            latest["strategy"]["queued"] = "latest".into();
            ready(&host, &latest).await;
        }
        until(what, async || {
            let body = serde_json::to_vec(&thing("second", "fail", "x")).expect("JSON");
            host.submit(&body, RequestMeta::default()).await.is_ok()
        })
        .await;
    }
}

#[tokio::test]
async fn a_config_is_checked_again_once_its_outputs_are_there() {
    let world = world();
    let mut strict = simple("strict:1.0.0", "fake", &[]);
    strict.config_schema = Arc::new(json!({
        "type": "object",
        "properties": {"id": {"type": "string", "pattern": "^[a-z]{3}$"}},
    }));
    world.catalog.add(strict);
    world
        .engines
        .script("source", Behaviour::ready([("id", "too long")]));
    let host = world.host().await;
    let resources = [
        ("source", "thing:1.0.0", json!({"name": "s"})),
        (
            "last",
            "strict:1.0.0",
            json!({"id": "${resources.source.outputs.id}"}),
        ),
    ];
    post(&host, &body("web", "fail", &resources)).await;
    is(&host, "web", DeploymentStatus::RolledBack).await;
    let reason = host
        .get("web")
        .await
        .expect("there")
        .reason
        .expect("a reason");
    assert!(reason.contains("config/id"), "{reason}");
    assert!(reason.contains("strict:1.0.0"), "{reason}");
}

#[tokio::test]
async fn what_is_required_may_be_ready_elsewhere_in_the_environment() {
    let world = world();
    let mut user = simple("user:1.0.0", "fake", &[]);
    user.relations = serde_json::from_value(json!({
        "requires": [{"definition": "db", "version": "^1", "scope": "environment"}],
    }))
    .expect("relations");
    world.catalog.add(user);
    let host = world.host().await;
    let wants = body("wants", "fail", &[("user", "user:1.0.0", json!({}))]);
    let violations = refused(&host, &wants).await;
    assert_eq!(violations[0].0, "incompatible");
    assert!(violations[0].2.contains("there is none"), "{violations:?}");
    ready(
        &host,
        &body("has", "fail", &[("data", "db:1.0.0", json!({}))]),
    )
    .await;
    ready(&host, &wants).await;
    let mut elsewhere = wants.clone();
    elsewhere["id"] = "elsewhere".into();
    elsewhere["environment"] = "staging".into();
    refused(&host, &elsewhere).await;
    host.delete("has", RequestMeta::default())
        .await
        .expect("accepted");
    is(&host, "has", DeploymentStatus::Deleted).await;
    refused(&host, &wants).await;
}

#[tokio::test]
async fn impact_tells_what_would_be_touched_elsewhere() {
    let world = world();
    let mut user = simple("user:1.0.0", "fake", &[("id", JsonType::String)]);
    user.relations = serde_json::from_value(json!({
        "requires": [{"definition": "db", "version": "^1", "scope": "environment"}],
    }))
    .expect("relations");
    world.catalog.add(user);
    let host = world.host().await;
    let has = [
        ("data", "db:1.0.0", json!({})),
        (
            "app",
            "app:1.0.0",
            json!({"url": "${resources.data.outputs.endpoint}"}),
        ),
        ("other", "app:1.0.0", json!({})),
    ];
    ready(&host, &body("has", "fail", &has)).await;
    let wants = [
        ("user", "user:1.0.0", json!({})),
        (
            "after",
            "app:1.0.0",
            json!({"id": "${resources.user.outputs.id}"}),
        ),
    ];
    ready(&host, &body("wants", "fail", &wants)).await;
    let touched = |view: &nestor_orchestrator::view::ImpactView| -> Vec<String> {
        assert!(!view.truncated);
        let line = |r: &nestor_orchestrator::view::TouchedView| {
            format!(
                "{}/{} {} {}",
                r.deployment,
                r.resource,
                r.affected,
                r.path.join(" → ")
            )
        };
        view.resources.iter().map(line).collect()
    };
    let of_data = host.impact("has", Some("data")).await.expect("there");
    assert_eq!(
        touched(&of_data),
        [
            "has/data certainly has/data",
            "has/app possibly has/data → has/app",
            "has/other not ",
            "wants/user possibly has/data → wants/user",
            "wants/after possibly has/data → wants/user → wants/after",
        ]
    );
    let of_all = host.impact("has", None).await.expect("there");
    assert_eq!(of_all.summary["certainly"], 3);
    assert_eq!(of_all.summary["possibly"], 2);
    let of_app = host.impact("has", Some("app")).await.expect("there");
    assert_eq!(of_app.summary.get("possibly"), None);
    // A plan says the same of what it changes.
    let mut changed = body("has", "fail", &has);
    changed["resources"][0]["config"] = json!({"size": 2});
    let changed = serde_json::to_vec(&changed).expect("JSON");
    let plan = host
        .plan(&changed, RequestMeta::default())
        .await
        .expect("a plan");
    let impact = plan.impact.expect("an impact");
    assert!(
        touched(&impact).contains(&"wants/user possibly has/data → wants/user".to_owned()),
        "{impact:#?}"
    );
    for (id, resource) in [("nowhere", None), ("has", Some("dta"))] {
        assert!(host.impact(id, resource).await.is_err());
    }
    // What is offered changes: of a version that nobody can take, nothing.
    let name = DefinitionName::new("db").expect("a name");
    let of = Offer::Definition(name.clone(), None);
    let of_db = host.impact_of(&of).await.expect("an impact");
    assert_eq!(of_db.change, "definition db");
    assert_eq!(
        touched(&of_db),
        [
            "has/data certainly has/data",
            "has/app possibly has/data → has/app",
            "wants/user possibly has/data → wants/user",
            "wants/after possibly has/data → wants/user → wants/after",
        ]
    );
    let of = Offer::Definition(name, Some("1.1.0".parse().expect("a version")));
    let of_next = host.impact_of(&of).await.expect("an impact");
    assert_eq!(touched(&of_next), ["has/data not "]);
    assert_eq!(
        of_next.resources[0].reason,
        "its db:1.0.0 does not take 1.1.0"
    );
    let of = Offer::Engine(EngineId::new("fake").expect("a name"));
    let of_engine = host.impact_of(&of).await.expect("an impact");
    assert_eq!(of_engine.summary["possibly"], 5);
}

#[tokio::test]
async fn each_resource_that_waits_for_somebody_elses_thing_says_for_which() {
    let world = world();
    let other = Behaviour::ready([("id", "y")]);
    world.engines.script("other-source", other);
    let host = world.host().await;
    ready(&host, &thing("first", "fail", "x")).await;
    ready(&host, &thing("other", "fail", "y")).await;
    let mut second = late("second", "queue");
    let more = [
        ("other-source", json!({"name": "another source"})),
        (
            "later",
            json!({"name": "${resources.other-source.outputs.id}"}),
        ),
    ];
    for (name, config) in more {
        let resource = json!({"name": name, "catalogRef": "thing:1.0.0", "config": config});
        let resources = second["resources"].as_array_mut();
        resources.expect("a list").push(resource);
    }
    post(&host, &second).await;
    until("both say so", async || {
        let view = host.get("second").await.expect("there");
        let blocked = |name: &str, by: &str| {
            let view = resource(&view, name);
            let reason = view.reason.as_deref().unwrap_or_default();
            view.status == ResourceStatus::Blocked
                && view.blocked_by == [by]
                && reason.contains("until that one lets go")
        };
        blocked("late", "first/box") && blocked("later", "other/box")
    })
    .await;
    for id in ["other", "first"] {
        let deleted = host.delete(id, RequestMeta::default()).await;
        deleted.expect("accepted");
        is(&host, id, DeploymentStatus::Deleted).await;
    }
    is(&host, "second", DeploymentStatus::Ready).await;
}

#[tokio::test]
async fn waiting_for_a_thing_and_giving_that_up_are_told_of_the_deployment() {
    let world = world();
    let host = world.host().await;
    ready(&host, &thing("first", "fail", "x")).await;
    ready(&host, &thing("second", "fail", "y")).await;
    post(&host, &thing("second", "queue", "x")).await;
    waits(&host, "second").await;
    host.cancel("second", RequestMeta::default())
        .await
        .expect("accepted");
    is(&host, "second", DeploymentStatus::Ready).await;
    let events = host.events("second", None, false).await.expect("there");
    let of_deployment = |event: &EventView| event.id.is_some() && event.resource.is_none();
    let told: Vec<_> = events
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .filter(of_deployment)
        .map(|event| (event.kind, event.status))
        .collect();
    let status = |status| ("status".to_owned(), Some(status));
    assert_eq!(
        told[told.len() - 3..],
        [
            status(DeploymentStatus::Pending),
            ("withdrawn".to_owned(), None),
            status(DeploymentStatus::Ready),
        ]
    );
}
