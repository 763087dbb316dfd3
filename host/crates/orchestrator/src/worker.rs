//! This process among those that share the store, and which of them works on
//! which deployment.
//!
//! A deployment's lease names the worker and carries a fencing token: every
//! write about the deployment is guarded by the lease as it was taken, so a
//! worker that lost it cannot write. Leases do not expire one by one: a worker
//! says in one document that it is alive, and its leases are as good as that.
//! A hundred thousand leases cost one write every few seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use nestor_core::ids::{DeploymentId, Timestamp};
use nestor_core::ports::{Batch, Bytes, CommitError, Guard, Store, StoreError};

use crate::records::{decode, encode, key};

/// How long a worker that says nothing counts as alive. A pause of the process
/// or the store shorter than this costs nothing; work of a dead worker waits
/// this long.
pub(crate) const WORKER_TTL_MS: u64 = 15_000;
/// How often a worker says that it is alive: two may be lost.
pub(crate) const BEAT_MS: u64 = WORKER_TTL_MS / 3;
/// What a worker needs to have left when it begins a call: its next beat comes
/// before that, so that it does not lose its leases in the middle.
const MARGIN_MS: u64 = BEAT_MS + 1_000;
/// Attempts against workers that do the same at the same moment.
const ATTEMPTS: usize = 16;
/// In the place of a worker's number: nobody.
const NOBODY: u64 = 0;
/// A worker's leases hold for as long as its process lives.
const FOR_EVER: u64 = u64::MAX;

/// Who works on a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseRecord {
    /// Grows with each time that the lease changes hands.
    pub(crate) token: u64,
    /// Whose it is; nobody's when 0.
    pub(crate) worker: u64,
}

impl LeaseRecord {
    /// Nobody has it.
    pub(crate) fn is_nobodys(&self) -> bool {
        self.worker == NOBODY
    }

    /// Nobody's still, and none of those that had it can write any more.
    pub(crate) fn passed_on(&self) -> Self {
        Self {
            token: self.token + 1,
            worker: self.worker,
        }
    }
}

/// A worker that is, or was, alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerRecord {
    /// Alive until then, if it says nothing before.
    pub(crate) until: Timestamp,
}

/// A lease that this worker took, as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    token: u64,
    raw: Bytes,
    /// The number under which it was taken.
    worker: u64,
}

impl Lease {
    /// Holds as long as nobody else took the lease.
    pub(crate) fn guard(&self, id: &DeploymentId) -> Guard {
        Guard::Equals(key::lease(id), self.raw.clone())
    }

    /// The number of the worker that took it.
    pub(crate) fn worker(&self) -> u64 {
        self.worker
    }

    /// The same for a lease that is not a deployment's.
    pub(crate) fn guard_at(&self, at: String) -> Guard {
        Guard::Equals(at, self.raw.clone())
    }

    /// Gives the lease up with the rest of a batch.
    pub(crate) fn give_up(&self, id: &DeploymentId, batch: &mut Batch) {
        let nobody = LeaseRecord {
            token: self.token,
            worker: NOBODY,
        };
        batch.put(key::lease(id), encode(&nobody));
    }
}

/// Why a lease was not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// Another worker that is alive has it; worth another look then.
    Held(Timestamp),
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for NotTaken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// This process.
pub(crate) struct Worker {
    store: Arc<dyn Store>,
    number: AtomicU64,
    alive_until: AtomicU64,
}

impl Worker {
    /// Registers a new worker. In a store that one process has for itself,
    /// whoever was registered before is dead.
    pub(crate) async fn register(
        store: Arc<dyn Store>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let worker = Self {
            store,
            number: AtomicU64::new(NOBODY),
            alive_until: AtomicU64::new(0),
        };
        worker.register_again(now).await?;
        Ok(worker)
    }

    async fn register_again(&self, now: Timestamp) -> Result<(), StoreError> {
        let counter = key::WORKER_COUNTER;
        for _ in 0..ATTEMPTS {
            let old = self.store.get(counter).await?;
            let last: u64 = match &old {
                Some(raw) => decode(counter, raw)?,
                None => 0,
            };
            let number = last + 1;
            let mut batch = Batch::new();
            batch.guard(match old {
                Some(raw) => Guard::Equals(counter.into(), raw),
                None => Guard::Absent(counter.into()),
            });
            batch.put(counter, encode(&number));
            let until = if self.store.exclusive() {
                FOR_EVER
            } else {
                let until = now.plus_millis(WORKER_TTL_MS);
                batch.put(key::worker(number), encode(&WorkerRecord { until }));
                until.0
            };
            match self.store.commit(batch).await {
                Ok(()) => {
                    self.number.store(number, Ordering::SeqCst);
                    self.alive_until.store(until, Ordering::SeqCst);
                    return Ok(());
                }
                Err(CommitError::Guard { .. }) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        Err(StoreError::Failed(
            "too many workers register at the same moment".into(),
        ))
    }

    /// Whether others may still count on the leases that this worker took under
    /// that number. Once not, it must begin nothing for them: also not when it
    /// has come back under another number, as others may have taken them
    /// meanwhile.
    pub(crate) fn alive_as(&self, number: u64, now: Timestamp) -> bool {
        number == self.number.load(Ordering::SeqCst)
            && now.plus_millis(MARGIN_MS).0 < self.alive_until.load(Ordering::SeqCst)
    }

    /// This process among those that share the store.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::SeqCst)
    }

    /// Whether others may still count on this worker's leases. Once not, it
    /// must begin nothing.
    pub(crate) fn alive(&self, now: Timestamp) -> bool {
        now.0 < self.alive_until.load(Ordering::SeqCst)
    }

    /// Says that it is alive. A worker that was declared dead meanwhile comes
    /// back under a new number; its old leases are not its own any more.
    pub(crate) async fn beat(&self, now: Timestamp) -> Result<(), StoreError> {
        let at = key::worker(self.number.load(Ordering::SeqCst));
        let Some(raw) = self.store.get(&at).await? else {
            return self.register_again(now).await;
        };
        let record: WorkerRecord = decode(&at, &raw)?;
        if record.until <= now {
            return self.register_again(now).await;
        }
        let until = now.plus_millis(WORKER_TTL_MS);
        let mut batch = Batch::new();
        batch
            .guard(Guard::Equals(at.clone(), raw))
            .put(at, encode(&WorkerRecord { until }));
        match self.store.commit(batch).await {
            Ok(()) => {
                self.alive_until.store(until.0, Ordering::SeqCst);
                Ok(())
            }
            Err(CommitError::Guard { .. }) => self.register_again(now).await,
            Err(CommitError::Store(error)) => Err(error),
        }
    }

    /// Lets others take over at once.
    pub(crate) async fn leave(&self) {
        self.alive_until.store(0, Ordering::SeqCst);
        if self.store.exclusive() {
            return;
        }
        let mut batch = Batch::new();
        batch.delete(key::worker(self.number.load(Ordering::SeqCst)));
        if let Err(error) = self.store.commit(batch).await {
            tracing::warn!(%error, "others wait until this worker counts as dead");
        }
    }

    /// Makes this worker the only one whose writes about a deployment count.
    pub(crate) async fn take(&self, id: &DeploymentId, now: Timestamp) -> Result<Lease, NotTaken> {
        self.take_at(&key::lease(id), now).await
    }

    /// Takes the lease at a key.
    pub(crate) async fn take_at(&self, at: &str, now: Timestamp) -> Result<Lease, NotTaken> {
        let mine = self.number.load(Ordering::SeqCst);
        for _ in 0..ATTEMPTS {
            let old = self.store.get(at).await?;
            let mut batch = Batch::new();
            let token = match old {
                None => {
                    batch.guard(Guard::Absent(at.into()));
                    1
                }
                Some(raw) => {
                    let lease: LeaseRecord = decode(at, &raw)?;
                    self.must_be_free(lease.worker, mine, now, &mut batch)
                        .await?;
                    batch.guard(Guard::Equals(at.into(), raw));
                    lease.token + 1
                }
            };
            let raw = encode(&LeaseRecord {
                token,
                worker: mine,
            });
            batch.put(at, raw.clone());
            match self.store.commit(batch).await {
                Ok(()) => {
                    return Ok(Lease {
                        token,
                        raw,
                        worker: mine,
                    });
                }
                // Somebody was faster, or is alive after all: look again.
                Err(CommitError::Guard { .. }) => {}
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(NotTaken::Held(now.plus_millis(BEAT_MS)))
    }

    /// That the worker who has the lease is dead is part of the guard: if it
    /// says meanwhile that it is alive, the lease stays its own.
    async fn must_be_free(
        &self,
        holder: u64,
        mine: u64,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), NotTaken> {
        if holder == NOBODY || holder == mine || self.store.exclusive() {
            return Ok(());
        }
        let at = key::worker(holder);
        match self.store.get(&at).await? {
            None => batch.guard(Guard::Absent(at)),
            Some(raw) => {
                let record: WorkerRecord = decode(&at, &raw)?;
                if record.until > now {
                    return Err(NotTaken::Held(record.until));
                }
                // Declared dead in the same moment: were its document still
                // there, it could come back to life by a beat that was on its
                // way, and count on a lease that it has lost.
                batch.guard(Guard::Equals(at.clone(), raw)).delete(at)
            }
        };
        Ok(())
    }
}
