//! The engine's small map, on the host's durable store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nestor_core::engine::Home;
use nestor_core::ids::EngineId;
use nestor_core::ports::{Batch, Bytes, CommitError, Store};
use nestor_core::units::show_size;

use crate::bindings::nestor::engine::store;
use crate::call::CallState;

/// With the longest prefix this stays within the store's own limit.
const MAX_KEY: usize = 200;
/// What an entry costs besides its bytes; bounds their number as well.
const PER_ENTRY: u64 = 64;
/// Keys read at once.
const PAGE: usize = 256;
/// A local commit takes milliseconds; a lost database connection for ever.
const DEADLINE: Duration = Duration::from_secs(10);

/// Under which all maps are.
pub(crate) const MAPS: &str = "kv/";

/// Under which the map of an engine for a resource is.
pub(crate) fn map_of(engine: &EngineId, home: &Home) -> String {
    format!("{MAPS}{engine}/{}/{}/", home.deployment, home.folder())
}

/// The map of one engine for one resource.
pub(crate) struct KeyValues {
    /// None where there is no resource: `describe` and `check`.
    scope: Option<(Arc<dyn Store>, String)>,
    quota: u64,
    /// Sizes of what is there, read when first needed. Two calls for a resource
    /// never overlap, so nobody else changes it.
    sizes: Option<BTreeMap<String, u64>>,
}

impl KeyValues {
    pub(crate) fn new(store: Arc<dyn Store>, quota: u64, engine: &EngineId, home: &Home) -> Self {
        Self {
            scope: Some((store, map_of(engine, home))),
            quota,
            sizes: None,
        }
    }

    pub(crate) fn none() -> Self {
        Self {
            scope: None,
            quota: 0,
            sizes: None,
        }
    }

    fn scope(&self) -> Result<(Arc<dyn Store>, String), String> {
        self.scope
            .clone()
            .ok_or_else(|| "the store belongs to a resource; describe and check have none".into())
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        let (store, prefix) = self.scope()?;
        let key = full_key(&prefix, key)?;
        let value = within(async move { store.get(&key).await.map_err(|e| e.to_string()) }).await?;
        Ok(value.map(|bytes| bytes.to_vec()))
    }

    async fn put(&mut self, key: &str, value: Vec<u8>) -> Result<(), String> {
        let (store, prefix) = self.scope()?;
        let full = full_key(&prefix, key)?;
        let quota = self.quota;
        let sizes = self.sizes().await?;
        let size = entry_size(key, value.len());
        let others: u64 = sizes
            .iter()
            .filter(|(k, _)| *k != key)
            .map(|(_, size)| size)
            .sum();
        if others.saturating_add(size) > quota {
            return Err(format!(
                "the engine's store for this resource would exceed its quota of {}; raise kv.quota in its engine.toml and its grant",
                show_size(quota)
            ));
        }
        let mut batch = Batch::new();
        batch.put(full, Bytes::from(value));
        within(async move { store.commit(batch).await.map_err(commit_failed) }).await?;
        if let Some(sizes) = &mut self.sizes {
            sizes.insert(key.to_owned(), size);
        }
        Ok(())
    }

    async fn delete(&mut self, key: &str) -> Result<(), String> {
        let (store, prefix) = self.scope()?;
        let mut batch = Batch::new();
        batch.delete(full_key(&prefix, key)?);
        within(async move { store.commit(batch).await.map_err(commit_failed) }).await?;
        if let Some(sizes) = &mut self.sizes {
            sizes.remove(key);
        }
        Ok(())
    }

    async fn keys(&mut self, prefix: &str) -> Result<Vec<String>, String> {
        let sizes = self.sizes().await?;
        Ok(sizes
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, _)| key.clone())
            .collect())
    }

    async fn sizes(&mut self) -> Result<&BTreeMap<String, u64>, String> {
        if self.sizes.is_none() {
            let (store, prefix) = self.scope()?;
            let read = within(async move {
                let mut sizes = BTreeMap::new();
                let mut after: Option<String> = None;
                loop {
                    let page = store
                        .scan(&prefix, after.as_deref(), PAGE)
                        .await
                        .map_err(|e| e.to_string())?;
                    let full = page.len() == PAGE;
                    after = page.last().map(|(key, _)| key.clone());
                    for (key, value) in page {
                        let key = key[prefix.len()..].to_owned();
                        let size = entry_size(&key, value.len());
                        sizes.insert(key, size);
                    }
                    if !full {
                        return Ok(sizes);
                    }
                }
            });
            self.sizes = Some(read.await?);
        }
        Ok(self.sizes.get_or_insert_default())
    }
}

fn entry_size(key: &str, value: usize) -> u64 {
    PER_ENTRY + key.len() as u64 + value as u64
}

/// The store is flat, so a key with `../` in it is only an odd name; but
/// nothing that could break a line of a log is let in.
fn full_key(prefix: &str, key: &str) -> Result<String, String> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(format!(
            "a key must have 1 to {MAX_KEY} bytes; this one has {}",
            key.len()
        ));
    }
    if key.chars().any(char::is_control) {
        return Err("a key must not have control characters".into());
    }
    Ok(format!("{prefix}{key}"))
}

fn commit_failed(error: CommitError) -> String {
    error.to_string()
}

async fn within<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(DEADLINE, work)
        .await
        .unwrap_or_else(|_| {
            Err(format!(
                "the host's store did not answer within {DEADLINE:?}"
            ))
        })
}

impl store::Host for CallState {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, String>> {
        Ok(self.key_values.get(&key).await)
    }

    async fn put(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        Ok(self.key_values.put(&key, value).await)
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), String>> {
        Ok(self.key_values.delete(&key).await)
    }

    async fn keys(&mut self, prefix: String) -> wasmtime::Result<Result<Vec<String>, String>> {
        Ok(self.key_values.keys(&prefix).await)
    }
}
