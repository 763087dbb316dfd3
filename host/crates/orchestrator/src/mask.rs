//! Differences and texts of engines without what must not be shown of them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use nestor_core::engine::{Change, EngineError, EngineViolation, Output};
use nestor_core::planner::Resolved;

use crate::present::MASK;

/// Shorter texts are in too many others to mask whatever holds them.
const SECRET_AT_LEAST: usize = 4;
/// Tools print a key of many lines line by line. A line of a key is longer
/// than this; the lines of a sensitive YAML that are not, are in every other.
const LINE_AT_LEAST: usize = 16;
/// Texts are searched for each secret, so an engine that puts out a hundred
/// thousand would keep a processor busy. Beyond this nothing is shown at all.
const MAX_SECRETS: usize = 1_000;

/// What must not be told, as it is found in texts. Deliberately without `Debug`.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    texts: BTreeSet<String>,
    too_many: bool,
}

impl Secrets {
    /// What is sensitive among some outputs.
    pub(crate) fn of<'a>(outputs: impl IntoIterator<Item = &'a Output>) -> Self {
        let mut secrets = Self::default();
        secrets.extend(outputs);
        secrets
    }

    /// And among these.
    pub(crate) fn extend<'a>(&mut self, outputs: impl IntoIterator<Item = &'a Output>) {
        for output in outputs.into_iter().filter(|o| o.sensitive) {
            self.add(&output.value);
        }
    }

    /// A sensitive value, and all that is in it.
    pub(crate) fn add(&mut self, value: &Value) {
        match value {
            // No text could be told to hold one of these.
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => self.text(&number.to_string()),
            Value::String(text) => {
                self.text(text);
                self.text(&escaped(text));
                let lines = text.lines().map(str::trim);
                for line in lines.filter(|line| line.len() >= LINE_AT_LEAST) {
                    self.text(line);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(entries) => entries.values().for_each(|value| self.add(value)),
        }
    }

    /// What is sensitive in a config, as far as it is known.
    pub(crate) fn put_into(&mut self, resolved: &Resolved) {
        let unknown = |place: &str| resolved.unknown.iter().any(|u| is_within(u, place));
        for place in resolved.sensitive.iter().filter(|place| !unknown(place)) {
            if let Some(value) = resolved.config.pointer(place) {
                self.add(value);
            }
        }
    }

    fn text(&mut self, text: &str) {
        let text = text.trim();
        if text.len() < SECRET_AT_LEAST || self.texts.contains(text) {
            return;
        }
        if self.texts.len() < MAX_SECRETS {
            self.texts.insert(text.to_owned());
        } else {
            self.too_many = true;
        }
    }

    /// The text with a mask in the place of every secret.
    pub(crate) fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.too_many {
            return MASK.into();
        }
        // A mask may hold the text of a secret itself, so this looks once.
        let mut covered = Vec::new();
        for secret in &self.texts {
            for (at, found) in text.match_indices(secret.as_str()) {
                covered.resize(text.len(), false);
                covered[at..at + found.len()].fill(true);
            }
        }
        if covered.is_empty() {
            return text.into();
        }
        let mut shown = String::with_capacity(text.len());
        let mut before = false;
        for (at, character) in text.char_indices() {
            match (before, covered[at]) {
                (_, false) => shown.push(character),
                (false, true) => shown.push_str(MASK),
                (true, true) => {}
            }
            before = covered[at];
        }
        shown.into()
    }

    /// The same of all texts in a value.
    pub(crate) fn hide_in(&self, value: &mut Value) {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                if let Cow::Owned(shown) = self.hide(&number.to_string()) {
                    *value = shown.into();
                }
            }
            Value::String(text) => {
                if let Cow::Owned(shown) = self.hide(text) {
                    *text = shown;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_in(item)),
            Value::Object(entries) => entries.values_mut().for_each(|value| self.hide_in(value)),
        }
    }

    /// The same of what an engine says went wrong.
    pub(crate) fn hide_error(&self, error: EngineError) -> EngineError {
        let hide = |text: String| self.hide(&text).into_owned();
        match error {
            EngineError::Invalid(violations) => {
                let hidden = violations.into_iter().map(|violation| EngineViolation {
                    path: hide(violation.path),
                    message: hide(violation.message),
                });
                EngineError::Invalid(hidden.collect())
            }
            EngineError::Denied(text) => EngineError::Denied(hide(text)),
            EngineError::Conflict(text) => EngineError::Conflict(hide(text)),
            EngineError::Missing(text) => EngineError::Missing(hide(text)),
            EngineError::Transient {
                message,
                retry_after,
            } => EngineError::Transient {
                message: hide(message),
                retry_after,
            },
            EngineError::Failed(text) => EngineError::Failed(hide(text)),
            EngineError::Unsupported(text) => EngineError::Unsupported(hide(text)),
            EngineError::Trapped(text) => EngineError::Trapped(hide(text)),
            EngineError::LimitExceeded { limit, message } => EngineError::LimitExceeded {
                limit,
                message: hide(message),
            },
            EngineError::Unavailable {
                message,
                retry_after,
            } => EngineError::Unavailable {
                message: hide(message),
                retry_after,
            },
        }
    }

    /// Whether a value has a secret in it. Recurses as deep as JSON was read.
    fn is_in(&self, value: &Value) -> bool {
        let among = |text: &str| self.texts.iter().any(|secret| text.contains(secret));
        self.too_many
            || match value {
                Value::Null | Value::Bool(_) => false,
                Value::Number(number) => among(&number.to_string()),
                Value::String(text) => among(text),
                Value::Array(items) => items.iter().any(|item| self.is_in(item)),
                Value::Object(entries) => entries.values().any(|value| self.is_in(value)),
            }
    }
}

/// As it stands within JSON, and within what people's languages quote.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.trim_matches('"').to_owned()
}

/// A difference without sensitive values: what the engine says is one, what is
/// at a sensitive place of the config, and whatever holds a secret.
pub(crate) fn masked(change: Change, places: &[String], secrets: &Secrets) -> Change {
    let holds = |value: &Option<Value>| value.as_ref().is_some_and(|v| secrets.is_in(v));
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
        let mut secrets = Secrets::default();
        secrets.add(&json!("s3cret"));
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
    }

    #[test]
    fn a_secret_is_found_in_texts_in_all_its_forms() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhki\nG9w0=\n-----END KEY-----\n";
        // What is sensitive, where it stands, and how that is shown.
        let table = [
            (json!("hunter22"), "is hunter22!", "is (sensitive)!"),
            (json!("hunter22\n"), "is hunter22!", "is (sensitive)!"),
            (json!("abc"), "abcdef", "abcdef"),
            (json!(12_345), "port 123456", "port (sensitive)6"),
            (json!(true), "true enough", "true enough"),
            (json!({ "a": ["hunter22"] }), "ühunter22", "ü(sensitive)"),
            (
                json!("a\"b\\c"),
                r#"{"p":"a\"b\\c"}"#,
                r#"{"p":"(sensitive)"}"#,
            ),
            (json!(key), key, "(sensitive)\n"),
            (json!(key), "2: MIIEvQIBADANBgkqhki", "2: (sensitive)"),
            (
                json!({ "key": key }),
                &json!({ "k": key }).to_string(),
                r#"{"k":"(sensitive)"}"#,
            ),
            // Side by side, one in another, and texts of the mask itself.
            (json!(["1111", "2222"]), "11112222", "(sensitive)"),
            (
                json!(["hunter22", "unte"]),
                "hunter22 unte",
                "(sensitive) (sensitive)",
            ),
            (
                json!(["hunter22", "sens", "(sensi"]),
                "hunter22",
                "(sensitive)",
            ),
        ];
        for (value, text, shown) in table {
            let mut secrets = Secrets::default();
            secrets.add(&value);
            assert_eq!(secrets.hide(text), shown, "{value}");
            let mut within = json!({ "of": [text, 5] });
            assert_eq!(secrets.is_in(&within), text != shown, "{value}");
            secrets.hide_in(&mut within);
            assert_eq!(within, json!({ "of": [shown, 5] }), "{value}");
        }
    }

    #[test]
    fn among_too_many_secrets_nothing_is_shown() {
        let mut secrets = Secrets::default();
        let many: Vec<_> = (0..=MAX_SECRETS).map(|n| format!("secret {n}")).collect();
        secrets.add(&json!(many));
        assert_eq!(secrets.hide("plain"), MASK);
        assert!(secrets.is_in(&json!("plain")));
    }
}
