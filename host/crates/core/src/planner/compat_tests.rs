use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::definition::Definition;
use crate::engine::Features;
use crate::ids::Digest;
use crate::planner::{Definitions, catalog_refs, plan};
use crate::ports::{EngineHead, EngineStatus};
use crate::relation::Relations;
use crate::spec::parse;
use crate::violation::Violation;

fn definition(reference: &str, relations: Value) -> Definition {
    let (name, version) = reference.split_once(':').unwrap();
    Definition {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        description: String::new(),
        engines: ["helm", "noop"]
            .map(|id| (id.parse().unwrap(), Arc::new(json!({}))))
            .into(),
        config_schema: Arc::new(json!({"type": "object"})),
        outputs: serde_json::from_value(json!({"id": {"type": "string"}})).unwrap(),
        delivery: None,
        relations: serde_json::from_value(relations).unwrap(),
        folder: None,
        digest: Digest::of(reference.as_bytes()),
    }
}

fn engines() -> BTreeMap<EngineId, EngineHead> {
    ["helm", "noop"]
        .map(|id| {
            let head = EngineHead {
                id: id.parse().unwrap(),
                digest: Digest::of(b"x"),
                version: "1.0.0".into(),
                features: Features::default(),
                status: EngineStatus::Ready,
                concurrency: 1_000,
            };
            (head.id.clone(), head)
        })
        .into()
}

/// Plans resources `(catalogRef, config)` named a, b, c…
fn planned(
    catalog: &[Definition],
    resources: &[(&str, Value)],
    neighbours: &[Neighbour],
) -> Result<(), Vec<Violation>> {
    let resources: Vec<Value> = resources
        .iter()
        .zip('a'..='z')
        .map(|((reference, config), name)| {
            let (reference, engine) = reference.split_once('@').unwrap_or((reference, "helm"));
            json!({"name": name.to_string(), "catalogRef": reference, "engine": engine, "config": config})
        })
        .collect();
    let body =
        json!({"id": "web", "composer": "team-a", "environment": "prod", "resources": resources});
    let spec = parse(body.to_string().as_bytes()).unwrap();
    let mut definitions = Definitions::new();
    for reference in catalog_refs(&spec) {
        let fits =
            |d: &&Definition| d.name == reference.name && reference.version.matches(&d.version);
        let found = catalog.iter().find(fits).unwrap();
        definitions.insert(&reference, Ok(Arc::new(found.clone())));
    }
    for neighbour in neighbours {
        definitions.meet(neighbour.clone());
    }
    plan(&spec, &definitions, &engines()).map(|_| ())
}

fn neighbour(reference: &str, engine: &str, relations: Value) -> Neighbour {
    let (definition, version) = reference.split_once(':').unwrap();
    Neighbour {
        deployment: "network".parse().unwrap(),
        resource: "net".parse().unwrap(),
        definition: definition.parse().unwrap(),
        version: version.parse().unwrap(),
        engine: engine.parse().unwrap(),
        relations: serde_json::from_value(relations).unwrap(),
    }
}

fn catalog() -> Vec<Definition> {
    vec![
        definition(
            "app:1.0.0",
            json!({"requires": [{"definition": "vpc", "version": ">=2, <4"}], "conflicts": [{"definition": "legacy", "version": "<2"}]}),
        ),
        definition(
            "wide:1.0.0",
            json!({
                "requires": [{"definition": "vpc", "version": ">=2, <4", "engine": "noop", "scope": "environment"}],
                "conflicts": [{"definition": "legacy", "scope": "environment"}]
            }),
        ),
        definition("vpc:1.5.0", json!({})),
        definition("vpc:2.0.0", json!({})),
        definition("vpc:4.0.0", json!({})),
        definition("legacy:1.0.0", json!({})),
        definition("legacy:2.0.0", json!({})),
        definition(
            "alone:1.0.0",
            json!({"conflicts": [{"definition": "alone"}]}),
        ),
    ]
}

fn told(resources: &[&str], neighbours: &[Neighbour]) -> String {
    let resources: Vec<(&str, Value)> = resources.iter().map(|r| (*r, json!({}))).collect();
    match planned(&catalog(), &resources, neighbours) {
        Ok(()) => String::new(),
        Err(violations) => violations
            .iter()
            .map(|v| {
                assert_eq!(v.code, ViolationCode::Incompatible);
                format!("{} {}\n", v.pointer, v.message)
            })
            .collect(),
    }
}

#[test]
fn what_goes_together_is_planned() {
    let elsewhere = neighbour("vpc:3.1.0", "noop", json!({}));
    for (resources, neighbours) in [
        (vec!["app:1.0.0", "vpc:2.0.0"], vec![]),
        (vec!["vpc:2.0.0", "app:1.0.0", "vpc:1.5.0"], vec![]),
        (vec!["app:1.0.0", "vpc:2.0.0", "legacy:2.0.0"], vec![]),
        (vec!["wide:1.0.0", "vpc:2.0.0@noop"], vec![]),
        (vec!["wide:1.0.0"], vec![elsewhere]),
        (vec!["alone:1.0.0"], vec![]),
    ] {
        assert_eq!(told(&resources, &neighbours), "", "{resources:?}");
    }
}

#[test]
fn what_does_not_is_told_at_both_ends() {
    expect_test::expect![[r#"
        /resources/0/catalogRef app:1.0.0 of resource a requires vpc >=2, <4 in the same deployment, and there is vpc:1.5.0 run by helm (resource b), vpc:4.0.0 run by helm (resource c); use a version that fits on either side
        /resources/0/catalogRef app:1.0.0 of resource a excludes legacy <2, and there is legacy:1.0.0 of resource d; take one of them out, or use a version outside of that range
        /resources/1/catalogRef vpc:1.5.0 run by helm of resource b does not do for app:1.0.0 of resource a, which requires vpc >=2, <4
        /resources/2/catalogRef vpc:4.0.0 run by helm of resource c does not do for app:1.0.0 of resource a, which requires vpc >=2, <4
        /resources/3/catalogRef legacy:1.0.0 of resource d is excluded by app:1.0.0 of resource a, which excludes legacy <2; take one of them out, or use a version outside of that range
    "#]]
    .assert_eq(&told(&["app:1.0.0", "vpc:1.5.0", "vpc:4.0.0", "legacy:1.0.0"], &[]));
    expect_test::expect![[r#"
        /resources/0/catalogRef app:1.0.0 of resource a requires vpc >=2, <4 in the same deployment, and there is none; add a resource with catalogRef "vpc:>=2, <4"
    "#]]
    .assert_eq(&told(&["app:1.0.0"], &[neighbour("vpc:2.0.0", "helm", json!({}))]));
    expect_test::expect![[r#"
        /resources/0/catalogRef wide:1.0.0 of resource a requires vpc >=2, <4 run by noop in the same environment, and there is vpc:2.0.0 run by helm (resource net of deployment network); use a version that fits on either side
    "#]]
    .assert_eq(&told(&["wide:1.0.0"], &[neighbour("vpc:2.0.0", "helm", json!({}))]));
    expect_test::expect![[r#"
        /resources/0/catalogRef wide:1.0.0 of resource a excludes legacy * in the same environment, and there is legacy:9.0.0 (resource net of deployment network); take that away first, or use a version of wide that goes with it
    "#]]
    .assert_eq(&told(
        &["wide:1.0.0", "vpc:2.0.0@noop"],
        &[neighbour("legacy:9.0.0", "helm", json!({}))],
    ));
    expect_test::expect![[r#"
        /resources/0/catalogRef guard:1.0.0 (resource net of deployment network) excludes vpc <2 in the same environment, and vpc:1.5.0 of resource a is one; use a version outside of that range, or another environment
    "#]]
    .assert_eq(&told(
        &["vpc:1.5.0"],
        &[neighbour(
            "guard:1.0.0",
            "helm",
            json!({"conflicts": [{"definition": "vpc", "version": "<2", "scope": "environment"}]}),
        )],
    ));
    assert!(told(&["alone:1.0.0", "alone:1.0.0"], &[]).contains("of resource b"));
}

#[test]
fn two_resources_that_are_one_thing_are_refused() {
    let catalog = [
        definition(
            "db:1.0.0",
            json!({"identity": "db/${environment}/${config.name}"}),
        ),
        definition("rds:1.0.0", json!({"identity": "db/prod/${config.id}"})),
    ];
    let refused = |resources: &[(&str, Value)]| match planned(&catalog, resources, &[]) {
        Ok(()) => Vec::new(),
        Err(violations) => violations
            .into_iter()
            .map(|v| (v.code.as_str(), v.pointer))
            .collect(),
    };
    assert_eq!(
        refused(&[
            ("db:1.0.0", json!({"name": "x"})),
            ("db:1.0.0", json!({"name": "y"}))
        ]),
        []
    );
    assert_eq!(
        refused(&[
            ("db:1.0.0", json!({"name": "web"})),
            ("rds:1.0.0", json!({"id": "${deployment.id}"}))
        ]),
        [("same-thing", "/resources/1/config".to_owned())]
    );
    assert_eq!(
        refused(&[("db:1.0.0", json!({}))]),
        [("config-schema", "/resources/0/config/name".to_owned())]
    );
    // Known only once there is an output.
    let hangs = json!({"name": "${resources.b.outputs.id}"});
    assert_eq!(
        refused(&[("db:1.0.0", hangs), ("rds:1.0.0", json!({"id": "q"}))]),
        []
    );
}

proptest! {
    /// The planner says yes exactly when a plain reading of the rules does.
    #[test]
    fn as_the_rules_read(
        versions in prop::collection::vec((0_u64..4, any::<bool>()), 0..5),
        around in prop::collection::vec((0_u64..4, any::<bool>()), 0..3),
        low in 0_u64..4, wide in any::<bool>(), excludes in any::<bool>(), by_noop in any::<bool>(),
    ) {
        let mut relation = json!({"definition": "vpc", "version": format!(">={low}")});
        if wide { relation["scope"] = "environment".into(); }
        if by_noop { relation["engine"] = "noop".into(); }
        let key = if excludes { "conflicts" } else { "requires" };
        let mut catalog: Vec<Definition> =
            (0..4).map(|v| definition(&format!("vpc:{v}.0.0"), json!({}))).collect();
        catalog.push(definition("app:1.0.0", json!({key: [relation]})));
        let name = |noop: bool| if noop { "noop" } else { "helm" };
        let texts: Vec<String> = versions.iter().map(|(v, noop)| format!("vpc:{v}.0.0@{}", name(*noop))).collect();
        let mut resources = vec![("app:1.0.0", json!({}))];
        resources.extend(texts.iter().map(|t| (t.as_str(), json!({}))));
        let neighbours: Vec<Neighbour> = around.iter()
            .map(|(v, noop)| neighbour(&format!("vpc:{v}.0.0"), name(*noop), json!({}))).collect();
        let meant = |(v, noop): &(u64, bool)| *v >= low && (!by_noop || *noop);
        let met = versions.iter().any(meant) || wide && around.iter().any(meant);
        prop_assert_eq!(planned(&catalog, &resources, &neighbours).is_ok(), met != excludes);
    }
}

#[test]
fn relations_are_read_strictly() {
    let parse = |value: Value| serde_json::from_value::<Relations>(value);
    assert!(parse(json!({"requires": [{"definition": "vpc", "versoin": "1"}]})).is_err());
    assert!(parse(json!({"requires": [{"definition": "vpc", "version": "two"}]})).is_err());
    assert!(parse(json!({"identity": "${config"})).is_err());
    let all = json!({"requires": [{"definition": "vpc", "version": ">=2", "engine": "helm", "scope": "environment"}]});
    assert_eq!(
        serde_json::to_value(parse(all.clone()).unwrap()).unwrap(),
        all
    );
}
