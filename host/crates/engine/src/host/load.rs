//! Changing which version is the head, while operations run.
//!
//! Everything that can fail comes before the swap, and what is on disk says
//! what counts only when all of it is there.

use std::sync::Arc;

use bytes::Bytes;
use nestor_core::grant::Manifest;
use nestor_core::ids::{Digest, EngineId};

use super::EngineHost;
use crate::check;
use crate::error::LoadError;
use crate::info::{Loaded, Source};
use crate::metrics::SWAPS;
use crate::registry::{Slot, Version, Wasm};

/// Traps in a row after which a new version makes way for the one before. One
/// may be a bad request; five different ones are a bad version.
const TRAPS_UNTIL_ROLLBACK: u32 = 5;

/// Each name is a label of metrics, a folder and a version in memory for good;
/// a platform has tens.
pub const MAX_ENGINES: usize = 256;

/// What messages call the document.
const MANIFEST: &str = "engine.toml";

/// The manifest that a component comes with, or the one of a component that
/// comes without.
pub(super) fn manifest(id: &EngineId, text: Option<&str>) -> Result<Manifest, LoadError> {
    let Some(text) = text else {
        return Ok(Manifest::default_for(id.clone()));
    };
    let manifest = Manifest::parse(text, MANIFEST)?;
    if manifest.id.name == *id {
        Ok(manifest)
    } else {
        Err(LoadError::Name {
            asked: id.clone(),
            manifest: manifest.id.to_string(),
        })
    }
}

impl EngineHost {
    /// Makes a component the head of an engine, old or new, and keeps it over
    /// restarts. Operations that began on another version stay on that one.
    /// When this answers, new operations use the component; when it fails,
    /// nothing has changed.
    ///
    /// # Errors
    /// Everything that is wrong with the component, its `engine.toml` or what
    /// it requests; a failing `describe` or `check`.
    pub async fn load(
        &self,
        id: &EngineId,
        wasm: Bytes,
        manifest_toml: Option<&str>,
    ) -> Result<Loaded, LoadError> {
        // The cheap checks first: they need no turn.
        let surface = check::surface(&wasm)?;
        let manifest = manifest(id, manifest_toml)?;
        let digest = Digest::of(&wasm);
        let path = self.persistence.wasm(id, &digest);
        let size = wasm.len() as u64;
        let version = Version::new(
            id.clone(),
            digest,
            Source::Api,
            Wasm::File(path),
            manifest,
            &self.granted(id),
            Some(size),
        );
        check::allowed(
            surface.imports.iter().map(String::as_str),
            surface.exports.iter().map(String::as_str),
            &*version.grant()?,
        )?;

        let _turn = self.changing.lock().await;
        let before = self.registry.slot(id);
        if before.is_none() && self.registry.names().len() >= MAX_ENGINES {
            return Err(LoadError::TooMany);
        }
        if let Some(slot) = &before
            && slot.head.digest == digest
            && slot.head.manifest == version.manifest
            && slot.head.ready().is_ok()
        {
            return Ok(Loaded {
                engine: slot.info(),
                replaced: None,
                unchanged: true,
            });
        }
        version.begin();
        let ready = self.prepare(&version, Some(wasm.clone())).await?;
        self.check(id, &ready.pre, &ready.grant).await?;
        version.finish(Ok(ready));
        let version = Arc::new(version);
        let replaced = before
            .as_ref()
            .map(|slot| slot.head.digest)
            .filter(|old| *old != digest);
        let slot = match &before {
            Some(slot) => slot.succeeded_by(version, true),
            None => Slot {
                head: version,
                held: Vec::new(),
                on_probation: false,
            },
        };
        let stored = self.persistence.store(id, &digest, &wasm, manifest_toml);
        stored
            .and_then(|()| self.record(id, &slot))
            .map_err(|e| LoadError::Host(e.to_string()))?;
        let engine = slot.info();
        self.registry.set(id, Some(slot));
        metrics::counter!(SWAPS, "engine" => id.to_string(), "reason" => "load").increment(1);
        tracing::info!(target: "nestor_engine::audit", engine = %id, %digest, replaced = ?replaced, "engine loaded");
        Ok(Loaded {
            engine,
            replaced,
            unchanged: false,
        })
    }

    /// Takes a component that was put over the API away: a file or the
    /// built-in version of that name is the head again, or the engine is gone.
    ///
    /// # Errors
    /// There is no such engine, or its head was not put over the API.
    pub async fn remove(&self, id: &EngineId) -> Result<(), LoadError> {
        let _turn = self.changing.lock().await;
        let slot = self
            .registry
            .slot(id)
            .ok_or_else(|| LoadError::NotThere(format!("there is no engine named {id}")))?;
        if slot.head.source != Source::Api {
            return Err(LoadError::NotThere(format!(
                "the engine {id} is part of the host's installation; it can be replaced, but not removed"
            )));
        }
        let below = slot
            .held
            .iter()
            .filter(|v| v.source != Source::Api)
            .max_by_key(|v| v.source);
        let next = below.map(|version| slot.succeeded_by(Arc::clone(version), false));
        let recorded = match &next {
            Some(next) => self.record(id, next),
            None => self.persistence.set(id, None, Vec::new()),
        };
        recorded.map_err(|e| LoadError::Host(e.to_string()))?;
        if let Some(next) = &next {
            self.prepare_in_background(&next.head);
        }
        self.registry.set(id, next);
        metrics::counter!(SWAPS, "engine" => id.to_string(), "reason" => "remove").increment(1);
        tracing::info!(target: "nestor_engine::audit", engine = %id, digest = %slot.head.digest, "engine removed");
        Ok(())
    }

    /// Counts a trap, and brings the version before back when a new one traps
    /// again and again.
    pub(super) fn trapped(&self, version: &Arc<Version>) {
        let in_a_row = version.trapped();
        let Some(host) = self
            .own
            .upgrade()
            .filter(|_| in_a_row >= TRAPS_UNTIL_ROLLBACK)
        else {
            return;
        };
        let version = Arc::clone(version);
        tokio::spawn(async move { host.roll_back(&version).await });
    }

    async fn roll_back(&self, version: &Version) {
        let _turn = self.changing.lock().await;
        let id = &version.id;
        let Some(slot) = self.registry.slot(id) else {
            return;
        };
        let before = slot.held.first().filter(|v| !v.failed());
        let (true, true, Some(before)) = (
            slot.on_probation,
            slot.head.digest == version.digest,
            before,
        ) else {
            return;
        };
        let next = slot.succeeded_by(Arc::clone(before), false);
        if let Err(error) = self.record(id, &next) {
            tracing::error!(engine = %id, %error, "the engine traps again and again, and cannot be rolled back");
            return;
        }
        self.prepare_in_background(&next.head);
        tracing::error!(
            target: "nestor_engine::audit", engine = %id, from = %version.digest, to = %next.head.digest,
            "the new version trapped {TRAPS_UNTIL_ROLLBACK} times in a row; the one before is back"
        );
        self.registry.set(id, Some(next));
        metrics::counter!(SWAPS, "engine" => id.to_string(), "reason" => "rollback").increment(1);
    }

    fn record(&self, id: &EngineId, slot: &Slot) -> std::io::Result<()> {
        let put = |v: &&Arc<Version>| v.source == Source::Api;
        let head = Some(&slot.head).filter(put).map(|v| v.digest);
        let held = slot.held.iter().filter(put).map(|v| v.digest).collect();
        self.persistence.set(id, head, held)
    }
}
