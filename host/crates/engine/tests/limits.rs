//! Engines that misbehave: each a typed error, the host alive, and neighbours
//! that notice nothing.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use nestor_core::engine::EngineError;
use nestor_core::ports::{Engines, Function};
use serde_json::json;

fn limit_of(error: &EngineError) -> &'static str {
    match error {
        EngineError::LimitExceeded { limit, .. } => limit,
        other => panic!("{other:?}"),
    }
}

fn trap_text(error: &EngineError) -> &str {
    match error {
        EngineError::Trapped(text) => text,
        other => panic!("{other:?}"),
    }
}

/// One thread: a guest that could not be interrupted would stop everything.
#[tokio::test(flavor = "current_thread")]
async fn a_loop_ends_by_its_cpu_limit_while_a_neighbour_is_served() {
    let fixture = start(|_| ()).await;
    fixture
        .load("loop", hostile("loop"), "[limits]\ncpu = \"600ms\"\n")
        .await;
    fixture.load("noop", noop(), "").await;
    let host = Arc::clone(&fixture.host);
    let looping = tokio::spawn(async move {
        let began = Instant::now();
        let error = apply(&host, "loop", json!({})).await.unwrap_err();
        (error, began.elapsed())
    });
    // Another resource: calls for one and the same take turns.
    let neighbour = || {
        let mut call = engine_call("noop", Function::Apply, json!({}));
        call.request.name = "neighbour".parse().unwrap();
        fixture.host.call(call)
    };
    let mut served = 0;
    let mut slowest = Duration::ZERO;
    while !looping.is_finished() {
        let began = Instant::now();
        settled(neighbour().await).unwrap();
        slowest = slowest.max(began.elapsed());
        served += 1;
    }
    let (error, took) = looping.await.unwrap();
    assert_eq!(limit_of(&error), "cpu");
    assert!(error.to_string().contains("600ms"), "{error}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    // On one thread each poll of the neighbour waits for at most a tick or two.
    assert!(served > 5, "{served}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    settled(neighbour().await).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_wall_stack_and_panic() {
    let fixture = start(|_| ()).await;
    let limits = "[limits]\nmemory = \"16MiB\"\nwall = \"500ms\"\n";
    for name in ["memory-bomb", "sleep", "stack-overflow", "trap"] {
        fixture.load(name, hostile(name), limits).await;
    }
    let fails = async |name: &str| apply(&fixture.host, name, json!({})).await.unwrap_err();

    let error = fails("memory-bomb").await;
    assert_eq!(limit_of(&error), "memory");
    assert!(error.to_string().contains("16MiB"), "{error}");

    let began = Instant::now();
    let error = fails("sleep").await;
    assert_eq!(limit_of(&error), "wall");
    assert!(began.elapsed() < Duration::from_secs(10));

    let error = fails("stack-overflow").await;
    // The guest's own stack is in its memory: running out of it is a bad access.
    assert!(!trap_text(&error).is_empty());

    let error = fails("trap").await;
    assert!(trap_text(&error).contains("a hostile panic"), "{error}");
    assert!(trap_text(&error).contains("trap.rs"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_bounded_and_said() {
    let fixture = start(|_| ()).await;
    fixture
        .load(
            "log-flood",
            hostile("log-flood"),
            "[limits]\nevents_per_second = 10\nlog_bytes = \"64KiB\"\n",
        )
        .await;
    let heard = Arc::new(Heard::default());
    let mut call = engine_call("log-flood", Function::Apply, json!({}));
    call.observer = heard.clone();
    fixture.host.call(call).await.unwrap();
    let heard = heard.0.lock().unwrap();
    assert!(heard.len() < 500, "{}", heard.len());
    assert!(heard.iter().all(|line| line.len() < 20_000));
    assert!(
        !heard
            .iter()
            .any(|line| line.contains(['\u{1b}', '\u{202e}']))
    );
    assert!(
        heard.iter().any(|line| line.contains("were dropped")),
        "{:?}",
        heard.last()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_to_standard_output_goes_nowhere() {
    let fixture = start(|_| ()).await;
    fixture
        .load("stderr-flood", hostile("stderr-flood"), "")
        .await;
    apply(&fixture.host, "stderr-flood", json!({}))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giant_and_broken_answers() {
    let fixture = start(|_| ()).await;
    fixture
        .load(
            "garbage-output",
            hostile("garbage-output"),
            "[limits]\nmemory = \"96MiB\"\n",
        )
        .await;
    let error = apply(&fixture.host, "garbage-output", json!({}))
        .await
        .unwrap_err();
    // 48 MB twice do not fit into its memory, or one does and not through the door.
    assert!(["output", "memory"].contains(&limit_of(&error)), "{error}");

    fixture
        .load("invalid-json", hostile("invalid-json"), "")
        .await;
    let error = apply(&fixture.host, "invalid-json", json!({}))
        .await
        .unwrap_err();
    assert!(
        trap_text(&error).contains("apply answered an output endpoint that is not JSON"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_door_opens() {
    let fixture = start(|_| ()).await;
    fixture.load("escape", hostile("escape"), "").await;
    let outside = fixture.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let mut call = engine_call("escape", Function::Apply, json!({}));
    call.definition_folder = Some(outside.clone());
    let settled = settled(fixture.host.call(call).await).unwrap();
    assert_eq!(
        outputs(&settled),
        Default::default(),
        "these doors are open"
    );
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_has_a_quota() {
    let fixture = start(|_| ()).await;
    fixture
        .load(
            "store-flood",
            hostile("store-flood"),
            "[kv]\nquota = \"512KiB\"\n",
        )
        .await;
    let error = apply(&fixture.host, "store-flood", json!({}))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("quota of 512KiB"), "{error}");
    let map = fixture.kv.0.lock().unwrap();
    assert!(
        map.keys()
            .all(|key| key.starts_with("kv/store-flood/web-app/database/")),
        "{map:?}"
    );
    let bytes: usize = map.values().map(|value| value.len()).sum();
    assert!(bytes <= 512 << 10 && bytes > 256 << 10, "{bytes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_has_a_handful_of_the_hosts_descriptors() {
    let fixture = start(|_| ()).await;
    fixture.load("fd-hoard", hostile("fd-hoard"), "").await;
    let error = apply(&fixture.host, "fd-hoard", json!({}))
        .await
        .unwrap_err();
    assert_eq!(limit_of(&error), "handles");
    let made = std::fs::read_dir(fixture.path("checkouts/test/web-app/database"));
    let made = made.unwrap().count();
    assert!((200..256).contains(&made), "{made}");
}

/// The answer comes before its instance is cleaned up; the place for the next
/// one is only free after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_call_at_once_is_never_two_instances() {
    let fixture = start(|options| options.max_calls = 1).await;
    fixture.load("noop", noop(), "").await;
    let callers = (0..4).map(|_| {
        let host = Arc::clone(&fixture.host);
        tokio::spawn(async move {
            for _ in 0..100 {
                apply(&host, "noop", json!({})).await.unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}
