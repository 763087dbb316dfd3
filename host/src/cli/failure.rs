//! Failures as people and scripts see them.

use std::process::ExitCode;

use nestor_client::{ClientError, Problem};

/// The exit codes; `nestor --help` explains them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Done = 0,
    Failed = 1,
    Invalid = 2,
    Unreachable = 3,
    Refused = 4,
    NotNow = 5,
    Local = 6,
    Different = 7,
    TooLate = 8,
    Unapproved = 9,
    Interrupted = 130,
}

#[cfg(test)]
impl Code {
    /// Every one, lowest first.
    pub(crate) const ALL: [Self; 11] = [
        Self::Done,
        Self::Failed,
        Self::Invalid,
        Self::Unreachable,
        Self::Refused,
        Self::NotNow,
        Self::Local,
        Self::Different,
        Self::TooLate,
        Self::Unapproved,
        Self::Interrupted,
    ];
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// What, where, and what to do; may have several lines.
    pub(crate) text: String,
    /// The server's own words, for `-o json`.
    pub(crate) problem: Option<Box<Problem>>,
}

impl Failure {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            problem: None,
        }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(Code::Invalid, text)
    }

    pub(crate) fn local(text: impl Into<String>) -> Self {
        Self::new(Code::Local, text)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let (code, advice) = match &error {
            ClientError::InvalidUrl { .. } => (Code::Invalid, None),
            ClientError::Unreachable { .. } => (
                Code::Unreachable,
                Some(
                    "is the server running (`nestor serve`), and is --server or NESTOR_URL right?",
                ),
            ),
            ClientError::Timeout { .. } => (
                Code::Unreachable,
                Some("the server may be overloaded; look at its log"),
            ),
            ClientError::Foreign { .. } => {
                (Code::Unreachable, Some("is --server or NESTOR_URL right?"))
            }
            ClientError::Unreadable { .. } => (
                Code::Unreachable,
                Some("are server and client of the same version?"),
            ),
            ClientError::Problem(problem) => return of_problem(problem),
        };
        let text = match advice {
            Some(advice) => format!("{error}\n{advice}"),
            None => error.to_string(),
        };
        Self::new(code, text)
    }
}

fn of_problem(problem: &Problem) -> Failure {
    let code = match problem.status {
        400 | 413 | 415 | 422 => Code::Invalid,
        408 | 429 | 503 | 504 => Code::NotNow,
        500 => Code::Unreachable,
        _ => Code::Refused,
    };
    let mut lines = Vec::new();
    if problem.violations.is_empty() {
        lines.push(match problem.code.as_str() {
            "" => problem.detail.clone(),
            code => format!("{} ({code})", problem.detail),
        });
    } else {
        lines.push(format!("{} ({})", problem.title, problem.code));
        for violation in &problem.violations {
            lines.push(format!(
                "  {}",
                at(&violation.pointer, &violation.message, &violation.code)
            ));
        }
    }
    if let Some(wait) = problem.retry_after {
        lines.push(format!("try again in {} s", wait.as_secs()));
    }
    if problem.status >= 500 && !problem.correlation_id.is_empty() {
        lines.push(format!(
            "the server's log has more under correlation_id {}",
            problem.correlation_id
        ));
    }
    Failure {
        code,
        text: lines.join("\n"),
        problem: Some(Box::new(problem.clone())),
    }
}

/// A violation in one line.
pub(crate) fn at(place: &str, message: &str, code: &str) -> String {
    if place.is_empty() {
        format!("{message} [{code}]")
    } else {
        format!("{place}: {message} [{code}]")
    }
}
