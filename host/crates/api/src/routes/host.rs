//! The host itself: probes, metrics, its API's description, pages on errors.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::pages;
use crate::problem::{Problem, ProblemCode, ProblemView};
use crate::state::Api;

/// The answer of a probe.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProbeView {
    /// `ok` or `ready`.
    status: &'static str,
    /// The host's version.
    version: &'static str,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "host", responses((status = 200, body = ProbeView)))]
pub(crate) async fn healthz() -> Json<ProbeView> {
    Json(ProbeView {
        status: "ok",
        version: VERSION,
    })
}

/// Whether it takes requests.
#[utoipa::path(
    get, path = "/readyz", tag = "host",
    responses(
        (status = 200, body = ProbeView),
        (status = 503, description = "Not yet, or not any more", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn readyz(State(api): State<Api>) -> Result<Json<ProbeView>, Problem> {
    if api.stopping() {
        return Err(
            Problem::new(ProblemCode::NotReady, "the host is shutting down").retry_after(1),
        );
    }
    match api.service().ready() {
        Ok(()) => Ok(Json(ProbeView {
            status: "ready",
            version: VERSION,
        })),
        Err(reason) => Err(Problem::new(ProblemCode::NotReady, reason).retry_after(1)),
    }
}

/// Everything that is measured, in Prometheus's text format.
#[utoipa::path(get, path = "/metrics", tag = "host", responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(api): State<Api>) -> Response {
    let text = api.metrics().render();
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "host", responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(crate) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], crate::openapi::json()).into_response()
}

/// What an error code means and what to do, in Markdown.
#[utoipa::path(
    get, path = "/errors/{code}", tag = "host",
    params(("code" = String, Path, description = "The code of a problem or violation")),
    responses(
        (status = 200, body = String, content_type = "text/markdown"),
        (status = 404, description = "No such code", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn error_page(
    code: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<Response, Problem> {
    let page = code.ok().and_then(|Path(code)| pages::page(&code));
    match page {
        Some(page) => Ok(([(CONTENT_TYPE, "text/markdown; charset=utf-8")], page).into_response()),
        None => Err(Problem::new(
            ProblemCode::RouteNotFound,
            "there is no page for that code",
        )),
    }
}
