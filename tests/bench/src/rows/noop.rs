//! 1,000 resources that do nothing: what coordination itself costs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use futures::StreamExt as _;
use nestor_core::definition::JsonType;
use nestor_core::ports::{Engines, Function};
use nestor_orchestrator::service::RequestMeta;
use nestor_orchestrator::{Limits, Orchestrator, Parts, RealSurroundings};
use nestor_store::{SledOptions, SledStore};
use nestor_testkit::engines::Behaviour;
use nestor_testkit::{FakeEngines, MemoryCatalog, MemoryDelivery};
use serde_json::{Value, json};

use crate::engines;
use crate::row::{Bench, Line, Row, Target};
use crate::stats::Samples;

const RESOURCES: usize = 1_000;
/// The first so many are chains, each resource waiting for the one before.
const CHAINED: usize = 200;
const CHAIN: usize = 10;

pub(crate) struct Noop;

#[async_trait]
impl Row for Noop {
    fn name(&self) -> &'static str {
        "noop"
    }

    fn about(&self) -> &'static str {
        "1,000 no-op resources"
    }

    async fn measure(&self, bench: &Bench) -> anyhow::Result<Vec<Line>> {
        let host = match engines::start(bench, "noop").await? {
            Ok(host) => host,
            Err(why) => return Ok(vec![Line::missing(self.about(), &why)]),
        };
        deploy(bench, host.clone(), "noop").await?;
        let mut ours = Vec::new();
        for _ in 0..bench.runs(7) {
            ours.push(deploy(bench, host.clone(), "noop").await?);
        }
        let ours = Samples::new(ours);
        let mut lines = vec![self.against_terraform(bench, &ours).await?];

        let native = || {
            let engines = FakeEngines::with(&["noop"]);
            engines.script_others(Behaviour::ready([("value", "r")]));
            Arc::new(engines)
        };
        deploy(bench, native(), "noop").await?;
        let mut unsandboxed = Vec::new();
        for _ in 0..bench.runs(7) {
            unsandboxed.push(deploy(bench, native(), "noop").await?);
        }
        let unsandboxed = Samples::new(unsandboxed);
        lines.push(overhead(
            "the same with a native engine: what the sandbox costs",
            &ours,
            &unsandboxed,
        ));

        let (mut sandboxed, mut direct) = (Vec::new(), Vec::new());
        for _ in 0..bench.runs(7) {
            sandboxed.push(call_each(&*host).await?);
            direct.push(call_each(&*native()).await?);
        }
        let (sandboxed, direct) = (Samples::new(sandboxed), Samples::new(direct));
        lines.push(overhead(
            "1,000 calls one by one, no store: component and native",
            &sandboxed,
            &direct,
        ));
        lines.push(overhead(
            "1,000 no-op resources against 1,000 direct native calls",
            &ours,
            &direct,
        ));
        Ok(lines)
    }
}

impl Noop {
    async fn against_terraform(&self, bench: &Bench, ours: &Samples) -> anyhow::Result<Line> {
        let what = format!("{}: noop component, durable store", self.about());
        let Some(program) = program() else {
            let why = "not measured: neither NESTOR_TERRAFORM nor terraform or tofu on PATH";
            return Ok(Line::missing(what, why));
        };
        let mut theirs = Vec::new();
        for _ in 0..bench.runs(3) {
            theirs.push(terraform(bench, &program).await?);
        }
        let theirs = Samples::new(theirs);
        let name = program.file_name().unwrap_or_default().display();
        let ratio = theirs.median().as_secs_f64() / ours.median().as_secs_f64();
        let theirs = format!("{name} apply: {}", theirs.text());
        Ok(Line::ratio(
            what,
            ours.text(),
            theirs,
            ratio,
            Some(Target::AtLeast(40.0)),
        ))
    }
}

fn overhead(what: &str, ours: &Samples, native: &Samples) -> Line {
    let ratio = ours.median().as_secs_f64() / native.median().as_secs_f64();
    Line::ratio(
        what,
        ours.text(),
        format!("native: {}", native.text()),
        ratio,
        None,
    )
}

/// `i` waits for this one.
fn before(i: usize) -> Option<usize> {
    (i < CHAINED && !i.is_multiple_of(CHAIN)).then(|| i - 1)
}

/// From the request to "ready", on a fresh durable store.
async fn deploy(
    bench: &Bench,
    engines: Arc<dyn Engines>,
    engine: &str,
) -> anyhow::Result<Duration> {
    let store = Arc::new(SledStore::open(
        bench.folder("noop-")?,
        &SledOptions::default(),
    )?);
    let catalog = MemoryCatalog::new();
    catalog.add_simple("nothing:1.0.0", engine, &[("value", JsonType::String)]);
    let orchestrator = Orchestrator::start(Parts {
        store: store.clone(),
        engines,
        catalog: Arc::new(catalog),
        delivery: Arc::new(MemoryDelivery::new()),
        notifier: Arc::new(nestor_core::ports::NoNotifier),
        surroundings: Arc::new(RealSurroundings),
        limits: Limits::default(),
        environments: nestor_core::environment::Environments::default(),
    })
    .await?;
    let resources: Vec<Value> = (0..RESOURCES)
        .map(|i| {
            let value = format!("r{i}");
            json!({ "name": value, "catalogRef": "nothing:1.0.0", "config": { "value": value } })
        })
        .collect();
    let dependencies: Vec<Value> = (0..RESOURCES)
        .filter_map(|i| Some(json!({ "from": format!("r{}", before(i)?), "to": format!("r{i}") })))
        .collect();
    let body = json!({
        "id": "bench", "composer": "bench", "environment": "test", "delivery": "direct",
        "resources": resources, "dependencies": dependencies
    })
    .to_string();
    let began = Instant::now();
    orchestrator
        .submit(body.as_bytes(), RequestMeta::default())
        .await
        .map_err(|r| anyhow::anyhow!("{r:?}"))?;
    let events = orchestrator
        .events("bench", None, false)
        .await
        .map_err(|r| anyhow::anyhow!("{r:?}"))?;
    events.for_each(|_| async {}).await;
    let took = began.elapsed();
    let view = orchestrator
        .get("bench")
        .await
        .map_err(|r| anyhow::anyhow!("{r:?}"))?;
    let view = serde_json::to_value(view)?;
    anyhow::ensure!(
        view["status"] == "ready",
        "the deployment ended {}",
        view["status"]
    );
    anyhow::ensure!(
        view["resources"].as_array().is_some_and(|all| all.len() == RESOURCES && all.iter().all(|r| r["status"] == "ready")),
        "not all resources are ready"
    );
    orchestrator.shutdown(Duration::from_secs(5)).await;
    store.close().await;
    Ok(took)
}

async fn call_each(engines: &dyn Engines) -> anyhow::Result<Duration> {
    let calls = (0..RESOURCES).map(|i| engines::call("noop", Function::Apply, i, json!({}), None));
    let calls = calls.collect::<anyhow::Result<Vec<_>>>()?;
    let began = Instant::now();
    for call in calls {
        engines.call(call).await?;
    }
    Ok(began.elapsed())
}

fn program() -> Option<PathBuf> {
    let on_path = |name: &str| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    };
    let given = std::env::var_os("NESTOR_TERRAFORM").filter(|given| !given.is_empty());
    given
        .map(PathBuf::from)
        .or_else(|| on_path("terraform"))
        .or_else(|| on_path("tofu"))
}

/// `apply` alone; `init` is not counted.
async fn terraform(bench: &Bench, program: &Path) -> anyhow::Result<Duration> {
    let folder = bench.folder("terraform-")?;
    let blocks = (0..RESOURCES).map(|i| {
        let mut block = json!({ "input": format!("r{i}") });
        if let Some(before) = before(i) {
            block["depends_on"] = json!([format!("terraform_data.r{before}")]);
        }
        (format!("r{i}"), block)
    });
    let blocks: serde_json::Map<String, Value> = blocks.collect();
    let main = json!({ "resource": { "terraform_data": blocks } });
    std::fs::write(folder.join("main.tf.json"), main.to_string())?;
    run(program, &folder, &["init", "-input=false", "-no-color"]).await?;
    let began = Instant::now();
    run(
        program,
        &folder,
        &["apply", "-auto-approve", "-input=false", "-no-color"],
    )
    .await?;
    let took = began.elapsed();
    let state: Value = serde_json::from_slice(&std::fs::read(folder.join("terraform.tfstate"))?)?;
    let applied = state["resources"].as_array().map_or(0, Vec::len);
    anyhow::ensure!(applied == RESOURCES, "{applied} resources in the state");
    Ok(took)
}

async fn run(program: &Path, folder: &Path, args: &[&str]) -> anyhow::Result<()> {
    let output = tokio::process::Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("CHECKPOINT_DISABLE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("starting {}", program.display()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "{} {args:?}: {errors}",
        program.display()
    );
    Ok(())
}
