//! Puts values in the place of references.

use serde_json::Value;

use crate::definition::JsonType;
use crate::spec::Reference;

/// The key of the object that stands for a value not known yet: `{"$unknown": "string"}`.
pub const UNKNOWN_KEY: &str = "$unknown";

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

/// Puts values into a config. A text that is exactly one reference takes the
/// value with its JSON type; within longer text scalars are written as text
/// and anything else is an error. A text with an unknown value in it becomes
/// `{"$unknown": "string"}` as a whole; a path behind an unknown value makes
/// `{"$unknown": "any"}`.
pub fn resolve_config(
    config: &Value,
    lookup: &mut dyn FnMut(&Reference) -> Lookup,
) -> Result<Resolved, Vec<Unresolved>> {
    let _ = (config, lookup);
    todo!()
}
