//! What the host offers a running call. Engines take it as `&dyn Host`, so
//! that their logic runs in ordinary tests against a fake (feature `testing`).

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::Error;

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the engine's author.
    Debug,
    /// For whoever follows a deployment.
    Info,
    /// Went on, but somebody should look.
    Warn,
    /// Did not go on.
    Error,
}

/// A file of the definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the folder asked for, with `/`.
    pub path: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// A run of a granted native tool in the engine's checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// A name from the engine's grant, never a path.
    pub tool: String,
    /// Its arguments; they must match a granted pattern.
    pub args: Vec<String>,
    /// Variables, each named in the grant. Nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Relative to `/work`; `""` is `/work` itself.
    pub directory: String,
    /// What it reads on standard input; none is an empty input.
    pub stdin: Option<Vec<u8>>,
    /// How long it may run. The grant's deadline applies as well.
    pub timeout: Duration,
}

impl Invocation {
    /// A run with these arguments in `/work`, without variables or input.
    pub fn new<I, S>(tool: impl Into<String>, args: I, timeout: Duration) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Self {
            tool: tool.into(),
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            directory: String::new(),
            stdin: None,
            timeout,
        }
    }

    /// Adds a variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// A line that a tool wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whether it came on standard error.
    pub stderr: bool,
    /// Without its end.
    pub text: String,
}

/// A tool under way. Dropping it kills the tool.
pub trait Child {
    /// The next line of output, in the order it was written; none when the tool
    /// ended. Waits for it.
    fn next_line(&mut self) -> Option<Line>;

    /// Waits for the end and answers the exit code.
    ///
    /// # Errors
    /// When the tool ended without one: killed, or out of time.
    fn wait(&mut self) -> Result<i32, Error>;

    /// Ends the tool and all it started.
    fn kill(&mut self);
}

/// What a running call may use. Every function is a call out of the sandbox:
/// cheap, but not free, and each has a deadline of its own.
pub trait Host {
    /// Writes a log line; `fields` is an object. Beyond the host's rate, lines
    /// are counted and dropped.
    fn log(&self, level: Level, message: &str, fields: Value);

    /// Says how far this operation is: 0 to 100, where it can be told.
    fn progress(&self, percent: Option<u8>, message: &str);

    /// Every file of the definition below `under` (`""` for all), sorted by
    /// path, in one call: much faster than reading them through `std::fs`.
    ///
    /// # Errors
    /// [`Error::Failed`] when there is no such folder, or too much in it.
    fn definition_files(&self, under: &str) -> Result<Vec<File>, Error>;

    /// A placeholder for a granted secret; the value goes in at the granted
    /// destination only.
    ///
    /// # Errors
    /// [`Error::Denied`] when it was not granted.
    fn secret(&self, name: &str) -> Result<String, Error>;

    /// A value of this engine's durable map for this resource.
    ///
    /// # Errors
    /// [`Error::Transient`] when the host's store does not answer.
    fn store_get(&self, key: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Sets a value of the durable map.
    ///
    /// # Errors
    /// [`Error::Failed`] when it exceeds the granted quota.
    fn store_put(&self, key: &str, value: &[u8]) -> Result<(), Error>;

    /// Removes a value of the durable map; that it is not there is no error.
    ///
    /// # Errors
    /// [`Error::Transient`] when the host's store does not answer.
    fn store_delete(&self, key: &str) -> Result<(), Error>;

    /// The keys of the durable map that begin with `prefix`.
    ///
    /// # Errors
    /// [`Error::Transient`] when the host's store does not answer.
    fn store_keys(&self, prefix: &str) -> Result<Vec<String>, Error>;

    /// Starts a granted tool in the checkout.
    ///
    /// # Errors
    /// [`Error::Denied`] that names what was not granted.
    fn spawn(&self, invocation: Invocation) -> Result<Box<dyn Child>, Error>;

    /// The engine's checkout for this resource, kept between calls: `/work` in
    /// a guest, a temporary folder in tests.
    fn work(&self) -> &Path;

    /// The definition's folder, read-only: `/definition` in a guest.
    fn definition(&self) -> &Path;

    /// A log line for whoever follows the deployment.
    fn info(&self, message: &str) {
        self.log(Level::Info, message, json!({}));
    }

    /// A log line for somebody who should look.
    fn warn(&self, message: &str) {
        self.log(Level::Warn, message, json!({}));
    }
}
