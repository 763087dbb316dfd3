//! Many tasks at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nestor_core::ports::{Batch, CommitError, Guard};
use tokio::task::JoinSet;

use super::{Factory, Random, get, puts, text};

const TASKS: u64 = 32;

/// A counter that tasks raise by compare-and-swap. As it only grows, reads can
/// be checked exactly: no less than what was there when the read began, no more
/// than what could be there when it ended.
pub(super) async fn guards_are_linearizable(factory: &dyn Factory) {
    const RAISES: u64 = 40;
    let store = factory.fresh().await;
    store
        .commit(puts([("counter", "0")]))
        .await
        .expect("a commit");
    let (acknowledged, begun) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (store, acknowledged, begun) = (store.clone(), acknowledged.clone(), begun.clone());
        tasks.spawn(async move {
            for raise in 0..RAISES {
                loop {
                    let before = acknowledged.load(Ordering::SeqCst);
                    let now = get(&*store, "counter").await.expect("the counter");
                    let value: u64 = std::str::from_utf8(&now)
                        .expect("text")
                        .parse()
                        .expect("a number");
                    assert!(
                        value >= before,
                        "read {value} after {before} was acknowledged"
                    );
                    assert!(
                        value <= begun.load(Ordering::SeqCst),
                        "read {value} before anybody wrote it"
                    );
                    begun.fetch_max(value + 1, Ordering::SeqCst);
                    let mut batch = Batch::new();
                    batch.guard(Guard::Equals("counter".into(), now));
                    batch.put("counter", (value + 1).to_string());
                    batch.put(format!("winner/{}", value + 1), format!("{task}/{raise}"));
                    match store.commit(batch).await {
                        Ok(()) => {
                            acknowledged.fetch_max(value + 1, Ordering::SeqCst);
                            break;
                        }
                        Err(CommitError::Guard { .. }) => {}
                        Err(CommitError::Store(error)) => panic!("{error}"),
                    }
                }
            }
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.expect("a task");
    }
    let total = (TASKS * RAISES).to_string();
    assert_eq!(
        text(&*store, "counter").await,
        Some(total),
        "every acknowledged raise counts once"
    );
    let mut winners = store.scan("winner/", None, 10_000).await.expect("a scan");
    winners.sort_by(|a, b| a.1.cmp(&b.1));
    winners.dedup_by(|a, b| a.1 == b.1);
    assert_eq!(
        winners.len() as u64,
        TASKS * RAISES,
        "nobody won twice with one raise"
    );
}

/// Writers keep groups of keys equal; no scan may see them differ.
pub(super) async fn readers_see_batches_whole(factory: &dyn Factory) {
    const KEYS: usize = 20;
    let store = factory.fresh().await;
    let write = |value: String| {
        let mut batch = Batch::new();
        for key in 0..KEYS {
            // Some of a size that adapters may cut.
            let padding = if key % 7 == 0 { 20_000 } else { 0 };
            batch.put(format!("same/{key:02}"), format!("{value}{:padding$}", ""));
        }
        batch
    };
    store.commit(write("start".into())).await.expect("a commit");
    let stop = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let (store, stop) = (store.clone(), stop.clone());
        readers.spawn(async move {
            let mut scans = 0;
            while !stop.load(Ordering::SeqCst) {
                let found = store.scan("same/", None, 100).await.expect("a scan");
                assert_eq!(found.len(), KEYS);
                let mut values = found
                    .iter()
                    .map(|(_, v)| v.split(|b| *b == b' ').next().unwrap_or(&[]));
                let first = values.next().expect("one");
                assert!(values.all(|v| v == first), "a scan saw half of a batch");
                scans += 1;
                tokio::task::yield_now().await;
            }
            scans
        });
    }
    let mut writers = JoinSet::new();
    for task in 0..4 {
        let (store, batches) = (
            store.clone(),
            (0..50)
                .map(|n| write(format!("{task}-{n}")))
                .collect::<Vec<_>>(),
        );
        writers.spawn(async move {
            for batch in batches {
                store.commit(batch).await.expect("a commit");
            }
        });
    }
    while let Some(joined) = writers.join_next().await {
        joined.expect("a writer");
    }
    stop.store(true, Ordering::SeqCst);
    let mut scans: u32 = 0;
    while let Some(joined) = readers.join_next().await {
        scans += joined.expect("a reader");
    }
    assert!(scans > 0, "the readers never read");
}

/// A caller that gives up (a client that went away) leaves no half batch.
pub(super) async fn an_abandoned_commit_happens_whole_or_not(factory: &dyn Factory) {
    let store = factory.fresh().await;
    let mut random = Random::new(42);
    for round in 0..100 {
        let (left, right) = (format!("left/{round:03}"), format!("right/{round:03}"));
        let batch = puts([(left.as_str(), "x"), (right.as_str(), "x")]);
        let committing = store.clone();
        let task = tokio::spawn(async move { committing.commit(batch).await });
        for _ in 0..random.below(4) {
            tokio::task::yield_now().await;
        }
        task.abort();
        let finished = task.await.is_ok_and(|answer| answer.is_ok());
        if finished {
            assert!(get(&*store, &left).await.is_some(), "it was acknowledged");
        }
    }
    // Whatever was still queued is done before this returns.
    store.commit(puts([("end", "x")])).await.expect("a commit");
    let left = super::keys(&*store, "left/", None, 1_000).await;
    let right = super::keys(&*store, "right/", None, 1_000).await;
    let strip = |keys: &[String]| -> Vec<String> {
        keys.iter()
            .map(|key| key.split('/').next_back().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(strip(&left), strip(&right));
}
