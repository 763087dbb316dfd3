//! Hosts that die.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use nestor_core::ports::{Batch, Bytes, CommitError, Store, StoreError};

/// A store that is gone after some commits, as when the process dies.
pub(crate) struct Dies {
    store: Arc<dyn Store>,
    left: AtomicUsize,
    pub(crate) dead: AtomicBool,
}

impl Dies {
    pub(crate) fn after(commits: usize, store: &Arc<dyn Store>) -> Self {
        Self {
            store: Arc::clone(store),
            left: AtomicUsize::new(commits),
            dead: AtomicBool::new(false),
        }
    }
}

#[async_trait]
impl Store for Dies {
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if left.is_ok() {
            return self.store.commit(batch).await;
        }
        self.dead.store(true, Ordering::SeqCst);
        Err(CommitError::Store(StoreError::Failed("dead".into())))
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.store.get(key).await
    }
    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Bytes)>, StoreError> {
        self.store.scan(prefix, after, limit).await
    }
    fn exclusive(&self) -> bool {
        true
    }
}
