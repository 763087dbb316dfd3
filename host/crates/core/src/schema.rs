//! Config schemas: JSON Schema, with places whose values are not known yet.

use std::sync::Arc;

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::definition::JsonType;
use crate::text::{did_you_mean, listed, pointer_step, shortened};

/// Steps that a pattern of a schema may take on one text, so that no config
/// makes the host think for minutes.
const PATTERN_STEPS: usize = 100_000;
/// A value in a message.
const SHOWN: usize = 120;

/// A compiled schema. Compiling takes some ten microseconds per keyword;
/// checking takes less.
#[derive(Debug)]
pub struct ConfigSchema {
    schema: Arc<Value>,
    validator: Validator,
}

/// A place in a config where a value will be put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wildcard {
    /// JSON pointer into the config.
    pub pointer: String,
    /// The value's type; none when it can be any.
    pub json_type: Option<JsonType>,
}

/// Something that a config's schema refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// JSON pointer into the config.
    pub pointer: String,
    /// What is wrong and what to do; of a wildcard it begins with `is`.
    pub message: String,
    /// The type of a wildcard is what was refused.
    pub reference_type: bool,
}

impl ConfigSchema {
    /// Compiles a schema. References to other documents are refused.
    ///
    /// # Errors
    /// A sentence that says where in the schema what is wrong.
    pub fn compile(schema: &Arc<Value>) -> Result<Self, String> {
        let options = jsonschema::options()
            .offline()
            .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(PATTERN_STEPS));
        let validator = options.build(schema).map_err(|error| {
            let place = error.instance_path().as_str();
            let place = if place.is_empty() {
                String::new()
            } else {
                format!("at {place}: ")
            };
            format!("{place}{}", shortened(&error.to_string(), 4 * SHOWN))
        })?;
        Ok(Self {
            schema: Arc::clone(schema),
            validator,
        })
    }

    /// What the schema refuses in a config. In place of a wildcard any value of
    /// its type is thought; what depends on the value itself is not refused.
    #[must_use]
    pub fn check(&self, config: &Value, wildcards: &[Wildcard]) -> Vec<Refusal> {
        if wildcards.is_empty() && self.validator.is_valid(config) {
            return Vec::new();
        }
        let mut thought = config.clone();
        for wildcard in wildcards {
            if let (Some(place), Some(json_type)) =
                (thought.pointer_mut(&wildcard.pointer), wildcard.json_type)
            {
                *place = sample(json_type);
            }
        }
        let mut refusals = Vec::new();
        for error in self.validator.iter_errors(&thought) {
            if !excused(&error, wildcards) {
                self.explain(&error, wildcards, &mut refusals);
            }
        }
        refusals.sort_by(|a, b| (&a.pointer, &a.message).cmp(&(&b.pointer, &b.message)));
        refusals.dedup();
        refusals
    }

    /// What the schema refuses in a config that is whole. No message holds a
    /// value that a sensitive one went into, at one of these JSON pointers.
    #[must_use]
    pub fn check_whole(&self, config: &Value, sensitive: &[String]) -> Vec<Refusal> {
        self.check_resolved(config, &[], sensitive)
    }

    /// The same of a config in which some values are not known yet.
    #[must_use]
    pub fn check_resolved(
        &self,
        config: &Value,
        wildcards: &[Wildcard],
        sensitive: &[String],
    ) -> Vec<Refusal> {
        let mut refusals = self.check(config, wildcards);
        for refusal in &mut refusals {
            let near = |pointer: &String| {
                pointer.starts_with(&refusal.pointer) || refusal.pointer.starts_with(pointer)
            };
            if sensitive.iter().any(near) {
                refusal.message =
                    "a sensitive value that was put in is not one that the config's schema takes"
                        .into();
            }
        }
        refusals
    }

    fn explain(
        &self,
        error: &ValidationError<'_>,
        wildcards: &[Wildcard],
        refusals: &mut Vec<Refusal>,
    ) {
        let pointer = error.instance_path().as_str();
        if let Some(wildcard) = wildcards
            .iter()
            .find(|wildcard| wildcard.pointer == pointer)
        {
            let is = wildcard.json_type.map_or("a value", type_name);
            let message = match error.kind() {
                Kind::Type { kind } => {
                    format!(
                        "is {is}, and the config's schema wants {} here",
                        wanted(kind)
                    )
                }
                Kind::FalseSchema => "is not allowed here by the config's schema".into(),
                _ => format!("is {is}, and the config's schema wants another type here"),
            };
            refusals.push(Refusal {
                pointer: pointer.into(),
                message,
                reference_type: true,
            });
            return;
        }
        let mut refuse = |pointer: String, message: String| {
            refusals.push(Refusal {
                pointer,
                message,
                reference_type: false,
            });
        };
        match error.kind() {
            Kind::AdditionalProperties { unexpected }
            | Kind::UnevaluatedProperties { unexpected } => {
                let known = self.siblings(error);
                for key in unexpected {
                    let hint = did_you_mean(key, known.iter().copied());
                    let all = match (hint.is_empty(), known.is_empty()) {
                        (false, _) => String::new(),
                        (true, true) => "; it takes none".into(),
                        (true, false) => format!("; known are {}", listed(&known)),
                    };
                    let message = format!(
                        "there is no field {:?} here{hint}{all}",
                        shortened(key, SHOWN)
                    );
                    refuse(
                        format!("{pointer}/{}", pointer_step(&shortened(key, SHOWN))),
                        message,
                    );
                }
            }
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let meaning = self
                    .sibling(error, name)
                    .and_then(|schema| schema.get("description")?.as_str());
                let meaning = meaning
                    .map(|text| format!(": {}", shortened(text, SHOWN)))
                    .unwrap_or_default();
                refuse(
                    pointer.into(),
                    format!("the field {name:?} is missing{meaning}"),
                );
            }
            Kind::Type { kind } => {
                let is = shown(error.instance());
                refuse(
                    pointer.into(),
                    format!("must be {}, not {is}", wanted(kind)),
                );
            }
            Kind::Enum { options } => {
                let options = options
                    .as_array()
                    .map(|all| listed(all.iter()))
                    .unwrap_or_default();
                refuse(
                    pointer.into(),
                    format!(
                        "is {}; it must be one of {options}",
                        shown(error.instance())
                    ),
                );
            }
            Kind::Constant { expected_value } => {
                refuse(
                    pointer.into(),
                    format!(
                        "is {}; it must be {expected_value}",
                        shown(error.instance())
                    ),
                );
            }
            Kind::Minimum { limit } => {
                refuse(
                    pointer.into(),
                    format!(
                        "is {}; it must be at least {limit}",
                        shown(error.instance())
                    ),
                );
            }
            Kind::Maximum { limit } => {
                refuse(
                    pointer.into(),
                    format!("is {}; it must be at most {limit}", shown(error.instance())),
                );
            }
            Kind::Pattern { pattern } => {
                let is = shown(error.instance());
                refuse(
                    pointer.into(),
                    format!(
                        "is {is}; it must match the pattern {}",
                        shortened(pattern, SHOWN)
                    ),
                );
            }
            Kind::FalseSchema => refuse(pointer.into(), "is not allowed here".into()),
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                // The branch that fails deepest is the one that was meant.
                let depth = |branch: &Vec<ValidationError<'_>>| {
                    branch
                        .iter()
                        .map(|e| e.instance_path().as_str().len())
                        .max()
                        .unwrap_or(0)
                };
                let closest = context.iter().max_by_key(|branch| depth(branch));
                match closest.filter(|branch| depth(branch) > pointer.len()) {
                    Some(branch) => branch
                        .iter()
                        .for_each(|error| self.explain(error, wildcards, refusals)),
                    None => {
                        let reasons = listed(
                            context
                                .iter()
                                .flatten()
                                .map(|e| shortened(&e.masked().to_string(), SHOWN)),
                        );
                        refuse(
                            pointer.into(),
                            format!("fits none of the allowed forms: {reasons}"),
                        );
                    }
                }
            }
            _ => refuse(pointer.into(), shortened(&error.to_string(), 3 * SHOWN)),
        }
    }

    /// The schema of a sibling of what went wrong.
    fn sibling(&self, error: &ValidationError<'_>, name: &str) -> Option<&Value> {
        self.object_schema(error)?.get("properties")?.get(name)
    }

    /// The fields that are known where an unknown one stands.
    fn siblings(&self, error: &ValidationError<'_>) -> Vec<&str> {
        let properties = self
            .object_schema(error)
            .and_then(|schema| schema.get("properties")?.as_object());
        properties
            .map(|properties| properties.keys().map(String::as_str).collect())
            .unwrap_or_default()
    }

    fn object_schema(&self, error: &ValidationError<'_>) -> Option<&Value> {
        let (object, _) = error.schema_path().as_str().rsplit_once('/')?;
        self.schema.pointer(object)
    }
}

/// Whether what is wrong may be right once the wildcards have their values.
fn excused(error: &ValidationError<'_>, wildcards: &[Wildcard]) -> bool {
    let pointer = error.instance_path().as_str();
    let kind = error.kind();
    if let Some(wildcard) = wildcards
        .iter()
        .find(|wildcard| at_or_below(pointer, &wildcard.pointer))
    {
        return match (kind, wildcard.json_type) {
            (Kind::FalseSchema, _) => false,
            (_, None) => true,
            (Kind::Type { .. }, Some(_)) => pointer != wildcard.pointer,
            (Kind::Enum { options }, Some(json_type)) => options
                .as_array()
                .is_none_or(|all| all.iter().any(|option| json_type.accepts(option))),
            (Kind::Constant { expected_value }, Some(json_type)) => {
                json_type.accepts(expected_value)
            }
            (Kind::AnyOf { context } | Kind::OneOfNotValid { context }, Some(_)) => {
                some_branch_excused(context, wildcards)
            }
            _ => true,
        };
    }
    // What was decided by `if` was decided by the sample.
    let schema_path = error.schema_path().as_str();
    if !wildcards.is_empty() && (schema_path.contains("/then/") || schema_path.contains("/else/")) {
        return true;
    }
    if !wildcards
        .iter()
        .any(|wildcard| at_or_below(&wildcard.pointer, pointer))
    {
        return false;
    }
    match kind {
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            some_branch_excused(context, wildcards)
        }
        Kind::OneOfMultipleValid { .. }
        | Kind::Not { .. }
        | Kind::Contains
        | Kind::UniqueItems
        | Kind::Enum { .. }
        | Kind::Constant { .. } => true,
        _ => false,
    }
}

fn some_branch_excused(context: &[Vec<ValidationError<'static>>], wildcards: &[Wildcard]) -> bool {
    context
        .iter()
        .any(|branch| branch.iter().all(|error| excused(error, wildcards)))
}

fn at_or_below(pointer: &str, place: &str) -> bool {
    pointer
        .strip_prefix(place)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A value of a type. 1.5 is a number and no integer; every integer is a number.
fn sample(json_type: JsonType) -> Value {
    match json_type {
        JsonType::String => Value::String("${…}".into()),
        JsonType::Number => serde_json::json!(1.5),
        JsonType::Integer => 1.into(),
        JsonType::Boolean => true.into(),
        JsonType::Object => Value::Object(Default::default()),
        JsonType::Array => Value::Array(Vec::new()),
    }
}

/// With its article.
pub(crate) fn type_name(json_type: JsonType) -> &'static str {
    match json_type {
        JsonType::String => "a string",
        JsonType::Number => "a number",
        JsonType::Integer => "an integer",
        JsonType::Boolean => "a boolean",
        JsonType::Object => "an object",
        JsonType::Array => "an array",
    }
}

fn with_article(name: &str) -> String {
    let article = if name.starts_with(['a', 'i', 'o']) {
        "an"
    } else {
        "a"
    };
    if name == "null" {
        name.into()
    } else {
        format!("{article} {name}")
    }
}

fn wanted(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => with_article(&one.to_string()),
        TypeKind::Multiple(several) => {
            let names: Vec<String> = several
                .iter()
                .map(|one| with_article(&one.to_string()))
                .collect();
            names.join(" or ")
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
        other => shortened(&other.to_string(), SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_from_elsewhere_and_broken_ones_are_refused() {
        for schema in [
            json!({"$ref": "https://example.com/x.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"type": "strin"}),
            json!({"properties": {"a": {"pattern": "("}}}),
            json!({"$ref": "#/$defs/nothing"}),
            json!(5),
        ] {
            let error = ConfigSchema::compile(&Arc::new(schema.clone())).unwrap_err();
            assert!(error.len() < 600, "{schema}: {error}");
        }
    }

    #[test]
    fn schemas_that_refer_to_themselves_end() {
        let tree = json!({"properties": {"child": {"$ref": "#"}, "n": {"type": "integer"}}});
        let tree = ConfigSchema::compile(&Arc::new(tree)).unwrap();
        let refusals = tree.check(&json!({"child": {"child": {"n": "x"}}}), &[]);
        assert_eq!(refusals[0].pointer, "/child/child/n");
        for endless in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"$ref": "#"}]}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#"}]}}}),
        ] {
            if let Ok(schema) = ConfigSchema::compile(&Arc::new(endless)) {
                let _ = schema.check(&json!({"a": 1}), &[]);
            }
        }
    }

    #[test]
    fn a_pattern_cannot_take_for_ever() {
        let schema = json!({"properties": {"a": {"pattern": "^(a|a?)+(?=b)$"}}});
        let schema = ConfigSchema::compile(&Arc::new(schema)).unwrap();
        assert!(
            !schema
                .check(&json!({"a": "a".repeat(100_000)}), &[])
                .is_empty()
        );
    }
}
