//! JSON values of the contract: types, values that are not known yet, pointers.

use std::fmt;

use serde_json::{Value, json};

/// The key of a value that will exist only after something else was applied.
const UNKNOWN_KEY: &str = "$unknown";

/// A JSON type, as declared outputs and unknown values name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JsonType {
    /// Text.
    String,
    /// Any number.
    Number,
    /// A number without a fraction.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array,
    /// A map with string keys.
    Object,
    /// Only `null`.
    Null,
    /// Not said.
    Any,
}

impl JsonType {
    /// The type that `name` says; [`JsonType::Any`] for a name that is none.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "string" => Self::String,
            "number" => Self::Number,
            "integer" => Self::Integer,
            "boolean" => Self::Boolean,
            "array" => Self::Array,
            "object" => Self::Object,
            "null" => Self::Null,
            _ => Self::Any,
        }
    }

    /// The narrowest type of a value.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(n) if n.is_f64() => Self::Number,
            Value::Number(_) => Self::Integer,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }

    /// The name in JSON Schema.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
            Self::Null => "null",
            Self::Any => "any",
        }
    }

    /// A value of this type that is not known yet, as `plan` carries it.
    #[must_use]
    pub fn unknown(self) -> Value {
        json!({ UNKNOWN_KEY: self.name() })
    }
}

impl fmt::Display for JsonType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The type of a value that is not known yet; none when it is known.
#[must_use]
pub fn unknown(value: &Value) -> Option<JsonType> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    map.get(UNKNOWN_KEY)?.as_str().map(JsonType::named)
}

/// Whether a value is unknown or holds one that is.
#[must_use]
pub fn has_unknown(value: &Value) -> bool {
    unknown(value).is_some()
        || match value {
            Value::Array(items) => items.iter().any(has_unknown),
            Value::Object(map) => map.values().any(has_unknown),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
}

/// One step of a JSON pointer: a slash and the key, escaped (RFC 6901).
#[must_use]
pub fn token(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The JSON pointers of all unknown values in a document.
#[must_use]
pub fn unknown_pointers(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    find_unknown(String::new(), value, &mut found);
    found
}

fn find_unknown(path: String, value: &Value, found: &mut Vec<String>) {
    if unknown(value).is_some() {
        found.push(path);
        return;
    }
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                find_unknown(format!("{path}/{i}"), item, found);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                find_unknown(path.clone() + &token(key), item, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
