//! What an engine would do: its dry run.

use serde_json::Value;

use crate::value::{JsonType, token, unknown};

/// What happens to a resource as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Noop,
    /// It comes into being.
    Create,
    /// It changes in place.
    Update,
    /// All or part of it is destroyed and made again.
    Replace,
    /// It goes.
    Delete,
}

/// One thing that changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// A JSON pointer, or the engine's own address of what changes.
    pub path: String,
    /// The value now; none where there is none.
    pub before: Option<Value>,
    /// The value afterwards; none where there will be none.
    pub after: Option<Value>,
    /// Whether the host masks the values.
    pub sensitive: bool,
}

/// An output that will exist after apply.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedOutput {
    /// The declared name.
    pub name: String,
    /// Its value, when that is known before apply.
    pub known: Option<Value>,
    /// Its type.
    pub json_type: JsonType,
    /// Whether the host masks it.
    pub sensitive: bool,
}

/// An engine's dry run of one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct ProposedChanges {
    /// What happens to the resource as a whole.
    pub action: Action,
    /// What changes in it.
    pub changes: Vec<Change>,
    /// What it will offer.
    pub outputs: Vec<PlannedOutput>,
    /// One line for people.
    pub summary: String,
}

impl ProposedChanges {
    /// Changes of a kind; add to it.
    pub fn new(action: Action, summary: impl Into<String>) -> Self {
        Self {
            action,
            changes: Vec::new(),
            outputs: Vec::new(),
            summary: summary.into(),
        }
    }

    /// The difference between two documents, most often the prior config and
    /// the config: `create` without a `before`, `delete` without an `after`,
    /// `noop` when they are equal, `update` otherwise. An unknown value counts
    /// as a change, because it may become anything.
    #[must_use]
    pub fn diff(before: Option<&Value>, after: Option<&Value>) -> Self {
        let changes = diff(before, after);
        let action = match (before, after) {
            (None, None) => Action::Noop,
            (None, Some(_)) => Action::Create,
            (Some(_), None) => Action::Delete,
            (Some(_), Some(_)) if changes.is_empty() => Action::Noop,
            (Some(_), Some(_)) => Action::Update,
        };
        let summary = match (action, changes.len()) {
            (Action::Noop, _) => "nothing changes".into(),
            (Action::Create, _) => "will be created".into(),
            (Action::Delete, _) => "will be deleted".into(),
            (_, 1) => "1 value changes".into(),
            (_, n) => format!("{n} values change"),
        };
        Self {
            changes,
            ..Self::new(action, summary)
        }
    }

    /// Adds an output whose value is known already.
    #[must_use]
    pub fn known_output(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let value = value.into();
        let (known, json_type) = match unknown(&value) {
            Some(json_type) => (None, json_type),
            None => (Some(value.clone()), JsonType::of(&value)),
        };
        self.outputs.push(PlannedOutput {
            name: name.into(),
            known,
            json_type,
            sensitive: false,
        });
        self
    }

    /// Adds an output of which only the type is known.
    #[must_use]
    pub fn unknown_output(mut self, name: impl Into<String>, json_type: JsonType) -> Self {
        self.outputs.push(PlannedOutput {
            name: name.into(),
            known: None,
            json_type,
            sensitive: false,
        });
        self
    }
}

/// The smallest values that differ between two documents, each with its JSON
/// pointer, in document order. Objects are compared by key and lists by place;
/// the work and the depth are those of the documents.
#[must_use]
pub fn diff(before: Option<&Value>, after: Option<&Value>) -> Vec<Change> {
    let mut changes = Vec::new();
    collect(String::new(), before, after, &mut changes);
    changes
}

fn collect(path: String, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new)))
            if unknown_in(before).is_none() && unknown_in(after).is_none() =>
        {
            for (key, value) in old {
                collect(
                    path.clone() + &token(key),
                    Some(value),
                    new.get(key),
                    changes,
                );
            }
            for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                collect(path.clone() + &token(key), None, Some(value), changes);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for i in 0..old.len().max(new.len()) {
                collect(format!("{path}/{i}"), old.get(i), new.get(i), changes);
            }
        }
        (before, after) if before == after && unknown_in(after).is_none() => {}
        (before, after) => changes.push(Change {
            path,
            before: before.cloned(),
            after: after.cloned(),
            sensitive: false,
        }),
    }
}

fn unknown_in(value: Option<&Value>) -> Option<JsonType> {
    value.and_then(unknown)
}
