//! What can be told about a loaded engine.

use nestor_core::engine::Features;
use nestor_core::grant::MissingGrant;
use nestor_core::ids::{Digest, EngineId, Timestamp};
use nestor_core::ports::EngineStatus;
use serde::Serialize;
use serde_json::Value;

/// Where a version came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The binary carries it.
    BuiltIn,
    /// The engines directory.
    File,
    /// Put over the API.
    Api,
}

/// The head version of an engine.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineInfo {
    /// Its name.
    pub id: EngineId,
    /// Of the component.
    pub digest: Digest,
    /// As it describes itself; until it is ready, as its `engine.toml` says.
    pub version: String,
    /// As it describes itself; empty until it is ready.
    pub summary: String,
    /// As it describes itself; none until it is ready.
    pub features: Features,
    /// Whether it can be called.
    pub status: EngineStatus,
    /// Where it came from.
    pub source: Source,
    /// What its `engine.toml` requests.
    pub requested: Value,
    /// What it runs with; null when it requests more than it is granted.
    pub granted: Option<Value>,
    /// What is missing then, in words.
    pub missing: Vec<String>,
    /// When this version became known to this host.
    pub loaded_at: Timestamp,
    /// Of the component, in bytes, where known.
    pub size: Option<u64>,
    /// JSON Schema of the definition's section for it; null until it is ready.
    pub definition_schema: Value,
    /// Versions that running operations may still be on.
    pub held: Vec<Digest>,
}

/// What [`crate::EngineHost::load`] did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loaded {
    /// The head now.
    pub engine: EngineInfo,
    /// The head before, if it was another component.
    pub replaced: Option<Digest>,
    /// The same component with the same `engine.toml` was the head already.
    pub unchanged: bool,
}

pub(crate) fn in_words(missing: &[MissingGrant]) -> Vec<String> {
    missing.iter().map(ToString::to_string).collect()
}
