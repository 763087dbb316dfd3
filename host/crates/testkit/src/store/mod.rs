//! What every adapter of the Store port must do.
//!
//! ```ignore
//! #[tokio::test(flavor = "multi_thread")]
//! async fn conforms() {
//!     nestor_testkit::store::conformance(&MyFactory).await;
//! }
//! ```

mod basics;
mod concurrency;
mod model;

use std::sync::Arc;

use async_trait::async_trait;
use nestor_core::ports::{Batch, Bytes, Guard, Store};

/// Makes stores for the suite.
#[async_trait]
pub trait Factory: Send + Sync {
    /// A store that is empty and shared with nobody.
    async fn fresh(&self) -> Arc<dyn Store>;
    /// Closes a store of `fresh` and opens the same again; an adapter that keeps
    /// nothing gives it back as it is.
    async fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store>;
}

/// Runs the whole suite.
///
/// # Panics
/// When the adapter does not keep the port's promises; the message says which.
pub async fn conformance(factory: &dyn Factory) {
    basics::reads_what_was_written(factory).await;
    basics::a_guard_decides_over_the_whole_batch(factory).await;
    basics::limits_are_errors_that_write_nothing(factory).await;
    basics::values_of_every_size(factory).await;
    basics::scans_in_pages(factory).await;
    basics::keeps_what_was_acknowledged(factory).await;
    model::behaves_like_a_map(factory).await;
    concurrency::guards_are_linearizable(factory).await;
    concurrency::readers_see_batches_whole(factory).await;
    concurrency::an_abandoned_commit_happens_whole_or_not(factory).await;
}

/// A batch that sets some pairs.
fn puts<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in pairs {
        batch.put(key, value.to_owned());
    }
    batch
}

fn guarded(guard: Guard, key: &str, value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.guard(guard).put(key, value.to_owned());
    batch
}

async fn get(store: &dyn Store, key: &str) -> Option<Bytes> {
    store.get(key).await.expect("a read")
}

async fn text(store: &dyn Store, key: &str) -> Option<String> {
    get(store, key)
        .await
        .map(|value| String::from_utf8(value.to_vec()).expect("text"))
}

async fn keys(store: &dyn Store, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let found = store.scan(prefix, after, limit).await.expect("a scan");
    found.into_iter().map(|(key, _)| key).collect()
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Xorshift64*: no dependency, good enough to vary a test.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % end
    }
}
