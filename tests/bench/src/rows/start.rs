//! How soon the host is ready, and how much memory it holds when idle.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use crate::host::{Host, program};
use crate::row::{Bench, Line, Row, time};
use crate::stats::Samples;

const READY: Duration = Duration::from_millis(300);
const IDLE_MEGABYTES: f64 = 80.0;
/// Until what starting took is given back.
const SETTLE: Duration = Duration::from_secs(3);

pub(crate) struct Start;

#[async_trait]
impl Row for Start {
    fn name(&self) -> &'static str {
        "start"
    }

    fn about(&self) -> &'static str {
        "nestor serve, built-in engines cached"
    }

    async fn measure(&self, bench: &Bench) -> anyhow::Result<Vec<Line>> {
        let program = match program(bench) {
            Ok(program) => program,
            Err(why) => return Ok(vec![Line::missing(self.about(), &why)]),
        };
        let folder = bench.folder("start-")?;
        let (data, config) = (folder.join("data"), folder.join("nestor.yaml"));
        // A cache of this benchmark's own: nothing of it counts, but the first start fills it.
        let cache = bench.target().join("bench-cache/host");
        std::fs::create_dir_all(&cache)?;
        let settings = json!({
            "catalog": { "directory": bench.root().join("examples/catalog") },
            "server": { "cache_dir": cache }
        });
        std::fs::write(&config, settings.to_string())?;
        Host::start(&program, &data, &config).await?.stop().await?;
        let (mut ready, mut idle) = (Vec::new(), Vec::new());
        let runs = bench.runs(7);
        for run in 0..runs {
            let host = Host::start(&program, &data, &config).await?;
            ready.push(host.ready_after);
            if run % 3 == 0 {
                tokio::time::sleep(SETTLE).await;
                idle.push(host.resident()?);
            }
            host.stop().await?;
        }
        idle.sort_unstable();
        let resident = idle[idle.len() / 2] as f64 / f64::from(1 << 20);
        let ready = Samples::new(ready);
        Ok(vec![
            Line::limit(
                format!("{}: started to ready", self.about()),
                ready.text(),
                ready.median().as_secs_f64(),
                (READY.as_secs_f64(), &time(READY)),
            ),
            Line::limit(
                format!("{}: resident when idle", self.about()),
                format!("{resident:.0} MB"),
                resident,
                (IDLE_MEGABYTES, "80 MB"),
            ),
        ])
    }
}
