//! What a run did.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use nestor_core::ids::DeploymentId;
use nestor_orchestrator::report::ReportView;

use crate::extract::{Name, Params};
use crate::problem::{Problem, ProblemView};
use crate::state::Api;

/// What a run did, or does so far: attempts, waits, times and reasons.
#[utoipa::path(
    get, path = "/api/v1/deployments/{id}/report", tag = "deployments",
    params(
        ("id" = String, Path, description = "The deployment's id"),
        ("run" = Option<u64>, Query, description = "The run's number; the last when absent"),
    ),
    responses(
        (status = 200, body = ReportView),
        (status = 404, description = "No such deployment or run", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn report(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    uri: Uri,
) -> Result<Json<ReportView>, Problem> {
    let params = Params::of(&uri, &["run"])?;
    let run = params.parse::<u64>("run", "the number of a run, from 1")?;
    Ok(Json(api.service().report(id.as_str(), run).await?))
}
