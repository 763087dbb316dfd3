//! The tool's machine-readable output: one JSON object per line.

use serde::Deserialize;

/// How many lines that are no JSON are kept for an error.
const TAIL_LINES: usize = 20;

/// The longest such line that is kept, in bytes.
const TAIL_LINE: usize = 500;

/// A line that means something here.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Work on a resource began.
    Started(Hook),
    /// Work on a resource ended well.
    Completed(Hook),
    /// Work on a resource failed; a diagnostic says why.
    Errored(Hook),
    /// Work on a resource goes on.
    Progress(Hook),
    /// A provisioner wrote a line.
    Provisioner(String),
    /// A warning or an error.
    Diagnostic(Diagnostic),
    /// One line about the whole, and how many resources are touched.
    Summary(String, usize),
    /// Anything else; its message.
    Other(String),
}

/// Work on one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The resource's address.
    pub address: String,
    /// For people, address included.
    pub message: String,
}

/// A warning or an error of the tool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Diagnostic {
    /// `error` or `warning`.
    pub severity: String,
    /// One line.
    pub summary: String,
    /// More, with line ends.
    #[serde(default)]
    pub detail: String,
    /// The resource concerned.
    #[serde(default)]
    pub address: Option<String>,
    /// The place concerned.
    #[serde(default)]
    pub range: Option<Range>,
    /// The text at that place.
    #[serde(default)]
    pub snippet: Option<Snippet>,
}

impl Diagnostic {
    /// Whether it stops the tool.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == "error"
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Range {
    /// Relative to the root module.
    pub filename: String,
    /// Where it begins.
    pub start: Position,
}

/// A line, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Position {
    /// From 1.
    pub line: u32,
}

/// The text at a place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Snippet {
    /// Its lines.
    #[serde(default)]
    pub code: String,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "@message", default)]
    message: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    hook: Option<RawHook>,
    #[serde(default)]
    diagnostic: Option<Diagnostic>,
    #[serde(default)]
    changes: Option<RawChanges>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawChanges {
    add: usize,
    change: usize,
    remove: usize,
}

#[derive(Deserialize)]
struct RawHook {
    #[serde(default)]
    resource: Option<RawResource>,
    #[serde(default)]
    output: Option<String>,
}

#[derive(Deserialize)]
struct RawResource {
    addr: String,
}

/// Reads one line; none when it is no event.
#[must_use]
pub fn event(line: &str) -> Option<Event> {
    if !line.starts_with('{') {
        return None;
    }
    let raw: Raw = serde_json::from_str(line).ok()?;
    let hook = |raw: &Raw| {
        let resource = raw.hook.as_ref()?.resource.as_ref()?;
        Some(Hook {
            address: resource.addr.clone(),
            message: raw.message.clone(),
        })
    };
    let on_resource = |make: fn(Hook) -> Event, raw: Raw| match hook(&raw) {
        Some(hook) => make(hook),
        None => Event::Other(raw.message),
    };
    Some(match raw.kind.as_str() {
        "apply_start" => on_resource(Event::Started, raw),
        "apply_complete" => on_resource(Event::Completed, raw),
        "apply_errored" => on_resource(Event::Errored, raw),
        "apply_progress" => on_resource(Event::Progress, raw),
        "provision_progress" => {
            let output = raw.hook.and_then(|hook| hook.output);
            Event::Provisioner(output.unwrap_or(raw.message))
        }
        "diagnostic" => match raw.diagnostic {
            Some(diagnostic) => Event::Diagnostic(diagnostic),
            None => Event::Other(raw.message),
        },
        "change_summary" => {
            let touched = raw
                .changes
                .map_or(0, |all| all.add + all.change + all.remove);
            Event::Summary(raw.message, touched)
        }
        _ => Event::Other(raw.message),
    })
}

/// What a run of the tool left.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// Its warnings and errors.
    pub diagnostics: Vec<Diagnostic>,
    /// The last lines that were no events: what a tool says that does not get as
    /// far as JSON.
    pub tail: Vec<String>,
    /// Standard output that was no event, whole: the documents of `show` and
    /// `output`.
    pub document: String,
}

impl Ended {
    /// Keeps a line for an error, cut to a bearable length.
    pub fn keep(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.remove(0);
        }
        let end = line
            .char_indices()
            .map(|(i, _)| i)
            .take_while(|i| *i <= TAIL_LINE)
            .last()
            .unwrap_or(0);
        let cut = if line.len() > TAIL_LINE {
            &line[..end]
        } else {
            line
        };
        self.tail.push(cut.into());
    }

    /// Its errors.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.is_error())
    }
}
