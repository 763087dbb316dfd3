//! `nestor config`.

use std::path::PathBuf;

use clap::Subcommand;
use nestor_catalog::FileCatalog;
use nestor_core::environment::{Approval, DriftAction, EnvironmentPolicy};
use nestor_core::units::show_duration;

use super::out::{Colour, Table};
use super::{Code, Failure, Out};
use crate::config::{Config, LogFormat, StoreConfig, load};
use crate::serve::{builtin_engines, planned_data_dir, tool_registry};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a config, and say what a server would do with it
    Check {
        /// The config; without one, what holds when there is none
        #[arg(env = "NESTOR_CONFIG")]
        file: Option<PathBuf>,
    },
}

pub(crate) fn run(command: &ConfigCommand, out: &Out) -> Result<Code, Failure> {
    let ConfigCommand::Check { file } = command;
    let config = match file {
        Some(file) => load(file).map_err(Failure::invalid)?,
        None => Config::default(),
    };
    let tools = tool_registry(&config.engines).map_err(Failure::invalid)?;
    let broken = broken_definitions(&config)?;
    let name = file
        .as_ref()
        .map_or("no config".to_owned(), |file| file.display().to_string());
    let mut table = Table::default();
    let mut row = |what: &str, is: String| table.row([what.into(), is.into()]);
    row("listens on", config.server.listen.to_string());
    row("data", planned_data_dir(&config).display().to_string());
    row(
        "store",
        match &config.store {
            StoreConfig::Memory => "in memory: nothing survives a restart".to_owned(),
            StoreConfig::Sled {
                path: Some(path), ..
            } => format!("sled in {}", path.display()),
            StoreConfig::Sled { path: None, .. } => "sled in the data directory".to_owned(),
        },
    );
    row(
        "catalog",
        match &config.catalog.directory {
            Some(directory) => directory.display().to_string(),
            None => "empty: nothing can be deployed; name a catalog.directory".to_owned(),
        },
    );
    row("engines", engines(&config));
    row(
        "terraform runs",
        match tools.get("terraform") {
            Some(path) => path.display().to_string(),
            None => {
                "nothing: there is no tofu or terraform on PATH; name one in engines.terraform.tool"
                    .to_owned()
            }
        },
    );
    row(
        "manifests go to",
        match (&config.gitops.enabled, &config.gitops.repository) {
            (false, _) => "nowhere: gitops is switched off".to_owned(),
            (true, None) => "a repository in the data directory".to_owned(),
            (true, Some(repository)) => {
                format!(
                    "{} ({}), branch {}",
                    repository.name,
                    repository.folder.display(),
                    repository.branch
                )
            }
        },
    );
    for (name, policy) in config.environments.iter() {
        row(&format!("in {name}"), environment(policy));
    }
    row(
        "logs",
        format!(
            "{} as {}",
            config.telemetry.log,
            match config.telemetry.format {
                LogFormat::Text => "text",
                LogFormat::Json => "JSON",
            }
        ),
    );
    row("stops within", show_duration(config.server.grace));
    out.line(&format!(
        "{}: {}",
        out.paint(Colour::Bold, &name),
        out.paint(Colour::Good, "is valid")
    ))?;
    out.raw(&table.show(out, None))?;
    if broken.is_empty() {
        return Ok(Code::Done);
    }
    Err(Failure::invalid(format!(
        "the catalog has broken definitions; the others can be used\n{}",
        broken.join("\n")
    )))
}

fn environment(policy: &EnvironmentPolicy) -> String {
    let mut says = vec![match policy.approval {
        Approval::Automatic => "changes begin at once".to_owned(),
        Approval::Required => "changes wait for approval".to_owned(),
    }];
    if let Some(most) = policy.concurrency {
        says.push(format!("at most {most} operations at once"));
    }
    if let Some(drift) = policy.drift {
        let then = match drift.action {
            DriftAction::Report => "reported",
            DriftAction::Remediate => "put right",
        };
        let every = show_duration(drift.every);
        says.push(format!("drift is looked for every {every} and {then}"));
    }
    says.join(", ")
}

fn engines(config: &Config) -> String {
    let builtins = builtin_engines();
    let mut all: Vec<String> = builtins
        .iter()
        .map(|builtin| match config.engines.get(&builtin.id) {
            Some(engine) if !engine.enabled => format!("{} (off)", builtin.id),
            Some(engine) if engine.component.is_some() => {
                format!("{} (replaced by a file)", builtin.id)
            }
            _ => builtin.id.to_string(),
        })
        .collect();
    for (id, engine) in &config.engines {
        if builtins.iter().all(|builtin| builtin.id != *id) {
            all.push(match (&engine.component, engine.enabled) {
                (_, false) => format!("{id} (off)"),
                (Some(_), true) => format!("{id} (from a file)"),
                (None, true) => format!("{id} (not there yet: no built-in engine, no component)"),
            });
        }
    }
    if all.is_empty() {
        "none: this nestor was built without them".to_owned()
    } else {
        all.join(", ")
    }
}

fn broken_definitions(config: &Config) -> Result<Vec<String>, Failure> {
    let Some(directory) = &config.catalog.directory else {
        return Ok(Vec::new());
    };
    let catalog = FileCatalog::open(directory).map_err(|e| Failure::invalid(e.to_string()))?;
    let problems = catalog
        .problems()
        .map_err(|e| Failure::invalid(e.to_string()))?;
    Ok(problems
        .iter()
        .map(|problem| format!("  {problem}"))
        .collect())
}
