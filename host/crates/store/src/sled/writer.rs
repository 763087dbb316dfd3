//! The one thread that writes. `flush_async` of sled deadlocks under load, and
//! its `flush` does not sync small writes; so the thread flushes and then calls
//! `fdatasync` on a handle of its own.

use std::fs::File;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use nestor_core::ports::{Batch, CommitError, StoreError, Write};
use tokio::sync::{mpsc, oneshot};

use super::group::Group;
use super::layout::{self, Pieces};
use super::{Inner, failed};
use crate::metrics;

/// Commits of one flush at most: beyond this the sync is a small part of the
/// cost, and the first one waits longer for nothing.
const MAX_GROUP: usize = 1024;
/// Bytes of one flush, about; a larger commit goes alone.
const MAX_GROUP_BYTES: usize = 8 << 20;

/// A commit that waits.
pub(super) struct Request {
    pub(super) batch: Batch,
    pub(super) reply: oneshot::Sender<Result<(), CommitError>>,
}

type Reply = (
    oneshot::Sender<Result<(), CommitError>>,
    Result<(), CommitError>,
);

/// Starts the thread. It ends when every sender is gone and the queue is empty.
pub(super) fn spawn(
    inner: Arc<Inner>,
    file: File,
    requests: mpsc::Receiver<Request>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("nestor-store".into())
        .spawn(move || run(&inner, &file, requests))
}

fn run(inner: &Inner, file: &File, mut requests: mpsc::Receiver<Request>) {
    let mut next_id = match layout::next_id(&inner.db) {
        Ok(id) => id,
        Err(error) => return inner.pending.fail(error),
    };
    while let Some(first) = requests.blocking_recv() {
        let began = Instant::now();
        let gathered = gather(first, &mut requests);
        let (group, replies) = decide(inner, gathered);
        let written = if group.keys.is_empty() {
            Ok(())
        } else {
            write(inner, file, group, &mut next_id)
        };
        metrics::group(replies.len(), began.elapsed());
        answer(replies, written);
    }
    if let Err(error) = inner.db.flush().and_then(|_| Ok(file.sync_all()?)) {
        tracing::error!(%error, "the store could not be flushed while closing; what was acknowledged is safe");
    }
}

/// What waits already, without waiting for more: while one group is synced
/// the next one gathers by itself.
fn gather(first: Request, requests: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let mut bytes = size(&first.batch);
    let mut gathered = vec![first];
    while gathered.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
        let Ok(next) = requests.try_recv() else { break };
        bytes += size(&next.batch);
        gathered.push(next);
    }
    gathered
}

fn size(batch: &Batch) -> usize {
    let sizes = batch.writes.iter().map(|write| match write {
        Write::Put(key, value) => key.len() + value.len(),
        Write::Delete(key) => key.len(),
    });
    sizes.sum()
}

/// Checks the guards of each commit in order. Nobody is answered yet: a guard
/// may have failed by a write that is not durable.
fn decide(inner: &Inner, gathered: Vec<Request>) -> (Group, Vec<Reply>) {
    let mut group = Group::default();
    let mut replies = Vec::with_capacity(gathered.len());
    for Request { batch, reply } in gathered {
        let verdict = inner.pending.refuse_if_failed().map_err(CommitError::Store);
        let verdict = verdict.and_then(|()| group.add(batch, |key| inner.read(key)));
        replies.push((reply, verdict));
    }
    (group, replies)
}

/// Makes a group durable. After an error nothing can be trusted any more: the
/// kernel drops what it failed to write, and a second sync would claim success.
fn write(inner: &Inner, file: &File, group: Group, next_id: &mut u64) -> Result<(), StoreError> {
    let batch = sled_batch(inner, &group, next_id)?;
    inner.pending.begin(group.keys);
    let result = apply(inner, file, batch);
    match &result {
        Ok(()) => inner.pending.end(),
        Err(error) => {
            tracing::error!(%error, "the store failed and refuses every call from now on; restart the host");
            inner.pending.fail(error.clone());
        }
    }
    result
}

fn apply(inner: &Inner, file: &File, batch: sled::Batch) -> Result<(), StoreError> {
    {
        let _whole = inner
            .applying
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        inner.db.apply_batch(batch).map_err(failed)?;
    }
    inner.db.flush().map_err(failed)?;
    file.sync_data()
        .map_err(|e| StoreError::Failed(format!("fdatasync: {e}")))
}

fn sled_batch(inner: &Inner, group: &Group, next_id: &mut u64) -> Result<sled::Batch, StoreError> {
    let mut batch = sled::Batch::default();
    for (key, value) in &group.keys {
        let stored = inner.db.get(layout::key(key)).map_err(failed)?;
        if let Some(pieces) = stored.as_ref().and_then(|stored| Pieces::of(stored)) {
            pieces.keys().for_each(|piece| batch.remove(piece));
        }
        match value {
            Some(value) => layout::insert(&mut batch, key, value, next_id),
            None if stored.is_some() => batch.remove(layout::key(key)),
            None => {}
        }
    }
    Ok(batch)
}

fn answer(replies: Vec<Reply>, written: Result<(), StoreError>) {
    for (reply, verdict) in replies {
        let answer = match &written {
            Ok(()) => verdict,
            Err(error) => Err(CommitError::Store(error.clone())),
        };
        // Nobody waits any more: fine, the port says the outcome is then unknown.
        let _ = reply.send(answer);
    }
}
