//! The default store: one host, one folder, no server.
//!
//! ```text
//! commit ──bounded queue──► writer thread: gather ► guards ► one sled batch
//!                           ► flush ► fdatasync ► acknowledge all of them
//! get, scan ──► sled directly, waiting only for a commit of the same keys
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`folder`] | the lock, the format marker, opening sled |
//! | [`layout`] | keys and values as sled holds them |
//! | [`writer`] | the one thread that writes |
//! | [`group`] | what the commits of one flush do together |
//! | [`pending`] | what is visible in sled but not durable yet |

mod folder;
mod group;
mod layout;
mod pending;
mod writer;

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use ::sled::Db;
use async_trait::async_trait;
use nestor_core::ports::{Batch, Bytes, CommitError, Store, StoreError};
use tokio::sync::{mpsc, oneshot};

use folder::Folder;
pub use folder::OpenError;
use pending::Pending;
use writer::Request;

use crate::limits::{check_batch, check_key};

/// Commits that wait for the writer thread. More wait in `commit` itself, so
/// a host that takes in more than its disk can write slows down instead of growing.
const QUEUE: usize = 1024;

/// Sled's page cache. The documents that matter are a few megabytes, and an
/// idle host shall stay below 80 MB; the operating system caches the file anyway.
pub const DEFAULT_CACHE_BYTES: u64 = 16 << 20;

/// From this many pairs on a scan runs on a blocking thread: handing it over
/// costs as much as reading some tens of pairs.
const INLINE_SCAN: usize = 64;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// Sled's page cache, in bytes.
    pub cache_bytes: u64,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self {
            cache_bytes: DEFAULT_CACHE_BYTES,
        }
    }
}

/// A durable store in a folder, for one process at a time.
///
/// A commit is durable (`fdatasync`) when it returns, and neither `get` nor
/// `scan` ever shows what is not durable yet. A scan shows a batch whole or not
/// at all. After an I/O error while writing the store refuses every call, as
/// what is on disk is then unknown: restart the host.
pub struct SledStore {
    inner: Arc<Inner>,
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What readers and the writer thread share.
struct Inner {
    db: Db,
    /// Held for writing while a batch goes into sled, so that readers see it
    /// whole: sled's own iterators would see parts.
    applying: RwLock<()>,
    pending: Pending,
    /// Released last.
    folder: Folder,
}

impl SledStore {
    /// Opens the store in a folder, or creates it.
    ///
    /// # Errors
    /// When another process has it open (the message says which), when the
    /// folder holds something else or a newer format, or when it cannot be
    /// read or written.
    pub fn open(path: impl Into<PathBuf>, options: &SledOptions) -> Result<Self, OpenError> {
        let (folder, db) = Folder::open(path.into(), options.cache_bytes)?;
        let file = folder.data_file()?;
        let inner = Arc::new(Inner {
            db,
            applying: RwLock::new(()),
            pending: Pending::new(),
            folder,
        });
        let (queue, requests) = mpsc::channel(QUEUE);
        let writer =
            writer::spawn(inner.clone(), file, requests).map_err(|source| OpenError::Io {
                path: inner.folder.path().to_owned(),
                doing: "starting its writer thread",
                source,
            })?;
        Ok(Self {
            inner,
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.inner.folder.path()
    }

    /// Bytes of the store's files.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.inner.db.size_on_disk().map_err(failed)
    }

    /// Finishes what is queued and stops; commits after this fail. The folder is
    /// free for another store once this one is dropped, which also closes it.
    pub async fn close(&self) {
        self.take_queue();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            // The thread cannot panic past its own catch; a join error is then nothing new.
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }

    fn take_queue(&self) -> Option<mpsc::Sender<Request>> {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn queue(&self) -> Result<mpsc::Sender<Request>, StoreError> {
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        queue.ok_or_else(|| StoreError::Failed("it is closed".into()))
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.take_queue();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            // At most one flush of what is queued; the folder is free afterwards.
            let _ = writer.join();
        }
    }
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for SledStore {
    // The folder is locked.
    fn exclusive(&self) -> bool {
        true
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        check_batch(&batch)?;
        self.inner.pending.refuse_if_failed()?;
        let (reply, answer) = oneshot::channel();
        let stopped =
            || StoreError::Failed("its writer thread has stopped; restart the host".into());
        self.queue()?
            .send(Request { batch, reply })
            .await
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        check_key(key)?;
        let value = self.inner.read(key)?;
        self.inner
            .pending
            .settle(|keys| keys.contains_key(key))
            .await?;
        Ok(value)
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Bytes)>, StoreError> {
        let found = if limit <= INLINE_SCAN {
            self.inner.read_range(prefix, after, limit)?
        } else {
            let (inner, prefix, after) = (
                self.inner.clone(),
                prefix.to_owned(),
                after.map(str::to_owned),
            );
            tokio::task::spawn_blocking(move || inner.read_range(&prefix, after.as_deref(), limit))
                .await
                .map_err(|e| StoreError::Failed(format!("a scan ended early: {e}")))??
        };
        let touched = |keys: &pending::Keys| {
            let from = (Bound::Included(prefix), Bound::Unbounded);
            let mut keys = keys.range::<str, _>(from);
            keys.next().is_some_and(|(key, _)| key.starts_with(prefix))
        };
        self.inner.pending.settle(touched).await?;
        Ok(found)
    }
}

impl Inner {
    /// As sled has it, durable or not.
    fn read(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let _whole = self.applying.read().unwrap_or_else(PoisonError::into_inner);
        let Some(stored) = self.db.get(layout::key(key)).map_err(failed)? else {
            return Ok(None);
        };
        layout::load(&self.db, key, &stored).map(Some)
    }

    fn read_range(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Bytes)>, StoreError> {
        let _whole = self.applying.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for pair in self.db.range(layout::range(prefix, after)).take(limit) {
            let (stored_key, stored) = pair.map_err(failed)?;
            let key = layout::user_key(&stored_key)?;
            if !key.starts_with(prefix) {
                break;
            }
            let value = layout::load(&self.db, key, &stored)?;
            found.push((key.to_owned(), value));
        }
        Ok(found)
    }
}

fn failed(error: sled::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}
