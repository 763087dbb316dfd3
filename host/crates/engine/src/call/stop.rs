//! Why a call ended without an answer.

use std::time::Duration;

use nestor_core::engine::EngineError;
use nestor_core::units::{show_duration, show_size};
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use super::MAX_RESOURCES;

/// A limit that the host itself enforces inside a running guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("it wanted {wanted} bytes of memory, and has {limit}")]
    Memory { wanted: u64, limit: u64 },
    #[error("it computed for more than {0:?}")]
    Cpu(Duration),
}

/// A text that wasmtime uses when a guest hands over more than the hostcall
/// fuel; its type is private there.
const FUEL: &str = "fuel allocated for hostcalls has been exhausted";

/// The same for handles: in the host's table, and in the guest's.
const HANDLES: [&str; 2] = [
    "resource table has no free keys",
    "store handle limit exceeded",
];

/// How much of a trap's own text is worth showing.
const MAX_CAUSE: usize = 1000;

/// What the end of a call means, with what the guest last wrote to its
/// standard error: that is where panics leave their text.
pub(crate) fn explain(error: &wasmtime::Error, stderr: &str, output_limit: u64) -> EngineError {
    match error.downcast_ref::<Stop>() {
        Some(Stop::Memory { limit, .. }) => {
            return EngineError::LimitExceeded {
                limit: "memory",
                message: format!(
                    "it needs more than {} in all; raise limits.memory in its engine.toml and its grant",
                    show_size(*limit)
                ),
            };
        }
        Some(Stop::Cpu(budget)) => return cpu(*budget),
        None => {}
    }
    let told = |what: &str| {
        if stderr.is_empty() {
            what.to_owned()
        } else {
            format!("{what}: {stderr}")
        }
    };
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return EngineError::Trapped(told(&format!("it ended itself with status {}", exit.0)));
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let what = match trap {
            Trap::StackOverflow => "it recursed too deep".to_owned(),
            Trap::UnreachableCodeReached => "it panicked".to_owned(),
            other => other.to_string(),
        };
        return EngineError::Trapped(told(&what));
    }
    let text = format!("{error:#}");
    if text.contains(FUEL) {
        return output(output_limit);
    }
    if HANDLES.iter().any(|handles| text.contains(handles)) {
        return EngineError::LimitExceeded {
            limit: "handles",
            message: format!(
                "it held more than {MAX_RESOURCES} files, streams, requests and tools at once; close what is not needed any more"
            ),
        };
    }
    let text = nestor_core::text::shortened(&text, MAX_CAUSE);
    EngineError::Trapped(told(&text))
}

pub(crate) fn cpu(budget: Duration) -> EngineError {
    EngineError::LimitExceeded {
        limit: "cpu",
        message: format!(
            "it computed for more than {}; raise limits.cpu in its engine.toml and its grant",
            show_duration(budget)
        ),
    }
}

pub(crate) fn wall(limit: Duration) -> EngineError {
    EngineError::LimitExceeded {
        limit: "wall",
        message: format!(
            "it took more than {}; raise limits.wall in its engine.toml and its grant, or answer pending",
            show_duration(limit)
        ),
    }
}

pub(crate) fn output(limit: u64) -> EngineError {
    EngineError::LimitExceeded {
        limit: "output",
        message: format!(
            "it answered or handed over more than {} at once; raise limits.output_bytes in its engine.toml and its grant",
            show_size(limit)
        ),
    }
}
