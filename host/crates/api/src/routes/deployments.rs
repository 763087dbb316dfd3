//! Deployments: take in, show, list, remove, plan.

use std::collections::{BTreeMap, BTreeSet};

use axum::Extension;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use nestor_core::ids::{DeploymentId, Digest, ResourceName};
use nestor_core::spec::{MAX_BODY_BYTES, MAX_RESOURCES};
use nestor_core::text::{did_you_mean, shortened};
use nestor_orchestrator::service::{ListFilter, Scope};
use nestor_orchestrator::view::{
    Accepted, DeploymentPage, DeploymentStatus, DeploymentView, GraphView, ImpactView, PlanView,
    RevisionView,
};

use crate::correlation::CorrelationId;
use crate::extract::{Name, Params, meta, read, read_optional, require_json};
use crate::limits::{DEFAULT_PAGE, MAX_CURSOR, MAX_PAGE};
use crate::problem::{Problem, ProblemCode, ProblemView, ViolationView};
use crate::request::DeploymentRequest;
use crate::state::Api;

/// Takes a deployment in. A known id makes a new revision.
#[utoipa::path(
    post, path = "/api/v1/deployments", tag = "deployments",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and body within 24 h answer the same."),
        ("X-Correlation-Id" = Option<String>, Header, description = "Found again in logs, events and engine calls."),
        ("target" = Option<Vec<String>>, Query, description = "Only this resource and what it depends on; may be given several times"),
        ("affected" = Option<bool>, Query, description = "Only resources that differ from what is deployed, and what depends on them"),
        ("plan" = Option<String>, Query, description = "The digest of a plan: refused unless exactly that would happen"),
    ),
    request_body = DeploymentRequest,
    responses(
        (status = 202, description = "Durably accepted; goes on by itself", body = Accepted, headers(("Location" = String, description = "The deployment"))),
        (status = 400, description = "Not JSON", body = ProblemView, content_type = "application/problem+json"),
        (status = 409, description = "What would happen now is not the plan that was named", body = ProblemView, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = ProblemView, content_type = "application/problem+json"),
        (status = 415, description = "Not declared as JSON", body = ProblemView, content_type = "application/problem+json"),
        (status = 422, description = "Not a deployment that can be run; every violation", body = ProblemView, content_type = "application/problem+json"),
        (status = 429, description = "The queue is full; see Retry-After", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn submit(
    State(api): State<Api>,
    Extension(correlation): Extension<CorrelationId>,
    request: Request,
) -> Result<Response, Response> {
    let early = |problem: Problem| problem.into_response();
    let known = ["target", "affected", "plan"];
    let params = Params::with_list(request.uri(), &known, Some("target")).map_err(early)?;
    require_json(request.headers()).map_err(early)?;
    let mut meta = meta(request.headers(), &correlation).map_err(early)?;
    meta.scope = scope(&params).map_err(early)?;
    let expected = "the digest of a plan: 'sha256:' and 64 hex digits";
    meta.plan = params.parse::<Digest>("plan", expected).map_err(early)?;
    let body = read(&api, request, MAX_BODY_BYTES).await.map_err(early)?;
    let service = api.service().clone();
    let accepted = api
        .detached(async move {
            let accepted = service.submit(&body.bytes, meta).await?;
            drop(body.place);
            Ok(accepted)
        })
        .await?;
    Ok(accepted_response(accepted))
}

/// Which resources a request is about.
fn scope(params: &Params) -> Result<Scope, Problem> {
    let mut targets = BTreeSet::new();
    for target in params.all("target") {
        let name = ResourceName::new(target)
            .map_err(|error| Problem::parameter("target", error.to_string()))?;
        targets.insert(name);
        if targets.len() > MAX_RESOURCES {
            let message = format!("there are more than {MAX_RESOURCES} targets");
            return Err(Problem::parameter("target", message));
        }
    }
    let affected = params.parse::<bool>("affected", "true or false")?;
    match (targets.is_empty(), affected.unwrap_or(false)) {
        (true, false) => Ok(Scope::Whole),
        (true, true) => Ok(Scope::Affected),
        (false, false) => Ok(Scope::Targets(targets)),
        (false, true) => Err(Problem::parameter(
            "affected",
            "target and affected exclude each other; give one of them",
        )),
    }
}

/// 202 with the deployment's place.
pub(crate) fn accepted_response(accepted: Accepted) -> Response {
    let location = format!("/api/v1/deployments/{}", accepted.id);
    (StatusCode::ACCEPTED, [(LOCATION, location)], Json(accepted)).into_response()
}

/// One deployment with its resources.
#[utoipa::path(
    get, path = "/api/v1/deployments/{id}", tag = "deployments",
    params(("id" = String, Path, description = "The deployment's id")),
    responses(
        (status = 200, body = DeploymentView),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    uri: Uri,
) -> Result<Json<DeploymentView>, Problem> {
    Params::of(&uri, &[])?;
    Ok(Json(api.service().get(id.as_str()).await?))
}

/// What the name of a composer or an environment looks like.
const NAME: &str = "a name of lowercase letters, digits and hyphens";

/// A page of deployments, in order of id.
#[utoipa::path(
    get, path = "/api/v1/deployments", tag = "deployments",
    params(
        ("composer" = Option<String>, Query, description = "Only of this composer"),
        ("environment" = Option<String>, Query, description = "Only in this environment"),
        ("status" = Option<DeploymentStatus>, Query, description = "Only with this status"),
        ("label" = Option<String>, Query, description = "Only with this label, `NAME=VALUE`; several with commas between"),
        ("limit" = Option<usize>, Query, description = "Items of a page, 1 to 500; 50 when absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = DeploymentPage),
        (status = 400, description = "A parameter is wrong", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(api): State<Api>,
    uri: Uri,
) -> Result<Json<DeploymentPage>, Problem> {
    let params = Params::of(
        &uri,
        &[
            "composer",
            "environment",
            "status",
            "label",
            "limit",
            "cursor",
        ],
    )?;
    let expected = format!("a number from 1 to {MAX_PAGE}");
    let limit = params
        .parse::<usize>("limit", &expected)?
        .unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::parameter(
            "limit",
            format!("limit is {limit}; it must be {expected}"),
        ));
    }
    let status = params.get("status").map(status).transpose()?;
    let cursor = params.get("cursor").map(str::to_owned);
    if cursor
        .as_ref()
        .is_some_and(|c| c.is_empty() || c.len() > MAX_CURSOR)
    {
        return Err(Problem::parameter(
            "cursor",
            "cursor is not one of this API; pass `next` of the page before, or leave it out",
        ));
    }
    let filter = ListFilter {
        composer: params.parse("composer", NAME)?,
        environment: params.parse("environment", NAME)?,
        status,
        labels: params
            .get("label")
            .map(labels)
            .transpose()?
            .unwrap_or_default(),
    };
    Ok(Json(api.service().list(filter, cursor, limit).await?))
}

/// A status by its name.
fn status(text: &str) -> Result<DeploymentStatus, Problem> {
    let all = DeploymentStatus::ALL;
    let named = all.into_iter().find(|status| status.as_str() == text);
    named.ok_or_else(|| {
        let all = all.map(DeploymentStatus::as_str);
        let shown = shortened(text, 40);
        let hint = did_you_mean(text, all);
        Problem::parameter(
            "status",
            format!("status is {shown:?}{hint} (known: {})", all.join(", ")),
        )
    })
}

/// `name=value`, several with commas between.
fn labels(text: &str) -> Result<BTreeMap<String, String>, Problem> {
    let label = |pair: &str| {
        let (name, value) = pair.split_once('=').filter(|(name, _)| !name.is_empty())?;
        Some((name.to_owned(), value.to_owned()))
    };
    let all: Option<BTreeMap<_, _>> = text.split(',').map(label).collect();
    all.ok_or_else(|| {
        let shown = shortened(text, 40);
        Problem::parameter(
            "label",
            format!("label is {shown:?}; it must be NAME=VALUE, several with commas between"),
        )
    })
}

/// In flight: cancels and unwinds. Settled: destroys in reverse order.
#[utoipa::path(
    delete, path = "/api/v1/deployments/{id}", tag = "deployments",
    params(("id" = String, Path, description = "The deployment's id")),
    responses(
        (status = 202, description = "Durably accepted", body = Accepted, headers(("Location" = String, description = "The deployment"))),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    Extension(correlation): Extension<CorrelationId>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Response> {
    Params::of(&uri, &[]).map_err(IntoResponse::into_response)?;
    let meta = meta(&headers, &correlation).map_err(IntoResponse::into_response)?;
    let service = api.service().clone();
    let accepted = api
        .detached(async move { Ok(service.delete(id.as_str(), meta).await?) })
        .await?;
    Ok(accepted_response(accepted))
}

/// Every revision, the latest first.
#[utoipa::path(
    get, path = "/api/v1/deployments/{id}/revisions", tag = "deployments",
    params(("id" = String, Path, description = "The deployment's id")),
    responses(
        (status = 200, body = Vec<RevisionView>),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn revisions(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    uri: Uri,
) -> Result<Json<Vec<RevisionView>>, Problem> {
    Params::of(&uri, &[])?;
    Ok(Json(api.service().revisions(id.as_str()).await?))
}

/// The dependency graph of the current revision.
#[utoipa::path(
    get, path = "/api/v1/deployments/{id}/graph", tag = "deployments",
    params(("id" = String, Path, description = "The deployment's id")),
    responses(
        (status = 200, body = GraphView),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn graph(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    uri: Uri,
) -> Result<Json<GraphView>, Problem> {
    Params::of(&uri, &[])?;
    Ok(Json(api.service().graph(id.as_str()).await?))
}

/// What a change of one resource would touch, in this deployment and in
/// others; without a resource, what the deletion of all of it would.
#[utoipa::path(
    get, path = "/api/v1/deployments/{id}/impact", tag = "deployments",
    params(
        ("id" = String, Path, description = "The deployment's id"),
        ("resource" = Option<String>, Query, description = "The resource that would change; without it the whole deployment would go"),
    ),
    responses(
        (status = 200, body = ImpactView),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
        (status = 422, description = "The deployment has no such resource", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn impact(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    uri: Uri,
) -> Result<Json<ImpactView>, Problem> {
    let params = Params::of(&uri, &["resource"])?;
    let resource = params.get("resource");
    Ok(Json(api.service().impact(id.as_str(), resource).await?))
}

/// What posting a deployment would change. Changes nothing.
#[utoipa::path(
    post, path = "/api/v1/plans", tag = "plans",
    params(
        ("target" = Option<Vec<String>>, Query, description = "Only this resource and what it depends on; may be given several times"),
        ("affected" = Option<bool>, Query, description = "Only resources that differ from what is deployed, and what depends on them"),
    ),
    request_body = DeploymentRequest,
    responses(
        (status = 200, body = PlanView),
        (status = 422, description = "Not a deployment that can be run; every violation", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn plan(
    State(api): State<Api>,
    Extension(correlation): Extension<CorrelationId>,
    request: Request,
) -> Result<Json<PlanView>, Response> {
    let early = |problem: Problem| problem.into_response();
    require_json(request.headers()).map_err(early)?;
    plan_for(&api, &correlation, request, None).await
}

/// What posting a new revision of this deployment would change; without a body:
/// what applying its latest revision again would, when definitions have changed
/// since. Changes nothing.
#[utoipa::path(
    post, path = "/api/v1/deployments/{id}/plan", tag = "plans",
    params(
        ("id" = String, Path, description = "The deployment's id, the same as in the body"),
        ("target" = Option<Vec<String>>, Query, description = "Only this resource and what it depends on; may be given several times"),
        ("affected" = Option<bool>, Query, description = "Only resources that differ from what is deployed, and what depends on them"),
    ),
    request_body(content = Option<DeploymentRequest>, description = "Absent: the latest revision, planned again"),
    responses(
        (status = 200, body = PlanView),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
        (status = 422, description = "Not a deployment that can be run; every violation", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn plan_known(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    Extension(correlation): Extension<CorrelationId>,
    request: Request,
) -> Result<Json<PlanView>, Response> {
    api.service()
        .get(id.as_str())
        .await
        .map_err(|rejection| Problem::from(rejection).into_response())?;
    plan_for(&api, &correlation, request, Some(id)).await
}

async fn plan_for(
    api: &Api,
    correlation: &CorrelationId,
    request: Request,
    expected: Option<DeploymentId>,
) -> Result<Json<PlanView>, Response> {
    let early = |problem: Problem| problem.into_response();
    let known = ["target", "affected"];
    let params = Params::with_list(request.uri(), &known, Some("target")).map_err(early)?;
    let mut meta = meta(request.headers(), correlation).map_err(early)?;
    meta.scope = scope(&params).map_err(early)?;
    let body = read_optional(api, request, MAX_BODY_BYTES)
        .await
        .map_err(early)?;
    let service = api.service().clone();
    let plan = api
        .detached(async move {
            let plan = match expected {
                Some(id) if body.bytes.is_empty() => service.plan_again(id.as_str(), meta).await?,
                Some(id) => {
                    same_id(&body.bytes, &id)?;
                    service.plan(&body.bytes, meta).await?
                }
                None => service.plan(&body.bytes, meta).await?,
            };
            drop(body.place);
            Ok(plan)
        })
        .await?;
    Ok(Json(plan))
}

/// Refuses a body that is about another deployment than the path. A body that
/// is none at all is left to the parser, which says more.
fn same_id(body: &[u8], expected: &DeploymentId) -> Result<(), Problem> {
    #[derive(serde::Deserialize)]
    struct Id<'a> {
        #[serde(borrow)]
        id: Option<std::borrow::Cow<'a, str>>,
    }
    let Ok(Id { id: Some(id) }) = serde_json::from_slice::<Id<'_>>(body) else {
        return Ok(());
    };
    if id == expected.as_str() {
        return Ok(());
    }
    let message = format!(
        "is {:?}, and the path is about {expected}; write the same id in both",
        shortened(&id, 80)
    );
    Err(
        Problem::new(ProblemCode::InvalidDeployment, format!("/id: {message}")).violations(vec![
            ViolationView {
                code: "invalid-value".into(),
                pointer: "/id".into(),
                message,
            },
        ]),
    )
}
