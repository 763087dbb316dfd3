use std::time::Duration;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::environment::Approval;
use crate::spec::{DeliveryMode, OnConflict, OnFailure, Policy, Queued};
use crate::violation::{MAX_VIOLATIONS, ViolationCode};

/// `pointer code: message`, a line each.
fn shown(violations: &[Violation]) -> String {
    let line = |v: &Violation| format!("{:?} {}: {}\n", v.pointer, v.code.as_str(), v.message);
    violations.iter().map(line).collect()
}

fn refused(body: impl AsRef<[u8]>, expected: Expect) {
    match parse(body.as_ref()) {
        Ok(spec) => panic!("accepted: {spec:?}"),
        Err(violations) => expected.assert_eq(&shown(&violations)),
    }
}

fn minimal() -> Value {
    json!({
        "id": "web-app",
        "composer": "team-a",
        "environment": "test",
        "resources": [{"name": "database", "catalogRef": "aws-rds-mysql:1.0.0", "config": {}}],
    })
}

/// The minimal deployment with a change.
fn with(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut body = minimal();
    change(&mut body);
    body.to_string().into_bytes()
}

#[test]
fn a_minimal_deployment_has_the_defaults() {
    let spec = parse(minimal().to_string().as_bytes()).unwrap();
    assert_eq!(spec.policy, Policy::default());
    assert_eq!((spec.priority, spec.ttl, spec.delivery), (0, None, None));
    assert!(spec.dependencies.is_empty() && spec.labels.is_empty());
}

#[test]
fn a_whole_deployment() {
    let spec = parse(
        br#"{
            "id": "web-app-v1", "composer": "team-a", "environment": "production",
            "resources": [
                {"name": "database", "catalogRef": "aws-rds-mysql:^1.0", "config": {"size": 5}, "engine": "terraform",
                 "policy": {"retries": 0}},
                {"name": "deployment", "catalogRef": "k8s-deployment:2.1.0", "engine": null}
            ],
            "dependencies": [{"from": "database", "to": "deployment"}],
            "priority": -5, "ttl": "2h", "labels": {"team/cost-centre": "42"}, "delivery": "gitops",
            "policy": {"onFailure": "halt", "retries": 2, "timeout": "1h30m"}
        }"#,
    )
    .unwrap();
    assert_eq!(spec.priority, -5);
    assert_eq!(spec.ttl, Some(Duration::from_secs(7200)));
    assert_eq!(spec.labels["team/cost-centre"], "42");
    assert_eq!(spec.delivery, Some(DeliveryMode::Gitops));
    let halt = Policy {
        on_failure: OnFailure::Halt,
        retries: 2,
        timeout: Duration::from_secs(5400),
    };
    assert_eq!(spec.policy, halt);
    // What a resource's policy does not say is the deployment's.
    assert_eq!(
        spec.resources[0].policy,
        Some(Policy { retries: 0, ..halt })
    );
    assert_eq!(
        spec.resources[0].engine.as_ref().map(|e| e.as_str()),
        Some("terraform")
    );
    assert_eq!(spec.resources[1].config, json!({}));
}

#[test]
fn what_is_not_json_is_told_with_its_place() {
    refused(
        "",
        expect![[r#"
        "" malformed-json: the request has no body; send a deployment as a JSON object
    "#]],
    );
    refused(
        " \n",
        expect![[r#"
        "" malformed-json: the request has no body; send a deployment as a JSON object
    "#]],
    );
    refused(
        "{\"id\": \"a\",\n \"composer\": }",
        expect![[r#"
        "/composer" malformed-json: not JSON: line 2, column 14: expected value
    "#]],
    );
    refused(
        "{\"resources\": [{\"name\": \"a\"",
        expect![[r#"
        "/resources/0" malformed-json: not JSON: line 1, column 27: EOF while parsing an object
    "#]],
    );
    refused(
        "{} {}",
        expect![[r#"
        "" malformed-json: not JSON: line 1, column 4: trailing characters
    "#]],
    );
    refused(
        b"{\"id\": \"\xff\"}",
        expect![[r#"
        "/id" malformed-json: not JSON: line 1, column 9: invalid unicode code point
    "#]],
    );
    refused(
        "{\"id\": \"a\u{1}\"}",
        expect![[r#"
        "/id" malformed-json: not JSON: line 1, column 10: control character (\u0000-\u001F) found while parsing a string
    "#]],
    );
    refused(
        "{\"priority\": 1e999}",
        expect![[r#"
        "/priority" malformed-json: not JSON: line 1, column 18: number out of range
    "#]],
    );
    refused(
        "{'id': 1}",
        expect![[r#"
        "" malformed-json: not JSON: line 1, column 2: key must be a string
    "#]],
    );
    refused(
        "[1, 2]",
        expect![[r#"
        "" wrong-type: must be an object: a deployment, not an array
    "#]],
    );
    refused(
        "null",
        expect![[r#"
        "" wrong-type: must be an object: a deployment, not null
    "#]],
    );
}

#[test]
fn every_violation_is_told_at_once() {
    refused(
        br#"{
            "id": "Web/App", "composer": "team-a", "environment": 5, "strategy": "canary",
            "priority": 1.5, "ttl": "1 hour", "delivery": "git", "labels": {"ok": "yes", "n": 1, "bad key": "x"},
            "policy": {"onFailure": "rolback", "retries": 99, "timeout": 30, "retry": 1},
            "resources": [
                {"name": "database", "catalogRef": "aws-rds-mysql", "config": [], "engine": "Terraform"},
                {"name": "database", "catalogRef": "aws-rds-mysql:one", "size": 5},
                {"catalogRef": "x:1.0.0"},
                "deployment"
            ],
            "dependencies": [{"from": "database"}, {"form": "database", "to": "deployment"}, {"from": "a b", "to": 1}]
        }"#,
        expect![[r#"
            "/id" invalid-name: deployment id "Web/App" contains 'W'; only lower-case letters, digits and '-' are allowed
            "/environment" wrong-type: must be a string, not a number (5)
            "/priority" wrong-type: must be a whole number, not a number (1.5)
            "/strategy" wrong-type: must be an object: a strategy, not a string ("canary")
            "/policy/retry" unknown-field: there is no field "retry" in a policy; known are onFailure, retries, timeout
            "/policy/onFailure" invalid-value: is "rolback"; it must be one of rollback, halt, continue; did you mean "rollback"?
            "/policy/retries" invalid-value: is 99; it must be 0 to 20
            "/policy/timeout" wrong-type: must be a string such as "90s", "5m" or "1h30m", not a number (30)
            "/ttl" invalid-value: "1 hour" is not a duration; write it as 90s, 5m or 1h30m (units ms, s, m, h, d)
            "/labels/bad key" invalid-name: "bad key" is not the key of a label: 1 to 63 ASCII letters, digits, '.', '_', '-' and '/'
            "/labels/n" wrong-type: must be a string, not a number (1)
            "/delivery" invalid-value: is "git"; it must be one of direct, gitops; did you mean "gitops"?
            "/resources/0/catalogRef" invalid-catalog-ref: "aws-rds-mysql" is not 'name:version', such as 'aws-rds-mysql:1.0.0' or 'aws-rds-mysql:^1.2'
            "/resources/0/config" wrong-type: must be an object, not an array
            "/resources/0/engine" invalid-name: engine "Terraform" contains 'T'; only lower-case letters, digits and '-' are allowed
            "/resources/1/size" unknown-field: there is no field "size" in a resource; known are name, catalogRef, config, engine, policy
            "/resources/1/name" duplicate-resource: "database" is the name of /resources/0 too; each name must be unique
            "/resources/1/catalogRef" invalid-catalog-ref: version "one" is neither a version (1.0.0) nor a range (^1.2, ~1.2.3, 1.x): unexpected character 'o' while parsing major version number
            "/resources/2" missing-field: the field "name" is missing: unique within the deployment, such as "database"
            "/resources/3" wrong-type: must be an object: a resource, not a string ("deployment")
            "/dependencies/0" missing-field: the field "to" is missing: the resource that depends on it
            "/dependencies/1/form" unknown-field: there is no field "form" in a dependency; did you mean "from"?
            "/dependencies/1" missing-field: the field "from" is missing: the resource that goes first
            "/dependencies/2/from" invalid-name: resource name "a b" contains ' '; only lower-case letters, digits and '-' are allowed
            "/dependencies/2/to" wrong-type: must be a string, not a number (1)
        "#]],
    );
    refused(
        "{}",
        expect![[r#"
        "" missing-field: the field "id" is missing: the deployment's name, such as "web-app-v1"
        "" missing-field: the field "composer" is missing: the team that asks, such as "frontend-team"
        "" missing-field: the field "environment" is missing: where to, such as "production"
        "" missing-field: the field "resources" is missing: a list of at least one resource
    "#]],
    );
}

#[test]
fn a_strategy() {
    let of = |strategy: Value| parse(&with(|body| body["strategy"] = strategy));
    let (none, whole) = (
        of(json!({})).unwrap().strategy,
        of(json!({"onConflict": "adopt", "approval": "required", "queued": "latest"})),
    );
    assert_eq!(none, crate::spec::Strategy::default());
    assert_eq!(
        of(Value::Null).unwrap().strategy,
        crate::spec::Strategy::default()
    );
    let expected = crate::spec::Strategy {
        on_conflict: OnConflict::Adopt,
        approval: Approval::Required,
        queued: Queued::Latest,
    };
    assert_eq!(whole.unwrap().strategy, expected);
    refused(
        with(|body| {
            body["strategy"] =
                json!({"onConflict": "adpt", "approval": true, "queued": "last", "queue": 1})
        }),
        expect![[r#"
            "/strategy/queue" unknown-field: there is no field "queue" in a strategy; did you mean "queued"?
            "/strategy/onConflict" invalid-value: is "adpt"; it must be one of fail, queue, adopt; did you mean "adopt"?
            "/strategy/approval" wrong-type: must be a string, not a boolean (true)
            "/strategy/queued" invalid-value: is "last"; it must be one of each, latest; did you mean "latest"?
        "#]],
    );
}

#[test]
fn names_that_name_nothing_are_told_with_the_rest() {
    refused(
        br#"{
            "id": "web-app", "composer": "team-a", "environment": "test", "colour": "red",
            "resources": [
                {"name": "database", "catalogRef": "mysql:1.0.0"},
                {"name": "deployment", "catalogRef": "web:1.0.0", "config": {
                    "host": "${resources.databse.outputs.endpoint}", "url": "http://${resources.database.endpoint}/",
                    "${environment}": 1, "list": [{"a/b": "${nope}"}]}}
            ],
            "dependencies": [{"from": "databse", "to": "deployment"}, {"from": "queue", "to": "deployment"}]
        }"#,
        expect![[r#"
            "/colour" unknown-field: there is no field "colour" in a deployment; known are id, composer, environment, resources, dependencies, priority, strategy, policy, ttl, labels, delivery
            "/dependencies/0/from" unknown-dependency: there is no resource "databse" in this deployment; did you mean "database"?
            "/dependencies/1/from" unknown-dependency: there is no resource "queue" in this deployment; there are: database, deployment
            "/resources/1/config/${environment}" invalid-reference: a reference stands in a key, where it would stay as it is; references are replaced in values only
            "/resources/1/config/host" unknown-resource: ${resources.databse.outputs.endpoint}: there is no resource "databse" in this deployment; did you mean "database"?
            "/resources/1/config/list/0/a~1b" invalid-reference: "nope" is not a reference: known are ${resources.<name>.outputs.<output>}, ${environment}, ${deployment.id}, ${deployment.composer} and ${deployment.revision}; write $${ for a literal ${ (at character 1)
            "/resources/1/config/url" invalid-reference: "resources.database.endpoint" is not complete: write ${resources.<name>.outputs.<output>} (at character 8)
        "#]],
    );
}

#[test]
fn repeated_keys_are_refused() {
    refused(
        r#"{"id": "a", "id": "b", "composer": "c", "environment": "e",
            "resources": [{"name": "r", "catalogRef": "d:1.0.0", "config": {"x": {"y": 1, "y": {"z": []}}}}]}"#,
        expect![[r#"
            "/id" invalid-value: the key "id" stands here twice; keep one
            "/resources/0/config/x/y" invalid-value: the key "y" stands here twice; keep one
        "#]],
    );
}

#[test]
fn ids_are_labels() {
    for (id, why) in [
        ("../etc", "contains '.'"),
        ("a/b", "contains '/'"),
        ("a\\b", "contains '\\\\'"),
        ("а", "contains 'а'"),
        ("web\u{202e}app", "contains '\\u{202e}'"),
        ("web\u{200b}app", "contains '\\u{200b}'"),
        ("ＷＥＢ", "contains 'Ｗ'"),
        ("web\u{0}", "contains '\\0'"),
        ("-web", "starts or ends with '-'"),
        ("", "is empty"),
        (&"a".repeat(129), "has 129 bytes; at most 128"),
    ] {
        let violations = parse(&with(|body| body["id"] = id.into())).unwrap_err();
        assert_eq!(violations.len(), 1, "{id:?}");
        assert_eq!(
            (violations[0].pointer.as_str(), violations[0].code),
            ("/id", ViolationCode::InvalidName)
        );
        assert!(
            violations[0].message.contains(why),
            "{id:?}: {}",
            violations[0].message
        );
    }
}

#[test]
fn limits_are_told() {
    refused(
        vec![b' '; MAX_BODY_BYTES + 1],
        expect![[r#"
        "" limit-exceeded: the request has 8388609 bytes; at most 8388608 (8 MiB) are allowed: split the deployment, or move large texts into the catalog's definition
    "#]],
    );
    refused(
        vec![b'x'; 10 << 20],
        expect![[r#"
        "" limit-exceeded: the request has 10485760 bytes; at most 8388608 (8 MiB) are allowed: split the deployment, or move large texts into the catalog's definition
    "#]],
    );
    let many = |n: usize| {
        let resource = |i| json!({"name": format!("r{i}"), "catalogRef": "d:1.0.0"});
        with(|body| body["resources"] = (0..n).map(resource).collect())
    };
    assert_eq!(
        parse(&many(MAX_RESOURCES)).unwrap().resources.len(),
        MAX_RESOURCES
    );
    refused(
        many(MAX_RESOURCES + 1),
        expect![[r#"
        "/resources" limit-exceeded: there are 10001 resources; at most 10000 are allowed: split the deployment
    "#]],
    );
    refused(
        many(100_000),
        expect![[r#"
        "/resources" limit-exceeded: there are 100000 resources; at most 10000 are allowed: split the deployment
    "#]],
    );
    refused(
        with(|body| {
            body["dependencies"] =
                vec![json!({"from": "database", "to": "database"}); MAX_DEPENDENCIES + 1].into()
        }),
        expect![[r#"
            "/dependencies" limit-exceeded: there are 50001 dependencies; at most 50000 are allowed: split the deployment
        "#]],
    );
    refused(
        with(|body| body["resources"][0]["config"]["x"] = vec![0; MAX_VALUES].into()),
        expect![[r#"
            "" limit-exceeded: the request holds more than 250000 values; split the deployment
        "#]],
    );
    refused(
        with(|body| body["resources"] = json!([])),
        expect![[r#"
        "/resources" invalid-value: is empty; a deployment has at least one resource (to take one away, DELETE it)
    "#]],
    );
    let labels = |n: usize| {
        (0..n)
            .map(|i| (format!("l{i}"), "x".into()))
            .collect::<serde_json::Map<_, _>>()
    };
    refused(
        with(|body| body["labels"] = labels(MAX_LABELS + 1).into()),
        expect![[r#"
            "/labels" limit-exceeded: there are 65 labels; at most 64 are allowed
        "#]],
    );
}

#[test]
fn depth_is_bounded_before_it_hurts() {
    let nested = |depth: usize| {
        let value = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        String::from_utf8(with(|body| {
            body["resources"][0]["config"]["x"] = "HERE".into()
        }))
        .unwrap()
        .replace("\"HERE\"", &value)
    };
    assert!(parse(nested(MAX_CONFIG_DEPTH - 1).as_bytes()).is_ok());
    let violations = parse(nested(MAX_CONFIG_DEPTH).as_bytes()).unwrap_err();
    assert_eq!(violations[0].code, ViolationCode::LimitExceeded);
    for depth in [127, 128, 1000, 4_000_000] {
        let violations = parse(nested(depth).as_bytes()).unwrap_err();
        assert_eq!(violations.len(), 1);
        assert!(
            violations[0].message.len() < 300 && violations[0].pointer.len() < 300,
            "{violations:?}"
        );
    }
    refused(
        "[".repeat(1000),
        expect![[r#"
        "/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0" limit-exceeded: objects and lists stand within each other more than 64 deep; make the config flatter
    "#]],
    );
}

#[test]
fn a_hostile_request_makes_the_host_say_little() {
    let bad =
        json!({"name": "X".repeat(1000), "catalogRef": "y".repeat(1000), "k".repeat(1000): 1});
    let violations = parse(&with(|body| body["resources"] = vec![bad; 1000].into())).unwrap_err();
    assert_eq!(violations.len(), MAX_VIOLATIONS);
    assert!(
        violations
            .iter()
            .all(|v| v.message.len() < 600 && v.pointer.len() < 300),
        "{:?}",
        violations[0]
    );
}

/// JSON of the right shape with something wrong in it, most of the time.
fn almost() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z]{1,8}".prop_map(Value::from),
        "[a-z]{1,8}:[0-9]\\.[0-9]\\.[0-9]".prop_map(Value::from),
        "\\$\\{[a-z.]{0,20}\\}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "id",
            "composer",
            "environment",
            "resources",
            "dependencies",
            "name",
            "catalogRef",
            "config",
            "engine",
            "from",
            "to",
            "policy",
            "retries",
            "timeout",
            "labels",
            "ttl",
            "priority",
            "delivery",
            "strategy",
            "onConflict",
            "approval",
            "queued",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&body);
    }

    #[test]
    fn no_document_panics_and_every_refusal_says_why(top in almost(), body in almost()) {
        let _ = parse(top.to_string().as_bytes());
        let mut deployment = minimal();
        if let (Some(deployment), Value::Object(body)) = (deployment.as_object_mut(), body) {
            deployment.extend(body);
        }
        match parse(deployment.to_string().as_bytes()) {
            Ok(spec) => {
                let stored = serde_json::to_value(&spec).unwrap();
                prop_assert_eq!(serde_json::from_value::<DeploymentSpec>(stored).unwrap(), spec);
            }
            Err(violations) => {
                prop_assert!(!violations.is_empty() && violations.len() <= MAX_VIOLATIONS);
                for violation in violations {
                    prop_assert!(violation.pointer.is_empty() || violation.pointer.starts_with('/'));
                    prop_assert!(!violation.message.is_empty());
                }
            }
        }
    }

    /// A pointer leads to what it is about, or to what should be there.
    #[test]
    fn pointers_lead_somewhere(body in almost()) {
        let mut deployment = minimal();
        if let (Some(deployment), Value::Object(body)) = (deployment.as_object_mut(), body) {
            deployment.extend(body);
        }
        for violation in parse(deployment.to_string().as_bytes()).err().into_iter().flatten() {
            prop_assert!(deployment.pointer(&violation.pointer).is_some(), "{:?} in {}", violation, deployment);
        }
    }
}
