//! The durable store: ordered keys, and batches that happen whole or not at
//! all, under guards. Journals, leases and documents are built on it by the
//! orchestrator, so an adapter has little to get wrong.

use async_trait::async_trait;
pub use bytes::Bytes;

/// Keys are short paths such as `run/web-app/3`; the bound keeps index pages small.
pub const MAX_KEY_BYTES: usize = 512;
/// A value is one document; the largest is a run's plan. What a client may
/// send is bounded lower than this.
pub const MAX_VALUE_BYTES: usize = 64 << 20;

/// An ordered, durable map.
#[async_trait]
pub trait Store: Send + Sync {
    /// Applies a batch: all of its writes if every guard holds, else none.
    ///
    /// Durable when it returns `Ok`: a crash, also of the machine, right after
    /// loses nothing; a crash before leaves either all of it or nothing.
    /// Batches are linearizable: guards see every batch that returned before.
    async fn commit(&self, batch: Batch) -> Result<(), CommitError>;
    /// One value.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;
    /// Up to `limit` pairs whose key starts with `prefix` and is greater than
    /// `after`, in byte order.
    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Bytes)>, StoreError>;
    /// Whether this process has the store for itself: what another one had
    /// under way in it is certainly dead by now.
    fn exclusive(&self) -> bool {
        false
    }
}

/// Writes that happen together, and the conditions under which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// All must hold.
    pub guards: Vec<Guard>,
    /// In order; a later write to the same key wins.
    pub writes: Vec<Write>,
}

/// A condition on the store as it is before the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// There is no such key.
    Absent(String),
    /// The key has exactly this value. A lease document with its fencing token
    /// in it, guarded so, refuses every write of a stale holder.
    Equals(String, Bytes),
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a value.
    Put(String, Bytes),
    /// Removes a key; absent is fine.
    Delete(String),
}

impl Write {
    /// How large its value is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put(_, value) => value.len(),
            Self::Delete(_) => 0,
        }
    }
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a write.
    pub fn put(&mut self, key: impl Into<String>, value: impl Into<Bytes>) -> &mut Self {
        self.writes.push(Write::Put(key.into(), value.into()));
        self
    }
    /// Adds a removal.
    pub fn delete(&mut self, key: impl Into<String>) -> &mut Self {
        self.writes.push(Write::Delete(key.into()));
        self
    }
    /// Adds a guard.
    pub fn guard(&mut self, guard: Guard) -> &mut Self {
        self.guards.push(guard);
        self
    }
}

/// Why a batch was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A guard did not hold; the number is its place in the batch. Nothing was written.
    #[error("the guard on {key} does not hold")]
    Guard {
        /// The guarded key.
        key: String,
    },
    /// The store failed; whether the batch was written is unknown.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A key or value outside the limits; nothing was written.
    #[error("{0}")]
    Limit(String),
    /// The adapter's own trouble, for the operator's log.
    #[error("the store failed: {0}")]
    Failed(String),
}
