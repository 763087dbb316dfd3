//! Rules of the house that no compiler checks: size of files, links in the
//! documents, no paths of one machine, scripts that parse.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use support::{files, root, text};

/// Past this, a file holds more than one thing: find the seam.
const MAX_LINES: usize = 600;

/// Files that are longer, how long they may be, and why. Take a file off that
/// has become short enough.
const LONGER: &[(&str, usize, &str)] = &[
    (
        "host/crates/core/src/execution/machine.rs",
        720,
        "one match over event and state",
    ),
    (
        "host/crates/core/src/execution/tests.rs",
        700,
        "scenarios that share one driver",
    ),
    (
        "host/crates/core/src/grant/tests.rs",
        650,
        "tables of grants and what they allow",
    ),
    (
        "sdk/client/src/model.rs",
        650,
        "the API's answers, one after another",
    ),
    (
        "host/crates/orchestrator/tests/deployments.rs",
        900,
        "scenarios that share one world",
    ),
    (
        "host/crates/orchestrator/tests/same_thing.rs",
        650,
        "scenarios that share one world",
    ),
    (
        "host/crates/orchestrator/tests/plans.rs",
        750,
        "tables of plans in one world",
    ),
];

/// Generated, or data whose length says nothing.
fn any_length(file: &Path) -> bool {
    let path = file.to_string_lossy();
    let lock = ["Cargo.lock", "go.sum", "go.mod", "LICENSE"];
    let generated = ["sdk/go/internal/bindings/", "/testdata/", "/wit_bindings"];
    lock.iter()
        .any(|l| file.file_name().is_some_and(|n| n == *l))
        || generated.iter().any(|g| path.contains(g))
        || path.ends_with("openapi.json")
}

#[test]
fn files_stay_small() {
    let mut long = Vec::new();
    for file in files() {
        if any_length(&file) {
            continue;
        }
        let Some(text) = text(&file) else { continue };
        let lines = text.lines().count();
        let excepted = LONGER.iter().find(|(name, ..)| file == Path::new(name));
        let allowed = excepted.map_or(MAX_LINES, |(_, lines, _)| *lines);
        if lines > allowed {
            long.push(format!("{}: {lines} lines of {allowed}", file.display()));
        }
    }
    assert!(long.is_empty(), "find the seam:\n{}", long.join("\n"));
}

/// Paths and hosts of the machine that somebody works on.
#[test]
fn nothing_names_one_machine() {
    // In pieces: this file is read as well.
    let words = [
        concat!("/work", "/main"),
        concat!("/work", "/shared"),
        concat!("/work", "/.lib"),
        concat!("/root", "/."),
        concat!("/ho", "me/"),
        concat!(".pyenv", "/"),
    ];
    let mut found = Vec::new();
    for file in files() {
        let Some(text) = text(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            for word in words {
                if line.contains(word) {
                    found.push(format!("{}:{}: {word}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The targets of `[text](target)` in Markdown, outside code.
fn links(markdown: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // What is between backticks is code: the odd pieces.
        let plain: String = line.split('`').step_by(2).collect();
        for piece in plain.split("](").skip(1) {
            if let Some((target, _)) = piece.split_once(')') {
                found.push(target.split(' ').next().unwrap_or_default().to_owned());
            }
        }
    }
    found
}

/// The anchor that a heading gets where Markdown is shown.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

/// What is wrong with a link in `file`, if anything.
fn broken(file: &Path, target: &str) -> Option<String> {
    if target.starts_with("http://")
        || target.starts_with("https://")
        || target.starts_with("mailto:")
    {
        return None;
    }
    let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
    let mut full: PathBuf = if path.is_empty() {
        file.to_owned()
    } else {
        file.parent()?.join(path)
    };
    full = normal(&full);
    if !root().join(&full).exists() {
        return Some(format!("{}: {target} does not exist", file.display()));
    }
    if fragment.is_empty() {
        return None;
    }
    let headings = text(&full)?;
    let found = headings
        .lines()
        .filter(|l| l.starts_with('#'))
        .any(|l| anchor(l) == fragment);
    (!found).then(|| format!("{}: {target} names no heading", file.display()))
}

fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in files() {
        if file.extension().is_none_or(|e| e != "md") {
            continue;
        }
        for target in links(&text(&file).unwrap()) {
            count += 1;
            wrong.extend(broken(&file, &target));
        }
    }
    assert!(count > 0, "no link was found in any document");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn links_are_understood() {
    assert_eq!(
        links("a [b](c.md) and [d](e#f)\n```\n[g](h)\n```\n`[i](j)` [k](l \"m\")"),
        ["c.md", "e#f", "l"]
    );
    assert_eq!(
        anchor("## What it is, in `five` lines"),
        "what-it-is-in-five-lines"
    );
    assert!(broken(Path::new("README.md"), "no/such/file.md").is_some());
    assert!(broken(Path::new("docs/x.md"), "../LICENSE").is_none());
    assert!(broken(Path::new("README.md"), "README.md#no-such-heading").is_some());
}

/// A page for each error code, and the list of them, say the same.
#[test]
fn the_index_of_errors_lists_every_page() {
    let folder = Path::new("docs/errors");
    let index: BTreeSet<String> = links(&text(&folder.join("README.md")).unwrap())
        .into_iter()
        .filter(|l| !l.contains('/'))
        .collect();
    let pages: BTreeSet<String> = files()
        .iter()
        .filter(|f| f.parent() == Some(folder))
        .filter_map(|f| f.file_name()?.to_str().map(str::to_owned))
        .filter(|name| name != "README.md")
        .collect();
    assert_eq!(
        index, pages,
        "left: docs/errors/README.md, right: the pages"
    );
}

#[test]
fn scripts_parse() {
    let mut count = 0;
    for file in files() {
        let Some(text) = text(&file) else { continue };
        let first = text.lines().next().unwrap_or_default();
        let shell = if first.starts_with("#!") && first.contains("bash") {
            "bash"
        } else if first.starts_with("#!") && first.ends_with("sh") {
            "sh"
        } else {
            continue;
        };
        count += 1;
        let status = std::process::Command::new(shell)
            .arg("-n")
            .arg(root().join(&file))
            .status();
        assert!(
            status.unwrap().success(),
            "{} does not parse",
            file.display()
        );
    }
    assert!(count >= 5, "only {count} scripts were found");
}
