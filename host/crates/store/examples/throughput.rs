//! Commits per second with one writer and with many, beside what the disk does.
//!
//! `cargo run -p nestor-store --example throughput [FOLDER]`

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nestor_core::ports::{Batch, Store};
use nestor_store::{SledOptions, SledStore};

const TIME: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = match std::env::args().nth(1) {
        Some(path) => tempfile::tempdir_in(path)?,
        None => tempfile::tempdir()?,
    };
    println!(
        "{:>12}  {:>10}  {:>9}  {:>9}",
        "", "per second", "p50", "p99"
    );
    report("fdatasync", raw(root.path())?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    for writers in [1, 8, 64, 256] {
        let folder = root.path().join(format!("store-{writers}"));
        report(
            &format!("{writers} writers"),
            runtime.block_on(commits(&folder, writers))?,
        );
    }
    report("fdatasync", raw(root.path())?);
    println!("resident: {} MB", resident() >> 20);
    Ok(())
}

fn report(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    let per_second = took.len() as f64 / TIME.as_secs_f64();
    println!(
        "{what:>12}  {per_second:>10.0}  {:>9.1?}  {:>9.1?}",
        at(50),
        at(99)
    );
}

/// Appending a small record and syncing it, in a loop.
fn raw(folder: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = std::fs::File::create(folder.join("raw"))?;
    let mut took = Vec::new();
    let end = Instant::now() + TIME;
    while Instant::now() < end {
        let began = Instant::now();
        file.write_all(&[b'x'; 300])?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    Ok(took)
}

/// What an operation of a run writes: its journal entry and two documents.
async fn commits(folder: &Path, writers: u64) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let store = Arc::new(SledStore::open(folder, &SledOptions::default())?);
    let mut tasks = tokio::task::JoinSet::new();
    let end = Instant::now() + TIME;
    for writer in 0..writers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let number = took.len();
                let mut batch = Batch::new();
                batch.put(format!("event/{writer}/{number:08}"), vec![b'e'; 150]);
                batch.put(format!("status/{writer}"), vec![b's'; 100]);
                batch.put(
                    format!("resource/{writer}/{}", number % 10),
                    vec![b'r'; 100],
                );
                let began = Instant::now();
                store.commit(batch).await?;
                took.push(began.elapsed());
            }
            Ok::<_, nestor_core::ports::CommitError>(took)
        });
    }
    let mut all = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        all.extend(joined??);
    }
    println!("{:>12}  {} MB on disk", "", store.size_on_disk()? >> 20);
    Ok(all)
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}
