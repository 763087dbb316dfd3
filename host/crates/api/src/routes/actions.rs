//! What can be done to a deployment besides posting it.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use nestor_core::ids::DeploymentId;
use nestor_core::text::{did_you_mean, listed, pointer_step, shortened};
use nestor_orchestrator::service::{Rejection, RequestMeta};
use nestor_orchestrator::view::Accepted;
use serde_json::{Map, Value};

use super::deployments::accepted_response;
use crate::correlation::CorrelationId;
use crate::extract::{Name, Params, meta, read_optional};
use crate::limits::MAX_ACTION_BYTES;
use crate::problem::{Problem, ProblemCode, ProblemView, ViolationView};
use crate::request::RollbackRequest;
use crate::state::Api;

/// Goes on from the resources that failed.
#[utoipa::path(
    post, path = "/api/v1/deployments/{id}/retry", tag = "deployments",
    params(("id" = String, Path, description = "The deployment's id")),
    responses(
        (status = 202, description = "Durably accepted", body = Accepted, headers(("Location" = String, description = "The deployment"))),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
        (status = 409, description = "Nothing to retry", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn retry(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    Extension(correlation): Extension<CorrelationId>,
    request: Request,
) -> Result<Response, Response> {
    let (_, meta) = action(&api, &correlation, request, &[]).await?;
    let service = api.service().clone();
    answer(&api, async move { service.retry(id.as_str(), meta).await }).await
}

/// Stops what is under way.
#[utoipa::path(
    post, path = "/api/v1/deployments/{id}/cancel", tag = "deployments",
    params(("id" = String, Path, description = "The deployment's id")),
    responses(
        (status = 202, description = "Durably accepted", body = Accepted, headers(("Location" = String, description = "The deployment"))),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
        (status = 409, description = "Nothing to cancel", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    Extension(correlation): Extension<CorrelationId>,
    request: Request,
) -> Result<Response, Response> {
    let (_, meta) = action(&api, &correlation, request, &[]).await?;
    let service = api.service().clone();
    answer(&api, async move { service.cancel(id.as_str(), meta).await }).await
}

/// Goes back to a revision: the one in the body, or the last that was applied whole.
#[utoipa::path(
    post, path = "/api/v1/deployments/{id}/rollback", tag = "deployments",
    params(("id" = String, Path, description = "The deployment's id")),
    request_body(content = Option<RollbackRequest>, description = "Absent: the last revision that was applied whole"),
    responses(
        (status = 202, description = "Durably accepted", body = Accepted, headers(("Location" = String, description = "The deployment"))),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
        (status = 409, description = "Nothing to go back to", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rollback(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    Extension(correlation): Extension<CorrelationId>,
    request: Request,
) -> Result<Response, Response> {
    let (body, meta) = action(&api, &correlation, request, &["revision"]).await?;
    let revision = match body.get("revision") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_u64().filter(|n| *n > 0) {
            Some(revision) => Some(revision),
            None => {
                let message = "must be the number of a revision, from 1";
                return Err(invalid("wrong-type", "/revision", message).into_response());
            }
        },
    };
    let service = api.service().clone();
    answer(&api, async move {
        service.rollback(id.as_str(), revision, meta).await
    })
    .await
}

/// Does an action whether or not the client stays, and answers 202.
async fn answer(
    api: &Api,
    action: impl Future<Output = Result<Accepted, Rejection>> + Send + 'static,
) -> Result<Response, Response> {
    let accepted = api.detached(async move { Ok(action.await?) }).await?;
    Ok(accepted_response(accepted))
}

/// Reads an action: no body, or an object with some of the known fields.
pub(super) async fn action(
    api: &Api,
    correlation: &CorrelationId,
    request: Request,
    known: &[&str],
) -> Result<(Map<String, Value>, RequestMeta), Response> {
    let early = |problem: Problem| problem.into_response();
    Params::of(request.uri(), &[]).map_err(early)?;
    let meta = meta(request.headers(), correlation).map_err(early)?;
    let body = read_optional(api, request, MAX_ACTION_BYTES)
        .await
        .map_err(early)?;
    let fields = fields(&body.bytes, known).map_err(early)?;
    Ok((fields, meta))
}

/// The fields of an action's body; none of an empty one.
fn fields(bytes: &[u8], known: &[&str]) -> Result<Map<String, Value>, Problem> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|e| {
        let message = format!("the body is not JSON: {e}");
        Problem::new(ProblemCode::MalformedBody, message)
    })?;
    let Value::Object(fields) = value else {
        return Err(invalid(
            "wrong-type",
            "",
            "the body must be an object, or empty",
        ));
    };
    let violations: Vec<ViolationView> = fields
        .keys()
        .filter(|key| !known.contains(&key.as_str()))
        .map(|key| {
            let shown = shortened(key, 40);
            let all = if known.is_empty() {
                "none".to_owned()
            } else {
                listed(known)
            };
            let hint = did_you_mean(key, known.iter().copied());
            ViolationView {
                code: "unknown-field".into(),
                pointer: format!("/{}", pointer_step(&shown)),
                message: format!("there is no field {shown:?}{hint} (known: {all})"),
            }
        })
        .collect();
    match violations.first() {
        None => Ok(fields),
        Some(first) => {
            let detail = format!("{}: {}", first.pointer, first.message);
            Err(Problem::new(ProblemCode::InvalidRequest, detail).violations(violations))
        }
    }
}

pub(super) fn invalid(code: &str, pointer: &str, message: &str) -> Problem {
    let detail = if pointer.is_empty() {
        message.to_owned()
    } else {
        format!("{pointer}: {message}")
    };
    let violation = ViolationView {
        code: code.into(),
        pointer: pointer.into(),
        message: message.into(),
    };
    Problem::new(ProblemCode::InvalidRequest, detail).violations(vec![violation])
}
