//! From bytes to something that can be called: compiled, linked, probed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nestor_core::engine::EngineError;
use nestor_core::grant::Grant;
use nestor_core::ids::{Digest, EngineId};
use nestor_core::ports::{CallObserver, LogLevel};
use wasmtime::component::Component;
use wasmtime_wasi::FsPerms;

use super::EngineHost;
use crate::bindings::EnginePre;
use crate::call::{self, Answer, Bounds, CallState, Question, Surroundings};
use crate::check;
use crate::compiler::{compile_apart, compile_here};
use crate::convert::Description;
use crate::egress::Egress;
use crate::error::LoadError;
use crate::imports::KeyValues;
use crate::linker::link;
use crate::metrics::COMPILE_SECONDS;
use crate::registry::{Ready, Version, Wasm};
use crate::tools::Toolbox;

/// Of `describe` and `check`, on a processor: they do next to nothing.
const PROBE_CPU: Duration = Duration::from_secs(2);
/// Of `describe` and `check` in all: `check` may ask a tool for its version.
const PROBE_WALL: Duration = Duration::from_secs(15);

impl EngineHost {
    /// Prepares a version unless somebody does already.
    pub(super) fn prepare_in_background(&self, version: &Arc<Version>) {
        let Some(host) = self.own.upgrade() else {
            return;
        };
        if !version.begin() {
            return;
        }
        let version = Arc::clone(version);
        tokio::spawn(async move {
            let prepared = host.prepare(&version, None).await;
            if let Ok(ready) = &prepared {
                // An engine whose tool is missing today is still the engine:
                // what it lacks is said when it is used.
                if let Err(error) = host.check(&version.id, &ready.pre, &ready.grant).await {
                    tracing::warn!(engine = %version.id, %error, "the engine says that it is not well");
                }
            }
            match &prepared {
                Ok(ready) => tracing::info!(
                    engine = %version.id, digest = %version.digest, version = ready.description.version, "engine ready"
                ),
                Err(error) => {
                    tracing::error!(engine = %version.id, digest = %version.digest, %error, "engine not loaded")
                }
            }
            version.finish(prepared.map_err(|e| e.to_string()));
        });
    }

    /// Compiles or finds, links, and lets it describe itself.
    pub(super) async fn prepare(
        &self,
        version: &Version,
        bytes: Option<Bytes>,
    ) -> Result<Ready, LoadError> {
        let grant = version.grant()?;
        let component = self
            .component(
                &version.id,
                version.digest,
                version.wasm.clone(),
                bytes,
                &grant,
            )
            .await?;
        let pre = link(&self.runtime.engine, &component, &grant)?;
        let description = self.probe_description(&version.id, &pre, &grant).await?;
        Ok(Ready {
            pre,
            description,
            grant,
        })
    }

    async fn component(
        &self,
        id: &EngineId,
        digest: Digest,
        wasm: Wasm,
        bytes: Option<Bytes>,
        grant: &Arc<Grant>,
    ) -> Result<Component, LoadError> {
        if let Some(component) = self
            .blocking(move |host| host.cache.load(&host.runtime.engine, &digest))
            .await?
        {
            return Ok(component);
        }
        let _turn = self
            .compiling
            .acquire()
            .await
            .map_err(|_| shutting_down())?;
        let (id, grant) = (id.clone(), Arc::clone(grant));
        let compile = move |host: &EngineHost| {
            let began = Instant::now();
            let bytes = match bytes {
                Some(bytes) => bytes,
                None => wasm.read(&digest)?,
            };
            let surface = check::surface(&bytes)?;
            check::allowed(
                surface.imports.iter().map(String::as_str),
                surface.exports.iter().map(String::as_str),
                &grant,
            )?;
            tracing::info!(engine = %id, %digest, bytes = bytes.len(), "compiling an engine");
            let component = host.compile(&digest, &bytes)?;
            drop(bytes);
            crate::sys::release_memory();
            metrics::histogram!(COMPILE_SECONDS, "engine" => id.to_string())
                .record(began.elapsed());
            Ok(component)
        };
        self.blocking(compile).await?
    }

    /// In a child if there is one for it. Takes up to a minute.
    fn compile(&self, digest: &Digest, wasm: &[u8]) -> Result<Component, LoadError> {
        let engine = &self.runtime.engine;
        if let Some(program) = &self.compiler {
            let apart = self.cache.new_file().and_then(|file| {
                let compiled = compile_apart(program, wasm, file.as_file())?;
                Ok(compiled.map(|()| file))
            });
            let kept = match apart {
                Ok(compiled) => self.cache.keep_file(digest, compiled?),
                Err(error) => Err(error),
            };
            match kept.map(|()| self.cache.load(engine, digest)) {
                Ok(Some(component)) => return Ok(component),
                Ok(None) => {
                    tracing::warn!(%digest, "what the compiler's process made is not for this one")
                }
                Err(error) => {
                    tracing::warn!(%digest, %error, "an engine cannot be compiled in a process of its own")
                }
            }
        }
        let component = compile_here(engine, wasm)?;
        Ok(self.cache.keep(engine, digest, component))
    }

    /// Work that takes longer than a runtime's thread may be held.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, LoadError> {
        let host = self.own.upgrade().ok_or_else(shutting_down)?;
        tokio::task::spawn_blocking(move || work(&host))
            .await
            .map_err(|e| LoadError::Host(format!("the host failed: {e}")))
    }

    async fn probe_description(
        &self,
        id: &EngineId,
        pre: &EnginePre<CallState>,
        grant: &Arc<Grant>,
    ) -> Result<Description, LoadError> {
        let bounds = probe_bounds(grant);
        let around = self.no_resource(id, grant, self.folders.empty.clone(), bounds);
        match call::ask(
            &self.runtime,
            pre.clone(),
            around,
            bounds,
            Question::Describe,
            None,
        )
        .await
        {
            Ok(Answer::Description(description)) => {
                if description.name != id.as_str() {
                    tracing::warn!(engine = %id, name = description.name, "the engine calls itself differently");
                }
                Ok(description)
            }
            Ok(_) => Err(LoadError::Probe {
                function: "describe",
                reason: "it answered another question".into(),
            }),
            Err(e) => Err(LoadError::Probe {
                function: "describe",
                reason: probed(e, bounds),
            }),
        }
    }

    /// Asks whether what the engine talks to is well.
    pub(super) async fn check(
        &self,
        id: &EngineId,
        pre: &EnginePre<CallState>,
        grant: &Arc<Grant>,
    ) -> Result<(), LoadError> {
        let failed = |reason: String| LoadError::Probe {
            function: "check",
            reason,
        };
        let scratch = tempfile::tempdir_in(&self.folders.scratch)
            .map_err(|e| LoadError::Host(e.to_string()))?;
        let bounds = probe_bounds(grant);
        let mut around = self.no_resource(id, grant, scratch.path().to_owned(), bounds);
        around.work_perms = FsPerms::ReadWrite;
        match call::ask(
            &self.runtime,
            pre.clone(),
            around,
            bounds,
            Question::Check,
            None,
        )
        .await
        {
            // Engines without anything to check need not say more.
            Ok(_) | Err(EngineError::Unsupported(_)) => Ok(()),
            Err(e) => Err(failed(probed(e, bounds))),
        }
    }

    /// The surroundings of a call that is about no resource.
    pub(super) fn no_resource(
        &self,
        id: &EngineId,
        grant: &Arc<Grant>,
        work: std::path::PathBuf,
        bounds: Bounds,
    ) -> Surroundings {
        let until = tokio::time::Instant::now() + bounds.wall;
        let observer = Arc::new(ToLog(id.clone()));
        Surroundings {
            may_block: false,
            engine: id.clone(),
            grant: Arc::clone(grant),
            observer: observer.clone(),
            definition: self.folders.empty.clone(),
            toolbox: Toolbox::new(Arc::clone(&self.tools), work.clone(), until),
            work,
            work_perms: FsPerms::ReadOnly,
            key_values: KeyValues::none(),
            egress: Egress::new(id.clone(), Arc::clone(grant), observer, until),
        }
    }
}

/// Writes to the log what an engine says while it is about no resource, and so
/// knows nothing that must not stand there.
struct ToLog(EngineId);

impl CallObserver for ToLog {
    fn log(&self, level: LogLevel, message: &str, fields: &serde_json::Value) {
        let engine = self.0.as_str();
        tracing::info!(target: "nestor_engine::guest", engine, ?level, %fields, "{message}");
    }

    fn progress(&self, _percent: Option<u8>, _message: &str) {}
}

fn probe_bounds(grant: &Grant) -> Bounds {
    Bounds {
        cpu: grant.limits().cpu.min(PROBE_CPU),
        wall: grant.limits().wall.min(PROBE_WALL),
    }
}

/// Why a probe failed. Its bounds are the host's, tighter than the grant's:
/// raising the grant would not help.
fn probed(error: EngineError, bounds: Bounds) -> String {
    match error {
        EngineError::LimitExceeded {
            limit: limit @ ("cpu" | "wall"),
            ..
        } => format!(
            "it took too long ({limit}); `describe` and `check` have {:?} of a processor and {:?} in all, \
             so that an engine is ready soon: do the work in the other functions",
            bounds.cpu, bounds.wall
        ),
        error => error.to_string(),
    }
}

fn shutting_down() -> LoadError {
    LoadError::Host("the host is shutting down".into())
}
