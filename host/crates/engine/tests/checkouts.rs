//! A checkout is for one call at a time, and who only looks gives way.
#![allow(clippy::unwrap_used, reason = "the common part may fail by it")]

mod common;

use std::time::{Duration, Instant};

use common::{Fixture, engine_call, noop, start};
use nestor_core::engine::EngineError;
use nestor_core::ports::{EngineCall, Engines as _, Function, Standing};
use serde_json::json;

/// Far longer than anything here takes.
const LONG_MS: u64 = 60_000;

async fn fixture() -> Fixture {
    let fixture = start(|_| ()).await;
    fixture.load("noop", noop(), "").await;
    fixture
}

fn apply(sleep_ms: u64) -> EngineCall {
    let config = json!({ "noop": { "sleep_ms": sleep_ms } });
    engine_call("noop", Function::Apply, config)
}

fn preview(sleep_ms: u64) -> EngineCall {
    let config = json!({ "noop": { "plan_sleep_ms": sleep_ms } });
    EngineCall {
        standing: Standing::Preview,
        ..engine_call("noop", Function::Plan, config)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_waits_until_the_resource_is_applied() {
    let fixture = fixture().await;
    let host = &fixture.host;
    let began = Instant::now();
    let (applied, planned) = tokio::join!(
        async {
            host.call(apply(500)).await.expect("applied");
            began.elapsed()
        },
        async {
            // Whoever has the checkout is in it by then.
            tokio::time::sleep(Duration::from_millis(200)).await;
            host.call(preview(0)).await.expect("planned");
            began.elapsed()
        }
    );
    assert!(applied < planned, "{applied:?} {planned:?}");
    assert!(fixture.path("checkouts/test/web-app/database").is_dir());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_ends_when_work_comes() {
    let fixture = fixture().await;
    let host = &fixture.host;
    let began = Instant::now();
    let (planned, applied) = tokio::join!(host.call(preview(LONG_MS)), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        host.call(apply(0)).await
    });
    let Err(EngineError::Unavailable { retry_after, .. }) = planned else {
        panic!("{planned:?}");
    };
    assert!(retry_after.is_some());
    applied.expect("applied");
    assert!(began.elapsed() < Duration::from_millis(LONG_MS / 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_what_is_not_there_leaves_nothing() {
    let fixture = fixture().await;
    fixture.host.call(preview(0)).await.expect("planned");
    let left = std::fs::read_dir(fixture.path("checkouts")).expect("there");
    assert_eq!(left.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn different_resources_do_not_wait_for_each_other() {
    let fixture = fixture().await;
    let host = &fixture.host;
    let mut other = apply(0);
    other.request.name = "other".parse().expect("a name");
    let slow = host.call(apply(LONG_MS));
    tokio::select! {
        _ = slow => panic!("the slow one was first"),
        done = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            host.call(other).await
        } => { done.expect("applied"); }
    }
}
