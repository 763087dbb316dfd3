//! What can go wrong with a request.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's address is not one.
    #[error("{url:?} is not the address of a server: {problem}; write it as http://127.0.0.1:8080")]
    InvalidUrl {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing answers there.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// The innermost cause, such as a refused connection.
        reason: String,
    },
    /// The answer did not come in time.
    #[error("{url} did not answer within {} s", .after.as_secs())]
    Timeout {
        /// Where.
        url: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The server answered with an error of its own.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// Something that is no Nestor answered, most likely a proxy.
    #[error("{url} answered {status} with something that is not of the Nestor API: {excerpt}")]
    Foreign {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        excerpt: String,
    },
    /// An answer that this version of the client cannot read.
    #[error("the answer of {url} cannot be read: {reason}")]
    Unreadable {
        /// Where.
        url: String,
        /// Which part, and why.
        reason: String,
    },
}

/// The server's error (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `urn:nestor:error:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time, and what to do.
    pub detail: String,
    /// Stable, machine-readable.
    pub code: String,
    /// The path that was asked for.
    #[serde(default)]
    pub instance: String,
    /// Under which the host's log has more.
    #[serde(default)]
    pub correlation_id: String,
    /// The path on the server of the page that explains the code.
    #[serde(default)]
    pub docs: String,
    /// The query, path or header parameter that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Everything that is wrong with the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
    /// After this another try makes sense; from the answer's header.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// One thing that is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Stable, machine-readable.
    pub code: String,
    /// JSON pointer into the body.
    pub pointer: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.title, self.code, self.detail)
    }
}

impl ClientError {
    /// The server's error, if it is one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            Self::InvalidUrl { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Foreign { .. }
            | Self::Unreadable { .. } => None,
        }
    }

    /// Whether the same request may well succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Problem(problem) => matches!(problem.status, 408 | 429 | 503),
            Self::Foreign { status, .. } => matches!(status, 502..=504),
            Self::InvalidUrl { .. } | Self::Unreadable { .. } => false,
        }
    }

    pub(crate) fn of_transport(error: &reqwest::Error, url: &str, limit: Duration) -> Self {
        if error.is_timeout() && !error.is_connect() {
            return Self::Timeout {
                url: url.to_owned(),
                after: limit,
            };
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::Unreachable {
            url: url.to_owned(),
            reason: cause.to_string(),
        }
    }
}
