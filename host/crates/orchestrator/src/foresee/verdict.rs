//! What would happen to a resource, and why.

use serde_json::Value;

use nestor_core::engine::{Action, ProposedChanges};
use nestor_core::planner::promised;

use super::known::Config;
use crate::records::ResourceRecord;
use crate::view::PlannedAction;

/// What would happen to a resource, in the words of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) action: PlannedAction,
    /// Never empty.
    pub(super) reason: String,
}

/// An engine sees a placeholder as a change. Whether it is one shows when the
/// value is there: if nothing else differs from what was last applied, the
/// change is only possible.
pub(super) fn verdict(
    proposed: &ProposedChanges,
    config: &Config,
    current: Option<&ResourceRecord>,
    wanted: &ResourceRecord,
) -> Verdict {
    let says = proposed.summary.trim();
    let because = |otherwise: &str| if says.is_empty() { otherwise } else { says }.to_owned();
    let applied = current.filter(|current| current.applied.is_some());
    let waits = (!config.resolved.unknown.is_empty()).then(|| {
        format!(
            "depends on {}, known only after apply (at {})",
            config.waits_for.join(", "),
            config.resolved.unknown.join(", ")
        )
    });
    let action = proposed.action.into();
    let otherwise = match proposed.action {
        Action::Noop => "already as wanted",
        Action::Create => "it is not there yet",
        Action::Update => "it differs from what is wanted",
        Action::Replace => "it cannot be changed in place",
        Action::Delete => "it is not wanted any more",
    };
    match (proposed.action, applied, waits) {
        (Action::Create | Action::Delete, _, _) | (_, None, _) | (_, Some(_), None) => Verdict {
            action,
            reason: because(otherwise),
        },
        (Action::Update | Action::Replace, Some(applied), Some(waits))
            if surely_differs(applied, wanted, &config.resolved.unknown) =>
        {
            Verdict {
                action,
                reason: format!("{}; it also {waits}", because(otherwise)),
            }
        }
        (Action::Noop | Action::Update, Some(_), Some(waits)) => Verdict {
            action: PlannedAction::Possible,
            reason: format!("may be changed: {waits}"),
        },
        (Action::Replace, Some(_), Some(waits)) => Verdict {
            action: PlannedAction::Possible,
            reason: format!("may be replaced: {waits}"),
        },
    }
}

/// Whether what is wanted is something else than what was last applied,
/// whatever the values are that are not known yet.
fn surely_differs(applied: &ResourceRecord, wanted: &ResourceRecord, unknown: &[String]) -> bool {
    if applied.open.is_some()
        || applied.drifted
        || applied.definition_digest != wanted.definition_digest
        || applied.engine != wanted.engine
        || applied.delivery != wanted.delivery
    {
        return true;
    }
    let mut thought = wanted.config.clone();
    for pointer in unknown {
        let Some(place) = thought.pointer_mut(pointer) else {
            continue;
        };
        let Some(before) = applied.config.pointer(pointer) else {
            // There was nothing, and there will be something.
            return true;
        };
        if promised(place).is_some_and(|json_type| !json_type.accepts(before)) {
            return true;
        }
        *place = Value::clone(before);
    }
    thought != applied.config
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use nestor_core::definition::JsonType;
    use nestor_core::ids::Digest;
    use nestor_core::planner::Resolved;
    use nestor_core::spec::{DeliveryMode, Policy};

    use super::*;

    fn record(config: Value) -> ResourceRecord {
        serde_json::from_value(json!({
            "name": "app", "engine": "fake", "catalog_ref": "app:1.0.0",
            "definition_digest": Digest::of(b"app"), "definition_folder": null, "section": {},
            "declared_outputs": {}, "delivery": DeliveryMode::Direct,
            "policy": Policy::default(),
            "depends_on": [], "config": config, "outputs": [], "state": null,
            "applied": Digest::of(b"x"), "engine_digest": null, "delivered": null,
            "notes": null, "open": null,
        }))
        .expect("a record")
    }

    #[test]
    fn only_what_hangs_on_the_unknown_alone_is_possible() {
        let text = || json!({ "$unknown": "string" });
        let any = || json!({ "$unknown": "any" });
        let number = || json!({ "$unknown": JsonType::Number });
        use Action::{Create, Noop, Replace, Update};
        // Applied, wanted, where it is unknown, what the engine says, what is said.
        let table = [
            (
                json!({"u": "a", "n": 1}),
                json!({"u": text(), "n": 1}),
                "/u",
                Update,
                "possible",
            ),
            (
                json!({"u": "a", "n": 1}),
                json!({"u": text(), "n": 1}),
                "/u",
                Replace,
                "possible",
            ),
            (
                json!({"u": "a", "n": 1}),
                json!({"u": text(), "n": 1}),
                "/u",
                Noop,
                "possible",
            ),
            (
                json!({"u": "a", "n": 1}),
                json!({"u": text(), "n": 1}),
                "/u",
                Create,
                "create",
            ),
            // Something else is different too.
            (
                json!({"u": "a", "n": 1}),
                json!({"u": text(), "n": 2}),
                "/u",
                Update,
                "update",
            ),
            (
                json!({"u": "a", "n": 1}),
                json!({"u": text(), "n": 2}),
                "/u",
                Replace,
                "replace",
            ),
            (
                json!({"u": "a", "n": 1}),
                json!({"u": text()}),
                "/u",
                Update,
                "update",
            ),
            // The engine knows that the rest makes no difference.
            (
                json!({"u": "a", "n": 1}),
                json!({"u": text(), "n": 2}),
                "/u",
                Noop,
                "possible",
            ),
            // Whatever the value is, it was not there, or was of another type.
            (
                json!({"n": 1}),
                json!({"u": text(), "n": 1}),
                "/u",
                Update,
                "update",
            ),
            (
                json!({"u": 5}),
                json!({"u": text()}),
                "/u",
                Update,
                "update",
            ),
            (
                json!({"u": 5}),
                json!({"u": number()}),
                "/u",
                Update,
                "possible",
            ),
            (
                json!({"u": 5}),
                json!({"u": any()}),
                "/u",
                Update,
                "possible",
            ),
            (
                json!({"u": ["a"]}),
                json!({"u": ["a", text()]}),
                "/u/1",
                Update,
                "update",
            ),
            (
                json!({"u": [{"x": 1}]}),
                json!({"u": [{"x": any()}]}),
                "/u/0/x",
                Update,
                "possible",
            ),
        ];
        for (applied, wanted, unknown, action, says) in table {
            let config = Config {
                resolved: Resolved {
                    config: wanted.clone(),
                    sensitive: Vec::new(),
                    unknown: vec![unknown.into()],
                },
                waits_for: vec!["db.out".into()],
            };
            let proposed = ProposedChanges {
                action,
                changes: Vec::new(),
                outputs: Vec::new(),
                summary: String::new(),
            };
            let current = record(applied.clone());
            let verdict = verdict(&proposed, &config, Some(&current), &record(wanted.clone()));
            assert_eq!(
                verdict.action.as_str(),
                says,
                "{applied} {wanted} {action:?}"
            );
            assert!(!verdict.reason.is_empty());
            let tells = verdict.reason.contains("db.out") && verdict.reason.contains(unknown);
            assert_eq!(tells, action != Create, "{}", verdict.reason);
        }
    }

    #[test]
    fn another_definition_engine_or_delivery_is_a_change() {
        let config = json!({ "u": { "$unknown": "string" } });
        let before = || record(json!({ "u": "a" }));
        let differs = |applied: &ResourceRecord| {
            surely_differs(applied, &record(config.clone()), &["/u".into()])
        };
        assert!(!differs(&before()));
        let mut other = before();
        other.definition_digest = Digest::of(b"other");
        assert!(differs(&other));
        let mut other = before();
        other.engine = "other".parse().expect("a name");
        assert!(differs(&other));
        let mut other = before();
        other.delivery = DeliveryMode::Gitops;
        assert!(differs(&other));
        let mut other = before();
        other.drifted = true;
        assert!(differs(&other));
    }
}
