//! References say what the code does: every key of an `engine.toml`, every
//! metric.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use nestor_core::grant::Manifest;
use serde_json::Value;
use support::{files, text};

fn page(name: &str) -> String {
    text(&Path::new("docs").join(name)).unwrap()
}

/// What stands in backquotes at the beginning of the rows of tables.
fn rows(page: &str) -> BTreeSet<&str> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(first, _)| first)
        .collect()
}

/// `limits.memory` for every key of a manifest.
fn keys(value: &Value, within: &str, all: &mut BTreeSet<String>) {
    let Value::Object(fields) = value else {
        return;
    };
    for (key, value) in fields {
        let path = if within.is_empty() {
            key.clone()
        } else {
            format!("{within}.{key}")
        };
        match value {
            // A list of rules.
            Value::Array(rules) if rules.first().is_some_and(Value::is_object) => {
                for rule in rules {
                    keys(rule, &path, all);
                }
            }
            Value::Object(_) if within.is_empty() => keys(value, &path, all),
            _ => {
                all.insert(path);
            }
        }
    }
}

#[test]
fn the_documented_engine_toml_is_one_with_every_key() {
    let page = page("engines.md");
    let (_, example) = page.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let manifest = Manifest::parse(example, "docs/engines.md").unwrap();
    let mut written = BTreeSet::new();
    let document: toml::Value = toml::from_str(example).unwrap();
    keys(&serde_json::to_value(document).unwrap(), "", &mut written);
    // What the host spells out of it, and what is for people or the file alone.
    let mut read = BTreeSet::new();
    keys(&manifest.capabilities.to_json(), "", &mut read);
    read.extend(
        [
            "schema",
            "engine.id",
            "engine.version",
            "engine.world",
            "fs.reason",
        ]
        .map(str::to_owned),
    );
    assert_eq!(written, read);
    let documented: BTreeSet<String> = rows(&page).into_iter().map(str::to_owned).collect();
    let told: BTreeSet<String> = read
        .into_iter()
        .filter(|key| !key.ends_with(".reason"))
        .collect();
    assert_eq!(documented, told);
    // The defaults of the table are the parser's.
    let bare = "schema = 1\n[engine]\nid = \"a\"\nversion = \"1.0.0\"\nworld = \"nestor:engine/engine@0.1.0\"\n\
        [[http]]\norigin = \"https://a.example\"\n[[fs]]\nsource = \"checkout\"\n[[tool]]\nname = \"terraform\"\nargs = []\n";
    let bare = Manifest::parse(bare, "bare")
        .unwrap()
        .capabilities
        .to_json();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let (section, key) = cells[0]
            .trim_matches('`')
            .split_once('.')
            .unwrap_or(("", ""));
        let stated = cells[2].trim_end_matches(" |").trim_matches('`');
        let of = match &bare[section] {
            Value::Array(rules) => &rules[0][key],
            other => &other[key],
        };
        let default = of.as_str().map_or_else(|| of.to_string(), str::to_owned);
        if stated.starts_with(|c: char| c.is_ascii_digit()) {
            assert_eq!(stated, default, "{}", cells[0]);
        }
    }
}

#[test]
fn every_metric_is_documented() {
    let mut named = BTreeSet::new();
    for file in files() {
        if file.ends_with("src/metrics.rs") {
            let source = text(&file).unwrap();
            let names = source.split('"').filter(|part| part.starts_with("nestor_"));
            named.extend(names.map(str::to_owned));
        }
    }
    assert!(named.len() > 20, "{named:?}");
    let page = page("metrics.md");
    let documented: BTreeSet<String> = rows(&page).into_iter().map(str::to_owned).collect();
    assert_eq!(documented, named);
}
