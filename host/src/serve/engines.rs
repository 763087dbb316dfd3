//! The engine host as the config has it: started, gated, and shown by the API.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use nestor_api::{
    EngineAdmin, EngineRejection, EngineSource, EngineStatusView, EngineUpload, EngineView, Put,
    ViolationView,
};
use nestor_core::engine::{EngineError, Home};
use nestor_core::ids::{DeploymentId, EngineId, EnvironmentName};
use nestor_core::ports::{EngineCall, EngineHead, EngineStatus, Engines, Reply, Store};
use nestor_engine::{EngineHost, EngineInfo, LoadError, Options, Source};
use serde_json::Value;

use super::{builtins, tools};
use crate::config::Config;

/// The engines that the config leaves on.
pub(crate) struct GatedEngines {
    host: Arc<EngineHost>,
    disabled: BTreeSet<EngineId>,
}

/// Starts the engine host. Engines that have to be compiled are so afterwards,
/// in the background.
pub(crate) async fn start(
    config: &Config,
    data_dir: &Path,
    kv: Arc<dyn Store>,
) -> Result<Arc<GatedEngines>, String> {
    let disabled: BTreeSet<EngineId> = config
        .engines
        .iter()
        .filter(|(_, engine)| !engine.enabled)
        .map(|(id, _)| id.clone())
        .collect();
    let mut options = Options::new(data_dir.to_owned(), kv);
    options.cache_dir = config.server.cache_dir.clone();
    // This very program, also when its file was replaced meanwhile.
    options.compiler = Some(PathBuf::from("/proc/self/exe"));
    options.builtins = builtins::all()
        .into_iter()
        .filter(|builtin| !disabled.contains(&builtin.id))
        .collect();
    options.engines_dir = staged(config, data_dir)?;
    options.tools = tools::registry(&config.engines)?;
    for (id, engine) in &config.engines {
        if let Some(grants) = &engine.grants {
            options.grants.insert(id.clone(), grants.clone());
        }
        if !engine.settings.is_null() {
            options.settings.insert(id.clone(), engine.settings.clone());
        }
    }
    if let Some(max) = config.server.max_calls {
        options.max_calls = max;
    }
    let host = EngineHost::start(options)
        .await
        .map_err(|error| format!("the engine host does not start: {error}"))?;
    Ok(Arc::new(GatedEngines { host, disabled }))
}

/// One folder with the components of the engines directory and those that the
/// config names one by one, which go before: links, made anew at every start.
fn staged(config: &Config, data_dir: &Path) -> Result<Option<PathBuf>, String> {
    let named: Vec<(&EngineId, &PathBuf)> = config
        .engines
        .iter()
        .filter(|(_, engine)| engine.enabled)
        .filter_map(|(id, engine)| Some((id, engine.component.as_ref()?)))
        .collect();
    if named.is_empty() {
        return Ok(config.server.engines_dir.clone());
    }
    let folder = data_dir.join("engines-staged");
    let staging = |e: std::io::Error| format!("{}: {e}", folder.display());
    match std::fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(staging(e)),
        _ => std::fs::create_dir_all(&folder).map_err(staging)?,
    }
    let link = |from: &Path, to: &str| {
        let from = std::path::absolute(from).map_err(staging)?;
        let to = folder.join(to);
        match std::os::unix::fs::symlink(from, to) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(staging(e)),
            _ => Ok(()),
        }
    };
    for (id, component) in &named {
        link(component, &format!("{id}.wasm"))?;
        let manifest = component.with_extension("toml");
        if manifest.is_file() {
            link(&manifest, &format!("{id}.toml"))?;
        }
    }
    if let Some(dir) = &config.server.engines_dir {
        let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let stem = path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default();
            if named.iter().any(|(id, _)| id.as_str() == stem) {
                continue;
            }
            if let Some(name) = path.file_name() {
                link(&path, &name.to_string_lossy())?;
            }
        }
    }
    Ok(Some(folder))
}

impl GatedEngines {
    /// The engines and how far each is, in a line.
    pub(crate) fn summary(&self) -> String {
        let one = |view: EngineView| match view.status {
            EngineStatusView::Ready => view.name,
            EngineStatusView::Preparing => format!("{} (preparing)", view.name),
            EngineStatusView::Failed => format!("{} (failed)", view.name),
        };
        let all: Vec<String> = EngineAdmin::list(self).into_iter().map(one).collect();
        if all.is_empty() {
            "none".to_owned()
        } else {
            all.join(", ")
        }
    }

    /// Waits until no engine is being prepared.
    pub(crate) async fn settled(&self) {
        self.host.settled().await;
    }

    /// Waits until one engine is ready or failed.
    pub(crate) async fn settled_of(&self, id: &EngineId) {
        self.host.settled_of(id).await;
    }

    /// Whether an engine needs no compiler to become ready.
    pub(crate) fn is_compiled(&self, id: &EngineId) -> bool {
        self.host.is_compiled(id)
    }

    fn is_off(&self, id: &EngineId) -> Option<String> {
        self.disabled.contains(id).then(|| {
            format!("the engine {id} is switched off in the host's config (engines.{id}.enabled)")
        })
    }
}

#[async_trait]
impl Engines for GatedEngines {
    fn head(&self, engine: &EngineId) -> Result<EngineHead, EngineError> {
        match self.is_off(engine) {
            Some(message) => Err(EngineError::Unavailable {
                message,
                retry_after: None,
            }),
            None => self.host.head(engine),
        }
    }
    fn names(&self) -> Vec<EngineId> {
        self.host
            .names()
            .into_iter()
            .filter(|id| !self.disabled.contains(id))
            .collect()
    }
    async fn call(&self, call: EngineCall) -> Result<Reply, EngineError> {
        match self.is_off(&call.engine) {
            Some(message) => Err(EngineError::Unavailable {
                message,
                retry_after: None,
            }),
            None => self.host.call(call).await,
        }
    }
    async fn forget(&self, engine: &EngineId, environment: &EnvironmentName, home: &Home) {
        self.host.forget(engine, environment, home).await;
    }
    async fn forget_deployment(&self, deployment: &DeploymentId, kept: &[Home]) {
        self.host.forget_deployment(deployment, kept).await;
    }
}

#[async_trait]
impl EngineAdmin for GatedEngines {
    fn list(&self) -> Vec<EngineView> {
        self.host
            .list()
            .into_iter()
            .filter(|info| !self.disabled.contains(&info.id))
            .map(view)
            .collect()
    }

    fn get(&self, name: &EngineId) -> Option<EngineView> {
        if self.disabled.contains(name) {
            None
        } else {
            self.host.get(name).map(view)
        }
    }

    async fn put(&self, name: &EngineId, upload: EngineUpload) -> Result<Put, EngineRejection> {
        if let Some(message) = self.is_off(name) {
            return Err(EngineRejection::Conflict(message));
        }
        let known = self.host.get(name).is_some();
        let loaded = self
            .host
            .load(name, upload.component, upload.manifest.as_deref())
            .await
            .map_err(rejection)?;
        Ok(Put {
            engine: view(loaded.engine),
            created: !known,
        })
    }

    async fn delete(&self, name: &EngineId) -> Result<Option<EngineView>, EngineRejection> {
        let known = self.host.get(name).is_some();
        match self.host.remove(name).await {
            Ok(()) => Ok(self.host.get(name).map(view)),
            Err(LoadError::NotThere(message)) if known => Err(EngineRejection::Conflict(message)),
            Err(LoadError::NotThere(_)) => Err(EngineRejection::NotFound(name.clone())),
            Err(error) => Err(rejection(error)),
        }
    }
}

fn view(info: EngineInfo) -> EngineView {
    let (status, mut reason) = match info.status {
        EngineStatus::Ready => (EngineStatusView::Ready, None),
        EngineStatus::Preparing => (EngineStatusView::Preparing, None),
        EngineStatus::Failed(reason) => (EngineStatusView::Failed, Some(reason)),
    };
    if reason.is_none() && !info.missing.is_empty() {
        reason = Some(format!("not granted: {}", info.missing.join("; ")));
    }
    let features = [
        ("render", info.features.render),
        ("drift", info.features.drift),
        ("adopt", info.features.adopt),
        ("traffic", info.features.traffic),
    ];
    EngineView {
        name: info.id.to_string(),
        status,
        reason,
        version: info.version,
        summary: info.summary,
        digest: info.digest.to_string(),
        size: info.size.unwrap_or(0),
        source: match info.source {
            Source::BuiltIn => EngineSource::BuiltIn,
            Source::File => EngineSource::File,
            Source::Api => EngineSource::Api,
        },
        loaded_at: humantime::format_rfc3339_millis(
            UNIX_EPOCH + Duration::from_millis(info.loaded_at.0),
        )
        .to_string(),
        features: features
            .iter()
            .filter(|(_, has)| *has)
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        requested: info.requested,
        granted: info.granted.unwrap_or(Value::Null),
        definition_schema: info.definition_schema,
    }
}

fn rejection(error: LoadError) -> EngineRejection {
    let text = error.to_string();
    let violation = |code: &str, pointer: String, message: String| ViolationView {
        code: code.into(),
        pointer,
        message,
    };
    match error {
        LoadError::TooLarge { .. }
        | LoadError::NotWasm(_)
        | LoadError::CoreModule
        | LoadError::Invalid(_) => EngineRejection::NotAComponent(text),
        LoadError::ContractVersion { .. }
        | LoadError::UnknownImports(_)
        | LoadError::MissingExport
        | LoadError::Mismatch(_) => EngineRejection::UnsupportedContract(text),
        LoadError::Manifest(manifest) => EngineRejection::InvalidManifest(
            manifest
                .problems
                .into_iter()
                .map(|problem| {
                    let line = problem
                        .line
                        .map(|line| format!("line {line}: "))
                        .unwrap_or_default();
                    violation(
                        "invalid-manifest",
                        problem.key,
                        format!("{line}{}", problem.message),
                    )
                })
                .collect(),
        ),
        LoadError::Name { .. } => EngineRejection::InvalidManifest(vec![violation(
            "invalid-manifest",
            "engine.id".into(),
            text,
        )]),
        LoadError::MissingGrants(missing) => EngineRejection::MissingGrants(
            missing
                .into_iter()
                .map(|missing| {
                    let message = format!(
                        "requested {}; granted {}",
                        missing.requested, missing.granted
                    );
                    violation("missing-grants", missing.capability.into(), message)
                })
                .collect(),
        ),
        LoadError::Probe { .. } => EngineRejection::Unhealthy(text),
        LoadError::NotThere(_) | LoadError::TooMany => EngineRejection::Conflict(text),
        LoadError::Host(_) => {
            tracing::error!(error = text, "an engine could not be stored");
            EngineRejection::Internal
        }
    }
}
