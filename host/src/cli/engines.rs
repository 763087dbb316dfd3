//! `nestor engines`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use nestor_client::{Client, Engine, EngineList};
use nestor_core::grant::{Capabilities, Manifest};
use nestor_core::units::{show_duration, show_size};
use serde_json::Value;

use super::out::{Cell, Colour, Table, pretty};
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
    row("size", size(engine.size).into());
    row("loaded", engine.loaded_at.as_str().into());
    row("features", engine.features.join(", ").into());
    format!(
        "{}\n{}\n{}",
        table.show(out, None),
        out.paint(Colour::Bold, "May do"),
        rights(&engine.granted, out)
    )
}

/// `86.9 MiB`: for people, who compare no bytes.
fn size(bytes: u64) -> String {
    match bytes {
        ..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => {
            let tenths = bytes * 10 / 1_048_576;
            format!("{}.{} MiB", tenths / 10, tenths % 10)
        }
    }
}

/// A row for each capability, in the words of what is said to be missing when
/// an engine does not load.
fn rights(granted: &Value, out: &Out) -> String {
    if granted.is_null() {
        return "nothing yet\n".to_owned();
    }
    let Ok(may) = Capabilities::from_json(granted, "the grant") else {
        // Of a newer server.
        return format!("{}\n", super::out::clean(&pretty(granted)));
    };
    let mut table = Table::default();
    let mut row = |capability: &str, is: String| {
        table.row([Cell::of(capability, Colour::Dim), is.into()]);
    };
    for rule in &may.http {
        for path in &rule.paths {
            let methods = rule.methods.join("/");
            row("http", format!("{methods} {}{path}", rule.origin));
        }
        let auth = match &rule.auth {
            Some(auth) => format!("secret {} as {}", auth.secret, auth.scheme.as_str()),
            None => "no auth".to_owned(),
        };
        row(
            "",
            format!(
                "with addresses {}, redirects {}, max_body {}, deadline {}, {auth}",
                rule.addresses.as_str(),
                rule.redirects.as_str(),
                show_size(rule.max_body),
                show_duration(rule.deadline)
            ),
        );
    }
    row("fs", "/definition ro".to_owned());
    let checkout = may.checkout();
    let (mode, quota) = (checkout.mode.as_str(), show_size(checkout.quota));
    row("fs", format!("/work {mode} with quota {quota}"));
    for rule in &may.tools {
        for args in &rule.args {
            row("tool", format!("{} with arguments {args}", rule.name));
        }
        for env in &rule.env {
            row("tool", format!("{} with variable {env}", rule.name));
        }
        let deadline = show_duration(rule.deadline);
        row("tool", format!("{} with deadline {deadline}", rule.name));
    }
    for secret in &may.secrets {
        row("secrets", secret.clone());
    }
    row("kv", format!("quota {}", show_size(may.kv_quota)));
    let limits = &may.limits;
    for (key, is) in [
        ("memory", show_size(limits.memory)),
        ("cpu", show_duration(limits.cpu)),
        ("wall", show_duration(limits.wall)),
        ("log_bytes", show_size(limits.log_bytes)),
        ("events_per_second", limits.events_per_second.to_string()),
        ("output_bytes", show_size(limits.output_bytes)),
        ("concurrency", limits.concurrency.to_string()),
    ] {
        row("limits", format!("{key} {is}"));
    }
    table.show(out, None)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_an_engine_may_do_reads_well() {
        let manifest = "schema = 1\n[engine]\nid = \"a\"\nversion = \"1.0.0\"\nworld = \"nestor:engine/engine@0.1.0\"\n\
            [[http]]\norigin = \"https://a.example\"\npaths = [\"/v1/**\"]\n\
            [[tool]]\nname = \"terraform\"\nargs = [[\"plan\", \"**\"]]\nenv = [\"TF_INPUT=0\"]\n\
            [secrets]\nnames = [\"token\"]\n";
        let granted = Manifest::parse(manifest, "engine.toml").unwrap();
        let granted = granted.capabilities.to_json();
        expect![[r#"
            http     GET/HEAD https://a.example:443/v1/**
                     with addresses public, redirects none, max_body 8MiB, deadline 30s, no auth
            fs       /definition ro
            fs       /work rw with quota 256MiB
            tool     terraform with arguments ["plan", "**"]
            tool     terraform with variable TF_INPUT=0
            tool     terraform with deadline 20m
            secrets  token
            kv       quota 1MiB
            limits   memory 96MiB
            limits   cpu 10s
            limits   wall 5m
            limits   log_bytes 1MiB
            limits   events_per_second 20
            limits   output_bytes 8MiB
            limits   concurrency 16
        "#]]
        .assert_eq(&rights(&granted, &Out::plain()));
        assert_eq!(rights(&Value::Null, &Out::plain()), "nothing yet\n");
        let newer = serde_json::json!({"moon": true});
        assert!(rights(&newer, &Out::plain()).contains("\"moon\": true"));
        let sizes = [(0, "0 KiB"), (290_000, "284 KiB"), (91_136_000, "86.9 MiB")];
        for (bytes, shown) in sizes {
            assert_eq!(size(bytes), shown);
        }
    }
}
