//! `nestor config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use nestor_catalog::FileCatalog;
use nestor_core::environment::{Approval, DriftAction, EnvironmentPolicy};
use nestor_core::units::{show_duration, show_size};
use serde_json::{Map, Value, json};

use super::out::{Cell, Colour, Table};
use super::{Code, Failure, Format, Out, OutputArgs};
use crate::config::{Config, LogFormat, StoreConfig, load};
use crate::serve::{api_limits, builtin_engines, orchestrator_limits};
use crate::serve::{planned_data_dir, tool_registry};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a config, and say what a server would do with it
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The config; without one, what holds when there is none
    #[arg(env = "NESTOR_CONFIG")]
    file: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

impl ConfigCommand {
    pub(crate) fn format(&self) -> Format {
        let Self::Check(args) = self;
        args.output.output
    }
}

pub(crate) fn run(command: &ConfigCommand, out: &Out) -> Result<Code, Failure> {
    let ConfigCommand::Check(CheckArgs { file, .. }) = command;
    let config = match file {
        Some(file) => load(file).map_err(Failure::invalid)?,
        None => Config::default(),
    };
    let settings = settings(&config)?;
    let broken = broken_definitions(&config)?;
    let name = file
        .as_ref()
        .map_or("no config".to_owned(), |file| file.display().to_string());
    let raw = json!({
        "config": file,
        "valid": broken.is_empty(),
        "settings": settings.iter().cloned().collect::<Map<String, Value>>(),
        "brokenDefinitions": broken,
    });
    out.answer(&raw, |out| {
        let verdict = if broken.is_empty() {
            out.paint(Colour::Good, "is valid")
        } else {
            out.paint(Colour::Bad, "names a catalog with broken definitions")
        };
        let mut table = Table::default();
        for (key, is) in &settings {
            let is = is.as_str().map_or_else(|| is.to_string(), str::to_owned);
            table.row([Cell::of(key, Colour::Dim), is.into()]);
        }
        let name = out.paint(Colour::Bold, &name);
        format!("{name}: {verdict}\n{}", table.show(out, None))
    })?;
    if broken.is_empty() {
        return Ok(Code::Done);
    }
    let listed: String = broken.iter().map(|one| format!("\n  {one}")).collect();
    Err(Failure::invalid(format!(
        "the catalog has broken definitions; the others can be used{listed}"
    )))
}

/// What holds for a server, by the key of the config that would change it.
fn settings(config: &Config) -> Result<Vec<(String, Value)>, Failure> {
    let tools = tool_registry(&config.engines).map_err(Failure::invalid)?;
    let (work, api) = (orchestrator_limits(config), api_limits(config));
    let data = planned_data_dir(config);
    let server = &config.server;
    let mut all: Vec<(String, Value)> = Vec::new();
    let mut row = |key: &str, is: Value| all.push((key.to_owned(), is));
    row("server.listen", server.listen.to_string().into());
    row("server.data_dir", data.display().to_string().into());
    let cache = server.cache_dir.clone().unwrap_or(data.join("cache"));
    row("server.cache_dir", cache.display().to_string().into());
    let engines_dir = server.engines_dir.as_ref();
    row(
        "server.engines_dir",
        engines_dir.map_or("none".into(), |dir| dir.display().to_string().into()),
    );
    row("server.grace", show_duration(server.grace).into());
    row("server.max_requests", api.requests.into());
    row("server.max_streams", api.streams.into());
    row("server.max_queue", work.queue.into());
    row("server.max_runs", work.runs.into());
    row("server.max_calls", work.calls.into());
    row(
        "server.keep_deleted",
        show_duration(work.keep_deleted).into(),
    );
    row("store", store(&config.store).into());
    row(
        "catalog.directory",
        match &config.catalog.directory {
            Some(directory) => directory.display().to_string().into(),
            None => "none: nothing can be deployed".into(),
        },
    );
    row("engines", engines(config).into());
    for (id, calls) in &work.engines {
        row(&format!("engines.{id}.concurrency"), (*calls).into());
    }
    row(
        "engines.terraform.tool",
        match tools.get("terraform") {
            Some(path) => path.display().to_string().into(),
            None => "none: there is no tofu or terraform on PATH".into(),
        },
    );
    row(
        "gitops",
        match (&config.gitops.enabled, &config.gitops.repository) {
            (false, _) => "switched off".into(),
            (true, None) => "a repository in the data directory".into(),
            (true, Some(repository)) => format!(
                "{} ({}), branch {}",
                repository.name,
                repository.folder.display(),
                repository.branch
            )
            .into(),
        },
    );
    for (name, policy) in config.environments.iter() {
        row(&format!("environments.{name}"), environment(policy).into());
    }
    row("webhooks.allow_private", config.webhooks.to_string().into());
    row("telemetry.log", config.telemetry.log.clone().into());
    row(
        "telemetry.format",
        match config.telemetry.format {
            LogFormat::Text => "text".into(),
            LogFormat::Json => "json".into(),
        },
    );
    Ok(all)
}

fn store(store: &StoreConfig) -> String {
    match store {
        StoreConfig::Memory => "in memory: nothing survives a restart".to_owned(),
        StoreConfig::Sled { path, cache_bytes } => {
            let place = match path {
                Some(path) => path.display().to_string(),
                None => "the data directory".to_owned(),
            };
            let cache = cache_bytes.map(|bytes| format!(", with a cache of {}", show_size(bytes)));
            format!("sled in {place}{}", cache.unwrap_or_default())
        }
    }
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
    Ok(problems.iter().map(ToString::to_string).collect())
}
