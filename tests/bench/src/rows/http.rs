//! Deployments accepted over HTTP, each durable before its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use serde_json::json;
use tokio::task::JoinSet;

use crate::host::{Host, noop, program};
use crate::machine::syncs_per_second;
use crate::row::{Bench, Line, Row, short};

const CLIENTS: usize = 64;
const DURING: Duration = Duration::from_secs(5);

pub(crate) struct Http;

#[async_trait]
impl Row for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn about(&self) -> &'static str {
        "durable POST /deployments"
    }

    async fn measure(&self, bench: &Bench) -> anyhow::Result<Vec<Line>> {
        let program = match program(bench) {
            Ok(program) => program,
            Err(why) => return Ok(vec![Line::missing(self.about(), &why)]),
        };
        let mut lines = Vec::new();
        for clients in [1, CLIENTS] {
            let (mut rates, mut syncs, mut finished) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..bench.runs(3) {
                let folder = bench.folder("http-")?;
                let config = match noop(bench, &folder)? {
                    Ok(config) => config,
                    Err(why) => return Ok(vec![Line::missing(self.about(), &why)]),
                };
                let host = Host::start(&program, &folder.join("data"), &config).await?;
                let before = syncs_per_second(&folder, Duration::from_secs(1))?;
                let (accepted, done) = post(&host, clients).await?;
                let after = syncs_per_second(&folder, Duration::from_secs(1))?;
                host.stop().await?;
                rates.push(accepted);
                finished.push(done);
                syncs.push(f64::midpoint(before, after));
            }
            let (rate, syncs) = (median(&mut rates), median(&mut syncs));
            let done = median(&mut finished);
            let people = if clients == 1 {
                "1 client".to_owned()
            } else {
                format!("{clients} clients")
            };
            lines.push(Line::ratio(
                format!("{}, {people}, while they run", self.about()),
                format!("{}/s, {} finished/s", short(rate), short(done)),
                format!("{}/s fdatasync in a loop", short(syncs)),
                rate / syncs,
                None,
            ));
        }
        Ok(lines)
    }
}

/// Accepted and finished deployments per second.
async fn post(host: &Host, clients: usize) -> anyhow::Result<(f64, f64)> {
    let accepted = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let (http, url, accepted) = (
            host.client.clone(),
            format!("{}/api/v1/deployments", host.base),
            accepted.clone(),
        );
        tasks.spawn(async move {
            for number in 0.. {
                if began.elapsed() > DURING {
                    break;
                }
                let body = json!({
                    "id": format!("bench-{client}-{number}"), "composer": "bench", "environment": "test",
                    "resources": [{ "name": "r", "catalogRef": "nothing:1.0.0", "config": { "value": "v" } }]
                });
                let request = http.post(&url).header("content-type", "application/json");
                let answer = request.body(body.to_string()).send().await?;
                let status = answer.status();
                let text = answer.text().await?;
                anyhow::ensure!(status.as_u16() == 202, "{status}: {text}");
                accepted.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined??;
    }
    let took = began.elapsed();
    let accepted = accepted.load(Ordering::Relaxed);
    // All of them are done in the end: none was lost.
    let patience = Instant::now() + Duration::from_secs(120);
    while counter(host).await? < accepted {
        anyhow::ensure!(
            Instant::now() < patience,
            "not every accepted deployment finished"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let per_second = |time: Duration| accepted as f64 / time.as_secs_f64();
    Ok((per_second(took), per_second(began.elapsed())))
}

/// Runs that ended, as the host counts them.
async fn counter(host: &Host) -> anyhow::Result<u64> {
    let answer = host
        .client
        .get(format!("{}/metrics", host.base))
        .send()
        .await?
        .error_for_status()?;
    let text = answer.text().await?;
    let lines = text
        .lines()
        .filter(|line| line.starts_with(nestor_orchestrator::metrics::RUNS_ENDED));
    let mut ended = 0;
    for line in lines {
        anyhow::ensure!(line.contains("completed"), "a run did not succeed: {line}");
        let count = line.rsplit(' ').next().context("a count")?;
        ended += count.parse::<f64>()? as u64;
    }
    Ok(ended)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
