//! What resources cost that only wait: memory, and the time that a new
//! deployment takes beside them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use nestor_core::ports::Store;
use nestor_store::{SledOptions, SledStore};
use serde_json::json;

use crate::copies;
use crate::host::{Host, noop, program};
use crate::row::{Bench, Line, Row, Target, time};
use crate::stats::Samples;

/// Each a deployment of its own: the hard case.
const WAITING: usize = 100_000;
/// When they want to be looked at; also the longest time that the host waits.
const POLL: Duration = Duration::from_secs(600);
/// Enough that ten are beyond the 99th percentile.
const DEPLOYMENTS: usize = 1_000;
const MOST_TIMES_IDLE: f64 = 1.5;
const MOST_MEGABYTES: f64 = 200.0;
const TEMPLATE: &str = "waits-000000";

pub(crate) struct Waiting;

#[async_trait]
impl Row for Waiting {
    fn name(&self) -> &'static str {
        "waiting"
    }

    fn about(&self) -> &'static str {
        "100,000 deployments of one resource that waits"
    }

    async fn measure(&self, bench: &Bench) -> anyhow::Result<Vec<Line>> {
        let program = match program(bench) {
            Ok(program) => program,
            Err(why) => return Ok(vec![Line::missing(self.about(), &why)]),
        };
        let folder = bench.folder("waiting-")?;
        let config = match noop(bench, &folder)? {
            Ok(config) => config,
            Err(why) => return Ok(vec![Line::missing(self.about(), &why)]),
        };
        let began = Instant::now();
        fill(&program, &config, &folder.join("full")).await?;
        let filled = began.elapsed();
        let idle = Host::start(&program, &folder.join("idle"), &config).await?;
        let full = Host::start(&program, &folder.join("full"), &config).await?;
        full.rest().await?;
        let taken_up = began.elapsed() - filled;
        for id in [TEMPLATE.to_owned(), waiting(WAITING - 1)] {
            let view = full.get(&format!("/api/v1/deployments/{id}")).await?;
            anyhow::ensure!(view["status"] == "in_progress", "it does not wait: {view}");
        }
        let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (with, without) = (megabytes(full.resident()?), megabytes(idle.resident()?));
        let memory = Line::limit(
            format!("{}: resident beyond an idle host", self.about()),
            format!("{with:.0} MB, idle {without:.0} MB"),
            with - without,
            (MOST_MEGABYTES, "200 MB"),
        );
        // In turns, so that the machine's moods meet both.
        let (mut beside, mut alone) = (Vec::new(), Vec::new());
        for number in 0..bench.runs(DEPLOYMENTS).max(DEPLOYMENTS / 3) {
            alone.push(deploy(&idle, number).await?);
            beside.push(deploy(&full, number).await?);
        }
        anyhow::ensure!(
            began.elapsed() < POLL,
            "it took so long that they were looked at meanwhile"
        );
        idle.stop().await?;
        full.stop().await?;
        eprintln!(
            "{WAITING} waiting: written in {}, at rest {} after the host's start",
            time(filled),
            time(taken_up)
        );
        let (beside, alone) = (Samples::new(beside), Samples::new(alone));
        let line = |percent: usize, target| {
            let (ours, theirs) = (beside.percentile(percent), alone.percentile(percent));
            Line::ratio(
                format!(
                    "{}: a new deployment beside them, POST to ready, p{percent}",
                    self.about()
                ),
                time(ours),
                format!("on an idle host: {}", time(theirs)),
                ours.as_secs_f64() / theirs.as_secs_f64(),
                target,
            )
        };
        Ok(vec![
            line(99, Some(Target::AtMost(MOST_TIMES_IDLE))),
            line(50, None),
            memory,
        ])
    }
}

fn waiting(number: usize) -> String {
    format!("waits-{number:06}")
}

/// A data directory as a host leaves it that runs so many deployments.
async fn fill(program: &Path, config: &Path, data: &Path) -> anyhow::Result<()> {
    let host = Host::start(program, data, config).await?;
    let patient = json!({ "noop": { "pending": 1, "poll_ms": POLL.as_millis() } });
    host.post(deployment(TEMPLATE, &patient)).await?;
    let place = format!("/api/v1/deployments/{TEMPLATE}");
    let patience = Instant::now() + Duration::from_secs(30);
    // The phase once all that goes on goes on outside.
    loop {
        let view = host.get(&place).await?;
        if view["phase"] == "verifying" {
            break;
        }
        anyhow::ensure!(Instant::now() < patience, "it does not wait: {view}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    host.stop().await?;
    let store = SledStore::open(data.join("store"), &SledOptions::default())
        .context("the store of a host that was stopped")?;
    let store: Arc<dyn Store> = Arc::new(store);
    let documents = copies::documents(store.as_ref(), TEMPLATE).await?;
    copies::write(&store, &documents, TEMPLATE, (1..WAITING).map(waiting)).await
}

fn deployment(id: &str, config: &serde_json::Value) -> String {
    json!({
        "id": id, "composer": "bench", "environment": "test",
        "resources": [{ "name": "r", "catalogRef": "nothing:1.0.0", "config": config }]
    })
    .to_string()
}

/// From the request to "ready".
async fn deploy(host: &Host, number: usize) -> anyhow::Result<Duration> {
    let id = format!("new-{number}");
    let body = deployment(&id, &json!({ "value": "v" }));
    let began = Instant::now();
    host.post(body).await?;
    let events = host.settled(&id).await?;
    let took = began.elapsed();
    anyhow::ensure!(
        events.contains(r#""status":"ready""#),
        "{id} did not become ready: {events}"
    );
    Ok(took)
}
