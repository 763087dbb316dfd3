//! `nestor delete|retry|cancel|rollback`.

use clap::Args;
use nestor_client::{Accepted, Client, Reply};

use super::live::{Goal, follow};
use super::{Code, Failure, Format, Out, OutputArgs, WaitArgs};

#[derive(Debug, Args)]
pub(crate) struct ActionArgs {
    /// The deployment
    id: String,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl ActionArgs {
    pub(crate) fn format(&self) -> Format {
        self.output.output
    }
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) action: ActionArgs,
    /// That there is no such deployment is fine
    #[arg(long)]
    ignore_missing: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    pub(crate) action: ActionArgs,
    /// The revision; without one, the last that was applied whole before this
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
}

pub(crate) async fn delete(args: &DeleteArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    if args.ignore_missing && !super::live::exists(&args.action.id, client).await? {
        out.note(&format!("there is no deployment {}", args.action.id));
        return Ok(Code::Done);
    }
    let accepted = client.delete(&args.action.id).await?;
    done(
        &accepted,
        &args.action,
        true,
        "will be deleted",
        client,
        out,
    )
    .await
}

pub(crate) async fn retry(args: &ActionArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    let accepted = client.retry(&args.id).await?;
    done(&accepted, args, false, "goes on", client, out).await
}

pub(crate) async fn cancel(args: &ActionArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    let accepted = client.cancel(&args.id).await?;
    match done(&accepted, args, false, "will stop", client, out).await {
        // What was asked for.
        Err(failure)
            if failure.code == Code::Failed
                && failure
                    .text
                    .starts_with(&format!("{} is cancelled", args.id)) =>
        {
            out.line(&failure.text).map(|()| Code::Done)
        }
        other => other,
    }
}

pub(crate) async fn rollback(
    args: &RollbackArgs,
    client: &Client,
    out: &Out,
) -> Result<Code, Failure> {
    let accepted = client.rollback(&args.action.id, args.to).await?;
    done(&accepted, &args.action, false, "goes back", client, out).await
}

async fn done(
    accepted: &Reply<Accepted>,
    args: &ActionArgs,
    deleted: bool,
    what: &str,
    client: &Client,
    out: &Out,
) -> Result<Code, Failure> {
    for warning in &accepted.warnings {
        out.note(&format!("warning: {warning}"));
    }
    if !args.wait.wait {
        let (id, revision) = (&accepted.id, accepted.revision);
        out.answer(&accepted.raw, |_| {
            format!("{id} revision {revision} {what}; follow it with: nestor watch {id}\n")
        })?;
        return Ok(Code::Done);
    }
    let goal = Goal {
        revision: accepted.revision,
        deleted,
        logs: false,
        timeout: Some(args.wait.timeout),
    };
    let quiet = Out::quiet();
    let progress = if out.format == Format::Table {
        out
    } else {
        &quiet
    };
    let code = follow(&accepted.id, goal, client, progress).await?;
    if out.format != Format::Table {
        let deployment = client.deployment(&accepted.id).await?;
        out.answer(&deployment.raw, |_| String::new())?;
    }
    Ok(code)
}
