//! What posting a deployment would change. Nothing is done.

use std::sync::Arc;

use crate::context::Context;
use crate::fixed;
use crate::foresee::{Foreseen, Question, Unforeseen};
use crate::impact;
use crate::ownership::{self, Homes};
use crate::records::{DeploymentRecord, ResourceRecord, StatusRecord, key};
use crate::scope::Compared;
use crate::service::{Rejection, RequestMeta};
use crate::submit::{Checked, check, internal};
use crate::view::PlanView;

/// Plans a deployment.
pub(crate) async fn preview(
    context: &Arc<Context>,
    body: &[u8],
    meta: &RequestMeta,
) -> Result<PlanView, Rejection> {
    let checked = check(context, body).await?;
    let mut plan = of(context, &checked, meta).await?.view;
    let touched = impact::of_plan(context, &checked, &plan).await;
    plan.impact = Some(touched.map_err(internal)?);
    Ok(plan)
}

/// Plans what was checked.
pub(crate) async fn of(
    context: &Context,
    checked: &Checked,
    meta: &RequestMeta,
) -> Result<Foreseen, Rejection> {
    let Checked { spec, plan } = checked;
    let existing = context
        .read::<DeploymentRecord>(&key::deployment(&spec.id))
        .await
        .map_err(internal)?;
    let status = context
        .read::<StatusRecord>(&key::status(&spec.id))
        .await
        .map_err(internal)?;
    let deployed = context
        .read_all::<ResourceRecord>(&key::resources(&spec.id))
        .await
        .map_err(internal)?;
    let mut deployed: Vec<ResourceRecord> = deployed.into_iter().map(|(_, r)| r).collect();
    let homes = Homes::read(context, &spec.id, status.as_ref())
        .await
        .map_err(internal)?;
    // No engine sees what is another's, and no composer either.
    fixed::check(existing.as_ref(), status.as_ref(), &deployed, checked)?;
    let number = existing.map_or(0, |r| r.revision) + 1;
    // What is taken over is seen as if it were deployed here.
    let whole = Compared {
        spec,
        revision: number,
        plan,
        deployed: &deployed,
    };
    let part = whole.part(&meta.scope);
    let looked = ownership::adoptions(context, spec, plan, part.as_ref())
        .await
        .map_err(internal)?;
    deployed.extend(looked.adoptions.iter().map(|a| a.record.clone()));
    let compared = Compared {
        spec,
        revision: number,
        plan,
        deployed: &deployed,
    };
    let unknown = compared.check_targets(&meta.scope);
    if !unknown.is_empty() {
        return Err(Rejection::Invalid(unknown));
    }
    let part = compared.part(&meta.scope);
    let question = Question {
        context,
        compared,
        part: part.as_ref(),
        taking: &looked.adoptions,
        homes: &homes,
        traceparent: meta.traceparent.as_deref(),
        worker: None,
    };
    let mut foreseen = question.ask().await.map_err(|why| match why {
        Unforeseen::NotNow {
            message,
            retry_after,
        } => Rejection::NotNow {
            message,
            retry_after,
        },
        Unforeseen::Refused(violations) => Rejection::Invalid(violations),
        Unforeseen::Internal(message) => internal(message),
        Unforeseen::Stale => internal("a plan for nobody's lease cannot be stale"),
    })?;
    for waits in &looked.unsettled {
        let warning = format!("resource {} would wait now: {}", waits.resource, waits.why);
        foreseen.view.warnings.push(warning);
    }
    let left_out = compared.left_out(part.as_ref());
    if !left_out.is_empty() {
        let warning = format!("left as they are: {}", left_out.join(", "));
        foreseen.view.warnings.push(warning);
    }
    Ok(foreseen)
}
