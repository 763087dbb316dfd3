//! Turns a Go module or a Rust crate into a finished engine component.
//!
//! [`build`] does all of it, in process: nothing beyond the language's own
//! toolchain needs to be installed. What comes out is a component of the
//! contract in `wit/engine.wit`, checked to import nothing that the contract
//! does not allow, and the same bytes for the same input.
//!
//! A Go module goes the longer way, in this order: compile it as a reactor for
//! wasip1, merge its data segments, start it once and freeze its memory
//! ([`wasm::pre_initialise`]), give the WASI adapter memory of its own
//! ([`wasm::add_adapter_realloc`]), merge again, embed the contract's world,
//! and make a component with the adapter. A Rust crate is a component already
//! when cargo is done; it is checked.

pub mod bindings;
mod cache;
mod contract;
mod engines;
mod error;
mod golang;
mod inputs;
mod pack;
mod report;
mod rust;
mod toolchain;
pub mod wasm;

use std::path::{Path, PathBuf};

pub use contract::{Surface, check_component};
pub use engines::{EngineFiles, build_engine, engine_folders};
pub use error::BuildError;
pub(crate) use error::io;
pub use pack::{compress, decompress};
pub use report::{Report, Step};
pub use toolchain::{WasmToolchain, wasm_toolchain};

/// The contract, as this build knows it.
pub const CONTRACT: &str = include_str!("../../../wit/engine.wit");

/// The world that an engine implements, as `engine.toml` names it.
pub const WORLD: &str = "nestor:engine/engine@0.1.0";

/// A finished component.
#[derive(Debug)]
pub struct Built {
    /// The component.
    pub wasm: Vec<u8>,
    /// How it came about and what it imports.
    pub report: Report,
}

/// What language a folder holds an engine in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A Go module (`go.mod`).
    Go,
    /// A Rust crate (`Cargo.toml`).
    Rust,
}

impl Language {
    /// Looks which of the two files is there.
    ///
    /// # Errors
    /// When neither or both are.
    pub fn of(folder: &Path) -> Result<Self, BuildError> {
        match (
            folder.join("go.mod").is_file(),
            folder.join("Cargo.toml").is_file(),
        ) {
            (true, false) => Ok(Self::Go),
            (false, true) => Ok(Self::Rust),
            (go, _) => Err(BuildError::NotAnEngine {
                folder: folder.to_owned(),
                both: go,
            }),
        }
    }
}

/// Builds the engine in `folder` and tells `announce` each step before it takes
/// it. With a `cache` folder, a Go engine whose inputs did not change is taken
/// from there; Rust has cargo's own.
///
/// # Errors
/// When the toolchain is missing or refuses the code, when the program fails
/// while it is initialised, or when it imports what the contract does not allow.
pub fn build(
    folder: &Path,
    cache: Option<&Path>,
    announce: &dyn Fn(&str),
) -> Result<Built, BuildError> {
    let folder = folder.canonicalize().map_err(io("open", folder))?;
    match Language::of(&folder)? {
        Language::Go => golang::build(&folder, cache, announce),
        Language::Rust => rust::build(&folder, announce),
    }
}

/// Where `nestor-build component` caches when it is not told: the user's cache
/// folder, or none when there is no home.
pub fn default_cache() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("NESTOR_BUILD_CACHE") {
        return Some(folder.into());
    }
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    base.or_else(home)
        .map(|cache| cache.join("nestor").join("build"))
}
