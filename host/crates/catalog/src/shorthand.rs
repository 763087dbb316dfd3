//! Config schemas written short.
//!
//! ```yaml
//! config:
//!   size: integer                    # must be there
//!   zone?: string                    # may be left out
//!   engine: {type: string, enum: [mysql, mariadb], default: mysql}   # may be left out too
//! ```
//!
//! A `config` with `type: object`, `properties`, `$ref` or `$schema` is JSON
//! Schema as it stands. Without `config` any object will do.

use nestor_core::text::listed;
use serde_json::{Map, Value, json};

use crate::yaml::{Item, Node, Problem};

/// The words that stand for a whole field.
const TYPES: [&str; 6] = ["string", "number", "integer", "boolean", "object", "array"];

/// The schema that a definition's `config` means.
pub(crate) fn schema(config: Option<&Item>, problems: &mut Vec<Problem>) -> Value {
    let Some(config) = config.filter(|item| !item.is_null()) else {
        return json!({ "type": "object" });
    };
    let Node::Table(fields) = &config.node else {
        let kind = config.kind();
        problems.push(Problem::at(
            config.line,
            format!("config: must be a mapping of fields, not {kind}"),
        ));
        return json!({ "type": "object" });
    };
    if is_schema(config) {
        let mut schema = config.to_json();
        match config.get("type").map(Item::text) {
            None => schema["type"] = "object".into(),
            Some(Some("object")) => {}
            Some(_) => {
                problems.push(Problem::at(
                    config.line_of("/type"),
                    "config: a config is an object; write `type: object`",
                ));
            }
        }
        return schema;
    }
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (key, line, item) in fields {
        let name = key.strip_suffix('?').unwrap_or(key);
        match field(item) {
            Ok(schema) => {
                if !key.ends_with('?') && schema.get("default").is_none() {
                    required.push(Value::from(name));
                }
                if properties.insert(name.to_owned(), schema).is_some() {
                    problems.push(Problem::at(
                        *line,
                        format!("config.{name}: stands here twice; keep one"),
                    ));
                }
            }
            Err(message) => problems.push(Problem::at(*line, format!("config.{name}: {message}"))),
        }
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn is_schema(config: &Item) -> bool {
    let object = config.get("type").and_then(Item::text) == Some("object");
    let properties = config
        .get("properties")
        .is_some_and(|p| matches!(p.node, Node::Table(_)));
    object || properties || config.get("$ref").is_some() || config.get("$schema").is_some()
}

fn field(item: &Item) -> Result<Value, String> {
    match &item.node {
        Node::Scalar(Value::String(word)) if TYPES.contains(&word.as_str()) => {
            Ok(json!({ "type": word }))
        }
        Node::Scalar(Value::String(word)) => {
            let hint = nestor_core::text::did_you_mean(word, TYPES);
            Err(format!(
                "{word:?} is not a type{hint} (types are {}), and a schema is a mapping",
                listed(TYPES)
            ))
        }
        Node::Scalar(Value::Bool(true)) => Ok(json!({})),
        Node::Table(_) => Ok(item.to_json()),
        Node::Scalar(_) | Node::List(_) => {
            Err(format!("must be a type ({}) or a schema", listed(TYPES)))
        }
    }
}
