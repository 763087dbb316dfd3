//! Puts values in the place of references.

use serde_json::Value;

use crate::definition::JsonType;
use crate::spec::{Part, Reference, Template};
use crate::text::pointer_step;
use crate::violation::MAX_VIOLATIONS;

/// The key of the object that stands for a value not known yet: `{"$unknown": "string"}`.
pub const UNKNOWN_KEY: &str = "$unknown";

/// Where in a config the first placeholder stands, as a JSON pointer.
#[must_use]
pub fn placeholder(config: &Value) -> Option<String> {
    placeholders(config).into_iter().next()
}

/// Where in a value placeholders stand, as JSON pointers. Recurses as deep as
/// the value, which the parser bounds.
#[must_use]
pub fn placeholders(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    find_placeholders(value, &mut String::new(), &mut found);
    found
}

fn find_placeholders(value: &Value, pointer: &mut String, found: &mut Vec<String>) {
    let length = pointer.len();
    match value {
        Value::Object(_) if is_placeholder(value) => found.push(pointer.clone()),
        Value::Object(entries) => {
            for (key, value) in entries {
                pointer.push('/');
                pointer.push_str(&pointer_step(key));
                find_placeholders(value, pointer, found);
                pointer.truncate(length);
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter().enumerate() {
                pointer.push_str(&format!("/{i}"));
                find_placeholders(value, pointer, found);
                pointer.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_placeholder(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|entries| entries.contains_key(UNKNOWN_KEY))
}

/// The type that a placeholder promises; none when it can be any, or when this
/// is no placeholder.
#[must_use]
pub fn promised(placeholder: &Value) -> Option<JsonType> {
    serde_json::from_value(placeholder.get(UNKNOWN_KEY)?.clone()).ok()
}

/// What is known of a reference. For [`Reference::Output`] this is the whole
/// output; the path behind it is followed by [`resolve_config`].
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// Its value.
    Value {
        /// Of the whole output.
        value: Value,
        /// Masked wherever it is shown; so is what it goes into.
        sensitive: bool,
    },
    /// It will have a value of this type; a placeholder goes in.
    Unknown {
        /// As declared.
        json_type: JsonType,
        /// Masked wherever it is shown; so is what it goes into.
        sensitive: bool,
    },
    /// It should have a value by now and has none; the text says why.
    Missing(String),
}

/// A config with its values in.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The config.
    pub config: Value,
    /// JSON pointers to the values that a sensitive value went into.
    pub sensitive: Vec<String>,
    /// JSON pointers to the placeholders of values not known yet.
    pub unknown: Vec<String>,
}

/// A reference that could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: ${{{reference}}}: {problem}")]
pub struct Unresolved {
    /// JSON pointer into the config.
    pub pointer: String,
    /// What stands between `${` and `}`.
    pub reference: String,
    /// What is wrong.
    pub problem: String,
}

/// What references may add to one config, in bytes of text: as much as a whole
/// request may have.
const MAX_RESOLVED_BYTES: usize = crate::spec::MAX_BODY_BYTES;

/// Puts values into a config. A text that is exactly one reference takes the
/// value with its JSON type; within longer text scalars are written as text
/// and anything else is an error. A text with an unknown value in it becomes
/// `{"$unknown": "string"}` as a whole; a path behind an unknown value makes
/// `{"$unknown": "any"}`. A value may be unknown in part: the placeholders in
/// it stand for what they stand for everywhere. Keys are left as they are.
///
/// # Errors
/// Every reference that has no value, or one that does not fit; never empty.
pub fn resolve_config(
    config: &Value,
    lookup: &mut dyn FnMut(&Reference) -> Lookup,
) -> Result<Resolved, Vec<Unresolved>> {
    let mut resolver = Resolver {
        lookup,
        pointer: String::new(),
        bytes: 0,
        sensitive: Vec::new(),
        unknown: Vec::new(),
        problems: Vec::new(),
    };
    let config = resolver.value(config);
    let Resolver {
        sensitive,
        unknown,
        problems,
        ..
    } = resolver;
    if problems.is_empty() {
        Ok(Resolved {
            config,
            sensitive,
            unknown,
        })
    } else {
        Err(problems)
    }
}

struct Resolver<'l> {
    lookup: &'l mut dyn FnMut(&Reference) -> Lookup,
    pointer: String,
    bytes: usize,
    sensitive: Vec<String>,
    unknown: Vec<String>,
    problems: Vec<Unresolved>,
}

/// What goes in the place of one reference.
enum Piece {
    Known(Value),
    Unknown(&'static str),
    /// Told already.
    Nothing,
}

impl Resolver<'_> {
    /// Recurses as deep as the config, which the parser bounds.
    fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) if Template::has_markup(text) => self.text(text),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                Value::Array(
                    items
                        .map(|(i, item)| self.under(&i.to_string(), item))
                        .collect(),
                )
            }
            Value::Object(entries) => {
                let entries = entries.iter();
                Value::Object(
                    entries
                        .map(|(key, item)| (key.clone(), self.under(&pointer_step(key), item)))
                        .collect(),
                )
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }

    fn under(&mut self, step: &str, value: &Value) -> Value {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(step);
        let value = self.value(value);
        self.pointer.truncate(length);
        value
    }

    fn text(&mut self, text: &str) -> Value {
        let template = match Template::parse(text) {
            Ok(template) => template,
            // Planning refused it; a config from elsewhere is not trusted.
            Err(error) => {
                self.problem(crate::text::shortened(text, 80), error.to_string());
                return Value::Null;
            }
        };
        if let Some(reference) = template.whole() {
            return match self.piece(reference) {
                Piece::Known(value) => {
                    let inner = placeholders(&value).into_iter();
                    self.unknown
                        .extend(inner.map(|rest| format!("{}{rest}", self.pointer)));
                    value
                }
                Piece::Unknown(json_type) => self.placeholder(json_type),
                Piece::Nothing => Value::Null,
            };
        }
        let mut whole = String::new();
        let mut unknown = false;
        for part in template.parts() {
            match part {
                Part::Literal(literal) => whole.push_str(literal),
                Part::Reference(reference) => match self.piece(reference) {
                    Piece::Known(Value::String(text)) => whole.push_str(&text),
                    Piece::Known(scalar @ (Value::Bool(_) | Value::Number(_))) => {
                        whole.push_str(&scalar.to_string())
                    }
                    Piece::Known(other) => {
                        let problem = format!("{} cannot stand within a longer text", kind(&other));
                        self.problem(reference.to_string(), problem);
                    }
                    Piece::Unknown(_) => unknown = true,
                    Piece::Nothing => {}
                },
            }
        }
        if unknown {
            self.placeholder("string")
        } else {
            Value::String(whole)
        }
    }

    fn piece(&mut self, reference: &Reference) -> Piece {
        let path: &[String] = match reference {
            Reference::Output { path, .. } => path,
            _ => &[],
        };
        match (self.lookup)(reference) {
            Lookup::Value { value, sensitive } => {
                self.mark(sensitive);
                let Some(value) = follow(value, path) else {
                    let problem = format!("the output has no {:?}", path.join("."));
                    self.problem(reference.to_string(), problem);
                    return Piece::Nothing;
                };
                if is_placeholder(&value) {
                    return Piece::Unknown(promised(&value).map_or("any", JsonType::as_str));
                }
                self.bytes = self.bytes.saturating_add(size(&value));
                if self.bytes > MAX_RESOLVED_BYTES {
                    let problem = format!(
                        "the values put into this config exceed {MAX_RESOLVED_BYTES} bytes"
                    );
                    self.problem(reference.to_string(), problem);
                    return Piece::Nothing;
                }
                Piece::Known(value)
            }
            Lookup::Unknown {
                json_type,
                sensitive,
            } => {
                self.mark(sensitive);
                Piece::Unknown(if path.is_empty() {
                    json_type.as_str()
                } else {
                    "any"
                })
            }
            Lookup::Missing(problem) => {
                self.problem(reference.to_string(), problem);
                Piece::Nothing
            }
        }
    }

    fn placeholder(&mut self, json_type: &str) -> Value {
        self.unknown.push(self.pointer.clone());
        serde_json::json!({ UNKNOWN_KEY: json_type })
    }

    fn mark(&mut self, sensitive: bool) {
        if sensitive && self.sensitive.last() != Some(&self.pointer) {
            self.sensitive.push(self.pointer.clone());
        }
    }

    fn problem(&mut self, reference: String, problem: String) {
        if self.problems.len() < MAX_VIOLATIONS {
            self.problems.push(Unresolved {
                pointer: self.pointer.clone(),
                reference,
                problem,
            });
        }
    }
}

/// Follows keys and indexes into a value. What is behind an unknown value is
/// unknown, of any type.
fn follow(mut value: Value, path: &[String]) -> Option<Value> {
    for step in path {
        if is_placeholder(&value) {
            return Some(serde_json::json!({ UNKNOWN_KEY: "any" }));
        }
        value = match value {
            Value::Object(mut entries) => entries.remove(step)?,
            Value::Array(mut items) => {
                let index: usize = step.parse().ok()?;
                if index < items.len() {
                    items.swap_remove(index)
                } else {
                    return None;
                }
            }
            _ => return None,
        };
    }
    Some(value)
}

/// About how much text a value is. Recurses as deep as JSON was read.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 2,
        Value::Object(entries) => {
            entries
                .iter()
                .map(|(key, value)| key.len() + 4 + size(value))
                .sum::<usize>()
                + 2
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
        Value::Bool(_) | Value::Number(_) | Value::String(_) => "a scalar",
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
