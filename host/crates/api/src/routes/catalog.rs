//! What can be deployed.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use nestor_core::ids::DefinitionName;
use nestor_core::ports::CatalogError;
use nestor_core::text::did_you_mean;

use crate::extract::{Name, Params};
use crate::problem::{Problem, ProblemCode, ProblemView};
use crate::state::Api;
use crate::view::{DefinitionList, DefinitionVersions};

/// Every version of every definition.
#[utoipa::path(
    get, path = "/api/v1/catalog/definitions", tag = "catalog",
    responses(
        (status = 200, body = DefinitionList),
        (status = 503, description = "The catalog cannot be read", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(api): State<Api>,
    uri: Uri,
) -> Result<Json<DefinitionList>, Problem> {
    Params::of(&uri, &[])?;
    let all = api.catalog().list().await.map_err(unreadable)?;
    Ok(Json(DefinitionList {
        items: all.iter().map(|d| d.as_ref().into()).collect(),
    }))
}

/// Every version of one definition, with its config schema and outputs.
#[utoipa::path(
    get, path = "/api/v1/catalog/definitions/{name}", tag = "catalog",
    params(("name" = String, Path, description = "The definition's name")),
    responses(
        (status = 200, body = DefinitionVersions),
        (status = 404, description = "No such definition", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(api): State<Api>,
    Name(name): Name<DefinitionName>,
    uri: Uri,
) -> Result<Json<DefinitionVersions>, Problem> {
    Params::of(&uri, &[])?;
    let all = api.catalog().list().await.map_err(unreadable)?;
    let versions: Vec<_> = all
        .iter()
        .filter(|d| d.name == name)
        .map(|d| d.as_ref().into())
        .collect();
    if versions.is_empty() {
        let hint = did_you_mean(name.as_str(), all.iter().map(|d| d.name.as_str()));
        return Err(Problem::new(
            ProblemCode::DefinitionNotFound,
            format!("the catalog has no definition {name}{hint}"),
        ));
    }
    Ok(Json(DefinitionVersions {
        name: name.to_string(),
        versions,
    }))
}

/// What is wrong with the platform's catalog is the operator's to read, in the log.
fn unreadable(error: CatalogError) -> Problem {
    tracing::error!(%error, "the catalog cannot be listed");
    Problem::new(
        ProblemCode::CatalogUnavailable,
        "the catalog cannot be read; the host's log says why",
    )
    .retry_after(5)
}
