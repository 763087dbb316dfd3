//! `nestor engines`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use nestor_client::{Client, Engine, EngineList};
use nestor_core::grant::Manifest;

use super::out::{Cell, Colour, Table, one_line, pretty};
use super::{Code, Failure, Format, Out, OutputArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum EnginesCommand {
    /// List all engines
    List(OutputArgs),
    /// Show one engine, with what it may do
    Get {
        /// Its name
        name: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Put a component in place of the engine of its name, or add it
    Load(LoadArgs),
    /// Take a component away that was loaded; a built-in takes its place again
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The WebAssembly component
    component: PathBuf,
    /// What it requests; without this, FILE.toml or engine.toml beside it
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Load it without a manifest: it gets no capability
    #[arg(long, conflicts_with = "manifest")]
    no_manifest: bool,
    /// The engine's name; without this, the one in its manifest, else the file's
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl EnginesCommand {
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::List(output) | Self::Get { output, .. } | Self::Delete { output, .. } => {
                output.output
            }
            Self::Load(args) => args.output.output,
        }
    }
}

pub(crate) async fn run(
    command: &EnginesCommand,
    client: &Client,
    out: &Out,
) -> Result<Code, Failure> {
    match command {
        EnginesCommand::List(_) => {
            let engines = client.engines().await?;
            out.answer(&engines.raw, |out| list(&engines, out))?;
        }
        EnginesCommand::Get { name, .. } => {
            let engine = client.engine(name).await?;
            out.answer(&engine.raw, |out| detail(&engine, out))?;
        }
        EnginesCommand::Load(args) => load(args, client, out).await?,
        EnginesCommand::Delete { name, .. } => match client.delete_engine(name).await? {
            Some(engine) => out.answer(&engine.raw, |out| {
                format!(
                    "{name} is deleted; in its place again:\n{}",
                    detail(&engine, out)
                )
            })?,
            None if out.format == Format::Table => out.line(&format!("{name} is deleted"))?,
            None => {}
        },
    }
    Ok(Code::Done)
}

async fn load(args: &LoadArgs, client: &Client, out: &Out) -> Result<(), Failure> {
    let component = read(&args.component)?;
    let manifest = match (&args.manifest, args.no_manifest) {
        (Some(path), _) => Some(path.clone()),
        (None, true) => None,
        (None, false) => beside(&args.component),
    };
    let manifest = match manifest {
        Some(path) => Some((read_text(&path)?, path)),
        None => None,
    };
    let name = match (&args.name, &manifest) {
        (Some(name), _) => name.clone(),
        (None, Some((text, path))) => {
            let manifest = Manifest::parse(text, &path.display().to_string());
            manifest
                .map_err(|error| Failure::invalid(error.to_string()))?
                .id
                .name
                .to_string()
        }
        (None, None) => {
            let stem = args
                .component
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned());
            stem.unwrap_or_default()
        }
    };
    if let Err(error) = nestor_core::ids::EngineId::new(&name) {
        return Err(Failure::invalid(format!("{error}; give it with --name")));
    }
    match &manifest {
        Some((_, path)) => out.note(&format!("loading {name} with {}", path.display())),
        None if args.no_manifest => {}
        None => out.note(&format!(
            "loading {name} without an engine.toml: it gets no capability"
        )),
    }
    let engine = client
        .put_engine(
            &name,
            component,
            manifest.as_ref().map(|(text, _)| text.as_str()),
        )
        .await
        .map_err(|error| {
            let failure = Failure::from(error);
            match failure.problem {
                Some(_) => Failure {
                    text: format!("{}: {}", args.component.display(), failure.text),
                    ..failure
                },
                None => failure,
            }
        })?;
    out.answer(&engine.raw, |out| detail(&engine, out))
}

/// The manifest that belongs to a component: `note.toml`, else `engine.toml`.
fn beside(component: &Path) -> Option<PathBuf> {
    [
        component.with_extension("toml"),
        component.with_file_name("engine.toml"),
    ]
    .into_iter()
    .find(|path| path.is_file())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|e| Failure::invalid(format!("{} cannot be read: {e}", path.display())))
}

fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read(path)?)
        .map_err(|_| Failure::invalid(format!("{} is not UTF-8 text", path.display())))
}

fn status(engine: &Engine) -> Cell {
    let colour = match engine.status.as_str() {
        "ready" => Colour::Good,
        "preparing" => Colour::Busy,
        _ => Colour::Bad,
    };
    Cell::of(&engine.status, colour)
}

fn list(engines: &EngineList, out: &Out) -> String {
    if engines.items.is_empty() {
        return "No engine is loaded; load one with: nestor engines load FILE.wasm\n".to_owned();
    }
    let mut table = Table::new(["NAME", "STATUS", "VERSION", "SOURCE", "DIGEST", "SUMMARY"]);
    for engine in &engines.items {
        table.row([
            engine.name.as_str().into(),
            status(engine),
            engine.version.as_str().into(),
            engine.source.as_str().into(),
            // As much as one compares by eye.
            engine
                .digest
                .chars()
                .take("sha256:".len() + 12)
                .collect::<String>()
                .into(),
            engine.reason.as_deref().unwrap_or(&engine.summary).into(),
        ]);
    }
    table.show(out, None)
}

fn detail(engine: &Engine, out: &Out) -> String {
    let mut table = Table::default();
    let mut row = |name: &str, value: Cell| table.row([Cell::of(name, Colour::Dim), value]);
    row("name", engine.name.as_str().into());
    row("status", status(engine));
    if let Some(reason) = &engine.reason {
        row("reason", reason.as_str().into());
    }
    row("version", engine.version.as_str().into());
    row("summary", engine.summary.as_str().into());
    row("source", engine.source.as_str().into());
    row("digest", engine.digest.as_str().into());
    row("size", format!("{} KiB", engine.size / 1024).into());
    row("loaded", engine.loaded_at.as_str().into());
    row("features", engine.features.join(", ").into());
    let granted = if engine.granted.is_null() {
        "nothing yet".to_owned()
    } else {
        pretty(&engine.granted)
    };
    let granted: Vec<String> = granted.lines().map(super::out::clean).collect();
    format!(
        "{}{}\n{}\n",
        table.show(out, None),
        out.paint(Colour::Dim, &one_line("may do")),
        granted.join("\n")
    )
}
