//! Plans that wait for a person.

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use nestor_core::ids::{DeploymentId, Digest};
use nestor_orchestrator::MAX_COMMENT;
use nestor_orchestrator::service::Approving;
use nestor_orchestrator::view::{Accepted, PlanView};
use serde_json::Value;

use super::actions::{action, invalid};
use super::deployments::accepted_response;
use crate::correlation::CorrelationId;
use crate::extract::{Name, Params};
use crate::problem::{Problem, ProblemView};
use crate::request::ApproveRequest;
use crate::state::Api;

/// Approves the plan that waits. It begins if it would still do the same;
/// otherwise the plan of what it would do now waits, and `reason` says what moved.
#[utoipa::path(
    post, path = "/api/v1/deployments/{id}/approve", tag = "deployments",
    params(("id" = String, Path, description = "The deployment's id")),
    request_body(content = Option<ApproveRequest>, description = "Absent: whatever waits"),
    responses(
        (status = 202, description = "Durably accepted", body = Accepted, headers(("Location" = String, description = "The deployment"))),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
        (status = 409, description = "Nothing waits, or another plan or revision does", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn approve(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    Extension(correlation): Extension<CorrelationId>,
    request: Request,
) -> Result<Response, Response> {
    let known = ["plan", "revision", "comment"];
    let (body, meta) = action(&api, &correlation, request, &known)
        .await
        .map_err(IntoResponse::into_response)?;
    let approving = approving(&body).map_err(IntoResponse::into_response)?;
    let service = api.service().clone();
    let accepted = api
        .detached(async move { Ok(service.approve(id.as_str(), approving, meta).await?) })
        .await?;
    Ok(accepted_response(accepted))
}

fn approving(body: &serde_json::Map<String, Value>) -> Result<Approving, Problem> {
    let field = |name: &str| body.get(name).filter(|value| !value.is_null());
    let plan = match field("plan") {
        None => None,
        Some(value) => match value.as_str().map(str::parse::<Digest>) {
            Some(Ok(digest)) => Some(digest),
            Some(Err(_)) | None => {
                let message = "must be the digest of a plan: 'sha256:' and 64 hex digits";
                return Err(invalid("invalid-value", "/plan", message));
            }
        },
    };
    let revision = match field("revision") {
        None => None,
        Some(value) => match value.as_u64().filter(|n| *n > 0) {
            Some(revision) => Some(revision),
            None => {
                let message = "must be the number of a revision, from 1";
                return Err(invalid("wrong-type", "/revision", message));
            }
        },
    };
    let comment = match field("comment") {
        None => None,
        Some(Value::String(text)) => {
            let odd = |c: char| c.is_control() && c != '\n';
            if text.chars().count() > MAX_COMMENT || text.chars().any(odd) {
                let message = format!(
                    "must have at most {MAX_COMMENT} characters, and no control characters but line ends"
                );
                return Err(invalid("invalid-value", "/comment", &message));
            }
            Some(text.clone()).filter(|text| !text.trim().is_empty())
        }
        Some(_) => return Err(invalid("wrong-type", "/comment", "must be a string")),
    };
    Ok(Approving {
        plan,
        revision,
        comment,
    })
}

/// The plan that waits for approval, or was approved last.
#[utoipa::path(
    get, path = "/api/v1/deployments/{id}/plan", tag = "plans",
    params(("id" = String, Path, description = "The deployment's id")),
    responses(
        (status = 200, body = PlanView),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
        (status = 409, description = "No plan waits, or was approved", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn waiting_plan(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    uri: Uri,
) -> Result<Json<PlanView>, Problem> {
    Params::of(&uri, &[])?;
    Ok(Json(api.service().waiting_plan(id.as_str()).await?))
}
