//! Engines come and go.

use expect_test::expect;

use crate::fake::Host;

fn form(parts: &[(&str, &str)]) -> String {
    let body: String = parts
        .iter()
        .map(|(name, content)| {
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
        })
        .collect();
    format!(
        "PUT /api/v1/engines/note\ncontent-type: multipart/form-data; boundary=x\n\n{body}--x--\r\n"
    )
}

#[tokio::test]
async fn put_alone_and_with_a_manifest() {
    let host = Host::new();
    let alone = host
        .ask("PUT /api/v1/engines/note\ncontent-type: application/wasm\n\ncomponent one")
        .await;
    assert_eq!(alone.status, 201, "{}", alone.body);
    let both = host
        .ask(&form(&[
            ("manifest", "schema = 1"),
            ("component", "component two"),
        ]))
        .await;
    assert_eq!(both.status, 200, "{}", both.body);
    assert_ne!(alone.json()["digest"], both.json()["digest"]);
    let kept = host.engines.put.lock().unwrap().clone();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].1.as_deref(), Some("schema = 1"));
    assert_eq!(
        host.ask("GET /api/v1/engines").await.json()["items"][0]["name"],
        "note"
    );
    assert_eq!(
        host.ask("GET /api/v1/engines/note").await.json(),
        both.json()
    );
    assert_eq!(host.ask("DELETE /api/v1/engines/note").await.status, 204);
    assert_eq!(host.ask("GET /api/v1/engines/note").await.status, 404);
}

#[tokio::test]
async fn refusals() {
    let host = Host::new();
    host.ask("PUT /api/v1/engines/terraform\ncontent-type: application/wasm\n\nx")
        .await;
    host.ask("PUT /api/v1/engines/helm\ncontent-type: application/wasm\n\nx")
        .await;
    for (request, expected) in [
        (
            "PUT /api/v1/engines/note\ncontent-type: application/wasm\n\nnonsense".to_owned(),
            expect![[r#"
            422
            content-type: application/problem+json
            {
              "code": "not-a-component",
              "correlationId": "test",
              "detail": "the first bytes are not those of a component",
              "docs": "/errors/not-a-component",
              "instance": "/api/v1/engines/note",
              "status": 422,
              "title": "The body is not a WebAssembly component",
              "type": "urn:nestor:error:not-a-component"
            }
        "#]],
        ),
        (
            "PUT /api/v1/engines/note\ncontent-type: application/wasm\n\ngreedy".to_owned(),
            expect![[r#"
            422
            content-type: application/problem+json
            {
              "code": "missing-grants",
              "correlationId": "test",
              "detail": "the engine requests 1 capabilities that are not granted",
              "docs": "/errors/missing-grants",
              "instance": "/api/v1/engines/note",
              "status": 422,
              "title": "The engine requests what is not granted",
              "type": "urn:nestor:error:missing-grants",
              "violations": [
                {
                  "code": "missing-grant",
                  "message": "terraform is requested, nothing is granted",
                  "pointer": "tool"
                }
              ]
            }
        "#]],
        ),
        (
            "PUT /api/v1/engines/note\ncontent-type: application/json\n\n{}".to_owned(),
            expect![[r#"
            415
            content-type: application/problem+json
            {
              "code": "unsupported-media-type",
              "correlationId": "test",
              "detail": "the Content-Type is \"application/json\"; send the component as application/wasm, or component and manifest as multipart/form-data",
              "docs": "/errors/unsupported-media-type",
              "instance": "/api/v1/engines/note",
              "status": 415,
              "title": "The body has the wrong type",
              "type": "urn:nestor:error:unsupported-media-type"
            }
        "#]],
        ),
        (
            "PUT /api/v1/engines/note\ncontent-type: multipart/form-data\n\nx".to_owned(),
            expect![[r#"
                400
                content-type: application/problem+json
                {
                  "code": "malformed-body",
                  "correlationId": "test",
                  "detail": "the body is not a form: multipart boundary not found in Content-Type",
                  "docs": "/errors/malformed-body",
                  "instance": "/api/v1/engines/note",
                  "status": 400,
                  "title": "The body cannot be read",
                  "type": "urn:nestor:error:malformed-body"
                }
            "#]],
        ),
        (
            "PUT /api/v1/engines/note\ncontent-type: multipart/form-data; boundary=x\n\nnot a form"
                .to_owned(),
            expect![[r#"
                400
                content-type: application/problem+json
                {
                  "code": "malformed-body",
                  "correlationId": "test",
                  "detail": "the body is not a form: incomplete multipart stream",
                  "docs": "/errors/malformed-body",
                  "instance": "/api/v1/engines/note",
                  "status": 400,
                  "title": "The body cannot be read",
                  "type": "urn:nestor:error:malformed-body"
                }
            "#]],
        ),
        (
            form(&[("manifest", "schema = 1")]),
            expect![[r#"
            422
            content-type: application/problem+json
            {
              "code": "invalid-request",
              "correlationId": "test",
              "detail": "the form has no field component; add -F component=@FILE.wasm",
              "docs": "/errors/invalid-request",
              "instance": "/api/v1/engines/note",
              "status": 422,
              "title": "The request is not valid",
              "type": "urn:nestor:error:invalid-request"
            }
        "#]],
        ),
        (
            form(&[("component", "x"), ("component", "x")]),
            expect![[r#"
            422
            content-type: application/problem+json
            {
              "code": "invalid-request",
              "correlationId": "test",
              "detail": "the form has component twice",
              "docs": "/errors/invalid-request",
              "instance": "/api/v1/engines/note",
              "status": 422,
              "title": "The request is not valid",
              "type": "urn:nestor:error:invalid-request"
            }
        "#]],
        ),
        (
            form(&[("wasm", "x")]),
            expect![[r#"
            422
            content-type: application/problem+json
            {
              "code": "invalid-request",
              "correlationId": "test",
              "detail": "the form has a field \"wasm\"; it takes component and manifest",
              "docs": "/errors/invalid-request",
              "instance": "/api/v1/engines/note",
              "status": 422,
              "title": "The request is not valid",
              "type": "urn:nestor:error:invalid-request"
            }
        "#]],
        ),
        (
            "GET /api/v1/engines/terrafrom".to_owned(),
            expect![[r#"
            404
            content-type: application/problem+json
            {
              "code": "engine-not-found",
              "correlationId": "test",
              "detail": "there is no engine terrafrom; did you mean \"terraform\"?",
              "docs": "/errors/engine-not-found",
              "instance": "/api/v1/engines/terrafrom",
              "status": 404,
              "title": "There is no such engine",
              "type": "urn:nestor:error:engine-not-found"
            }
        "#]],
        ),
        (
            "DELETE /api/v1/engines/helm".to_owned(),
            expect![[r#"
            409
            content-type: application/problem+json
            {
              "code": "state-conflict",
              "correlationId": "test",
              "detail": "helm is built in; disable it in the config",
              "docs": "/errors/state-conflict",
              "instance": "/api/v1/engines/helm",
              "status": 409,
              "title": "The request does not fit the current state",
              "type": "urn:nestor:error:state-conflict"
            }
        "#]],
        ),
        (
            "DELETE /api/v1/engines/nothing".to_owned(),
            expect![[r#"
            404
            content-type: application/problem+json
            {
              "code": "engine-not-found",
              "correlationId": "test",
              "detail": "there is no engine nothing",
              "docs": "/errors/engine-not-found",
              "instance": "/api/v1/engines/nothing",
              "status": 404,
              "title": "There is no such engine",
              "type": "urn:nestor:error:engine-not-found"
            }
        "#]],
        ),
    ] {
        expected.assert_eq(&host.ask(&request).await.shown());
    }
}

#[tokio::test]
async fn one_upload_at_a_time() {
    let host = Host::new();
    let put = |name: &str, body: &str| {
        format!("PUT /api/v1/engines/{name}\ncontent-type: application/wasm\n\n{body}")
    };
    let (slow, other) = (put("a", "slow"), put("b", "x"));
    let (first, second) = tokio::join!(host.ask(&slow), async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        host.ask(&other).await
    });
    assert_eq!(first.status, 201);
    assert_eq!(second.status, 503);
    assert_eq!(second.header("retry-after"), "5");
}
