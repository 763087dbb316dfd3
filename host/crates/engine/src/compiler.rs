//! Compiling a component in a process of its own.
//!
//! Cranelift takes a gigabyte for a large engine, which the host would never
//! quite give back, and hostile input can keep it busy for hours. So the host
//! starts its own program again, with a component on standard input; the child
//! has limits, a low priority, and dies with the host.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::check::MAX_COMPONENT;
use crate::error::LoadError;
use crate::sys::{ProcessLimits, limit};

/// The only argument of the child.
const ARGUMENT: &str = "compile-engine-component";
/// Helm, the largest engine, takes 50 on a slow machine.
const MAX_CPU_SECONDS: u64 = 600;
/// Helm takes one gigabyte.
const MAX_DATA: u64 = 6 << 30;
/// Below everything that serves.
const NICE: i32 = 10;
/// Of the child's complaint.
const MAX_COMPLAINT: u64 = 4 << 10;

/// For the first line of a program's `main`: does the child's work when this
/// process was started for that, and says with which status to end.
///
/// A program that calls it may be named in [`crate::Options::compiler`].
#[must_use]
pub fn compile_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != ARGUMENT || args.next().is_some() {
        return None;
    }
    match serve() {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("{error}");
            Some(ExitCode::FAILURE)
        }
    }
}

fn serve() -> Result<(), String> {
    let mut wasm = Vec::new();
    std::io::stdin()
        .lock()
        .take(MAX_COMPONENT)
        .read_to_end(&mut wasm)
        .map_err(|e| e.to_string())?;
    let engine = crate::runtime::engine(1).map_err(|e| e.to_string())?;
    let compiled = compile_here(&engine, &wasm).map_err(|e| match e {
        LoadError::Invalid(why) => why,
        other => other.to_string(),
    })?;
    drop(wasm);
    let bytes = compiled.serialize().map_err(|e| e.to_string())?;
    let mut out = std::io::stdout().lock();
    out.write_all(&bytes)
        .and_then(|()| out.flush())
        .map_err(|e| e.to_string())
}

/// Compiles in this process.
pub(crate) fn compile_here(engine: &Engine, wasm: &[u8]) -> Result<Component, LoadError> {
    Component::from_binary(engine, wasm)
        .map_err(|e| LoadError::Invalid(crate::convert::clean(&format!("{e:#}"), 1000)))
}

/// Compiles in a child, into a file. The outer error says that there was no
/// child to do it.
pub(crate) fn compile_apart(
    program: &Path,
    wasm: &[u8],
    into: &File,
) -> std::io::Result<Result<(), LoadError>> {
    let mut command = Command::new(program);
    command
        .arg(ARGUMENT)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(into.try_clone()?)
        .stderr(Stdio::piped());
    limit(
        &mut command,
        ProcessLimits {
            cpu_seconds: MAX_CPU_SECONDS,
            data: MAX_DATA,
            nice: NICE,
        },
    );
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // When it ends early, its status says why.
        let _ = stdin.write_all(wasm);
    }
    let mut complaint = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(MAX_COMPLAINT).read_to_end(&mut complaint)?;
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(Ok(()));
    }
    let complaint = String::from_utf8_lossy(&complaint);
    let complaint = crate::convert::clean(complaint.trim(), 1000);
    Ok(Err(LoadError::Invalid(match status.code() {
        Some(_) if !complaint.is_empty() => complaint,
        _ => format!(
            "compiling it failed ({status}); it may take {MAX_CPU_SECONDS} seconds of a processor and {} GiB of memory",
            MAX_DATA >> 30
        ),
    })))
}
