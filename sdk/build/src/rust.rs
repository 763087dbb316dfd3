//! A Rust crate becomes a component: cargo and its linker do it, this checks.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use crate::report::{Announce, Steps};
use crate::toolchain::{TARGET, wasm_toolchain};
use crate::{BuildError, Built, Report, check_component, io};

pub(crate) fn build(folder: &Path, announce: Announce<'_>) -> Result<Built, BuildError> {
    let mut steps = Steps::new(announce);
    let compile = || {
        let artefact = cargo_build(folder)?;
        std::fs::read(&artefact).map_err(io("read", &artefact))
    };
    let wasm = steps.run("compile with cargo", compile, Vec::as_slice)?;
    let surface = check_component(&wasm)?;
    let report = Report::new(&wasm, steps.finish(), surface);
    Ok(Built { wasm, report })
}

/// One line of cargo's messages, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Runs cargo for the crate in `folder` and answers the component it made.
fn cargo_build(folder: &Path) -> Result<PathBuf, BuildError> {
    let toolchain = wasm_toolchain(folder)?;
    let manifest = folder.join("Cargo.toml");
    let mut child = toolchain
        .command(folder)
        .arg("--lib")
        .arg("--manifest-path")
        .arg(&manifest)
        .args(["--message-format", "json-render-diagnostics"])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| {
            BuildError::Toolchain(format!("cannot run {}: {e}", toolchain.program.display()))
        })?;

    let mut artefact = None;
    let stdout = child.stdout.take().expect("stdout is piped");
    for line in BufReader::new(stdout).lines() {
        let line = line.map_err(io("read the messages of cargo for", folder))?;
        let Ok(message) = serde_json::from_str::<Message>(&line) else {
            continue;
        };
        if message.reason == "compiler-artifact" && message.manifest_path == manifest {
            let wasm = |f: &PathBuf| f.extension().is_some_and(|e| e == "wasm");
            artefact = message.filenames.into_iter().find(wasm).or(artefact);
        }
    }
    let status = child.wait().map_err(io("wait for cargo in", folder))?;
    if !status.success() {
        return Err(BuildError::Compile {
            program: format!("cargo build --target {TARGET} ({})", toolchain.source),
            status: status.to_string(),
        });
    }
    artefact.ok_or_else(|| {
        BuildError::NoArtefact(format!(
            "{} makes no component; its library needs `crate-type = [\"cdylib\"]`",
            manifest.display()
        ))
    })
}
