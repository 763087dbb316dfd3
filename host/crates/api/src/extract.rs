//! Parameters and bodies, parsed at the door.

use axum::extract::{FromRequestParts, Path, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use bytes::Bytes;
use http_body_util::BodyExt;
use nestor_core::ids::{DefinitionName, DeploymentId, EngineId, WebhookName};
use nestor_core::text::{did_you_mean, listed, shortened};
use nestor_orchestrator::service::RequestMeta;
use tokio::sync::OwnedSemaphorePermit;

use crate::correlation::{CorrelationId, traceparent};
use crate::limits::{MAX_DRAINED_BYTES, MAX_IDEMPOTENCY_KEY};
use crate::problem::{Problem, ProblemCode};
use crate::state::Api;

/// Characters of a client's text that an error shows back.
const SHOWN: usize = 80;

/// A name in the path, such as a deployment's id.
pub(crate) struct Name<T>(pub(crate) T);

macro_rules! path_names {
    ($($type:ty),*) => {$(
        impl<S: Send + Sync> FromRequestParts<S> for Name<$type> {
            type Rejection = Problem;
            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
                let text = path_text(parts, state).await?;
                <$type>::new(&text).map(Self).map_err(|e| Problem::parameter("path", e.to_string()))
            }
        }
    )*};
}
path_names!(DeploymentId, EngineId, DefinitionName, WebhookName);

async fn path_text<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    Path::<String>::from_request_parts(parts, state)
        .await
        .map(|Path(text)| text)
        .map_err(|_| Problem::parameter("path", "the path holds a name that is not UTF-8 text"))
}

/// A query, read strictly: an unknown or repeated parameter is an error.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query of a path that knows these parameters.
    pub(crate) fn of(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        Self::with_list(uri, known, None)
    }

    /// The same, where one of them may be given any number of times.
    pub(crate) fn with_list(
        uri: &Uri,
        known: &[&str],
        list: Option<&str>,
    ) -> Result<Self, Problem> {
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Problem::parameter("query", "the query is not name=value&name=value"))?;
        let mut seen: Vec<(String, String)> = Vec::new();
        for (name, value) in query.0 {
            let shown = shortened(&name, SHOWN);
            if !known.contains(&name.as_str()) {
                let hint = did_you_mean(&name, known.iter().copied());
                let all = if known.is_empty() {
                    "none".to_owned()
                } else {
                    listed(known)
                };
                return Err(Problem::parameter(
                    &shown,
                    format!("there is no parameter {shown:?}{hint} (known: {all})"),
                ));
            }
            let again = seen.iter().any(|(other, _)| *other == name);
            if again && list != Some(name.as_str()) {
                return Err(Problem::parameter(
                    &shown,
                    format!("{shown:?} is given twice; give it once"),
                ));
            }
            seen.push((name, value));
        }
        Ok(Self(seen))
    }

    /// A parameter, if it is given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter, in the order in which they are given.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_name = self.0.iter().filter(move |(n, _)| n == name);
        of_name.map(|(_, value)| value.as_str())
    }

    /// A parameter of a type, if it is given; `expected` says what to write.
    pub(crate) fn parse<T: std::str::FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let bad = |_| {
            let shown = shortened(text, SHOWN);
            Problem::parameter(name, format!("{name} is {shown:?}; it must be {expected}"))
        };
        text.parse().map(Some).map_err(bad)
    }
}

/// What comes along with a request.
pub(crate) fn meta(
    headers: &HeaderMap,
    correlation: &CorrelationId,
) -> Result<RequestMeta, Problem> {
    Ok(RequestMeta {
        correlation_id: correlation.0.clone(),
        idempotency_key: idempotency_key(headers)?,
        traceparent: traceparent(headers),
        ..RequestMeta::default()
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    const NAME: &str = "idempotency-key";
    let Some(value) = headers.get(NAME) else {
        return Ok(None);
    };
    let visible = |text: &&str| {
        (1..=MAX_IDEMPOTENCY_KEY).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic())
    };
    match value.to_str().ok().filter(visible) {
        Some(key) => Ok(Some(key.to_owned())),
        None => Err(Problem::parameter(
            "Idempotency-Key",
            format!(
                "the Idempotency-Key header must be 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters"
            ),
        )),
    }
}

/// A body in memory, with its place in the budget of all bodies.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) place: OwnedSemaphorePermit,
}

/// The media type of the body, without parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(
        value
            .split(';')
            .next()
            .unwrap_or("")
            .trim()
            .to_ascii_lowercase(),
    )
}

/// Refuses a body that is not JSON by its own account. `optional`: no type and
/// no body is fine.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let media = media_type(headers);
    match media.as_deref() {
        Some("application/json") => Ok(()),
        Some(media) if media.starts_with("application/") && media.ends_with("+json") => Ok(()),
        Some(media) => Err(Problem::new(
            ProblemCode::UnsupportedMediaType,
            format!(
                "the Content-Type is {:?}; send application/json",
                shortened(media, SHOWN)
            ),
        )),
        None => Err(Problem::new(
            ProblemCode::UnsupportedMediaType,
            "there is no Content-Type; send application/json",
        )),
    }
}

/// Reads a body that may be absent; when there is one it is JSON.
///
/// # Errors
/// As [`read`], and 415 for a body of another type.
pub(crate) async fn read_optional(
    api: &Api,
    request: Request,
    max: usize,
) -> Result<Body, Problem> {
    // `curl -X POST -d ''` declares a form and sends nothing.
    let typed = require_json(request.headers());
    let announced = announced_length(request.headers());
    match typed {
        Err(problem) if announced.is_some_and(|length| length > 0) => Err(problem),
        typed => {
            let body = read(api, request, max).await?;
            if !body.bytes.is_empty() {
                typed?;
            }
            Ok(body)
        }
    }
}

/// Reads a body of at most `max` bytes.
///
/// # Errors
/// 413 for more, 408 for slower than the limit, 503 when the bodies of other
/// requests take all the room.
pub(crate) async fn read(api: &Api, request: Request, max: usize) -> Result<Body, Problem> {
    let announced = announced_length(request.headers());
    if announced.is_some_and(|length| length > max as u64) {
        drain(request).await;
        return Err(too_large(max));
    }
    let room = announced
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(max);
    let limit = api.limits().body;
    let Ok(Some(place)) = tokio::time::timeout(limit, api.room_for(room)).await else {
        return Err(Problem::new(
            ProblemCode::Overloaded,
            "other requests take all the room for bodies",
        )
        .retry_after(1));
    };
    let limited = http_body_util::Limited::new(request.into_body(), max);
    match tokio::time::timeout(limit, limited.collect()).await {
        Ok(Ok(collected)) => Ok(Body {
            bytes: collected.to_bytes(),
            place,
        }),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large(max)),
        Ok(Err(_)) => Err(Problem::new(
            ProblemCode::MalformedBody,
            "the body ended before its announced end",
        )),
        Err(_) => Err(Problem::new(
            ProblemCode::RequestTimeout,
            format!("the body did not arrive within {} s", limit.as_secs()),
        )),
    }
}

pub(crate) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(crate) fn too_large(max: usize) -> Problem {
    Problem::new(
        ProblemCode::BodyTooLarge,
        format!(
            "the body is larger than {}, the limit of this path; send less",
            nestor_core::units::show_size(max as u64)
        ),
    )
}

/// Reads and drops a refused body, so that a client that sends all before it
/// reads gets the answer instead of a broken connection.
pub(crate) async fn drain(request: Request) {
    if request.headers().contains_key(EXPECT) {
        return;
    }
    let mut body = request.into_body();
    let mut dropped = 0;
    while dropped < MAX_DRAINED_BYTES {
        match body.frame().await {
            Some(Ok(frame)) => dropped += frame.data_ref().map_or(0, Bytes::len),
            _ => return,
        }
    }
}
