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
        writeln!(
            f,
            "{}{}",
            self.digest,
            if self.cached { " (cached)" } else { "" }
        )?;
        for step in &self.steps {
            let seconds = step.millis as f64 / 1e3;
            writeln!(
                f,
                "  {:<34} {seconds:>7.1} s {:>12}",
                step.name,
                size(step.bytes)
            )?;
        }
        writeln!(
            f,
            "  {:<34} {:>9} {:>12}",
            "component",
            "",
            size(self.bytes)
        )?;
        if let Some(bytes) = self.compressed_bytes {
            writeln!(f, "  {:<34} {:>9} {:>12}", "compressed", "", size(bytes))?;
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

fn size(bytes: u64) -> String {
    match bytes {
        0..100_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        _ => format!("{:.2} MB", bytes as f64 / 1e6),
    }
}

/// Collects steps with their times.
pub(crate) struct Steps {
    since: Instant,
    steps: Vec<Step>,
}

impl Steps {
    pub(crate) fn start() -> Self {
        Self {
            since: Instant::now(),
            steps: Vec::new(),
        }
    }

    /// Ends a step that left `wasm`.
    pub(crate) fn done(&mut self, name: &str, wasm: &[u8]) {
        self.steps.push(Step {
            name: name.to_owned(),
            millis: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes: wasm.len() as u64,
        });
        self.since = Instant::now();
    }

    pub(crate) fn finish(self) -> Vec<Step> {
        self.steps
    }
}
