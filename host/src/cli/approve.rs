//! `nestor approve`.

use clap::Args;
use nestor_client::{Client, DeploymentStatus};

use super::actions::{ActionArgs, Asked};
use super::ask::confirmed;
use super::live::Aim;
use super::{Code, Failure, Out, plan};

#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    #[command(flatten)]
    pub(crate) action: ActionArgs,
    /// The plan that was looked at, by its digest: no other is approved, and nothing is asked
    #[arg(long, value_name = "DIGEST")]
    plan: Option<String>,
    /// For those who read it later
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Approve what waits without asking; where nobody can be asked, this or --plan is needed
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(args: &ApproveArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    let id = &args.action.id;
    let before = client.deployment(id).await?.value;
    let waits = before.status == DeploymentStatus::AwaitingApproval;
    let deletes = before
        .approval
        .as_ref()
        .is_some_and(|approval| approval.action == "delete");
    // Only a plan that somebody saw is approved, whatever waits by then.
    let digest = match &args.plan {
        Some(digest) => digest.clone(),
        None if !waits => {
            let text = format!("nothing waits for approval: {id} is {}", before.status);
            return Err(Failure::new(Code::Refused, text));
        }
        None => {
            let waiting = client.waiting_plan(id).await?;
            out.look_at(&plan::show(&waiting, deletes, out))?;
            if !args.yes {
                if !out.asks() {
                    return Err(Failure::invalid(format!(
                        "nobody can be asked here; approve this plan with: nestor approve {id} --plan {}\n\
                         or with --yes whatever waits; `nestor cancel {id}` refuses it",
                        waiting.digest
                    )));
                }
                if !confirmed("Approve this?")? {
                    out.note(&format!(
                        "nothing was approved; `nestor cancel {id}` refuses what waits"
                    ));
                    return Ok(Code::Interrupted);
                }
            }
            waiting.value.digest
        }
    };
    let accepted = client
        .approve(id, Some(&digest), args.comment.as_deref())
        .await?;
    let done = Asked {
        what: if waits {
            "is approved"
        } else {
            "was approved already"
        },
        aim: if deletes { Aim::Deleted } else { Aim::Ready },
        before,
        accepted,
    };
    done.finish(&args.action, client, out).await
}
