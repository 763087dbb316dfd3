//! Errors as RFC 9457 problem+json, each with a stable code that has a page in
//! `docs/errors/`.

use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use nestor_core::violation::Violation;
use nestor_orchestrator::service::Rejection;
use nestor_orchestrator::webhooks::WebhookRejection;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::EngineRejection;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:ident, $title:literal;)*) => {
        /// The kinds of problem, stable across versions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemCode { $($(#[$doc])* $variant),* }
        impl ProblemCode {
            /// Every code, for documentation and its test.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The code as it stands in an answer.
            #[must_use]
            pub fn as_str(self) -> &'static str { match self { $(Self::$variant => $code),* } }
            /// The status that comes with it.
            #[must_use]
            pub fn status(self) -> StatusCode { match self { $(Self::$variant => StatusCode::$status),* } }
            /// What it is, in a few words that never change.
            #[must_use]
            pub fn title(self) -> &'static str { match self { $(Self::$variant => $title),* } }
        }
    };
}

codes! {
    /// The body is not JSON, or not the form that was announced.
    MalformedBody = "malformed-body", BAD_REQUEST, "The body cannot be read";
    /// A parameter in path, query or header.
    InvalidParameter = "invalid-parameter", BAD_REQUEST, "A parameter is not valid";
    /// The body is JSON and not a deployment that can be run.
    InvalidDeployment = "invalid-deployment", UNPROCESSABLE_ENTITY, "The deployment is not valid";
    /// The body of an action is wrong.
    InvalidRequest = "invalid-request", UNPROCESSABLE_ENTITY, "The request is not valid";
    /// A browser made the request for a page of another site.
    ForeignOrigin = "foreign-origin", FORBIDDEN, "The request was made by another site";
    /// The request is for a host of another name.
    UnknownHost = "unknown-host", MISDIRECTED_REQUEST, "The request is for another host";
    /// No such path.
    RouteNotFound = "route-not-found", NOT_FOUND, "There is nothing at this path";
    /// No such deployment.
    DeploymentNotFound = "deployment-not-found", NOT_FOUND, "There is no such deployment";
    /// No such engine.
    EngineNotFound = "engine-not-found", NOT_FOUND, "There is no such engine";
    /// The deployment has no run of that number.
    RunNotFound = "run-not-found", NOT_FOUND, "There is no such run";
    /// No such webhook.
    WebhookNotFound = "webhook-not-found", NOT_FOUND, "There is no such webhook";
    /// No such definition.
    DefinitionNotFound = "definition-not-found", NOT_FOUND, "The catalog has no such definition";
    /// The path is there, the method is not.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    /// The client accepts nothing that the path offers.
    NotAcceptable = "not-acceptable", NOT_ACCEPTABLE, "No acceptable representation";
    /// The client did not send the body in time.
    RequestTimeout = "request-timeout", REQUEST_TIMEOUT, "The request did not arrive in time";
    /// The deployment's or engine's state does not allow it.
    StateConflict = "state-conflict", CONFLICT, "The request does not fit the current state";
    /// What would happen is not the plan that was named.
    PlanMoved = "plan-moved", CONFLICT, "The plan no longer holds";
    /// The body is larger than the limit.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body is of a type that the path does not take.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body has the wrong type";
    /// The key came with another body.
    IdempotencyKeyReused = "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The idempotency key was used for another request";
    /// The bytes are not a component.
    NotAComponent = "not-a-component", UNPROCESSABLE_ENTITY, "The body is not a WebAssembly component";
    /// The component speaks another contract.
    UnsupportedContract = "unsupported-contract", UNPROCESSABLE_ENTITY, "The component speaks another contract";
    /// The component's engine.toml is wrong.
    InvalidManifest = "invalid-manifest", UNPROCESSABLE_ENTITY, "The engine.toml is not valid";
    /// The component requests more than is granted.
    MissingGrants = "missing-grants", UNPROCESSABLE_ENTITY, "The engine requests what is not granted";
    /// The component failed its health check.
    UnhealthyEngine = "unhealthy-engine", UNPROCESSABLE_ENTITY, "The engine failed its health check";
    /// The queue is full.
    Busy = "busy", TOO_MANY_REQUESTS, "The queue is full";
    /// Too many requests at once.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "The host has too much to do";
    /// Not started up yet, going down, or an engine cannot answer just now.
    NotReady = "not-ready", SERVICE_UNAVAILABLE, "Not ready for this request yet";
    /// The answer took too long.
    AnswerTimeout = "answer-timeout", GATEWAY_TIMEOUT, "The answer took too long";
    /// The catalog could not be read.
    CatalogUnavailable = "catalog-unavailable", SERVICE_UNAVAILABLE, "The catalog cannot be read";
    /// A bug, or a failing disk.
    Internal = "internal", INTERNAL_SERVER_ERROR, "An internal error";
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ViolationView {
    /// Stable, machine-readable; has a page in `docs/errors/`.
    pub code: String,
    /// JSON pointer (RFC 6901) into the request's body; for an `engine.toml`
    /// the key.
    pub pointer: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl From<Violation> for ViolationView {
    fn from(violation: Violation) -> Self {
        Self {
            code: violation.code.as_str().to_owned(),
            pointer: violation.pointer,
            message: violation.message,
        }
    }
}

/// An error on its way out. What only the request knows (path, correlation id)
/// is added by the outermost layer, which writes the body.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Which kind.
    pub code: ProblemCode,
    /// What went wrong this time, and what to do.
    pub detail: String,
    /// All of them at once.
    pub violations: Vec<ViolationView>,
    /// Of a query, path or header parameter: its name.
    pub parameter: Option<String>,
    /// In seconds.
    pub retry_after: Option<u64>,
}

/// An error as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(title = "Problem")]
#[serde(rename_all = "camelCase")]
pub struct ProblemView {
    /// `urn:nestor:error:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is, in a few words; the same for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time, and what to do.
    pub detail: String,
    /// Stable, machine-readable.
    pub code: String,
    /// The path that was asked for.
    pub instance: String,
    /// Under which the host's log has more.
    pub correlation_id: String,
    /// The page that explains the code, on this host.
    pub docs: String,
    /// The query, path or header parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Everything that is wrong with the body, at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<ViolationView>,
}

impl Problem {
    /// A problem with nothing but a detail.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            violations: Vec::new(),
            parameter: None,
            retry_after: None,
        }
    }

    /// A wrong parameter of path, query or header.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(ProblemCode::InvalidParameter, detail);
        problem.parameter = Some(name.to_owned());
        problem
    }

    /// With the time after which another try makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// With violations.
    #[must_use]
    pub fn violations(mut self, violations: Vec<ViolationView>) -> Self {
        self.violations = violations;
        self
    }

    /// A bug or a failing disk: says nothing of what happened inside.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            ProblemCode::Internal,
            "something failed inside; the host's log has it under this correlation id",
        )
    }

    /// As it is written, for this request.
    #[must_use]
    pub fn view(&self, instance: &str, correlation_id: &str) -> ProblemView {
        let code = self.code.as_str();
        ProblemView {
            kind: format!("urn:nestor:error:{code}"),
            title: self.code.title().to_owned(),
            status: self.code.status().as_u16(),
            detail: self.detail.clone(),
            code: code.to_owned(),
            instance: instance.to_owned(),
            correlation_id: correlation_id.to_owned(),
            docs: format!("/errors/{code}"),
            parameter: self.parameter.clone(),
            violations: self.violations.clone(),
        }
    }

    /// Status and headers, and the body for this request.
    pub(crate) fn render(&self, instance: &str, correlation_id: &str) -> Response {
        let body = serde_json::to_vec(&self.view(instance, correlation_id))
            .expect("a struct of texts and numbers is JSON");
        let mut response = (
            self.code.status(),
            [(axum::http::header::CONTENT_TYPE, "application/problem+json")],
            body,
        )
            .into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Carries the problem to the frame, which knows the request.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let detail = rejection.to_string();
        match rejection {
            Rejection::Invalid(violations) => invalid(violations),
            Rejection::NotFound(_) => Self::new(ProblemCode::DeploymentNotFound, detail),
            Rejection::NoRun(_) => Self::new(ProblemCode::RunNotFound, detail),
            Rejection::Conflict(_) => Self::new(ProblemCode::StateConflict, detail),
            Rejection::PlanMoved(_) => Self::new(ProblemCode::PlanMoved, detail),
            Rejection::IdempotencyMismatch => Self::new(
                ProblemCode::IdempotencyKeyReused,
                format!("{detail}; use another key"),
            ),
            Rejection::Busy { retry_after, .. } => {
                Self::new(ProblemCode::Busy, detail).retry_after(retry_after)
            }
            Rejection::NotNow { retry_after, .. } => {
                Self::new(ProblemCode::NotReady, detail).retry_after(retry_after)
            }
            Rejection::Internal => Self::internal(),
        }
    }
}

fn invalid(violations: Vec<Violation>) -> Problem {
    use nestor_core::violation::ViolationCode::MalformedJson;
    let malformed = violations.iter().any(|v| v.code == MalformedJson);
    let code = if malformed {
        ProblemCode::MalformedBody
    } else {
        ProblemCode::InvalidDeployment
    };
    let detail = match violations.as_slice() {
        [one] if one.pointer.is_empty() => one.message.clone(),
        [one] => format!("{}: {}", one.pointer, one.message),
        many => format!("{} things are wrong; see violations", many.len()),
    };
    Problem::new(code, detail).violations(violations.into_iter().map(Into::into).collect())
}

impl From<WebhookRejection> for Problem {
    fn from(rejection: WebhookRejection) -> Self {
        let detail = rejection.to_string();
        match rejection {
            WebhookRejection::NotFound(_) => Self::new(ProblemCode::WebhookNotFound, detail),
            WebhookRejection::Invalid(violations) => {
                let mut problem = invalid(violations);
                if problem.code == ProblemCode::InvalidDeployment {
                    problem.code = ProblemCode::InvalidRequest;
                }
                problem
            }
            WebhookRejection::Conflict(_) => Self::new(ProblemCode::StateConflict, detail),
            WebhookRejection::Internal => Self::internal(),
        }
    }
}

impl From<EngineRejection> for Problem {
    fn from(rejection: EngineRejection) -> Self {
        use EngineRejection as R;
        let detail = rejection.to_string();
        let (code, violations) = match rejection {
            R::NotFound(_) => (ProblemCode::EngineNotFound, Vec::new()),
            R::NotAComponent(_) => (ProblemCode::NotAComponent, Vec::new()),
            R::UnsupportedContract(_) => (ProblemCode::UnsupportedContract, Vec::new()),
            R::InvalidManifest(problems) => (ProblemCode::InvalidManifest, problems),
            R::MissingGrants(missing) => (ProblemCode::MissingGrants, missing),
            R::Unhealthy(_) => (ProblemCode::UnhealthyEngine, Vec::new()),
            R::Conflict(_) => (ProblemCode::StateConflict, Vec::new()),
            R::Busy { retry_after, .. } => {
                return Self::new(ProblemCode::Overloaded, detail).retry_after(retry_after);
            }
            R::Internal => return Self::internal(),
        };
        Self::new(code, detail).violations(violations)
    }
}
