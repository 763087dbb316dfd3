//! Probes, metrics, documentation, and the host under load.

use std::time::Duration;

use expect_test::expect_file;

use crate::fake::Host;

#[test]
fn the_committed_openapi_is_what_the_code_says() {
    // UPDATE_EXPECT=1 cargo test -p nestor-api writes it anew.
    expect_file!["../../openapi.json"].assert_eq(nestor_api::openapi_json());
}

#[tokio::test]
async fn openapi_names_what_it_refers_to() {
    let api = Host::new().ask("GET /openapi.json").await.json();
    let schemas = api["components"]["schemas"].as_object().unwrap();
    let text = api.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is not described");
    }
    // The fixed names of the design.
    for name in [
        "id",
        "composer",
        "environment",
        "resources",
        "dependencies",
        "priority",
        "policy",
        "ttl",
        "labels",
        "delivery",
    ] {
        assert!(
            schemas["DeploymentRequest"]["properties"][name].is_object(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn probes() {
    let host = Host::new();
    assert_eq!(host.ask("GET /healthz").await.json()["status"], "ok");
    assert_eq!(host.ask("GET /readyz").await.json()["status"], "ready");
    *host.service.not_ready.lock().unwrap() = Some("recovery is under way".into());
    let answer = host.ask("GET /readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["detail"], "recovery is under way");
    host.shutdown.cancel();
    assert_eq!(host.ask("GET /readyz").await.status, 503);
    assert_eq!(host.ask("GET /healthz").await.status, 200);
    assert_eq!(
        host.ask("GET /api/v1/deployments").await.json()["code"],
        "not-ready"
    );
}

#[tokio::test]
async fn every_violation_and_problem_is_explained_under_its_docs_path() {
    let host = Host::new();
    let answer = host.ask("GET /api/v1/deployments/missing").await;
    let docs = answer.json()["docs"].as_str().unwrap().to_owned();
    let page = host.ask(&format!("GET {docs}")).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/markdown"));
    assert!(page.body.starts_with("# deployment-not-found"));
}

#[tokio::test]
async fn too_many_requests_are_refused_at_once() {
    let host = Host::with(nestor_api::Limits {
        requests: 1,
        ..Default::default()
    });
    let (first, second) = tokio::join!(host.ask("GET /api/v1/deployments/slow"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        (
            host.ask("GET /api/v1/deployments/a").await,
            host.ask("GET /healthz").await,
        )
    });
    assert_eq!(first.status, 200);
    assert_eq!(second.0.json()["code"], "overloaded");
    assert_eq!(second.0.header("retry-after"), "1");
    assert_eq!(second.1.status, 200);
    assert_eq!(host.ask("GET /api/v1/deployments/a").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_too_long_is_given_up() {
    let answer = Host::new().ask("GET /api/v1/deployments/hang").await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.json()["code"], "answer-timeout");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_given_up() {
    let host = Host::new();
    let body = axum::body::Body::from_stream(futures::stream::pending::<
        Result<Vec<u8>, std::io::Error>,
    >());
    let request =
        axum::http::Request::post("/api/v1/deployments").header("content-type", "application/json");
    let answer = crate::fake::Answer::of(host.send(request.body(body).unwrap()).await).await;
    assert_eq!(answer.status, 408);
}
