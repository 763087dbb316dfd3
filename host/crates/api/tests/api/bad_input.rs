//! Every kind of bad request, and exactly what it is told.

use expect_test::{Expect, expect};

use crate::fake::{Answer, Host};

pub(crate) async fn check(request: &str, expected: Expect) {
    let answer = Host::new().ask(request).await;
    assert_eq!(answer.header("x-correlation-id"), "test");
    expected.assert_eq(&answer.shown());
}

const JSON: &str = "content-type: application/json";

#[tokio::test]
async fn bodies() {
    check(
        &format!("POST /api/v1/deployments\n{JSON}\n\n{{\"id\": "),
        expect![[r#"
            400
            content-type: application/problem+json
            {
              "code": "malformed-body",
              "correlationId": "test",
              "detail": "not JSON: EOF while parsing a value at line 1 column 7",
              "docs": "/errors/malformed-body",
              "instance": "/api/v1/deployments",
              "status": 400,
              "title": "The body cannot be read",
              "type": "urn:nestor:error:malformed-body",
              "violations": [
                {
                  "code": "malformed-json",
                  "message": "not JSON: EOF while parsing a value at line 1 column 7",
                  "pointer": ""
                }
              ]
            }
        "#]],
    )
    .await;
    check(
        &format!("POST /api/v1/deployments\n{JSON}\n\n{{}}"),
        expect![[r#"
        422
        content-type: application/problem+json
        {
          "code": "invalid-deployment",
          "correlationId": "test",
          "detail": "2 things are wrong; see violations",
          "docs": "/errors/invalid-deployment",
          "instance": "/api/v1/deployments",
          "status": 422,
          "title": "The deployment is not valid",
          "type": "urn:nestor:error:invalid-deployment",
          "violations": [
            {
              "code": "missing-field",
              "message": "is missing; give the deployment an id",
              "pointer": "/id"
            },
            {
              "code": "dependency-cycle",
              "message": "a → b → a",
              "pointer": "/dependencies"
            }
          ]
        }
    "#]],
    )
    .await;
    check(
        "POST /api/v1/deployments\n\n{}",
        expect![[r#"
        415
        content-type: application/problem+json
        {
          "code": "unsupported-media-type",
          "correlationId": "test",
          "detail": "there is no Content-Type; send application/json",
          "docs": "/errors/unsupported-media-type",
          "instance": "/api/v1/deployments",
          "status": 415,
          "title": "The body has the wrong type",
          "type": "urn:nestor:error:unsupported-media-type"
        }
    "#]],
    )
    .await;
    check(
        "POST /api/v1/deployments\ncontent-type: text/yaml\n\nid: a",
        expect![[r#"
        415
        content-type: application/problem+json
        {
          "code": "unsupported-media-type",
          "correlationId": "test",
          "detail": "the Content-Type is \"text/yaml\"; send application/json",
          "docs": "/errors/unsupported-media-type",
          "instance": "/api/v1/deployments",
          "status": 415,
          "title": "The body has the wrong type",
          "type": "urn:nestor:error:unsupported-media-type"
        }
    "#]],
    )
    .await;
    check(
        &format!("POST /api/v1/deployments\n{JSON}\ncontent-length: 10000000"),
        expect![[r#"
        413
        content-type: application/problem+json
        {
          "code": "body-too-large",
          "correlationId": "test",
          "detail": "the body is larger than 8MiB, the limit of this path; send less",
          "docs": "/errors/body-too-large",
          "instance": "/api/v1/deployments",
          "status": 413,
          "title": "The body is too large",
          "type": "urn:nestor:error:body-too-large"
        }
    "#]],
    )
    .await;
    check(
        &format!("POST /api/v1/deployments\n{JSON}\nidempotency-key: a b\n\n{{}}"),
        expect![[r#"
        400
        content-type: application/problem+json
        {
          "code": "invalid-parameter",
          "correlationId": "test",
          "detail": "the Idempotency-Key header must be 1 to 255 visible ASCII characters",
          "docs": "/errors/invalid-parameter",
          "instance": "/api/v1/deployments",
          "parameter": "Idempotency-Key",
          "status": 400,
          "title": "A parameter is not valid",
          "type": "urn:nestor:error:invalid-parameter"
        }
    "#]],
    )
    .await;
    check(&format!("POST /api/v1/deployments/web-app/rollback\n{JSON}\n\n{{\"revison\": 1}}"), expect![[r#"
        422
        content-type: application/problem+json
        {
          "code": "invalid-request",
          "correlationId": "test",
          "detail": "/revison: there is no field \"revison\"; did you mean \"revision\"? (known: revision)",
          "docs": "/errors/invalid-request",
          "instance": "/api/v1/deployments/web-app/rollback",
          "status": 422,
          "title": "The request is not valid",
          "type": "urn:nestor:error:invalid-request",
          "violations": [
            {
              "code": "unknown-field",
              "message": "there is no field \"revison\"; did you mean \"revision\"? (known: revision)",
              "pointer": "/revison"
            }
          ]
        }
    "#]]).await;
    check(
        &format!("POST /api/v1/deployments/web-app/rollback\n{JSON}\n\n{{\"revision\": 0}}"),
        expect![[r#"
        422
        content-type: application/problem+json
        {
          "code": "invalid-request",
          "correlationId": "test",
          "detail": "/revision: must be the number of a revision, from 1",
          "docs": "/errors/invalid-request",
          "instance": "/api/v1/deployments/web-app/rollback",
          "status": 422,
          "title": "The request is not valid",
          "type": "urn:nestor:error:invalid-request",
          "violations": [
            {
              "code": "wrong-type",
              "message": "must be the number of a revision, from 1",
              "pointer": "/revision"
            }
          ]
        }
    "#]],
    )
    .await;
    check(
        &format!("POST /api/v1/deployments/web-app/retry\n{JSON}\n\n[]"),
        expect![[r#"
        422
        content-type: application/problem+json
        {
          "code": "invalid-request",
          "correlationId": "test",
          "detail": "the body must be an object, or empty",
          "docs": "/errors/invalid-request",
          "instance": "/api/v1/deployments/web-app/retry",
          "status": 422,
          "title": "The request is not valid",
          "type": "urn:nestor:error:invalid-request",
          "violations": [
            {
              "code": "wrong-type",
              "message": "the body must be an object, or empty",
              "pointer": ""
            }
          ]
        }
    "#]],
    )
    .await;
    check(
        &format!("POST /api/v1/deployments/web-app/plan\n{JSON}\n\n{{\"id\": \"other\"}}"),
        expect![[r#"
        422
        content-type: application/problem+json
        {
          "code": "invalid-deployment",
          "correlationId": "test",
          "detail": "/id: is \"other\", and the path is about web-app; write the same id in both",
          "docs": "/errors/invalid-deployment",
          "instance": "/api/v1/deployments/web-app/plan",
          "status": 422,
          "title": "The deployment is not valid",
          "type": "urn:nestor:error:invalid-deployment",
          "violations": [
            {
              "code": "invalid-value",
              "message": "is \"other\", and the path is about web-app; write the same id in both",
              "pointer": "/id"
            }
          ]
        }
    "#]],
    )
    .await;
}

#[tokio::test]
async fn what_the_orchestrator_refuses() {
    let submit = |id: &str| format!("POST /api/v1/deployments\n{JSON}\n\n{{\"id\": \"{id}\"}}");
    check(
        &submit("busy"),
        expect![[r#"
        429
        content-type: application/problem+json
        retry-after: 7
        {
          "code": "busy",
          "correlationId": "test",
          "detail": "10000 deployments wait already",
          "docs": "/errors/busy",
          "instance": "/api/v1/deployments",
          "status": 429,
          "title": "The queue is full",
          "type": "urn:nestor:error:busy"
        }
    "#]],
    )
    .await;
    check(&submit("reused"), expect![[r#"
        422
        content-type: application/problem+json
        {
          "code": "idempotency-key-reused",
          "correlationId": "test",
          "detail": "the idempotency key was used for another request within the last 24 hours; use another key",
          "docs": "/errors/idempotency-key-reused",
          "instance": "/api/v1/deployments",
          "status": 422,
          "title": "The idempotency key was used for another request",
          "type": "urn:nestor:error:idempotency-key-reused"
        }
    "#]]).await;
    check(
        &submit("internal"),
        expect![[r#"
        500
        content-type: application/problem+json
        {
          "code": "internal",
          "correlationId": "test",
          "detail": "something failed inside; the host's log has it under this correlation id",
          "docs": "/errors/internal",
          "instance": "/api/v1/deployments",
          "status": 500,
          "title": "An internal error",
          "type": "urn:nestor:error:internal"
        }
    "#]],
    )
    .await;
    check(
        "GET /api/v1/deployments/missing",
        expect![[r#"
        404
        content-type: application/problem+json
        {
          "code": "deployment-not-found",
          "correlationId": "test",
          "detail": "there is no deployment missing",
          "docs": "/errors/deployment-not-found",
          "instance": "/api/v1/deployments/missing",
          "status": 404,
          "title": "There is no such deployment",
          "type": "urn:nestor:error:deployment-not-found"
        }
    "#]],
    )
    .await;
    check(
        "POST /api/v1/deployments/conflict/retry",
        expect![[r#"
        409
        content-type: application/problem+json
        {
          "code": "state-conflict",
          "correlationId": "test",
          "detail": "web-app is ready: there is nothing to retry",
          "docs": "/errors/state-conflict",
          "instance": "/api/v1/deployments/conflict/retry",
          "status": 409,
          "title": "The request does not fit the current state",
          "type": "urn:nestor:error:state-conflict"
        }
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_panic_is_an_answer_that_says_nothing_of_the_inside() {
    let submit = format!("POST /api/v1/deployments\n{JSON}\n\n{{\"id\": \"panic\"}}");
    for request in [
        submit.as_str(),
        "GET /api/v1/deployments/panic",
        "GET /api/v1/deployments/panic/events",
    ] {
        let answer = Host::new().ask(request).await;
        assert_eq!(answer.status, 500, "{request}");
        assert_eq!(answer.json()["code"], "internal");
        assert!(!answer.body.contains("secret detail"));
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_comes() {
    let host = Host::new();
    let limit = nestor_core::spec::MAX_BODY_BYTES;
    // Announced and not: a stream has no Content-Length.
    let announced = axum::body::Body::from(vec![b' '; limit + 1]);
    let chunks = (0..limit / 4096 + 1).map(|_| Ok::<_, std::io::Error>(vec![b' '; 4096]));
    let streamed = axum::body::Body::from_stream(futures::stream::iter(chunks));
    for body in [announced, streamed] {
        let request = axum::http::Request::post("/api/v1/deployments")
            .header("content-type", "application/json");
        let answer = Answer::of(host.send(request.body(body).unwrap()).await).await;
        assert_eq!(answer.status, 413);
        assert_eq!(answer.json()["code"], "body-too-large");
    }
    assert!(host.service.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn hostile_texts_come_back_short() {
    let host = Host::new();
    for path in [
        format!("GET /api/v1/deployments/{}", "x".repeat(20_000)),
        format!("GET /api/v1/deployments?{}=1", "x".repeat(20_000)),
        format!("GET /{}", "x".repeat(20_000)),
        format!("GET /api/v1/deployments?limit={}", "9".repeat(20_000)),
    ] {
        let answer = host.ask(&path).await;
        assert!(answer.status.is_client_error());
        assert!(answer.body.len() < 1500, "{}", answer.body);
    }
}
