//! The root module: one call of the definition's module, the variables as
//! locals, the declared outputs, the backend.

use nestor_sdk::value::{has_unknown, unknown};
use nestor_sdk::{JsonType, Request, Value, json};
use serde_json::Map;

use crate::section::Section;

/// The name of the module call; every address begins with it.
pub const MODULE: &str = "main";

/// The output that tells which outputs are sensitive.
pub const SENSITIVITY: &str = "nestor_sensitive";

/// In a preview: the resource whose output is not known before apply.
pub const UNKNOWN: &str = "nestor_unknown";

/// A root module as two files.
#[derive(Debug, Clone, PartialEq)]
pub struct Root {
    /// `main.tf.json`.
    pub main: Value,
    /// `terraform.tfvars.json`: values here are plain, nothing in them is taken
    /// for an expression.
    pub variables: Value,
    /// Whether some values are not known yet. Such a root is only ever planned.
    pub preview: bool,
}

/// Writes the root module.
///
/// Every output is marked sensitive at the root, because Terraform refuses a
/// root output that is made from something sensitive and does not say so; an
/// output of its own tells which ones really are.
#[must_use]
pub fn root(
    section: &Section,
    request: &Request,
    variables: &Map<String, Value>,
    source: &str,
    backend: &Value,
) -> Root {
    let preview = variables.values().any(has_unknown);
    let (mut declared, mut locals, mut values) = (Map::new(), Map::new(), Map::new());
    let mut call = Map::new();
    call.insert("source".into(), json!(source));
    for (name, value) in variables {
        if has_unknown(value) {
            locals.insert(name.clone(), expression(value));
        } else {
            declared.insert(name.clone(), json!({}));
            values.insert(name.clone(), value.clone());
            locals.insert(name.clone(), json!(format!("${{var.{name}}}")));
        }
        call.insert(name.clone(), json!(format!("${{local.{name}}}")));
    }

    let (mut outputs, mut sensitivity) = (Map::new(), Map::new());
    for name in request.declared_outputs.keys() {
        let of = format!("module.{MODULE}.{}", section.module_output(name));
        outputs.insert(
            name.clone(),
            json!({"value": format!("${{{of}}}"), "sensitive": true}),
        );
        sensitivity.insert(name.clone(), json!(format!("${{issensitive({of})}}")));
    }
    outputs.insert(SENSITIVITY.into(), json!({ "value": sensitivity }));

    let mut terraform = Map::new();
    terraform.insert("backend".into(), backend.clone());
    if !section.required_providers.is_empty() {
        terraform.insert(
            "required_providers".into(),
            json!(section.required_providers),
        );
    }
    let mut main = Map::new();
    main.insert("terraform".into(), Value::Object(terraform));
    let mut add = |key: &str, block: Map<String, Value>| {
        if !block.is_empty() {
            main.insert(key.into(), Value::Object(block));
        }
    };
    add("provider", section.providers.clone());
    add("variable", declared);
    add("locals", locals);
    add("output", outputs);
    main.insert("module".into(), json!({ MODULE: call }));
    if preview {
        main.insert(
            "resource".into(),
            json!({"terraform_data": {UNKNOWN: {"input": ""}}}),
        );
    }
    Root {
        main: Value::Object(main),
        variables: Value::Object(values),
        preview,
    }
}

/// A value in which something is unknown, as an expression of Terraform's JSON
/// syntax: what is known stays literal, what is not comes out of a resource that
/// does not exist yet, so that Terraform carries it through the whole plan.
fn expression(value: &Value) -> Value {
    if let Some(json_type) = unknown(value) {
        let source = format!("terraform_data.{UNKNOWN}.output");
        return match json_type {
            JsonType::String => json!(format!("${{{source}}}")),
            JsonType::Number | JsonType::Integer => json!(format!("${{tonumber({source})}}")),
            JsonType::Boolean => json!(format!("${{tobool({source})}}")),
            // Unknown in its type as well, so that any list or object type takes it.
            JsonType::Array | JsonType::Object | JsonType::Any => {
                json!(format!("${{jsondecode({source})}}"))
            }
            JsonType::Null => Value::Null,
        };
    }
    match value {
        Value::String(text) => json!(escape(text)),
        Value::Array(items) => items.iter().map(expression).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (escape(key), expression(value)))
            .collect(),
        other => other.clone(),
    }
}

/// Keeps a text from being taken for a template.
fn escape(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}
