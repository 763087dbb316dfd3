//! A call of an engine: a fresh instance, the call, the instance's end.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use nestor_core::ports::{Engines, Function};
use serde_json::json;

use crate::engines;
use crate::row::{Bench, Line, Row, time};
use crate::stats::Samples;

/// Long enough for every cache and the processor's clock to settle.
const WARM: usize = 500;
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
        let mut number = 0;
        let mut once = async || -> anyhow::Result<Duration> {
            number += 1;
            let call = engines::call("noop", Function::Apply, number, json!({}), None)?;
            let began = Instant::now();
            host.call(call).await?;
            Ok(began.elapsed())
        };
        for _ in 0..WARM {
            once().await?;
        }
        let (mut medians, mut tails) = (Vec::new(), Vec::new());
        for _ in 0..bench.runs(7) {
            let mut samples = Vec::with_capacity(CALLS);
            for _ in 0..CALLS {
                samples.push(once().await?);
            }
            let samples = Samples::new(samples);
            medians.push(samples.median());
            tails.push(samples.percentile(99));
        }
        let (median, tail) = (Samples::new(medians), Samples::new(tails));
        Ok(vec![
            Line::limit(
                format!("{}, p50", self.about()),
                median.text(),
                median.median().as_secs_f64(),
                (LIMIT.as_secs_f64(), &time(LIMIT)),
            )
            .without_target(),
            Line::limit(
                format!("{}, p99", self.about()),
                tail.text(),
                tail.median().as_secs_f64(),
                (LIMIT.as_secs_f64(), &time(LIMIT)),
            ),
        ])
    }
}
