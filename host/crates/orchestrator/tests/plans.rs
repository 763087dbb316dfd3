//! What a plan says of every resource: as tables of what is deployed, what is
//! wanted and what the engines answer.

mod common;

use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use common::{World, deploy, resource, settle};
use nestor_core::definition::JsonType;
use nestor_core::engine::{Action, Change, EngineError, PlannedOutput, ProposedChanges};
use nestor_core::ids::OutputName;
use nestor_core::ports::Function;
use nestor_orchestrator::Orchestrator;
use nestor_orchestrator::service::{Rejection, RequestMeta, Scope};
use nestor_orchestrator::view::{DeploymentStatus as Is, PlanView};
use nestor_testkit::catalog::simple;
use nestor_testkit::engines::Behaviour;

/// `db` by one engine and `app` by another: both put out an address, and `db`
/// a port, settings and a password too. `leaf` puts out nothing, and its
/// schema wants a port to be a small integer, an address to be a text, and a pin
/// to be a short one.
fn world() -> World {
    let world = World::new();
    world.engines.add("other");
    let mut db = simple(
        "db:1.0.0",
        "fake",
        &[
            ("address", JsonType::String),
            ("port", JsonType::Integer),
            ("settings", JsonType::Object),
            ("password", JsonType::String),
        ],
    );
    let password = OutputName::new("password").expect("a name");
    db.outputs.get_mut(&password).expect("there").sensitive = true;
    world.catalog.add(db);
    world.catalog.add(simple(
        "app:1.0.0",
        "other",
        &[("address", JsonType::String)],
    ));
    let mut leaf = simple("leaf:1.0.0", "other", &[]);
    leaf.config_schema = Arc::new(json!({ "properties": {
        "port": { "type": "integer", "maximum": 9_000 },
        "address": { "type": "string" },
        "pin": { "type": "string", "maxLength": 4 },
    }}));
    world.catalog.add(leaf);
    world.engines.script("db", put_out("db.internal"));
    world
        .engines
        .script("app", Behaviour::ready([("address", "app.internal")]));
    world
}

fn put_out(address: &str) -> Behaviour {
    Behaviour::ready([
        ("address", json!(address)),
        ("port", json!(3306)),
        ("settings", json!({ "tls": true, "hosts": ["a", "b"] })),
    ])
    .sensitive("password", "hunter22")
}

/// A deployment `web` of resources `name: definition`, with their configs.
fn web(resources: Value) -> Value {
    let resources: Vec<Value> = resources
        .as_object()
        .expect("resources")
        .iter()
        .map(|(name, config)| {
            let (name, definition) = name.split_once(": ").unwrap_or((name, name));
            json!({ "name": name, "catalogRef": format!("{definition}:1.0.0"), "config": config })
        })
        .collect();
    json!({ "id": "web", "composer": "team", "environment": "production", "resources": resources, "dependencies": [] })
}

fn of(resource: &str, output: &str) -> String {
    format!("${{resources.{resource}.outputs.{output}}}")
}

/// An engine's answer.
fn proposes(action: Action, outputs: &[(&str, Option<Value>, &str)]) -> ProposedChanges {
    let outputs = outputs
        .iter()
        .map(|(name, known, json_type)| PlannedOutput {
            name: OutputName::new(name).expect("a name"),
            known: known.clone(),
            json_type: (*json_type).into(),
            sensitive: false,
        });
    ProposedChanges {
        action,
        changes: Vec::new(),
        outputs: outputs.collect(),
        summary: String::new(),
    }
}

async fn plan(host: &Orchestrator, body: &Value) -> Result<PlanView, Rejection> {
    let body = serde_json::to_vec(body).expect("JSON");
    host.plan(&body, RequestMeta::default()).await
}

/// A line for each resource: what would happen, why, and its outputs then.
fn shown(plan: &PlanView) -> String {
    let mut text = String::new();
    for r in &plan.resources {
        assert!(!r.reason.is_empty(), "{r:?}");
        let outputs: Vec<String> = r.outputs.iter().map(|(n, v)| format!("{n}={v}")).collect();
        text.push_str(&format!("{} {}: {}", r.name, r.action.as_str(), r.reason));
        if !outputs.is_empty() {
            text.push_str(&format!(" | {}", outputs.join(" ")));
        }
        text.push('\n');
    }
    text
}

fn refusals(rejection: Rejection) -> String {
    match rejection {
        Rejection::Invalid(found) => found
            .iter()
            .map(|v| format!("{} {}: {}\n", v.code.as_str(), v.pointer, v.message))
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// One line of a table.
struct Case {
    name: &'static str,
    /// Deployed before; nothing when null.
    before: Value,
    /// What the engines answer to `plan` then.
    answers: Vec<(&'static str, ProposedChanges)>,
    wanted: Value,
    says: Expect,
}

async fn check(cases: Vec<Case>) {
    for case in cases {
        let world = world();
        let host = world.host().await;
        if !case.before.is_null() {
            let view = deploy(&host, &web(case.before)).await;
            assert_eq!(view.status, Is::Ready, "{}: {view:#?}", case.name);
        }
        for (resource, answer) in case.answers {
            let usual = match resource {
                "db" => put_out("db.internal"),
                _ => Behaviour::ready([("address", "app.internal")]),
            };
            world.engines.script(resource, usual.proposes(answer));
        }
        let said = match plan(&host, &web(case.wanted)).await {
            Ok(plan) => shown(&plan),
            Err(rejection) => refusals(rejection),
        };
        case.says.assert_eq(&format!("{}\n{said}", case.name));
    }
}

/// Three in a row: what the last is given hangs on the first.
fn chain(size: u64) -> Value {
    json!({
        "db": { "size": size },
        "app": { "url": of("db", "address") },
        "leaf": { "address": of("app", "address") },
    })
}

#[tokio::test]
async fn what_is_unknown_goes_through_the_whole_chain() {
    use Action::{Noop, Replace, Update};
    let known = |value: &str| Some(json!(value));
    check(vec![
        Case {
            name: "nothing is there",
            before: Value::Null,
            answers: vec![],
            wanted: chain(1),
            says: expect![[r#"
                nothing is there
                db create: Create db | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                app create: Create app | address={"$unknown":"string"}
                leaf create: Create leaf
            "#]],
        },
        Case {
            name: "nothing is new",
            before: chain(1),
            answers: vec![],
            wanted: chain(1),
            says: expect![[r#"
                nothing is new
                db noop: already as wanted | address="db.internal" password="(sensitive)" port=3306 settings={"hosts":["a","b"],"tls":true}
                app noop: already as wanted | address="app.internal"
                leaf noop: already as wanted
            "#]],
        },
        Case {
            name: "the first is updated, and its engine does not know the address",
            before: chain(1),
            answers: vec![("db", proposes(Update, &[("address", None, "string")]))],
            wanted: chain(2),
            says: expect![[r#"
                the first is updated, and its engine does not know the address
                db update: it differs from what is wanted | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                app possible: may be changed: depends on db.address, known only after apply (at /url) | address={"$unknown":"string"}
                leaf possible: may be changed: depends on app.address, known only after apply (at /address)
            "#]],
        },
        Case {
            name: "the same, and its engine does not speak of outputs at all",
            before: chain(1),
            answers: vec![("db", proposes(Update, &[]))],
            wanted: chain(2),
            says: expect![[r#"
                the same, and its engine does not speak of outputs at all
                db update: it differs from what is wanted | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                app possible: may be changed: depends on db.address, known only after apply (at /url) | address={"$unknown":"string"}
                leaf possible: may be changed: depends on app.address, known only after apply (at /address)
            "#]],
        },
        Case {
            name: "the first is updated and keeps its address",
            before: chain(1),
            answers: vec![(
                "db",
                proposes(Update, &[("address", known("db.internal"), "string")]),
            )],
            wanted: chain(2),
            says: expect![[r#"
                the first is updated and keeps its address
                db update: it differs from what is wanted | address="db.internal" password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                app noop: already as wanted | address="app.internal"
                leaf noop: already as wanted
            "#]],
        },
        Case {
            name: "the first is updated and will have another address",
            before: chain(1),
            answers: vec![(
                "db",
                proposes(Update, &[("address", known("db.new"), "string")]),
            )],
            wanted: chain(2),
            says: expect![[r#"
                the first is updated and will have another address
                db update: it differs from what is wanted | address="db.new" password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                app update: Update app | address={"$unknown":"string"}
                leaf possible: may be changed: depends on app.address, known only after apply (at /address)
            "#]],
        },
        Case {
            name: "the first is replaced",
            before: chain(1),
            answers: vec![("db", proposes(Replace, &[]))],
            wanted: chain(2),
            says: expect![[r#"
                the first is replaced
                db replace: it cannot be changed in place | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                app possible: may be changed: depends on db.address, known only after apply (at /url) | address={"$unknown":"string"}
                leaf possible: may be changed: depends on app.address, known only after apply (at /address)
            "#]],
        },
        Case {
            name: "what the first's engine would replace, the second's says is the same to it",
            before: chain(1),
            answers: vec![("db", proposes(Replace, &[])), ("app", proposes(Noop, &[]))],
            wanted: chain(2),
            says: expect![[r#"
                what the first's engine would replace, the second's says is the same to it
                db replace: it cannot be changed in place | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                app possible: may be changed: depends on db.address, known only after apply (at /url) | address={"$unknown":"string"}
                leaf possible: may be changed: depends on app.address, known only after apply (at /address)
            "#]],
        },
        Case {
            name: "the second would have to be replaced for another address",
            before: chain(1),
            answers: vec![
                ("db", proposes(Update, &[])),
                ("app", proposes(Replace, &[])),
            ],
            wanted: chain(2),
            says: expect![[r#"
                the second would have to be replaced for another address
                db update: it differs from what is wanted | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                app possible: may be replaced: depends on db.address, known only after apply (at /url) | address={"$unknown":"string"}
                leaf possible: may be changed: depends on app.address, known only after apply (at /address)
            "#]],
        },
        Case {
            name: "the second knows its own address whatever it is given",
            before: chain(1),
            answers: vec![
                ("db", proposes(Update, &[])),
                (
                    "app",
                    proposes(Update, &[("address", known("app.internal"), "string")]),
                ),
            ],
            wanted: chain(2),
            says: expect![[r#"
                the second knows its own address whatever it is given
                db update: it differs from what is wanted | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                app possible: may be changed: depends on db.address, known only after apply (at /url) | address="app.internal"
                leaf noop: already as wanted
            "#]],
        },
        Case {
            name: "the second is changed itself as well",
            before: chain(1),
            answers: vec![("db", proposes(Update, &[]))],
            wanted: json!({
                "db": { "size": 2 },
                "app": { "url": of("db", "address"), "replicas": 3 },
                "leaf": { "address": of("app", "address") },
            }),
            says: expect![[r#"
                the second is changed itself as well
                db update: it differs from what is wanted | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                app update: Update app; it also depends on db.address, known only after apply (at /url) | address={"$unknown":"string"}
                leaf possible: may be changed: depends on app.address, known only after apply (at /address)
            "#]],
        },
        Case {
            name: "the last is gone, and one is new",
            before: chain(1),
            answers: vec![("db", proposes(Update, &[]))],
            wanted: json!({
                "db": { "size": 2 },
                "app": { "url": of("db", "address") },
                "more: leaf": { "address": of("app", "address") },
            }),
            says: expect![[r#"
                the last is gone, and one is new
                db update: it differs from what is wanted | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                app possible: may be changed: depends on db.address, known only after apply (at /url) | address={"$unknown":"string"}
                more create: Create more
                leaf delete: the resource is no longer in the deployment
            "#]],
        },
    ])
    .await;
}

#[tokio::test]
async fn what_is_unknown_may_stand_anywhere_in_a_config() {
    use Action::Update;
    let wanted = |size: u64| {
        json!({
            "db": { "size": size },
            "app": {
                "text": format!("tcp://{}:{}/x", of("db", "address"), of("db", "port")),
                "list": ["a", of("db", "port"), ["${environment}"]],
                "map": { "a/b": { "c": of("db", "settings") } },
                "path": [of("db", "settings.hosts.0"), of("db", "settings.tls")],
                "plain": "x",
            },
        })
    };
    let partly = json!({ "tls": true, "hosts": [{ "$unknown": "string" }, "b"] });
    let told = |settings: Value| {
        let outputs = [
            ("address", Some(json!("db.internal")), "string"),
            ("port", Some(json!(3306)), "integer"),
            ("settings", Some(settings), "object"),
        ];
        vec![("db", proposes(Update, &outputs))]
    };
    check(vec![
        Case {
            name: "nothing is known",
            before: wanted(1),
            answers: vec![("db", proposes(Update, &[]))],
            wanted: wanted(2),
            says: expect![[r#"
                nothing is known
                db update: it differs from what is wanted | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                app possible: may be changed: depends on db.port, db.settings, db.address, known only after apply (at /list/1, /map/a~1b/c, /path/0, /path/1, /text) | address={"$unknown":"string"}
            "#]],
        },
        Case {
            name: "a part of an output is not known",
            before: wanted(1),
            answers: told(partly.clone()),
            wanted: wanted(2),
            says: expect![[r#"
                a part of an output is not known
                db update: it differs from what is wanted | address="db.internal" password={"$unknown":"string"} port=3306 settings={"hosts":[{"$unknown":"string"},"b"],"tls":true}
                app possible: may be changed: depends on db.settings, known only after apply (at /map/a~1b/c/hosts/0, /path/0) | address={"$unknown":"string"}
            "#]],
        },
        Case {
            name: "an output is a placeholder as a whole",
            before: wanted(1),
            answers: told(json!({ "$unknown": "object" })),
            wanted: wanted(2),
            says: expect![[r#"
                an output is a placeholder as a whole
                db update: it differs from what is wanted | address="db.internal" password={"$unknown":"string"} port=3306 settings={"$unknown":"object"}
                app possible: may be changed: depends on db.settings, known only after apply (at /map/a~1b/c, /path/0, /path/1) | address={"$unknown":"string"}
            "#]],
        },
        Case {
            name: "only what is known of an output is referred to",
            before: json!({ "db": { "size": 1 }, "app": { "x": of("db", "settings.tls"), "y": of("db", "settings.hosts.1") } }),
            answers: told(partly),
            wanted: json!({ "db": { "size": 2 }, "app": { "x": of("db", "settings.tls"), "y": of("db", "settings.hosts.1") } }),
            says: expect![[r#"
                only what is known of an output is referred to
                db update: it differs from what is wanted | address="db.internal" password={"$unknown":"string"} port=3306 settings={"hosts":[{"$unknown":"string"},"b"],"tls":true}
                app noop: already as wanted | address="app.internal"
            "#]],
        },
    ])
    .await;
    // And what the engines were given holds the types.
    let world = world();
    let host = world.host().await;
    plan(&host, &web(wanted(1))).await.expect("a plan");
    let asked = world.engines.calls_of(Function::Plan, "app");
    assert_eq!(
        asked[0].config,
        json!({
            "text": { "$unknown": "string" },
            "list": ["a", { "$unknown": "integer" }, ["production"]],
            "map": { "a/b": { "c": { "$unknown": "object" } } },
            "path": [{ "$unknown": "any" }, { "$unknown": "any" }],
            "plain": "x",
        })
    );
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_runs() {
    use Action::{Create, Delete, Update};
    let one = |config: Value| json!({ "db": {}, "leaf": config });
    let db = |outputs: &[(&str, Option<Value>, &str)]| vec![("db", proposes(Create, outputs))];
    check(vec![
        Case {
            name: "an output is foreseen with another type",
            before: Value::Null,
            answers: db(&[("port", Some(json!("3306")), "string")]),
            wanted: one(json!({ "port": of("db", "port") })),
            says: expect![[r#"
                an output is foreseen with another type
                engine-refused /resources/0/config: engine fake cannot plan resource db: output "port" is declared as integer by db:1.0.0, and the engine foresees a string
            "#]],
        },
        Case {
            name: "an output that is not known yet is foreseen with another type",
            before: Value::Null,
            answers: db(&[("port", None, "string")]),
            wanted: one(json!({ "port": of("db", "port") })),
            says: expect![[r#"
                an output that is not known yet is foreseen with another type
                engine-refused /resources/0/config: engine fake cannot plan resource db: output "port" is declared as integer by db:1.0.0, and the engine foresees one that is string
            "#]],
        },
        Case {
            name: "a number may turn out to be whole, and what has no type has the declared one",
            before: Value::Null,
            answers: db(&[("port", None, "number"), ("address", None, "any"), ("settings", None, "")]),
            wanted: one(json!({ "port": of("db", "port") })),
            says: expect![[r#"
                a number may turn out to be whole, and what has no type has the declared one
                db create: it is not there yet | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                leaf create: Create leaf
            "#]],
        },
        Case {
            name: "what is known already is not what the next one's schema takes",
            before: Value::Null,
            answers: db(&[("port", Some(json!(33_060)), "integer")]),
            wanted: one(json!({ "port": of("db", "port") })),
            says: expect![[r#"
                what is known already is not what the next one's schema takes
                config-schema /resources/1/config/port: with the outputs that are known put in: is 33060; it must be at most 9000
            "#]],
        },
        Case {
            name: "a part of an output is of another type, known or not",
            before: Value::Null,
            answers: db(&[("settings", Some(json!({ "a": "x", "b": { "$unknown": "boolean" } })), "object")]),
            wanted: one(json!({ "port": of("db", "settings.a"), "address": of("db", "settings.b") })),
            says: expect![[r#"
                a part of an output is of another type, known or not
                reference-type /resources/1/config/address: with the outputs that are known put in: is a boolean, and the config's schema wants a string here
                config-schema /resources/1/config/port: with the outputs that are known put in: must be an integer, not "x"
            "#]],
        },
        Case {
            name: "what is known already has no such part, or cannot stand within a text",
            before: Value::Null,
            answers: db(&[("settings", Some(json!({ "a": {} })), "object")]),
            wanted: one(json!({ "x": of("db", "settings.nope"), "y": format!("x{}", of("db", "settings.a")) })),
            says: expect![[r#"
                what is known already has no such part, or cannot stand within a text
                reference-type /resources/1/config/x: ${resources.db.outputs.settings.nope}: the output has no "nope"
                reference-type /resources/1/config/y: ${resources.db.outputs.settings.a}: an object cannot stand within a longer text
            "#]],
        },
        Case {
            name: "a sensitive value does not stand in the refusal",
            before: Value::Null,
            answers: db(&[("password", Some(json!("hunter22")), "string")]),
            wanted: one(json!({ "pin": of("db", "password") })),
            says: expect![[r#"
                a sensitive value does not stand in the refusal
                config-schema /resources/1/config/pin: with the outputs that are known put in: a sensitive value that was put in is not one that the config's schema takes
            "#]],
        },
        Case {
            name: "an engine would take away what is wanted",
            before: one(json!({})),
            answers: vec![("db", proposes(Delete, &[]))],
            wanted: json!({ "db": { "size": 2 }, "leaf": {} }),
            says: expect![[r#"
                an engine would take away what is wanted
                engine-refused /resources/0/config: engine fake cannot plan resource db: it proposes to delete a resource that is wanted
            "#]],
        },
        Case {
            name: "an engine refuses the first; what hangs on it is looked at all the same",
            before: Value::Null,
            answers: db(&[("port", Some(json!("x")), "string")]),
            wanted: json!({ "db": {}, "app": { "url": of("db", "address") }, "leaf": { "port": of("db", "port"), "address": of("app", "address") } }),
            says: expect![[r#"
                an engine refuses the first; what hangs on it is looked at all the same
                engine-refused /resources/1/config: engine fake cannot plan resource db: output "port" is declared as integer by db:1.0.0, and the engine foresees a string
            "#]],
        },
        Case {
            name: "what was known and is not any more fits as it did",
            before: one(json!({ "port": of("db", "port") })),
            answers: vec![("db", proposes(Update, &[]))],
            wanted: json!({ "db": { "size": 2 }, "leaf": { "port": of("db", "port") } }),
            says: expect![[r#"
                what was known and is not any more fits as it did
                db update: it differs from what is wanted | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
                leaf possible: may be changed: depends on db.port, known only after apply (at /port)
            "#]],
        },
    ])
    .await;
}

#[tokio::test]
async fn nothing_sensitive_is_in_a_plan() {
    let world = world();
    let host = world.host().await;
    let wanted = |size: u64, text: &str| {
        web(json!({
            "db": { "size": size },
            "app": { "auth": { "password": of("db", "password"), "user": text }, "passwordless": true },
        }))
    };
    deploy(&host, &wanted(1, "a")).await;
    let change = |path: &str, before: Value, after: Value| Change {
        path: path.into(),
        before: Some(before),
        after: Some(after),
        sensitive: false,
    };
    let unknown = json!({ "$unknown": "string" });
    // The password is kept, changes to something known, or is not known.
    let outputs = [
        (Some(json!("hunter22")), json!("hunter22")),
        (Some(json!("correcthorse")), json!("correcthorse")),
        (None, unknown),
    ];
    for (told, now) in outputs {
        let mut update = proposes(Action::Update, &[("password", told, "string")]);
        update.changes = vec![change("/url", json!("sql://hunter22@h"), now.clone())];
        world.engines.script("db", put_out("h").proposes(update));
        let mut update = proposes(Action::Update, &[]);
        let auth = json!({ "password": now, "user": "b" });
        let before = json!({ "password": "hunter22", "user": "a" });
        update.changes = vec![
            change("/auth/password", json!("hunter22"), now.clone()),
            change("/auth", before.clone(), auth.clone()),
            change("", json!({ "auth": before }), json!({ "auth": auth })),
            change("module.x.secret", json!(["hunter22"]), now.clone()),
            change("/passwordless", json!(false), json!(true)),
        ];
        let app = Behaviour::ready([("address", "app.internal")]).proposes(update);
        world.engines.script("app", app);
        let plan = plan(&host, &wanted(2, "b")).await.expect("a plan");
        let text = serde_json::to_string(&plan).expect("JSON");
        for secret in ["hunter22", "correcthorse"] {
            assert!(!text.contains(secret), "{text}");
        }
        let changes = &plan.resources[1].changes;
        assert_eq!(
            changes[1].after,
            Some(json!({ "password": "(sensitive)", "user": "b" }))
        );
        assert_eq!(changes[4].after, Some(json!(true)), "that is no secret");
        let password = &plan.resources[0].outputs["password"];
        assert!(
            password == "(sensitive)" || password["$unknown"] == "string",
            "{password}"
        );
    }
}

#[tokio::test]
async fn an_output_is_as_sensitive_as_its_engine_says() {
    let world = world();
    let host = world.host().await;
    let wanted =
        |size: u64| web(json!({ "db": { "size": size }, "app": { "url": of("db", "address") } }));
    // Not by the definition, but by the engine when it was applied.
    let mut hidden = Behaviour::ready([("port", json!(3306)), ("settings", json!({}))])
        .sensitive("address", "db-hidden-place")
        .sensitive("password", "hunter22");
    world.engines.script("db", hidden.clone());
    deploy(&host, &wanted(1)).await;
    // Now nobody speaks of it.
    hidden = hidden.proposes(proposes(Action::Update, &[]));
    world.engines.script("db", hidden);
    let mut update = proposes(Action::Update, &[]);
    update.changes = vec![Change {
        path: "/url".into(),
        before: Some(json!("was db-hidden")),
        after: None,
        sensitive: false,
    }];
    let app = Behaviour::ready([("address", "app.internal")]).proposes(update);
    world.engines.script("app", app);
    let plan = plan(&host, &wanted(2)).await.expect("a plan");
    let change = &plan.resources[1].changes[0];
    assert_eq!(
        (change.before.as_ref(), change.sensitive),
        (Some(&json!("(sensitive)")), true)
    );
}

#[tokio::test]
async fn what_turns_out_as_it_was_is_not_applied_again() {
    // What the first puts out in the end; how often the second is applied.
    for (address, applied) in [("db.internal", 1), ("db.new", 2)] {
        let world = world();
        let host = world.host().await;
        deploy(&host, &web(chain(1))).await;
        let update = proposes(Action::Update, &[]);
        world
            .engines
            .script("db", put_out(address).proposes(update));
        let foreseen = plan(&host, &web(chain(2))).await.expect("a plan");
        let actions: Vec<&str> = foreseen
            .resources
            .iter()
            .map(|r| r.action.as_str())
            .collect();
        assert_eq!(actions, ["update", "possible", "possible"]);
        let view = deploy(&host, &web(chain(2))).await;
        assert_eq!(view.status, Is::Ready, "{view:#?}");
        let calls = |name| world.engines.calls_of(Function::Apply, name).len();
        assert_eq!(
            (calls("db"), calls("app"), calls("leaf")),
            (2, applied, 1),
            "{address}"
        );
        let app = world.engines.existing("web", "app").expect("there");
        assert_eq!(app.config, json!({ "url": address }));
        assert_eq!(resource(&view, "app").outputs["address"], "app.internal");
    }
}

#[tokio::test]
async fn a_part_is_planned_with_what_stands() {
    let world = world();
    let host = world.host().await;
    deploy(&host, &web(chain(1))).await;
    let meta = |names: &[&str]| RequestMeta {
        scope: Scope::Targets(names.iter().map(|n| n.parse().expect("a name")).collect()),
        ..RequestMeta::default()
    };
    let body = serde_json::to_vec(&web(chain(2))).expect("JSON");
    // A target comes with what it depends on.
    let said = shown(&host.plan(&body, meta(&["db"])).await.expect("a plan"));
    expect![[r#"
        db update: Update db | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
    "#]].assert_eq(&said);
    let said = shown(&host.plan(&body, meta(&["leaf"])).await.expect("a plan"));
    expect![[r#"
        db update: Update db | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
        app possible: may be changed: depends on db.address, known only after apply (at /url) | address={"$unknown":"string"}
        leaf possible: may be changed: depends on app.address, known only after apply (at /address)
    "#]].assert_eq(&said);
}

#[tokio::test]
async fn an_engine_without_a_dry_run_still_says_what_is_certain() {
    let world = world();
    let host = world.host().await;
    let none = || {
        Behaviour::ready([("address", "app.internal")])
            .unplannable(EngineError::Unsupported("plan".into()))
    };
    world.engines.script("app", none());
    let first = plan(&host, &web(chain(1))).await.expect("a plan");
    deploy(&host, &web(chain(1))).await;
    let second = plan(&host, &web(chain(2))).await.expect("a plan");
    let mut changed = chain(1);
    changed["app"]["replicas"] = json!(2);
    let third = plan(&host, &web(changed)).await.expect("a plan");
    let said: Vec<String> = [first, second, third].iter().map(shown).collect();
    expect![[r#"
        db create: Create db | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
        app create: the engine has no dry run | address={"$unknown":"string"}
        leaf create: Create leaf
        --
        db update: Update db | address={"$unknown":"string"} password={"$unknown":"string"} port={"$unknown":"integer"} settings={"$unknown":"object"}
        app possible: may be changed: depends on db.address, known only after apply (at /url) | address={"$unknown":"string"}
        leaf possible: may be changed: depends on app.address, known only after apply (at /address)
        --
        db noop: already as wanted | address="db.internal" password="(sensitive)" port=3306 settings={"hosts":["a","b"],"tls":true}
        app update: the engine has no dry run | address={"$unknown":"string"}
        leaf possible: may be changed: depends on app.address, known only after apply (at /address)
    "#]].assert_eq(&said.join("--\n"));
    settle(&host, "web").await;
}
