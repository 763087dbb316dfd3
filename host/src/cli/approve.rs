//! `nestor approve`.

use clap::Args;
use nestor_client::{Client, DeploymentStatus};

use super::actions::{ActionArgs, Asked};
use super::apply::confirmed;
use super::live::Aim;
use super::{Code, Failure, Format, Out, plan};

#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    #[command(flatten)]
    pub(crate) action: ActionArgs,
    /// The plan that was looked at, by its digest: no other is approved
    #[arg(long, value_name = "DIGEST")]
    plan: Option<String>,
    /// For those who read it later
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(args: &ApproveArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    let id = &args.action.id;
    let before = client.deployment(id).await?.value;
    if before.status != DeploymentStatus::AwaitingApproval {
        // The server says why not, or that this very plan was approved.
        let accepted = client.approve(id, args.plan.as_deref(), args.comment.as_deref());
        return out
            .answer(&accepted.await?.raw, |_| {
                format!("{id} was approved already\n")
            })
            .map(|()| Code::Done);
    }
    let waiting = client.waiting_plan(id).await?;
    let deletes = before
        .approval
        .as_ref()
        .is_some_and(|a| a.action == "delete");
    if out.format == Format::Table {
        out.raw(&plan::show(&waiting, out))?;
    }
    // What was shown is approved, whatever waits by then.
    let named = args.plan.as_deref().unwrap_or(&waiting.digest);
    if args.plan.is_none() && !args.yes && out.asks() && !confirmed(out, "Approve this?")? {
        out.note("nothing was approved; `nestor cancel` refuses what waits");
        return Ok(Code::Interrupted);
    }
    let accepted = client
        .approve(id, Some(named), args.comment.as_deref())
        .await?;
    let done = Asked {
        what: "is approved",
        aim: if deletes { Aim::Deleted } else { Aim::Ready },
        before,
        accepted,
    };
    done.finish(&args.action, client, out).await
}
