//! Every crate in the lockfiles has a licence that deny.toml allows, and none
//! of the crates that it bans is there. `cargo deny` checks more, where it is
//! installed; this needs nothing but cargo.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::{cargo, root};

/// What deny.toml says of licences and bans.
struct Rules {
    allow: BTreeSet<String>,
    banned: BTreeSet<String>,
}

fn rules() -> Rules {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let deny: toml::Value = toml::from_str(&text).unwrap();
    let list = |table: &str, key: &str| deny[table][key].as_array().unwrap().clone();
    let allow: BTreeSet<String> = list("licenses", "allow")
        .iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect();
    let banned = list("bans", "deny")
        .iter()
        .map(|v| v["crate"].as_str().unwrap().to_owned())
        .collect();
    Rules { allow, banned }
}

/// Whether an SPDX expression can be satisfied with the allowed licences.
/// `/` between licences is the old way to write OR.
fn satisfied(expression: &str, allow: &BTreeSet<String>) -> Result<bool, String> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut tokens: Vec<&str> = spaced.split_whitespace().rev().collect();
    let result = any_of(&mut tokens, allow)?;
    match tokens.pop() {
        None => Ok(result),
        Some(rest) => Err(format!("unexpected {rest:?} in {expression:?}")),
    }
}

fn any_of(tokens: &mut Vec<&str>, allow: &BTreeSet<String>) -> Result<bool, String> {
    let mut result = all_of(tokens, allow)?;
    while tokens.last() == Some(&"OR") {
        tokens.pop();
        result |= all_of(tokens, allow)?;
    }
    Ok(result)
}

fn all_of(tokens: &mut Vec<&str>, allow: &BTreeSet<String>) -> Result<bool, String> {
    let mut result = one(tokens, allow)?;
    while tokens.last() == Some(&"AND") {
        tokens.pop();
        result &= one(tokens, allow)?;
    }
    Ok(result)
}

fn one(tokens: &mut Vec<&str>, allow: &BTreeSet<String>) -> Result<bool, String> {
    match tokens.pop().ok_or("the expression ends too early")? {
        "(" => {
            let result = any_of(tokens, allow)?;
            match tokens.pop() {
                Some(")") => Ok(result),
                other => Err(format!("expected ), found {other:?}")),
            }
        }
        licence if tokens.last() == Some(&"WITH") => {
            tokens.pop();
            let exception = tokens.pop().ok_or("WITH without an exception")?;
            // An exception only adds permissions.
            Ok(allow.contains(licence) || allow.contains(&format!("{licence} WITH {exception}")))
        }
        word @ (")" | "AND" | "OR" | "WITH") => Err(format!("unexpected {word:?}")),
        licence => Ok(allow.contains(licence.trim_end_matches('+'))),
    }
}

fn check(manifest: &str) -> Vec<String> {
    let Rules { allow, banned } = rules();
    let path = root().join(manifest);
    let printed = cargo(&[
        "metadata",
        "--offline",
        "--format-version",
        "1",
        "--filter-platform",
        "x86_64-unknown-linux-gnu",
        "--manifest-path",
        path.to_str().unwrap(),
    ]);
    let metadata: Value = serde_json::from_str(&printed).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(!packages.is_empty());
    let mut wrong = Vec::new();
    for package in packages {
        let (name, version) = (
            package["name"].as_str().unwrap(),
            package["version"].as_str().unwrap(),
        );
        match package["license"].as_str() {
            None => wrong.push(format!("{name} {version} names no licence")),
            Some(expression) => match satisfied(expression, &allow) {
                Ok(true) => {}
                Ok(false) => wrong.push(format!(
                    "{name} {version}: {expression} is not allowed by deny.toml"
                )),
                Err(why) => wrong.push(format!("{name} {version}: {why}")),
            },
        }
        if banned.contains(name) {
            wrong.push(format!("{name} {version} is banned by deny.toml"));
        }
        if let Some(source) = package["source"].as_str()
            && !source.starts_with("registry+https://github.com/rust-lang/crates.io-index")
            && !source.starts_with("sparse+https://index.crates.io")
        {
            wrong.push(format!(
                "{name} {version} comes from {source}, not from crates.io"
            ));
        }
    }
    wrong
}

#[test]
fn every_crate_has_an_allowed_licence() {
    for manifest in ["Cargo.toml", "engines-wasm/Cargo.toml"] {
        let wrong = check(manifest);
        assert!(wrong.is_empty(), "{manifest}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn licence_expressions_are_understood() {
    let allow = ["MIT", "Apache-2.0", "Unicode-3.0"]
        .map(str::to_owned)
        .into();
    for (expression, expected) in [
        ("MIT", Ok(true)),
        ("GPL-3.0", Ok(false)),
        ("MIT OR GPL-3.0", Ok(true)),
        ("GPL-3.0/MIT", Ok(true)),
        ("MIT AND GPL-3.0", Ok(false)),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", Ok(true)),
        ("GPL-3.0 AND (MIT OR Unicode-3.0)", Ok(false)),
        ("GPL-2.0 OR MIT AND Unicode-3.0", Ok(true)),
        (
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
            Ok(true),
        ),
        ("GPL-2.0 WITH Classpath-exception-2.0 AND MIT", Ok(false)),
        ("(MIT", Err(())),
        ("MIT MIT", Err(())),
        ("OR", Err(())),
        ("", Err(())),
    ] {
        let found = satisfied(expression, &allow).map_err(drop);
        assert_eq!(found, expected, "{expression}");
    }
}
