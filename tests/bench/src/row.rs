//! What a row is and what it answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

/// Something to measure.
#[async_trait]
pub(crate) trait Row: Send + Sync {
    /// To pick it on the command line.
    fn name(&self) -> &'static str;
    /// In a few words.
    fn about(&self) -> &'static str;
    /// Lines of the table. A peer that is not there is a line that says so; an
    /// error is a bug, of the product or of the benchmark.
    async fn measure(&self, bench: &Bench) -> anyhow::Result<Vec<Line>>;
}

/// What all rows share.
pub(crate) struct Bench {
    quick: bool,
    root: PathBuf,
    scratch: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(quick: bool) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()?;
        // Beside the build results: the disk that the project is on, not a tmpfs.
        let scratch = tempfile::Builder::new()
            .prefix("nestor-bench-")
            .tempdir_in(target(&root))?;
        Ok(Self {
            quick,
            root,
            scratch,
        })
    }

    /// How often to measure what takes long.
    pub(crate) fn runs(&self, usual: usize) -> usize {
        if self.quick { 1 } else { usual }
    }

    /// The checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo builds.
    pub(crate) fn target(&self) -> PathBuf {
        target(&self.root)
    }

    /// Removed at the end.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A new folder, removed at the end.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = tempfile::Builder::new()
            .prefix(name)
            .tempdir_in(self.scratch())?;
        Ok(folder.keep())
    }
}

fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// A line of the table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) ours: String,
    pub(crate) theirs: String,
    pub(crate) ratio: String,
    pub(crate) target: String,
    /// None: no target, or not measured.
    pub(crate) met: Option<bool>,
    /// Why there is nothing to see.
    pub(crate) missing: Option<String>,
}

/// What a ratio shall be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Line {
    /// A figure of ours beside one of somebody else's; `ratio` is theirs to
    /// ours for times and ours to theirs for rates: more is better, unless the
    /// target says "at most".
    pub(crate) fn ratio(
        what: impl Into<String>,
        ours: String,
        theirs: String,
        ratio: f64,
        target: Option<Target>,
    ) -> Self {
        let (text, met) = match target {
            None => (String::new(), None),
            Some(Target::AtLeast(least)) => (format!("≥ {least}×"), Some(ratio >= least)),
            Some(Target::AtMost(most)) => (format!("≤ {most}×"), Some(ratio <= most)),
        };
        Self {
            what: what.into(),
            ours,
            theirs,
            ratio: format!("{}×", short(ratio)),
            target: text,
            met,
            missing: None,
        }
    }

    /// A figure of ours that has a limit.
    pub(crate) fn limit(
        what: impl Into<String>,
        ours: String,
        value: f64,
        limit: (f64, &str),
    ) -> Self {
        Self {
            what: what.into(),
            ours,
            theirs: String::new(),
            ratio: format!("{}×", short(value / limit.0)),
            target: format!("< {}", limit.1),
            met: Some(value < limit.0),
            missing: None,
        }
    }

    /// The same, only to be seen.
    #[must_use]
    pub(crate) fn without_target(self) -> Self {
        Self {
            target: String::new(),
            met: None,
            ..self
        }
    }

    /// Nothing, and why.
    pub(crate) fn missing(what: impl Into<String>, why: &str) -> Self {
        Self {
            what: what.into(),
            missing: Some(why.to_owned()),
            ..Self::default()
        }
    }
}

/// Three significant digits, or all before the point.
pub(crate) fn short(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// A time in its natural unit.
pub(crate) fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        m if m >= 1e6 => format!("{} s", short(m / 1e6)),
        m if m >= 1e3 => format!("{} ms", short(m / 1e3)),
        m => format!("{} µs", short(m)),
    }
}
