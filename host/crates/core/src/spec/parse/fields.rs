//! Reads the fields of a JSON object one by one, collecting what is wrong.

use serde_json::{Map, Value};

use crate::text::{did_you_mean, listed, pointer_step, shortened};
use crate::violation::{MAX_VIOLATIONS, Violation, ViolationCode};

/// What was found wrong so far.
pub(crate) struct Violations(pub(crate) Vec<Violation>);

impl Violations {
    pub(crate) fn add(
        &mut self,
        code: ViolationCode,
        pointer: impl Into<String>,
        message: impl Into<String>,
    ) {
        if self.0.len() < MAX_VIOLATIONS {
            self.0.push(Violation::new(code, pointer, message));
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MAX_VIOLATIONS
    }
}

/// A JSON type in the words of messages.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Why a value is not what a field wants.
pub(crate) struct Refusal(pub(crate) ViolationCode, pub(crate) String);

impl Refusal {
    /// A value that must be `wanted`, such as `a string`, and is not.
    pub(crate) fn wrong_type(wanted: &str, value: &Value) -> Self {
        let shown = match value {
            Value::Bool(_) | Value::Number(_) => format!(" ({value})"),
            Value::String(text) => format!(" ({:?})", shortened(text, 40)),
            Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        };
        Self(
            ViolationCode::WrongType,
            format!("must be {wanted}, not {}{shown}", type_name(value)),
        )
    }
}

/// The object at a place. A field that is `null` counts as absent.
pub(crate) struct Fields {
    pointer: String,
    entries: Map<String, Value>,
}

impl Fields {
    /// The fields of an object; something else, and unknown fields, are violations.
    pub(crate) fn of(
        value: Value,
        pointer: String,
        known: &[&str],
        what: &str,
        violations: &mut Violations,
    ) -> Option<Self> {
        let Value::Object(entries) = value else {
            let Refusal(code, message) = Refusal::wrong_type(&format!("an object: {what}"), &value);
            violations.add(code, pointer, message);
            return None;
        };
        for key in entries.keys().filter(|key| !known.contains(&key.as_str())) {
            let shown = shortened(key, 80);
            let hint = did_you_mean(key, known.iter().copied());
            let all = if hint.is_empty() {
                format!("; known are {}", listed(known))
            } else {
                String::new()
            };
            let message = format!("there is no field {shown:?} in {what}{hint}{all}");
            violations.add(
                ViolationCode::UnknownField,
                format!("{pointer}/{}", pointer_step(&shown)),
                message,
            );
        }
        Some(Self { pointer, entries })
    }

    /// Where a field is.
    pub(crate) fn place(&self, key: &str) -> String {
        format!("{}/{key}", self.pointer)
    }

    /// Takes a field out; none when it is absent or null.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.entries.remove(key).filter(|value| !value.is_null())
    }

    /// Reads a field; a violation when it is there and wrong.
    pub(crate) fn read<T>(
        &mut self,
        key: &str,
        violations: &mut Violations,
        parse: impl FnOnce(Value) -> Result<T, Refusal>,
    ) -> Option<T> {
        let value = self.take(key)?;
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(Refusal(code, message)) => {
                violations.add(code, self.place(key), message);
                None
            }
        }
    }

    /// Reads a field; a violation when it is wrong or absent.
    pub(crate) fn require<T>(
        &mut self,
        key: &str,
        meaning: &str,
        violations: &mut Violations,
        parse: impl FnOnce(Value) -> Result<T, Refusal>,
    ) -> Option<T> {
        if self.entries.get(key).is_none_or(Value::is_null) {
            let message = format!("the field {key:?} is missing: {meaning}");
            violations.add(ViolationCode::MissingField, self.pointer.clone(), message);
            return None;
        }
        self.read(key, violations, parse)
    }
}

/// A string.
pub(crate) fn text(value: Value) -> Result<String, Refusal> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(Refusal::wrong_type("a string", &other)),
    }
}

/// A name of some kind.
pub(crate) fn name<T: std::str::FromStr<Err = crate::ids::InvalidName>>(
    value: Value,
) -> Result<T, Refusal> {
    text(value)?
        .parse()
        .map_err(|error: crate::ids::InvalidName| {
            Refusal(ViolationCode::InvalidName, error.to_string())
        })
}

/// A list.
pub(crate) fn list(value: Value) -> Result<Vec<Value>, Refusal> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(Refusal::wrong_type("an array", &other)),
    }
}

/// A whole number within bounds.
pub(crate) fn integer(value: Value, min: i64, max: i64) -> Result<i64, Refusal> {
    let Some(number) = value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX)) else {
        return Err(Refusal::wrong_type("a whole number", &value));
    };
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(Refusal(
            ViolationCode::InvalidValue,
            format!("is {value}; it must be {min} to {max}"),
        ))
    }
}

/// A duration such as `"5m"` within bounds.
pub(crate) fn duration(
    value: Value,
    min: std::time::Duration,
    max: std::time::Duration,
) -> Result<std::time::Duration, Refusal> {
    use crate::units::{parse_duration, show_duration};
    let text = match value {
        Value::String(text) => text,
        other => {
            return Err(Refusal::wrong_type(
                "a string such as \"90s\", \"5m\" or \"1h30m\"",
                &other,
            ));
        }
    };
    let duration =
        parse_duration(&text).map_err(|message| Refusal(ViolationCode::InvalidValue, message))?;
    if duration < min || duration > max {
        let (is, min, max) = (
            show_duration(duration),
            show_duration(min),
            show_duration(max),
        );
        return Err(Refusal(
            ViolationCode::InvalidValue,
            format!("is {is}; it must be {min} to {max}"),
        ));
    }
    Ok(duration)
}

/// One of a few words.
pub(crate) fn one_of<T: Copy>(value: Value, words: &[(&str, T)]) -> Result<T, Refusal> {
    let text = text(value)?;
    words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, meant)| *meant)
        .ok_or_else(|| {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let hint = did_you_mean(&text, all.iter().copied());
            let shown = shortened(&text, 40);
            Refusal(
                ViolationCode::InvalidValue,
                format!("is {shown:?}; it must be one of {}{hint}", listed(&all)),
            )
        })
}
