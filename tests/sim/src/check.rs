//! What has to hold once nothing can happen any more.

use std::collections::BTreeMap;

use nestor_core::ports::Bytes;
use serde_json::Value;

use crate::engines::{World, output_of};
use crate::scenario::Acknowledged;
use crate::{Invariant, Violation};

/// Statuses in which nothing moves by itself.
const SETTLED: [&str; 7] = [
    "ready",
    "failed",
    "rolled_back",
    "cancelled",
    "deleted",
    "stuck",
    "awaiting_approval",
];

/// Everything that the disk, the world and the promises say about each other.
#[must_use]
pub fn all(
    disk: &BTreeMap<String, Bytes>,
    world: &World,
    acknowledged: &Acknowledged,
    put_right: bool,
) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut breach = |invariant, detail: String| found.push(Violation { invariant, detail });
    for (id, revision) in acknowledged.revisions.keys() {
        let known = read(disk, &format!("dep/{id}"));
        if known["revision"].as_u64().unwrap_or(0) < *revision {
            breach(
                Invariant::NothingLost,
                format!("revision {revision} of {id} was acknowledged and is not there"),
            );
        }
        if read(disk, &format!("rev/{id}/{revision:08}")).is_null() {
            breach(
                Invariant::NothingLost,
                format!("revision {revision} of {id} has no document"),
            );
        }
    }
    for (key, _) in disk
        .range("todo/".to_owned()..)
        .take_while(|(key, _)| key.starts_with("todo/"))
    {
        breach(Invariant::EverythingEnds, format!("{key} is still to do"));
    }
    for (key, _) in disk
        .range("dep/".to_owned()..)
        .take_while(|(key, _)| key.starts_with("dep/"))
    {
        let id = &key["dep/".len()..];
        let status = read(disk, &format!("sta/{id}"));
        let word = status["status"].as_str().unwrap_or_default();
        if !SETTLED.contains(&word) || status["active"] != false {
            breach(Invariant::EverythingEnds, format!("{id} is {status}"));
        }
        if word == "stuck" && status["reason"].as_str().is_none_or(str::is_empty) {
            breach(
                Invariant::EverythingEnds,
                format!("{id} is stuck and does not say why"),
            );
        }
        // A deployment with a time to live does not outlive it.
        let lives = !read(disk, key)["expires_at"].is_null();
        if lives && !["deleted", "stuck"].contains(&word) {
            breach(
                Invariant::EverythingEnds,
                format!("{id} is {word} although its time is over"),
            );
        }
        let tampered = world.tampered(id);
        if put_right && word == "ready" && !tampered.is_empty() {
            breach(
                Invariant::WorldMatchesStatus,
                format!("{id} is ready, but somebody changed {tampered:?} and nobody put it right"),
            );
        }
        let open = read(disk, key)["inbox"].as_array().map_or(0, Vec::len);
        if open > 0 {
            breach(
                Invariant::NothingLost,
                format!("{id} has {open} requests that nobody dealt with"),
            );
        }
        cancelled_starts_nothing(disk, id, &mut breach);
        matches_world(disk, world, id, &status, &mut breach);
    }
    found
}

fn read(disk: &BTreeMap<String, Bytes>, key: &str) -> Value {
    disk.get(key)
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .unwrap_or(Value::Null)
}

fn events(disk: &BTreeMap<String, Bytes>, id: &str) -> Vec<Value> {
    let prefix = format!("evt/{id}/");
    let range = disk
        .range(prefix.clone()..)
        .take_while(|(key, _)| key.starts_with(&prefix));
    range
        .filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok())
        .collect()
}

fn cancelled_starts_nothing(
    disk: &BTreeMap<String, Bytes>,
    id: &str,
    breach: &mut impl FnMut(Invariant, String),
) {
    let mut cancelled = false;
    for event in events(disk, id) {
        let message = event["message"].as_str().unwrap_or_default();
        let forward = message.starts_with("apply") || message.starts_with("destroy");
        match event["type"].as_str().unwrap_or_default() {
            "cancelling" => cancelled = true,
            "retry" => cancelled = false,
            // The cancelled run has ended; what follows belongs to another.
            "status" if SETTLED.contains(&event["status"].as_str().unwrap_or_default()) => {
                cancelled = false
            }
            "started" if cancelled && forward => {
                breach(
                    Invariant::CancelledStartsNothing,
                    format!("{id}: {event} after it was cancelled"),
                );
            }
            _ => {}
        }
    }
}

/// The last state that was reached whole is the one that a rollback goes back to.
fn matches_world(
    disk: &BTreeMap<String, Bytes>,
    world: &World,
    id: &str,
    status: &Value,
    breach: &mut impl FnMut(Invariant, String),
) {
    // Which revision is wholly there: some, none (empty), or unknown after a
    // failure that left things half-way.
    let mut baseline: Option<Option<u64>> = Some(None);
    for event in events(disk, id) {
        match event["status"].as_str() {
            Some("ready") => baseline = Some(event["revision"].as_u64()),
            Some("deleted") => baseline = Some(None),
            Some("failed" | "stuck") if event["type"] == "status" => baseline = None,
            Some(_) | None => {}
        }
    }
    let wanted = match (status["status"].as_str(), baseline) {
        (Some("ready"), _) => Some(status["revision"].as_u64()),
        (Some("deleted"), _) => Some(None),
        (Some("rolled_back" | "cancelled"), Some(baseline)) => Some(baseline),
        (Some(_) | None, _) => None,
    };
    let Some(wanted) = wanted else { return };
    let expected: BTreeMap<String, Value> = match wanted {
        None => BTreeMap::new(),
        Some(revision) => {
            let spec = read(disk, &format!("rev/{id}/{revision:08}"))["spec"]["resources"].clone();
            let resources = spec.as_array().cloned().unwrap_or_default();
            resources
                .iter()
                .map(|r| {
                    (
                        r["name"].as_str().unwrap_or_default().to_owned(),
                        r["config"]["v"].clone(),
                    )
                })
                .collect()
        }
    };
    let there: BTreeMap<String, Value> = world
        .of(id)
        .into_iter()
        .map(|(name, config)| (name, config["v"].clone()))
        .collect();
    if status["status"] == "ready" {
        for (name, config) in &world.of(id) {
            for (needed, value) in config["needs"].as_object().into_iter().flatten() {
                let is = world.of(id).get(needed).map(|c| output_of(id, needed, c));
                if is.as_deref() != value.as_str() {
                    let detail = format!(
                        "{id} is ready, but {name} was given {value} of {needed}, which is {is:?}"
                    );
                    breach(Invariant::DependenciesFirst, detail);
                }
            }
        }
    }
    if expected != there {
        breach(
            Invariant::WorldMatchesStatus,
            format!(
                "{id} is {} with revision {wanted:?}: expected {expected:?}, found {there:?}",
                status["status"]
            ),
        );
    }
}
