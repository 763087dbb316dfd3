//! What the catalog offers: definitions with a config schema, typed outputs
//! and a section per engine that can run them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{DefinitionName, Digest, EngineId, OutputName};
use crate::relation::Relations;
use crate::spec::DeliveryMode;

/// A definition of one version, parsed and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Its name.
    pub name: DefinitionName,
    /// Its exact version.
    pub version: semver::Version,
    /// For people.
    pub description: String,
    /// The engines that can run it, in order of preference, each with its
    /// section of the definition. Never empty.
    pub engines: Vec<(EngineId, Arc<Value>)>,
    /// JSON Schema of the config.
    pub config_schema: Arc<Value>,
    /// Declared outputs.
    pub outputs: BTreeMap<OutputName, OutputDeclaration>,
    /// How it is delivered when the deployment does not say.
    pub delivery: Option<DeliveryMode>,
    /// What it says of other definitions, and which real thing it stands for.
    pub relations: Relations,
    /// The folder that an engine sees at `/definition`; none for a definition
    /// that carries no files.
    pub folder: Option<PathBuf>,
    /// Digest over the definition and every file in its folder: another digest
    /// means that deployed resources are applied again.
    pub digest: Digest,
}

/// What a definition says of one output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputDeclaration {
    /// A JSON type.
    #[serde(rename = "type")]
    pub json_type: JsonType,
    /// Masked wherever it is shown.
    #[serde(default)]
    pub sensitive: bool,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// The types of JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JsonType {
    /// Text.
    String,
    /// Any number.
    Number,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A map.
    Object,
    /// A list.
    Array,
}

impl JsonType {
    /// As JSON Schema writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Array => "array",
        }
    }

    /// Whether a value has this type.
    #[must_use]
    pub fn accepts(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            Self::Integer => value.as_i64().is_some() || value.as_u64().is_some(),
            Self::Boolean => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
        }
    }
}

/// Declared outputs as the engine contract writes them: name → `{type, sensitive}`.
#[must_use]
pub fn declared_outputs(outputs: &BTreeMap<OutputName, OutputDeclaration>) -> Value {
    let outputs = outputs.iter().map(|(name, o)| {
        let declared =
            serde_json::json!({ "type": o.json_type.as_str(), "sensitive": o.sensitive });
        (name.to_string(), declared)
    });
    Value::Object(outputs.collect())
}

impl Definition {
    /// `name:version`.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}:{}", self.name, self.version)
    }

    /// The definition's section for an engine.
    #[must_use]
    pub fn section(&self, engine: &EngineId) -> Option<&Arc<Value>> {
        self.engines
            .iter()
            .find(|(id, _)| id == engine)
            .map(|(_, section)| section)
    }

    /// The outputs as the engine contract writes them.
    #[must_use]
    pub fn declared_outputs(&self) -> Value {
        declared_outputs(&self.outputs)
    }
}
