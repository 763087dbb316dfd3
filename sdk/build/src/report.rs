//! What a build says about its result.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::contract::Surface;

/// One step of a build.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// What was done.
    pub name: String,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// How large the module was afterwards, in bytes.
    pub bytes: u64,
}

/// How a component came about and what it imports.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// `sha256:` and the digest of the component in hexadecimal.
    pub digest: String,
    /// Size of the component in bytes.
    pub bytes: u64,
    /// Size of the compressed component in bytes, where one was made.
    pub compressed_bytes: Option<u64>,
    /// Whether it came out of the cache; the steps are then those of the build
    /// that filled it.
    pub cached: bool,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// Imports and exports.
    pub surface: Surface,
}

impl Report {
    pub(crate) fn new(wasm: &[u8], steps: Vec<Step>, surface: Surface) -> Self {
        Self {
            digest: digest(wasm),
            bytes: wasm.len() as u64,
            compressed_bytes: None,
            cached: false,
            steps,
            surface,
        }
    }
}

/// `sha256:` and the digest in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cached = if self.cached { " (cached)" } else { "" };
        writeln!(f, "{}{cached}", self.digest)?;
        for step in &self.steps {
            let seconds = format!("{:.1} s", step.millis as f64 / 1e3);
            row(f, &step.name, &seconds, step.bytes)?;
        }
        row(f, "component", "", self.bytes)?;
        if let Some(bytes) = self.compressed_bytes {
            row(f, "compressed", "", bytes)?;
        }
        for import in &self.surface.imports {
            writeln!(f, "  imports {import}")?;
        }
        for export in &self.surface.exports {
            writeln!(f, "  exports {export}")?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, time: &str, bytes: u64) -> fmt::Result {
    writeln!(f, "  {name:<48} {time:>8} {:>10}", size(bytes))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..100_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        _ => format!("{:.2} MB", bytes as f64 / 1e6),
    }
}

/// Told what a build is about to do.
pub(crate) type Announce<'a> = &'a dyn Fn(&str);

/// Runs steps and keeps their times.
pub(crate) struct Steps<'a> {
    steps: Vec<Step>,
    announce: Announce<'a>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(announce: Announce<'a>) -> Self {
        let steps = Vec::new();
        Self { steps, announce }
    }

    /// Announces a step, runs it, and keeps its time and the size of what it
    /// made.
    pub(crate) fn run<T, E>(
        &mut self,
        name: &str,
        step: impl FnOnce() -> Result<T, E>,
        made: impl FnOnce(&T) -> &[u8],
    ) -> Result<T, E> {
        (self.announce)(name);
        let since = Instant::now();
        let result = step()?;
        self.steps.push(Step {
            name: name.to_owned(),
            millis: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes: made(&result).len() as u64,
        });
        Ok(result)
    }

    pub(crate) fn finish(self) -> Vec<Step> {
        self.steps
    }
}
