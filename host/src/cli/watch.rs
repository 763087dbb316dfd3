//! `nestor watch`.

use std::time::Duration;

use clap::Args;
use nestor_client::{Client, DeploymentStatus};

use super::live::{Aim, Goal, follow};
use super::{Code, Failure, Format, Out, OutputArgs, get};

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The deployment
    id: String,
    /// Tell it line by line, with the engines' log lines
    #[arg(long)]
    logs: bool,
    /// Give up after this; the deployment goes on
    #[arg(long, value_name = "DURATION", value_parser = nestor_core::units::parse_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    output: OutputArgs,
}

impl WatchArgs {
    pub(crate) fn format(&self) -> Format {
        self.output.output
    }
}

pub(crate) async fn run(args: &WatchArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    // The revision that counts is the newest that was asked for.
    let now = client.deployment(&args.id).await?;
    let revision = now.queued_revision.unwrap_or(now.revision);
    let deleted = matches!(
        now.status,
        DeploymentStatus::Deleting | DeploymentStatus::Deleted
    );
    let goal = Goal {
        revision,
        since: None,
        aim: if deleted { Aim::Deleted } else { Aim::Ready },
        logs: args.logs,
        timeout: args.timeout,
    };
    let draws = goal.draws(out);
    let code = follow(&args.id, goal, client, out).await?;
    if code == Code::Interrupted {
        return Ok(code);
    }
    if out.format == Format::Table && !deleted {
        let settled = client.deployment(&args.id).await?;
        if !draws {
            out.raw(&format!("\n{}", get::overview(&settled, out)))?;
        }
        out.raw(&get::results(&settled, out))?;
    }
    Ok(code)
}
