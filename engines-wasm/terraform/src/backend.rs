//! Where the state is kept, and under which name.

use nestor_sdk::{Request, Value, json};
use serde_json::Map;

use crate::digest;

/// Backends that keep one state per configuration: the name goes into their
/// settings, and no workspace is selected.
const WITHOUT_WORKSPACES: [&str; 2] = ["http", "remote"];

/// A Kubernetes label, where one of the backends puts the workspace's name, has
/// at most so many letters.
const MAX_WORKSPACE: usize = 63;

/// Hex digits that keep two workspaces apart whose readable parts are equal:
/// enough for a million of them.
const WORKSPACE_HASH: usize = 10;

/// A backend block.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// `local`, `s3`…
    pub kind: String,
    /// As Terraform's JSON syntax writes it, with placeholders.
    settings: Map<String, Value>,
}

impl Backend {
    /// State in the checkout.
    #[must_use]
    pub fn local() -> Self {
        Self {
            kind: "local".into(),
            settings: Map::new(),
        }
    }

    /// Reads `"s3"` or `{"s3": {…}}`.
    ///
    /// # Errors
    /// A text that says what is wrong.
    pub fn read(value: &Value) -> Result<Self, String> {
        let (kind, settings) = match value {
            Value::String(kind) => (kind.clone(), Map::new()),
            Value::Object(map) if map.len() == 1 => {
                let (kind, settings) = map.iter().next().expect("it has one key");
                let settings = settings.as_object().ok_or_else(|| {
                    format!("the settings of backend `{kind}` must be an object, not {settings}")
                })?;
                (kind.clone(), settings.clone())
            }
            other => {
                return Err(format!(
                    "a backend is a name or one key with its settings, not {other}"
                ));
            }
        };
        if kind == "cloud" {
            return Err("`cloud` is no backend; use {\"remote\": {\"organization\": …}}".into());
        }
        if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!("`{kind}` is not the name of a backend"));
        }
        Ok(Self { kind, settings })
    }

    /// The block for a request, with the names put in.
    #[must_use]
    pub fn block(&self, request: &Request, workspace: &str) -> Value {
        let mut settings = Value::Object(self.settings.clone());
        fill(&mut settings, request, workspace);
        if self.kind == "remote" && settings.get("workspaces").is_none() {
            settings["workspaces"] = json!({"name": workspace});
        }
        let mut block = Map::new();
        block.insert(self.kind.clone(), settings);
        Value::Object(block)
    }

    /// Whether the state is a file of the checkout.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.kind == "local" && self.settings.is_empty()
    }

    /// Whether a workspace is selected.
    #[must_use]
    pub fn has_workspaces(&self) -> bool {
        !WITHOUT_WORKSPACES.contains(&self.kind.as_str())
    }
}

fn fill(value: &mut Value, request: &Request, workspace: &str) {
    match value {
        Value::String(text) => {
            for (name, with) in [
                ("{workspace}", workspace),
                ("{deployment}", &request.context.deployment),
                ("{environment}", &request.context.environment),
                ("{resource}", &request.name),
            ] {
                *text = text.replace(name, with);
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| fill(item, request, workspace)),
        Value::Object(map) => map
            .values_mut()
            .for_each(|item| fill(item, request, workspace)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The workspace of a resource: readable, the same for ever, and another one for
/// another deployment, environment or resource whatever their names are.
#[must_use]
pub fn workspace(prefix: &str, request: &Request) -> String {
    let context = &request.context;
    let names = [
        context.deployment.as_str(),
        context.environment.as_str(),
        request.name.as_str(),
    ];
    let hash = &digest(names.join("\0").as_bytes())[..WORKSPACE_HASH];
    let keep = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
            c
        } else {
            '-'
        }
    };
    let readable: String = format!("{prefix}{}", names.join("-"))
        .chars()
        .map(keep)
        .collect();
    let readable = &readable[..readable.len().min(MAX_WORKSPACE - WORKSPACE_HASH - 1)];
    format!("{}-{hash}", readable.trim_end_matches('-'))
}
