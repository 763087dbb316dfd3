//! Wrong input through the command line, case by case: every answer names the
//! file, the place and what to do, nothing of it is kept, and the host goes on.

mod support;

use serde_json::json;
use support::{World, guest};

fn deployment(resources: &str, dependencies: &str) -> String {
    format!(
        r#"{{"id":"x","composer":"team","environment":"dev","resources":[{resources}],"dependencies":[{dependencies}]}}"#
    )
}

const DATABASE: &str =
    r#"{"name":"database","catalogRef":"aws-rds-mysql:1.0.0","config":{"size":20}}"#;

/// A file's content, and what is said about it.
fn cases() -> Vec<(String, Vec<&'static str>)> {
    let app = |config: &str| {
        format!(
            r#"{DATABASE},{{"name":"app","catalogRef":"k8s-deployment:2.1.0","config":{config}}}"#
        )
    };
    let reference = |reference: &str| {
        deployment(
            &format!(r#"{{"name":"a","catalogRef":"{reference}","config":{{}}}}"#),
            "",
        )
    };
    let id = |id: &str| {
        json!({"id": id, "composer": "t", "environment": "dev", "resources": [], "dependencies": []})
            .to_string()
    };
    let many: Vec<_> = (0..100_000)
        .map(|i| format!(r#"{{"name":"a{i}","catalogRef":"note:1.0.0"}}"#))
        .collect();
    vec![
        // Not JSON, or not a deployment.
        (String::new(), vec!["f.json is empty; write a deployment"]),
        ("hello".into(), vec!["f.json:1", "line 1, column 1"]),
        (r#"{"id": "x", "#.into(), vec!["f.json", "malformed-json"]),
        (r#"{"id":"a","id":"b"}"#.into(), vec!["f.json /id", "keep one"]),
        ("[1]".into(), vec!["f.json:1", "must be an object"]),
        (
            format!(r#"{{"id":{}1{}}}"#, "[".repeat(9_000), "]".repeat(9_000)),
            vec!["f.json /id/0", "make the config flatter"],
        ),
        (
            deployment(&format!(r#"{{"name":"{}"}}"#, "x".repeat(10 << 20)), ""),
            vec!["f.json: the body is larger than 8MiB", "send less"],
        ),
        (" ".repeat(33 << 20), vec!["f.json is larger than 32MiB", "split it"]),
        (
            deployment(&many.join(","), ""),
            vec!["/resources", "there are 100000 resources; at most 10000", "split"],
        ),
        // Fields.
        (
            r#"{"id":"x","composer":"t","environment":"dev","resources":[],"dependencies":[],"resorces":[]}"#.into(),
            vec!["f.json:1 /resorces", "did you mean \"resources\"?"],
        ),
        (
            r#"{"id":5,"composer":"t","environment":["dev"],"resources":{},"dependencies":"no"}"#.into(),
            vec!["/id: must be a string", "/environment: must", "/resources: must", "/dependencies: must"],
        ),
        (
            deployment(&format!("{DATABASE},{DATABASE}"), ""),
            vec!["/resources/1/name", "is the name of /resources/0 too"],
        ),
        (id("../../etc"), vec!["/id", "contains '.'", "only lower-case letters"]),
        (id("w\u{435}b"), vec!["/id", "contains '\u{435}'", "only lower-case letters"]),
        (id("we\u{202e}b"), vec!["/id", r"contains '\u{202e}'", "only lower-case letters"]),
        (id(&"a".repeat(300)), vec!["/id", "has 300 bytes; at most 128"]),
        // The catalog and the engines.
        (reference("aws-rds-mysq:1.0.0"), vec!["/resources/0/catalogRef", "did you mean aws-rds-mysql?"]),
        (reference("aws-rds-mysql:^9"), vec!["/resources/0/catalogRef", "there are: 1.0.0"]),
        (reference("aws-rds-mysql:abc"), vec!["/resources/0/catalogRef", "^1.2, ~1.2.3, 1.x"]),
        (reference("aws-rds-mysql"), vec!["/resources/0/catalogRef", "'name:version'"]),
        (reference("note:1.0.0"), vec!["no such engine is loaded", "load it, or use another definition"]),
        (
            deployment(&DATABASE.replace("\"config\"", "\"engine\":\"terrafrom\",\"config\""), ""),
            vec!["/resources/0/engine", "did you mean \"terraform\"?"],
        ),
        // Dependencies and references.
        (
            deployment(DATABASE, r#"{"from":"database","to":"nowhere"}"#),
            vec!["/dependencies/0/to", "there are: database"],
        ),
        (
            deployment(DATABASE, r#"{"from":"database","to":"database"}"#),
            vec!["/dependencies/0", "depends on itself", "remove one"],
        ),
        (
            deployment(&app(r#"{"image":"nginx:1"}"#), r#"{"from":"app","to":"database"},{"from":"database","to":"app"}"#),
            vec!["/dependencies/0", "form a cycle: ", "remove one"],
        ),
        (
            deployment(&app(r#"{"image":"nginx:1","database":{"host":"${resources.database.outputs.adress}"}}"#), ""),
            vec!["/resources/1/config/database/host", "it declares databaseName, endpoint, password, port"],
        ),
        (
            deployment(&app(r#"{"image":"nginx:1","replicas":"${resources.database.outputs.endpoint}"}"#), ""),
            vec!["/resources/1/config/replicas", "is a string", "wants an integer"],
        ),
        (
            deployment(&app(r#"{"image":"${resources.nope.outputs.x}"}"#), ""),
            vec!["/resources/1/config/image", "there is no resource \"nope\"", "there are: "],
        ),
        (
            deployment(&app(r#"{"image":"${resources.nope"}"#), ""),
            vec!["/resources/1/config/image", "has no closing }", "write $${ for a literal ${"],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_deployment_is_told_where_and_what_to_do() {
    let mut world = World::new(None);
    world.start().await;
    for (content, expected) in cases() {
        let file = world.file("f.json", &content);
        for command in ["apply", "plan"] {
            let said = world.expect(2, &[command, "-f", &file]);
            let start: String = content.chars().take(120).collect();
            for words in &expected {
                assert!(
                    said.contains(words),
                    "{start}\n{words:?} is missing in:\n{said}"
                );
            }
            assert!(said.len() < 4_000, "{start}: {} bytes are said", said.len());
        }
    }
    let bytes = world.file("f.json", "");
    std::fs::write(&bytes, [b'{', 0xff, 0xfe]).expect("written");
    let said = world.expect(2, &["apply", "-f", &bytes]);
    assert!(said.contains("byte 1 is no UTF-8 text"), "{said}");

    let listed = world.expect(0, &["get"]);
    assert!(listed.contains("There are no such deployments"), "{listed}");
    assert!(!world.log().contains("panicked"), "{}", world.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_an_engine_is_refused_with_its_file_and_a_way_out() {
    let mut world = World::new(None);
    world.start().await;
    let binary = |name: &str, bytes: &[u8]| {
        let file = world.file(name, "");
        std::fs::write(&file, bytes).expect("written");
        file
    };
    let hostile = |name: &str| {
        guest(&format!("hostile/{name}.wasm"))
            .to_string_lossy()
            .into_owned()
    };
    for (file, expected) in [
        (
            world.file("random.wasm", "hello"),
            vec!["not a WebAssembly component"],
        ),
        (
            world.file("text.wasm", "(component)"),
            vec!["only the binary format"],
        ),
        (
            binary("core.wasm", b"\0asm\x01\0\0\0"),
            vec!["a WebAssembly core module", "build it for wasm32-wasip2"],
        ),
        (
            binary("empty.wasm", b"\0asm\x0d\0\x01\0"),
            vec![
                "does not export nestor:engine/lifecycle",
                "implements all of it",
            ],
        ),
        (
            hostile("wrong-version"),
            vec![
                "lifecycle@0.9.0",
                "build it against the contract of this host",
            ],
        ),
        (
            hostile("unknown-import"),
            vec![
                "evil:host/escape@1.0.0",
                "imports what the contract does not have",
            ],
        ),
        (
            hostile("loop-in-describe"),
            vec![
                "it took too long (cpu)",
                "do the work in the other functions",
            ],
        ),
    ] {
        let said = world.expect(2, &["engines", "load", &file, "--name", "bad"]);
        assert!(said.contains(&format!("error: {file}: ")), "{said}");
        for words in expected {
            assert!(
                said.contains(words),
                "{file}: {words:?} is missing in:\n{said}"
            );
        }
    }
    world.expect(4, &["engines", "get", "bad"]);
    assert!(!world.log().contains("panicked"), "{}", world.log());
}
