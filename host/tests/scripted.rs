//! The command line against a server that follows a script: what it asks, what
//! it never asks, and how it ends when nothing moves.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// A server, and the requests that it has heard.
struct Script {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Script {
    /// Answers each request, `METHOD /path?query`, with what `answers` says.
    fn new(answers: impl Fn(&str) -> Value + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (all, answers) = (heard.clone(), Arc::new(answers));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, answers) = (all.clone(), answers.clone());
                std::thread::spawn(move || serve(stream, &all, &*answers));
            }
        });
        Self { url, heard }
    }

    fn nestor(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nestor"));
        command
            .args(arguments)
            .env("NESTOR_URL", &self.url)
            .stdin(Stdio::null());
        command
    }

    /// Code, and what is said on standard error.
    fn ends(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.nestor(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// One connection, request after request.
fn serve(stream: TcpStream, heard: &Mutex<Vec<String>>, answers: &dyn Fn(&str) -> Value) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let request = line.rsplit_once(" HTTP/").unwrap().0.to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            if header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        heard.lock().unwrap().push(request.clone());
        let answer = answers(&request);
        if request.contains("/events") {
            let head =
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
            let over = "event: end\ndata: {}\n\n";
            let _ = writer.write_all(head.as_bytes());
            match answer {
                // Nothing ever happens.
                Value::Null => std::thread::sleep(std::time::Duration::from_secs(60)),
                _ => writer.write_all(over.as_bytes()).unwrap(),
            }
            return;
        }
        let status = answer["status"].as_u64().unwrap_or(200);
        let media = if status < 400 { "json" } else { "problem+json" };
        let body = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/{media}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if writer.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// A deployment with one resource.
fn deployment(status: &str) -> Value {
    json!({
        "id": "web", "status": status, "phase": "deploying", "revision": 2, "composer": "team",
        "environment": "prod", "progress": "0%", "createdAt": "2026-01-01T00:00:00.000Z",
        "updatedAt": "2026-01-01T00:00:00.000Z",
        "resources": [{"name": "app", "status": "ready", "engine": "helm", "catalogRef": "app:1.0.0"}],
    })
}

fn accepted() -> Value {
    json!({"id": "web", "revision": 2, "status": "ready"})
}

#[test]
fn only_a_plan_that_somebody_saw_is_approved() {
    let script = Script::new(|request| match request {
        "GET /api/v1/deployments/web" => deployment("ready"),
        _ => accepted(),
    });
    // Another revision may begin to wait between the look and the request.
    let (code, said) = script.ends(&["approve", "web", "--yes"]);
    assert_eq!(code, 4, "{said}");
    assert!(
        said.contains("nothing waits for approval: web is ready"),
        "{said}"
    );
    assert_eq!(script.heard(), ["GET /api/v1/deployments/web"]);
    // The same again with the digest is for the server to judge; and it is waited for.
    let digest = format!("sha256:{}", "0".repeat(64));
    let (code, said) = script.ends(&["approve", "web", "--plan", &digest, "--wait"]);
    assert_eq!(code, 0, "{said}");
    let heard = script.heard();
    assert!(
        heard.iter().any(|r| r.ends_with("/web/approve"))
            && heard.iter().any(|r| r.contains("/web/events")),
        "{heard:?}"
    );
}

#[test]
fn where_nobody_can_be_asked_nothing_is_done() {
    let script = Script::new(|request| match request {
        "GET /api/v1/deployments/web" => {
            let mut web = deployment("awaiting_approval");
            web["approval"] =
                json!({"plan": "sha256:1", "revision": 2, "action": "delete", "requestedAt": ""});
            web
        }
        "GET /api/v1/deployments/web/plan" => {
            json!({"id": "web", "revision": 2, "digest": "sha256:1", "resources": [], "summary": {"delete": 1}})
        }
        _ => accepted(),
    });
    let output = script.nestor(&["approve", "web", "-o", "json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(output.stdout, b"");
    assert!(
        said.contains("what deleting it would destroy") && said.contains("--plan sha256:1"),
        "{said}"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"id\": \"web\"}").unwrap();
    let path = file.path().to_string_lossy().into_owned();
    let (code, said) = script.ends(&["apply", "-f", &path, "--plan"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--yes"), "{said}");
    let heard = script.heard();
    assert!(heard.iter().all(|r| r.starts_with("GET ")), "{heard:?}");
    // With --yes what waits is shown, and approved by its digest.
    let output = script.nestor(&["approve", "web", "--yes"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("In all: 1 delete"));
}

/// Nothing ever happens to the deployment.
fn still(status: &'static str) -> Script {
    Script::new(move |request| match request {
        "GET /api/v1/deployments/web" => deployment(status),
        request if request.contains("/events") => Value::Null,
        _ => accepted(),
    })
}

#[test]
fn waiting_ends_with_a_code_of_its_own() {
    for (status, code, says) in [
        ("in_progress", 8, "it goes on: `nestor watch web`"),
        ("awaiting_approval", 9, "nestor approve web"),
    ] {
        let script = still(status);
        let (ended, said) = script.ends(&["watch", "web", "--timeout", "200ms"]);
        assert_eq!(ended, code, "{said}");
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn who_stops_waiting_hears_that_it_goes_on() {
    let script = still("in_progress");
    let waiting = script
        .command(&["retry", "web", "--wait"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !script.heard().iter().any(|r| r.contains("/events")) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let interrupted = Command::new("kill")
        .args(["-INT", &waiting.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "the deployment goes on: nestor watch web\n"
    );
}
