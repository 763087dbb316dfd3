//! Differences without what must not be shown of them.

use serde_json::Value;

use nestor_core::engine::{Change, Output};

use crate::present::MASK;

/// Shorter texts are in too many others to mask whatever holds them.
const SECRET_AT_LEAST: usize = 4;

/// What is sensitive among some outputs, as text.
pub(crate) fn secrets<'a>(outputs: impl IntoIterator<Item = &'a Output>) -> Vec<String> {
    let sensitive = outputs.into_iter().filter(|o| o.sensitive);
    sensitive.filter_map(|o| secret(&o.value)).collect()
}

/// A sensitive value as text, if it is long enough to be told from others.
pub(crate) fn secret(value: &Value) -> Option<String> {
    Some(bare(value)).filter(|text| text.len() >= SECRET_AT_LEAST)
}

fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A difference without sensitive values: what the engine says is one, what is
/// at a sensitive place of the config, and whatever holds a secret.
pub(crate) fn masked(change: Change, places: &[String], secrets: &[String]) -> Change {
    let holds = |value: &Option<Value>| {
        let text = value.as_ref().map(bare).unwrap_or_default();
        secrets.iter().any(|secret| text.contains(secret.as_str()))
    };
    let within = places.iter().any(|place| is_within(&change.path, place));
    let mut change = Change {
        sensitive: change.sensitive || within,
        ..change
    };
    if !change.sensitive {
        let below = places.iter().filter_map(|place| {
            let rest = place.strip_prefix(change.path.as_str())?;
            rest.starts_with('/').then_some(rest)
        });
        for place in below {
            for value in [&mut change.before, &mut change.after] {
                if let Some(value) = value.as_mut().and_then(|v| v.pointer_mut(place)) {
                    *value = Value::from(MASK);
                }
            }
        }
        change.sensitive = holds(&change.before) || holds(&change.after);
    }
    if change.sensitive {
        change.before = change.before.map(|_| Value::from(MASK));
        change.after = change.after.map(|_| Value::from(MASK));
    }
    change
}

/// Whether a JSON pointer is another one, or leads into what is there.
fn is_within(pointer: &str, place: &str) -> bool {
    pointer
        .strip_prefix(place)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_sensitive_is_shown_and_the_rest_is() {
        let mask = json!(MASK);
        let table = [
            // The place itself, below it, beside it, above it.
            ("/pw", json!("a"), mask.clone()),
            ("/pw/x", json!("a"), mask.clone()),
            ("/pwd", json!("a"), json!("a")),
            ("", json!({"pw": "a", "b": 1}), json!({"pw": MASK, "b": 1})),
            (
                "/deep",
                json!({"x": {"pw": [1]}, "b": 1}),
                json!({"x": {"pw": MASK}, "b": 1}),
            ),
            // An engine's own address, with a secret in it, and without.
            ("aws_db.this.url", json!("db://s3cret@host"), mask.clone()),
            ("aws_db.this.url", json!({"a": ["s3cret"]}), mask.clone()),
            ("aws_db.this.size", json!(5), json!(5)),
        ];
        let places = ["/pw".to_owned(), "/deep/x/pw".to_owned()];
        let secrets = ["s3cret".to_owned()];
        for (path, value, shown) in table {
            let change = Change {
                path: path.into(),
                before: None,
                after: Some(value.clone()),
                sensitive: false,
            };
            let masked = masked(change.clone(), &places, &secrets);
            assert_eq!(masked.after, Some(shown.clone()), "{path} {value}");
            assert_eq!(masked.before, None);
            let turned = Change {
                before: change.after,
                after: None,
                ..change
            };
            let masked = super::masked(turned, &places, &secrets);
            assert_eq!(masked.before, Some(shown), "{path} {value}");
        }
        assert_eq!(secret(&json!("abc")), None);
        assert_eq!(secret(&json!(12_345)), Some("12345".into()));
    }
}
