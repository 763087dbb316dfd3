//! Event streams: encoding, resuming, ending.

use expect_test::expect;
use futures::StreamExt;

use crate::fake::{Host, event};

#[tokio::test]
async fn events_are_encoded_and_end() {
    let host = Host::new();
    let progress = nestor_orchestrator::view::EventView {
        id: None,
        kind: "progress".into(),
        ..event(2)
    };
    *host.service.events.lock().unwrap() = vec![event(1), progress];
    let answer = host.ask("GET /api/v1/deployments/settled/events").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/event-stream");
    expect![[r#"
        retry: 1000
        : events

        event: ready
        data: {"id":1,"type":"ready","at":"2026-01-01T00:00:00.000Z","revision":1,"resource":"database","status":"in_progress","message":"event 1\nwith a second line"}
        id: 1

        event: progress
        data: {"type":"progress","at":"2026-01-01T00:00:00.000Z","revision":1,"resource":"database","status":"in_progress","message":"event 2\nwith a second line"}

        event: end
        data: {}

    "#]].assert_eq(&answer.body);
}

#[tokio::test]
async fn resumes_after_the_last_event() {
    let host = Host::new();
    *host.service.events.lock().unwrap() = (1..=5).map(event).collect();
    for (request, first) in [
        (
            "GET /api/v1/deployments/settled/events\nlast-event-id: 3",
            "id: 4",
        ),
        ("GET /api/v1/deployments/settled/events?after=4", "id: 5"),
        // The header is newer than the query it was first opened with.
        (
            "GET /api/v1/deployments/settled/events?after=1\nlast-event-id: 4",
            "id: 5",
        ),
        (
            "GET /api/v1/deployments/settled/events\nlast-event-id: 5",
            "event: end",
        ),
        (
            "GET /api/v1/deployments/settled/events\nlast-event-id: ",
            "id: 1",
        ),
    ] {
        let answer = host.ask(request).await;
        let found = answer
            .body
            .lines()
            .find(|line| line.starts_with("id: ") || *line == "event: end");
        assert_eq!(found, Some(first), "{request}\n{}", answer.body);
    }
}

#[tokio::test]
async fn streams_are_bounded_and_end_with_the_host() {
    let limits = nestor_api::Limits {
        streams: 1,
        ..Default::default()
    };
    let host = Host::with(limits);
    *host.service.events.lock().unwrap() = vec![event(1)];
    let open = || async {
        let request = axum::http::Request::get("/api/v1/deployments/a/events")
            .body(axum::body::Body::empty())
            .unwrap();
        host.send(request).await
    };
    let mut first = open().await.into_body().into_data_stream();
    let text = String::from_utf8(first.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(text.contains("retry: 1000"), "{text}");
    assert_eq!(open().await.status(), 503);
    host.shutdown.cancel();
    let mut rest = String::new();
    while let Some(chunk) = first.next().await {
        rest.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    assert!(
        rest.contains("shutting down") && !rest.contains("event: end"),
        "{rest}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_is_kept_alive() {
    let host = Host::new();
    let request = axum::http::Request::get("/api/v1/deployments/a/events")
        .body(axum::body::Body::empty())
        .unwrap();
    let mut body = host.send(request).await.into_body().into_data_stream();
    body.next().await.unwrap().unwrap();
    let begun = tokio::time::Instant::now();
    let text = String::from_utf8(body.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert_eq!(text, ": still there\n\n");
    assert_eq!(begun.elapsed().as_secs(), host.limits.keep_alive.as_secs());
}
