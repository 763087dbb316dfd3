//! A Go module becomes a component.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as ADAPTER_NAME,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::inputs::Inputs;
use crate::report::{Announce, Steps};
use crate::wasm::{
    HotPages, Start, add_adapter_realloc, direct_jumps, merge_segments, pre_initialise,
};
use crate::{BuildError, Built, CONTRACT, Report, cache, check_component, io};

/// Exports of the Go SDK that this build uses: see `sdk/go/internal/abi` and
/// `sdk/go/glue_wasip1.go`.
const START: Start<'_> = Start {
    init: "nestor_prepare",
    asked: &["nestor_arena_base", "nestor_arena_size"],
    hot: Some(HotPages {
        rehearse: "nestor_rehearse",
        keep: "nestor_keep_hot",
    }),
};

/// The oldest Go that compiles reactors as the SDK needs them.
const GO_NEEDED: &str = "Go 1.26 or later is needed to build a Go engine: install it, or set NESTOR_GO to its `go` program";

pub(crate) fn build(
    folder: &Path,
    cache: Option<&Path>,
    announce: Announce<'_>,
) -> Result<Built, BuildError> {
    let key = key(folder)?;
    if let Some(built) = cache.and_then(|cache| cache::load(cache, &key)) {
        return Ok(built);
    }
    let mut steps = Steps::new(announce);
    let core = steps.run("compile with Go", || compile(folder), Vec::as_slice)?;
    let built = componentize(&core, steps)?;
    if let Some(cache) = cache {
        cache::save(cache, &key, &built)?;
    }
    Ok(built)
}

/// All the steps after Go's own.
fn componentize(core: &[u8], mut steps: Steps<'_>) -> Result<Built, BuildError> {
    let direct = steps.run("make jumps direct", || direct_jumps(core), Vec::as_slice)?;
    let merged = steps.run(
        "merge data segments",
        || merge_segments(&direct),
        Vec::as_slice,
    )?;
    let started = steps.run(
        "pre-initialise: start it once, freeze its memory",
        || pre_initialise(&merged, START),
        |started| started.wasm.as_slice(),
    )?;
    let &[base, size] = started.answers.as_slice() else {
        unreachable!("as many answers as questions");
    };
    let module = steps.run(
        "add the adapter's memory, merge segments again",
        || merge_segments(&add_adapter_realloc(&started.wasm, base, size)?),
        Vec::as_slice,
    )?;
    let wasm = steps.run("make the component", || encode(module), Vec::as_slice)?;
    let surface = check_component(&wasm)?;
    let report = Report::new(&wasm, steps.finish(), surface);
    Ok(Built { wasm, report })
}

/// Embeds the contract's world and makes the component, with the adapter.
fn encode(mut module: Vec<u8>) -> Result<Vec<u8>, BuildError> {
    let failed = |e| BuildError::Componentize(format!("{e:#}"));
    let mut resolve = Resolve::default();
    let package = resolve.push_str("engine.wit", CONTRACT).map_err(failed)?;
    let world = resolve
        .select_world(&[package], Some("engine"))
        .map_err(failed)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(failed)?;
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.adapter(ADAPTER_NAME, ADAPTER))
        .and_then(|mut encoder| encoder.encode())
        .map_err(failed)
}

fn go() -> OsString {
    std::env::var_os("NESTOR_GO").unwrap_or_else(|| "go".into())
}

/// A `go` command in `folder`, for the target of components.
fn command(folder: &Path) -> Command {
    let mut command = Command::new(go());
    command.current_dir(folder);
    for (name, value) in [("GOOS", "wasip1"), ("GOARCH", "wasm"), ("CGO_ENABLED", "0")] {
        command.env(name, value);
    }
    command
}

fn compile(folder: &Path) -> Result<Vec<u8>, BuildError> {
    let out = tempfile::tempdir().map_err(io("create", Path::new("a temporary folder")))?;
    let core = out.path().join("core.wasm");
    let status = command(folder)
        // No paths, no version control state, no build id: the same source
        // gives the same bytes everywhere.
        .args([
            "build",
            "-buildmode=c-shared",
            "-trimpath",
            "-buildvcs=false",
        ])
        .args(["-ldflags=-s -w -buildid=", "-o"])
        .arg(&core)
        .arg(".")
        .status()
        .map_err(|e| {
            BuildError::Toolchain(format!("cannot run {}: {e}. {GO_NEEDED}", go().display()))
        })?;
    if !status.success() {
        return Err(BuildError::Compile {
            program: "go build".into(),
            status: status.to_string(),
        });
    }
    std::fs::read(&core).map_err(io("read", &core))
}

/// The digest of everything that decides how the component comes out.
fn key(folder: &Path) -> Result<String, BuildError> {
    let mut inputs = Inputs::new();
    inputs.add(b"go");
    inputs.add(env!("NESTOR_BUILD_SOURCES").as_bytes());
    inputs.add(CONTRACT.as_bytes());
    inputs.add(ADAPTER);
    // Also what a go.work, GOFLAGS or another toolchain line would change.
    inputs.add(&output(
        folder,
        &[
            "env",
            "GOVERSION",
            "GOFLAGS",
            "GOWORK",
            "GOEXPERIMENT",
            "GOWASM",
        ],
    )?);
    inputs.add_sources(folder)?;
    for module in local_modules(folder)? {
        inputs.add_sources(&module)?;
    }
    Ok(inputs.finish())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GoMod {
    replace: Option<Vec<Replace>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Replace {
    new: Module,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Module {
    path: String,
    version: Option<String>,
}

/// Folders that the module takes other modules from; all else is pinned by its
/// go.sum.
fn local_modules(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let json = output(folder, &["mod", "edit", "-json"])?;
    let parsed: GoMod = serde_json::from_slice(&json)
        .map_err(|e| BuildError::Toolchain(format!("go mod edit -json: {e}")))?;
    let replaces = parsed.replace.unwrap_or_default();
    Ok(replaces
        .into_iter()
        .filter(|r| r.new.version.is_none())
        .map(|r| folder.join(r.new.path))
        .collect())
}

fn output(folder: &Path, args: &[&str]) -> Result<Vec<u8>, BuildError> {
    let output = command(folder).args(args).output().map_err(|e| {
        BuildError::Toolchain(format!("cannot run {}: {e}. {GO_NEEDED}", go().display()))
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(BuildError::Toolchain(format!(
            "go {}: {}",
            args.join(" "),
            said.trim()
        )));
    }
    Ok(output.stdout)
}
