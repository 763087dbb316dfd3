//! What the API shows of engines and of the catalog. Deployments are shown as
//! the orchestrator's views.

use std::collections::BTreeMap;

use nestor_core::definition::Definition;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Whether an engine can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EngineStatusView {
    /// Compiled, linked and probed.
    Ready,
    /// Being compiled; deployments wait for it.
    Preparing,
    /// It could not be loaded; `reason` says why.
    Failed,
}

/// Where an engine's component came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EngineSource {
    /// Carried by the binary.
    BuiltIn,
    /// From the engines directory, or named in the config.
    File,
    /// Put over the API.
    Api,
}

/// An engine.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EngineView {
    /// Its name.
    pub name: String,
    /// Whether it can be called.
    pub status: EngineStatusView,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// As it describes itself; empty while it is being prepared.
    pub version: String,
    /// As it describes itself; empty while it is being prepared.
    pub summary: String,
    /// `sha256:…` of the component.
    pub digest: String,
    /// Of the component, in bytes.
    pub size: u64,
    /// Where it came from.
    pub source: EngineSource,
    /// When, RFC 3339.
    pub loaded_at: String,
    /// What it can do beyond the core: `render`, `drift`, `adopt`, `traffic`.
    pub features: Vec<String>,
    /// What its `engine.toml` requests.
    #[schema(value_type = Object)]
    pub requested: Value,
    /// What it may do: exactly what it requested, once all of that is granted;
    /// null while it is not loaded.
    #[schema(value_type = Object)]
    pub granted: Value,
    /// JSON Schema of a definition's section for this engine.
    #[schema(value_type = Object)]
    #[serde(skip_serializing_if = "Value::is_null")]
    pub definition_schema: Value,
}

/// All engines.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EngineList {
    /// Sorted by name.
    pub items: Vec<EngineView>,
}

/// One version of a definition, in a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionSummary {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What a deployment writes to get it: `name:version`.
    pub catalog_ref: String,
    /// For people.
    pub description: String,
    /// The engines that can run it, in order of preference.
    pub engines: Vec<String>,
}

/// Every definition.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DefinitionList {
    /// By name, then version.
    pub items: Vec<DefinitionSummary>,
}

/// One version of a definition, whole.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionView {
    /// The short form.
    #[serde(flatten)]
    pub summary: DefinitionSummary,
    /// Over the definition and every file that comes with it.
    pub digest: String,
    /// JSON Schema of the config.
    #[schema(value_type = Object)]
    pub config_schema: Value,
    /// What others can refer to.
    pub outputs: BTreeMap<String, OutputView>,
    /// How it is delivered when the deployment does not say: `direct` or `gitops`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
}

/// What a definition says of an output.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OutputView {
    /// A JSON type.
    #[serde(rename = "type")]
    pub json_type: String,
    /// Masked wherever it is shown.
    pub sensitive: bool,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// Every version of a definition.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DefinitionVersions {
    /// The definition's name.
    pub name: String,
    /// Lowest first.
    pub versions: Vec<DefinitionView>,
}

impl From<&Definition> for DefinitionSummary {
    fn from(definition: &Definition) -> Self {
        Self {
            name: definition.name.to_string(),
            version: definition.version.to_string(),
            catalog_ref: definition.reference(),
            description: definition.description.clone(),
            engines: definition
                .engines
                .iter()
                .map(|(id, _)| id.to_string())
                .collect(),
        }
    }
}

/// Without the sections for engines and without the folder: those are between
/// the platform and its engines.
impl From<&Definition> for DefinitionView {
    fn from(definition: &Definition) -> Self {
        let outputs = definition.outputs.iter().map(|(name, output)| {
            let view = OutputView {
                json_type: output.json_type.as_str().to_owned(),
                sensitive: output.sensitive,
                description: output.description.clone(),
            };
            (name.to_string(), view)
        });
        Self {
            summary: definition.into(),
            digest: definition.digest.to_string(),
            config_schema: Value::clone(&definition.config_schema),
            outputs: outputs.collect(),
            delivery: definition.delivery.map(|mode| {
                match mode {
                    nestor_core::spec::DeliveryMode::Direct => "direct",
                    nestor_core::spec::DeliveryMode::Gitops => "gitops",
                }
                .to_owned()
            }),
        }
    }
}
