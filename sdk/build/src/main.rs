//! `nestor-build`: engines from source to component.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand, ValueEnum};

/// Turns a Go module or a Rust crate into a finished engine component.
#[derive(Parser)]
#[command(name = "nestor-build", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build one engine.
    Component {
        /// Folder of a Go module or a Rust crate.
        folder: PathBuf,
        /// Where to write the component.
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
        /// Also write it compressed with zstd.
        #[arg(long, value_name = "FILE")]
        compress: Option<PathBuf>,
        /// Print steps, sizes, imports and exports.
        #[arg(long, value_name = "FORMAT", num_args = 0..=1, default_missing_value = "text")]
        report: Option<Format>,
        /// Build even when nothing changed.
        #[arg(long)]
        no_cache: bool,
    },
    /// Build the built-in engines for the host to embed.
    Engines {
        /// Folders of more engines, for example guests of tests.
        folders: Vec<PathBuf>,
        /// The checkout.
        #[arg(long, default_value = ".")]
        root: PathBuf,
        /// Only the engine in the folder of this name; repeatable. With none of
        /// this name, nothing built in.
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// Where to write; the checkout's `target/engines` when left out.
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
    /// Check a finished component against the contract and list its imports.
    Check {
        /// The component.
        component: PathBuf,
    },
    /// Write the Go SDK's bindings for the contract.
    Bindings {
        /// Write nothing; fail when the committed ones differ.
        #[arg(long)]
        check: bool,
        /// The Go SDK.
        #[arg(long, default_value = "sdk/go")]
        sdk: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Component {
            folder,
            out,
            compress,
            report,
            no_cache,
        } => {
            let cache = nestor_build::default_cache().filter(|_| !no_cache);
            let mut built = nestor_build::build(&folder, cache.as_deref(), &announce(&folder))?;
            write(&out, &built.wasm)?;
            if let Some(path) = compress {
                let packed = nestor_build::compress(&built.wasm)?;
                write(&path, &packed)?;
                built.report.compressed_bytes = Some(packed.len() as u64);
            }
            match report {
                None => say(&format!("{}: {}\n", out.display(), built.report.digest))?,
                Some(Format::Text) => say(&built.report.to_string())?,
                Some(Format::Json) => say(&(serde_json::to_string_pretty(&built.report)? + "\n"))?,
            }
        }
        Command::Engines {
            folders,
            root,
            only,
            out,
        } => {
            let out = out.unwrap_or_else(|| root.join("target").join("engines"));
            let mut all = nestor_build::engine_folders(&root)?;
            if !only.is_empty() {
                all.retain(|f| {
                    f.file_name()
                        .is_some_and(|n| only.iter().any(|o| n == o.as_str()))
                });
            }
            for folder in all.into_iter().chain(folders) {
                let files = nestor_build::build_engine(&folder, &out, &announce(&folder))
                    .with_context(|| format!("building the engine in {}", folder.display()))?;
                say(&format!("{} {}", files.name, files.report))?;
            }
        }
        Command::Check { component } => {
            let bytes =
                std::fs::read(&component).with_context(|| format!("{}", component.display()))?;
            let surface = nestor_build::check_component(&bytes)?;
            say(&(serde_json::to_string_pretty(&surface)? + "\n"))?;
        }
        Command::Bindings { check: true, sdk } => {
            let drifted = nestor_build::bindings::drift(&sdk)?;
            for path in &drifted {
                eprintln!("{}: differs from wit/engine.wit", sdk.join(path).display());
            }
            if !drifted.is_empty() {
                eprintln!("run `nestor-build bindings` and commit the result");
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Bindings { check: false, sdk } => nestor_build::bindings::write(&sdk)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the answer. A reader that has seen enough is no error.
fn say(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e).context("cannot write to stdout"),
        _ => Ok(()),
    }
}

/// Says on stderr what is done to the engine in `folder`.
fn announce(folder: &Path) -> impl Fn(&str) {
    let name = folder
        .file_name()
        .unwrap_or(folder.as_os_str())
        .to_string_lossy()
        .into_owned();
    move |step| eprintln!("{name}: {step}")
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
