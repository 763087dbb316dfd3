//! What is visible in sled but not durable yet. A reader that met such a key
//! waits for the flush, so nobody acts on what a crash could take back.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use nestor_core::ports::{Bytes, StoreError};
use tokio::sync::watch;

/// The writes of a group: key to value, none for a removal.
pub(super) type Keys = BTreeMap<String, Option<Bytes>>;

pub(super) struct Pending {
    state: RwLock<State>,
    /// The number of groups that are durable.
    durable: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// The group that is being made durable.
    keys: Keys,
    /// Its number; 0 when there was none.
    number: u64,
    failed: Option<StoreError>,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self {
            state: RwLock::default(),
            durable: watch::channel(0).0,
        }
    }

    /// Announces a group. Called before any of it is visible.
    pub(super) fn begin(&self, keys: Keys) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.keys = keys;
        state.number += 1;
    }

    /// The group is durable.
    pub(super) fn end(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let done = std::mem::take(&mut state.keys);
        let number = state.number;
        drop(state);
        self.durable.send_replace(number);
        drop(done);
    }

    /// Whether the group is durable is unknown, for ever.
    pub(super) fn fail(&self, error: StoreError) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.failed = Some(error);
        let number = state.number;
        drop(state);
        self.durable.send_replace(number);
    }

    pub(super) fn refuse_if_failed(&self) -> Result<(), StoreError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.failed.clone().map_or(Ok(()), Err)
    }

    /// Waits until what was read before is durable. `touched` says whether the
    /// keys of a group were among it.
    pub(super) async fn settle(
        &self,
        touched: impl FnOnce(&Keys) -> bool,
    ) -> Result<(), StoreError> {
        let number = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if !touched(&state.keys) {
                return Ok(());
            }
            state.number
        };
        // The sender lives as long as this value.
        let _ = self
            .durable
            .subscribe()
            .wait_for(|durable| *durable >= number)
            .await;
        self.refuse_if_failed()
    }
}
