//! A deployment's events, with a connection that mends itself.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use reqwest::Url;
use reqwest::header::ACCEPT;

use crate::client::{Reply, decode, refusal, shown};
use crate::error::ClientError;
use crate::model::Event;
use crate::sse::Parser;

/// The server's comments come every 15 s; three missed ones mean a dead line.
const SILENCE: Duration = Duration::from_secs(45);
/// The head of the answer.
const ANSWER: Duration = Duration::from_secs(35);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LAST_WAIT: Duration = Duration::from_secs(5);
/// The event after which nothing comes.
const END: &str = "end";

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventOptions {
    /// Only events after this one.
    pub after: Option<u64>,
    /// Stay when the deployment settled.
    pub follow: bool,
    /// How long to try again after the connection broke before giving up. The
    /// first connection is not retried.
    pub patience: Duration,
}

impl Default for EventOptions {
    fn default() -> Self {
        Self {
            after: None,
            follow: false,
            patience: Duration::from_secs(60),
        }
    }
}

/// Events as they happen. After an error there is nothing more.
pub struct EventStream(Pin<Box<dyn Stream<Item = Result<Reply<Event>, ClientError>> + Send>>);

impl Stream for EventStream {
    type Item = Result<Reply<Event>, ClientError>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

pub(crate) fn stream(http: reqwest::Client, url: Url, options: EventOptions) -> EventStream {
    let EventOptions {
        mut after,
        follow,
        patience,
    } = options;
    EventStream(Box::pin(async_stream::try_stream! {
        let mut broken_since: Option<Instant> = None;
        let mut wait = FIRST_WAIT;
        let mut connected_once = false;
        loop {
            let failure = match connect(&http, &url, after, follow).await {
                Err(error) => error,
                Ok(response) => {
                    connected_once = true;
                    let mut chunks = response.bytes_stream();
                    let mut parser = Parser::default();
                    let mut frames = Vec::new();
                    loop {
                        match tokio::time::timeout(SILENCE, chunks.next()).await {
                            Err(_) => break ClientError::Timeout { url: shown(&url), after: SILENCE },
                            Ok(None) => break lost(&url, "the stream of events was cut"),
                            Ok(Some(Err(error))) => break ClientError::of_transport(&error, &shown(&url), SILENCE),
                            Ok(Some(Ok(bytes))) => {
                                // Alive again: the next break has all of the patience.
                                broken_since = None;
                                wait = FIRST_WAIT;
                                if parser.push(&bytes, &mut frames).is_err() {
                                    let reason = "an event has no end".to_owned();
                                    Err(ClientError::Unreadable { url: shown(&url), reason })?;
                                }
                            }
                        }
                        for frame in frames.drain(..) {
                            if frame.kind == END {
                                return;
                            }
                            let event: Reply<Event> = decode(frame.data.as_bytes(), &url)?;
                            if let Some(id) = event.id {
                                after = Some(id);
                            }
                            yield event;
                        }
                    }
                }
            };
            let since = *broken_since.get_or_insert_with(Instant::now);
            if !connected_once || !failure.is_transient() || since.elapsed() >= patience {
                Err(failure)?;
                return;
            }
            let asked = failure.problem().and_then(|problem| problem.retry_after);
            tokio::time::sleep(asked.unwrap_or(wait).min(LAST_WAIT)).await;
            wait = (wait * 2).min(LAST_WAIT);
        }
    }))
}

fn lost(url: &Url, reason: &str) -> ClientError {
    ClientError::Unreachable {
        url: shown(url),
        reason: reason.to_owned(),
    }
}

async fn connect(
    http: &reqwest::Client,
    url: &Url,
    after: Option<u64>,
    follow: bool,
) -> Result<reqwest::Response, ClientError> {
    let mut url = url.clone();
    if follow {
        url.query_pairs_mut().append_pair("follow", "true");
    }
    let mut request = http
        .get(url.clone())
        .header(ACCEPT, "text/event-stream, application/problem+json;q=0.5");
    if let Some(after) = after {
        request = request.header("last-event-id", after.to_string());
    }
    let response = tokio::time::timeout(ANSWER, request.send())
        .await
        .map_err(|_| ClientError::Timeout {
            url: shown(&url),
            after: ANSWER,
        })?
        .map_err(|e| ClientError::of_transport(&e, &shown(&url), ANSWER))?;
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(refusal(response, &url).await)
    }
}
