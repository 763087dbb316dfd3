//! Engines: show, put in place while running, take away.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use nestor_core::ids::EngineId;
use nestor_core::text::did_you_mean;
use nestor_orchestrator::Offer;
use nestor_orchestrator::view::ImpactView;

use super::upload::receive;
use crate::extract::{Name, Params};
use crate::problem::{Problem, ProblemCode, ProblemView};
use crate::request::EngineUploadForm;
use crate::state::Api;
use crate::view::{EngineList, EngineView};

/// Every engine.
#[utoipa::path(get, path = "/api/v1/engines", tag = "engines", responses((status = 200, body = EngineList)))]
pub(crate) async fn list(State(api): State<Api>, uri: Uri) -> Result<Json<EngineList>, Problem> {
    Params::of(&uri, &[])?;
    Ok(Json(EngineList {
        items: api.engines().list(),
    }))
}

/// One engine.
#[utoipa::path(
    get, path = "/api/v1/engines/{name}", tag = "engines",
    params(("name" = String, Path, description = "The engine's name")),
    responses(
        (status = 200, body = EngineView),
        (status = 404, description = "No such engine", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(api): State<Api>,
    Name(name): Name<EngineId>,
    uri: Uri,
) -> Result<Json<EngineView>, Problem> {
    Params::of(&uri, &[])?;
    api.engines()
        .get(&name)
        .map(Json)
        .ok_or_else(|| unknown(&api, &name))
}

/// What another version of this engine might touch, of all that is ready.
#[utoipa::path(
    get, path = "/api/v1/engines/{name}/impact", tag = "engines",
    params(("name" = String, Path, description = "The engine's name; it may be gone")),
    responses(
        (status = 200, body = ImpactView),
        (status = 404, description = "No such engine, and nothing that it looked after", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn impact(
    State(api): State<Api>,
    Name(name): Name<EngineId>,
    uri: Uri,
) -> Result<Json<ImpactView>, Problem> {
    Params::of(&uri, &[])?;
    let there = api.engines().get(&name).is_some();
    let impact = api
        .service()
        .impact_of(&Offer::Engine(name.clone()))
        .await?;
    if !there && impact.resources.is_empty() {
        return Err(unknown(&api, &name));
    }
    Ok(Json(impact))
}

fn unknown(api: &Api, name: &EngineId) -> Problem {
    let engines = api.engines().list();
    let hint = did_you_mean(
        name.as_str(),
        engines.iter().map(|engine| engine.name.as_str()),
    );
    Problem::new(
        ProblemCode::EngineNotFound,
        format!("there is no engine {name}{hint}"),
    )
}

/// Puts a component in place of the engine of that name, or adds it.
///
/// The component is checked, compiled and probed first; running operations
/// finish on the one they began with. On an error nothing changed. Send the
/// component alone as `application/wasm` (it gets no capability), or with its
/// manifest as a form:
/// `curl -X PUT -F component=@note.wasm -F manifest=@engine.toml …/engines/note`.
#[utoipa::path(
    put, path = "/api/v1/engines/{name}", tag = "engines",
    params(("name" = String, Path, description = "The engine's name")),
    request_body(content(
        (EngineUploadForm = "multipart/form-data"),
        (Vec<u8> = "application/wasm"),
    )),
    responses(
        (status = 200, description = "In place of the one before", body = EngineView),
        (status = 201, description = "Added", body = EngineView),
        (status = 413, description = "Too large", body = ProblemView, content_type = "application/problem+json"),
        (status = 415, description = "Neither a component nor a form", body = ProblemView, content_type = "application/problem+json"),
        (status = 422, description = "Refused; nothing changed", body = ProblemView, content_type = "application/problem+json"),
        (status = 503, description = "Another component is being compiled", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put(
    State(api): State<Api>,
    Name(name): Name<EngineId>,
    request: Request,
) -> Result<Response, Response> {
    let early = |problem: Problem| problem.into_response();
    Params::of(request.uri(), &[]).map_err(early)?;
    let permit = api.admit_upload().ok_or_else(|| {
        let detail = "another component is being compiled; only one is at a time";
        Problem::new(ProblemCode::Overloaded, detail)
            .retry_after(5)
            .into_response()
    })?;
    let upload = receive(&api, request).await.map_err(early)?;
    let engines = api.engines().clone();
    let put = api
        .detached(async move {
            let put = engines.put(&name, upload.upload).await?;
            drop((permit, upload.place));
            Ok(put)
        })
        .await?;
    let status = if put.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(put.engine)).into_response())
}

/// Takes a component away that was put or loaded from a file. A built-in
/// engine of that name takes its place again; a built-in cannot be deleted.
#[utoipa::path(
    delete, path = "/api/v1/engines/{name}", tag = "engines",
    params(("name" = String, Path, description = "The engine's name")),
    responses(
        (status = 200, description = "The built-in that took its place", body = EngineView),
        (status = 204, description = "Gone"),
        (status = 404, description = "No such engine", body = ProblemView, content_type = "application/problem+json"),
        (status = 409, description = "It is built in", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(api): State<Api>,
    Name(name): Name<EngineId>,
    uri: Uri,
) -> Result<Response, Response> {
    Params::of(&uri, &[]).map_err(IntoResponse::into_response)?;
    if api.engines().get(&name).is_none() {
        return Err(unknown(&api, &name).into_response());
    }
    let engines = api.engines().clone();
    let left = api
        .detached(async move { Ok(engines.delete(&name).await?) })
        .await?;
    Ok(match left {
        Some(engine) => Json(engine).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}
