//! Shared by the tests of the checkout itself.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is below the checkout")
        .to_owned()
}

/// What cargo prints, run in the checkout.
pub(crate) fn cargo(arguments: &[&str]) -> String {
    run(
        &std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()),
        arguments,
    )
}

/// The files that git knows here, relative to the checkout: committed or about
/// to be, never build results.
pub(crate) fn files() -> Vec<PathBuf> {
    let listed = run(
        "git",
        &[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
    );
    let mut files: Vec<PathBuf> = listed
        .split('\0')
        .filter(|f| !f.is_empty())
        .map(PathBuf::from)
        .collect();
    files.retain(|f| root().join(f).is_file());
    files.sort();
    files.dedup();
    assert!(files.len() > 100, "git ls-files was not understood");
    files
}

/// A file's text; `None` when it is not UTF-8.
pub(crate) fn text(file: &Path) -> Option<String> {
    String::from_utf8(std::fs::read(root().join(file)).expect("a listed file can be read")).ok()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}
