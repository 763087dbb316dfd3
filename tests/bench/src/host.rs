//! The real binary as a process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::row::Bench;

/// Longer than any engine takes to compile on a slow machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often a state is looked at that cannot be waited for.
const LOOK: Duration = Duration::from_millis(1);

/// A running `nestor serve`; killed when dropped.
pub(crate) struct Host {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
    /// From the start of the process to `/readyz` and every engine ready.
    pub(crate) ready_after: Duration,
}

/// The binary, or why it is not there.
pub(crate) fn program(bench: &Bench) -> Result<PathBuf, String> {
    let program = bench.target().join("debug/nestor");
    if program.is_file() {
        Ok(program)
    } else {
        Err("not measured: no target/debug/nestor; run `make build`".into())
    }
}

/// The config of a host with the noop engine and a definition for it,
/// `nothing:1.0.0`, or why there is none.
pub(crate) fn noop(bench: &Bench, folder: &Path) -> anyhow::Result<Result<PathBuf, String>> {
    let noop = bench.target().join("engines/noop.wasm");
    if !noop.is_file() {
        return Ok(Err(
            "not measured: no target/engines/noop.wasm; run `make engines`".into(),
        ));
    }
    let definition = folder.join("catalog/nothing");
    std::fs::create_dir_all(&definition)?;
    let text = "name: nothing\nversion: 1.0.0\nconfig: {type: object}\noutputs: {value: string}\ndelivery: direct\nengines: [noop]\nnoop: {}\n";
    std::fs::write(definition.join("definition.yaml"), text)?;
    let engines = folder.join("engines");
    std::fs::create_dir_all(&engines)?;
    // Without an engine.toml it asks for nothing, and needs nothing here.
    std::fs::copy(noop, engines.join("noop.wasm"))?;
    let config = folder.join("nestor.yaml");
    let settings = json!({
        "catalog": { "directory": folder.join("catalog") },
        "server": {
            "cache_dir": bench.target().join("bench-cache/host"),
            "engines_dir": engines,
            // What is measured is speed; how much may wait is policy.
            "max_queue": 1_000_000
        }
    });
    std::fs::write(&config, settings.to_string())?;
    Ok(Ok(config))
}

impl Host {
    /// Starts it on a free port, with everything of its own in `data`, and
    /// waits until it and all of its engines are ready.
    pub(crate) async fn start(program: &Path, data: &Path, config: &Path) -> anyhow::Result<Self> {
        // Reqwest wants one even for plain HTTP; a second time is refused, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build()?;
        let began = Instant::now();
        let mut child = Command::new(program)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log",
                "warn",
                "--data-dir",
            ])
            .arg(data)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(data.with_extension("log"))?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let output = child.stdout.take().context("its output")?;
        let line =
            tokio::time::timeout(PATIENCE, BufReader::new(output).lines().next_line()).await??;
        let base = line
            .as_deref()
            .and_then(|line| line.split(' ').find(|word| word.starts_with("http://")))
            .with_context(|| format!("nestor did not start: {}", log(data)))?
            .to_owned();
        let mut host = Self {
            child,
            base,
            client,
            ready_after: Duration::ZERO,
        };
        while !host.all_ready().await? {
            anyhow::ensure!(began.elapsed() < PATIENCE, "not ready: {}", log(data));
            tokio::time::sleep(LOOK).await;
        }
        host.ready_after = began.elapsed();
        Ok(host)
    }

    async fn all_ready(&self) -> anyhow::Result<bool> {
        if !self
            .client
            .get(format!("{}/readyz", self.base))
            .send()
            .await?
            .status()
            .is_success()
        {
            return Ok(false);
        }
        let engines = self.get("/api/v1/engines").await?;
        let engines = engines["items"]
            .as_array()
            .context("the API's list of engines")?;
        for engine in engines {
            anyhow::ensure!(engine["status"] != "failed", "an engine failed: {engine}");
        }
        Ok(!engines.is_empty() && engines.iter().all(|engine| engine["status"] == "ready"))
    }

    /// A GET of the API.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self
            .client
            .get(format!("{}{path}", self.base))
            .send()
            .await?
            .error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// Resident bytes of the process, mapped files that it touched included.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let id = self.child.id().context("nestor has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }

    /// Processor time used so far.
    fn used(&self) -> anyhow::Result<Duration> {
        // Linux counts in hundredths of a second wherever it runs today.
        const TICK: Duration = Duration::from_millis(10);
        let id = self.child.id().context("nestor has ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // After the name, which is in brackets: user and system time are the
        // 12th and the 13th.
        let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks = ticks.map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(TICK * ticks)
    }

    /// Waits until the host does nothing any more.
    pub(crate) async fn rest(&self) -> anyhow::Result<()> {
        const LOOK: Duration = Duration::from_secs(1);
        const HARDLY: Duration = Duration::from_millis(50);
        let began = Instant::now();
        let mut before = self.used()?;
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.used()?;
            if now - before < HARDLY {
                return Ok(());
            }
            anyhow::ensure!(began.elapsed() < PATIENCE, "the host does not come to rest");
            before = now;
        }
    }

    /// A POST of a deployment.
    pub(crate) async fn post(&self, body: String) -> anyhow::Result<()> {
        let url = format!("{}/api/v1/deployments", self.base);
        let request = self
            .client
            .post(url)
            .header("content-type", "application/json");
        let answer = request.body(body).send().await?;
        let status = answer.status();
        anyhow::ensure!(status.as_u16() == 202, "{status}: {}", answer.text().await?);
        Ok(())
    }

    /// The events of a deployment, once it has settled.
    pub(crate) async fn settled(&self, id: &str) -> anyhow::Result<String> {
        let url = format!("{}/api/v1/deployments/{id}/events", self.base);
        let answer = self.client.get(url).send().await?.error_for_status()?;
        Ok(answer.text().await?)
    }

    /// Ends it as an operator does.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("nestor has ended")?;
        let signalled = Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status()
            .await?;
        anyhow::ensure!(signalled.success(), "kill");
        tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await??;
        Ok(())
    }
}

/// The end of the host's log.
fn log(data: &Path) -> String {
    let text = std::fs::read_to_string(data.with_extension("log")).unwrap_or_default();
    let from = text.len().saturating_sub(2_000);
    text.get(from..).unwrap_or(&text).trim().to_owned()
}
