//! Webhooks: who is told of what.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use nestor_core::ids::WebhookName;
use nestor_orchestrator::webhooks::{
    DeadLetterPage, Redelivered, WebhookList, WebhookTest, WebhookView,
};
use serde_json::Value;

use crate::extract::{Name, Params, read, read_optional, require_json};
use crate::limits::{DEFAULT_PAGE, MAX_ACTION_BYTES, MAX_CURSOR, MAX_LETTERS, MAX_WEBHOOK_BYTES};
use crate::problem::{Problem, ProblemCode, ProblemView, ViolationView};
use crate::request::{RedeliverRequest, WebhookRequest};
use crate::state::Api;

/// Every subscription.
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "webhooks", responses((status = 200, body = WebhookList)))]
pub(crate) async fn list(State(api): State<Api>, uri: Uri) -> Result<Json<WebhookList>, Problem> {
    Params::of(&uri, &[])?;
    Ok(Json(api.webhooks().list()))
}

/// One subscription; its secret is never shown.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{name}", tag = "webhooks",
    params(("name" = String, Path, description = "The webhook's name")),
    responses(
        (status = 200, body = WebhookView),
        (status = 404, description = "No such webhook", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(api): State<Api>,
    Name(name): Name<WebhookName>,
    uri: Uri,
) -> Result<Json<WebhookView>, Problem> {
    Params::of(&uri, &[])?;
    Ok(Json(api.webhooks().get(&name)?))
}

/// Makes a subscription, or changes one. Without a secret it keeps those that
/// it has; one that was switched off is switched on again.
#[utoipa::path(
    put, path = "/api/v1/webhooks/{name}", tag = "webhooks",
    params(("name" = String, Path, description = "The webhook's name")),
    request_body = WebhookRequest,
    responses(
        (status = 200, description = "Changed", body = WebhookView),
        (status = 201, description = "Made", body = WebhookView),
        (status = 409, description = "There are too many", body = ProblemView, content_type = "application/problem+json"),
        (status = 422, description = "Not a subscription; every violation", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put(
    State(api): State<Api>,
    Name(name): Name<WebhookName>,
    request: Request,
) -> Result<Response, Response> {
    let early = |problem: Problem| problem.into_response();
    Params::of(request.uri(), &[]).map_err(early)?;
    require_json(request.headers()).map_err(early)?;
    let body = read(&api, request, MAX_WEBHOOK_BYTES)
        .await
        .map_err(early)?;
    let webhooks = api.webhooks().clone();
    let (view, created) = api
        .detached(async move { Ok(webhooks.put(&name, &body.bytes).await?) })
        .await?;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(view)).into_response())
}

/// Takes a subscription away, with everything that waits for it.
#[utoipa::path(
    delete, path = "/api/v1/webhooks/{name}", tag = "webhooks",
    params(("name" = String, Path, description = "The webhook's name")),
    responses(
        (status = 204, description = "Gone"),
        (status = 404, description = "No such webhook", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(api): State<Api>,
    Name(name): Name<WebhookName>,
    uri: Uri,
) -> Result<Response, Response> {
    Params::of(&uri, &[]).map_err(IntoResponse::into_response)?;
    let webhooks = api.webhooks().clone();
    api.detached(async move { Ok(webhooks.delete(&name).await?) })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Posts a test message, beside what waits, and answers what came of it.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{name}/test", tag = "webhooks",
    params(("name" = String, Path, description = "The webhook's name")),
    responses(
        (status = 200, description = "What came of it", body = WebhookTest),
        (status = 404, description = "No such webhook", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn test(
    State(api): State<Api>,
    Name(name): Name<WebhookName>,
    request: Request,
) -> Result<Json<WebhookTest>, Response> {
    Params::of(request.uri(), &[]).map_err(IntoResponse::into_response)?;
    let webhooks = api.webhooks().clone();
    let result = api
        .detached(async move { Ok(webhooks.test(&name).await?) })
        .await?;
    Ok(Json(result))
}

/// Events that were given up, oldest first.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{name}/dead-letters", tag = "webhooks",
    params(
        ("name" = String, Path, description = "The webhook's name"),
        ("limit" = Option<usize>, Query, description = "Items of a page, 1 to 100; 50 when absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = DeadLetterPage),
        (status = 404, description = "No such webhook", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn dead_letters(
    State(api): State<Api>,
    Name(name): Name<WebhookName>,
    uri: Uri,
) -> Result<Json<DeadLetterPage>, Problem> {
    let params = Params::of(&uri, &["limit", "cursor"])?;
    let expected = format!("a number from 1 to {MAX_LETTERS}");
    let limit = params
        .parse::<usize>("limit", &expected)?
        .unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_LETTERS).contains(&limit) {
        let detail = format!("limit is {limit}; it must be {expected}");
        return Err(Problem::parameter("limit", detail));
    }
    let cursor = params.get("cursor");
    // As this API writes them: digits and a hyphen.
    let good =
        |c: &str| c.len() <= MAX_CURSOR && c.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if cursor.is_some_and(|c| c.is_empty() || !good(c)) {
        let detail =
            "cursor is not one of this API; pass `next` of the page before, or leave it out";
        return Err(Problem::parameter("cursor", detail));
    }
    Ok(Json(
        api.webhooks().dead_letters(&name, cursor, limit).await?,
    ))
}

/// Sends dead letters again, behind what waits: those with these ids, or all.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{name}/redeliver", tag = "webhooks",
    params(("name" = String, Path, description = "The webhook's name")),
    request_body(content = Option<RedeliverRequest>, description = "Absent: all"),
    responses(
        (status = 202, description = "They wait for delivery", body = Redelivered),
        (status = 404, description = "No such webhook", body = ProblemView, content_type = "application/problem+json"),
        (status = 409, description = "It is switched off", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn redeliver(
    State(api): State<Api>,
    Name(name): Name<WebhookName>,
    request: Request,
) -> Result<Response, Response> {
    let early = |problem: Problem| problem.into_response();
    Params::of(request.uri(), &[]).map_err(early)?;
    let ids = ids(&api, request).await.map_err(early)?;
    let webhooks = api.webhooks().clone();
    let queued = api
        .detached(async move { Ok(webhooks.redeliver(&name, ids.as_deref()).await?) })
        .await?;
    Ok((StatusCode::ACCEPTED, Json(queued)).into_response())
}

/// The ids in the body; none without one.
async fn ids(api: &Api, request: Request) -> Result<Option<Vec<String>>, Problem> {
    let body = read_optional(api, request, MAX_ACTION_BYTES).await?;
    if body.bytes.is_empty() {
        return Ok(None);
    }
    let value: Value = serde_json::from_slice(&body.bytes).map_err(|e| {
        Problem::new(
            ProblemCode::MalformedBody,
            format!("the body is not JSON: {e}"),
        )
    })?;
    let wrong = |pointer: &str, message: &str| {
        let violation = ViolationView {
            code: "wrong-type".into(),
            pointer: pointer.into(),
            message: message.into(),
        };
        Problem::new(ProblemCode::InvalidRequest, message).violations(vec![violation])
    };
    let Value::Object(fields) = value else {
        return Err(wrong(
            "",
            "the body must be an object such as {\"ids\": [\"web-app/7\"]}, or empty",
        ));
    };
    if let Some(other) = fields.keys().find(|key| *key != "ids") {
        let shown = nestor_core::text::shortened(other, 40);
        return Err(wrong(
            "",
            &format!("there is no field {shown:?} (known: ids)"),
        ));
    }
    let Some(ids) = fields.get("ids") else {
        return Ok(None);
    };
    let listed = ids.as_array().and_then(|items| {
        let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
        texts.collect::<Option<Vec<String>>>()
    });
    listed
        .map(Some)
        .ok_or_else(|| wrong("/ids", "must be an array of strings"))
}
