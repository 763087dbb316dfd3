//! What surrounds every request: correlation, who asks, admission, time, panics, the
//! shape of errors, a log line and metrics.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tracing::Instrument;

use crate::correlation::{CORRELATION_ID, CorrelationId};
use crate::metrics;
use crate::problem::{Problem, ProblemCode};
use crate::state::Api;

/// Longer paths are cut where they are shown back.
const MAX_INSTANCE: usize = 300;
/// After an overload a client should not come back at once.
const OVERLOAD_RETRY: u64 = 1;

/// The outermost layer. Nothing else writes an error's body.
pub(crate) async fn frame(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let correlation = CorrelationId::of(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let matched = request
        .extensions()
        .get::<MatchedPath>()
        .map(|m| m.as_str().to_owned());
    let route = Route::of(matched.as_deref());
    request.extensions_mut().insert(correlation.clone());

    let span = tracing::info_span!(
        "request",
        correlation_id = %correlation.0,
        method = %method,
        route = route.name,
    );
    let guarded = AssertUnwindSafe(answer(&api, route, request, next)).catch_unwind();
    let response = match guarded.instrument(span.clone()).await {
        Ok(response) => response,
        Err(panic) => {
            let message = panic_text(panic.as_ref());
            span.in_scope(|| tracing::error!(panic = message, "a request handler panicked"));
            ::metrics::counter!(metrics::PANICS, "route" => route.name.to_owned()).increment(1);
            Problem::internal().into_response()
        }
    };
    let response = finish(response, &method, &path, &correlation);
    span.in_scope(|| record(&method, route, response.status(), begun.elapsed()));
    response
}

/// What the frame has to know of a route.
#[derive(Clone, Copy)]
struct Route<'a> {
    /// The pattern: paths themselves would make metrics without bound.
    name: &'a str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Probes and metrics: always let in, logged only when they fail.
    Probe,
    Quick,
    /// Calls engines.
    Slow,
    /// The head is quick, and what follows has no end.
    Stream,
}

impl<'a> Route<'a> {
    fn of(matched: Option<&'a str>) -> Self {
        let name = matched.unwrap_or("(none)");
        let kind = match name {
            "/healthz" | "/readyz" | "/metrics" => Kind::Probe,
            "/api/v1/plans" | "/api/v1/deployments/{id}/plan" | "/api/v1/engines/{name}" => {
                Kind::Slow
            }
            "/api/v1/deployments/{id}/events" => Kind::Stream,
            _ => Kind::Quick,
        };
        Self { name, kind }
    }
}

async fn answer(api: &Api, route: Route<'_>, request: Request, next: Next) -> Response {
    if let Some(problem) = api.hosts().refuse(&request) {
        return problem.into_response();
    }
    if route.kind != Kind::Probe && api.stopping() {
        let problem = Problem::new(
            ProblemCode::NotReady,
            "the host is shutting down; try again in a moment",
        );
        return problem.retry_after(OVERLOAD_RETRY).into_response();
    }
    if let Some(problem) = acceptable(route, request.headers()) {
        return problem.into_response();
    }
    let permit = match route.kind {
        Kind::Probe | Kind::Stream => None,
        Kind::Quick | Kind::Slow => match api.admit() {
            Some(permit) => Some(permit),
            None => {
                let problem = Problem::new(
                    ProblemCode::Overloaded,
                    format!(
                        "{} requests are under way, which is the limit",
                        api.limits().requests
                    ),
                );
                return problem.retry_after(OVERLOAD_RETRY).into_response();
            }
        },
    };
    // A deployment that shall be exactly a plan: the engines are asked again.
    let plans = request.uri().query().is_some_and(|q| q.contains("plan="));
    let limit = match route.kind {
        Kind::Slow => api.limits().slow_answer,
        Kind::Quick if plans => api.limits().slow_answer,
        Kind::Probe | Kind::Quick | Kind::Stream => api.limits().answer,
    };
    ::metrics::gauge!(metrics::IN_FLIGHT).increment(1);
    let _leave = Leave;
    let response = match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            ProblemCode::AnswerTimeout,
            format!(
                "there was no answer within {} s; what was begun goes on, so look before trying again",
                limit.as_secs()
            ),
        )
        .into_response(),
    };
    drop(permit);
    response
}

struct Leave;
impl Drop for Leave {
    fn drop(&mut self) {
        ::metrics::gauge!(metrics::IN_FLIGHT).decrement(1);
    }
}

/// What a route answers with, in the order of preference.
fn offers(route: Route<'_>) -> &'static [&'static str] {
    match (route.kind, route.name) {
        (Kind::Stream, _) => &["text/event-stream"],
        (Kind::Probe, _) | (_, "(none)" | "/errors/{code}") => &[],
        _ => &["application/json", "application/problem+json"],
    }
}

fn acceptable(route: Route<'_>, headers: &HeaderMap) -> Option<Problem> {
    let offers = offers(route);
    if offers.is_empty() || !headers.contains_key(ACCEPT) {
        return None;
    }
    let takes = |range: &str| {
        let mut parts = range.split(';');
        let media = parts.next().unwrap_or("").trim().to_ascii_lowercase();
        let refused = parts.any(|p| matches!(p.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        let fits = media == "*/*"
            || offers.iter().any(|offer| {
                *offer == media
                    || media
                        .strip_suffix("/*")
                        .is_some_and(|kind| offer.starts_with(&format!("{kind}/")))
            });
        fits && !refused
    };
    let any = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(takes);
    (!any).then(|| {
        Problem::new(
            ProblemCode::NotAcceptable,
            format!(
                "this path answers {}; the Accept header allows none of it",
                offers[0]
            ),
        )
    })
}

/// Gives an error its body, and every answer its headers.
fn finish(
    response: Response,
    method: &Method,
    path: &str,
    correlation: &CorrelationId,
) -> Response {
    let mut response = match response.extensions().get::<Problem>() {
        Some(problem) => {
            let instance = nestor_core::text::shortened(path, MAX_INSTANCE);
            problem.render(&instance, &correlation.0)
        }
        // Axum's own answer when a path is there and the method is not; it adds
        // the Allow header after this.
        None if response.status() == StatusCode::METHOD_NOT_ALLOWED => {
            let detail = format!(
                "{} is not allowed here; the Allow header lists what is",
                known(method)
            );
            let problem = Problem::new(ProblemCode::MethodNotAllowed, detail);
            let instance = nestor_core::text::shortened(path, MAX_INSTANCE);
            problem.render(&instance, &correlation.0)
        }
        None => response,
    };
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&correlation.0) {
        headers.insert(CORRELATION_ID, id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn record(method: &Method, route: Route<'_>, status: StatusCode, took: Duration) {
    let method = known(method);
    let name = route.name.to_owned();
    ::metrics::counter!(
        metrics::REQUESTS,
        "method" => method, "route" => name.clone(), "status" => status.as_u16().to_string()
    )
    .increment(1);
    ::metrics::histogram!(metrics::SECONDS, "method" => method, "route" => name)
        .record(took.as_secs_f64());
    let status = status.as_u16();
    // To the microsecond: more digits are noise.
    let took_ms = f64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)) / 1000.0;
    if status >= 500 {
        tracing::warn!(status, took_ms, "request failed");
    } else if route.kind == Kind::Probe {
        tracing::debug!(status, took_ms, "request");
    } else {
        tracing::info!(status, took_ms, "request");
    }
}

/// A client may invent methods; neither metrics nor answers grow with them.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "this method",
    }
}

/// The text of a panic, for the log.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}
