//! Messages over real connections to a receiver on this machine.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::{Arc, Mutex};

use nestor_core::ports::{Notice, NoticeAnswer, Notifier};
use nestor_core::webhook::{Secret, signature};
use nestor_webhook::{Allowed, HttpNotifier};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Answers every connection as told and keeps what it was sent.
async fn receiver(answer: &'static str) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            // The bodies here end with a closing brace.
            while !request.ends_with(b"}") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let text = String::from_utf8_lossy(&request).into_owned();
            keep.lock().unwrap().push(text);
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, heard)
}

fn notice(url: String, allow_private: bool) -> Notice {
    let body: &[u8] = br#"{"specversion":"1.0"}"#;
    let secret = Secret::parse(SECRET).unwrap();
    Notice {
        url,
        allow_private,
        id: "web/1".into(),
        sent_at: 1_700_000_000,
        signature: signature([&secret], "web/1", 1_700_000_000, body),
        body: body.into(),
    }
}

fn loopback() -> HttpNotifier {
    let mut allowed = Allowed::default();
    allowed.add("127.0.0.0/8").unwrap();
    allowed.add("localhost").unwrap();
    HttpNotifier::new(allowed)
}

#[tokio::test]
async fn a_message_arrives_whole() {
    let (port, heard) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{port}/hook?a=b");
        let answer = loopback().post(notice(url, true)).await;
        assert_eq!(
            answer,
            NoticeAnswer::Status {
                code: 204,
                retry_after_ms: None
            },
            "{host}"
        );
    }
    let request = heard.lock().unwrap()[0].to_ascii_lowercase();
    assert!(
        request.starts_with("post /hook?a=b http/1.1\r\n"),
        "{request}"
    );
    for header in [
        "content-type: application/cloudevents+json",
        "webhook-id: web/1",
        "webhook-timestamp: 1700000000",
        "webhook-signature: v1,",
    ] {
        assert!(request.contains(header), "{header}: {request}");
    }
    assert!(request.ends_with("{\"specversion\":\"1.0\"}"), "{request}");
}

#[tokio::test]
async fn answers_come_back_as_they_are() {
    let (port, _) =
        receiver("HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n").await;
    let answer = loopback()
        .post(notice(format!("http://127.0.0.1:{port}/"), true))
        .await;
    assert_eq!(
        answer,
        NoticeAnswer::Status {
            code: 503,
            retry_after_ms: Some(7_000)
        }
    );
    // Redirects are answers, not ways.
    let (target, heard) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let location = format!(
        "HTTP/1.1 307 Elsewhere\r\nlocation: http://127.0.0.1:{target}/\r\ncontent-length: 0\r\n\r\n"
    );
    let (port, _) = receiver(Box::leak(location.into_boxed_str())).await;
    let answer = loopback()
        .post(notice(format!("http://127.0.0.1:{port}/"), true))
        .await;
    assert_eq!(
        answer,
        NoticeAnswer::Status {
            code: 307,
            retry_after_ms: None
        }
    );
    assert!(heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn private_addresses_are_refused_unless_listed_and_meant() {
    let (port, heard) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let closed = HttpNotifier::new(Allowed::default());
    for (notifier, host, meant) in [
        (&closed, "127.0.0.1", true),
        (&closed, "localhost", true),
        (&loopback(), "127.0.0.1", false),
        (&loopback(), "localhost", false),
    ] {
        let answer = notifier
            .post(notice(format!("http://{host}:{port}/"), meant))
            .await;
        let NoticeAnswer::NotAllowed(reason) = answer else {
            panic!("{host} {meant}: {answer:?}");
        };
        assert!(reason.contains("allow_private"), "{reason}");
    }
    assert!(heard.lock().unwrap().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn nobody_there_is_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let answer = loopback()
        .post(notice(format!("http://127.0.0.1:{port}/"), true))
        .await;
    assert!(matches!(answer, NoticeAnswer::Unreachable(_)), "{answer:?}");
}
