//! What has to hold once nothing can happen any more.

use std::collections::BTreeMap;

use nestor_core::ports::Bytes;
use serde_json::Value;

use crate::engines::{World, output_of};
use crate::people::Acknowledged;
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
        // What the last run was told to leave alone, nobody puts right.
        let mut tampered = world.tampered(id);
        tampered.retain(|name| !left_out(&status, name));
        if put_right && word == "ready" && !tampered.is_empty() {
            breach(
                Invariant::WorldMatchesStatus,
                format!("{id} is ready, but somebody changed {tampered:?} and nobody put it right"),
            );
        }
        let held = |request: &&Value| word == "awaiting_approval" && request["apply"].is_object();
        let inbox = read(disk, key)["inbox"].clone();
        let open = inbox.as_array().map_or(0, |inbox| {
            // Later revisions wait behind one that waits for approval.
            inbox.iter().filter(|request| !held(request)).count()
        });
        if open > 0 {
            breach(
                Invariant::NothingLost,
                format!("{id} has {open} requests that nobody dealt with"),
            );
        }
        cancelled_starts_nothing(disk, id, &mut breach);
        nothing_unapproved(disk, id, &mut breach);
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

/// Whether the last run was of a part without this resource.
fn left_out(status: &Value, resource: &str) -> bool {
    let left_out = status["left_out"].as_array();
    left_out.is_some_and(|left_out| left_out.iter().any(|left| left == resource))
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

fn nothing_unapproved(
    disk: &BTreeMap<String, Bytes>,
    id: &str,
    breach: &mut impl FnMut(Invariant, String),
) {
    // The revision whose run may begin things.
    let mut permitted = None;
    for event in events(disk, id) {
        let message = event["message"].as_str().unwrap_or_default();
        let forward = message.starts_with("apply") || message.starts_with("destroy");
        let revision = event["revision"].as_u64().unwrap_or_default();
        match event["type"].as_str().unwrap_or_default() {
            // Who gave a deployment its time has said that it is to go, and who
            // approved a revision, that it is to be as it says.
            "approved" | "expired" | "remediating" => permitted = Some(revision),
            // An approval is of one run; only what failed may be retried.
            "status" => {
                let ended = ["ready", "rolled_back", "cancelled", "deleted"];
                if ended.contains(&event["status"].as_str().unwrap_or_default()) {
                    permitted = None;
                }
            }
            "started" if forward && permitted != Some(revision) => {
                let spec = &read(disk, &format!("rev/{id}/{revision:08}"))["spec"];
                if spec["strategy"]["approval"] == "required" {
                    breach(
                        Invariant::NothingUnapproved,
                        format!("{id}: {event} was not approved"),
                    );
                }
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
            Some("ready") if event["type"] == "status" => {
                let revision = event["revision"].as_u64();
                let whole = revision.is_some_and(|revision| {
                    let scope = &read(disk, &format!("rev/{id}/{revision:08}"))["scope"];
                    !scope["targets"].is_array()
                });
                // After a part, what stands is of several revisions.
                baseline = whole.then_some(revision);
            }
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
    // What the last run left as it was is of whichever revision.
    let in_part = |name: &String| status["status"] != "ready" || !left_out(status, name);
    let expected: BTreeMap<String, Value> = expected
        .into_iter()
        .filter(|(name, _)| in_part(name))
        .collect();
    let there: BTreeMap<String, Value> = world
        .of(id)
        .into_iter()
        .map(|(name, config)| (name, config["v"].clone()))
        .filter(|(name, _)| in_part(name))
        .collect();
    if status["status"] == "ready" {
        for (name, config) in world.of(id).iter().filter(|(name, _)| in_part(name)) {
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
