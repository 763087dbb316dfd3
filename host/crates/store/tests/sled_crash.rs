//! The process is killed while it writes; every acknowledged write is there.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::collections::HashMap;
use std::io::{Read, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nestor_core::ports::{Batch, Guard, Store};
use nestor_store::{SledOptions, SledStore};

const FOLDER: &str = "NESTOR_STORE_CRASH_FOLDER";
/// Milliseconds between the writes of a writer. With pauses, what is not
/// flushed is not carried along by the next commit, and so is lost by a kill.
const PAUSE: &str = "NESTOR_STORE_CRASH_PAUSE";
const ROUNDS: u64 = 12;
const WRITERS: u64 = 16;

fn value(writer: u64, number: u64) -> Vec<u8> {
    // Every few a value that is cut into pieces.
    let padding = if number % 5 == writer % 5 {
        30_000
    } else {
        100
    };
    format!("{writer} {number} {}", "x".repeat(padding)).into_bytes()
}

/// The child: writers count up, each step in one batch over two keys, guarded
/// by the step before, and tell the parent after it was acknowledged.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let pause: u64 = std::env::var(PAUSE).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Arc::new(SledStore::open(folder, &SledOptions::default()).unwrap());
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let store = store.clone();
            tasks.spawn(async move {
                let (current, mirror) = (format!("current/{writer}"), format!("mirror/{writer}"));
                let mut last = store.get(&current).await.unwrap();
                let mut number = last.as_deref().map_or(0, number_in);
                loop {
                    number += 1;
                    let mut batch = Batch::new();
                    batch.guard(match last {
                        Some(value) => Guard::Equals(current.clone(), value),
                        None => Guard::Absent(current.clone()),
                    });
                    let new = value(writer, number);
                    batch
                        .put(current.clone(), new.clone())
                        .put(mirror.clone(), new.clone());
                    batch.put(format!("log/{writer}/{number:08}"), number.to_string());
                    store.commit(batch).await.unwrap();
                    last = Some(new.into());
                    // One write call of less than a pipe's atomic size.
                    let line = format!("{writer} {number}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                    if pause > 0 {
                        tokio::time::sleep(Duration::from_millis(pause + writer)).await;
                    }
                }
            });
        }
        tasks.join_all().await;
    });
}

fn number_in(value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: HashMap<u64, u64> = HashMap::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(PAUSE, if round % 2 == 0 { "0" } else { "40" })
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).map(|_| text)
        });
        std::thread::sleep(Duration::from_millis(60 + 37 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let text = reader.join().unwrap().unwrap();
        let before: u64 = acknowledged.values().sum();
        for line in text.lines() {
            let mut words = line.split(' ').map(str::parse);
            if let (Some(Ok(writer)), Some(Ok(number)), None) =
                (words.next(), words.next(), words.next())
            {
                acknowledged.insert(writer, number);
            }
        }
        check(folder.path(), &mut acknowledged);
        let after: u64 = acknowledged.values().sum();
        assert!(
            round < 3 || after > before,
            "round {round} wrote nothing:\n{text}"
        );
    }
    let total: u64 = acknowledged.values().sum();
    assert!(
        total > 200,
        "only {total} writes were acknowledged: the test shows nothing"
    );
}

/// Compares the store with what was acknowledged, which then is what is there:
/// one write per writer may have been made and not acknowledged.
fn check(folder: &std::path::Path, acknowledged: &mut HashMap<u64, u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = SledStore::open(folder, &SledOptions::default()).unwrap();
        for writer in 0..WRITERS {
            let least = acknowledged.get(&writer).copied().unwrap_or(0);
            let current = store.get(&format!("current/{writer}")).await.unwrap();
            let number = current.as_deref().map_or(0, number_in);
            assert!(
                number >= least,
                "writer {writer}: {least} was acknowledged, {number} is there"
            );
            assert!(
                number <= least + 1,
                "writer {writer}: {number} is there, {least} was acknowledged"
            );
            if number > 0 {
                assert_eq!(current.as_deref(), Some(&*value(writer, number)));
            }
            let mirror = store.get(&format!("mirror/{writer}")).await.unwrap();
            assert_eq!(current, mirror, "writer {writer}: half a batch");
            let log = store
                .scan(&format!("log/{writer}/"), None, usize::MAX)
                .await
                .unwrap();
            assert_eq!(
                log.len() as u64,
                number,
                "writer {writer}: its log has holes"
            );
            acknowledged.insert(writer, number);
        }
    });
}
