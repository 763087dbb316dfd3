//! Native tools: programs outside WebAssembly, run in the engine's checkout.
//!
//! The grant says which tool with which arguments and variables; the host's
//! registry says which file that is. Nothing is inherited from the host.

mod child;
mod confine;
mod lines;
mod spawner;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use nestor_core::grant::Grant;
use nestor_core::ids::EngineId;
use tokio::sync::Semaphore;
use tokio::time::Instant;

#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use child::Child;
pub(crate) use child::Line;
pub(crate) use spawner::Spawner;

use crate::convert::clean_line;
use crate::error::EngineHostError;

/// Running at once in one call. An engine drives one tool; a second may watch.
const MAX_AT_ONCE: usize = 4;
/// Beyond what a tool has to end: for signals and pipes.
const SLACK: Duration = Duration::from_secs(5);
/// The kernel's own limit for one argument, for all of them.
const MAX_ARGUMENT_BYTES: usize = 128 << 10;
/// Its folder for caches and settings, in the checkout.
const HOME: &str = ".home";
/// Its folder for sockets and temporary files, in the checkout.
const TMP: &str = ".tmp";
/// A unix socket's path has at most 107 bytes; go-plugin's names take 30.
const MAX_TMP_PATH: usize = 107 - 40;

/// The host's tools: name → file.
pub(crate) struct Tools {
    paths: BTreeMap<String, PathBuf>,
    spawner: Spawner,
    /// For sockets of checkouts whose own path is too long for one.
    short: PathBuf,
}

impl Tools {
    /// Must be called within the runtime that will run the tools.
    pub(crate) fn new(
        paths: BTreeMap<String, PathBuf>,
        short: PathBuf,
    ) -> Result<Self, EngineHostError> {
        for (name, path) in &paths {
            if !path.is_absolute() {
                return Err(EngineHostError::Options(format!(
                    "the tool {name} has the path {}; it must be absolute",
                    path.display()
                )));
            }
        }
        Ok(Self {
            paths,
            spawner: Spawner::start()?,
            short,
        })
    }
}

/// What a guest asks for.
pub(crate) struct Invocation {
    pub(crate) tool: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) directory: String,
    pub(crate) stdin: Option<Vec<u8>>,
    pub(crate) timeout: Duration,
}

/// Everything decided: only to be run.
pub(crate) struct Plan {
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    directory: OwnedFd,
    /// Removed when the tool has ended; none when TMPDIR is in the checkout.
    short_tmp: Option<tempfile::TempDir>,
    stdin: Option<Vec<u8>>,
    /// Of one file, in bytes.
    max_file: u64,
    pub(crate) deadline: Instant,
    pub(crate) timeout: Duration,
}

/// The tools of a call that may still be ending.
pub(crate) struct Running(Arc<Semaphore>);

impl Running {
    /// The next call for the resource must not find a tool of this one at work
    /// in its checkout.
    pub(crate) async fn ended(self) {
        let all = u32::try_from(MAX_AT_ONCE).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(child::FAREWELL + SLACK, self.0.acquire_many(all)).await;
    }
}

/// The tools of one call.
pub(crate) struct Toolbox {
    tools: Arc<Tools>,
    checkout: PathBuf,
    running: Arc<Semaphore>,
    /// The end of the call.
    until: Instant,
}

impl Toolbox {
    pub(crate) fn new(tools: Arc<Tools>, checkout: PathBuf, until: Instant) -> Self {
        Self {
            tools,
            checkout,
            running: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            until,
        }
    }

    /// Starts a tool, if all of it is granted. The error is for the engine's
    /// author and the audit.
    pub(crate) async fn spawn(
        &self,
        engine: &EngineId,
        grant: &Grant,
        asked: Invocation,
    ) -> Result<Child, String> {
        let slot = Arc::clone(&self.running)
            .try_acquire_owned()
            .map_err(|_| format!("{MAX_AT_ONCE} tools are running already; wait for one to end"))?;
        let tool = asked.tool.clone();
        let plan = self.plan(grant, asked)?;
        let started = self.tools.spawner.spawn(plan).await;
        started
            .map(|process| Child::watch(process, slot))
            .map_err(|e| format!("{engine}: tool {tool} could not be started: {e}"))
    }

    /// For waiting until the tools of this call have ended.
    pub(crate) fn running(&self) -> Running {
        Running(Arc::clone(&self.running))
    }

    fn plan(&self, grant: &Grant, asked: Invocation) -> Result<Plan, String> {
        let rule = grant.allows_tool(&asked.tool, &asked.args)?;
        for (name, value) in &asked.env {
            let shown = clean_line(name, 80);
            // Granted or not: these make the loader run somebody else's code.
            if name.starts_with("LD_") {
                return Err(format!(
                    "tool {}: the variable {shown} is never allowed",
                    asked.tool
                ));
            }
            if !rule.allows_env(name, value) || value.contains('\0') {
                return Err(format!(
                    "tool {}: the variable {shown} is not granted with this value",
                    asked.tool
                ));
            }
        }
        let bytes: usize = asked.args.iter().map(|arg| arg.len() + 1).sum();
        if bytes > MAX_ARGUMENT_BYTES {
            return Err(format!(
                "tool {}: {bytes} bytes of arguments; at most {MAX_ARGUMENT_BYTES} are allowed",
                asked.tool
            ));
        }
        let program = self.tools.paths.get(&asked.tool).ok_or_else(|| {
            format!(
                "tool {} is granted, but this host has none; put it on the host's PATH or name its path in the config",
                asked.tool
            )
        })?;
        let timeout = asked.timeout.min(rule.deadline);
        let checkout = Dir::open_ambient_dir(&self.checkout, ambient_authority())
            .map_err(|e| format!("the checkout cannot be opened: {e}"))?;
        let directory = open_inside(&checkout, &asked.directory)?;
        let (tmp, short_tmp) = self.temporary(&checkout)?;
        checkout
            .create_dir_all(HOME)
            .and_then(|()| checkout.open_dir(HOME))
            .map_err(|e| format!("/work/{HOME} cannot be made: {e}"))?;
        let mut env = vec![
            (
                "HOME".to_owned(),
                self.checkout.join(HOME).display().to_string(),
            ),
            ("TMPDIR".to_owned(), tmp.display().to_string()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ];
        env.extend(asked.env);
        Ok(Plan {
            program: program.clone(),
            args: asked.args,
            env,
            directory,
            short_tmp,
            stdin: asked.stdin,
            max_file: grant.capabilities().checkout_quota(),
            deadline: self.until.min(Instant::now() + timeout),
            timeout,
        })
    }

    fn temporary(&self, checkout: &Dir) -> Result<(PathBuf, Option<tempfile::TempDir>), String> {
        let inside = self.checkout.join(TMP);
        let made = if inside.as_os_str().len() <= MAX_TMP_PATH {
            checkout
                .create_dir_all(TMP)
                .and_then(|()| checkout.open_dir(TMP))
                .map(|_| (inside, None))
        } else {
            std::fs::create_dir_all(&self.tools.short)
                .and_then(|()| {
                    tempfile::Builder::new()
                        .prefix("")
                        .rand_bytes(8)
                        .tempdir_in(&self.tools.short)
                })
                .map(|dir| (dir.path().to_owned(), Some(dir)))
        };
        made.map_err(|e| format!("a folder for temporary files cannot be made: {e}"))
    }
}

/// A directory of the checkout, by a descriptor that cannot lead out of it.
fn open_inside(checkout: &Dir, relative: &str) -> Result<OwnedFd, String> {
    let shown = clean_line(relative, 200);
    let path = Path::new(relative);
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if !path.components().all(plain) || relative.contains('\0') {
        return Err(format!(
            "the directory {shown:?} is not a path inside /work"
        ));
    }
    let opened = if relative.is_empty() {
        checkout.open_dir(".")
    } else {
        checkout.open_dir(path)
    };
    opened
        .map(|dir| dir.into_std_file().into())
        .map_err(|e| format!("the directory {shown:?} cannot be opened in /work: {e}"))
}
