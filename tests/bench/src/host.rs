//! The real binary as a process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;
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
