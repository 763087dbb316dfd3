//! `nestor apply`.

use std::path::Path;

use clap::Args;
use nestor_client::Client;

use super::ask::confirmed;
use super::file::{DeploymentFile, FileArgs};
use super::live::{Aim, Goal, follow};
use super::part::{self, PartArgs};
use super::{Code, Failure, Format, Out, OutputArgs, WaitArgs, get, plan};

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Show first what would change, and ask before going on. With a digest, or
    /// a file that `nestor plan --out` wrote: apply exactly that, or nothing
    #[arg(long, value_name = "DIGEST|FILE", num_args = 0..=1)]
    plan: Option<Option<String>>,
    #[command(flatten)]
    part: PartArgs,
    /// With --plan: do not ask; needed where nobody can be asked
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
    let (mut named, mut part) = (None, args.part.part());
    if let Some(Some(text)) = &args.plan {
        let (digest, of) = part::named(text, &args.part)?;
        (named, part) = (Some(digest), of);
    }
    if args.plan == Some(None) {
        // Standard input cannot be both the file and the person.
        let asks = out.asks() && args.file.file != Path::new("-");
        if !args.yes && !asks {
            return Err(Failure::invalid(
                "nobody can be asked whether to apply what --plan shows: say --yes, or look at \
                 `nestor plan -f FILE --out plan.json` and apply that with --plan plan.json",
            ));
        }
        let plan = client
            .plan_part(file.body.clone(), &part)
            .await
            .map_err(|e| file.explain(e))?;
        out.look_at(&plan::show(&plan, false, out))?;
        if !args.yes && !confirmed("Apply this?")? {
            out.note("nothing was changed");
            return Ok(Code::Interrupted);
        }
        // What was shown is applied, or nothing.
        named = Some(plan.digest.clone()).filter(|digest| !digest.is_empty());
    }
    let key = args.idempotency_key.as_deref();
    let accepted = client
        .submit_part(file.body.clone(), key, &part, named.as_deref())
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
        logs: args.wait.logs,
        timeout: Some(args.wait.timeout),
    };
    // The answer is one document; how it goes is for people.
    let quiet = Out::quiet();
    let progress = if out.format == Format::Table {
        out
    } else {
        &quiet
    };
    let draws = goal.draws(progress);
    let code = follow(&accepted.id, goal, client, progress).await?;
    if code == Code::Interrupted {
        return Ok(code);
    }
    let deployment = client.deployment(&accepted.id).await?;
    out.answer(&deployment.raw, |out| {
        let table = if draws {
            String::new()
        } else {
            get::overview(&deployment, out)
        };
        format!("{table}{}", get::results(&deployment, out))
    })?;
    Ok(code)
}
