//! Both adapters keep the port's promises.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use nestor_core::ports::Store;
use nestor_store::{MemoryStore, SledOptions, SledStore};
use nestor_testkit::store::{Factory, conformance};

struct Memory;

#[async_trait]
impl Factory for Memory {
    async fn fresh(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new())
    }
    async fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store
    }
}

/// A folder per store; the last one opened is the one to open again.
struct Sled {
    root: tempfile::TempDir,
    stores: Mutex<u32>,
}

impl Sled {
    fn path(&self) -> PathBuf {
        let number = *self.stores.lock().unwrap();
        self.root.path().join(format!("store-{number}"))
    }
}

#[async_trait]
impl Factory for Sled {
    async fn fresh(&self) -> Arc<dyn Store> {
        *self.stores.lock().unwrap() += 1;
        Arc::new(SledStore::open(self.path(), &SledOptions::default()).unwrap())
    }
    async fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        assert_eq!(
            Arc::strong_count(&store),
            1,
            "somebody still uses the store"
        );
        drop(store);
        Arc::new(SledStore::open(self.path(), &SledOptions::default()).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms() {
    conformance(&Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sled_conforms() {
    let factory = Sled {
        root: tempfile::tempdir().unwrap(),
        stores: Mutex::new(0),
    };
    conformance(&factory).await;
}
