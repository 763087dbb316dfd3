//! Whether what is deployed still is as it was applied.

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use nestor_core::ids::DeploymentId;
use nestor_orchestrator::view::{Accepted, DriftView};
use serde_json::Value;

use super::actions::{action, invalid};
use super::deployments::accepted_response;
use crate::correlation::CorrelationId;
use crate::extract::{Name, Params};
use crate::problem::{Problem, ProblemView};
use crate::request::DriftRequest;
use crate::state::Api;

/// What the last look for drift saw.
#[utoipa::path(
    get, path = "/api/v1/deployments/{id}/drift", tag = "deployments",
    params(("id" = String, Path, description = "The deployment's id")),
    responses(
        (status = 200, body = DriftView),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    uri: Uri,
) -> Result<Json<DriftView>, Problem> {
    Params::of(&uri, &[])?;
    Ok(Json(api.service().drift(id.as_str()).await?))
}

/// Looks for drift as soon as the deployment rests and there is room.
#[utoipa::path(
    post, path = "/api/v1/deployments/{id}/drift", tag = "deployments",
    params(("id" = String, Path, description = "The deployment's id")),
    request_body(content = Option<DriftRequest>, description = "Absent: what is found is reported"),
    responses(
        (status = 202, description = "Durably accepted; the result shows `pending` until the look is over", body = Accepted, headers(("Location" = String, description = "The deployment"))),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
        (status = 409, description = "Nothing to look at, or to put right", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn check(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    Extension(correlation): Extension<CorrelationId>,
    request: Request,
) -> Result<Response, Response> {
    let (body, meta) = action(&api, &correlation, request, &["remediate"])
        .await
        .map_err(IntoResponse::into_response)?;
    let remediate = match body.get("remediate") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(remediate)) => *remediate,
        Some(_) => {
            let message = "must be true or false";
            return Err(invalid("wrong-type", "/remediate", message).into_response());
        }
    };
    let service = api.service().clone();
    let accepted = api
        .detached(async move { Ok(service.check_drift(id.as_str(), remediate, meta).await?) })
        .await?;
    Ok(accepted_response(accepted))
}
