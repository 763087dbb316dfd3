//! All routes under one roof.

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::frame::frame;
use crate::openapi::Description;
use crate::problem::{Problem, ProblemCode};
use crate::routes::{
    actions, approval, catalog, deployments, drift, engines, events, host, report, webhooks,
};
use crate::state::Api;

/// The whole API as a service.
pub fn router(api: Api) -> Router {
    let (router, _) = described().split_for_parts();
    router
        .fallback(nothing_here)
        .layer(from_fn_with_state(api.clone(), frame))
        .with_state(api)
}

/// The routes with their description.
pub(crate) fn described() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(deployments::submit, deployments::list))
        .routes(routes!(deployments::get, deployments::delete))
        .routes(routes!(deployments::revisions))
        .routes(routes!(deployments::graph))
        .routes(routes!(deployments::impact))
        .routes(routes!(drift::get, drift::check))
        .routes(routes!(report::report))
        .routes(routes!(events::events))
        .routes(routes!(actions::cancel))
        .routes(routes!(actions::retry))
        .routes(routes!(actions::rollback))
        .routes(routes!(deployments::plan))
        .routes(routes!(deployments::plan_known, approval::waiting_plan))
        .routes(routes!(approval::approve))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::get, webhooks::put, webhooks::delete))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::dead_letters))
        .routes(routes!(webhooks::redeliver))
        .routes(routes!(engines::list))
        .routes(routes!(engines::get, engines::put, engines::delete))
        .routes(routes!(engines::impact))
        .routes(routes!(catalog::list))
        .routes(routes!(catalog::get))
        .routes(routes!(catalog::impact))
        .routes(routes!(host::healthz))
        .routes(routes!(host::readyz))
        .routes(routes!(host::metrics))
        .routes(routes!(host::openapi))
        .routes(routes!(host::error_page))
}

async fn nothing_here() -> Problem {
    Problem::new(
        ProblemCode::RouteNotFound,
        "there is nothing at this path; /openapi.json lists what there is",
    )
}
