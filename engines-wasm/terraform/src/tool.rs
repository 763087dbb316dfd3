//! Runs the tool named `terraform`; the host's registry decides whether that is
//! OpenTofu or Terraform. The arguments here are exactly those that `engine.toml`
//! asks for.

use std::time::Duration;

use nestor_sdk::{Error, Host, Invocation, Level, json};

use crate::diagnose::{self, Step};
use crate::events::{Ended, Event, event};

/// The name in the host's registry and in the grant.
pub const TOOL: &str = "terraform";

/// Downloads of large providers over a slow line.
const INIT_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Refreshing some thousand resources.
const PLAN_LIMIT: Duration = Duration::from_secs(30 * 60);
/// Databases and clusters take their time, and a tool that is ended in the
/// middle may leave what it forgot to record.
const APPLY_LIMIT: Duration = Duration::from_secs(115 * 60);
/// Reading a file, or a state from its backend.
const READ_LIMIT: Duration = Duration::from_secs(2 * 60);

/// The largest plan, state or outputs document: far beyond what a module of
/// some thousand resources makes, and a quarter of the engine's memory.
const MAX_DOCUMENT: usize = 64 << 20;

/// The variables of every run. Nothing is inherited, `TF_CLI_ARGS` least of all.
const ENV: [(&str, &str); 4] = [
    ("TF_IN_AUTOMATION", "1"),
    ("TF_INPUT", "0"),
    ("CHECKPOINT_DISABLE", "1"),
    ("TF_DATA_DIR", ".terraform"),
];

/// How long another holder of the state's lock is waited for.
const LOCK_TIMEOUT: &str = "-lock-timeout=30s";

/// One of the things the tool is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Modules, providers, backend.
    Init,
    /// The same, moving the state to a backend that changed.
    Migrate,
    /// A plan into `plan.bin`.
    Plan,
    /// A plan of a config with unknown values into `preview.bin`.
    Preview,
    /// A plan to destroy everything into `destroy.bin`.
    PlanDestroy,
    /// The differences outside into `drift.bin`.
    PlanDrift,
    /// A saved plan as a document.
    Show(SavedPlan),
    /// The state as a document.
    ShowState,
    /// Does what a saved plan says.
    Apply(SavedPlan),
    /// The outputs as a document.
    Output,
    /// The version as a document.
    Version,
}

/// A file that holds a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavedPlan {
    /// To apply.
    Plan,
    /// Only to look at: some values in it are not known.
    Preview,
    /// To destroy.
    Destroy,
    /// Only to look at: what changed outside.
    Drift,
}

impl SavedPlan {
    /// Its file in the checkout.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Plan => "plan.bin",
            Self::Preview => "preview.bin",
            Self::Destroy => "destroy.bin",
            Self::Drift => "drift.bin",
        }
    }
}

impl Command {
    /// Every command, for comparing with what `engine.toml` asks for.
    pub const ALL: [Self; 15] = [
        Self::Init,
        Self::Migrate,
        Self::Plan,
        Self::Preview,
        Self::PlanDestroy,
        Self::PlanDrift,
        Self::Show(SavedPlan::Plan),
        Self::Show(SavedPlan::Preview),
        Self::Show(SavedPlan::Destroy),
        Self::Show(SavedPlan::Drift),
        Self::ShowState,
        Self::Apply(SavedPlan::Plan),
        Self::Apply(SavedPlan::Destroy),
        Self::Output,
        Self::Version,
    ];

    /// The arguments.
    #[must_use]
    pub fn args(self, parallelism: u16) -> Vec<String> {
        let parallelism = format!("-parallelism={parallelism}");
        let plan = |saved: SavedPlan, mode: &[&str]| {
            let out = format!("-out={}", saved.file());
            let mut args = vec!["plan"];
            args.extend(mode);
            args.extend([
                "-input=false",
                "-no-color",
                "-json",
                LOCK_TIMEOUT,
                &parallelism,
                &out,
            ]);
            args.into_iter().map(String::from).collect()
        };
        let fixed = |args: &[&str]| args.iter().map(|arg| (*arg).to_string()).collect();
        match self {
            Self::Init => fixed(&["init", "-input=false", "-no-color", "-json"]),
            Self::Migrate => fixed(&[
                "init",
                "-input=false",
                "-no-color",
                "-migrate-state",
                "-force-copy",
            ]),
            Self::Plan => plan(SavedPlan::Plan, &[]),
            Self::Preview => plan(SavedPlan::Preview, &["-lock=false"]),
            Self::PlanDestroy => plan(SavedPlan::Destroy, &["-destroy"]),
            Self::PlanDrift => plan(SavedPlan::Drift, &["-refresh-only", "-lock=false"]),
            Self::Show(saved) => fixed(&["show", "-no-color", "-json", saved.file()]),
            Self::ShowState => fixed(&["show", "-no-color", "-json"]),
            Self::Apply(saved) => fixed(&[
                "apply",
                "-input=false",
                "-no-color",
                "-json",
                LOCK_TIMEOUT,
                &parallelism,
                saved.file(),
            ]),
            Self::Output => fixed(&["output", "-no-color", "-json"]),
            Self::Version => fixed(&["version", "-json"]),
        }
    }

    fn limit(self) -> Duration {
        match self {
            Self::Init | Self::Migrate => INIT_LIMIT,
            Self::Plan | Self::Preview | Self::PlanDestroy | Self::PlanDrift => PLAN_LIMIT,
            Self::Apply(_) => APPLY_LIMIT,
            Self::Show(_) | Self::ShowState | Self::Output | Self::Version => READ_LIMIT,
        }
    }

    /// The step that an error of it belongs to.
    #[must_use]
    pub fn step(self) -> Step {
        match self {
            Self::Init | Self::Migrate => Step::Init,
            Self::Plan | Self::Preview | Self::PlanDestroy | Self::PlanDrift => Step::Plan,
            Self::Apply(_) => Step::Apply,
            Self::Show(_) | Self::ShowState | Self::Output | Self::Version => Step::Read,
        }
    }

    /// Whether standard output is one document instead of events.
    fn is_document(self) -> bool {
        self.step() == Step::Read
    }

    /// Whether the workspace is named. Not at `init`: it refuses a workspace that
    /// is not there yet, while the others make it. A move needs to know which
    /// state is meant where only one side has workspaces.
    fn names_workspace(self) -> bool {
        self != Self::Init && self != Self::Version
    }
}

/// The tool in one checkout.
pub struct Tool<'a> {
    /// Where it runs.
    pub host: &'a dyn Host,
    /// The workspace, where the backend has any.
    pub workspace: Option<String>,
    /// How many resources at once.
    pub parallelism: u16,
}

impl std::fmt::Debug for Tool<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tool")
            .field("workspace", &self.workspace)
            .finish_non_exhaustive()
    }
}

impl Tool<'_> {
    /// Runs the tool to its end, whatever that is; `on_event` sees its events as
    /// they come. Warnings are logged.
    ///
    /// # Errors
    /// [`Error::Denied`] when the tool is not granted or not there,
    /// [`Error::Failed`] when it was ended from outside.
    pub fn run(&self, command: Command, on_event: &mut dyn FnMut(&Event)) -> Result<Ended, Error> {
        let mut run = Invocation::new(TOOL, command.args(self.parallelism), command.limit());
        for (name, value) in ENV {
            run = run.env(name, value);
        }
        if let Some(workspace) = self
            .workspace
            .as_ref()
            .filter(|_| command.names_workspace())
        {
            run = run.env("TF_WORKSPACE", workspace);
        }
        let mut child = self.host.spawn(run).map_err(hint)?;
        let mut ended = Ended::default();
        while let Some(line) = child.next_line() {
            if command.is_document() && !line.stderr {
                if ended.document.len() + line.text.len() > MAX_DOCUMENT {
                    child.kill();
                    return Err(Error::Failed(format!(
                        "the tool's document exceeds {} MiB",
                        MAX_DOCUMENT >> 20
                    )));
                }
                ended.document.push_str(&line.text);
                ended.document.push('\n');
                continue;
            }
            match event(&line.text) {
                Some(event) => {
                    on_event(&event);
                    if let Event::Diagnostic(diagnostic) = event {
                        if !diagnostic.is_error() {
                            self.host.warn(&diagnose::describe(&diagnostic));
                        }
                        ended.diagnostics.push(diagnostic);
                    }
                }
                None => ended.keep(&line.text),
            }
        }
        ended.code = child.wait()?;
        Ok(ended)
    }

    /// Runs the tool; its failure is an error.
    ///
    /// # Errors
    /// As [`Tool::run`], and what the tool's own errors mean.
    pub fn must(&self, command: Command, on_event: &mut dyn FnMut(&Event)) -> Result<Ended, Error> {
        let ended = self.run(command, on_event)?;
        if ended.code == 0 {
            Ok(ended)
        } else {
            Err(self.failure(command, &ended))
        }
    }

    /// What a failed run means; the tool's last words go into the log.
    #[must_use]
    pub fn failure(&self, command: Command, ended: &Ended) -> Error {
        if ended.diagnostics.is_empty() && !ended.tail.is_empty() {
            self.host.log(
                Level::Warn,
                &ended.tail.join("\n"),
                json!({"step": format!("{:?}", command.step())}),
            );
        }
        diagnose::error(command.step(), ended)
    }

    /// A document of the tool.
    ///
    /// # Errors
    /// As [`Tool::must`].
    pub fn document(&self, command: Command) -> Result<String, Error> {
        Ok(self.must(command, &mut |_| {})?.document)
    }
}

fn hint(error: Error) -> Error {
    match error {
        Error::Denied(text) => Error::Denied(format!(
            "{text}; this engine needs a tool named `{TOOL}` (OpenTofu or Terraform) in the host's registry, granted with the arguments its engine.toml asks for"
        )),
        other => other,
    }
}
