//! A deployment's events as a stream (server-sent events).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::BoxStream;
use nestor_core::ids::DeploymentId;
use nestor_core::text::shortened;
use nestor_orchestrator::view::EventView;
use tokio::sync::OwnedSemaphorePermit;

use crate::extract::{Name, Params};
use crate::metrics;
use crate::problem::{Problem, ProblemCode, ProblemView};
use crate::state::Api;

/// What a client waits before it connects again.
const RECONNECT: Duration = Duration::from_secs(1);
/// The type of the last event of a stream that ended by itself: there is
/// nothing more to come, so do not connect again.
pub const END: &str = "end";

/// Events of a deployment as they happen: durable ones with an id, from which
/// a client resumes, and progress and log lines without.
///
/// The stream ends with an event of type `end` once the deployment settled and
/// everything was sent; with `follow=true` it stays open. A stream that ends
/// without `end` was cut: connect again with `Last-Event-ID`.
#[utoipa::path(
    get, path = "/api/v1/deployments/{id}/events", tag = "deployments",
    params(
        ("id" = String, Path, description = "The deployment's id"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Only events after this one"),
        ("after" = Option<u64>, Query, description = "The same, for clients that cannot set the header"),
        ("follow" = Option<bool>, Query, description = "Stay when the deployment settled; false when absent"),
    ),
    responses(
        (status = 200, description = "Each event's data is an EventView", body = EventView, content_type = "text/event-stream"),
        (status = 404, description = "No such deployment", body = ProblemView, content_type = "application/problem+json"),
        (status = 503, description = "Too many streams", body = ProblemView, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn events(
    State(api): State<Api>,
    Name(id): Name<DeploymentId>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::of(&uri, &["after", "follow"])?;
    let follow = params
        .parse::<bool>("follow", "true or false")?
        .unwrap_or(false);
    let after = match resume_point(&headers)? {
        Some(after) => Some(after),
        None => params.parse::<u64>("after", "the id of an event")?,
    };
    let permit = api.admit_stream().ok_or_else(|| {
        let limit = api.limits().streams;
        Problem::new(
            ProblemCode::Overloaded,
            format!("{limit} event streams are open, which is the limit"),
        )
        .retry_after(5)
    })?;
    let events = api.service().events(id.as_str(), after, follow).await?;
    let stream = sse(events, follow, api.clone(), permit);
    let alive = KeepAlive::new()
        .interval(api.limits().keep_alive)
        .text("still there");
    let mut response = Sse::new(stream).keep_alive(alive).into_response();
    // Proxies of nginx's kind hold streams back without this.
    response.headers_mut().insert(
        "x-accel-buffering",
        axum::http::HeaderValue::from_static("no"),
    );
    Ok(response)
}

fn resume_point(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("(not text)");
    // Empty is what a browser sends that has seen no id yet.
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let shown = shortened(text, 40);
        Problem::parameter(
            "Last-Event-ID",
            format!("Last-Event-ID is {shown:?}; it must be the id of an event, a number"),
        )
    })
}

fn sse(
    mut events: BoxStream<'static, EventView>,
    follow: bool,
    api: Api,
    permit: OwnedSemaphorePermit,
) -> impl futures::Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        let _open = Open::new(permit);
        yield Ok(Event::default().retry(RECONNECT).comment("events"));
        loop {
            let next = tokio::select! {
                biased;
                () = api.shutdown().cancelled() => {
                    yield Ok(Event::default().comment("the host is shutting down; connect again"));
                    break;
                }
                next = events.next() => next,
            };
            match next {
                Some(event) => yield Ok(encode(&event)),
                // A stream that follows has no end of its own: it was cut inside.
                None => {
                    if !follow && !api.stopping() {
                        yield Ok(Event::default().event(END).data("{}"));
                    }
                    break;
                }
            }
        }
    }
}

fn encode(event: &EventView) -> Event {
    let data = serde_json::to_string(event).expect("a struct of texts and numbers is JSON");
    // A line break in the type would be another field.
    let kind: String = event.kind.chars().filter(|c| !c.is_control()).collect();
    let encoded = Event::default().event(kind).data(data);
    match event.id {
        Some(id) => encoded.id(id.to_string()),
        None => encoded,
    }
}

/// Counts a stream for as long as it is there.
struct Open {
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        ::metrics::gauge!(metrics::STREAMS).increment(1);
        Self { _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        ::metrics::gauge!(metrics::STREAMS).decrement(1);
    }
}
