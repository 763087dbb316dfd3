//! The command line as scripts see it: what it prints where, and its codes.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{World, guest, root};

fn nestor(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nestor"));
    for variable in ["NESTOR_URL", "NESTOR_CONFIG", "NESTOR_LOG", "XDG_DATA_HOME"] {
        command.env_remove(variable);
    }
    command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Code and standard error.
fn fails(arguments: &[&str]) -> (i32, String) {
    let output = nestor(arguments);
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    (output.status.code().unwrap(), text(&output.stderr))
}

#[test]
fn failures_say_what_where_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_string_lossy().into_owned()
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = folder.path().join("data").to_string_lossy().into_owned();
    let config = file("wrong.yaml", "server:\n  listn: 127.0.0.1:1\n");
    let broken = file("broken.yaml", "id: [\n");
    for (arguments, code, says) in [
        (
            vec!["--server", "http://127.0.0.1:1", "get"],
            3,
            "is the server running",
        ),
        (
            vec!["--server", "nowhere", "get"],
            2,
            "is not the address of a server",
        ),
        (vec!["apply", "-f", "/nothing.yaml"], 2, "cannot be read"),
        (vec!["apply", "-f", &broken], 2, "broken.yaml:1: not YAML"),
        (
            vec!["get", "a", "--status", "ready"],
            2,
            "cannot be used with",
        ),
        (
            vec!["serve", "--config", &config, "--data-dir", &data],
            2,
            "wrong.yaml:2: server: there is no key \"listn\"",
        ),
        (
            vec!["config", "check", &config],
            2,
            "did you mean \"listen\"?",
        ),
        (
            vec!["serve", "--listen", &address, "--data-dir", &data],
            6,
            "is in use",
        ),
        (
            vec!["serve", "--listen", "localhost"],
            2,
            "is not an address to listen on",
        ),
        (
            vec![
                "render",
                "--definition",
                "/nowhere",
                "--server-config",
                &config,
            ],
            2,
            "wrong.yaml:2",
        ),
    ] {
        let (status, said) = fails(&arguments);
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert_eq!(status, code, "{arguments:?}: {said}");
        for debug in ["Error {", "Some(", "Os {", "panicked", "RUST_BACKTRACE"] {
            assert!(!said.contains(debug), "{arguments:?}: {said}");
        }
    }
    assert!(
        !folder.path().join("data").exists(),
        "a server that does not start leaves nothing behind"
    );
}

#[test]
fn help_explains_the_codes_and_completions_are_scripts() {
    let help = text(&nestor(&["--help"]).stdout);
    for code in [
        "0  ", "1  ", "2  ", "3  ", "4  ", "5  ", "6  ", "7  ", "8  ", "9  ", "130",
    ] {
        assert!(help.contains(&format!("\n  {code}")), "{code} in {help}");
    }
    for (shell, word) in [
        ("bash", "_nestor()"),
        ("zsh", "#compdef nestor"),
        ("fish", "complete -c nestor"),
    ] {
        let script = nestor(&["completions", shell]);
        assert!(
            script.status.success() && text(&script.stdout).contains(word),
            "{shell}"
        );
    }
}

#[test]
fn a_config_is_checked_for_people_and_programs() {
    let check = nestor(&["config", "check"]);
    assert!(
        check.status.success() && text(&check.stdout).contains("is valid"),
        "{check:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("catalog/broken")).unwrap();
    let broken = folder.path().join("catalog/broken/definition.yaml");
    std::fs::write(broken, "name: [\n").unwrap();
    let config = folder.path().join("nestor.yaml");
    let yaml = "catalog: {directory: catalog}\nserver: {max_queue: 7}\n\
        engines: {helm: {concurrency: 3}}\nwebhooks: {allow_private: [10.0.0.0/8]}\n";
    std::fs::write(&config, yaml).unwrap();
    let config = config.to_string_lossy();
    let check = nestor(&["config", "check", &config, "-o", "json"]);
    assert_eq!(check.status.code(), Some(2), "{check:?}");
    let said: Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!(said["valid"], false, "{said:#}");
    assert_eq!(said["brokenDefinitions"].as_array().unwrap().len(), 1);
    let settings = &said["settings"];
    for (key, is) in [
        ("server.max_queue", Value::from(7)),
        ("server.max_requests", 512.into()),
        ("engines.helm.concurrency", 3.into()),
        ("webhooks.allow_private", "10.0.0.0/8".into()),
    ] {
        assert_eq!(settings[key], is, "{said:#}");
    }
    let check = nestor(&["config", "check", &config]);
    assert_eq!(check.status.code(), Some(2));
    assert!(!text(&check.stdout).contains("is valid"), "{check:?}");
    assert!(text(&check.stderr).contains("broken definitions"));
}

const DEFINITION: &str = "name: thing\nversion: 1.0.0\nconfig: {type: object}\n\
    outputs: {colour: {type: string}, secret: {type: string, sensitive: true}}\ndelivery: direct\nnoop: {}\n";

fn deployment(colour: &str, noop: &str) -> String {
    format!(
        "id: paint\ncomposer: team\nenvironment: dev\nlabels: {{tier: web, team: a}}\npolicy: {{onFailure: halt}}\nresources:\n  \
         - {{name: a, catalogRef: thing:^1, config: {{colour: {colour}, secret: hidden, noop: {{{noop}}}}}}}\n  \
         - {{name: b, catalogRef: thing:^1, config: {{colour: \"${{resources.a.outputs.colour}}\"}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployments_life_from_the_command_line() {
    let mut world = World::new(Some(DEFINITION));
    world.start().await;
    let wasm = guest("engines/noop.wasm");
    let manifest = root().join("engines-wasm/noop/engine.toml");
    world.expect(
        0,
        &[
            "engines",
            "load",
            &wasm.to_string_lossy(),
            "--manifest",
            &manifest.to_string_lossy(),
        ],
    );

    // JSON on request is one document on standard output, whatever else is said.
    let file = world.file("paint.yaml", &deployment("red", ""));
    let applied = world.nestor(&["apply", "-f", &file, "--wait", "-o", "json"]);
    let view: Value = serde_json::from_slice(&applied.stdout).unwrap();
    assert_eq!(
        (&view["status"], &view["revision"]),
        (&"ready".into(), &1.into()),
        "{view:#}"
    );
    assert_eq!(view["resources"][0]["outputs"]["secret"], "(sensitive)");
    assert!(
        !world.log().contains("hidden"),
        "a sensitive value is in the log"
    );

    let listed: Value =
        serde_json::from_slice(&world.nestor(&["get", "-o", "json"]).stdout).unwrap();
    assert_eq!(listed["items"][0]["id"], "paint");
    let shown = world.expect(0, &["get", "paint"]);
    assert!(
        shown.contains("(sensitive)") && shown.contains("team=a tier=web"),
        "{shown}"
    );
    let labelled = world.expect(0, &["get", "-l", "tier=web", "-l", "team=a"]);
    assert!(labelled.contains("paint"), "{labelled}");
    let others = world.expect(0, &["get", "-l", "tier=web", "-l", "team=b"]);
    assert!(others.contains("no such deployments"), "{others}");
    world.expect(2, &["get", "-l", "tier"]);
    assert!(
        world
            .expect(0, &["get", "--status", "failed"])
            .contains("no such deployments")
    );
    assert!(
        world
            .expect(0, &["graph", "paint", "-o", "dot"])
            .contains("\"a\" -> \"b\" [style=dashed]")
    );
    let unchanged = world.expect(0, &["plan", "-f", &file]);
    assert!(unchanged.contains("Nothing would change."), "{unchanged}");
    world.expect(0, &["plan", "-f", &file, "--detailed-exitcode"]);
    let refused = world.expect(4, &["retry", "paint"]);
    let more = format!("more: {}/errors/state-conflict", world.url());
    assert!(
        refused.contains("(state-conflict)") && refused.contains(&more),
        "{refused}"
    );

    let offered = world.expect(0, &["catalog", "list"]);
    assert!(offered.contains("thing  1.0.0    noop"), "{offered}");
    let thing = world.expect(0, &["catalog", "get", "thing"]);
    assert!(thing.contains("secret  string  yes"), "{thing}");
    let missing = world.expect(4, &["catalog", "get", "thing:9.0.0"]);
    assert!(missing.contains("it has 1.0.0"), "{missing}");

    // A failure is told with its reason, and is code 1.
    let file = world.file("paint.yaml", &deployment("green", "fail: no paint left"));
    world.expect(7, &["plan", "-f", &file, "--detailed-exitcode"]);
    let failed = world.expect(1, &["apply", "-f", &file, "--wait"]);
    assert!(
        failed.contains("paint is failed") && failed.contains("a failed: no paint left"),
        "{failed}"
    );
    let watched = world.expect(1, &["watch", "paint"]);
    assert!(watched.contains("no paint left"), "{watched}");

    // Lines of JSON for programs that follow.
    let file = world.file("paint.yaml", &deployment("green", ""));
    world.expect(0, &["apply", "-f", &file]);
    let lines = world.nestor(&["watch", "paint", "-o", "json"]);
    let events: Vec<Value> = text(&lines.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        events
            .iter()
            .any(|e| e["type"] == "ready" && e["resource"] == "b"),
        "{events:?}"
    );

    let revisions = world.nestor(&["revisions", "paint", "-o", "json"]);
    let revisions: Value = serde_json::from_slice(&revisions.stdout).unwrap();
    let latest_first: Vec<u64> = revisions
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["revision"].as_u64().unwrap())
        .collect();
    assert_eq!(latest_first, [3, 2, 1], "{revisions:#}");
    assert_eq!(revisions[1]["outcome"], "failed", "{revisions:#}");
    world.expect(0, &["rollback", "paint", "--to", "1", "--wait"]);
    let view: Value =
        serde_json::from_slice(&world.nestor(&["get", "paint", "-o", "json"]).stdout).unwrap();
    assert_eq!(view["resources"][1]["outputs"]["colour"], "red", "{view:#}");

    let deleted = world.expect(0, &["delete", "paint", "--wait"]);
    assert!(
        deleted.contains("paint is deleted") && !deleted.contains("apply began"),
        "{deleted}"
    );
    world.expect(0, &["delete", "nothing", "--ignore-missing"]);
    let listed = |args: &[&str]| world.expect(0, args).contains("paint");
    assert!(!listed(&["get"]));
    assert!(listed(&["get", "--deleted"]) && listed(&["get", "--status", "deleted"]));
    let refused = world.nestor(&["get", "nothing", "-o", "json"]);
    let problem: Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!(problem["code"], "deployment-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_correlation_id_from_the_request_to_the_engines_lines() {
    let mut world = World::new(None);
    world.start().await;
    world.engines_ready().await;
    let body = std::fs::read_to_string(root().join("examples/web-app/deployment.json")).unwrap();
    let request = format!(
        "POST /api/v1/deployments HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-correlation-id: trace-me-7\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", world.port)).unwrap();
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 202") && answer.contains("trace-me-7"),
        "{answer}"
    );
    support::settled(&world.client(), "web-app").await;
    let lines: Vec<Value> = world
        .log()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let targets: Vec<&str> = lines
        .iter()
        .filter(|line| line.to_string().contains("trace-me-7"))
        .filter_map(|line| line["target"].as_str())
        .collect();
    for part in ["nestor_api", "nestor_orchestrator", "nestor_engine::guest"] {
        assert!(
            targets.iter().any(|target| target.starts_with(part)),
            "no line of {part} among {targets:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_config_decides_which_engines_there_are() {
    let mut world = World::new(Some(DEFINITION));
    let noop = std::fs::read(guest("engines/noop.wasm")).unwrap();
    let manifest = std::fs::read_to_string(root().join("engines-wasm/noop/engine.toml")).unwrap();
    let folder = world.folder.path().to_owned();
    std::fs::create_dir(folder.join("more")).unwrap();
    std::fs::write(folder.join("own.wasm"), &noop).unwrap();
    std::fs::write(folder.join("own.toml"), &manifest).unwrap();
    std::fs::write(folder.join("more/second.wasm"), &noop).unwrap();
    let config = folder.join("nestor.yaml");
    let text = std::fs::read_to_string(&config)
        .unwrap()
        .replace("server: {", "server: {engines_dir: more, ")
        .replace(
            "engines: {",
            "engines: {noop: {component: own.wasm}, helm: {enabled: false}, ",
        );
    std::fs::write(&config, text).unwrap();
    world.start().await;
    world.engines_ready().await;
    let listed: Value =
        serde_json::from_slice(&world.nestor(&["engines", "list", "-o", "json"]).stdout).unwrap();
    let engines: Vec<(&str, &str)> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["name"].as_str().unwrap(), e["source"].as_str().unwrap()))
        .collect();
    assert!(engines.contains(&("noop", "file")), "{listed:#}");
    assert!(engines.contains(&("second", "file")), "{listed:#}");
    assert!(
        !engines.iter().any(|(name, _)| *name == "helm"),
        "{listed:#}"
    );
    let file = world.file("paint.yaml", &deployment("red", ""));
    world.expect(0, &["apply", "-f", &file, "--wait"]);
    let wasm = folder.join("own.wasm").to_string_lossy().into_owned();
    let refused = world.expect(
        4,
        &["engines", "load", &wasm, "--no-manifest", "--name", "helm"],
    );
    assert!(refused.contains("switched off"), "{refused}");
    world.expect(4, &["engines", "delete", "noop"]);
}

#[test]
fn a_server_says_when_it_is_ready_and_stops_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_nestor"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
            "--data-dir",
        ])
        .arg(folder.path().join("data"))
        .env_remove("NESTOR_CONFIG")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let url = line
        .split_whitespace()
        .find(|word| word.starts_with("http://127.0.0.1:"))
        .map(str::to_owned);
    let url = url.unwrap_or_else(|| panic!("{line:?} names no address"));
    assert!(line.starts_with("nestor is ready on http://"), "{line}");
    // A reader that goes away is no failure.
    let piped = Command::new("sh")
        .args([
            "-c",
            "\"$0\" --server \"$1\" engines list | true; exit ${PIPESTATUS:-0}",
        ])
        .args([env!("CARGO_BIN_EXE_nestor"), &url])
        .output()
        .unwrap();
    assert_eq!(text(&piped.stderr), "");
    let asked = Instant::now();
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );
}
