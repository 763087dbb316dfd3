//! Finds the references in a config.

use serde_json::Value;

use super::{Reference, Template};
use crate::text::{listed, nearest, pointer_step};

/// Something found in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A reference in a text; `whole` when the text is nothing else, so that
    /// the value keeps its type.
    Reference { whole: bool, reference: Reference },
    /// A text that cannot be read, or a reference where none is replaced.
    Unreadable(String),
}

/// Calls `report` with the JSON pointer and each thing found, in the order of
/// the config. Recurses as deep as the config, which the parser bounds.
pub(crate) fn scan(config: &Value, report: &mut dyn FnMut(String, Found)) {
    walk(config, &mut Vec::new(), report);
}

/// Why a name in a reference or dependency names nothing.
pub(crate) fn no_such_resource<'a>(
    name: &str,
    all: impl Iterator<Item = &'a str> + Clone,
) -> String {
    match nearest(name, all.clone()) {
        Some(meant) => {
            format!("there is no resource {name:?} in this deployment; did you mean {meant:?}?")
        }
        None => format!(
            "there is no resource {name:?} in this deployment; there are: {}",
            listed(all)
        ),
    }
}

#[derive(Debug, Clone, Copy)]
enum Step<'v> {
    Key(&'v str),
    Index(usize),
}

fn walk<'v>(value: &'v Value, path: &mut Vec<Step<'v>>, report: &mut dyn FnMut(String, Found)) {
    match value {
        Value::String(text) if Template::has_markup(text) => match Template::parse(text) {
            Ok(template) => {
                let whole = template.whole().is_some();
                for reference in template.references() {
                    report(
                        pointer(path),
                        Found::Reference {
                            whole,
                            reference: reference.clone(),
                        },
                    );
                }
            }
            Err(error) => report(pointer(path), Found::Unreadable(error.to_string())),
        },
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                path.push(Step::Index(i));
                walk(item, path, report);
                path.pop();
            }
        }
        Value::Object(entries) => {
            for (key, item) in entries {
                path.push(Step::Key(key));
                if refers(key) {
                    let message = "a reference stands in a key, where it would stay as it is; \
                                   references are replaced in values only";
                    report(pointer(path), Found::Unreadable(message.into()));
                }
                walk(item, path, report);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn refers(key: &str) -> bool {
    Template::has_markup(key)
        && Template::parse(key).is_ok_and(|key| key.references().next().is_some())
}

fn pointer(path: &[Step<'_>]) -> String {
    let mut pointer = String::new();
    for step in path {
        pointer.push('/');
        match step {
            Step::Key(key) => pointer.push_str(&pointer_step(key)),
            Step::Index(index) => pointer.push_str(&index.to_string()),
        }
    }
    pointer
}
