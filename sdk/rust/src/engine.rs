//! The one trait that an engine is.

use serde_json::Value;

use crate::changes::ProposedChanges;
use crate::error::Error;
use crate::host::Host;
use crate::outcome::{Outcome, Rendered};
use crate::request::Request;

/// What an engine can do beyond the core. What is not said here, the host does
/// not ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// [`Engine::render`] answers manifests.
    pub render: bool,
    /// [`Engine::drift`] compares with the real thing.
    pub drift: bool,
    /// The engine takes over what exists already.
    pub adopt: bool,
    /// The engine shifts traffic between versions.
    pub traffic: bool,
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The engine's id: definitions and deployments name it so.
    pub name: String,
    /// Its own version, as semantic versioning writes it.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// JSON Schema of a definition's section for this engine.
    pub definition_schema: Value,
    /// What it can do beyond the core.
    pub features: Features,
}

impl Description {
    /// An engine that takes any definition and does the core alone.
    pub fn new(
        name: impl Into<String>,
        version: impl Into<String>,
        summary: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            summary: summary.into(),
            definition_schema: Value::Bool(true),
            features: Features::default(),
        }
    }

    /// Sets the JSON Schema of a definition's section.
    #[must_use]
    pub fn schema(mut self, schema: Value) -> Self {
        self.definition_schema = schema;
        self
    }

    /// Sets what the engine can do beyond the core.
    #[must_use]
    pub fn features(mut self, features: Features) -> Self {
        self.features = features;
        self
    }
}

/// An engine: it knows how to plan, apply, observe and destroy one kind of
/// resource. [`export!`](crate::export) makes a component of it.
///
/// The host's guarantees: each call gets a fresh instance, so `self` is a new
/// default value and nothing in memory survives a call; two calls for one
/// resource never overlap; the config was validated against the definition's
/// schema, and in every call but `plan` all its values are known.
///
/// The engine's duty: a call repeated with the same operation id is a no-op or
/// a continuation, never a second effect; a long wait is answered as
/// [`Pending`](crate::Pending), never spent inside the call.
pub trait Engine: Default {
    /// What the engine is. Asked once per loaded version, without any grants.
    fn describe(&self) -> Description;

    /// Whether what the engine talks to can be reached. Bounded to seconds.
    ///
    /// # Errors
    /// Why it cannot work now.
    fn check(&self, _host: &dyn Host) -> Result<(), Error> {
        Ok(())
    }

    /// Looks at a request without touching anything; answers warnings.
    ///
    /// # Errors
    /// [`Error::Invalid`] with everything that is wrong, at once.
    fn validate(&self, _host: &dyn Host, _request: &Request) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// What `apply` would do. Changes nothing outside `/work`.
    ///
    /// # Errors
    /// Why it cannot tell. By default that it cannot.
    fn plan(&self, _host: &dyn Host, _request: &Request) -> Result<ProposedChanges, Error> {
        Err(unsupported("plan"))
    }

    /// Makes the resource as the config says.
    ///
    /// # Errors
    /// Why it did not.
    fn apply(&self, _host: &dyn Host, _request: &Request) -> Result<Outcome, Error> {
        Err(unsupported("apply"))
    }

    /// Settles a pending operation, and one whose outcome is unknown after a
    /// crash; `request.context.purpose` says which kind it was.
    ///
    /// # Errors
    /// [`Error::Missing`] when the operation never took effect: the host does it
    /// again. That is the default, right for an engine whose `apply` and
    /// `destroy` may be repeated and never answer `pending`.
    fn observe(&self, _host: &dyn Host, request: &Request) -> Result<Outcome, Error> {
        Err(Error::Missing(format!(
            "nothing is recorded of operation {}",
            request.context.operation_id
        )))
    }

    /// How the real thing differs from what was last applied.
    ///
    /// # Errors
    /// Why it cannot tell. By default that it cannot.
    fn drift(&self, _host: &dyn Host, _request: &Request) -> Result<ProposedChanges, Error> {
        Err(unsupported("drift"))
    }

    /// Removes the resource; that it is gone already is a success.
    ///
    /// # Errors
    /// Why it did not.
    fn destroy(&self, _host: &dyn Host, _request: &Request) -> Result<Outcome, Error> {
        Err(unsupported("destroy"))
    }

    /// Manifests for GitOps delivery.
    ///
    /// # Errors
    /// Why there are none. By default that the engine has none.
    fn render(&self, _host: &dyn Host, _request: &Request) -> Result<Rendered, Error> {
        Err(unsupported("render"))
    }
}

fn unsupported(function: &str) -> Error {
    Error::Unsupported(format!("this engine has no `{function}`"))
}
