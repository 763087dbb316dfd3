//! Events as CloudEvents.

use serde_json::{Map, Value, json};

use nestor_core::ids::DeploymentId;
use nestor_core::text::shortened;
use nestor_core::webhook::{MAX_PAYLOAD_BYTES, TYPE_PREFIX};

use super::records::OutboxRecord;
use crate::view::EventView;

/// Of a message that is too long, this many characters are kept.
const KEPT: usize = 1_000;

/// What events can be about, and what can have happened to it: every type there
/// is, as docs/webhooks.md explains them.
pub(crate) const TYPES: [(&str, &[&str]); 2] = [
    (
        "deployment",
        &[
            "accepted",
            "pending",
            "in_progress",
            "awaiting_approval",
            "ready",
            "failed",
            "cancelling",
            "rolling_back",
            "rolled_back",
            "cancelled",
            "deleting",
            "deleted",
            "stuck",
            "superseded",
            "withdrawn",
            "approved",
            "refused",
            "expiring",
            "expired",
            "drifted",
            "in_sync",
            "remediating",
            "cancel_requested",
            "retry_requested",
            "recovered",
        ],
    ),
    (
        "resource",
        &[
            "started",
            "pending",
            "retrying",
            "ready",
            "unchanged",
            "failed",
            "skipped",
            "deleted",
            "rolled_back",
            "waiting",
            "adopted",
            "handed_over",
        ],
    ),
];

/// An event's type, without the prefix: `deployment.ready`, `resource.failed`.
pub(crate) fn event_type(event: &EventView) -> String {
    let name = named(event);
    debug_assert!(
        name.split_once('.').is_some_and(|(subject, what)| {
            let known = |(s, words): &(&str, &[&str])| *s == subject && words.contains(&what);
            TYPES.iter().any(known)
        }),
        "{name} is not in the list of types"
    );
    name
}

fn named(event: &EventView) -> String {
    if event.resource.is_some() {
        return format!("resource.{}", event.kind);
    }
    match (event.kind.as_str(), event.status) {
        ("status", Some(status)) => format!("deployment.{}", status.as_str()),
        // That somebody asked is another thing than that it happens.
        ("cancelling", _) => "deployment.cancel_requested".into(),
        ("retry", _) => "deployment.retry_requested".into(),
        (kind, _) => format!("deployment.{kind}"),
    }
}

/// Names an event for ever: a deployment's events are numbered.
pub(crate) fn event_id(deployment: &DeploymentId, event: &EventView) -> String {
    match event.id {
        Some(number) => format!("{deployment}/{number}"),
        // Told before the deployment's driver has given it a number.
        None => format!("{deployment}/{}/{}", event.kind, event.revision),
    }
}

/// The body of a message.
pub(crate) fn body(entry: &OutboxRecord) -> Vec<u8> {
    let text = written(entry, json!(entry.event));
    if text.len() <= MAX_PAYLOAD_BYTES {
        return text;
    }
    let mut event = entry.event.clone();
    event.message = shortened(&event.message, KEPT);
    event.data = json!({ "truncated": true });
    written(entry, json!(event))
}

fn written(entry: &OutboxRecord, data: Value) -> Vec<u8> {
    let subject = match &entry.event.resource {
        Some(resource) => format!("{}/{resource}", entry.deployment),
        None => entry.deployment.to_string(),
    };
    let mut envelope = Map::new();
    envelope.insert("specversion".into(), "1.0".into());
    envelope.insert("id".into(), entry.id.as_str().into());
    envelope.insert(
        "source".into(),
        format!("/api/v1/deployments/{}", entry.deployment).into(),
    );
    envelope.insert(
        "type".into(),
        format!("{TYPE_PREFIX}{}", entry.event_type).into(),
    );
    envelope.insert("subject".into(), subject.into());
    envelope.insert("time".into(), entry.event.at.as_str().into());
    envelope.insert("datacontenttype".into(), "application/json".into());
    envelope.insert("composer".into(), entry.composer.as_str().into());
    envelope.insert("environment".into(), entry.environment.as_str().into());
    envelope.insert("data".into(), data);
    serde_json::to_vec(&Value::Object(envelope)).expect("a JSON value is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::DeploymentStatus;
    use nestor_core::ids::{ComposerId, EnvironmentName, Timestamp};

    fn event(kind: &str, resource: Option<&str>, status: Option<DeploymentStatus>) -> EventView {
        EventView {
            id: Some(7),
            kind: kind.into(),
            at: "2026-01-01T00:00:00.000Z".into(),
            revision: 2,
            resource: resource.map(str::to_owned),
            status,
            message: "m".into(),
            data: Value::Null,
        }
    }

    fn entry(event: EventView) -> OutboxRecord {
        let deployment = DeploymentId::new("web").unwrap();
        OutboxRecord {
            id: event_id(&deployment, &event),
            event_type: event_type(&event),
            deployment,
            composer: ComposerId::new("alpha").unwrap(),
            environment: EnvironmentName::new("production").unwrap(),
            event,
            since: Timestamp(0),
            attempts: 0,
            not_before: None,
            last: None,
        }
    }

    #[test]
    fn types_say_what_happened_to_what() {
        use DeploymentStatus::{Cancelling, Failed, Ready};
        for (event, expected) in [
            (event("status", None, Some(Ready)), "deployment.ready"),
            (
                event("status", None, Some(Cancelling)),
                "deployment.cancelling",
            ),
            (
                event("cancelling", None, None),
                "deployment.cancel_requested",
            ),
            (event("failed", None, Some(Failed)), "deployment.failed"),
            (event("accepted", None, None), "deployment.accepted"),
            (event("failed", Some("db"), None), "resource.failed"),
        ] {
            assert_eq!(event_type(&event), expected);
        }
    }

    #[test]
    fn every_type_is_explained_and_nothing_else_is() {
        let page = include_str!("../../../../../docs/webhooks.md");
        let table = page.split("| type | when |").nth(1).unwrap();
        let mut explained = Vec::new();
        for row in table.lines().skip(2).take_while(|l| l.starts_with('|')) {
            let mut subject = "";
            // Within a row, a subject holds until another is named.
            for word in row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
                let what = match word.split_once('.') {
                    Some((of, what)) => {
                        subject = of;
                        what
                    }
                    None => word,
                };
                explained.push(format!("{subject}.{what}"));
            }
        }
        let mut types: Vec<String> = TYPES
            .iter()
            .flat_map(|(subject, words)| words.iter().map(move |what| format!("{subject}.{what}")))
            .collect();
        explained.sort();
        types.sort();
        assert_eq!(explained, types);
        for status in DeploymentStatus::ALL {
            let word = named(&event("status", None, Some(status)));
            assert!(types.contains(&word), "{word}");
        }
    }

    #[test]
    fn a_body_is_a_cloud_event() {
        let body = body(&entry(event("ready", Some("db"), None)));
        let expected = json!({
            "specversion": "1.0", "id": "web/7", "source": "/api/v1/deployments/web",
            "type": "dev.nestor.resource.ready", "subject": "web/db", "time": "2026-01-01T00:00:00.000Z",
            "datacontenttype": "application/json", "composer": "alpha", "environment": "production",
            "data": {"id": 7, "type": "ready", "at": "2026-01-01T00:00:00.000Z", "revision": 2, "resource": "db", "message": "m"},
        });
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let mut long = event("failed", Some("db"), None);
        long.message = "é".repeat(MAX_PAYLOAD_BYTES);
        long.data = json!({ "more": "x" });
        let body = body(&entry(long));
        assert!(body.len() < 8 << 10);
        let data = serde_json::from_slice::<Value>(&body).unwrap()["data"].clone();
        assert_eq!(data["data"], json!({ "truncated": true }));
    }
}
