//! What a definition says under `terraform:`, and what the platform sets.

use std::collections::BTreeMap;

use nestor_sdk::{Error, Request, Value, json};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::backend::Backend;

/// How many resources the tool works on at once when the platform does not say:
/// the tool's own default.
const DEFAULT_PARALLELISM: u16 = 10;

/// More would only overload the providers' APIs.
const MAX_PARALLELISM: u16 = 256;

/// The names that Terraform keeps for itself in a module call.
const RESERVED_NAMES: [&str; 8] = [
    "source",
    "version",
    "providers",
    "count",
    "for_each",
    "lifecycle",
    "depends_on",
    "locals",
];

/// The environment whose variables are for every environment.
const EVERY_ENVIRONMENT: &str = "*";

/// The definition's section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// The module's folder in the definition, relative.
    pub module: String,
    /// How the module's variables are made. Without it, the config's keys are
    /// the module's variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<BTreeMap<String, Mapping>>,
    /// Variables by environment, `*` for all; the config goes before them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environments: BTreeMap<String, Map<String, Value>>,
    /// Declared output → the module's output, where the names differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// Where the state is, unless the platform says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Value>,
    /// `provider` blocks by name, as Terraform's JSON syntax writes them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub providers: Map<String, Value>,
    /// Sources and versions of those providers, as in `required_providers`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub required_providers: Map<String, Value>,
}

/// Where a module's variable comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Mapping {
    /// A JSON pointer into the config.
    Pointer(String),
    /// A place in the config, with a value for where there is nothing.
    Config(FromConfig),
    /// Always the same.
    Constant(FromConstant),
    /// Who deploys what, where.
    Context(FromContext),
}

/// A place in the config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromConfig {
    /// A JSON pointer.
    pub config: String,
    /// The value when there is nothing; without it the module's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

/// A value of the definition's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromConstant {
    /// The value.
    pub value: Value,
}

/// A name from the request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromContext {
    /// Which.
    pub context: ContextName,
}

/// The names that a mapping may take from the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContextName {
    /// The deployment's id.
    Deployment,
    /// The environment.
    Environment,
    /// The resource's name.
    Resource,
    /// Who asked.
    Composer,
}

impl Section {
    /// Reads the section of a request, and checks what its types cannot.
    ///
    /// # Errors
    /// [`Error::Invalid`] that says where in the definition.
    pub fn read(definition: &Value) -> Result<Self, Error> {
        let section: Self = Request {
            definition: definition.clone(),
            ..Request::for_test("", json!({}))
        }
        .definition()?;
        let wrong = |what: String| {
            Error::invalid("", format!("the definition's section `terraform`: {what}"))
        };
        section.folder().map_err(wrong)?;
        if let Some(backend) = &section.backend {
            Backend::read(backend).map_err(wrong)?;
        }
        let mapped = section.variables.iter().flatten().map(|(name, _)| name);
        let extra = section.environments.values().flat_map(Map::keys);
        if let Some(name) = mapped
            .chain(extra)
            .chain(section.outputs.values())
            .find(|name| !is_identifier(name))
        {
            return Err(wrong(format!(
                "`{name}` cannot be a name in a Terraform module"
            )));
        }
        Ok(section)
    }

    /// The module's folder, without `./`.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn folder(&self) -> Result<String, String> {
        let mut parts = Vec::new();
        for part in self.module.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    return Err(format!(
                        "`module: {}` leaves the definition's folder",
                        self.module
                    ));
                }
                part => parts.push(part),
            }
        }
        if self.module.starts_with('/') || self.module.contains("://") || self.module.contains('\\')
        {
            return Err(format!(
                "`module: {}` must be a folder in the definition, such as ./module; a remote module is called from there",
                self.module
            ));
        }
        Ok(parts.join("/"))
    }

    /// The module's variables for a request.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the pointer to a config key that cannot be one.
    pub fn variables(&self, request: &Request) -> Result<Map<String, Value>, Error> {
        let mut variables = Map::new();
        for environment in [EVERY_ENVIRONMENT, &request.context.environment] {
            if let Some(extra) = self.environments.get(environment) {
                variables.extend(extra.clone());
            }
        }
        match &self.variables {
            Some(mappings) => {
                for (name, mapping) in mappings {
                    if let Some(value) = mapping.value(request) {
                        variables.insert(name.clone(), value);
                    }
                }
            }
            None => variables.extend(config_as_variables(&request.config)?),
        }
        Ok(variables)
    }

    /// The module's output behind a declared one.
    #[must_use]
    pub fn module_output<'a>(&'a self, declared: &'a str) -> &'a str {
        self.outputs.get(declared).map_or(declared, String::as_str)
    }

    /// The config's place behind a module's variable, as a JSON pointer; the
    /// whole config where the variable is not made from it.
    #[must_use]
    pub fn config_pointer<'a>(&'a self, variable: &'a str) -> &'a str {
        match (&self.variables, variable.strip_prefix('/')) {
            (Some(mappings), Some(name)) => mappings
                .get(name)
                .and_then(Mapping::pointer)
                .unwrap_or_default(),
            _ => variable,
        }
    }

    /// Keys of the config that no mapping uses.
    #[must_use]
    pub fn unused<'a>(&self, config: &'a Value) -> Vec<&'a str> {
        let Some(mappings) = &self.variables else {
            return Vec::new();
        };
        let used: Vec<&str> = mappings.values().filter_map(Mapping::pointer).collect();
        let touches = |key: &str| {
            let whole = nestor_sdk::value::token(key);
            used.iter().any(|used| {
                used.is_empty() || *used == whole || used.starts_with(&format!("{whole}/"))
            })
        };
        config
            .as_object()
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .filter(|key| !touches(key))
            .collect()
    }
}

fn config_as_variables(config: &Value) -> Result<Map<String, Value>, Error> {
    let map = match config {
        Value::Null => return Ok(Map::new()),
        Value::Object(map) => map,
        _ => {
            return Err(Error::invalid(
                "",
                "must be an object: its keys are the module's variables",
            ));
        }
    };
    let violations: Vec<_> = map
        .keys()
        .filter(|key| !is_identifier(key) || RESERVED_NAMES.contains(&key.as_str()))
        .map(|key| nestor_sdk::Violation {
            path: nestor_sdk::value::token(key),
            message: format!("`{key}` cannot be the name of a module's variable"),
        })
        .collect();
    if violations.is_empty() {
        Ok(map.clone())
    } else {
        Err(Error::Invalid(violations))
    }
}

/// What HCL takes as a name, in ASCII.
fn is_identifier(name: &str) -> bool {
    let mut letters = name.bytes();
    letters
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl Mapping {
    fn pointer(&self) -> Option<&str> {
        match self {
            Self::Pointer(pointer) => Some(pointer),
            Self::Config(from) => Some(&from.config),
            Self::Constant(_) | Self::Context(_) => None,
        }
    }

    fn value(&self, request: &Request) -> Option<Value> {
        match self {
            Self::Pointer(pointer) => request.config.pointer(pointer).cloned(),
            Self::Config(from) => request
                .config
                .pointer(&from.config)
                .cloned()
                .or_else(|| from.default.clone()),
            Self::Constant(from) => Some(from.value.clone()),
            Self::Context(from) => Some(match from.context {
                ContextName::Deployment => json!(request.context.deployment),
                ContextName::Environment => json!(request.context.environment),
                ContextName::Resource => json!(request.name),
                ContextName::Composer => json!(request.context.composer),
            }),
        }
    }
}

/// What the platform sets for this engine.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Where the state of all is; goes before the definition's.
    backend: Option<Value>,
    /// What every workspace's name begins with.
    pub workspace_prefix: String,
    parallelism: Option<u16>,
}

impl Settings {
    /// Reads the settings of a request. Keys that are not this engine's are left
    /// alone: the host's config checks them.
    ///
    /// # Errors
    /// [`Error::Invalid`] that says where in the settings.
    pub fn read(request: &Request) -> Result<Self, Error> {
        if request.settings.is_null() {
            return Ok(Self::default());
        }
        request.settings()
    }

    /// How many resources the tool works on at once.
    #[must_use]
    pub fn parallelism(&self) -> u16 {
        self.parallelism
            .unwrap_or(DEFAULT_PARALLELISM)
            .clamp(1, MAX_PARALLELISM)
    }

    /// Where the state is: the platform's choice, else the definition's, else
    /// the checkout.
    ///
    /// # Errors
    /// [`Error::Invalid`] that says what is wrong with it.
    pub fn backend(&self, section: &Section) -> Result<Backend, Error> {
        match self.backend.as_ref().or(section.backend.as_ref()) {
            None => Ok(Backend::local()),
            Some(value) => Backend::read(value).map_err(|what| Error::invalid("", what)),
        }
    }
}

/// The JSON Schema of the section, for whoever writes definitions.
#[must_use]
pub fn schema() -> Value {
    let map = |of: Value| json!({"type": "object", "additionalProperties": of});
    let pointer = json!({"type": "string", "pattern": "^(/.*)?$"});
    let object = |properties: Value, required: &str| json!({"type": "object", "additionalProperties": false, "properties": properties, "required": [required]});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Terraform section of a catalog definition",
        "type": "object",
        "additionalProperties": false,
        "required": ["module"],
        "properties": {
            "module": {
                "description": "The module's folder in the definition, such as ./module. A .terraform.lock.hcl in it pins the providers.",
                "type": "string",
                "minLength": 1
            },
            "variables": {
                "description": "Module variable → where it comes from: a JSON pointer into the config, {config: pointer, default: value}, {value: constant} or {context: name}. Without this key, the config's keys are the module's variables.",
                "type": "object",
                "additionalProperties": {"oneOf": [
                    pointer.clone(),
                    object(json!({"config": pointer, "default": true}), "config"),
                    object(json!({"value": true}), "value"),
                    object(
                        json!({"context": {"enum": ["deployment", "environment", "resource", "composer"]}}),
                        "context"
                    )
                ]}
            },
            "environments": {
                "description": "Environment → variables; * is every environment. What the config says goes before it.",
                "type": "object",
                "additionalProperties": {"type": "object"}
            },
            "outputs": {
                "description": "Declared output → the module's output, where the names differ.",
                "type": "object",
                "additionalProperties": {"type": "string"}
            },
            "backend": {
                "description": "Where the state is kept, unless the platform says so: a backend's name, or one key with its settings. {workspace}, {deployment}, {environment} and {resource} stand for the names.",
                "oneOf": [
                    {"type": "string"},
                    {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": {"type": "object"}}
                ]
            },
            "providers": {
                "description": "Provider blocks in Terraform's JSON syntax. They may use the module's variables as ${local.NAME}.",
                "type": "object",
                "additionalProperties": {"type": ["object", "array"]}
            },
            "required_providers": {
                "description": "Source and version of each provider that has a block.",
                "type": "object",
                "additionalProperties": map(json!(true))
            }
        }
    })
}
