//! The mission's own example from end to end, with real programs: the binary,
//! Terraform or OpenTofu, Helm's code in its sandbox, Git.

mod support;

use std::process::Command;

use serde_json::Value;
use support::{World, guest, root, settled, tofu};

const FILE: &str = "examples/web-app/deployment.json";

fn git(world: &World, arguments: &[&str]) -> String {
    let found = std::fs::read_dir(world.data())
        .expect("a folder")
        .flatten()
        .map(|e| e.path());
    let mut folders: Vec<_> = found.filter(|p| p.is_dir()).collect();
    let below: Vec<_> = folders
        .iter()
        .flat_map(|f| {
            std::fs::read_dir(f)
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path())
        })
        .collect();
    folders.extend(below);
    let repository = folders
        .into_iter()
        .find(|p| p.join("HEAD").is_file())
        .expect("a bare repository");
    let output = Command::new("git")
        .arg("--git-dir")
        .arg(repository)
        .args(arguments)
        .output()
        .expect("git is on PATH");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn resource<'a>(view: &'a Value, name: &str) -> &'a Value {
    view["resources"]
        .as_array()
        .and_then(|all| all.iter().find(|r| r["name"] == name))
        .expect("a resource")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_by_terraform_reaches_a_chart_by_helm() {
    web_app(World::new(None)).await;
}

/// As above, also where Terraform is what is on PATH.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_by_opentofu_reaches_a_chart_by_helm() {
    web_app(World::with_tool(None, &tofu())).await;
}

async fn web_app(mut world: World) {
    world.start().await;
    world.engines_ready().await;
    let client = world.client();

    let plan = world.expect(0, &["plan", "-f", FILE]);
    assert!(plan.contains("create"), "{plan}");
    world.expect(0, &["apply", "-f", FILE, "--wait"]);
    let view = settled(&client, "web-app").await;
    assert_eq!(view["status"], "ready", "{view:#}");
    let database = resource(&view, "database");
    let endpoint = database["outputs"]["endpoint"]
        .as_str()
        .expect("an endpoint")
        .to_owned();
    assert_eq!(database["outputs"]["password"], "(sensitive)");
    let commit = resource(&view, "deployment")["delivery"]["commit"]
        .as_str()
        .expect("a commit")
        .to_owned();
    let found = git(&world, &["grep", "-F", &endpoint, &commit]);
    assert!(
        found.contains(&endpoint),
        "the endpoint {endpoint} is in the manifests of {commit}"
    );
    let message = git(&world, &["log", "-1", "--format=%B", &commit]);
    for named in ["web-app", "deployment", "Nestor-Revision: 1"] {
        assert!(message.contains(named), "{message}");
    }

    // The same again touches nothing.
    let commits = git(&world, &["rev-list", "--count", "--all"]);
    world.expect(0, &["apply", "-f", FILE, "--wait"]);
    let again = settled(&client, "web-app").await;
    assert_eq!(
        (again["revision"].as_u64(), &again["status"]),
        (Some(2), &Value::from("ready"))
    );
    assert_eq!(git(&world, &["rev-list", "--count", "--all"]), commits);

    // Killed and started again, it still knows, and destroys what it made.
    world.kill();
    world.start().await;
    assert_eq!(
        settled(&client, "web-app").await["resources"],
        again["resources"]
    );
    world.engines_ready().await;
    world.expect(0, &["delete", "web-app", "--wait"]);
    assert_eq!(settled(&client, "web-app").await["status"], "deleted");
    assert!(!git(&world, &["ls-tree", "-r", "--name-only", "HEAD"]).contains("web-app"));

    let log = world.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_engine_is_loaded_while_the_host_runs() {
    let definition = "name: thing\nversion: 1.0.0\nconfig: {type: object}\noutputs: {colour: {type: string}}\ndelivery: direct\nnoop: {}\n";
    let mut world = World::new(Some(definition));
    world.start().await;
    let body = r#"{"id":"custom","composer":"team","environment":"dev","resources":[{"name":"a","catalogRef":"thing:1.0.0","config":{"colour":"blue"}}],"dependencies":[]}"#;
    let file = world.file("custom.json", body);
    let manifest = root().join("engines-wasm/noop/engine.toml");
    let wasm = guest("engines/noop.wasm");
    let (wasm, manifest) = (wasm.to_string_lossy(), manifest.to_string_lossy());
    world.expect(0, &["engines", "load", &wasm, "--manifest", &manifest]);
    world.expect(0, &["apply", "-f", &file, "--wait"]);
    let view = settled(&world.client(), "custom").await;
    assert_eq!(
        view["resources"][0]["outputs"]["colour"], "blue",
        "{view:#}"
    );
    // It is still there after a restart.
    world.kill();
    world.start().await;
    assert!(world.expect(0, &["engines", "list"]).contains("noop"));

    // What is not an engine is refused, says why, and changes nothing.
    let text = world.file("text.wasm", "(component)");
    let refused = world.expect(
        2,
        &[
            "engines",
            "load",
            &text,
            "--name",
            "noop",
            "--manifest",
            &manifest,
        ],
    );
    assert!(refused.contains("not a WebAssembly component"), "{refused}");
    let old = guest("hostile/wrong-version.wasm");
    let refused = world.nestor(&["engines", "load", &old.to_string_lossy(), "--name", "old"]);
    assert!(!refused.status.success());
    world.expect(0, &["delete", "custom", "--wait"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_input_says_where_and_what_to_do() {
    let mut world = World::new(None);
    world.start().await;
    for (content, expected) in [
        (r#"{"id": "x""#, "malformed-json"),
        (
            r#"{"id":"x","composer":"t","environment":"dev","resources":[],"dependencies":[],"nonsense":1}"#,
            "/nonsense",
        ),
        (
            r#"{"id":"x","composer":"t","environment":"dev","resources":[{"name":"a","catalogRef":"aws-rds-mysql:9.9.9","config":{}}],"dependencies":[]}"#,
            "/resources/0/catalogRef",
        ),
        (
            r#"{"id":"x","composer":"t","environment":"dev","resources":[{"name":"a","catalogRef":"aws-rds-mysql:1.0.0","config":{}},{"name":"b","catalogRef":"aws-rds-mysql:1.0.0","config":{}}],"dependencies":[{"from":"a","to":"b"},{"from":"b","to":"a"}]}"#,
            "a → b → a",
        ),
    ] {
        let file = world.file("wrong.json", content);
        let said = world.expect(2, &["apply", "-f", &file]);
        assert!(said.contains(expected), "{said}");
    }
    world.expect(4, &["get", "nothing-here"]);
    // Nothing of it was kept.
    assert_eq!(
        world
            .client()
            .deployments(&nestor_client::Filter::default(), None, None)
            .await
            .expect("listed")
            .items,
        []
    );
}
