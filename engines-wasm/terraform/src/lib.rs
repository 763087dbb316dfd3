//! The engine `terraform`: runs the module that a catalog definition carries,
//! with OpenTofu or Terraform.
//!
//! It writes a root module with one module call, drives the tool through the
//! host, and reads its machine-readable output. The tool keeps the state: in the
//! engine's checkout by default, one per deployment, environment and resource.
//! What decides (root module, arguments, reading events, plans and errors) is
//! pure and tested on its own; [`job`] puts it in order.

pub mod backend;
pub mod checkout;
pub mod diagnose;
pub mod events;
pub mod job;
pub mod plan;
pub mod root;
pub mod section;
pub mod tool;

use nestor_sdk::value::JsonType;
use nestor_sdk::{
    Action, Description, Engine, Error, Features, Host, Outcome, PlannedOutput, ProposedChanges,
    Purpose, Request, Settled, Value,
};
use sha2::{Digest, Sha256};

use crate::job::{Basis, Job};
use crate::section::{Section, Settings};
use crate::tool::{Command, SavedPlan, Tool};

/// Below this version the tool lacks `issensitive` or `init -json`.
const LEAST_VERSION: (u64, u64) = (1, 9);

/// The engine.
#[derive(Debug, Default)]
pub struct Terraform;

impl Engine for Terraform {
    fn describe(&self) -> Description {
        let summary = "Runs a definition's Terraform module with OpenTofu or Terraform";
        Description::new("terraform", env!("CARGO_PKG_VERSION"), summary)
            .schema(section::schema())
            .features(Features {
                drift: true,
                ..Features::default()
            })
    }

    fn check(&self, host: &dyn Host) -> Result<(), Error> {
        let tool = Tool {
            host,
            workspace: None,
            parallelism: 1,
        };
        let document = tool.document(Command::Version)?;
        let version = serde_json::from_str::<Value>(&document).ok();
        let version = version
            .as_ref()
            .and_then(|version| version["terraform_version"].as_str())
            .unwrap_or_default();
        let mut parts = version
            .split('.')
            .map(|part| part.parse::<u64>().unwrap_or(0));
        let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if found >= LEAST_VERSION {
            return Ok(());
        }
        let (major, minor) = LEAST_VERSION;
        Err(Error::Failed(format!(
            "the tool is version `{version}`; this engine needs at least {major}.{minor}"
        )))
    }

    fn validate(&self, host: &dyn Host, request: &Request) -> Result<Vec<String>, Error> {
        let section = Section::read(&request.definition)?;
        Settings::read(request)?.backend(&section)?;
        section.variables(request)?;
        host.definition_files(&section.folder().unwrap_or_default())?;
        let unused = section.unused(&request.config);
        Ok(unused
            .into_iter()
            .map(|key| format!("the definition does not use the config's `{key}`"))
            .collect())
    }

    fn plan(&self, host: &dyn Host, request: &Request) -> Result<ProposedChanges, Error> {
        let job = Job::open(host, request, Basis::Wanted)?;
        job.prepare()?;
        if !job.is_preview() {
            return Ok(job.plan(Command::Plan, SavedPlan::Plan)?.proposed(request));
        }
        let planned = job.try_plan(Command::Preview, SavedPlan::Preview);
        job.forget(SavedPlan::Preview)?;
        match planned? {
            Ok(plan) => Ok(plan.proposed(request)),
            Err(ended) => match diagnose::needs_known_values(&ended) {
                Some(reason) => Ok(undetermined(request, &reason)),
                None => Err(job.failure(Command::Preview, &ended)),
            },
        }
    }

    fn apply(&self, host: &dyn Host, request: &Request) -> Result<Outcome, Error> {
        Job::refuse_unknown(request)?;
        let job = Job::open(host, request, Basis::Wanted)?;
        job.prepare()?;
        job.apply()?;
        let settled = job.settled()?;
        job.tidy()?;
        Ok(settled.ready())
    }

    fn observe(&self, host: &dyn Host, request: &Request) -> Result<Outcome, Error> {
        match request.context.purpose {
            Purpose::Apply => observe_apply(host, request),
            Purpose::Destroy => {
                if !Job::has_nothing(host, request)? {
                    let job = Job::open(host, request, Basis::Applied)?;
                    job.prepare()?;
                    let left = job.resources()?;
                    if left > 0 {
                        return Err(Error::Missing(format!(
                            "the destroy is not done: {left} resources are left"
                        )));
                    }
                }
                Ok(Settled::new().ready())
            }
            Purpose::Inspect => {
                if Job::has_nothing(host, request)? {
                    return Err(Error::Missing("nothing was applied".into()));
                }
                let job = Job::open(host, request, Basis::Applied)?;
                job.prepare()?;
                Ok(job.settled()?.ready())
            }
        }
    }

    fn drift(&self, host: &dyn Host, request: &Request) -> Result<ProposedChanges, Error> {
        if Job::has_nothing(host, request)? {
            return Err(Error::Missing("nothing was applied".into()));
        }
        let job = Job::open(host, request, Basis::Applied)?;
        job.prepare()?;
        let plan = job.plan(Command::PlanDrift, SavedPlan::Drift);
        job.forget(SavedPlan::Drift)?;
        Ok(plan?.drift())
    }

    fn destroy(&self, host: &dyn Host, request: &Request) -> Result<Outcome, Error> {
        if !Job::has_nothing(host, request)? {
            let job = Job::open(host, request, Basis::Applied)?;
            job.prepare()?;
            job.destroy()?;
        }
        Job::clear(host)?;
        Ok(Settled::new().ready())
    }
}

/// Settles an apply whose outcome nobody recorded: done when the tool would
/// change nothing any more; else the host does it again, which continues.
fn observe_apply(host: &dyn Host, request: &Request) -> Result<Outcome, Error> {
    Job::refuse_unknown(request)?;
    if Job::has_nothing(host, request)? {
        return Err(Error::Missing("the apply left no state".into()));
    }
    let job = Job::open(host, request, Basis::Wanted)?;
    job.prepare()?;
    let plan = job.plan(Command::Plan, SavedPlan::Plan)?;
    if plan.is_empty() {
        job.forget(SavedPlan::Plan)?;
        return Ok(job.settled()?.ready());
    }
    Err(Error::Missing(format!(
        "the apply is not done: {} resource actions are left",
        plan.steps()
    )))
}

/// The answer where the tool cannot plan before all values are known: anything
/// may change, and of the outputs only the types are certain.
fn undetermined(request: &Request, reason: &str) -> ProposedChanges {
    let action = if request.prior.is_some() {
        Action::Update
    } else {
        Action::Create
    };
    let summary = format!("can be told only when the values it depends on are known ({reason})");
    let output = |(name, declared): (&String, &nestor_sdk::DeclaredOutput)| PlannedOutput {
        name: name.clone(),
        known: None,
        json_type: declared.json_type,
        sensitive: declared.sensitive,
    };
    ProposedChanges {
        outputs: request.declared_outputs.iter().map(output).collect(),
        changes: nestor_sdk::value::unknown_pointers(&request.config)
            .into_iter()
            .map(|path| nestor_sdk::Change {
                path,
                before: None,
                after: Some(JsonType::Any.unknown()),
                sensitive: false,
            })
            .collect(),
        ..ProposedChanges::new(action, summary)
    }
}

/// SHA-256 in hex.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

nestor_sdk::export!(Terraform);
