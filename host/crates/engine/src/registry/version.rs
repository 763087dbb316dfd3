//! One version of an engine: a component with its manifest and grant.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use nestor_core::engine::{EngineError, Features};
use nestor_core::grant::{Capabilities, Grant, Manifest, MissingGrant, effective};
use nestor_core::ids::{Digest, EngineId, Timestamp};
use nestor_core::ports::{EngineHead, EngineStatus};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::bindings::EnginePre;
use crate::call::CallState;
use crate::check::MAX_COMPONENT;
use crate::convert::Description;
use crate::error::LoadError;
use crate::info::{EngineInfo, Source, in_words};

/// While a component is compiled; small ones take less, Helm takes 20 s.
const RETRY_WHILE_PREPARING: Duration = Duration::from_secs(1);

/// Where the component's bytes are, should they be needed.
#[derive(Clone)]
pub(crate) enum Wasm {
    /// Compressed with zstd.
    Carried(&'static [u8]),
    File(PathBuf),
}

impl Wasm {
    /// The component; checked against the digest, so that what runs is what
    /// was named. May take a second: not for a runtime's thread.
    pub(crate) fn read(&self, expected: &Digest) -> Result<Bytes, LoadError> {
        let host = |e: std::io::Error| LoadError::Host(e.to_string());
        let bytes = match self {
            Self::File(path) => std::fs::read(path)
                .map_err(|e| LoadError::Host(format!("{}: {e}", path.display())))?,
            Self::Carried(packed) => {
                use std::io::Read;
                let mut bytes = Vec::new();
                zstd::Decoder::with_buffer(*packed)
                    .map_err(host)?
                    .take(MAX_COMPONENT + 1)
                    .read_to_end(&mut bytes)
                    .map_err(host)?;
                bytes
            }
        };
        let found = Digest::of(&bytes);
        if found != *expected {
            return Err(LoadError::Host(format!(
                "the component is {found}, not {expected}: its file was changed or is damaged"
            )));
        }
        Ok(bytes.into())
    }

    /// How long preparing it will take, roughly; for an order.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            Self::File(path) => std::fs::metadata(path).map_or(0, |m| m.len()),
            // What zstd makes of components is about a tenth of them.
            Self::Carried(packed) => 10 * packed.len() as u64,
        }
    }
}

/// What a version needs to be called.
pub(crate) struct Ready {
    pub(crate) pre: EnginePre<CallState>,
    pub(crate) description: Description,
    pub(crate) grant: Arc<Grant>,
}

#[derive(Clone, PartialEq)]
enum Phase {
    /// Known, and prepared when somebody asks for it.
    Dormant,
    Preparing,
    Ready,
    Failed(String),
}

pub(crate) struct Version {
    pub(crate) id: EngineId,
    pub(crate) digest: Digest,
    pub(crate) source: Source,
    pub(crate) wasm: Wasm,
    pub(crate) manifest: Manifest,
    /// What was granted when the host started or the version was loaded.
    grant: Result<Arc<Grant>, Vec<MissingGrant>>,
    /// Calls at once.
    pub(crate) slots: Arc<Semaphore>,
    ready: OnceLock<Ready>,
    phase: Mutex<Phase>,
    size: Option<u64>,
    loaded_at: Timestamp,
    /// Traps and broken contracts without an answer in between.
    traps: AtomicU32,
}

impl Version {
    pub(crate) fn new(
        id: EngineId,
        digest: Digest,
        source: Source,
        wasm: Wasm,
        manifest: Manifest,
        granted: &Capabilities,
        size: Option<u64>,
    ) -> Self {
        let grant = effective(&manifest.capabilities, granted).map(Arc::new);
        let concurrency = manifest.capabilities.limits.concurrency;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            id,
            digest,
            source,
            wasm,
            manifest,
            grant,
            slots: Arc::new(Semaphore::new(concurrency as usize)),
            ready: OnceLock::new(),
            phase: Mutex::new(Phase::Dormant),
            size,
            loaded_at: Timestamp(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)),
            traps: AtomicU32::new(0),
        }
    }

    /// What it runs with.
    pub(crate) fn grant(&self) -> Result<Arc<Grant>, LoadError> {
        self.grant.clone().map_err(LoadError::MissingGrants)
    }

    /// True for the one who is to prepare it now.
    pub(crate) fn begin(&self) -> bool {
        let mut phase = self.phase();
        let first = *phase == Phase::Dormant;
        if first {
            *phase = Phase::Preparing;
        }
        first
    }

    pub(crate) fn finish(&self, prepared: Result<Ready, String>) {
        let phase = match prepared {
            Ok(ready) => {
                // Set once: only who began may finish.
                let _ = self.ready.set(ready);
                Phase::Ready
            }
            Err(why) => Phase::Failed(why),
        };
        *self.phase() = phase;
    }

    fn phase(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn failed(&self) -> bool {
        matches!(*self.phase(), Phase::Failed(_))
    }

    pub(crate) fn settled(&self) -> bool {
        matches!(*self.phase(), Phase::Failed(_) | Phase::Ready)
    }

    /// What a call needs, or why there is none now.
    pub(crate) fn ready(&self) -> Result<&Ready, EngineError> {
        if let Some(ready) = self.ready.get() {
            return Ok(ready);
        }
        let id = &self.id;
        Err(match &*self.phase() {
            Phase::Failed(why) => EngineError::Unavailable {
                message: format!("the engine {id} could not be loaded: {why}"),
                retry_after: None,
            },
            Phase::Dormant | Phase::Preparing | Phase::Ready => EngineError::Unavailable {
                message: format!("the engine {id} is being prepared"),
                retry_after: Some(RETRY_WHILE_PREPARING),
            },
        })
    }

    /// Counts a trap; answers how many there were in a row.
    pub(crate) fn trapped(&self) -> u32 {
        self.traps.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn answered(&self) {
        // Most calls find nothing to reset, and then must not fight for the line.
        if self.traps.load(Ordering::Relaxed) != 0 {
            self.traps.store(0, Ordering::Relaxed);
        }
    }

    fn status(&self) -> EngineStatus {
        match &*self.phase() {
            Phase::Ready => EngineStatus::Ready,
            Phase::Failed(why) => EngineStatus::Failed(why.clone()),
            Phase::Dormant | Phase::Preparing => EngineStatus::Preparing,
        }
    }

    pub(crate) fn head(&self) -> EngineHead {
        let description = self.ready.get().map(|ready| &ready.description);
        EngineHead {
            id: self.id.clone(),
            digest: self.digest,
            version: description.map(|d| d.version.clone()).unwrap_or_default(),
            features: description.map(|d| d.features).unwrap_or_default(),
            status: self.status(),
            concurrency: self.manifest.capabilities.limits.concurrency,
        }
    }

    pub(crate) fn info(&self, held: Vec<Digest>) -> EngineInfo {
        let description = self.ready.get().map(|ready| &ready.description);
        let (granted, missing) = match &self.grant {
            Ok(grant) => (Some(grant.capabilities().to_json()), Vec::new()),
            Err(missing) => (None, in_words(missing)),
        };
        EngineInfo {
            id: self.id.clone(),
            digest: self.digest,
            version: description
                .map_or_else(|| self.manifest.version.to_string(), |d| d.version.clone()),
            summary: description.map(|d| d.summary.clone()).unwrap_or_default(),
            features: description.map_or_else(Features::default, |d| d.features),
            status: self.status(),
            source: self.source,
            requested: self.manifest.capabilities.to_json(),
            granted,
            missing,
            loaded_at: self.loaded_at,
            size: self.size,
            definition_schema: description.map_or(Value::Null, |d| d.definition_schema.clone()),
            held,
        }
    }
}
