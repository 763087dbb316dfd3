//! Compiling in a process of its own: this one, started again.

#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod common;

use std::process::ExitCode;

use common::*;
use nestor_core::ports::Bytes;
use nestor_engine::{LoadError, Options};
use serde_json::json;

fn main() -> ExitCode {
    if let Some(code) = nestor_engine::compile_if_asked() {
        return code;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(a_child_compiles_and_its_complaint_is_told());
    runtime.block_on(without_a_child_the_host_compiles_itself());
    println!("2 tests passed");
    ExitCode::SUCCESS
}

fn cached(fixture: &Fixture) -> usize {
    let entries = std::fs::read_dir(fixture.path("cache")).unwrap();
    entries
        .filter(|e| {
            e.as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|end| end == "cwasm")
        })
        .count()
}

fn with_compiler(program: &str) -> impl FnOnce(&mut Options) {
    let program = program.to_owned();
    move |options| {
        options.cache_dir = None;
        options.compiler = Some(program.into());
    }
}

async fn a_child_compiles_and_its_complaint_is_told() {
    let own = std::env::current_exe().unwrap();
    let fixture = start(with_compiler(own.to_str().unwrap())).await;
    fixture.load("noop", noop(), "").await;
    assert_eq!(cached(&fixture), 1);
    apply(&fixture.host, "noop", json!({})).await.unwrap();
    // What this process would say of it, without having compiled it here.
    let mut broken = noop().to_vec();
    let code = broken.len() / 2;
    broken[code..code + 64].fill(0xff);
    let error = fixture
        .host
        .load(&id("broken"), Bytes::from(broken), None)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, LoadError::Invalid(why) if why.contains("offset")),
        "{error:?}"
    );
    assert_eq!(cached(&fixture), 1);
}

async fn without_a_child_the_host_compiles_itself() {
    for program in ["/does/not/exist", "/bin/true"] {
        let fixture = start(with_compiler(program)).await;
        fixture.load("noop", noop(), "").await;
        apply(&fixture.host, "noop", json!({})).await.unwrap();
        assert_eq!(cached(&fixture), 1, "{program}");
    }
}
