//! The command line.

mod actions;
mod apply;
mod approve;
mod ask;
mod catalog;
mod configcheck;
mod drift;
mod engines;
mod failure;
mod file;
mod get;
mod graph;
mod impact;
mod live;
mod out;
mod part;
mod plan;
mod render;
mod report;
mod revisions;
mod watch;
mod webhooks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use nestor_client::Client;

pub(crate) use failure::{Code, Failure};
use out::Out;

const EXIT_CODES: &str = "\
Exit codes:
  0    it is done (with --wait: and as asked for)
  1    the deployment failed, was cancelled, was rolled back, or is stuck; a test message was not taken
  2    the command line, the file or the deployment in it is not valid, or nobody can be asked
  3    the server cannot be reached, or has an error of its own (HTTP 500)
  4    the server refuses: there is no such thing, or its state does not allow it
  5    the server cannot now: it is full, starting or stopping; try again later
  6    something on this machine: a file, a folder, a port
  7    something differs: for nestor drift, and for nestor plan --detailed-exitcode
  8    the time of --timeout is over; what was asked for goes on
  9    the same, and it waits for approval
  130  interrupted, or answered with no";

/// Nestor, the deployment orchestrator.
#[derive(Debug, Parser)]
#[command(name = "nestor", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    /// Where the server is
    #[arg(
        long,
        global = true,
        env = "NESTOR_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        hide_env_values = true
    )]
    server: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Deploy what a file says, or change a deployment to it
    Apply(apply::ApplyArgs),
    /// Show what applying a file, or a deployment again, would change
    Plan(plan::PlanArgs),
    /// Show a deployment, or list all
    Get(get::GetArgs),
    /// Follow a deployment until it settles
    Watch(watch::WatchArgs),
    /// Show the dependency graph of a deployment
    Graph(graph::GraphArgs),
    /// Show what a change of a resource, or the deletion of a deployment, would touch
    Impact(impact::ImpactArgs),
    /// Show whether a deployment still is as it was applied, or look now
    Drift(drift::DriftArgs),
    /// Show what a run did: attempts, waits, times and reasons
    Report(report::ReportArgs),
    /// List the revisions of a deployment, the latest first
    Revisions(revisions::RevisionsArgs),
    /// Destroy a deployment, or stop and unwind it while it is under way
    Delete(actions::DeleteArgs),
    /// Approve the plan that waits; `cancel` refuses it
    Approve(approve::ApproveArgs),
    /// Go on from the resources that failed
    Retry(actions::ActionArgs),
    /// Stop what is under way
    Cancel(actions::ActionArgs),
    /// Go back to an earlier revision
    Rollback(actions::RollbackArgs),
    /// What can be deployed
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    /// The engines of the server
    #[command(subcommand)]
    Engines(engines::EnginesCommand),
    /// Who is told of what
    #[command(subcommand)]
    Webhooks(webhooks::WebhooksCommand),
    /// The config of a server
    #[command(subcommand)]
    Config(configcheck::ConfigCommand),
    /// Render a definition on this machine, without a server
    Render(render::RenderArgs),
    /// Write a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// What `nestor serve` takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    /// The config; without one: a store in the data directory, the built-in engines, an empty catalog
    #[arg(long, env = "NESTOR_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The address to listen on, in place of the config's (127.0.0.1:8080)
    #[arg(long, value_name = "ADDRESS", value_parser = crate::config::listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// The folder for everything durable, in place of the config's ($XDG_DATA_HOME/nestor, or ./.nestor)
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The folder of definitions, in place of the config's
    #[arg(long, value_name = "DIR")]
    pub(crate) catalog: Option<PathBuf>,
    /// Which log lines: a level, or `info,nestor_engine=debug`
    #[arg(long, env = "NESTOR_LOG", value_name = "FILTER", value_parser = crate::config::directives)]
    pub(crate) log: Option<String>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormatArg>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormatArg {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// As the server answered
    Json,
    /// The same as YAML
    Yaml,
}

#[derive(Debug, Clone, Copy, Args)]
struct OutputArgs {
    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

#[derive(Debug, Clone, Copy, Args)]
struct WaitArgs {
    /// Wait until it settles, and show how it goes
    #[arg(long)]
    wait: bool,
    /// Tell it line by line, with the engines' log lines
    #[arg(long, requires = "wait")]
    logs: bool,
    /// Give up waiting after this; the deployment goes on
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = nestor_core::units::parse_duration, requires = "wait")]
    timeout: Duration,
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, and are no failure.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                Code::Invalid
            } else {
                Code::Done
            });
        }
    };
    let format = cli.command.format();
    let out = Out::new(format);
    let server = cli.server.clone();
    match run(cli, &out) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            out.failure(&failure, &server);
            ExitCode::from(failure.code)
        }
    }
}

impl Command {
    /// In which errors are written too.
    fn format(&self) -> Format {
        match self {
            Self::Apply(args) => args.format(),
            Self::Plan(args) => args.format(),
            Self::Get(args) => args.format(),
            Self::Watch(args) => args.format(),
            Self::Graph(args) => args.format(),
            Self::Impact(args) => args.format(),
            Self::Drift(args) => args.format(),
            Self::Report(args) => args.format(),
            Self::Revisions(args) => args.format(),
            Self::Delete(args) => args.action.format(),
            Self::Approve(args) => args.action.format(),
            Self::Retry(args) | Self::Cancel(args) => args.format(),
            Self::Rollback(args) => args.action.format(),
            Self::Catalog(command) => command.format(),
            Self::Engines(command) => command.format(),
            Self::Webhooks(command) => command.format(),
            Self::Render(args) => args.format(),
            Self::Config(command) => command.format(),
            Self::Serve(_) | Self::Completions { .. } => Format::Table,
        }
    }
}

fn run(cli: Cli, out: &Out) -> Result<Code, Failure> {
    match cli.command {
        Command::Serve(args) => crate::serve::run(args),
        Command::Config(command) => configcheck::run(&command, out),
        Command::Render(args) => runtime()?.block_on(render::run(&args, out)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "nestor", &mut script);
            out.raw(&String::from_utf8_lossy(&script))?;
            Ok(Code::Done)
        }
        command => {
            let client = Client::new(&cli.server)?;
            runtime()?.block_on(async {
                tokio::select! {
                    // Whoever waits for a deployment says first that it goes on.
                    biased;
                    result = remote(command, &client, out) => result,
                    _ = tokio::signal::ctrl_c() => Ok(Code::Interrupted),
                }
            })
        }
    }
}

async fn remote(command: Command, client: &Client, out: &Out) -> Result<Code, Failure> {
    match command {
        Command::Apply(args) => apply::run(&args, client, out).await,
        Command::Plan(args) => plan::run(&args, client, out).await,
        Command::Get(args) => get::run(&args, client, out).await,
        Command::Watch(args) => watch::run(&args, client, out).await,
        Command::Graph(args) => graph::run(&args, client, out).await,
        Command::Impact(args) => impact::run(&args, client, out).await,
        Command::Drift(args) => drift::run(&args, client, out).await,
        Command::Report(args) => report::run(&args, client, out).await,
        Command::Revisions(args) => revisions::run(&args, client, out).await,
        Command::Delete(args) => actions::delete(&args, client, out).await,
        Command::Approve(args) => approve::run(&args, client, out).await,
        Command::Retry(args) => actions::retry(&args, client, out).await,
        Command::Cancel(args) => actions::cancel(&args, client, out).await,
        Command::Rollback(args) => actions::rollback(&args, client, out).await,
        Command::Catalog(command) => catalog::run(&command, client, out).await,
        Command::Engines(command) => engines::run(&command, client, out).await,
        Command::Webhooks(command) => webhooks::run(&command, client, out).await,
        Command::Serve(_)
        | Command::Config(_)
        | Command::Render(_)
        | Command::Completions { .. } => {
            unreachable!("needs no server")
        }
    }
}

/// One thread is enough for a client.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::local(format!("the program cannot start: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// The codes of the help, and of the README, which says the same in a table.
    #[test]
    fn the_readme_explains_the_same_codes() {
        let readme = include_str!("../../../README.md");
        let table: Vec<(&str, String)> = readme
            .lines()
            .skip_while(|line| !line.starts_with("| exit code"))
            .skip(2)
            .map_while(|line| {
                line.strip_prefix("| ")?
                    .strip_suffix(" |")?
                    .split_once(" | ")
            })
            .map(|(code, text)| (code, text.replace('`', "")))
            .collect();
        let help: Vec<(&str, String)> = EXIT_CODES
            .lines()
            .skip(1)
            .filter_map(|line| line.trim().split_once(' '))
            .map(|(code, text)| (code, text.trim().to_owned()))
            .collect();
        assert_eq!(table, help);
        let codes = Code::ALL.map(|code| (code as u8).to_string());
        assert_eq!(
            help.iter().map(|(code, _)| *code).collect::<Vec<_>>(),
            codes
        );
    }

    #[test]
    fn commands_are_understood() {
        for good in [
            "serve",
            "serve --config a.yaml --listen 127.0.0.1:0 --data-dir d --log debug --log-format json",
            "apply -f a.json --wait --plan --timeout 5m",
            "apply -f - -o json",
            "apply -f a.json --plan plan.json --wait",
            "apply -f a.json --target a b --target c -o json",
            "apply -f a.json --affected",
            "plan -f a.yaml --target a --out plan.json",
            "approve a",
            "approve a --plan sha256:00 --comment fine --wait -y",
            "get",
            "get web-app -o yaml",
            "get -l tier=web --label team=a",
            "get --environment production --status ready --limit 5",
            "watch web-app",
            "delete web-app --wait",
            "plan -f a.yaml --detailed-exitcode",
            "apply -f a.json --wait --logs",
            "delete a -y --wait --logs",
            "plan web-app -o json",
            "graph web-app -o dot",
            "impact web-app",
            "impact web-app --resource database -o json",
            "impact --definition postgres:1.3.0",
            "impact --engine terraform",
            "revisions a",
            "revisions a -o yaml",
            "catalog list",
            "catalog get mysql:1.0.0 -o json",
            "engines list",
            "engines get helm -o json",
            "engines load a.wasm --manifest engine.toml --name note",
            "engines delete note",
            "report a --run 3 -o junit",
            "webhooks list",
            "webhooks put a --url https://x.example/ --secret-file s --type deployment.ready --type resource.*",
            "webhooks put a --url u --allow-private=false --any",
            "webhooks dead-letters a --limit 10 -o json",
            "webhooks redeliver a web/1 web/2",
            "config check",
            "config check nestor.yaml -o json",
            "completions bash",
            "drift a",
            "drift a --now -o json",
            "drift a --remediate --timeout 5m",
            "retry a",
            "cancel a",
            "rollback a --to 3",
            "render --definition d",
            "--server http://h:1 get",
        ] {
            let words = std::iter::once("nestor").chain(good.split(' '));
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{good}: {error}");
            }
        }
        for bad in [
            "",
            "apply",
            "apply -f a --timeout 5m",
            "apply -f a --logs",
            "plan",
            "plan web-app -f a.yaml",
            "get a b",
            "get -o xml",
            "get --limit 0",
            "serve --listen nowhere",
            "approve",
            "apply -f a --target a --affected",
            "plan a --target b",
            "rollback",
            "rollback a --to x",
            "revisions",
            "catalog",
            "catalog get",
            "engines",
            "engines load",
            "webhooks put a",
            "webhooks put a --url u --previous-secret-file s",
            "watch",
            "serve --log ,,=",
        ] {
            let words = std::iter::once("nestor").chain(bad.split_whitespace());
            assert!(Cli::try_parse_from(words).is_err(), "{bad}");
        }
    }
}
