//! How an operation ended, or what it still waits for.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

/// A value the resource offers to others.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The declared name.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Whether the host masks it in logs, events and commits.
    pub sensitive: bool,
}

impl Output {
    /// An output that may be shown.
    pub fn new(name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            sensitive: false,
        }
    }

    /// The same output, masked wherever it is shown when `yes`.
    #[must_use]
    pub fn sensitive(mut self, yes: bool) -> Self {
        self.sensitive = yes;
        self
    }
}

/// What a finished operation leaves: outputs, and what the engine remembers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settled {
    /// What the resource offers to others.
    pub outputs: Vec<Output>,
    /// What the next call gets as `prior.state`.
    pub state: Value,
}

impl Settled {
    /// Nothing to offer and nothing to remember; add to it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an output that may be shown.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.outputs.push(Output::new(name, value));
        self
    }

    /// Adds an output that is masked wherever it is shown.
    #[must_use]
    pub fn sensitive_output(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.outputs.push(Output::new(name, value).sensitive(true));
        self
    }

    /// Adds outputs.
    #[must_use]
    pub fn outputs(mut self, outputs: impl IntoIterator<Item = Output>) -> Self {
        self.outputs.extend(outputs);
        self
    }

    /// Sets what to remember.
    #[must_use]
    pub fn state(mut self, state: impl Serialize) -> Self {
        self.state = to_value(state);
        self
    }

    /// The finished operation.
    #[must_use]
    pub fn ready(self) -> Outcome {
        Outcome::Ready(self)
    }
}

/// A wait that goes on outside the guest: the host calls `observe` again.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// How long the host waits before it asks again.
    pub poll_after: Duration,
    /// 0 to 100 of the operation, when it can be told.
    pub percent: Option<u8>,
    /// What is waited for.
    pub message: String,
    /// What the next call gets as `prior.state`.
    pub state: Value,
}

impl Pending {
    /// Ask again after `poll_after` (at most about 49 days; longer is cut).
    pub fn new(poll_after: Duration, message: impl Into<String>) -> Self {
        Self {
            poll_after,
            percent: None,
            message: message.into(),
            state: Value::Null,
        }
    }

    /// Says how far the operation is.
    #[must_use]
    pub fn percent(mut self, percent: u8) -> Self {
        self.percent = Some(percent.min(100));
        self
    }

    /// Sets what to remember.
    #[must_use]
    pub fn state(mut self, state: impl Serialize) -> Self {
        self.state = to_value(state);
        self
    }

    /// The waiting operation.
    #[must_use]
    pub fn wait(self) -> Outcome {
        Outcome::Pending(self)
    }
}

/// How an operation stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Reached.
    Ready(Settled),
    /// Under way.
    Pending(Pending),
}

/// A file that GitOps delivery commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Relative, with `/`, without `..`.
    pub path: String,
    /// The file's text.
    pub content: String,
}

/// What GitOps delivery commits, and what the engine wants to remember.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rendered {
    /// Files to commit.
    pub manifests: Vec<Manifest>,
    /// What the resource offers to others.
    pub outputs: Vec<Output>,
    /// For people.
    pub notes: Option<String>,
    /// What the next call gets as `prior.state`.
    pub state: Value,
}

impl Rendered {
    /// Nothing to commit; add to it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file. `path` is relative, with `/`, without `..`.
    #[must_use]
    pub fn manifest(mut self, path: impl Into<String>, content: impl Into<String>) -> Self {
        self.manifests.push(Manifest {
            path: path.into(),
            content: content.into(),
        });
        self
    }

    /// Adds an output that may be shown.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.outputs.push(Output::new(name, value));
        self
    }

    /// Sets what to remember.
    #[must_use]
    pub fn state(mut self, state: impl Serialize) -> Self {
        self.state = to_value(state);
        self
    }
}

/// A state that cannot be JSON (a map with keys that are no strings) is a
/// mistake in the engine itself: it traps, and the host shows the text.
fn to_value(state: impl Serialize) -> Value {
    serde_json::to_value(state).expect("an engine's state must be JSON")
}
