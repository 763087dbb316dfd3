//! Why a call failed, in the terms that decide what the host does next.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer into the resource's config (`""` is the whole of it).
    pub path: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// How a call ends that did not succeed. The variant decides whether the host
/// tries again: only [`Transient`](Error::Transient) is retried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request is wrong; all that is wrong with it, at once.
    #[error("invalid request: {}", join(.0))]
    Invalid(Vec<Violation>),
    /// A capability was not granted; names which.
    #[error("not granted: {0}")]
    Denied(String),
    /// Somebody else changed what this operation works on.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The thing is not there. From `observe`: the operation never took
    /// (whole) effect, and the host does it again.
    #[error("missing: {0}")]
    Missing(String),
    /// May succeed when tried again; the host backs off.
    #[error("temporary: {message}")]
    Transient {
        /// What failed.
        message: String,
        /// When to try again, if the other side said so.
        retry_after: Option<Duration>,
    },
    /// The operation ran and failed.
    #[error("{0}")]
    Failed(String),
    /// The engine cannot do this.
    #[error("unsupported: {0}")]
    Unsupported(String),
}

fn join(violations: &[Violation]) -> String {
    let texts: Vec<String> = violations.iter().map(Violation::to_string).collect();
    texts.join("; ")
}

impl Error {
    /// One violation at a JSON pointer into the config.
    pub fn invalid(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation {
            path: path.into(),
            message: message.into(),
        }])
    }

    /// A failure that may pass; the host chooses when to try again.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::Transient {
            message: message.into(),
            retry_after: None,
        }
    }

    /// An operation that ran and failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}

/// A file or stream of the engine's own checkout: nothing to retry.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Reads a document into a type. A mismatch is [`Error::Invalid`] with the
/// pointer to the value that does not fit; `what` names the document when it is
/// not the config, since pointers are into the config alone.
pub(crate) fn read<T: DeserializeOwned>(document: &Value, what: Option<&str>) -> Result<T, Error> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let path = pointer(error.path());
        let message = error.inner().to_string();
        match what {
            None => Error::invalid(path, message),
            Some(what) if path.is_empty() => Error::invalid("", format!("{what}: {message}")),
            Some(what) => Error::invalid("", format!("{what} at {path}: {message}")),
        }
    })
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("/{index}")),
            Segment::Map { key } => text.push_str(&crate::value::token(key)),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    text
}
