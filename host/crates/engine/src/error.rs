//! Why a host does not start, and why a component is not loaded.

use nestor_core::grant::{ManifestError, MissingGrant};
use nestor_core::ids::EngineId;

use crate::check::SPEAKS;
use crate::host::MAX_ENGINES;

/// Why the engine host does not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineHostError {
    /// An option cannot be used.
    #[error("{0}")]
    Options(String),
    /// The machine lacks something.
    #[error("{0}")]
    Runtime(String),
    /// The data directory cannot be used.
    #[error("{path}: {source}")]
    Data {
        /// Which file or folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Why a component is not loaded. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Larger than the host takes.
    #[error("the component has {size} bytes; at most {max} are allowed")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// Not WebAssembly at all.
    #[error("this is not a WebAssembly component: {0}")]
    NotWasm(String),
    /// WebAssembly, but not a component.
    #[error(
        "this is a WebAssembly core module, not a component; build it for wasm32-wasip2, or with nestor-build component"
    )]
    CoreModule,
    /// The binary is broken, or uses what this host has switched off.
    #[error("the component is not valid: {0}")]
    Invalid(String),
    /// It speaks another version of the contract.
    #[error(
        "the component speaks {found}, and this host {SPEAKS}; build it against the contract of this host"
    )]
    ContractVersion {
        /// What it imports or exports.
        found: String,
    },
    /// It wants what no engine gets.
    #[error("the component imports what the contract does not have: {}", .0.join(", "))]
    UnknownImports(Vec<String>),
    /// It does not offer the contract's functions.
    #[error("the component does not export {SPEAKS}; an engine implements all of it")]
    MissingExport,
    /// It imports the contract's names with other types.
    #[error("the component does not fit the contract: {0}")]
    Mismatch(String),
    /// Its `engine.toml` is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The host has as many engines as it takes.
    #[error(
        "the host has {MAX_ENGINES} engines, which is the most; remove one that is not used any more"
    )]
    TooMany,
    /// The name that it is loaded under is not its own.
    #[error("engine.toml says that this is {manifest}, but it is to be loaded as {asked}")]
    Name {
        /// Of the request.
        asked: EngineId,
        /// Of `engine.toml`.
        manifest: String,
    },
    /// It requests more than the platform grants.
    #[error(
        "the engine requests more than it is granted: {}; grant it in the host's config under engines.<name>.grants",
        list(.0)
    )]
    MissingGrants(Vec<MissingGrant>),
    /// `describe` or `check` failed.
    #[error("the engine's {function} failed: {reason}")]
    Probe {
        /// Which.
        function: &'static str,
        /// How.
        reason: String,
    },
    /// There is no engine of that name, or none that could be removed.
    #[error("{0}")]
    NotThere(String),
    /// The host's own trouble: its disk, for example. For the operator.
    #[error("the engine could not be stored: {0}")]
    Host(String),
}

fn list(missing: &[MissingGrant]) -> String {
    let all: Vec<String> = missing.iter().map(ToString::to_string).collect();
    all.join("; ")
}

impl LoadError {
    /// Stable name of the kind, for the API's error codes.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::NotWasm(_) => "not-wasm",
            Self::CoreModule => "core-module",
            Self::Invalid(_) => "invalid-component",
            Self::ContractVersion { .. } => "contract-version",
            Self::UnknownImports(_) => "unknown-imports",
            Self::MissingExport => "missing-export",
            Self::Mismatch(_) => "contract-mismatch",
            Self::Manifest(_) => "invalid-manifest",
            Self::Name { .. } => "name-mismatch",
            Self::MissingGrants(_) => "missing-grants",
            Self::Probe { .. } => "probe-failed",
            Self::NotThere(_) => "not-there",
            Self::TooMany => "too-many",
            Self::Host(_) => "host",
        }
    }
}
