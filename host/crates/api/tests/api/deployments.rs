//! Deployments, when all is well.

use expect_test::{Expect, expect};
use serde_json::json;

use crate::fake::Host;

const JSON: &str = "content-type: application/json";

async fn check(request: &str, expected: Expect) {
    expected.assert_eq(&Host::new().ask(request).await.shown());
}

#[tokio::test]
async fn accepted_with_a_place_to_look() {
    check(
        &format!("POST /api/v1/deployments\n{JSON}; charset=utf-8\n\n{{\"id\": \"web-app\"}}"),
        expect![[r#"
            202
            content-type: application/json
            location: /api/v1/deployments/web-app
            {
              "id": "web-app",
              "revision": 1,
              "status": "pending"
            }
        "#]],
    )
    .await;
    check(
        "DELETE /api/v1/deployments/web-app",
        expect![[r#"
        202
        content-type: application/json
        location: /api/v1/deployments/web-app
        {
          "id": "web-app",
          "revision": 1,
          "status": "pending"
        }
    "#]],
    )
    .await;
}

#[tokio::test]
async fn what_comes_along_is_passed_on() {
    let host = Host::new();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    host.ask(&format!(
        "POST /api/v1/deployments\n{JSON}\nidempotency-key: key-1\ntraceparent: {trace}\n\n{{\"id\": \"a\"}}"
    ))
    .await;
    let metas = host.service.metas.lock().unwrap();
    assert_eq!(metas[0].correlation_id, "test");
    assert_eq!(metas[0].idempotency_key.as_deref(), Some("key-1"));
    assert_eq!(metas[0].traceparent.as_deref(), Some(trace));
}

#[tokio::test]
async fn lists_with_filters() {
    let host = Host::new();
    let answer = host
        .ask("GET /api/v1/deployments?composer=a&environment=b&status=in_progress&label=tier=web,a=&limit=3&cursor=x")
        .await;
    assert_eq!(answer.json(), json!({"items": [], "next": "c"}));
    host.ask("GET /api/v1/deployments").await;
    expect![[r#"
        list ListFilter { composer: Some("a"), environment: Some("b"), status: Some(InProgress), labels: {"a": "", "tier": "web"} } Some("x") 3
        list ListFilter { composer: None, environment: None, status: None, labels: {} } None 50"#]].assert_eq(&host.service.asked.lock().unwrap().join("\n"));
}

#[tokio::test]
async fn actions_reach_the_orchestrator() {
    let host = Host::new();
    for request in [
        "POST /api/v1/deployments/a/retry".to_owned(),
        format!("POST /api/v1/deployments/a/cancel\n{JSON}\n\n{{}}"),
        // What `curl -X POST -d ''` sends.
        "POST /api/v1/deployments/a/rollback\ncontent-type: application/x-www-form-urlencoded"
            .to_owned(),
        format!("POST /api/v1/deployments/a/rollback\n{JSON}\n\n{{\"revision\": 3}}"),
        "DELETE /api/v1/deployments/a".to_owned(),
    ] {
        let answer = host.ask(&request).await;
        assert_eq!(answer.status, 202, "{request}: {}", answer.body);
        assert_eq!(answer.header("location"), "/api/v1/deployments/a");
    }
    let plan = host
        .ask(&format!(
            "POST /api/v1/deployments/a/plan\n{JSON}\n\n{{\"id\": \"a\"}}"
        ))
        .await;
    assert_eq!(plan.status, 200);
    for request in [
        "POST /api/v1/deployments/b/plan".to_owned(),
        format!("POST /api/v1/deployments/b/plan\n{JSON}"),
    ] {
        assert_eq!(host.ask(&request).await.status, 200, "{request}");
    }
    expect![[r#"
        retry a
        cancel a
        rollback a None
        rollback a Some(3)
        delete a
        plan a
        plan b again
        plan b
        plan b again
        plan b"#]]
    .assert_eq(&host.service.asked.lock().unwrap().join("\n"));
}

#[tokio::test]
async fn the_catalog_shows_what_a_team_needs_and_nothing_of_the_inside() {
    let host = Host::new();
    check(
        "GET /api/v1/catalog/definitions",
        expect![[r#"
        200
        content-type: application/json
        {
          "items": [
            {
              "catalogRef": "aws-rds-mysql:1.0.0",
              "description": "A database",
              "engines": [
                "terraform"
              ],
              "name": "aws-rds-mysql",
              "version": "1.0.0"
            }
          ]
        }
    "#]],
    )
    .await;
    let one = host
        .ask("GET /api/v1/catalog/definitions/aws-rds-mysql")
        .await;
    assert_eq!(one.status, 200);
    for inside in ["/somewhere", "module", "secret"] {
        assert!(!one.body.contains(inside), "{inside} in {}", one.body);
    }
}
