use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use expect_test::{Expect, expect};
use nestor_core::definition::JsonType;
use nestor_core::engine::Features;
use nestor_core::ids::{Digest, EngineId};
use nestor_core::planner::{Definitions, catalog_refs, plan};
use nestor_core::ports::{EngineHead, EngineStatus};
use nestor_core::spec::DeliveryMode;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::definition::{Content, parse};

fn problems(text: &str, expected: Expect) {
    let problems = match parse(text) {
        Ok(content) => format!("{content:#?}"),
        Err(broken) => {
            let shown = broken.problems.iter().map(|p| match p.line {
                Some(line) => format!("{line}: {}\n", p.message),
                None => format!("{}\n", p.message),
            });
            shown.collect()
        }
    };
    expected.assert_eq(&problems);
}

fn good(text: &str) -> Content {
    parse(text).unwrap_or_else(|broken| panic!("{:?}", broken.problems))
}

#[test]
fn relations_and_identity() {
    let content = good(
        "name: app\nversion: 1.0.0\nnoop: {}\nconfig: {name: string, zone?: string}\n\
         requires:\n- {definition: vpc, version: \">=2, <4\"}\n- {definition: dns, engine: helm, scope: environment}\n\
         conflicts:\n- definition: legacy\n\
         identity: app/${environment}/${config.name}\n",
    );
    assert_eq!(
        serde_json::to_value(&content.relations).unwrap(),
        json!({
            "requires": [
                {"definition": "vpc", "version": ">=2, <4", "scope": "deployment"},
                {"definition": "dns", "version": "*", "engine": "helm", "scope": "environment"},
            ],
            "conflicts": [{"definition": "legacy", "version": "*", "scope": "deployment"}],
            "identity": "app/${environment}/${config.name}",
        })
    );
    problems(
        "name: app\nversion: 1.0.0\nnoop: {}\nconfig: {name: string, zone?: string, list: array}\n\
         requires:\n- {definition: VPC, version: two}\n- {definiton: vpc, scope: world}\n- vpc\n\
         conflicts: vpc\n\
         identity: ${config.nam}/${config.zone}/${config.list}\n",
        expect![[r#"
            6: requires.definition: catalog name "VPC" contains 'V'; only lower-case letters, digits and '-' are allowed
            6: requires.version: "two" is not a range of versions (^1.2, ~1.2.3, 1.x, ">=1, <3"): unexpected character 't' while parsing major version number
            7: requires.definiton: is not a key here; did you mean "definition"? (known: definition, version, engine, scope)
            7: requires: an entry needs a `definition`, such as vpc
            7: requires.scope: "world" must be deployment or environment
            8: requires: an entry is a mapping, not a text
            9: conflicts: must be a list such as `- {definition: vpc, version: ">=2, <4"}`, not a text
            10: identity: config has no field "nam"; did you mean "name"?
            10: identity: config.zone may be left out, so it cannot tell real things apart; make it a field that must be given
            10: identity: config.list is no text, number or boolean; name a field within it
        "#]],
    );
    problems(
        "name: app\nversion: 1.0.0\nnoop: {}\nidentity: app/${resources.a.outputs.b}\n",
        expect![[r#"
            4: identity: ${resources.a.outputs.b} cannot stand in an identity; known are ${environment}, ${deployment.id}, ${deployment.composer} and ${config.<field>}
        "#]],
    );
}

#[test]
fn a_whole_definition() {
    let content = good(
        "name: aws-rds-mysql\nversion: 1.2.0-rc.1\ndescription: |\n  A database\n\
         config:\n  size: integer\n  zone?: string\n  kind: {type: string, default: a}\n  any: true\n\
         outputs:\n  endpoint: string\n  password: {type: string, sensitive: true, description: Secret}\n\
         delivery: direct\nterraform: {module: ./module}\npulumi:\n",
    );
    assert_eq!(content.version.to_string(), "1.2.0-rc.1");
    assert_eq!(content.description, "A database");
    assert_eq!(content.delivery, Some(DeliveryMode::Direct));
    let engines: Vec<_> = content
        .engines
        .iter()
        .map(|(id, section)| (id.as_str(), section.as_ref().clone()))
        .collect();
    assert_eq!(
        engines,
        [
            ("terraform", json!({"module": "./module"})),
            ("pulumi", json!({}))
        ]
    );
    assert_eq!(
        *content.config_schema,
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["size", "any"],
            "properties": {
                "size": {"type": "integer"},
                "zone": {"type": "string"},
                "kind": {"type": "string", "default": "a"},
                "any": {},
            },
        })
    );
    let password = &content.outputs["password"];
    assert!(password.sensitive);
    assert_eq!(password.json_type, JsonType::String);
}

#[test]
fn engines_are_listed_in_order_of_preference() {
    let content = good("name: a\nversion: 1.0.0\nengines: [second, first]\nfirst: {a: 1}\n");
    let engines: Vec<_> = content.engines.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(engines, ["second", "first"]);
    assert_eq!(
        *good("name: a\nversion: 1.0.0\nengines: [noop]\n").config_schema,
        json!({"type": "object"})
    );
}

#[test]
fn json_schema_stands_as_it_is() {
    let schema =
        good("name: a\nversion: 1.0.0\nnoop:\nconfig:\n  properties:\n    type: {type: string}\n")
            .config_schema;
    assert_eq!(
        *schema,
        json!({"type": "object", "properties": {"type": {"type": "string"}}})
    );
}

#[test]
fn every_problem_is_told_with_its_line() {
    problems(
        "",
        expect![[r#"
        1: a definition is a mapping, not nothing
    "#]],
    );
    problems(
        "- a",
        expect![[r#"
        1: a definition is a mapping, not a list
    "#]],
    );
    problems(
        "name: [",
        expect![[r#"
        1: not YAML: unclosed bracket '[' at line 1, column 7
    "#]],
    );
    problems(
        "name: a\nname: b\n",
        expect![[r#"
            2: not YAML: duplicate mapping key: name; keep one at line 2, column 1
        "#]],
    );
    problems(
        "name: a\nversion: 1.0\nnoop: {}\n",
        expect![[r#"
        2: version: must be a text, not a number (put it in quotes)
    "#]],
    );
    problems(
        "name: A/b\nversion: '1'\ndelivery: git\nconfg: {}\noutputs:\n  a: sting\n  b: {typ: string}\n  'c d': string\n  e: {type: string, sensitive: maybe}\nnoop: text\nengines: [noop, noop, No]\n",
        expect![[r#"
            1: name: catalog name "A/b" contains 'A'; only lower-case letters, digits and '-' are allowed
            2: version: "1" is not a version such as 1.0.0: unexpected end of input while parsing major version number
            3: delivery: "git" must be direct or gitops
            4: confg: is not a key of a definition; did you mean "config"?
            6: outputs.a: "sting" is not a type; did you mean "string"? (types are string, number, integer, boolean, object, array)
            7: outputs.b.typ: is not a key of an output; did you mean "type"? (known: type, sensitive, description)
            7: outputs.b: has no type; write one of string, number, integer, boolean, object, array
            8: outputs: output "c d" is not an output name: a letter or '_', then letters, digits, '_' or '-', at most 63
            9: outputs.e.sensitive: must be true or false
            10: noop: an engine's section is a mapping, not a text
            11: engines: noop stands here twice; keep one
            11: engines: engine "No" contains 'N'; only lower-case letters, digits and '-' are allowed
        "#]],
    );
    problems(
        "name: a\nversion: 1.0.0\nconfg:\n  a: string\nnoop: {}\n",
        expect![[r#"
            3: confg: is not a key of a definition; did you mean "config"?
        "#]],
    );
    problems(
        "name: a\nversion: 1.0.0\n",
        expect![[r#"
        1: no engine can run it: add a section such as `terraform:` or `helm:`, or list `engines`
    "#]],
    );
    problems(
        "name: a\nversion: 1.0.0\nnoop: {}\nconfig:\n  a: strin\n  b: 5\n  c: {type: string}\n  c?: string\n",
        expect![[r#"
            5: config.a: "strin" is not a type; did you mean "string"? (types are string, number, integer, boolean, object, array), and a schema is a mapping
            6: config.b: must be a type (string, number, integer, boolean, object, array) or a schema
            8: config.c: stands here twice; keep one
        "#]],
    );
    problems(
        "name: a\nversion: 1.0.0\nnoop: {}\nconfig:\n  type: object\n  properties:\n    a:\n      type: strig\n",
        expect![[r#"
            8: config: not a JSON Schema: at /properties/a/type: "strig" is not valid under any of the schemas listed in the 'anyOf' keyword
        "#]],
    );
    problems(
        "name: a\nversion: 1.0.0\nnoop: {}\nconfig:\n  $ref: https://example.com/schema.json\n",
        expect![[r#"
            5: config: not a JSON Schema: Resource 'https://example.com/schema.json' is not present in a registry and retrieving it failed: Retrieval is disabled, cannot fetch https://example.com/schema.json
        "#]],
    );
}

fn write(root: &Path, path: &str, text: &str) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn define(root: &Path, folder: &str, name: &str, version: &str) {
    let text = format!("name: {name}\nversion: {version}\nnoop: {{}}\n");
    write(root, &format!("{folder}/definition.yaml"), &text);
}

async fn found(catalog: &FileCatalog, reference: &str) -> String {
    match catalog.lookup(&reference.parse().unwrap()).await {
        Ok(definition) => definition.reference(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn versions_stand_side_by_side_and_the_highest_that_fits_is_found() {
    let root = TempDir::new().unwrap();
    for version in ["1.0.0", "1.2.0", "1.10.0", "2.0.0", "2.1.0-rc.1"] {
        define(root.path(), &format!("mysql/{version}"), "mysql", version);
    }
    let catalog = FileCatalog::open(root.path()).unwrap();
    for (reference, expected) in [
        ("mysql:1.0.0", "mysql:1.0.0"),
        ("mysql:^1.0", "mysql:1.10.0"),
        ("mysql:~1.2.0", "mysql:1.2.0"),
        ("mysql:1.x", "mysql:1.10.0"),
        ("mysql:*", "mysql:2.0.0"),
        ("mysql:>=1, <2", "mysql:1.10.0"),
        ("mysql:2.1.0-rc.1", "mysql:2.1.0-rc.1"),
        (
            "mysql:^3",
            "no version of mysql matches mysql:^3; there are: 2.1.0-rc.1, 2.0.0, 1.10.0, 1.2.0, 1.0.0",
        ),
        (
            "mysq:1.0.0",
            "the catalog has no definition named mysq; did you mean mysql?",
        ),
        ("redis:1.0.0", "the catalog has no definition named redis"),
    ] {
        assert_eq!(found(&catalog, reference).await, expected, "{reference}");
    }
    let all: Vec<String> = catalog
        .list()
        .await
        .unwrap()
        .iter()
        .map(|d| d.reference())
        .collect();
    assert_eq!(
        all,
        [
            "mysql:1.0.0",
            "mysql:1.2.0",
            "mysql:1.10.0",
            "mysql:2.0.0",
            "mysql:2.1.0-rc.1"
        ]
    );
}

#[tokio::test]
async fn a_broken_definition_breaks_no_other_and_is_told_where_it_is_looked_up() {
    let root = TempDir::new().unwrap();
    define(root.path(), "good", "good", "1.0.0");
    define(root.path(), "good-again", "good", "1.0.0");
    write(
        root.path(),
        "named/definition.yaml",
        "name: named\nversion: 1.0.0\nnoop: {}\nx: 1\n",
    );
    write(root.path(), "unreadable-1.0.0/definition.yaml", "{");
    let catalog = FileCatalog::open(root.path()).unwrap();
    assert_eq!(found(&catalog, "good:1.0.0").await, "good:1.0.0");
    let broken = found(&catalog, "named:^1").await;
    expect!["named/definition.yaml:4: x: is not a key of a definition; known are name, version, description, engines, config, outputs, delivery, requires, conflicts, identity and the engines' sections"].assert_eq(&broken);
    expect!["no version of named matches named:^2; there are: 1.0.0 (broken)"]
        .assert_eq(&found(&catalog, "named:^2").await);
    let unreadable = found(&catalog, "unreadable:1.0.0").await;
    assert!(
        unreadable.starts_with("unreadable-1.0.0/definition.yaml:1: not YAML: "),
        "{unreadable}"
    );
    assert_eq!(catalog.list().await.unwrap().len(), 1);
    let problems: Vec<String> = catalog
        .problems()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(
        problems[0].contains("good:1.0.0 is defined in"),
        "{problems:?}"
    );
}

#[tokio::test]
async fn changes_are_seen_and_change_the_digest() {
    let root = TempDir::new().unwrap();
    define(root.path(), "a", "a", "1.0.0");
    let catalog = FileCatalog::open(root.path()).unwrap();
    let digest = || async {
        // As old as it may be, so that it is read again.
        catalog.0.state.lock().unwrap().read_at = Instant::now().checked_sub(MAX_AGE);
        catalog
            .lookup(&"a:1.0.0".parse().unwrap())
            .await
            .map(|d| (d.digest, d.folder.clone()))
    };
    let (bare, folder) = digest().await.unwrap();
    assert_eq!(folder, None);
    write(root.path(), "a/chart/values.yaml", "a: 1");
    let (with_file, folder) = digest().await.unwrap();
    assert_eq!(folder, Some(catalog.root().join("a")));
    write(root.path(), "a/chart/values.yaml", "a: 2");
    let (changed, _) = digest().await.unwrap();
    fs::rename(
        root.path().join("a/chart/values.yaml"),
        root.path().join("a/chart/value.yaml"),
    )
    .unwrap();
    let (renamed, _) = digest().await.unwrap();
    let all = [bare, with_file, changed, renamed];
    assert_eq!(
        all.iter().collect::<std::collections::BTreeSet<_>>().len(),
        4,
        "{all:?}"
    );
    assert_eq!(digest().await.unwrap().0, renamed);
    fs::remove_dir_all(root.path().join("a")).unwrap();
    assert!(matches!(
        digest().await,
        Err(CatalogError::UnknownName { .. })
    ));
    // A directory that goes away for a moment takes nothing with it.
    define(root.path(), "a", "a", "1.0.0");
    assert_eq!(digest().await.unwrap().0, bare);
    fs::rename(root.path(), root.path().with_extension("away")).unwrap();
    assert_eq!(digest().await.unwrap().0, bare);
    fs::rename(root.path().with_extension("away"), root.path()).unwrap();
}

#[tokio::test]
async fn a_new_definition_is_found_at_once() {
    let root = TempDir::new().unwrap();
    let catalog = FileCatalog::open(root.path()).unwrap();
    define(root.path(), "new", "new", "1.0.0");
    tokio::time::sleep(MAX_AGE_OF_A_MISS).await;
    assert_eq!(found(&catalog, "new:1.0.0").await, "new:1.0.0");
}

#[cfg(unix)]
#[test]
fn links_and_hidden_folders_are_no_way_out() {
    let (root, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    define(outside.path(), "x", "outside", "1.0.0");
    std::os::unix::fs::symlink(outside.path(), root.path().join("linked")).unwrap();
    define(root.path(), ".git/x", "hidden", "1.0.0");
    define(root.path(), "a", "a", "1.0.0");
    std::os::unix::fs::symlink("/etc/passwd", root.path().join("a/secret")).unwrap();
    let catalog = FileCatalog::open(root.path()).unwrap();
    assert!(catalog.0.fresh(MAX_AGE).unwrap().list().is_empty());
    let problems = catalog.problems().unwrap();
    assert_eq!(problems.len(), 1);
    assert_eq!(
        problems[0].message,
        "secret is a link or special file; a definition holds ordinary files"
    );
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let root = TempDir::new().unwrap();
    let error = FileCatalog::open(root.path().join("nowhere")).unwrap_err();
    assert!(matches!(error, CatalogError::Unavailable(_)), "{error}");
}

/// What `make run` deploys can be planned from what the repository holds.
#[tokio::test]
async fn the_example_deployment_plans_with_the_example_catalog() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples");
    let catalog = FileCatalog::open(examples.join("catalog")).unwrap();
    assert_eq!(catalog.problems().unwrap(), []);
    let body = fs::read(examples.join("web-app/deployment.json")).unwrap();
    let spec = nestor_core::spec::parse(&body).unwrap();
    let mut definitions = Definitions::new();
    for reference in catalog_refs(&spec) {
        definitions.insert(&reference, catalog.lookup(&reference).await);
    }
    let engine = |name: &str, render| {
        let id: EngineId = name.parse().unwrap();
        let features = Features {
            render,
            ..Features::default()
        };
        let head = EngineHead {
            id: id.clone(),
            digest: Digest::of(b""),
            version: "1.0.0".into(),
            features,
            status: EngineStatus::Ready,
            concurrency: 1_000,
        };
        (id, head)
    };
    let engines = BTreeMap::from([engine("terraform", false), engine("helm", true)]);
    let plan = plan(&spec, &definitions, &engines).unwrap();
    let names: Vec<_> = plan
        .resources
        .iter()
        .map(|r| (r.name.as_str(), r.engine.as_str(), r.delivery))
        .collect();
    assert_eq!(
        names,
        [
            ("database", "terraform", DeliveryMode::Direct),
            ("deployment", "helm", DeliveryMode::Gitops)
        ]
    );
    assert_eq!(plan.edges.len(), 1);
    assert!(plan.edges[0].explicit && plan.edges[0].reference);
}
