//! What the tool's errors mean for the host: whose fault, and whether trying
//! again may help.

use nestor_sdk::{Error, Violation};
use std::time::Duration;

use crate::events::{Diagnostic, Ended};
use crate::root::MODULE;

/// A lock is held for as long as somebody else's apply takes.
const LOCK_RETRY: Duration = Duration::from_secs(15);

/// What an error text says when the network or an overloaded API is to blame.
const TRANSIENT: [&str; 20] = [
    "connection refused",
    "connection reset",
    "context deadline exceeded",
    "deadline exceeded",
    "failed to request discovery document",
    "gateway timeout",
    "i/o timeout",
    "network is unreachable",
    "no such host",
    "rate exceeded",
    "rate limit",
    "requestlimitexceeded",
    "service unavailable",
    "statuscode: 429",
    "statuscode: 503",
    "temporary failure in name resolution",
    "throttl",
    "timeout while waiting",
    "tls handshake timeout",
    "too many requests",
];

/// Which step of an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Providers, modules, backend.
    Init,
    /// The dry run, where configuration mistakes show.
    Plan,
    /// The work.
    Apply,
    /// Reading plans, state and outputs.
    Read,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Read => "show",
        }
    }
}

/// Whether an earlier `init` is all that is missing.
#[must_use]
pub fn wants_init(ended: &Ended) -> bool {
    const SIGNS: [&str; 6] = [
        "Backend initialization required",
        "Required plugins are not installed",
        "Inconsistent dependency lock file",
        "Module not installed",
        "Module source has changed",
        "terraform init",
    ];
    let says = |text: &str| SIGNS.iter().any(|sign| text.contains(sign));
    ended.errors().any(|error| says(&error.summary)) || ended.tail.iter().any(|line| says(line))
}

/// Whether the saved plan is older than the state.
#[must_use]
pub fn is_stale(ended: &Ended) -> bool {
    let says = |text: &str| text.contains("Saved plan is stale");
    ended.errors().any(|error| says(&error.summary)) || ended.tail.iter().any(|line| says(line))
}

/// Whether a preview failed only because something is not known yet: the tool
/// needs to know how many there are of something.
#[must_use]
pub fn needs_known_values(ended: &Ended) -> Option<String> {
    const SIGNS: [&str; 3] = [
        "cannot be determined until apply",
        "known only after apply",
        "will be known only after",
    ];
    let about_unknown = |error: &Diagnostic| {
        SIGNS
            .iter()
            .any(|sign| error.detail.replace('\n', " ").contains(sign))
    };
    let mut errors = ended.errors().peekable();
    let first = errors.peek()?.summary.clone();
    errors.all(about_unknown).then_some(first)
}

/// The error of a run that ended badly.
#[must_use]
pub fn error(step: Step, ended: &Ended) -> Error {
    let errors: Vec<&Diagnostic> = ended.errors().collect();
    if errors.is_empty() {
        let tail = ended.tail.join("\n");
        let message = format!(
            "`{}` ended with code {}: {}",
            step.name(),
            ended.code,
            blame_free(&tail)
        );
        return if is_transient(&tail) {
            transient(&tail, message)
        } else {
            Error::Failed(message)
        };
    }
    let text: Vec<String> = errors.iter().map(|error| describe(error)).collect();
    let whole = text.join("; ");
    // Only when every error may pass is trying again any use.
    if errors
        .iter()
        .all(|error| is_transient(&error.summary) || is_transient(&error.detail))
    {
        return transient(&whole, whole.clone());
    }
    let about_request = |error: &&Diagnostic| {
        matches!(step, Step::Init | Step::Plan) && error.address.is_none() && error.range.is_some()
    };
    if errors.iter().all(about_request) {
        return Error::Invalid(
            errors
                .iter()
                .map(|error| Violation {
                    path: pointer(error),
                    message: describe(error),
                })
                .collect(),
        );
    }
    Error::Failed(whole)
}

fn transient(text: &str, message: String) -> Error {
    Error::Transient {
        message,
        retry_after: is_lock(text).then_some(LOCK_RETRY),
    }
}

fn is_lock(text: &str) -> bool {
    text.to_lowercase().contains("state lock")
}

fn is_transient(text: &str) -> bool {
    let text = text.to_lowercase();
    is_lock(&text) || TRANSIENT.iter().any(|sign| text.contains(sign))
}

/// One error in one line: what, why, where.
#[must_use]
pub fn describe(diagnostic: &Diagnostic) -> String {
    if let Some(output) = missing_output(diagnostic) {
        return format!(
            "the definition declares an output that its module does not have: `{output}`"
        );
    }
    if let Some(text) = about_argument(diagnostic) {
        return text;
    }
    let mut text = diagnostic.summary.clone();
    let detail = diagnostic
        .detail
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    if !detail.is_empty() {
        text.push_str(": ");
        text.push_str(&detail);
    }
    let text = blame_free(&text);
    let place = diagnostic
        .range
        .as_ref()
        .filter(|range| range.filename.starts_with("modules/"))
        .map(|range| format!("{}:{}", blame_free(&range.filename), range.start.line));
    match (&diagnostic.address, place) {
        (Some(address), Some(place)) => format!("{text} ({address}, {place})"),
        (Some(address), None) => format!("{text} ({address})"),
        (None, Some(place)) => format!("{text} ({place})"),
        (None, None) => text,
    }
}

/// The module's own paths, as its author knows them: `modules/<digest>/main.tf`
/// becomes `module/main.tf`, and `module.main.var.size` becomes `var.size`.
fn blame_free(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("modules/") {
        let after = &rest[at + "modules/".len()..];
        let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(&rest[..at]);
        if digits == crate::checkout::MODULE_DIGITS && after[digits..].starts_with('/') {
            out.push_str("module/");
            rest = &after[digits + 1..];
        } else {
            out.push_str("modules/");
            rest = after;
        }
    }
    out.push_str(rest);
    out.replace(&format!("module.{MODULE}.var."), "var.")
}

/// The config's key that an error is about, as far as it can be told: the name
/// of a module's variable, which is a config key where the definition does not
/// map it.
fn pointer(error: &Diagnostic) -> String {
    let code = error
        .snippet
        .as_ref()
        .map_or("", |snippet| snippet.code.as_str());
    // One tool points at the call's argument, the other at the declaration.
    let argument = between(code, "${local.", "}").or_else(|| between(code, "variable \"", "\""));
    let quoted = ["The argument \"", "An argument named \""]
        .iter()
        .find_map(|start| between(&error.detail, start, "\""));
    argument
        .or(quoted)
        .map(nestor_sdk::value::token)
        .unwrap_or_default()
}

/// What is wrong with the call of the module as such, in the words of somebody
/// who never saw the call.
fn about_argument(error: &Diagnostic) -> Option<String> {
    error
        .range
        .as_ref()
        .filter(|range| range.filename == "main.tf.json")?;
    let code = error
        .snippet
        .as_ref()
        .map_or("", |snippet| snippet.code.as_str());
    match error.summary.as_str() {
        "Extraneous JSON object property" | "Unsupported argument" => {
            between(code, "${local.", "}")
                .map(|name| format!("the definition's module has no variable `{name}`"))
        }
        "Missing required argument" => between(&error.detail, "The argument \"", "\"")
            .map(|name| format!("the variable `{name}` needs a value")),
        _ => None,
    }
}

fn missing_output(error: &Diagnostic) -> Option<&str> {
    let code = error.snippet.as_ref()?.code.as_str();
    (error.summary == "Unsupported attribute").then(|| {
        between(code, &format!("module.{MODULE}."), "}").map(|name| name.trim_end_matches(')'))
    })?
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let after = &text[text.find(start)? + start.len()..];
    Some(&after[..after.find(end)?])
}
