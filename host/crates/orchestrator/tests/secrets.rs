//! What is sensitive stays where it was put.

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};

use common::{World, assert_status, deploy, post, resource, settle, web};
use nestor_core::definition::JsonType;
use nestor_core::engine::{EngineError, Features};
use nestor_core::ports::EngineStatus;
use nestor_orchestrator::Orchestrator;
use nestor_orchestrator::service::RequestMeta;
use nestor_orchestrator::view::DeploymentStatus;
use nestor_testkit::engines::Behaviour;

/// As it is, and lines of it.
const KEY: &str =
    "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhki\nG9w0BAQEFAASCBKcwgg\n-----END KEY-----\n";
const PARTS: [&str; 3] = ["MIIEvQIBADANBgkqhki", "G9w0BAQEFAASCBKcwgg", "hunter22"];

/// `db:1.0.0` declares outputs that its engine, and nobody else, says are
/// sensitive; `chart:1.0.0` is delivered through Git.
fn world() -> World {
    let world = World::new();
    let outputs = [("conn", JsonType::Object), ("address", JsonType::String)];
    world.catalog.add_simple("db:1.0.0", "fake", &outputs);
    let features = Features {
        drift: true,
        ..Features::default()
    };
    world
        .engines
        .add_with("fake", features, EngineStatus::Ready);
    world.engines.script("db", database());
    world
}

fn database() -> Behaviour {
    Behaviour::ready([("address", "db.internal")])
        .sensitive("conn", json!({ "key": KEY, "deep": ["hunter22"] }))
}

fn needing(reference: &str, output: &str) -> Value {
    let value = format!("${{resources.db.outputs.{output}}}");
    web(&[
        ("db", "db:1.0.0", json!({})),
        ("app", reference, json!({ "values": { "conn": value } })),
    ])
}

fn assert_masked(text: &str) {
    for part in PARTS {
        assert!(!text.contains(part), "{part} in {text}");
    }
}

/// All events of the deployment, as they are sent to clients.
async fn told(host: &Orchestrator, id: &str) -> String {
    let events = host.events(id, None, false).await.expect("there");
    let events: Vec<_> = events.collect().await;
    serde_json::to_string(&events).expect("JSON")
}

#[tokio::test]
async fn what_only_the_engine_says_is_sensitive_is_not_committed() {
    let world = world();
    let host = world.host().await;
    let view = deploy(&host, &needing("chart:1.0.0", "conn")).await;
    assert_status(&view, DeploymentStatus::RolledBack);
    let app = resource(&view, "app");
    let reason = app.reason.clone().expect("a reason");
    for part in ["config/values/conn", "sensitive", "Git", "name of a secret"] {
        assert!(reason.contains(part), "{reason}");
    }
    assert!(world.delivery.commits().is_empty());
    // What is not, is.
    let view = deploy(&host, &needing("chart:1.0.0", "address")).await;
    assert_status(&view, DeploymentStatus::Ready);
    assert_eq!(world.delivery.commits().len(), 1);
}

#[tokio::test]
async fn nothing_sensitive_is_in_what_engines_say() {
    let log = Log::default();
    let _on = log.on();
    let world = world();
    let host = world.host().await;
    let said = format!("cannot log in with {KEY} or {:?}: hunter22", KEY);
    let table = [
        ("ready", Behaviour::default()),
        ("pending", Behaviour::default().pending(2)),
        ("transient", Behaviour::default().transient(1)),
        (
            "failed",
            Behaviour::default().fail(EngineError::Failed(said.clone())),
        ),
    ];
    for (what, behaviour) in table {
        world.engines.script("app", behaviour.says(&said));
        let mut wanted = needing("app:1.0.0", "conn");
        wanted["id"] = what.into();
        let events = tokio::spawn({
            post(&host, &wanted).await;
            let host = host.clone();
            async move { told(&host, what).await }
        });
        let view = settle(&host, what).await;
        let app = serde_json::to_string(&view).expect("JSON");
        assert_masked(&app);
        let events = events.await.expect("heard");
        assert_masked(&events);
        assert_eq!(
            app.contains("cannot log in with (sensitive)"),
            what == "failed",
            "{app}"
        );
        let report = host.report(what, None).await.expect("a report");
        assert_masked(&serde_json::to_string(&report).expect("JSON"));
        assert_masked(&log.text());
    }
    assert!(
        log.text().contains("cannot log in with (sensitive)"),
        "{}",
        log.text()
    );
}

#[tokio::test]
async fn notes_do_not_tell_what_their_own_answer_says_is_sensitive() {
    let world = world();
    let host = world.host().await;
    let chart = Behaviour::default()
        .sensitive("undeclared", "hunter22")
        .says("log in with hunter22");
    world.engines.script("site", chart);
    let view = deploy(&host, &web(&[("site", "chart:1.0.0", json!({}))])).await;
    assert_status(&view, DeploymentStatus::Ready);
    let notes = resource(&view, "site").notes.clone().expect("notes");
    assert_eq!(notes, "Notes of site: log in with (sensitive)");
}

#[tokio::test]
async fn a_look_for_drift_tells_no_secret_of_another_resource() {
    let world = world();
    let host = world.host().await;
    deploy(&host, &needing("app:1.0.0", "conn")).await;
    let said = format!("is not {KEY}");
    world.engines.script("app", Behaviour::default().says(said));
    world
        .engines
        .tamper("web", "app", Some(json!({ "values": 1 })));
    let meta = RequestMeta::default();
    host.check_drift("web", false, meta).await.expect("taken");
    let mut view = host.drift("web").await.expect("there");
    while view.pending {
        tokio::time::sleep(Duration::from_millis(1)).await;
        view = host.drift("web").await.expect("there");
    }
    assert!(view.resources[0].changes[0].sensitive, "{view:#?}");
    assert_masked(&serde_json::to_string(&view).expect("JSON"));
    let kept = world.store.scan("drf/", None, 10).await.expect("read");
    assert_masked(&String::from_utf8_lossy(&kept[0].1));
}

/// What is written to the host's log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn on(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
