//! What the host asks an engine to do.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::{Error, read};
use crate::outcome::Output;
use crate::value::{JsonType, has_unknown};

/// What the surrounding operation wants to reach. `observe` uses it to know
/// what it settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Only to look.
    Inspect,
    /// To create or change the resource.
    Apply,
    /// To remove the resource.
    Destroy,
}

/// Who asks, for what, in which attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Stable across retries, crashes and replicas.
    pub operation_id: String,
    /// What the operation wants to reach.
    pub purpose: Purpose,
    /// The deployment's id.
    pub deployment: String,
    /// The deployment's revision.
    pub revision: u64,
    /// The environment deployed to.
    pub environment: String,
    /// Who asked for the deployment.
    pub composer: String,
    /// Counts from 1.
    pub attempt: u32,
    /// W3C trace context, to hand on to what the engine calls.
    pub traceparent: Option<String>,
}

/// An output that the definition declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclaredOutput {
    /// The type its value must have.
    pub json_type: JsonType,
    /// Whether its value is masked wherever it is shown.
    pub sensitive: bool,
}

/// What this engine last recorded for this resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Prior {
    /// The config last applied.
    pub config: Value,
    /// The outputs last answered.
    pub outputs: Vec<Output>,
    /// The state last answered.
    pub state: Value,
}

/// One resource, and who asks for it.
///
/// Documents are parsed; `config`, `definition` and `settings` exist both as
/// fields (the document) and as methods (the document read into a type).
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Who asks, for what, in which attempt.
    pub context: Context,
    /// The resource's name in its deployment.
    pub name: String,
    /// The catalog definition it was made from, as `name:version`.
    pub catalog_ref: String,
    /// The definition's section for this engine, or `{}`.
    pub definition: Value,
    /// The resource's config. Only in `plan` it may hold values that are not
    /// known yet: see [`unknown`](crate::value::unknown).
    pub config: Value,
    /// The outputs the definition declares, by name.
    pub declared_outputs: BTreeMap<String, DeclaredOutput>,
    /// The platform's settings for this engine, or `{}`.
    pub settings: Value,
    /// What this engine last recorded for this resource.
    pub prior: Option<Prior>,
}

impl Request {
    /// The config as a type.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the pointer to the value that does not fit.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read(&self.config, None)
    }

    /// The definition's section for this engine as a type.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the place in the definition.
    pub fn definition<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read(
            &self.definition,
            Some("the definition's section for this engine"),
        )
    }

    /// The platform's settings for this engine as a type.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the place in the settings.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read(
            &self.settings,
            Some("the platform's settings for this engine"),
        )
    }

    /// The state that this engine recorded last; none before the first time.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it was written by a version that differs too much.
    pub fn state<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        match &self.prior {
            None => Ok(None),
            Some(prior) => read(&prior.state, Some("the recorded state")).map(Some),
        }
    }

    /// Whether the config holds values that do not exist yet. Only `plan` sees
    /// such a config, and nothing made from one may ever be applied.
    #[must_use]
    pub fn has_unknown(&self) -> bool {
        has_unknown(&self.config)
    }

    /// A request for tests: apply, in deployment `test`, environment `dev`.
    #[must_use]
    pub fn for_test(name: &str, config: Value) -> Self {
        Self {
            context: Context {
                operation_id: "operation-1".into(),
                purpose: Purpose::Apply,
                deployment: "test".into(),
                revision: 1,
                environment: "dev".into(),
                composer: "tester".into(),
                attempt: 1,
                traceparent: None,
            },
            name: name.into(),
            catalog_ref: format!("{name}:1.0.0"),
            definition: json!({}),
            config,
            declared_outputs: BTreeMap::new(),
            settings: json!({}),
            prior: None,
        }
    }

    /// The same request with one more declared output; for tests.
    #[must_use]
    pub fn declares(mut self, name: &str, json_type: JsonType, sensitive: bool) -> Self {
        self.declared_outputs.insert(
            name.into(),
            DeclaredOutput {
                json_type,
                sensitive,
            },
        );
        self
    }
}
