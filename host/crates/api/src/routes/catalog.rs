//! What can be deployed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use nestor_core::definition::Definition;
use nestor_core::ids::DefinitionName;
use nestor_core::ports::CatalogError;
use nestor_core::text::did_you_mean;
use nestor_orchestrator::Offer;
use nestor_orchestrator::view::ImpactView;

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
        return Err(unknown(&name, &all));
    }
    Ok(Json(DefinitionVersions {
        name: name.to_string(),
        versions,
    }))
}

/// What a change of this definition would touch, of all that is ready.
#[utoipa::path(
    get, path = "/api/v1/catalog/definitions/{name}/impact", tag = "catalog",
    params(
        ("name" = String, Path, description = "The definition's name"),
        ("version" = Option<String>, Query, description = "The version that changes, or comes; without it every version"),
    ),
    responses(
        (status = 200, body = ImpactView),
        (status = 400, description = "Not a version", body = ProblemView, content_type = "application/problem+json"),
        (status = 404, description = "No such definition, and nothing of it", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn impact(
    State(api): State<Api>,
    Name(name): Name<DefinitionName>,
    uri: Uri,
) -> Result<Json<ImpactView>, Problem> {
    let params = Params::of(&uri, &["version"])?;
    let version = params.get("version").map(semver::Version::parse);
    let version = version.transpose().map_err(|e| {
        Problem::parameter("version", format!("it is not a version such as 1.3.0: {e}"))
    })?;
    let offer = Offer::Definition(name.clone(), version);
    let impact = api.service().impact_of(&offer).await?;
    if impact.resources.is_empty() {
        let all = api.catalog().list().await.map_err(unreadable)?;
        if all.iter().all(|d| d.name != name) {
            return Err(unknown(&name, &all));
        }
    }
    Ok(Json(impact))
}

fn unknown(name: &DefinitionName, all: &[Arc<Definition>]) -> Problem {
    let hint = did_you_mean(name.as_str(), all.iter().map(|d| d.name.as_str()));
    Problem::new(
        ProblemCode::DefinitionNotFound,
        format!("the catalog has no definition {name}{hint}"),
    )
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
