//! The direction of dependencies, as ARCHITECTURE.md draws it, checked against
//! what cargo says. Third-party crates count only for the core, which is pure.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::{cargo, root};

/// Has no code: only features of third-party crates. It points at no crate of
/// this workspace, so an edge to it says nothing about direction.
const HACK: &str = "nestor-workspace-hack";

/// Fakes for tests; must not be in what users run.
const TESTKIT: &str = "nestor-testkit";

/// Test programs: they may use everything.
const TESTS: [&str; 3] = ["nestor-tests", "nestor-bench", "nestor-sim"];

/// What each crate may depend on, among the crates of this workspace.
/// A crate that is not here fails the test: its place must be decided.
const ALLOWED: &[(&str, &[&str])] = &[
    ("nestor-core", &[]),
    ("nestor-store", &["nestor-core"]),
    ("nestor-engine", &["nestor-core"]),
    ("nestor-catalog", &["nestor-core"]),
    ("nestor-gitops", &["nestor-core"]),
    ("nestor-webhook", &["nestor-core"]),
    ("nestor-orchestrator", &["nestor-core"]),
    ("nestor-api", &["nestor-core", "nestor-orchestrator"]),
    (
        "nestor",
        &[
            "nestor-api",
            "nestor-catalog",
            "nestor-client",
            "nestor-core",
            "nestor-engine",
            "nestor-gitops",
            "nestor-orchestrator",
            "nestor-store",
            "nestor-webhook",
        ],
    ),
    (TESTKIT, &["nestor-core"]),
    // For others' programs: alone on purpose.
    ("nestor-client", &[]),
    ("nestor-sdk", &[]),
    ("nestor-build", &[]),
];

/// What the tests of a crate may use besides: the real thing from the other
/// side of a port or of the wire.
const ALLOWED_IN_TESTS: [(&str, &str); 2] = [
    ("nestor-orchestrator", "nestor-store"),
    ("nestor-api", "nestor-client"),
];

/// Crates that must not carry the workspace-hack, and so not half of the
/// host's dependencies: into the core, into guests, into others' programs.
const WITHOUT_HACK: [&str; 3] = ["nestor-core", "nestor-sdk", "nestor-client"];

/// What would give the core I/O, a clock, threads or the sandbox.
const NOT_IN_CORE: [&str; 13] = [
    "tokio",
    "async-std",
    "smol",
    "mio",
    "wasmtime",
    "wasmtime-wasi",
    "reqwest",
    "hyper",
    "axum",
    "sled",
    "git2",
    "chrono",
    "rand",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Normal,
    Build,
    Dev,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
    kind: Kind,
}

/// What is wrong with these edges, one line each.
fn violations(edges: &[Edge]) -> Vec<String> {
    edges
        .iter()
        .filter_map(|edge| wrong(edge).map(|why| format!("{} → {}: {why}", edge.from, edge.to)))
        .collect()
}

fn wrong(Edge { from, to, kind }: &Edge) -> Option<String> {
    let from = from.as_str();
    if from == HACK {
        return Some("the workspace-hack depends on third-party crates only".into());
    }
    if to == HACK {
        return WITHOUT_HACK
            .contains(&from)
            .then(|| "must not carry the workspace-hack".into());
    }
    if TESTS.contains(&to.as_str()) {
        return Some("nothing depends on the tests".into());
    }
    if TESTS.contains(&from) {
        return None;
    }
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == from) else {
        return Some(
            "this crate has no place in the table of this test; decide it in ARCHITECTURE.md"
                .into(),
        );
    };
    if allowed.contains(&to.as_str()) {
        return None;
    }
    if *kind == Kind::Dev && ALLOWED_IN_TESTS.contains(&(from, to.as_str())) {
        return None;
    }
    if to == TESTKIT {
        return (*kind != Kind::Dev)
            .then(|| "fakes are for tests: make it a dev-dependency".into());
    }
    Some(format!(
        "against the direction; {from} may depend on {allowed:?}"
    ))
}

/// The edges among the members that `cargo metadata --no-deps` lists.
fn edges(metadata: &Value) -> Vec<Edge> {
    let packages = metadata["packages"]
        .as_array()
        .expect("cargo metadata lists packages");
    let text = |v: &Value| v.as_str().expect("a text").to_owned();
    let members: BTreeSet<String> = packages.iter().map(|p| text(&p["name"])).collect();
    let mut found = Vec::new();
    for package in packages {
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = text(&dependency["name"]);
            // A crate's dev-dependency on itself switches on a feature for its tests.
            if !members.contains(&to) || package["name"] == to.as_str() {
                continue;
            }
            let kind = match dependency["kind"].as_str() {
                None | Some("normal") => Kind::Normal,
                Some("build") => Kind::Build,
                Some(_) => Kind::Dev,
            };
            found.push(Edge {
                from: text(&package["name"]),
                to,
                kind,
            });
        }
    }
    found
}

fn metadata(arguments: &[&str]) -> Value {
    let mut all = vec![
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ];
    all.extend(arguments);
    serde_json::from_str(&cargo(&all)).expect("cargo metadata prints JSON")
}

#[test]
fn the_workspace_keeps_the_direction() {
    let metadata = metadata(&[]);
    let edges = edges(&metadata);
    assert!(
        edges.len() > 20,
        "cargo metadata was not understood: {edges:?}"
    );
    let wrong = violations(&edges);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A crate without any edge is in no edge's `from`: ask for its place as well.
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let placed =
            name == HACK || TESTS.contains(&name) || ALLOWED.iter().any(|(n, _)| *n == name);
        assert!(placed, "{name} has no place in the table of this test");
    }
}

#[test]
fn a_wrong_edge_is_caught() {
    use Kind::{Build, Dev, Normal};
    for (from, to, kind, says) in [
        (
            "nestor-core",
            "nestor-store",
            Normal,
            "against the direction",
        ),
        (
            "nestor-core",
            "nestor-orchestrator",
            Dev,
            "against the direction",
        ),
        (
            "nestor-store",
            "nestor-engine",
            Normal,
            "against the direction",
        ),
        (
            "nestor-gitops",
            "nestor-catalog",
            Dev,
            "against the direction",
        ),
        (
            "nestor-engine",
            "nestor-build",
            Build,
            "against the direction",
        ),
        (
            "nestor-orchestrator",
            "nestor-store",
            Normal,
            "against the direction",
        ),
        (
            "nestor-store",
            "nestor-orchestrator",
            Dev,
            "against the direction",
        ),
        (
            "nestor-orchestrator",
            "nestor-api",
            Normal,
            "against the direction",
        ),
        (
            "nestor-api",
            "nestor-engine",
            Normal,
            "against the direction",
        ),
        ("nestor-api", "nestor", Normal, "against the direction"),
        ("nestor-api", "nestor-testkit", Normal, "dev-dependency"),
        ("nestor", "nestor-testkit", Build, "dev-dependency"),
        (
            "nestor-client",
            "nestor-core",
            Normal,
            "against the direction",
        ),
        (
            "nestor-core",
            "nestor-workspace-hack",
            Normal,
            "workspace-hack",
        ),
        ("nestor-sdk", "nestor-workspace-hack", Dev, "workspace-hack"),
        (
            "nestor-workspace-hack",
            "nestor-core",
            Normal,
            "third-party",
        ),
        ("nestor", "nestor-tests", Dev, "tests"),
        ("nestor-new", "nestor-core", Normal, "no place"),
    ] {
        let said = violations(&[Edge {
            from: from.into(),
            to: to.into(),
            kind,
        }]);
        assert_eq!(said.len(), 1, "{from} → {to} went through");
        assert!(said[0].contains(says), "{}", said[0]);
    }
    for (from, to, kind) in [
        ("nestor", "nestor-store", Normal),
        ("nestor-api", "nestor-orchestrator", Normal),
        ("nestor-store", "nestor-testkit", Dev),
        ("nestor-orchestrator", "nestor-store", Dev),
        ("nestor-store", "nestor-workspace-hack", Normal),
        ("nestor-tests", "nestor-testkit", Normal),
    ] {
        let edge = Edge {
            from: from.into(),
            to: to.into(),
            kind,
        };
        assert_eq!(violations(&[edge]), Vec::<String>::new());
    }
}

#[test]
fn engines_know_the_guest_sdk_alone() {
    let manifest = root().join("engines-wasm/Cargo.toml");
    let metadata = metadata(&["--manifest-path", manifest.to_str().unwrap()]);
    for package in metadata["packages"].as_array().unwrap() {
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            let ours = dependency["path"].is_string();
            assert!(
                !ours || name == "nestor-sdk",
                "{} → {name}: engines depend on nestor-sdk only",
                package["name"]
            );
        }
    }
}

#[test]
fn the_core_is_pure() {
    let tree = tree(&["-p", "nestor-core", "-e", "normal"]);
    assert!(
        tree.contains("serde"),
        "cargo tree was not understood: {tree:?}"
    );
    for name in NOT_IN_CORE {
        assert!(
            !tree.contains(name),
            "nestor-core depends on {name}: `cargo tree -p nestor-core -i {name}` says how"
        );
    }
}

/// Guests must not carry what only the host has.
#[test]
fn the_guest_sdk_is_small() {
    let tree = tree(&[
        "-p",
        "nestor-sdk",
        "-e",
        "normal",
        "--target",
        "wasm32-wasip2",
    ]);
    for name in NOT_IN_CORE.into_iter().chain([HACK]) {
        assert!(!tree.contains(name), "nestor-sdk depends on {name}");
    }
}

/// Without this, `cargo test -p X` and `cargo test --workspace` each build
/// wasmtime for minutes, as their features differ somewhere below it.
#[test]
fn a_crate_alone_builds_the_same_wasmtime_as_the_workspace() {
    const FORMAT: [&str; 4] = ["-e", "normal,build", "-f", "{p} {f}"];
    let below = |selection: &[&str]| -> BTreeSet<String> {
        let lines = tree_lines(&[selection, &FORMAT].concat());
        lines
            .into_iter()
            .filter(|line| !line.starts_with("nestor"))
            .collect()
    };
    let all = below(&["--workspace"]);
    for member in [
        "nestor-engine",
        "nestor-build",
        "nestor",
        "nestor-store",
        "nestor-api",
    ] {
        let alone = below(&["-p", member]);
        let other: Vec<_> = alone.difference(&all).collect();
        assert!(
            other.is_empty(),
            "{member} alone needs other features than the workspace: run `make hack` and commit\n{other:#?}"
        );
    }
}

fn tree_lines(arguments: &[&str]) -> Vec<String> {
    let mut all = vec!["tree", "--offline", "--prefix", "none", "--no-dedupe"];
    all.extend(arguments);
    let mut lines: Vec<String> = cargo(&all).lines().map(|l| l.trim().to_owned()).collect();
    lines.sort();
    lines.dedup();
    lines
}

fn tree(arguments: &[&str]) -> BTreeSet<String> {
    tree_lines(arguments)
        .iter()
        .filter_map(|l| l.split(' ').next())
        .map(str::to_owned)
        .collect()
}
