//! Wrong paths, queries and headers, and exactly what they are told.

use expect_test::expect;

use crate::bad_input::check;

#[tokio::test]
async fn paths_and_parameters() {
    check(
        "GET /api/v1/nothing",
        expect![[r#"
        404
        content-type: application/problem+json
        {
          "code": "route-not-found",
          "correlationId": "test",
          "detail": "there is nothing at this path; /openapi.json lists what there is",
          "docs": "/errors/route-not-found",
          "instance": "/api/v1/nothing",
          "status": 404,
          "title": "There is nothing at this path",
          "type": "urn:nestor:error:route-not-found"
        }
    "#]],
    )
    .await;
    check(
        "PATCH /api/v1/deployments/web-app",
        expect![[r#"
            405
            content-type: application/problem+json
            allow: GET,HEAD,DELETE
            {
              "code": "method-not-allowed",
              "correlationId": "test",
              "detail": "PATCH is not allowed here; the Allow header lists what is",
              "docs": "/errors/method-not-allowed",
              "instance": "/api/v1/deployments/web-app",
              "status": 405,
              "title": "The method is not allowed here",
              "type": "urn:nestor:error:method-not-allowed"
            }
        "#]],
    )
    .await;
    check("GET /api/v1/deployments/..%2F..%2Fetc", expect![[r#"
        400
        content-type: application/problem+json
        {
          "code": "invalid-parameter",
          "correlationId": "test",
          "detail": "deployment id \"../../etc\" contains '.'; only lower-case letters, digits and '-' are allowed",
          "docs": "/errors/invalid-parameter",
          "instance": "/api/v1/deployments/..%2F..%2Fetc",
          "parameter": "path",
          "status": 400,
          "title": "A parameter is not valid",
          "type": "urn:nestor:error:invalid-parameter"
        }
    "#]]).await;
    check("GET /api/v1/deployments/w%D0%B5b-app", expect![[r#"
        400
        content-type: application/problem+json
        {
          "code": "invalid-parameter",
          "correlationId": "test",
          "detail": "deployment id \"wеb-app\" contains 'е'; only lower-case letters, digits and '-' are allowed",
          "docs": "/errors/invalid-parameter",
          "instance": "/api/v1/deployments/w%D0%B5b-app",
          "parameter": "path",
          "status": 400,
          "title": "A parameter is not valid",
          "type": "urn:nestor:error:invalid-parameter"
        }
    "#]]).await;
    check(
        "GET /api/v1/deployments/%FF",
        expect![[r#"
        400
        content-type: application/problem+json
        {
          "code": "invalid-parameter",
          "correlationId": "test",
          "detail": "the path holds a name that is not UTF-8 text",
          "docs": "/errors/invalid-parameter",
          "instance": "/api/v1/deployments/%FF",
          "parameter": "path",
          "status": 400,
          "title": "A parameter is not valid",
          "type": "urn:nestor:error:invalid-parameter"
        }
    "#]],
    )
    .await;
    check("GET /api/v1/deployments?limt=1", expect![[r#"
        400
        content-type: application/problem+json
        {
          "code": "invalid-parameter",
          "correlationId": "test",
          "detail": "there is no parameter \"limt\"; did you mean \"limit\"? (known: composer, environment, status, label, limit, cursor)",
          "docs": "/errors/invalid-parameter",
          "instance": "/api/v1/deployments",
          "parameter": "limt",
          "status": 400,
          "title": "A parameter is not valid",
          "type": "urn:nestor:error:invalid-parameter"
        }
    "#]]).await;
    check(
        "GET /api/v1/deployments?limit=0",
        expect![[r#"
        400
        content-type: application/problem+json
        {
          "code": "invalid-parameter",
          "correlationId": "test",
          "detail": "limit is 0; it must be a number from 1 to 500",
          "docs": "/errors/invalid-parameter",
          "instance": "/api/v1/deployments",
          "parameter": "limit",
          "status": 400,
          "title": "A parameter is not valid",
          "type": "urn:nestor:error:invalid-parameter"
        }
    "#]],
    )
    .await;
    check(
        "GET /api/v1/deployments?limit=many",
        expect![[r#"
        400
        content-type: application/problem+json
        {
          "code": "invalid-parameter",
          "correlationId": "test",
          "detail": "limit is \"many\"; it must be a number from 1 to 500",
          "docs": "/errors/invalid-parameter",
          "instance": "/api/v1/deployments",
          "parameter": "limit",
          "status": 400,
          "title": "A parameter is not valid",
          "type": "urn:nestor:error:invalid-parameter"
        }
    "#]],
    )
    .await;
    check("GET /api/v1/deployments?status=redy", expect![[r#"
        400
        content-type: application/problem+json
        {
          "code": "invalid-parameter",
          "correlationId": "test",
          "detail": "status is \"redy\"; did you mean \"ready\"? (known: pending, in_progress, awaiting_approval, ready, failed, cancelling, rolling_back, rolled_back, cancelled, deleting, deleted, stuck)",
          "docs": "/errors/invalid-parameter",
          "instance": "/api/v1/deployments",
          "parameter": "status",
          "status": 400,
          "title": "A parameter is not valid",
          "type": "urn:nestor:error:invalid-parameter"
        }
    "#]]).await;
    check(
        "GET /api/v1/deployments?composer=Team_A",
        expect![[r#"
            400
            content-type: application/problem+json
            {
              "code": "invalid-parameter",
              "correlationId": "test",
              "detail": "composer is \"Team_A\"; it must be a name of lowercase letters, digits and hyphens",
              "docs": "/errors/invalid-parameter",
              "instance": "/api/v1/deployments",
              "parameter": "composer",
              "status": 400,
              "title": "A parameter is not valid",
              "type": "urn:nestor:error:invalid-parameter"
            }
        "#]],
    )
    .await;
    check(
        "GET /api/v1/deployments?label=web",
        expect![[r#"
        400
        content-type: application/problem+json
        {
          "code": "invalid-parameter",
          "correlationId": "test",
          "detail": "label is \"web\"; it must be NAME=VALUE, several with commas between",
          "docs": "/errors/invalid-parameter",
          "instance": "/api/v1/deployments",
          "parameter": "label",
          "status": 400,
          "title": "A parameter is not valid",
          "type": "urn:nestor:error:invalid-parameter"
        }
    "#]],
    )
    .await;
    check(
        "GET /api/v1/deployments?composer=a&composer=b",
        expect![[r#"
        400
        content-type: application/problem+json
        {
          "code": "invalid-parameter",
          "correlationId": "test",
          "detail": "\"composer\" is given twice; give it once",
          "docs": "/errors/invalid-parameter",
          "instance": "/api/v1/deployments",
          "parameter": "composer",
          "status": 400,
          "title": "A parameter is not valid",
          "type": "urn:nestor:error:invalid-parameter"
        }
    "#]],
    )
    .await;
    check(
        "GET /api/v1/deployments/settled/events?follow=maybe",
        expect![[r#"
        400
        content-type: application/problem+json
        {
          "code": "invalid-parameter",
          "correlationId": "test",
          "detail": "follow is \"maybe\"; it must be true or false",
          "docs": "/errors/invalid-parameter",
          "instance": "/api/v1/deployments/settled/events",
          "parameter": "follow",
          "status": 400,
          "title": "A parameter is not valid",
          "type": "urn:nestor:error:invalid-parameter"
        }
    "#]],
    )
    .await;
    check(
        "GET /api/v1/deployments/settled/events\nlast-event-id: x",
        expect![[r#"
        400
        content-type: application/problem+json
        {
          "code": "invalid-parameter",
          "correlationId": "test",
          "detail": "Last-Event-ID is \"x\"; it must be the id of an event, a number",
          "docs": "/errors/invalid-parameter",
          "instance": "/api/v1/deployments/settled/events",
          "parameter": "Last-Event-ID",
          "status": 400,
          "title": "A parameter is not valid",
          "type": "urn:nestor:error:invalid-parameter"
        }
    "#]],
    )
    .await;
    check(
        "GET /api/v1/deployments/settled/events\naccept: application/json",
        expect![[r#"
        406
        content-type: application/problem+json
        {
          "code": "not-acceptable",
          "correlationId": "test",
          "detail": "this path answers text/event-stream; the Accept header allows none of it",
          "docs": "/errors/not-acceptable",
          "instance": "/api/v1/deployments/settled/events",
          "status": 406,
          "title": "No acceptable representation",
          "type": "urn:nestor:error:not-acceptable"
        }
    "#]],
    )
    .await;
    check(
        "GET /api/v1/deployments\naccept: text/html",
        expect![[r#"
        406
        content-type: application/problem+json
        {
          "code": "not-acceptable",
          "correlationId": "test",
          "detail": "this path answers application/json; the Accept header allows none of it",
          "docs": "/errors/not-acceptable",
          "instance": "/api/v1/deployments",
          "status": 406,
          "title": "No acceptable representation",
          "type": "urn:nestor:error:not-acceptable"
        }
    "#]],
    )
    .await;
    check(
        "GET /api/v1/catalog/definitions/aws-rds-mysq",
        expect![[r#"
        404
        content-type: application/problem+json
        {
          "code": "definition-not-found",
          "correlationId": "test",
          "detail": "the catalog has no definition aws-rds-mysq; did you mean \"aws-rds-mysql\"?",
          "docs": "/errors/definition-not-found",
          "instance": "/api/v1/catalog/definitions/aws-rds-mysq",
          "status": 404,
          "title": "The catalog has no such definition",
          "type": "urn:nestor:error:definition-not-found"
        }
    "#]],
    )
    .await;
    check(
        "GET /errors/nothing",
        expect![[r#"
        404
        content-type: application/problem+json
        {
          "code": "route-not-found",
          "correlationId": "test",
          "detail": "there is no page for that code",
          "docs": "/errors/route-not-found",
          "instance": "/errors/nothing",
          "status": 404,
          "title": "There is nothing at this path",
          "type": "urn:nestor:error:route-not-found"
        }
    "#]],
    )
    .await;
}
