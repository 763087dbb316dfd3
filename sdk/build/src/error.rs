//! The one error of this crate.

use std::path::{Path, PathBuf};

use crate::wasm::{PreInitError, TransformError};

/// Why an engine could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The folder has no or two project files.
    #[error(
        "{} holds {}; an engine is a Go module or a Rust crate",
        .folder.display(),
        if *.both { "both a go.mod and a Cargo.toml" } else { "neither a go.mod nor a Cargo.toml" }
    )]
    NotAnEngine {
        /// The folder.
        folder: PathBuf,
        /// Whether both files are there.
        both: bool,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A toolchain is missing, with what to do.
    #[error("{0}")]
    Toolchain(String),
    /// A compiler refused the engine; it said why on stderr.
    #[error("{program} failed ({status}); its messages are above")]
    Compile {
        /// What was run.
        program: String,
        /// How it ended.
        status: String,
    },
    /// The compiler made nothing that can be a component.
    #[error("{0}")]
    NoArtefact(String),
    /// A module could not be transformed.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// The program could not be started and frozen.
    #[error(transparent)]
    PreInit(#[from] PreInitError),
    /// The module does not fit the contract's world.
    #[error("cannot make a component of the contract: {0}")]
    Componentize(String),
    /// The component asks for more than the contract has, or gives less.
    #[error("the component does not keep to the contract:\n  {}", .0.join("\n  "))]
    Contract(Vec<String>),
    /// Bindings could not be generated.
    #[error("cannot generate bindings: {0}")]
    Bindings(String),
    /// The `engine.toml` beside an engine is missing something.
    #[error("{}: {problem}", .path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what is expected.
        problem: String,
    },
}

/// For `map_err` on file operations.
pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::Io {
        action,
        path,
        source,
    }
}
