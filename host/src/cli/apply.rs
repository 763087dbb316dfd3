//! `nestor apply`.

use std::io::IsTerminal;
use std::path::Path;

use clap::Args;
use nestor_client::Client;

use super::file::{DeploymentFile, FileArgs};
use super::live::{Aim, Goal, follow};
use super::{Code, Failure, Format, Out, OutputArgs, WaitArgs, get, plan};

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Show first what would change; on a terminal, ask before going on
    #[arg(long)]
    plan: bool,
    /// With --plan: do not ask
    #[arg(short, long, requires = "plan")]
    yes: bool,
    /// A repeated request with the same key and file answers as the first did
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl ApplyArgs {
    pub(crate) fn format(&self) -> Format {
        self.output.output
    }
}

pub(crate) async fn run(args: &ApplyArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    let file = DeploymentFile::read(&args.file.file)?;
    if args.plan {
        let plan = client
            .plan(file.body.clone())
            .await
            .map_err(|e| file.explain(e))?;
        if out.format == Format::Table {
            out.raw(&plan::show(&plan, out))?;
        }
        if !args.yes && asks(&args.file.file, out) && !confirmed(out)? {
            out.note("nothing was changed");
            return Ok(Code::Interrupted);
        }
    }
    let accepted = client
        .submit(file.body.clone(), args.idempotency_key.as_deref())
        .await
        .map_err(|e| file.explain(e))?;
    for warning in &accepted.warnings {
        out.note(&format!("warning: {warning}"));
    }
    if !args.wait.wait {
        return out
            .answer(&accepted.raw, |_| {
                format!(
                    "{} revision {} accepted; follow it with: nestor watch {}\n",
                    accepted.id, accepted.revision, accepted.id
                )
            })
            .map(|()| Code::Done);
    }
    let goal = Goal {
        revision: accepted.revision,
        since: None,
        aim: Aim::Ready,
        logs: false,
        timeout: Some(args.wait.timeout),
    };
    // The answer is one document; how it goes is for people.
    let quiet = Out::quiet();
    let progress = if out.format == Format::Table {
        out
    } else {
        &quiet
    };
    let code = follow(&accepted.id, goal, client, progress).await?;
    let deployment = client.deployment(&accepted.id).await?;
    out.answer(&deployment.raw, |out| {
        let table = if out.is_terminal() {
            String::new()
        } else {
            get::overview(&deployment, out)
        };
        format!("{table}{}", get::results(&deployment, out))
    })?;
    Ok(code)
}

/// Whether there is somebody to ask.
fn asks(file: &Path, out: &Out) -> bool {
    out.is_terminal() && std::io::stdin().is_terminal() && file != Path::new("-")
}

fn confirmed(out: &Out) -> Result<bool, Failure> {
    out.raw("Apply this? [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|e| Failure::local(format!("standard input cannot be read: {e}")))?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}
