//! Measures a host with the engines of a folder: how fast it is ready, how
//! long a whole call takes, what it occupies when idle.
//!
//! `cargo run -p nestor-engine --example latency -- target/engines noop helm`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement may fail by it"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nestor_core::grant::Manifest;
use nestor_core::ids::{Digest, EngineId};
use nestor_core::ports::{Batch, Bytes, CommitError, Store, StoreError};
use nestor_engine::{Builtin, EngineHost, Options};

const CALLS: usize = 5000;

fn main() -> std::process::ExitCode {
    if let Some(code) = nestor_engine::compile_if_asked() {
        return code;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(all());
    std::process::ExitCode::SUCCESS
}

async fn all() {
    let mut args = std::env::args().skip(1);
    let folder = args.next().expect("the folder of the engines");
    let names: Vec<String> = args.collect();
    let dir = std::env::temp_dir().join("nestor-latency");
    println!("resident before anything: {} MiB", resident());
    let builtins: Vec<Builtin> = names.iter().map(|name| builtin(&folder, name)).collect();
    let ids: Vec<EngineId> = builtins.iter().map(|b| b.id.clone()).collect();
    for round in ["as it is", "cached"] {
        let began = Instant::now();
        let mut options = Options::new(dir.clone(), Arc::new(Nothing::default()));
        options.builtins.clone_from(&builtins);
        options.compiler = std::env::current_exe().ok();
        let host = EngineHost::start(options).await.expect("the host starts");
        let started = began.elapsed();
        host.settled().await;
        println!(
            "{round}: started in {started:?}, all ready in {:?}, resident {} MiB",
            began.elapsed(),
            resident()
        );
        for engine in host.list() {
            println!("  {} {:?}", engine.id, engine.status);
        }
        for id in &ids {
            // As the orchestrator calls: from a task, not from outside.
            let (host, id) = (Arc::clone(&host), id.clone());
            tokio::spawn(async move { measure(&host, &id).await })
                .await
                .unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1500)).await;
        println!("resident after: {} MiB", resident());
    }
}

fn builtin(folder: &str, name: &str) -> Builtin {
    let read = |end: &str| {
        std::fs::read(format!("{folder}/{name}.{end}")).expect("run `make guests` first")
    };
    let digest = Digest::of(&read("wasm"));
    let manifest = String::leak(String::from_utf8(read("toml")).unwrap());
    Manifest::parse(manifest, "engine.toml").expect("a manifest");
    Builtin {
        id: EngineId::new(name).unwrap(),
        // Like a binary's data: mapped, resident only where touched.
        compressed: Vec::leak(read("wasm.zst")),
        digest,
        manifest,
    }
}

async fn measure(host: &EngineHost, id: &EngineId) {
    let mut times = Vec::with_capacity(CALLS);
    for n in 0..CALLS + 200 {
        let began = Instant::now();
        host.describe(id).await.expect("describe");
        if n >= 200 {
            times.push(began.elapsed());
        }
    }
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "  {id}: describe p50 {:?}, p90 {:?}, p99 {:?}, max {:?}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

/// In MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or_default();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u64>().unwrap_or(0) / 1024
}

#[derive(Default)]
struct Nothing(Mutex<BTreeMap<String, Bytes>>);

#[async_trait]
impl Store for Nothing {
    async fn commit(&self, _: Batch) -> Result<(), CommitError> {
        Ok(())
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }
    async fn scan(
        &self,
        _: &str,
        _: Option<&str>,
        _: usize,
    ) -> Result<Vec<(String, Bytes)>, StoreError> {
        Ok(Vec::new())
    }
}
