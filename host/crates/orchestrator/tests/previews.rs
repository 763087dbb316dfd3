//! What somebody who only asks for a plan may see, and has to wait for.

mod common;

use std::sync::Arc;

use serde_json::{Value, json};

use common::{World, assert_status, deploy, post, until};
use nestor_core::definition::JsonType;
use nestor_core::ports::{Function, Standing};
use nestor_orchestrator::service::{Rejection, RequestMeta};
use nestor_orchestrator::view::DeploymentStatus as Is;
use nestor_testkit::catalog::simple;
use nestor_testkit::engines::{Behaviour, Hang};

/// `db:1.0.0` may be run by either of two engines; `notes:1.0.0` by the other only.
fn world() -> World {
    let world = World::new();
    world.engines.add("other");
    let mut db = simple("db:1.0.0", "fake", &[("address", JsonType::String)]);
    db.engines
        .push(("other".parse().expect("a name"), Arc::new(json!({}))));
    world.catalog.add(db);
    let put_out = Behaviour::ready([("address", "db.internal")]);
    world.engines.script("db", put_out);
    world.catalog.add(simple("notes:1.0.0", "other", &[]));
    world
}

fn web(composer: &str, definition: &str, size: u64) -> Value {
    json!({
        "id": "web", "composer": composer, "environment": "production", "dependencies": [],
        "resources": [{ "name": "db", "catalogRef": definition, "config": { "size": size } }],
    })
}

#[tokio::test]
async fn a_plan_shows_no_engine_what_another_one_has_and_no_composer_what_is_anothers() {
    let world = world();
    let host = world.host().await;
    let view = deploy(&host, &web("team", "db:1.0.0", 1)).await;
    assert_status(&view, Is::Ready);
    let mut by_other_engine = web("team", "db:1.0.0", 2);
    by_other_engine["resources"][0]["engine"] = json!("other");
    for (body, pointer) in [
        (web("intruder", "db:1.0.0", 2), "/composer"),
        (by_other_engine, "/resources/0/engine"),
        (web("team", "notes:1.0.0", 2), "/resources/0/engine"),
    ] {
        let meta = RequestMeta::default();
        let refused = host.plan(body.to_string().as_bytes(), meta.clone()).await;
        let Err(Rejection::Invalid(violations)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(violations[0].pointer, pointer);
        assert_eq!(violations[0].code.as_str(), "immutable-field");
    }
    assert_eq!(world.engines.calls_of(Function::Plan, "db"), []);
}

#[tokio::test]
async fn a_plan_waits_for_a_turn_but_not_for_ever() {
    let mut world = world();
    world.limits.calls = 1;
    let hang = Behaviour::ready([("address", "db.internal")]).hang(Hang::BeforeEffect);
    world.engines.script("db", hang);
    let host = world.host().await;
    post(&host, &web("team", "db:1.0.0", 1)).await;
    world.engines.wait_for_call(Function::Apply, "db").await;
    let other = json!({
        "id": "other", "composer": "other", "environment": "production", "dependencies": [],
        "resources": [{ "name": "notes", "catalogRef": "notes:1.0.0", "config": {} }],
    });
    let meta = RequestMeta::default();
    let refused = host.plan(other.to_string().as_bytes(), meta.clone()).await;
    let Err(Rejection::NotNow {
        message,
        retry_after,
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(
        message,
        "everything that may run at once has been running for 30 s, so the plan had no turn"
    );
    assert_eq!(retry_after, 10);
    assert_eq!(world.engines.calls_of(Function::Plan, "notes"), []);
    world.engines.release("db");
    until("the turn is free", async || {
        host.plan(other.to_string().as_bytes(), meta.clone())
            .await
            .is_ok()
    })
    .await;
    // It gives way to work, and leaves nothing behind.
    let plans = world.engines.calls_of(Function::Plan, "notes");
    assert!(plans.iter().all(|call| call.standing == Standing::Preview));
}
