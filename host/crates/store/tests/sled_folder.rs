//! Opening a folder that is in use, foreign, newer or half-made.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use nestor_core::ports::{Batch, Store};
use nestor_store::{OpenError, SledOptions, SledStore};

fn open(path: &std::path::Path) -> Result<SledStore, OpenError> {
    SledStore::open(path, &SledOptions::default())
}

#[test]
fn a_second_open_says_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    let error = open(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains(&format!("this very process ({})", std::process::id())),
        "{error}"
    );
    drop(first);
    open(folder.path()).expect("free again");
}

#[test]
fn a_foreign_folder_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "my life's work").unwrap();
    let error = open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("thesis.txt"), "{error}");
    assert!(!folder.path().join("sled").exists());

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("FORMAT"), "something else 1\n").unwrap();
    assert!(matches!(
        open(folder.path()),
        Err(OpenError::Foreign { .. })
    ));
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("FORMAT"), "nestor-store/sled 2\n").unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { found: 2, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("newer nestor"));
}

#[test]
fn a_crash_during_the_first_start_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("LOCK"), "1").unwrap();
    std::fs::write(folder.path().join("FORMAT.new"), "nest").unwrap();
    open(folder.path()).expect("as if new");
    let marker = std::fs::read_to_string(folder.path().join("FORMAT")).unwrap();
    assert_eq!(marker, "nestor-store/sled 1\n");
}

#[tokio::test]
async fn a_closed_store_refuses_commits_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let mut batch = Batch::new();
    batch.put("a", "1");
    store.commit(batch.clone()).await.unwrap();
    store.close().await;
    store.close().await;
    assert!(store.commit(batch).await.is_err());
    assert_eq!(store.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
    drop(store);
    let store = open(folder.path()).unwrap();
    assert_eq!(store.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
}

/// Sled puts what is long into files of its own and never syncs them.
#[tokio::test]
async fn nothing_is_left_to_unsynced_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    for round in 0..6 {
        let mut batch = Batch::new();
        for n in 0..400 {
            // Keys as long as they may be, with little in common: the widest index.
            let name = format!("{n:08}").chars().rev().collect::<String>();
            let key = format!("{name}{}", "k".repeat(500));
            batch.put(key, vec![b'v'; 8_191 - (n + round) % 3]);
        }
        batch.put("large", vec![b'l'; 3_000_000 + round]);
        store.commit(batch).await.unwrap();
    }
    let blobs = std::fs::read_dir(folder.path().join("sled/blobs"))
        .unwrap()
        .count();
    assert_eq!(blobs, 0);
}
