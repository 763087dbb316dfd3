use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::definition::{Definition, JsonType, OutputDeclaration};
use crate::engine::Features;
use crate::ids::{Digest, EngineId};
use crate::ports::{CatalogError, EngineHead, EngineStatus};
use crate::spec::{CatalogRef, DeliveryMode, DeploymentSpec, parse};
use crate::violation::{MAX_VIOLATIONS, Violation};

fn definition(reference: &str, engines: &[&str], schema: Value, outputs: Value) -> Definition {
    let (name, version) = reference.split_once(':').unwrap();
    let outputs: BTreeMap<String, OutputDeclaration> = serde_json::from_value(outputs).unwrap();
    Definition {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        description: String::new(),
        engines: engines
            .iter()
            .map(|id| (id.parse().unwrap(), Arc::new(json!({"for": id}))))
            .collect(),
        config_schema: Arc::new(schema),
        outputs: outputs
            .into_iter()
            .map(|(name, o)| (name.parse().unwrap(), o))
            .collect(),
        delivery: None,
        relations: Default::default(),
        folder: None,
        digest: Digest::of(reference.as_bytes()),
    }
}

fn catalog() -> Vec<Definition> {
    vec![
        definition(
            "mysql:1.0.0",
            &["terraform", "crossplane"],
            json!({
                "type": "object",
                "required": ["size"],
                "additionalProperties": false,
                "properties": {
                    "size": {"type": "integer", "minimum": 5, "description": "Storage in GiB"},
                    "zone": {"type": "string", "pattern": "^[a-c]$"},
                    "class": {"enum": ["small", "large"]},
                    "tags": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            }),
            json!({
                "endpoint": {"type": "string"},
                "port": {"type": "integer"},
                "ready": {"type": "boolean"},
                "load": {"type": "number"},
                "hosts": {"type": "array"},
                "password": {"type": "string", "sensitive": true},
            }),
        ),
        definition(
            "web:2.1.0",
            &["helm"],
            json!({
                "type": "object",
                "$defs": {"port": {"type": "integer", "minimum": 1, "maximum": 65535}},
                "additionalProperties": false,
                "properties": {
                    "host": {"type": "string", "minLength": 3, "format": "hostname"},
                    "port": {"$ref": "#/$defs/port"},
                    "ports": {"type": "array", "uniqueItems": true, "items": {"allOf": [{"$ref": "#/$defs/port"}]}},
                    "stage": {"enum": ["test", "production", 3]},
                    "flags": {"type": "object", "additionalProperties": {"type": "boolean"}},
                    "target": {"anyOf": [
                        {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}, "additionalProperties": false},
                        {"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"}}, "additionalProperties": false},
                    ]},
                    "any": {},
                    "number": {"type": "number"},
                    "nullable": {"type": ["string", "null"]},
                },
                "if": {"properties": {"stage": {"const": "production"}}, "required": ["stage"]},
                "then": {"required": ["host"]},
            }),
            json!({"url": {"type": "string"}}),
        ),
        definition(
            "bare:1.0.0",
            &["pulumi"],
            json!({"type": "object"}),
            json!({}),
        ),
    ]
}

fn head(id: &str, render: bool, status: EngineStatus) -> (EngineId, EngineHead) {
    let id: EngineId = id.parse().unwrap();
    let features = Features {
        render,
        ..Features::default()
    };
    (
        id.clone(),
        EngineHead {
            id,
            digest: Digest::of(b"x"),
            version: "1.0.0".into(),
            features,
            status,
            concurrency: 1_000,
        },
    )
}

fn engines() -> BTreeMap<EngineId, EngineHead> {
    let ready = EngineStatus::Ready;
    BTreeMap::from([
        head("terraform", false, ready.clone()),
        head("helm", true, ready.clone()),
        head("noop", false, ready),
    ])
}

fn spec(resources: Value, dependencies: Value) -> DeploymentSpec {
    let body = json!({
        "id": "web-app", "composer": "team-a", "environment": "test",
        "resources": resources, "dependencies": dependencies,
    });
    parse(body.to_string().as_bytes()).unwrap()
}

fn look_up(spec: &DeploymentSpec) -> Definitions {
    let mut definitions = Definitions::new();
    for reference in catalog_refs(spec) {
        let fits =
            |d: &Definition| d.name == reference.name && reference.version.matches(&d.version);
        let answer = match catalog().into_iter().find(fits) {
            Some(definition) => Ok(Arc::new(definition)),
            None if reference.name.as_str() == "gone" => {
                Err(CatalogError::Unavailable("/secret/path".into()))
            }
            None if reference.name.as_str() == "broken" => Err(CatalogError::Broken(
                "broken/definition.yaml:3: x: is not a key".into(),
            )),
            None if catalog().iter().any(|d| d.name == reference.name) => {
                Err(CatalogError::NoMatchingVersion {
                    reference: reference.clone(),
                    available: vec!["1.0.0".into()],
                })
            }
            None => Err(CatalogError::UnknownName {
                name: reference.name.clone(),
                similar: "mysql".parse().ok(),
            }),
        };
        definitions.insert(&reference, answer);
    }
    definitions
}

fn planned(resources: Value, dependencies: Value) -> Result<ExecutionPlan, Vec<Violation>> {
    let spec = spec(resources, dependencies);
    plan(&spec, &look_up(&spec), &engines())
}

fn refused(resources: Value, dependencies: Value, expected: Expect) {
    match planned(resources, dependencies) {
        Ok(plan) => panic!("accepted: {plan:?}"),
        Err(violations) => {
            let line =
                |v: &Violation| format!("{:?} {}: {}\n", v.pointer, v.code.as_str(), v.message);
            expected.assert_eq(&violations.iter().map(line).collect::<String>());
        }
    }
}

fn database() -> Value {
    json!({"name": "database", "catalogRef": "mysql:^1.0", "config": {"size": 5}})
}

/// A consumer of the database with one config.
fn with_web(config: Value) -> Value {
    json!([database(), {"name": "web", "catalogRef": "web:2.1.0", "config": config}])
}

#[test]
fn a_plan_is_in_order_with_every_reason_for_it() {
    let plan = planned(
        json!([
            {"name": "web", "catalogRef": "web:2.1.0",
             "config": {"host": "${resources.database.outputs.endpoint}", "port": "${resources.database.outputs.port}"}},
            {"name": "edge", "catalogRef": "web:^2", "config": {"host": "${resources.web.outputs.url}"},
             "policy": {"retries": 0}},
            database(),
        ]),
        json!([{"from": "database", "to": "web"}, {"from": "database", "to": "edge"}, {"from": "database", "to": "edge"}]),
    )
    .unwrap();
    let names: Vec<&str> = plan.resources.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["database", "web", "edge"]);
    let edges: Vec<_> = plan
        .edges
        .iter()
        .map(|e| (e.from, e.to, e.explicit, e.reference))
        .collect();
    assert_eq!(
        edges,
        [(0, 1, true, true), (0, 2, true, false), (1, 2, false, true)]
    );
    assert_eq!(plan.resources[2].depends_on, [0, 1]);
    assert_eq!(plan.resources[2].policy.retries, 0);
    assert_eq!(plan.resources[0].catalog_ref, "mysql:1.0.0");
    assert_eq!(plan.resources[0].engine.as_str(), "terraform");
    assert_eq!(*plan.resources[0].section, json!({"for": "terraform"}));
    assert_eq!(plan.resources[0].delivery, DeliveryMode::Direct);
    assert_eq!(plan.resources[1].delivery, DeliveryMode::Gitops);
    assert_eq!(plan.warnings, Vec::<String>::new());
    let stored = serde_json::to_vec(&plan).unwrap();
    assert_eq!(
        serde_json::from_slice::<ExecutionPlan>(&stored).unwrap(),
        plan
    );
    assert_eq!(plan.graph().descendants(0), [1, 2]);
}

#[test]
fn what_does_not_exist_is_told_with_what_does() {
    refused(
        json!([
            {"name": "a", "catalogRef": "mysqll:1.0.0"},
            {"name": "b", "catalogRef": "mysql:^2.0"},
            {"name": "c", "catalogRef": "broken:1.0.0"},
            {"name": "d", "catalogRef": "gone:1.0.0"},
            {"name": "e", "catalogRef": "mysql:1.0.0", "config": {"size": 5}, "engine": "terrafrom"},
            {"name": "f", "catalogRef": "mysql:1.0.0", "config": {"size": 5}, "engine": "helm"},
            {"name": "g", "catalogRef": "mysql:1.0.0", "config": {"size": 5}, "engine": "crossplane"},
            {"name": "h", "catalogRef": "bare:1.0.0"},
        ]),
        json!([]),
        expect![[r#"
            "/resources/0/catalogRef" unknown-catalog-ref: the catalog has no definition named mysqll; did you mean mysql?
            "/resources/1/catalogRef" unknown-catalog-ref: no version of mysql matches mysql:^2.0; there are: 1.0.0
            "/resources/2/catalogRef" unknown-catalog-ref: the definition is broken; its author must mend it: broken/definition.yaml:3: x: is not a key
            "/resources/3/catalogRef" unknown-catalog-ref: the catalog cannot be read at the moment; try again
            "/resources/4/engine" unknown-engine: there is no engine "terrafrom"; did you mean "terraform"? (loaded: helm, noop, terraform)
            "/resources/5/engine" engine-not-allowed: mysql:1.0.0 cannot be run by engine "helm"; it can be run by: terraform, crossplane
            "/resources/6/engine" unknown-engine: engine "crossplane" is not loaded, although mysql:1.0.0 allows it (loaded: helm, noop, terraform)
            "/resources/7/catalogRef" unknown-engine: bare:1.0.0 is run by pulumi, and no such engine is loaded (loaded: helm, noop, terraform); load it, or use another definition
        "#]],
    );
}

#[test]
fn dangling_dependencies_and_references() {
    refused(
        json!([
            database(),
            {"name": "web", "catalogRef": "web:2.1.0", "config": {
                "host": "${resources.databse.outputs.endpoint}",
                "any": ["${resources.database.outputs.endpont}", {"x": "${resources.database.outputs.url}"},
                        "${resources.database.outputs.port.x}", "a ${resources.database.outputs.hosts} b"],
            }},
            {"name": "bare", "catalogRef": "bare:1.0.0", "config": {"x": "${resources.bare.outputs.y}"}},
        ]),
        json!([{"from": "queue", "to": "web"}, {"from": "database", "to": "we"}]),
        expect![[r#"
            "/resources/1/config/host" unknown-resource: ${resources.databse.outputs.endpoint}: there is no resource "databse" in this deployment; did you mean "database"?
            "/resources/1/config/any/0" unknown-output: ${resources.database.outputs.endpont}: mysql:1.0.0 of resource "database" declares no output "endpont"; did you mean "endpoint"?
            "/resources/1/config/any/1/x" unknown-output: ${resources.database.outputs.url}: mysql:1.0.0 of resource "database" declares no output "url"; it declares endpoint, hosts, load, password, port, ready
            "/resources/1/config/any/2" reference-type: ${resources.database.outputs.port.x}: output "port" is an integer, so nothing can stand behind it
            "/resources/1/config/any/3" reference-type: ${resources.database.outputs.hosts} is an array, which cannot stand within a longer text; make it the whole value
            "/resources/2/catalogRef" unknown-engine: bare:1.0.0 is run by pulumi, and no such engine is loaded (loaded: helm, noop, terraform); load it, or use another definition
            "/resources/2/config/x" dependency-cycle: a resource depends on itself: bare → bare; remove one of the references that make it
            "/dependencies/0/from" unknown-dependency: there is no resource "queue" in this deployment; there are: database, web, bare
            "/dependencies/1/to" unknown-dependency: there is no resource "we" in this deployment; did you mean "web"?
        "#]],
    );
}

#[test]
fn cycles_are_shown_as_their_path() {
    let web = |name: &str, other: &str| json!({"name": name, "catalogRef": "web:2.1.0", "config": {"any": format!("${{resources.{other}.outputs.url}}")}});
    refused(
        json!([web("a", "b"), web("b", "c"), {"name": "c", "catalogRef": "web:2.1.0"}, web("d", "d"), database()]),
        json!([{"from": "database", "to": "c"}, {"from": "a", "to": "c"}, {"from": "database", "to": "database"}, {"from": "b", "to": "b"}]),
        expect![[r#"
            "/resources/3/config/any" dependency-cycle: a resource depends on itself: d → d; remove one of the references that make it
            "/dependencies/1" dependency-cycle: the dependencies form a cycle: a → c → b → a; remove one of these dependencies
            "/dependencies/2" dependency-cycle: a resource depends on itself: database → database; remove one of these dependencies
            "/dependencies/3" dependency-cycle: a resource depends on itself: b → b; remove one of these dependencies
        "#]],
    );
}

#[test]
fn configs_are_checked_with_pointers() {
    refused(
        json!([
            {"name": "a", "catalogRef": "mysql:1.0.0", "config": {"siez": 5}},
            {"name": "b", "catalogRef": "mysql:1.0.0", "config": {"size": 4, "zone": "z", "class": "huge", "colour": "red"}},
            {"name": "c", "catalogRef": "mysql:1.0.0", "config": {"size": "5", "tags": {"a/b": 1}}},
            {"name": "d", "catalogRef": "web:2.1.0", "config": {
                "port": 0, "ports": [1, 1], "target": {"url": 1}, "nullable": 5, "stage": "production"}},
        ]),
        json!([]),
        expect![[r#"
            "/resources/0/config" config-schema: the field "size" is missing: Storage in GiB
            "/resources/0/config/siez" config-schema: there is no field "siez" here; did you mean "size"?
            "/resources/1/config/class" config-schema: is "huge"; it must be one of "small", "large"
            "/resources/1/config/colour" config-schema: there is no field "colour" here; known are class, size, tags, zone
            "/resources/1/config/size" config-schema: is 4; it must be at least 5
            "/resources/1/config/zone" config-schema: is "z"; it must match the pattern ^[a-c]$
            "/resources/2/config/size" config-schema: must be an integer, not "5"
            "/resources/2/config/tags/a~1b" config-schema: must be a string, not 1
            "/resources/3/config" config-schema: the field "host" is missing
            "/resources/3/config/nullable" config-schema: must be null or a string, not 5
            "/resources/3/config/port" config-schema: is 0; it must be at least 1
            "/resources/3/config/ports" config-schema: [1,1] has non-unique elements
            "/resources/3/config/target/url" config-schema: must be a string, not 1
        "#]],
    );
}

#[test]
fn types_of_references_are_checked_where_they_stand() {
    let reference = |output: &str| format!("${{resources.database.outputs.{output}}}");
    for config in [
        json!({"host": reference("endpoint"), "port": reference("port"), "stage": "${environment}"}),
        // What depends on the value is left to the value.
        json!({"ports": [reference("port"), reference("port")], "number": reference("load"), "nullable": reference("endpoint")}),
        json!({"number": reference("port"), "any": reference("hosts"), "flags": {"x": reference("ready")}}),
        json!({"target": {"port": reference("port")}}),
        json!({"target": {"url": reference("password")}}),
        json!({"host": "${resources.database.outputs.port}.example", "any": reference("hosts.0.name")}),
        json!({"port": reference("hosts.0"), "stage": "${deployment.revision}"}),
    ] {
        if let Err(violations) = planned(with_web(config.clone()), json!([])) {
            panic!("{config}: {violations:?}");
        }
    }
    refused(
        with_web(json!({
            "host": reference("port"), "port": reference("endpoint"), "ports": [1, reference("load"), "x${environment}"],
            "stage": reference("ready"), "flags": {"on": reference("endpoint")}, "target": {"port": reference("endpoint")},
            "number": reference("hosts"), "nullable": reference("ready"), "prot": reference("port"),
        })),
        json!([]),
        expect![[r#"
            "/resources/1/config/flags/on" reference-type: ${resources.database.outputs.endpoint} is a string, and the config's schema wants a boolean here
            "/resources/1/config/host" reference-type: ${resources.database.outputs.port} is an integer, and the config's schema wants a string here
            "/resources/1/config/nullable" reference-type: ${resources.database.outputs.ready} is a boolean, and the config's schema wants null or a string here
            "/resources/1/config/number" reference-type: ${resources.database.outputs.hosts} is an array, and the config's schema wants a number here
            "/resources/1/config/port" reference-type: ${resources.database.outputs.endpoint} is a string, and the config's schema wants an integer here
            "/resources/1/config/ports/1" reference-type: ${resources.database.outputs.load} is a number, and the config's schema wants an integer here
            "/resources/1/config/ports/2" reference-type: a text with references is a string, and the config's schema wants an integer here
            "/resources/1/config/prot" config-schema: there is no field "prot" here; did you mean "port"?
            "/resources/1/config/stage" reference-type: ${resources.database.outputs.ready} is a boolean, and the config's schema wants another type here
            "/resources/1/config/target/port" reference-type: ${resources.database.outputs.endpoint} is a string, and the config's schema wants an integer here
        "#]],
    );
}

#[test]
fn delivery_follows_the_deployment_then_the_definition_then_the_engine() {
    let mut definition = catalog().remove(1);
    let engine: EngineId = "helm".parse().unwrap();
    let deliver = |asked, definition: &Definition, status, render| {
        let (_, head) = head("helm", render, status);
        let (mode, warning) = select::deliver(asked, definition, &engine, Some(&head));
        (mode, warning.is_some())
    };
    let (direct, gitops) = (DeliveryMode::Direct, DeliveryMode::Gitops);
    let ready = || EngineStatus::Ready;
    assert_eq!(deliver(None, &definition, ready(), true), (gitops, false));
    assert_eq!(deliver(None, &definition, ready(), false), (direct, false));
    // Helm renders, also while it cannot say so yet.
    assert_eq!(
        deliver(None, &definition, EngineStatus::Preparing, false),
        (gitops, false)
    );
    assert_eq!(
        deliver(Some(direct), &definition, ready(), true),
        (direct, false)
    );
    assert_eq!(
        deliver(Some(gitops), &definition, ready(), false),
        (direct, true)
    );
    definition.delivery = Some(direct);
    assert_eq!(deliver(None, &definition, ready(), true), (direct, false));
    assert_eq!(
        deliver(Some(gitops), &definition, ready(), true),
        (gitops, false)
    );
}

#[test]
fn gitops_from_an_engine_that_cannot_is_a_warning() {
    let mut spec = spec(json!([database()]), json!([]));
    spec.delivery = Some(DeliveryMode::Gitops);
    let plan = plan(&spec, &look_up(&spec), &engines()).unwrap();
    expect!["database: engine terraform renders no manifests, so it is applied directly instead of by GitOps"].assert_eq(&plan.warnings.join("\n"));
}

#[test]
fn an_engine_that_could_not_be_loaded_is_passed_over_or_told() {
    let spec = spec(json!([database()]), json!([]));
    let mut engines = engines();
    engines.extend([head(
        "terraform",
        false,
        EngineStatus::Failed("not a component".into()),
    )]);
    let violations = plan(&spec, &look_up(&spec), &engines).unwrap_err();
    expect![[
        r#"engine "terraform" could not be loaded, so nothing can be run by it: not a component"#
    ]]
    .assert_eq(&violations[0].message);
    engines.extend([head("crossplane", true, EngineStatus::Preparing)]);
    let plan = plan(&spec, &look_up(&spec), &engines).unwrap();
    assert_eq!(plan.resources[0].engine.as_str(), "crossplane");
}

#[test]
fn many_violations_are_cut() {
    let resources: Vec<Value> = (0..5000)
        .map(|i| json!({"name": format!("r{i}"), "catalogRef": "mysql:1.0.0", "config": {"x": 1}}))
        .collect();
    let violations =
        planned(resources.into(), json!([{"from": "nobody", "to": "r1"}])).unwrap_err();
    assert_eq!(violations.len(), MAX_VIOLATIONS);
}

#[test]
fn each_definition_is_looked_up_once() {
    let resources = json!([
        {"name": "a", "catalogRef": "x:^1.0"}, {"name": "b", "catalogRef": "x:1.0.0"}, {"name": "c", "catalogRef": "x:^1.0"},
    ]);
    let refs: Vec<String> = catalog_refs(&spec(resources, json!([])))
        .iter()
        .map(CatalogRef::to_string)
        .collect();
    assert_eq!(refs, ["x:^1.0", "x:1.0.0"]);
}

#[test]
fn wildcard_types_cover_each_other_as_json_schema_says() {
    let schema = |t: &str| {
        crate::schema::ConfigSchema::compile(&Arc::new(json!({"properties": {"x": {"type": t}}})))
            .unwrap()
    };
    let all = [
        JsonType::String,
        JsonType::Number,
        JsonType::Integer,
        JsonType::Boolean,
        JsonType::Object,
        JsonType::Array,
    ];
    for wanted in all {
        for given in all {
            let wildcard = crate::schema::Wildcard {
                pointer: "/x".into(),
                json_type: Some(given),
            };
            let fits = schema(wanted.as_str())
                .check(&json!({"x": "${…}"}), &[wildcard])
                .is_empty();
            let expected =
                wanted == given || (wanted, given) == (JsonType::Number, JsonType::Integer);
            assert_eq!(fits, expected, "{given:?} where {wanted:?} is wanted");
        }
    }
}
