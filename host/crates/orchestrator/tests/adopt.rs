//! Real things that one deployment takes over from another.

mod common;

use nestor_core::definition::JsonType;
use nestor_core::engine::{EngineError, Features};
use nestor_core::ports::{Bytes, EngineStatus, Function, Store};
use nestor_orchestrator::Orchestrator;
use nestor_orchestrator::service::{Approving, Rejection, RequestMeta};
use nestor_orchestrator::view::{DeploymentStatus as Is, DeploymentView, PlanView, ResourceStatus};
use nestor_testkit::catalog::simple;
use nestor_testkit::engines::{Behaviour, Hang};
use serde_json::{Value, json};

use common::*;

/// Definitions whose things are told apart by their name alone.
fn world() -> World {
    let world = World::new();
    let drift = Features {
        drift: true,
        ..Features::default()
    };
    world.engines.add_with("fake", drift, EngineStatus::Ready);
    world.engines.add("other");
    for (reference, engine) in [
        ("thing:1.0.0", "fake"),
        ("thing:1.1.0", "fake"),
        ("same:1.0.0", "fake"),
        ("elsewhere:1.0.0", "other"),
        ("rendered:1.0.0", "charts"),
    ] {
        let mut thing = simple(reference, engine, &[("id", JsonType::String)]);
        thing.relations =
            serde_json::from_value(json!({"identity": "thing/${config.name}"})).expect("relations");
        world.catalog.add(thing);
    }
    world
        .engines
        .script_others(Behaviour::ready([("id", "x"), ("endpoint", "there")]));
    world
}

fn body(id: &str, on_conflict: &str, resources: &[(&str, &str, Value)]) -> Value {
    let mut body = web(resources);
    body["id"] = id.into();
    body["strategy"] = json!({"onConflict": on_conflict});
    body
}

fn thing(id: &str, on_conflict: &str, size: u64) -> Value {
    let config = json!({"name": "x", "size": size});
    body(id, on_conflict, &[("box", "thing:1.0.0", config)])
}

async fn is(host: &Orchestrator, id: &str, status: Is) -> DeploymentView {
    until(&format!("{id} is {status:?}"), async || {
        host.get(id).await.expect("there").status == status
    })
    .await;
    host.get(id).await.expect("there")
}

async fn ready(host: &Orchestrator, body: &Value) -> DeploymentView {
    post(host, body).await;
    let id = body["id"].as_str().expect("an id");
    let view = settle(host, id).await;
    assert_status(&view, Is::Ready);
    view
}

async fn refused(host: &Orchestrator, body: &Value) -> String {
    let body = serde_json::to_vec(body).expect("JSON");
    match host.submit(&body, RequestMeta::default()).await {
        Err(Rejection::Invalid(violations)) => {
            assert_eq!(violations[0].code.as_str(), "same-thing");
            violations[0].message.clone()
        }
        other => panic!("{other:?}"),
    }
}

async fn delete(host: &Orchestrator, id: &str) {
    let deleted = host.delete(id, RequestMeta::default());
    deleted.await.expect("accepted");
    is(host, id, Is::Deleted).await;
}

async fn plan(host: &Orchestrator, body: &Value) -> PlanView {
    let body = serde_json::to_vec(body).expect("JSON");
    let plan = host.plan(&body, RequestMeta::default());
    plan.await.expect("a plan")
}

async fn events(host: &Orchestrator, id: &str, kind: &str) -> Vec<String> {
    use futures::StreamExt as _;
    let events = host.events(id, None, false).await.expect("there");
    let events: Vec<_> = events.collect().await;
    let of = events.into_iter().filter(|event| event.kind == kind);
    of.map(|event| event.message).collect()
}

fn destroyed(world: &World) -> usize {
    world.engines.calls_of(Function::Destroy, "box").len()
}

#[tokio::test]
async fn it_comes_with_its_state_and_leaves_its_owner_alone() {
    let world = world();
    let host = world.host().await;
    ready(&host, &thing("first", "fail", 1)).await;
    let wanted = thing("second", "adopt", 2);
    let plan = plan(&host, &wanted).await;
    assert_eq!(plan.resources[0].action.as_str(), "update");
    assert_eq!(plan.resources[0].adopts.as_deref(), Some("first/box"));
    assert!(
        plan.resources[0]
            .reason
            .contains("taken over from first/box")
    );
    assert!(
        plan.warnings[0].contains("left without it"),
        "{:?}",
        plan.warnings
    );
    let view = ready(&host, &wanted).await;
    assert_eq!(resource(&view, "box").outputs["id"], json!("x"));
    // The engine had what it recorded for the first, where it had put it.
    let applies = world.engines.calls_of(Function::Apply, "box");
    assert_eq!(applies.len(), 2);
    let prior = applies[1].prior_state.clone();
    assert_eq!(prior, Some(json!({"operation": "first/1/box/do"})));
    let real = world.engines.existing("first", "box").expect("there");
    assert_eq!((real.config["size"].clone(), real.effects), (json!(2), 2));
    // Both say so.
    let former = host.get("first").await.expect("there");
    assert_status(&former, Is::Ready);
    let gone = resource(&former, "box");
    assert_eq!(gone.status, ResourceStatus::Skipped);
    let reason = gone.reason.clone().expect("a reason");
    assert!(
        reason.contains("handed over to resource box of deployment second"),
        "{reason}"
    );
    assert!(gone.outputs.is_empty());
    assert!(former.warnings[0].contains("handed over"));
    assert_eq!(events(&host, "first", "handed_over").await.len(), 1);
    assert_eq!(events(&host, "second", "adopted").await.len(), 1);
    // The former owner has nothing to do with it any more.
    let again = refused(&host, &thing("first", "fail", 3)).await;
    assert!(again.contains("deployment second"), "{again}");
    ready(
        &host,
        &body("first", "fail", &[("app", "app:1.0.0", json!({}))]),
    )
    .await;
    delete(&host, "first").await;
    assert_eq!(destroyed(&world), 0);
    delete(&host, "second").await;
    assert_eq!(destroyed(&world), 1);
    assert_eq!(world.engines.existing("first", "box"), None);
    assert_eq!(world.engines.overlaps(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_as_wanted_is_only_handed_over_and_may_come_back() {
    let world = world();
    let host = world.host().await;
    ready(&host, &thing("first", "fail", 1)).await;
    let wanted = thing("second", "adopt", 1);
    let plan = plan(&host, &wanted).await;
    assert_eq!(plan.resources[0].action.as_str(), "noop");
    assert_eq!(plan.resources[0].adopts.as_deref(), Some("first/box"));
    ready(&host, &wanted).await;
    // And back, and away again.
    ready(&host, &thing("first", "adopt", 1)).await;
    ready(&host, &thing("second", "adopt", 1)).await;
    assert_eq!(world.engines.calls_of(Function::Apply, "box").len(), 1);
    delete(&host, "first").await;
    assert_eq!(destroyed(&world), 0);
}

/// A resource of the same name that is created anew has nothing of the one that
/// went.
#[tokio::test]
async fn the_former_owners_next_thing_of_that_name_has_a_home_of_its_own() {
    let world = world();
    let host = world.host().await;
    ready(&host, &thing("first", "fail", 1)).await;
    ready(&host, &thing("second", "adopt", 1)).await;
    let new = [("box", "thing:1.0.0", json!({"name": "y"}))];
    let planned = plan(&host, &body("first", "fail", &new)).await;
    assert_eq!(planned.resources[0].action.as_str(), "create");
    let view = ready(&host, &body("first", "fail", &new)).await;
    assert_eq!(resource(&view, "box").status, ResourceStatus::Ready);
    assert_eq!(world.engines.world("first"), ["box", "box@1"]);
    let new = world.engines.existing("first", "box@1").expect("there");
    assert_eq!(new.config["name"], "y");
    delete(&host, "second").await;
    assert_eq!(world.engines.world("first"), ["box@1"]);
    delete(&host, "first").await;
    assert!(world.engines.world("first").is_empty());
}

#[tokio::test]
async fn it_is_refused_where_it_would_do_harm() {
    let x = |size: u64| json!({"name": "x", "size": size});
    let adopting = |reference: &str| body("second", "adopt", &[("box", reference, x(1))]);
    let mut others_composer = adopting("thing:1.1.0");
    others_composer["composer"] = "team-beta".into();
    let mut others_environment = adopting("thing:1.1.0");
    others_environment["environment"] = "staging".into();
    let named = body("other", "adopt", &[("box", "thing:1.1.0", x(1))]);
    let stands = [
        ("box", "thing:1.1.0", x(1)),
        (
            "app",
            "app:1.0.0",
            json!({"url": "${resources.box.outputs.id}"}),
        ),
    ];
    let alone = [("box", "thing:1.1.0", x(1))];
    let rendered = [("box", "rendered:1.0.0", x(1))];
    let cases: [(&str, &[_], Value, &str); 8] = [
        ("composer", &alone, others_composer, "composer team-alpha"),
        (
            "environment",
            &alone,
            others_environment,
            "environment production",
        ),
        (
            "engine",
            &alone,
            adopting("elsewhere:1.0.0"),
            "engine other cannot read",
        ),
        (
            "definition",
            &alone,
            adopting("same:1.0.0"),
            "use the same definition",
        ),
        (
            "version",
            &alone,
            adopting("thing:1.0.0"),
            "use thing:1.1.0 or a later version",
        ),
        (
            "another thing",
            &alone,
            named,
            "give the resource another name",
        ),
        (
            "stands on it",
            &stands,
            adopting("thing:1.1.0"),
            "others stand on it: app",
        ),
        (
            "Git",
            &rendered,
            adopting("rendered:1.0.0"),
            "delivered through Git",
        ),
    ];
    for (what, first, wanted, says) in cases {
        let world = world();
        let host = world.host().await;
        ready(&host, &body("first", "fail", first)).await;
        let own = [("box", "thing:1.0.0", json!({"name": "y"}))];
        ready(&host, &body("other", "fail", &own)).await;
        let message = refused(&host, &wanted).await;
        assert!(message.contains(says), "{what}: {message}");
        let former = host.get("first").await.expect("there");
        assert_eq!(
            resource(&former, "box").status,
            ResourceStatus::Ready,
            "{what}"
        );
    }
}

/// The engine is asked whether it can go on with what it recorded.
#[tokio::test]
async fn an_engine_that_does_not_find_it_takes_nothing_over() {
    let world = world();
    let host = world.host().await;
    ready(&host, &thing("first", "fail", 1)).await;
    world.engines.tamper("first", "box", None);
    post(&host, &thing("second", "adopt", 1)).await;
    let view = is(&host, "second", Is::Failed).await;
    let reason = view.reason.expect("a reason");
    assert!(reason.contains("does not find it"), "{reason}");
    let former = host.get("first").await.expect("there");
    assert_eq!(resource(&former, "box").status, ResourceStatus::Ready);
}

#[tokio::test]
async fn what_stands_on_it_may_come_along() {
    let world = world();
    let host = world.host().await;
    let both = |id: &str, on_conflict: &str| {
        let resources = [
            ("box", "thing:1.0.0", json!({"name": "x"})),
            (
                "lid",
                "thing:1.0.0",
                json!({"name": "lid", "on": "${resources.box.outputs.id}"}),
            ),
        ];
        body(id, on_conflict, &resources)
    };
    ready(&host, &both("first", "fail")).await;
    ready(&host, &both("second", "adopt")).await;
    assert_eq!(world.engines.calls_of(Function::Apply, "lid").len(), 1);
    delete(&host, "first").await;
    assert_eq!(destroyed(&world), 0);
    delete(&host, "second").await;
    // In reverse order, here too.
    let calls = world.engines.calls();
    let destroys = calls.iter().filter(|c| c.function == Function::Destroy);
    let names: Vec<_> = destroys.map(|c| c.resource.to_string()).collect();
    assert_eq!(names, ["lid", "box"]);
}

#[tokio::test]
async fn an_owner_that_is_busy_is_waited_for() {
    let world = world();
    let mut host = world.host().await;
    ready(&host, &thing("first", "fail", 1)).await;
    let hangs = Behaviour::ready([("id", "x")]).hang(Hang::BeforeEffect);
    world.engines.script("box", hangs);
    post(&host, &thing("first", "fail", 2)).await;
    until("it hangs", async || {
        world.engines.calls_of(Function::Apply, "box").len() == 2
    })
    .await;
    let planned = plan(&host, &thing("second", "adopt", 3)).await;
    assert!(
        planned
            .warnings
            .iter()
            .any(|w| w.contains("would wait now")),
        "{:?}",
        planned.warnings
    );
    post(&host, &thing("second", "adopt", 3)).await;
    until("waits", async || {
        let view = host.get("second").await.expect("there");
        view.reason.is_some_and(|r| r.contains("once that rests"))
    })
    .await;
    let view = host.get("second").await.expect("there");
    assert_eq!(resource(&view, "box").blocked_by, ["first/box"]);
    // A crash loses neither.
    drop(host);
    host = world.host().await;
    world.engines.release("box");
    is(&host, "second", Is::Ready).await;
    let former = host.get("first").await.expect("there");
    assert_status(&former, Is::Ready);
    assert_eq!(resource(&former, "box").status, ResourceStatus::Skipped);
    let real = world.engines.existing("first", "box").expect("there");
    assert_eq!(real.config["size"], 3);
    assert_eq!(world.engines.overlaps(), Vec::<String>::new());
}

#[tokio::test]
async fn a_failed_adoption_leaves_the_thing_as_it_was() {
    let world = world();
    let host = world.host().await;
    ready(&host, &thing("first", "fail", 1)).await;
    world.engines.script(
        "app",
        Behaviour::ready([("id", "x")]).fail(EngineError::Failed("no".into())),
    );
    let resources = [
        ("box", "thing:1.0.0", json!({"name": "x", "size": 2})),
        (
            "app",
            "app:1.0.0",
            json!({"url": "${resources.box.outputs.id}"}),
        ),
    ];
    post(&host, &body("second", "adopt", &resources)).await;
    is(&host, "second", Is::RolledBack).await;
    assert_eq!(destroyed(&world), 0);
    let real = world.engines.existing("first", "box").expect("there");
    assert_eq!(real.config, json!({"name": "x", "size": 1}));
    // It has one owner, and that is the second.
    let message = refused(&host, &thing("third", "fail", 1)).await;
    assert!(message.contains("deployment second"), "{message}");
}

#[tokio::test]
async fn nothing_moves_before_it_is_approved() {
    for yes in [true, false] {
        let world = world();
        let host = world.host().await;
        ready(&host, &thing("first", "fail", 1)).await;
        let mut wanted = thing("second", "adopt", 1);
        wanted["strategy"]["approval"] = "required".into();
        post(&host, &wanted).await;
        is(&host, "second", Is::AwaitingApproval).await;
        let shown = host.waiting_plan("second").await.expect("a plan");
        assert_eq!(shown.resources[0].adopts.as_deref(), Some("first/box"));
        let former = host.get("first").await.expect("there");
        assert_eq!(resource(&former, "box").status, ResourceStatus::Ready);
        if yes {
            let meta = RequestMeta::default();
            host.approve("second", Approving::default(), meta)
                .await
                .expect("approved");
            is(&host, "second", Is::Ready).await;
            delete(&host, "first").await;
        } else {
            host.cancel("second", RequestMeta::default())
                .await
                .expect("refused");
            is(&host, "second", Is::Cancelled).await;
            delete(&host, "second").await;
        }
        assert_eq!(destroyed(&world), 0);
    }
}

#[tokio::test]
async fn an_identity_from_an_output_is_taken_over_in_the_run() {
    let world = world();
    let host = world.host().await;
    ready(&host, &thing("first", "fail", 1)).await;
    let late = |approval: &str| {
        let resources = [
            ("source", "thing:1.0.0", json!({"name": "source"})),
            (
                "box",
                "thing:1.0.0",
                json!({"name": "${resources.source.outputs.id}", "size": 2}),
            ),
        ];
        let mut body = body("second", "adopt", &resources);
        body["strategy"]["approval"] = approval.into();
        body
    };
    // Nobody approved that.
    post(&host, &late("required")).await;
    is(&host, "second", Is::AwaitingApproval).await;
    host.approve("second", Approving::default(), RequestMeta::default())
        .await
        .expect("approved");
    let view = is(&host, "second", Is::RolledBack).await;
    let reason = view.reason.expect("a reason");
    assert!(
        reason.contains("not known when the plan was approved"),
        "{reason}"
    );
    ready(&host, &late("automatic")).await;
    let real = world.engines.existing("first", "box").expect("there");
    assert_eq!(real.config["size"], 2);
    assert_eq!(events(&host, "second", "adopted").await.len(), 1);
    delete(&host, "first").await;
    assert_eq!(destroyed(&world), 0);
}

#[tokio::test]
async fn whoever_waits_waits_for_the_new_owner() {
    let world = world();
    let host = world.host().await;
    ready(&host, &thing("first", "fail", 1)).await;
    post(&host, &thing("third", "queue", 3)).await;
    let waits_for = |owner: &'static str| {
        let host = host.clone();
        async move {
            until(&format!("waits for {owner}"), async || {
                let view = host.get("third").await.expect("there");
                view.resources[0].blocked_by == [owner]
            })
            .await;
        }
    };
    waits_for("first/box").await;
    ready(&host, &thing("second", "adopt", 1)).await;
    waits_for("second/box").await;
    delete(&host, "first").await;
    delete(&host, "second").await;
    is(&host, "third", Is::Ready).await;
}

#[tokio::test]
async fn drift_is_put_right_without_what_was_handed_over() {
    let world = world();
    let host = world.host().await;
    let resources = [
        ("box", "thing:1.0.0", json!({"name": "x", "size": 1})),
        ("app", "app:1.0.0", json!({"size": 1})),
    ];
    ready(&host, &body("first", "fail", &resources)).await;
    ready(&host, &thing("second", "adopt", 1)).await;
    world
        .engines
        .tamper("first", "app", Some(json!({"size": 7})));
    host.check_drift("first", true, RequestMeta::default())
        .await
        .expect("taken");
    until("put right", async || {
        let app = world.engines.existing("first", "app").expect("there");
        app.config["size"] == 1
    })
    .await;
    let view = is(&host, "first", Is::Ready).await;
    assert_eq!(resource(&view, "box").status, ResourceStatus::Skipped);
    assert_eq!(world.engines.calls_of(Function::Apply, "box").len(), 1);
}

/// Who has the thing, by the owner's document and by the resources.
async fn owners(store: &dyn Store) -> (Vec<String>, Vec<String>) {
    let read = |documents: Vec<(String, Bytes)>| {
        documents
            .into_iter()
            .map(|(key, raw)| (key, serde_json::from_slice::<Value>(&raw).expect("JSON")))
            .collect::<Vec<_>>()
    };
    let owners = read(store.scan("own/", None, 100).await.expect("read"));
    let owners = owners
        .into_iter()
        .map(|(_, owner)| owner["deployment"].as_str().expect("a name").to_owned());
    let resources = read(store.scan("res/", None, 100).await.expect("read"));
    let resources = resources
        .into_iter()
        .map(|(key, _)| key.split('/').nth(1).expect("a deployment").to_owned());
    (owners.collect(), resources.collect())
}

#[tokio::test]
async fn a_crash_after_any_commit_leaves_one_owner() {
    let mut died = 0;
    for commits in 0.. {
        let world = world();
        let host = world.host().await;
        ready(&host, &thing("first", "fail", 1)).await;
        host.shutdown(std::time::Duration::from_secs(5)).await;
        let mut mortal = world.clone();
        let store = mortal.mortal(commits);
        let bytes = serde_json::to_vec(&thing("second", "adopt", 2)).expect("JSON");
        let once = || RequestMeta {
            idempotency_key: Some("once".into()),
            ..RequestMeta::default()
        };
        if let Some(host) = mortal.try_host().await {
            let accepted = host.submit(&bytes, once()).await.is_ok();
            while accepted && !store.is_dead() {
                if host.get("second").await.expect("there").status == Is::Ready {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
        let dead = store.is_dead();
        let (owner, resources) = owners(world.store.as_ref()).await;
        assert_eq!(owner, resources, "after {commits}");
        assert_eq!(owner.len(), 1, "after {commits}");
        if dead {
            died += 1;
            let second = world.host().await;
            second.submit(&bytes, once()).await.expect("accepted");
            is(&second, "second", Is::Ready).await;
            delete(&second, "first").await;
        }
        assert_eq!(destroyed(&world), 0, "after {commits}");
        let effects = world.engines.effects_by_operation();
        assert!(effects.values().all(|n| *n == 1), "after {commits}");
        if !dead {
            break;
        }
    }
    assert!(died > 5, "the host died only {died} times");
}
