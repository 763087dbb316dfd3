//! Native tools: what is granted runs, and nothing of it is left.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::*;
use nestor_core::engine::EngineError;
use serde_json::{Value, json};

const PARTS: &str = r#"
[[tool]]
name = "sh"
args = [["-c", "**"]]
env = ["GREETING=hello", "ANY", "LD_PRELOAD"]
deadline = "20s"
reason = "tests"
[[tool]]
name = "missing"
args = [["**"]]
reason = "tests"
[limits]
output_bytes = "16MiB"
"#;

async fn host() -> Fixture {
    let fixture = start(|options| {
        let tools = [("sh", "/bin/sh"), ("missing-not-granted", "/bin/true")];
        options.tools = tools
            .map(|(name, path)| (name.to_owned(), PathBuf::from(path)))
            .into();
        let granted =
            nestor_core::grant::Capabilities::parse_grant(&format!("schema = 1\n{PARTS}"), "grant")
                .unwrap();
        options.grants.insert(id("tool-user"), granted);
    })
    .await;
    fixture.load("tool-user", hostile("tool-user"), PARTS).await;
    fixture
}

async fn run(fixture: &Fixture, config: Value) -> Result<(Vec<String>, Value), EngineError> {
    let settled = apply(&fixture.host, "tool-user", config).await?;
    let outputs = outputs(&settled);
    let lines = outputs["lines"].as_array().unwrap();
    let lines = lines
        .iter()
        .map(|line| line.as_str().unwrap().to_owned())
        .collect();
    Ok((lines, outputs.get("exit").cloned().unwrap_or_default()))
}

fn sh(script: &str) -> Value {
    json!({"tool": "sh", "args": ["-c", script]})
}

fn with(mut config: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_granted_tool_runs_in_the_checkout_with_an_empty_environment() {
    let fixture = host().await;
    let checkout = fixture
        .path("checkouts/test/web-app/database")
        .canonicalize();
    assert!(checkout.is_err(), "not before the first call");
    let config = with(
        sh("pwd; cat; echo oops >&2; exit 3"),
        json!({"stdin": "from stdin\n"}),
    );
    let (lines, exit) = run(&fixture, config).await.unwrap();
    let checkout = fixture
        .path("checkouts/test/web-app/database")
        .canonicalize()
        .unwrap();
    let checkout = checkout.to_str().unwrap();
    let out: Vec<&String> = lines.iter().filter(|l| l.starts_with("out")).collect();
    assert_eq!(out, [&format!("out: {checkout}"), "out: from stdin"]);
    assert!(lines.contains(&"err: oops".to_owned()));
    assert_eq!(exit, json!(3));

    let config = with(
        sh("/usr/bin/env | sort"),
        json!({"env": {"GREETING": "hello", "ANY": "x=y"}}),
    );
    let (lines, _) = run(&fixture, config).await.unwrap();
    let names: Vec<&str> = lines
        .iter()
        .map(|l| l["out: ".len()..].split('=').next().unwrap())
        .collect();
    // PWD and _ are the shell's own.
    let own = ["PWD", "OLDPWD", "SHLVL", "_"];
    let given: Vec<&str> = names
        .into_iter()
        .filter(|name| !own.contains(name))
        .collect();
    assert_eq!(given, ["ANY", "GREETING", "HOME", "LANG", "TMPDIR"]);

    let script = "test -w \"$HOME\" && test -w \"$TMPDIR\" && /bin/ls -l /proc/self/fd | /usr/bin/wc -l; ulimit -c; /bin/mkdir -p sub/dir";
    let (lines, exit) = run(&fixture, sh(script)).await.unwrap();
    // ls: standard streams, the folder itself, a header line.
    assert_eq!(lines, ["out: 5", "out: 0"]);
    assert_eq!(exit, json!(0));
    let (lines, _) = run(&fixture, with(sh("pwd"), json!({"directory": "sub/dir"})))
        .await
        .unwrap();
    assert_eq!(lines, [format!("out: {checkout}/sub/dir")]);
    let (lines, _) = run(&fixture, sh("/bin/grep NoNewPrivs /proc/self/status"))
        .await
        .unwrap();
    assert_eq!(lines, ["out: NoNewPrivs:\t1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_granted_is_refused_with_a_reason() {
    let fixture = host().await;
    std::os::unix::fs::symlink("/etc", fixture.dir.path().join("link")).unwrap();
    let table = [
        (
            json!({"tool": "bash", "args": []}),
            "tool \"bash\" is not granted",
        ),
        (
            json!({"tool": "/bin/sh", "args": ["-c", "id"]}),
            "is not granted",
        ),
        (
            json!({"tool": "missing-not-granted", "args": []}),
            "is not granted",
        ),
        (json!({"tool": "missing", "args": []}), "this host has none"),
        (
            json!({"tool": "sh", "args": ["-x"]}),
            "is not granted with the arguments",
        ),
        (
            with(sh("id"), json!({"env": {"PATH": "/bin"}})),
            "the variable PATH is not granted",
        ),
        (
            with(sh("id"), json!({"env": {"GREETING": "bye"}})),
            "the variable GREETING is not granted",
        ),
        (
            with(sh("id"), json!({"env": {"LD_PRELOAD": "x.so"}})),
            "LD_PRELOAD is never allowed",
        ),
        (
            with(sh("id"), json!({"directory": ".."})),
            "not a path inside /work",
        ),
        (
            with(sh("id"), json!({"directory": "/etc"})),
            "not a path inside /work",
        ),
        (
            with(sh("id"), json!({"directory": "nowhere"})),
            "cannot be opened",
        ),
        (sh("a\0b"), "could not be started"),
        (sh(&"x".repeat(200_000)), "bytes of arguments"),
    ];
    for (config, says) in table {
        let error = run(&fixture, config).await.unwrap_err();
        assert!(
            matches!(&error, EngineError::Denied(why) if why.contains(says)),
            "{error:?}"
        );
    }
    // A link that leads out of the checkout is no directory of it.
    run(&fixture, sh("/bin/ln -s /etc out")).await.unwrap();
    let error = run(&fixture, with(sh("id"), json!({"directory": "out"})))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("cannot be opened"), "{error}");
}

/// Whether a process that left its number in a file of the checkout is there.
fn alive(fixture: &Fixture, file: &str) -> bool {
    let path = fixture.path("checkouts/test/web-app/database").join(file);
    let pid = std::fs::read_to_string(&path).unwrap();
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

async fn gone(fixture: &Fixture, file: &str) -> bool {
    for _ in 0..100 {
        if !alive(fixture, file) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_and_its_children_end_with_their_time() {
    let fixture = host().await;
    let began = Instant::now();
    let script = "echo one; /bin/sleep 600 & echo $! > child; echo $$ > self; wait";
    let (lines, exit) = run(&fixture, with(sh(script), json!({"timeout_ms": 300})))
        .await
        .unwrap();
    assert_eq!(lines, ["out: one"]);
    assert!(
        exit.as_str().unwrap().contains("longer than 300ms"),
        "{exit}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert!(gone(&fixture, "child").await && gone(&fixture, "self").await);

    // What a tool leaves behind ends with it.
    let (_, exit) = run(&fixture, sh("/bin/sleep 600 & echo $! > orphan; exit 0"))
        .await
        .unwrap();
    assert_eq!(exit, json!(0));
    assert!(gone(&fixture, "orphan").await);

    let (lines, exit) = run(
        &fixture,
        with(
            sh("echo $$ > killed; echo up; /bin/sleep 600"),
            json!({"kill": true}),
        ),
    )
    .await
    .unwrap();
    assert_eq!(
        (lines.as_slice(), &exit),
        (["out: up".to_owned()].as_slice(), &json!("it was killed"))
    );
    assert!(gone(&fixture, "killed").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_ends_with_its_call_and_may_say_farewell() {
    let fixture = host().await;
    // It gets an interrupt first, and the answer waits for its end.
    let script = "trap 'echo saved > state; exit 0' INT; echo $$ > self; echo up; while :; do /bin/sleep 0.05; done";
    let (lines, _) = run(&fixture, with(sh(script), json!({"leave": true})))
        .await
        .unwrap();
    assert_eq!(lines, ["out: up"]);
    assert!(!alive(&fixture, "self"), "the call is over, so is the tool");
    let state = fixture.path("checkouts/test/web-app/database/state");
    assert_eq!(std::fs::read_to_string(state).unwrap(), "saved\n");

    // A caller that goes away ends it as well.
    let host = fixture.host.clone();
    let calling = tokio::spawn(async move {
        let script = "echo $$ > dropped; /bin/sleep 600";
        apply(&host, "tool-user", sh(script)).await
    });
    let file = fixture.path("checkouts/test/web-app/database/dropped");
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    calling.abort();
    assert!(gone(&fixture, "dropped").await);

    // While it says farewell, nobody else begins in its checkout.
    let host = fixture.host.clone();
    let calling = tokio::spawn(async move {
        let script = "trap '/bin/sleep 0.5; /bin/rm busy; exit 0' INT; : > busy; while :; do /bin/sleep 0.05; done";
        apply(&host, "tool-user", sh(script)).await
    });
    let file = fixture.path("checkouts/test/web-app/database/busy");
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    calling.abort();
    let script = "if [ -e busy ]; then echo busy; else echo free; fi";
    let (lines, _) = run(&fixture, sh(script)).await.unwrap();
    assert_eq!(lines, ["out: free"]);
}

#[test]
fn a_tool_hears_an_interrupt_that_the_host_ignores() {
    // As a host that a script started in its background.
    let ignoring = std::process::Command::new("/bin/sh")
        .args(["-c", "trap '' INT; exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg("a_tool_ends_with_its_call_and_may_say_farewell")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ignoring.stdout);
    assert!(ignoring.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_floods_and_long_lines() {
    let fixture = host().await;
    let script = "/usr/bin/yes | /usr/bin/head -c 20000000 | /usr/bin/tr -d '\\n' ; echo; echo end";
    let (lines, exit) = run(&fixture, sh(script)).await.unwrap();
    assert_eq!(exit, json!(0));
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].ends_with("bytes cut)"),
        "{}",
        &lines[0][lines[0].len() - 50..]
    );
    assert_eq!(lines[1], "out: end");
}
