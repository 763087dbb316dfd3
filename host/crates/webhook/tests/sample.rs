//! The sample in docs/webhooks.md: its message is signed as it says, and its
//! code takes that message and no other.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;

use nestor_core::webhook::{Secret, signature};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn block(text: &str, language: &str) -> String {
    let begin = format!("```{language}\n");
    let from = text.find(&begin).unwrap() + begin.len();
    let length = text[from..].find("```").unwrap();
    text[from..from + length].to_owned()
}

#[test]
fn the_sample_verifies_its_own_message() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/webhooks.md");
    let text = std::fs::read_to_string(docs).unwrap();
    assert!(text.contains(SECRET));
    let message = block(&text, "http");
    let (head, body) = message.split_once("\n\n").unwrap();
    let body = body.trim_end();
    let header = |name: &str| {
        let line = head.lines().find(|l| l.starts_with(&format!("{name}: ")));
        line.unwrap().split_once(": ").unwrap().1.to_owned()
    };
    let (id, stamp) = (header("webhook-id"), header("webhook-timestamp"));
    let secret = Secret::parse(SECRET).unwrap();
    let signed = signature([&secret], &id, stamp.parse().unwrap(), body.as_bytes());
    assert_eq!(header("webhook-signature"), signed);
    let code = block(&text, "python");
    let headers = format!(
        "{{'webhook-id': {id:?}, 'webhook-timestamp': {stamp:?}, 'webhook-signature': 'v1,other {signed}'}}"
    );
    let script = format!(
        "{code}\nbody = {body:?}.encode()\nheaders = {headers}\n\
         assert verify({SECRET:?}, headers, body, now={stamp})\n\
         assert not verify({SECRET:?}, headers, body + b' ', now={stamp})\n\
         assert not verify({SECRET:?}, headers, body, now={stamp} + 301)\n\
         assert not verify('whsec_AAAA', headers, body, now={stamp})\n"
    );
    match Command::new("python3").arg("-c").arg(&script).output() {
        Ok(ran) => assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        ),
        Err(_) => println!("there is no python3 here: the sample's code was not run"),
    }
}
