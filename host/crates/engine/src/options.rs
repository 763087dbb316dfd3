//! What a host is started with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use nestor_core::grant::Capabilities;
use nestor_core::ids::{Digest, EngineId};
use nestor_core::ports::Store;
use serde_json::Value;

/// Calls at once, of all engines together. Each may hold an instance of up to
/// its memory limit for as long as a tool runs.
pub const DEFAULT_MAX_CALLS: u32 = 256;
/// What address space allows: four memories of 4 GiB and their guards each.
pub const MAX_CALLS: u32 = 1000;

/// What a host is started with.
pub struct Options {
    /// Holds `engines/` (components put over the API), `cache/`, `checkouts/`,
    /// and short-lived folders. Made when it is not there.
    pub data_dir: PathBuf,
    /// Compiled components and the key of their MACs; none: `cache/` in
    /// `data_dir`, where what no engine needs any more is removed at start.
    /// Several hosts of one user may share a folder; nobody else may write it.
    pub cache_dir: Option<PathBuf>,
    /// A program whose `main` begins with [`crate::compile_if_asked`], normally
    /// the running one: it is started again to compile an engine. None: engines
    /// are compiled in this process, which then stays large.
    pub compiler: Option<PathBuf>,
    /// Engines that the binary carries.
    pub builtins: Vec<Builtin>,
    /// `NAME.wasm` with `NAME.toml`, read at start; they take the place of
    /// built-in engines of the same name.
    pub engines_dir: Option<PathBuf>,
    /// What the platform grants. An engine without an entry gets what its
    /// built-in version requests, or else no capability and the default limits.
    pub grants: BTreeMap<EngineId, Capabilities>,
    /// Native tools: name → absolute path.
    pub tools: BTreeMap<String, PathBuf>,
    /// The platform's settings for an engine, handed to it with every request.
    pub settings: BTreeMap<EngineId, Value>,
    /// Where guests' small maps are kept.
    pub kv: Arc<dyn Store>,
    /// Calls at once, 1 to [`MAX_CALLS`].
    pub max_calls: u32,
}

impl Options {
    /// No engines, no tools, no grants.
    #[must_use]
    pub fn new(data_dir: PathBuf, kv: Arc<dyn Store>) -> Self {
        Self {
            data_dir,
            cache_dir: None,
            compiler: None,
            builtins: Vec::new(),
            engines_dir: None,
            grants: BTreeMap::new(),
            tools: BTreeMap::new(),
            settings: BTreeMap::new(),
            kv,
            max_calls: DEFAULT_MAX_CALLS,
        }
    }
}

/// An engine that the binary carries.
#[derive(Clone)]
pub struct Builtin {
    /// Its name.
    pub id: EngineId,
    /// The component, compressed with zstd; unpacked only when the cache has
    /// nothing for it.
    pub compressed: &'static [u8],
    /// Of the component, not of the compressed bytes.
    pub digest: Digest,
    /// Its `engine.toml`.
    pub manifest: &'static str,
}
