//! From options to a running host, without waiting for a compiler.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use nestor_core::grant::{Capabilities, Manifest};
use nestor_core::ids::{Digest, EngineId};

use super::checkouts::Checkouts;
use super::{EngineHost, Folders};
use crate::cache::Cache;
use crate::error::EngineHostError;
use crate::info::Source;
use crate::options::{Builtin, MAX_CALLS, Options};
use crate::registry::{Persistence, Registry, Slot, Version, Wasm};
use crate::runtime::Runtime;
use crate::tools::Tools;

/// The versions of one engine, the one that counts last.
type Layers = BTreeMap<EngineId, Vec<Arc<Version>>>;

impl EngineHost {
    /// Starts a host. Engines whose compiled form is in the cache are ready
    /// milliseconds later, the others when they are compiled; until then calls
    /// of them answer that they are being prepared.
    ///
    /// Of several components of one name the one put over the API counts, then
    /// a file, then the built-in one.
    ///
    /// # Errors
    /// An option that cannot be used, or a data directory that cannot be written.
    pub async fn start(options: Options) -> Result<Arc<Self>, EngineHostError> {
        let started = tokio::task::spawn_blocking({
            let runtime = tokio::runtime::Handle::current();
            move || {
                let _inside = runtime.enter();
                assemble(options)
            }
        });
        let host = started
            .await
            .map_err(|e| EngineHostError::Runtime(format!("the host cannot start: {e}")))??;
        let mut heads: Vec<Arc<Version>> = host
            .registry
            .all()
            .iter()
            .map(|slot| Arc::clone(&slot.head))
            .collect();
        // What is in the cache first, then what compiles fastest.
        heads.sort_by_key(|v| (!host.cache.has(&v.digest), v.wasm.weight()));
        for version in heads {
            host.prepare_in_background(&version);
        }
        Ok(host)
    }
}

fn assemble(options: Options) -> Result<Arc<EngineHost>, EngineHostError> {
    if !(1..=MAX_CALLS).contains(&options.max_calls) {
        return Err(EngineHostError::Options(format!(
            "{} calls at once; it must be 1 to {MAX_CALLS}",
            options.max_calls
        )));
    }
    let data = |path: &Path, source: io::Error| EngineHostError::Data {
        path: path.display().to_string(),
        source,
    };
    let data_dir =
        std::path::absolute(&options.data_dir).map_err(|e| data(&options.data_dir, e))?;
    let folders = Folders {
        empty: data_dir.join("empty"),
        scratch: data_dir.join("tmp"),
    };
    // What a crash left there is nobody's any more.
    let _ = fs::remove_dir_all(&folders.scratch);
    let checkouts = data_dir.join("checkouts");
    for folder in [&checkouts, &folders.empty, &folders.scratch] {
        fs::create_dir_all(folder).map_err(|e| data(folder, e))?;
    }
    raise_descriptors();
    let runtime = Runtime::new(options.max_calls)?;
    // A cache of its own holds nothing for others.
    let own_cache = options.cache_dir.is_none();
    let cache_dir = options.cache_dir.unwrap_or_else(|| data_dir.join("cache"));
    let cache = Cache::open(cache_dir, &runtime.engine)?;
    let engines_folder = data_dir.join("engines");
    let persistence =
        Persistence::new(engines_folder.clone()).map_err(|e| data(&engines_folder, e))?;
    let tools = Arc::new(Tools::new(options.tools, folders.scratch.clone())?);

    let mut builtin_grants = BTreeMap::new();
    let mut layers = Layers::new();
    for builtin in options.builtins {
        let version = carried(&builtin, &options.grants)?;
        builtin_grants.insert(builtin.id.clone(), version.manifest.capabilities.clone());
        layers
            .entry(builtin.id)
            .or_default()
            .push(Arc::new(version));
    }
    let granted = |id: &EngineId| {
        let granted = options.grants.get(id).or_else(|| builtin_grants.get(id));
        granted.cloned().unwrap_or_default()
    };
    if let Some(folder) = &options.engines_dir {
        add_files(folder, &granted, &mut layers).map_err(|e| data(folder, e))?;
    }
    let restored = persistence
        .restore()
        .map_err(|e| data(&engines_folder, e))?;
    let registry = Registry::default();
    let mut held_put = BTreeMap::new();
    for engine in restored {
        let layer = |stored: crate::registry::Stored| {
            stored
                .version(&engine.id, &granted(&engine.id))
                .map(Arc::new)
        };
        held_put.insert(
            engine.id.clone(),
            engine
                .held
                .into_iter()
                .filter_map(layer)
                .collect::<Vec<_>>(),
        );
        if let Some(version) = engine.head.and_then(layer) {
            layers.entry(engine.id).or_default().push(version);
        }
    }
    for (id, mut versions) in layers {
        let Some(head) = versions.pop() else { continue };
        let mut held = held_put.remove(&id).unwrap_or_default();
        held.extend(versions.into_iter().rev());
        held.retain(|v| v.digest != head.digest);
        registry.set(
            &id,
            Some(Slot {
                head,
                held,
                on_probation: false,
            }),
        );
    }
    if own_cache {
        cache.prune(&registry.digests());
    }

    let settings = options
        .settings
        .into_iter()
        .map(|(id, value)| (id, value.to_string().into()))
        .collect();
    Ok(Arc::new_cyclic(|own| EngineHost {
        runtime: Arc::new(runtime),
        cache,
        compiler: options.compiler,
        registry,
        persistence,
        folders,
        checkouts: Checkouts::new(checkouts),
        tools,
        kv: options.kv,
        grants: options.grants,
        builtin_grants,
        settings,
        compiling: tokio::sync::Semaphore::new(1),
        changing: tokio::sync::Mutex::new(()),
        own: own.clone(),
    }))
}

/// Lets this process have as many descriptors as it may. The usual soft limit of
/// 1024 is for programs that use `select`; calls, clients and the store
/// together need more. Tools get a limit of their own.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, ?current, ?maximum, "the limit of open files cannot be raised");
    }
}

/// A built-in engine. It gets what it requests unless the platform says
/// otherwise: its author is the host's.
fn carried(
    builtin: &Builtin,
    grants: &BTreeMap<EngineId, Capabilities>,
) -> Result<Version, EngineHostError> {
    let file = format!("engine.toml of the built-in engine {}", builtin.id);
    let manifest = Manifest::parse(builtin.manifest, &file)
        .map_err(|e| EngineHostError::Options(e.to_string()))?;
    let granted = grants
        .get(&builtin.id)
        .unwrap_or(&manifest.capabilities)
        .clone();
    let wasm = Wasm::Carried(builtin.compressed);
    Ok(Version::new(
        builtin.id.clone(),
        builtin.digest,
        Source::BuiltIn,
        wasm,
        manifest,
        &granted,
        None,
    ))
}

/// Every `NAME.wasm` of a folder. One that cannot be read is said and left out.
fn add_files(
    folder: &Path,
    granted: &dyn Fn(&EngineId) -> Capabilities,
    layers: &mut Layers,
) -> io::Result<()> {
    let mut paths: Vec<_> = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    paths.sort_by_key(fs::DirEntry::file_name);
    for path in paths.into_iter().map(|entry| entry.path()) {
        if path.extension().is_none_or(|end| end != "wasm") {
            continue;
        }
        match file_version(&path, granted) {
            Ok(version) => layers
                .entry(version.id.clone())
                .or_default()
                .push(Arc::new(version)),
            Err(why) => {
                tracing::error!(file = %path.display(), why, "an engine of the engines directory is not used")
            }
        }
    }
    Ok(())
}

fn file_version(
    path: &Path,
    granted: &dyn Fn(&EngineId) -> Capabilities,
) -> Result<Version, String> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let id = EngineId::new(&*name).map_err(|e| e.to_string())?;
    let toml = path.with_extension("toml");
    let manifest = match fs::read_to_string(&toml) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(format!("{}: {e}", toml.display())),
    };
    let manifest = super::load::manifest(&id, manifest.as_deref()).map_err(|e| e.to_string())?;
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    let granted = granted(&id);
    Ok(Version::new(
        id,
        digest,
        Source::File,
        Wasm::File(path.to_owned()),
        manifest,
        &granted,
        Some(size),
    ))
}

impl crate::registry::Stored {
    /// None when its `engine.toml` does not fit this host any more, which is said.
    fn version(self, id: &EngineId, granted: &Capabilities) -> Option<Version> {
        let manifest = super::load::manifest(id, self.manifest.as_deref())
            .inspect_err(
                |error| tracing::error!(engine = %id, %error, "a stored engine cannot be used"),
            )
            .ok()?;
        let size = fs::metadata(&self.wasm).ok().map(|m| m.len());
        let wasm = Wasm::File(self.wasm);
        Some(Version::new(
            id.clone(),
            self.digest,
            Source::Api,
            wasm,
            manifest,
            granted,
            size,
        ))
    }
}
