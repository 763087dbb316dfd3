//! A fake host for ordinary tests of an engine's logic, on the machine's own
//! target. Nothing is enforced here: what an engine may do, the real host
//! decides.

mod program;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::error::Error;
use crate::host::{Child, File, Host, Invocation, Level, Line};

/// What a scripted tool writes, and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its output, in order.
    pub lines: Vec<Line>,
    /// Its exit code.
    pub code: i32,
}

impl Script {
    /// A tool that writes `text` on standard output and ends with `code`.
    #[must_use]
    pub fn stdout(text: &str, code: i32) -> Self {
        let lines = text
            .lines()
            .map(|text| Line {
                stderr: false,
                text: text.into(),
            })
            .collect();
        Self { lines, code }
    }

    /// A tool that writes `text` on standard error and ends with `code`.
    #[must_use]
    pub fn stderr(text: &str, code: i32) -> Self {
        let lines = text
            .lines()
            .map(|text| Line {
                stderr: true,
                text: text.into(),
            })
            .collect();
        Self { lines, code }
    }
}

type Answer = Box<dyn FnMut(&Invocation) -> Option<Script>>;

/// A host in memory, with two temporary folders.
pub struct FakeHost {
    work: TempDir,
    definition: TempDir,
    logs: RefCell<Vec<(Level, String)>>,
    progress: RefCell<Vec<(Option<u8>, String)>>,
    secrets: BTreeMap<String, String>,
    store: RefCell<BTreeMap<String, Vec<u8>>>,
    script: RefCell<Option<Answer>>,
    programs: BTreeMap<String, PathBuf>,
    invocations: RefCell<Vec<Invocation>>,
}

impl std::fmt::Debug for FakeHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeHost")
            .field("work", &self.work.path())
            .finish_non_exhaustive()
    }
}

impl Default for FakeHost {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeHost {
    /// A host without secrets, tools or files.
    ///
    /// # Panics
    /// When the machine has no temporary folder.
    #[must_use]
    pub fn new() -> Self {
        let folder = || tempfile::tempdir().expect("a temporary folder");
        Self {
            work: folder(),
            definition: folder(),
            logs: RefCell::default(),
            progress: RefCell::default(),
            secrets: BTreeMap::new(),
            store: RefCell::default(),
            script: RefCell::default(),
            programs: BTreeMap::new(),
            invocations: RefCell::default(),
        }
    }

    /// Adds a file to the definition; `path` is relative.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn file(self, path: &str, content: &str) -> Self {
        self.set_file(path, content);
        self
    }

    /// Changes a file of the definition.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn set_file(&self, path: &str, content: &str) {
        let path = self.definition.path().join(path);
        let folder = path.parent().expect("a file is in a folder");
        std::fs::create_dir_all(folder).expect("a folder of the definition");
        std::fs::write(path, content).expect("a file of the definition");
    }

    /// Removes every file of the definition, as when the catalog dropped it.
    ///
    /// # Panics
    /// When they cannot be removed.
    pub fn drop_definition(&self) {
        for entry in std::fs::read_dir(self.definition.path()).expect("the definition's folder") {
            let path = entry.expect("an entry").path();
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(path)
            } else {
                std::fs::remove_file(path)
            };
            removed.expect("removed");
        }
    }

    /// Grants a secret; `placeholder` is what the engine gets.
    #[must_use]
    pub fn with_secret(mut self, name: &str, placeholder: &str) -> Self {
        self.secrets.insert(name.into(), placeholder.into());
        self
    }

    /// Answers tool calls from a function; none means not granted.
    #[must_use]
    pub fn tools(self, answer: impl FnMut(&Invocation) -> Option<Script> + 'static) -> Self {
        *self.script.borrow_mut() = Some(Box::new(answer));
        self
    }

    /// Lets the engine run a real program, in the work folder, with only the
    /// variables that it names and `PATH`, `HOME` and `TMPDIR`.
    #[must_use]
    pub fn program(mut self, tool: &str, path: impl Into<PathBuf>) -> Self {
        self.programs.insert(tool.into(), path.into());
        self
    }

    /// The messages that were logged, in order.
    #[must_use]
    pub fn logged(&self) -> Vec<(Level, String)> {
        self.logs.borrow().clone()
    }

    /// The progress that was told, in order.
    #[must_use]
    pub fn progressed(&self) -> Vec<(Option<u8>, String)> {
        self.progress.borrow().clone()
    }

    /// The tools that were run since the last time it was asked, in order.
    #[must_use]
    pub fn take_invocations(&self) -> Vec<Invocation> {
        self.invocations.take()
    }
}

impl Host for FakeHost {
    fn log(&self, level: Level, message: &str, _fields: Value) {
        self.logs.borrow_mut().push((level, message.into()));
    }

    fn progress(&self, percent: Option<u8>, message: &str) {
        self.progress.borrow_mut().push((percent, message.into()));
    }

    fn definition_files(&self, under: &str) -> Result<Vec<File>, Error> {
        let mut files = Vec::new();
        collect(&self.definition.path().join(under), "", &mut files).map_err(|error| {
            Error::Failed(format!("the definition's folder `{under}`: {error}"))
        })?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn secret(&self, name: &str) -> Result<String, Error> {
        self.secrets
            .get(name)
            .cloned()
            .ok_or_else(|| Error::Denied(format!("secret `{name}`")))
    }

    fn store_get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.store.borrow().get(key).cloned())
    }

    fn store_put(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.store.borrow_mut().insert(key.into(), value.into());
        Ok(())
    }

    fn store_delete(&self, key: &str) -> Result<(), Error> {
        self.store.borrow_mut().remove(key);
        Ok(())
    }

    fn store_keys(&self, prefix: &str) -> Result<Vec<String>, Error> {
        Ok(self
            .store
            .borrow()
            .keys()
            .filter(|key| key.starts_with(prefix))
            .cloned()
            .collect())
    }

    fn spawn(&self, invocation: Invocation) -> Result<Box<dyn Child>, Error> {
        self.invocations.borrow_mut().push(invocation.clone());
        if let Some(path) = self.programs.get(&invocation.tool) {
            return Ok(Box::new(program::Program::start(
                path,
                self.work.path(),
                &invocation,
            )?));
        }
        let script = self
            .script
            .borrow_mut()
            .as_mut()
            .and_then(|answer| answer(&invocation));
        let script = script.ok_or_else(|| Error::Denied(format!("tool `{}`", invocation.tool)))?;
        Ok(Box::new(Scripted {
            lines: script.lines.into(),
            code: Ok(script.code),
        }))
    }

    fn work(&self) -> &Path {
        self.work.path()
    }

    fn definition(&self) -> &Path {
        self.definition.path()
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else {
            files.push(File {
                path,
                content: std::fs::read(entry.path())?,
            });
        }
    }
    Ok(())
}

struct Scripted {
    lines: VecDeque<Line>,
    code: Result<i32, Error>,
}

impl Child for Scripted {
    fn next_line(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    fn wait(&mut self) -> Result<i32, Error> {
        self.code.clone()
    }

    fn kill(&mut self) {
        self.lines.clear();
        self.code = Err(Error::failed("killed"));
    }
}
