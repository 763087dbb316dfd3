//! A store that lives as long as the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use nestor_core::ports::{Batch, Bytes, CommitError, Guard, Store, StoreError, Write};

use crate::limits::{check_batch, check_key};

/// For tests: everything the port promises except that it survives the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    pairs: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn pairs(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        // Nothing panics while the map is half-changed.
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    // Nothing outlives the process.
    fn exclusive(&self) -> bool {
        true
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        check_batch(&batch)?;
        let mut pairs = self.pairs();
        for guard in &batch.guards {
            let (key, holds) = match guard {
                Guard::Absent(key) => (key, !pairs.contains_key(key)),
                Guard::Equals(key, value) => (key, pairs.get(key) == Some(value)),
            };
            if !holds {
                return Err(CommitError::Guard { key: key.clone() });
            }
        }
        for write in batch.writes {
            match write {
                Write::Put(key, value) => pairs.insert(key, value),
                Write::Delete(key) => pairs.remove(&key),
            };
        }
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        check_key(key)?;
        Ok(self.pairs().get(key).cloned())
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Bytes)>, StoreError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let pairs = self.pairs();
        let found = pairs
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()));
        Ok(found.collect())
    }
}
