//! `nestor delete|retry|cancel|rollback`.

use clap::Args;
use nestor_client::{Accepted, Client, Deployment, DeploymentStatus, Reply};

use super::ask::confirmed;
use super::live::{Aim, Goal, follow};
use super::{Code, Failure, Format, Out, OutputArgs, WaitArgs, impact};

#[derive(Debug, Args)]
pub(crate) struct ActionArgs {
    /// The deployment
    pub(super) id: String,
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
    /// Do not show what goes, and do not ask. Only a person at a terminal is
    /// asked: a script that says delete means it, and may say so twice
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    pub(crate) action: ActionArgs,
    /// The revision, of those that `nestor revisions` lists; without one, the last that was applied whole before this
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
}

pub(crate) async fn delete(args: &DeleteArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    let before = match client.deployment(&args.action.id).await {
        Err(error)
            if args.ignore_missing
                && error.problem().is_some_and(|problem| problem.status == 404) =>
        {
            out.note(&format!("there is no deployment {}", args.action.id));
            return Ok(Code::Done);
        }
        before => before?.value,
    };
    if !args.yes && out.asks() && before.status != DeploymentStatus::Deleted {
        let impact = client.impact(&args.action.id, None).await?;
        out.look_at(&impact::of_deletion(&args.action.id, &impact, out))?;
        if !confirmed(&format!("Delete {}?", args.action.id))? {
            out.note("nothing was deleted");
            return Ok(Code::Interrupted);
        }
    }
    let accepted = client.delete(&args.action.id).await?;
    let done = Asked {
        what: "will be deleted",
        aim: Aim::Deleted,
        before,
        accepted,
    };
    done.finish(&args.action, client, out).await
}

pub(crate) async fn retry(args: &ActionArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    let before = client.deployment(&args.id).await?.value;
    let accepted = client.retry(&args.id).await?;
    let done = Asked {
        what: "goes on",
        aim: Aim::Ready,
        before,
        accepted,
    };
    done.finish(args, client, out).await
}

pub(crate) async fn cancel(args: &ActionArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    let before = client.deployment(&args.id).await?.value;
    let accepted = client.cancel(&args.id).await?;
    let done = Asked {
        what: "will stop",
        aim: Aim::Stopped,
        before,
        accepted,
    };
    done.finish(args, client, out).await
}

pub(crate) async fn rollback(
    args: &RollbackArgs,
    client: &Client,
    out: &Out,
) -> Result<Code, Failure> {
    let before = client.deployment(&args.action.id).await?.value;
    let accepted = client.rollback(&args.action.id, args.to).await?;
    let done = Asked {
        what: "goes back",
        aim: Aim::Ready,
        before,
        accepted,
    };
    done.finish(&args.action, client, out).await
}

/// A request that the server took.
pub(super) struct Asked {
    pub(super) what: &'static str,
    pub(super) aim: Aim,
    /// The deployment as it was.
    pub(super) before: Deployment,
    pub(super) accepted: Reply<Accepted>,
}

impl Asked {
    pub(super) async fn finish(
        self,
        args: &ActionArgs,
        client: &Client,
        out: &Out,
    ) -> Result<Code, Failure> {
        let accepted = self.accepted;
        for warning in &accepted.warnings {
            out.note(&format!("warning: {warning}"));
        }
        if !args.wait.wait {
            let (id, revision, what) = (&accepted.id, accepted.revision, self.what);
            out.answer(&accepted.raw, |_| {
                format!("{id} revision {revision} {what}; follow it with: nestor watch {id}\n")
            })?;
            return Ok(Code::Done);
        }
        let goal = Goal {
            revision: accepted.revision,
            since: Some(self.before.updated_at),
            aim: self.aim,
            logs: args.wait.logs,
            timeout: Some(args.wait.timeout),
        };
        let quiet = Out::quiet();
        let progress = if out.format == Format::Table {
            out
        } else {
            &quiet
        };
        let code = follow(&accepted.id, goal, client, progress).await?;
        if out.format != Format::Table && code != Code::Interrupted {
            let deployment = client.deployment(&accepted.id).await?;
            out.answer(&deployment.raw, |_| String::new())?;
        }
        Ok(code)
    }
}
