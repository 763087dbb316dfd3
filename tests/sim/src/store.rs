//! A disk that the host may die in front of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use nestor_core::ports::{Batch, Bytes, CommitError, Guard, Store, StoreError, Write};

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::trace::Trace;

/// What outlives every host.
pub struct Disk {
    documents: Mutex<BTreeMap<String, Bytes>>,
    trace: Arc<Trace>,
}

impl Disk {
    /// Empty.
    #[must_use]
    pub fn new(trace: Arc<Trace>) -> Self {
        Self {
            documents: Mutex::default(),
            trace,
        }
    }

    /// Everything, for the checks.
    #[must_use]
    pub fn documents(&self) -> BTreeMap<String, Bytes> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, batch: &Batch) -> Result<(), CommitError> {
        let mut documents = self.lock();
        for guard in &batch.guards {
            let (key, holds) = match guard {
                Guard::Absent(key) => (key, !documents.contains_key(key)),
                Guard::Equals(key, value) => (key, documents.get(key) == Some(value)),
            };
            if !holds {
                return Err(CommitError::Guard { key: key.clone() });
            }
        }
        for write in &batch.writes {
            match write {
                Write::Put(key, value) => {
                    self.trace.note(format!("put {key}"));
                    documents.insert(key.clone(), value.clone());
                }
                Write::Delete(key) => {
                    self.trace.note(format!("delete {key}"));
                    documents.remove(key);
                }
            }
        }
        Ok(())
    }
}

/// One host's view of the disk. Once the host is dead, nothing returns to it.
pub struct SimStore {
    disk: Arc<Disk>,
    clock: SimClock,
    host: Arc<Mutex<Host>>,
}

/// One host process.
pub struct Host {
    dice: Dice,
    /// Dies at one commit in so many; 0: never.
    dies_once_in: u64,
    dead: bool,
}

impl SimStore {
    /// A host that dies at one commit in `dies_once_in`; 0: never.
    #[must_use]
    pub fn new(disk: Arc<Disk>, clock: SimClock, dice: Dice, dies_once_in: u64) -> Self {
        let host = Host {
            dice,
            dies_once_in,
            dead: false,
        };
        Self {
            disk,
            clock,
            host: Arc::new(Mutex::new(host)),
        }
    }

    /// Whether the host died.
    #[must_use]
    pub fn dead(&self) -> bool {
        self.lock().dead
    }

    /// The host dies now.
    pub fn kill(&self) {
        self.lock().dead = true;
        self.clock.news();
    }

    fn lock(&self) -> MutexGuard<'_, Host> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never returns to a dead host.
    async fn alive(&self) {
        self.clock.news();
        if self.dead() {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Store for SimStore {
    // A new host starts when the old one is dead.
    fn exclusive(&self) -> bool {
        true
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.alive().await;
        // Others get their turn in between, as with a real disk.
        tokio::task::yield_now().await;
        self.alive().await;
        let (dies, before) = {
            let mut host = self.lock();
            let once_in = host.dies_once_in;
            let dies = once_in > 0 && host.dice.once_in(once_in);
            (dies, dies && host.dice.once_in(2))
        };
        if before {
            self.kill();
            self.disk.trace.note("the host dies before a commit");
            self.alive().await;
        }
        let result = self.disk.apply(&batch);
        if dies {
            self.kill();
            self.disk.trace.note("the host dies after a commit");
            self.alive().await;
        }
        result
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.alive().await;
        Ok(self.disk.lock().get(key).cloned())
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Bytes)>, StoreError> {
        self.alive().await;
        let documents = self.disk.lock();
        let page = documents
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()));
        Ok(page.collect())
    }
}
