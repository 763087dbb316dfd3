//! A call of an engine: a fresh instance, the call, the instance's end.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use nestor_core::ports::{Engines, Function};
use nestor_engine::EngineHost;
use serde_json::json;

use crate::engines;
use crate::row::{Bench, Line, Row, time};
use crate::stats::Samples;

/// Each has a checkout folder, which its first call makes.
const RESOURCES: usize = 500;
const CALLS: usize = 2_000;
const LIMIT: Duration = Duration::from_micros(200);

pub(crate) struct Calls;

#[async_trait]
impl Row for Calls {
    fn name(&self) -> &'static str {
        "calls"
    }

    fn about(&self) -> &'static str {
        "engine call: instantiate, call, drop"
    }

    async fn measure(&self, bench: &Bench) -> anyhow::Result<Vec<Line>> {
        let host = match engines::start(bench, "noop").await? {
            Ok(host) => host,
            Err(why) => return Ok(vec![Line::missing(self.about(), &why)]),
        };
        let mut first = Vec::new();
        for number in 0..RESOURCES {
            first.push(once(&host, number).await?);
        }
        let first = Samples::new(first);
        let (mut medians, mut tails) = (Vec::new(), Vec::new());
        for _ in 0..bench.runs(7) {
            let mut samples = Vec::with_capacity(CALLS);
            for number in 0..CALLS {
                samples.push(once(&host, number % RESOURCES).await?);
            }
            let samples = Samples::new(samples);
            medians.push(samples.median());
            tails.push(samples.percentile(99));
        }
        let (median, tail) = (Samples::new(medians), Samples::new(tails));
        let limit = |what: &str, text: String, value: Duration| {
            let what = format!("{}: {what}", self.about());
            Line::limit(
                what,
                text,
                value.as_secs_f64(),
                (LIMIT.as_secs_f64(), &time(LIMIT)),
            )
        };
        let first_text = format!(
            "p50 {}, p99 {}",
            time(first.median()),
            time(first.percentile(99))
        );
        Ok(vec![
            limit(
                "first of a resource, makes its folder",
                first_text,
                first.percentile(99),
            )
            .without_target(),
            limit("warm, p50", median.text(), median.median()).without_target(),
            limit("warm, p99", tail.text(), tail.median()),
        ])
    }
}

async fn once(host: &EngineHost, number: usize) -> anyhow::Result<Duration> {
    let call = engines::call("noop", Function::Apply, number, json!({}), None)?;
    let began = Instant::now();
    host.call(call).await?;
    Ok(began.elapsed())
}
