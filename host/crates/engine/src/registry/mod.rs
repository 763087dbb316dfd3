//! Which versions there are, and which one new operations use.
//!
//! Readers take no lock: the whole map is swapped.

mod persist;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use nestor_core::engine::EngineError;
use nestor_core::ids::{Digest, EngineId};

pub(crate) use persist::{Persistence, Stored};
pub(crate) use version::{Ready, Version, Wasm};

use crate::info::EngineInfo;

/// Versions kept besides the head, for operations that began on them. Runs
/// last minutes, and engines are not put hourly.
pub(crate) const MAX_HELD: usize = 3;

/// An engine: its head and the versions before, latest first.
pub(crate) struct Slot {
    pub(crate) head: Arc<Version>,
    pub(crate) held: Vec<Arc<Version>>,
    /// The head took another's place while the host ran, and has not proved
    /// itself over a restart: traps may bring the one before back.
    pub(crate) on_probation: bool,
}

impl Slot {
    pub(crate) fn info(&self) -> EngineInfo {
        self.head.info(self.held.iter().map(|v| v.digest).collect())
    }

    /// The same engine with another head; the old one is held.
    pub(crate) fn succeeded_by(&self, head: Arc<Version>, on_probation: bool) -> Self {
        let others = std::iter::once(&self.head).chain(&self.held);
        let mut held: Vec<Arc<Version>> = others
            .filter(|v| v.digest != head.digest)
            .cloned()
            .collect();
        // A version of the binary or a folder costs nothing to remember.
        let mut put = 0;
        held.retain(|v| {
            put += usize::from(v.source == crate::Source::Api);
            v.source != crate::Source::Api || put <= MAX_HELD
        });
        Self {
            head,
            held,
            on_probation,
        }
    }
}

type Map = BTreeMap<EngineId, Arc<Slot>>;

#[derive(Default)]
pub(crate) struct Registry(ArcSwap<Map>);

impl Registry {
    pub(crate) fn slot(&self, id: &EngineId) -> Option<Arc<Slot>> {
        self.0.load().get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Slot>> {
        self.0.load().values().cloned().collect()
    }

    pub(crate) fn names(&self) -> Vec<EngineId> {
        self.0.load().keys().cloned().collect()
    }

    pub(crate) fn digests(&self) -> BTreeSet<Digest> {
        let of = |slot: &Arc<Slot>| {
            let held: Vec<Digest> = slot.held.iter().map(|v| v.digest).collect();
            std::iter::once(slot.head.digest)
                .chain(held)
                .collect::<Vec<_>>()
        };
        self.0.load().values().flat_map(of).collect()
    }

    /// Changes one entry; the caller holds the lock of those who change.
    pub(crate) fn set(&self, id: &EngineId, slot: Option<Slot>) {
        let mut map = Map::clone(&self.0.load());
        match slot {
            Some(slot) => map.insert(id.clone(), Arc::new(slot)),
            None => map.remove(id),
        };
        self.0.store(Arc::new(map));
    }

    pub(crate) fn unknown(&self, id: &EngineId) -> EngineError {
        let names = self.names();
        let hint = nestor_core::text::did_you_mean(id.as_str(), names.iter().map(EngineId::as_str));
        EngineError::Unavailable {
            message: format!("there is no engine named {id}{hint}"),
            retry_after: None,
        }
    }

    /// The version that an operation began with, while it is held and good;
    /// else the head.
    pub(crate) fn version(
        &self,
        id: &EngineId,
        digest: Option<&Digest>,
    ) -> Result<Arc<Version>, EngineError> {
        let map = self.0.load();
        let slot = map.get(id).ok_or_else(|| self.unknown(id))?;
        let held = digest
            .filter(|digest| **digest != slot.head.digest)
            .and_then(|digest| slot.held.iter().find(|v| v.digest == *digest))
            .filter(|version| !version.failed());
        Ok(Arc::clone(held.unwrap_or(&slot.head)))
    }
}
