//! Approving, plans that are named, and parts of a deployment.

use nestor_orchestrator::service::Scope;

use crate::fake::Host;

const JSON: &str = "content-type: application/json";

async fn code(text: &str) -> (u16, String) {
    let answer = Host::new().ask(text).await;
    let code = answer.json()["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status.as_u16(), code)
}

#[tokio::test]
async fn an_approval_says_what_is_approved() {
    let host = Host::new();
    let answer = host
        .ask(&format!(
            "POST /api/v1/deployments/web/approve\n{JSON}\n\n{{\"revision\": 2, \"comment\": \"looks right\"}}"
        ))
        .await;
    assert_eq!(answer.status.as_u16(), 202);
    assert_eq!(answer.header("location"), "/api/v1/deployments/web");
    let answer = host.ask("POST /api/v1/deployments/web/approve").await;
    assert_eq!(answer.status.as_u16(), 202, "no body: whatever waits");
    assert_eq!(
        *host.service.asked.lock().unwrap(),
        [
            "approve web Approving { plan: None, revision: Some(2), comment: Some(\"looks right\") }",
            "approve web Approving { plan: None, revision: None, comment: None }",
        ]
    );
    let plan = host.ask("GET /api/v1/deployments/web/plan").await.json();
    assert!(plan["digest"].as_str().unwrap().starts_with("sha256:"));
}

#[tokio::test]
async fn an_approval_that_is_wrong_is_refused() {
    let approve = |body: &str| format!("POST /api/v1/deployments/web/approve\n{JSON}\n\n{body}");
    let long = format!("{{\"comment\": \"{}\"}}", "x".repeat(2_001));
    for body in [
        "{\"plan\": \"abc\"}",
        "{\"plan\": 5}",
        "{\"revision\": 0}",
        "{\"revision\": \"2\"}",
        "{\"comment\": 5}",
        "{\"comment\": \"a\\u0007\"}",
        "{\"plann\": \"abc\"}",
        &long,
        "[]",
    ] {
        let (status, code) = code(&approve(body)).await;
        assert_eq!((status, code.as_str()), (422, "invalid-request"), "{body}");
    }
    let other = format!("{{\"plan\": \"sha256:{}\"}}", "0".repeat(64));
    assert_eq!(code(&approve(&other)).await, (409, "plan-moved".into()));
    assert_eq!(
        code("POST /api/v1/deployments/missing/approve").await.0,
        404
    );
    assert_eq!(code("GET /api/v1/deployments/conflict/plan").await.0, 409);
}

#[tokio::test]
async fn a_part_of_a_deployment_is_named_in_the_query() {
    let host = Host::new();
    let post = |path: &str| format!("POST /api/v1/{path}\n{JSON}\n\n{{\"id\": \"web\"}}");
    for path in ["deployments", "plans", "deployments/web/plan"] {
        let two = post(&format!("{path}?target=b&target=a&target=b"));
        assert!(host.ask(&two).await.status.is_success(), "{path}");
        let affected = post(&format!("{path}?affected=true"));
        assert!(host.ask(&affected).await.status.is_success(), "{path}");
        let whole = post(&format!("{path}?affected=false"));
        assert!(host.ask(&whole).await.status.is_success(), "{path}");
        let metas = std::mem::take(&mut *host.service.metas.lock().unwrap());
        let scopes: Vec<Scope> = metas.into_iter().map(|meta| meta.scope).collect();
        let names = ["a", "b"].map(|name| name.parse().unwrap());
        let targets = Scope::Targets(names.into());
        assert_eq!(scopes, [targets, Scope::Affected, Scope::Whole], "{path}");
        for wrong in [
            "target=",
            "target=A",
            "affected=yes",
            "target=a&affected=true",
            "targets=a",
        ] {
            let answer = host.ask(&post(&format!("{path}?{wrong}"))).await;
            assert_eq!(answer.json()["code"], "invalid-parameter", "{path} {wrong}");
        }
    }
}

#[tokio::test]
async fn a_plan_is_named_by_its_digest() {
    let host = Host::new();
    let digest = format!("sha256:{}", "a".repeat(64));
    let post =
        |plan: &str| format!("POST /api/v1/deployments?plan={plan}\n{JSON}\n\n{{\"id\": \"web\"}}");
    assert_eq!(host.ask(&post(&digest)).await.status.as_u16(), 202);
    let meta = host.service.metas.lock().unwrap()[0].clone();
    assert_eq!(meta.plan.map(|plan| plan.to_string()), Some(digest));
    assert_eq!(host.ask(&post("abc")).await.status.as_u16(), 400);
}
