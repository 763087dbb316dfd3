//! One operation on one resource: the tool, step by step.

use std::collections::BTreeMap;

use nestor_sdk::value::unknown_pointers;
use nestor_sdk::{Error, Host, Level, Output, Request, Settled, Value, Violation, json};
use serde::{Deserialize, Serialize};

use crate::backend::workspace;
use crate::checkout::{Checkout, Record};
use crate::diagnose::{is_stale, wants_init};
use crate::digest;
use crate::events::{Ended, Event};
use crate::plan::{Plan, StateDocument};
use crate::root::{Root, SENSITIVITY, root};
use crate::section::{Section, Settings};
use crate::tool::{Command, SavedPlan, Tool};

/// The share of an apply's progress at which its work begins, in percent.
const PLANNED: usize = 10;

/// What the engine remembers: enough to destroy after the definition is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The module last applied.
    pub module: String,
    /// Where its state is.
    pub workspace: String,
    /// What the definition said.
    pub section: Section,
}

impl State {
    fn of(request: &Request) -> Option<Self> {
        request
            .prior
            .as_ref()
            .and_then(|prior| Self::deserialize(&prior.state).ok())
    }
}

/// Where there is a state already, it stays there, whatever the prefix has
/// become.
fn workspace_of(
    checkout: &Checkout,
    state: Option<&State>,
    settings: &Settings,
    request: &Request,
) -> String {
    Some(checkout.record().workspace)
        .filter(|name| !name.is_empty())
        .or_else(|| state.map(|state| state.workspace.clone()))
        .unwrap_or_else(|| workspace(&settings.workspace_prefix, request))
}

/// Which config an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The request's.
    Wanted,
    /// The one last applied, where there is one.
    Applied,
}

/// An operation.
pub struct Job<'a> {
    host: &'a dyn Host,
    tool: Tool<'a>,
    checkout: Checkout,
    request: Request,
    section: Section,
    workspace: String,
    module: String,
    root: Root,
}

impl<'a> Job<'a> {
    /// Reads the request and copies the module; runs nothing yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what is wrong with definition, settings or config.
    pub fn open(host: &'a dyn Host, request: &Request, basis: Basis) -> Result<Self, Error> {
        let checkout = Checkout::of(host);
        let settings = Settings::read(request)?;
        let state = State::of(request);
        let mut request = request.clone();
        let (section, kept) = match state.as_ref().filter(|_| basis == Basis::Applied) {
            Some(state) => {
                if let Some(prior) = &request.prior {
                    request.config = prior.config.clone();
                }
                (
                    state.section.clone(),
                    Some(&state.module).filter(|module| checkout.has_module(module)),
                )
            }
            None => (Section::read(&request.definition)?, None),
        };
        let module = match kept {
            Some(module) => module.clone(),
            None => {
                let folder = section.folder().unwrap_or_default();
                checkout.add_module(&folder, &host.definition_files(&folder)?)?
            }
        };
        let backend = settings.backend(&section)?;
        let workspace = workspace_of(&checkout, state.as_ref(), &settings, &request);
        let variables = section.variables(&request)?;
        let block = backend.block(&request, &workspace);
        let root = root(
            &section,
            &request,
            &variables,
            &format!("./modules/{module}"),
            &block,
        );
        let tool = Tool {
            host,
            workspace: backend.has_workspaces().then(|| workspace.clone()),
            parallelism: settings.parallelism(),
        };
        Ok(Self {
            host,
            tool,
            checkout,
            request,
            section,
            workspace,
            module,
            root,
        })
    }

    /// Refuses values that do not exist: only a plan may hold them.
    ///
    /// # Errors
    /// [`Error::Invalid`] with a pointer to each.
    pub fn refuse_unknown(request: &Request) -> Result<(), Error> {
        let violations: Vec<Violation> = unknown_pointers(&request.config)
            .into_iter()
            .map(|path| Violation {
                path,
                message: "is not known yet; only a plan may hold such a value".into(),
            })
            .collect();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid(violations))
        }
    }

    /// Whether the config holds values that are not known yet.
    #[must_use]
    pub fn is_preview(&self) -> bool {
        self.root.preview
    }

    /// Whether it is sure, without asking the tool and without a definition, that
    /// there is nothing: nothing was ever done here, or the state would be in the
    /// checkout and is not.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what is wrong with definition or settings.
    pub fn has_nothing(host: &dyn Host, request: &Request) -> Result<bool, Error> {
        let checkout = Checkout::of(host);
        let state = State::of(request);
        if state.is_none() && checkout.is_empty() {
            return Ok(true);
        }
        let settings = Settings::read(request)?;
        let section = match &state {
            Some(state) => state.section.clone(),
            None => Section::read(&request.definition)?,
        };
        let workspace = workspace_of(&checkout, state.as_ref(), &settings, request);
        Ok(settings.backend(&section)?.is_local() && !checkout.has_local_state(&workspace))
    }

    /// Writes the root module and runs `init` where something changed since.
    ///
    /// # Errors
    /// What `init` says.
    pub fn prepare(&self) -> Result<(), Error> {
        self.checkout.write_root(&self.root)?;
        let record = self.checkout.record();
        if record.initialised == self.init_digest() {
            Ok(())
        } else {
            self.init(&record)
        }
    }

    /// All that `init` depends on: the backend, the providers, the module.
    fn init_digest(&self) -> String {
        let parts = json!([
            self.root.main["terraform"],
            self.root.main["provider"],
            self.module
        ]);
        digest(parts.to_string().as_bytes())
    }

    fn init(&self, record: &Record) -> Result<(), Error> {
        self.host
            .progress(Some(1), "preparing providers and modules");
        if record.module != self.module {
            self.checkout.take_lock_of(&self.module)?;
        }
        let backend = digest(
            self.root.main["terraform"]["backend"]
                .to_string()
                .as_bytes(),
        );
        let moved = !record.backend.is_empty() && record.backend != backend;
        let command = if moved {
            Command::Migrate
        } else {
            Command::Init
        };
        if moved {
            self.host.warn("the backend changed: the state moves there");
        }
        let ended = self.tool.run(command, &mut |event| {
            if let Event::Other(message) = event {
                self.host.log(Level::Debug, message, json!({}));
            }
        })?;
        if ended.code != 0 {
            return Err(self.failure(command, &ended));
        }
        self.checkout.set_record(&Record {
            initialised: self.init_digest(),
            backend,
            workspace: self.workspace.clone(),
            module: self.module.clone(),
        })
    }

    /// Runs the tool; where it says that only `init` is missing, after that once
    /// more. Answers as well how many resources it says are touched.
    fn run(&self, command: Command) -> Result<(Ended, usize), Error> {
        let mut touched = 0;
        let mut summary = |event: &Event| {
            if let Event::Summary(message, count) = event {
                touched = *count;
                self.host.info(message);
            }
        };
        let mut ended = self.tool.run(command, &mut summary)?;
        if ended.code != 0 && wants_init(&ended) {
            self.init(&self.checkout.record())?;
            ended = self.tool.run(command, &mut summary)?;
        }
        Ok((ended, touched))
    }

    /// Makes a plan and reads it.
    ///
    /// # Errors
    /// What the tool says.
    pub fn plan(&self, command: Command, saved: SavedPlan) -> Result<Plan, Error> {
        match self.try_plan(command, saved)? {
            Ok(plan) => Ok(plan),
            Err(ended) => Err(self.failure(command, &ended)),
        }
    }

    /// What a failed run means. The tool names variables of the module; the host
    /// wants places in the config.
    #[must_use]
    pub fn failure(&self, command: Command, ended: &Ended) -> Error {
        match self.tool.failure(command, ended) {
            Error::Invalid(mut violations) => {
                for violation in &mut violations {
                    violation.path = self.section.config_pointer(&violation.path).to_string();
                }
                Error::Invalid(violations)
            }
            other => other,
        }
    }

    /// Makes a plan and reads it; how the tool ended where it could not.
    ///
    /// # Errors
    /// When the tool cannot be run.
    pub fn try_plan(
        &self,
        command: Command,
        saved: SavedPlan,
    ) -> Result<Result<Plan, Ended>, Error> {
        self.checkout.forget(saved)?;
        self.host.progress(Some(2), "planning");
        let (ended, touched) = self.run(command)?;
        if ended.code != 0 {
            return Ok(Err(ended));
        }
        if saved == SavedPlan::Plan {
            self.checkout.set_planned(&self.root)?;
        }
        // A plan so long that the host cuts its document is still a plan: what
        // it does is known, only not in detail.
        self.show(saved).map(Ok).or_else(|error| match error {
            Error::Failed(text) if touched > 0 => {
                self.host.warn(&format!("the plan cannot be shown: {text}"));
                Ok(Ok(Plan::counted(touched)))
            }
            other => Err(other),
        })
    }

    /// Forgets a plan that was only to be looked at.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget(&self, saved: SavedPlan) -> Result<(), Error> {
        if saved == SavedPlan::Preview {
            self.checkout.forget_preview()
        } else {
            self.checkout.forget(saved)
        }
    }

    fn show(&self, saved: SavedPlan) -> Result<Plan, Error> {
        Plan::read(&self.tool.document(Command::Show(saved))?)
    }

    /// The plan that was made earlier for exactly this, or a new one.
    fn plan_to_apply(&self) -> Result<Plan, Error> {
        if self.checkout.is_planned(&self.root) {
            match self.show(SavedPlan::Plan) {
                Ok(plan) => return Ok(plan),
                Err(error) => self
                    .host
                    .info(&format!("the earlier plan cannot be used: {error}")),
            }
        }
        self.plan(Command::Plan, SavedPlan::Plan)
    }

    /// Applies: the saved plan is what is done, nothing else.
    ///
    /// # Errors
    /// What the tool says.
    pub fn apply(&self) -> Result<(), Error> {
        let plan = self.plan_to_apply()?;
        if plan.is_empty() {
            return self.checkout.forget(SavedPlan::Plan);
        }
        let mut ended = self.apply_saved(SavedPlan::Plan, plan.steps())?;
        if ended.code != 0 && is_stale(&ended) {
            self.host
                .info("the state changed since the plan was made: planning again");
            let plan = self.plan(Command::Plan, SavedPlan::Plan)?;
            ended = self.apply_saved(SavedPlan::Plan, plan.steps())?;
        }
        // Applied or not, a plan serves once.
        self.checkout.forget(SavedPlan::Plan)?;
        if ended.code == 0 {
            Ok(())
        } else {
            Err(self.failure(Command::Apply(SavedPlan::Plan), &ended))
        }
    }

    /// Destroys everything in the state.
    ///
    /// # Errors
    /// What the tool says.
    pub fn destroy(&self) -> Result<(), Error> {
        let plan = self.plan(Command::PlanDestroy, SavedPlan::Destroy)?;
        let ended = self.apply_saved(SavedPlan::Destroy, plan.steps())?;
        self.checkout.forget(SavedPlan::Destroy)?;
        if ended.code == 0 {
            Ok(())
        } else {
            Err(self.failure(Command::Apply(SavedPlan::Destroy), &ended))
        }
    }

    fn apply_saved(&self, saved: SavedPlan, steps: usize) -> Result<Ended, Error> {
        let mut done = 0;
        self.host.progress(
            Some(percent(0, steps)),
            &format!("0 of {steps} resource actions done"),
        );
        self.tool
            .run(Command::Apply(saved), &mut |event| match event {
                Event::Started(hook) | Event::Progress(hook) => self.host.info(&hook.message),
                Event::Completed(hook) => {
                    done += 1;
                    self.host.info(&hook.message);
                    let message = format!("{done} of {steps} resource actions done");
                    self.host.progress(Some(percent(done, steps)), &message);
                }
                Event::Errored(hook) => self.host.log(Level::Error, &hook.message, json!({})),
                Event::Provisioner(line) => self.host.info(line),
                Event::Summary(message, _) => self.host.info(message),
                Event::Diagnostic(_) | Event::Other(_) => {}
            })
    }

    /// How many resources the state holds.
    ///
    /// # Errors
    /// What the tool says.
    pub fn resources(&self) -> Result<usize, Error> {
        let document = self.tool.document(Command::ShowState)?;
        let state: StateDocument = serde_json::from_str(&document)
            .map_err(|error| Error::Failed(format!("`show -json` of the state: {error}")))?;
        Ok(state.resources())
    }

    /// What the resource offers now, from the state.
    ///
    /// # Errors
    /// What the tool says.
    pub fn settled(&self) -> Result<Settled, Error> {
        let outputs = outputs(&self.request, &self.tool.document(Command::Output)?)?;
        Ok(Settled::new().outputs(outputs).state(State {
            module: self.module.clone(),
            workspace: self.workspace.clone(),
            section: self.section.clone(),
        }))
    }

    /// Removes what only earlier modules needed.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn tidy(&self) -> Result<(), Error> {
        self.checkout.keep_only(&self.module)
    }

    /// Removes the checkout's content: the resource is gone.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn clear(host: &dyn Host) -> Result<(), Error> {
        Checkout::of(host).clear()
    }
}

fn percent(done: usize, steps: usize) -> u8 {
    let share = (100 - PLANNED) * done.min(steps) / steps.max(1);
    // The last percent is for reading the outputs.
    u8::try_from((PLANNED + share).min(99)).unwrap_or(99)
}

#[derive(Deserialize)]
struct RawOutput {
    #[serde(default)]
    value: Value,
}

/// The declared outputs out of `output -json`. An output is sensitive when the
/// definition says so or when the module made it from something sensitive.
fn outputs(request: &Request, document: &str) -> Result<Vec<Output>, Error> {
    let raw: BTreeMap<String, RawOutput> = serde_json::from_str(document)
        .map_err(|error| Error::Failed(format!("`output -json`: {error}")))?;
    let marked = |name: &str| match raw.get(SENSITIVITY).and_then(|all| all.value.get(name)) {
        Some(mark) => mark.as_bool().unwrap_or(true),
        // Without a mark nobody knows: masked.
        None => true,
    };
    let one = |(name, declared): (&String, &nestor_sdk::DeclaredOutput)| Output {
        name: name.clone(),
        // The tool leaves an output without a value out of the state.
        value: raw
            .get(name)
            .map_or(Value::Null, |output| output.value.clone()),
        sensitive: declared.sensitive || marked(name),
    };
    Ok(request.declared_outputs.iter().map(one).collect())
}
