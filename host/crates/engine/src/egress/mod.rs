//! Outgoing HTTP: the only network that a guest has.
//!
//! In this order: parse strictly, match the grant, resolve, look at every
//! address, connect to one of those, TLS for the name that was granted.
//! Redirects are handed to the engine as they are; what it asks for next comes
//! through here again. A denial reaches the guest as `HTTP-request-denied`, and
//! the deployment's log and the audit with its reason.

mod address;
mod exchange;
mod target;

use std::sync::Arc;

use nestor_core::grant::Grant;
use nestor_core::ids::EngineId;
use nestor_core::ports::{CallObserver, LogLevel};
use serde_json::json;
use tokio::time::Instant;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::metrics::REQUESTS;
use exchange::exchange;
use target::Target;

/// The way out of one call.
pub(crate) struct Egress {
    engine: EngineId,
    grant: Arc<Grant>,
    observer: Arc<dyn CallObserver>,
    /// The end of the call.
    until: Instant,
}

impl Egress {
    pub(crate) fn new(
        engine: EngineId,
        grant: Arc<Grant>,
        observer: Arc<dyn CallObserver>,
        until: Instant,
    ) -> Self {
        Self {
            engine,
            grant,
            observer,
            until,
        }
    }

    fn count(engine: &EngineId, result: &'static str) {
        metrics::counter!(REQUESTS, "engine" => engine.to_string(), "result" => result)
            .increment(1);
    }
}

/// Why a request was not sent, or failed.
pub(crate) enum Refusal {
    /// By the grant or the address filter; the reason is for people.
    Denied(String),
    Failed(Error),
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send>;

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Sent {
        let engine = self.engine.clone();
        let observer = Arc::clone(&self.observer);
        let until = self.until;
        let allowed = Target::parse(request.method(), request.uri()).and_then(|target| {
            let rule = self.grant.allows_request(
                target.scheme,
                &target.host,
                target.port,
                request.method().as_str(),
                &target.path,
            )?;
            match &rule.auth {
                None => Ok((target, rule.clone())),
                Some(auth) => Err(format!(
                    "{} needs the secret {:?}, but this host has no source of secrets",
                    rule.origin, auth.secret
                )),
            }
        });
        Box::new(async move {
            let answered = match allowed {
                Ok((target, rule)) => exchange(request, target, rule, until).await,
                Err(reason) => Err(Refusal::Denied(reason)),
            };
            match answered {
                Ok(answer) => {
                    Self::count(&engine, "sent");
                    Ok(answer)
                }
                Err(Refusal::Failed(error)) => {
                    Self::count(&engine, "failed");
                    Err(error)
                }
                Err(Refusal::Denied(reason)) => {
                    Self::count(&engine, "denied");
                    tracing::warn!(target: "nestor_engine::audit", %engine, reason, "request denied");
                    observer.log(
                        LogLevel::Warn,
                        &format!("request denied: {reason}"),
                        &json!({}),
                    );
                    Err(Error::HttpRequestDenied)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use nestor_core::grant::{Capabilities, effective};
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl CallObserver for Heard {
        fn log(&self, _: LogLevel, message: &str, _: &Value) {
            self.0.lock().unwrap().push(message.into());
        }
        fn progress(&self, _: Option<u8>, _: &str) {}
    }

    struct Fixture {
        egress: Egress,
        heard: Arc<Heard>,
    }

    impl Fixture {
        fn new(rules: &str) -> Self {
            let granted =
                Capabilities::parse_grant(&format!("schema = 1\n{rules}"), "grant").unwrap();
            let heard = Arc::new(Heard::default());
            let until = Instant::now() + Duration::from_secs(60);
            let grant = Arc::new(effective(&granted, &granted).unwrap());
            let engine = EngineId::new("test").unwrap();
            Self {
                egress: Egress::new(engine, grant, heard.clone(), until),
                heard,
            }
        }

        async fn send(
            &mut self,
            method: &str,
            uri: &str,
            body: &[u8],
        ) -> Result<(u16, Bytes), Error> {
            let body = Full::new(Bytes::copy_from_slice(body))
                .map_err(Error::from)
                .boxed_unsync();
            let request = http::Request::builder()
                .method(method)
                .uri(uri)
                .header("host", "somewhere.else")
                .body(body)
                .unwrap();
            let sent = self
                .egress
                .send_request(request, None, Box::new(async { Ok(()) }));
            let (response, io) = Box::into_pin(sent).await?;
            let io = tokio::spawn(Box::into_pin(io));
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            io.abort();
            Ok((status, body))
        }

        fn reason(&self) -> String {
            self.heard
                .0
                .lock()
                .unwrap()
                .last()
                .cloned()
                .unwrap_or_default()
        }
    }

    /// Answers every connection with the request's head as its body, or as told.
    async fn server(answer: Option<&'static str>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    let echo = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}",
                        head.len()
                    );
                    let _ = stream.write_all(answer.unwrap_or(&echo).as_bytes()).await;
                    tokio::time::sleep(Duration::from_secs(30)).await;
                });
            }
        });
        port
    }

    fn rule(port: u16, more: &str) -> String {
        format!(
            "[[http]]\norigin = \"http://127.0.0.1:{port}\"\npaths = [\"/v1/**\"]\naddresses = \"loopback\"\n{more}\n"
        )
    }

    #[tokio::test]
    async fn a_granted_request_goes_where_it_says() {
        let port = server(None).await;
        let mut fixture = Fixture::new(&rule(port, "methods = [\"POST\"]"));
        let uri = format!("http://127.0.0.1:{port}/v1/a?b=c");
        let (status, body) = fixture.send("POST", &uri, b"x").await.unwrap();
        let head = String::from_utf8(body.to_vec())
            .unwrap()
            .to_ascii_lowercase();
        assert_eq!(status, 200);
        assert!(head.starts_with("post /v1/a?b=c http/1.1\r\n"), "{head}");
        assert!(
            head.contains(&format!("\r\nhost: 127.0.0.1:{port}\r\n")),
            "{head}"
        );
        assert!(!head.contains("somewhere.else"), "{head}");
    }

    #[tokio::test]
    async fn what_is_not_granted_is_denied_with_its_reason() {
        let port = server(None).await;
        let mut fixture = Fixture::new(&rule(port, ""));
        for (method, uri, says) in [
            (
                "GET",
                format!("http://127.0.0.1:{port}/v2"),
                "is not granted",
            ),
            (
                "GET",
                format!("http://127.0.0.1:{port}/v1/../v2"),
                "must stand without",
            ),
            (
                "GET",
                format!("http://127.0.0.1:{port}/v1/%2e%2e/v2"),
                "escapes a character",
            ),
            (
                "DELETE",
                format!("http://127.0.0.1:{port}/v1/a"),
                "is not granted",
            ),
            ("GET", "http://127.0.0.1:1/v1/a".into(), "is not granted"),
            (
                "GET",
                "http://169.254.169.254/latest".into(),
                "is not granted",
            ),
            (
                "GET",
                format!("http://localhost:{port}/v1/a"),
                "is not granted",
            ),
        ] {
            let error = fixture.send(method, &uri, b"").await.unwrap_err();
            assert!(matches!(error, Error::HttpRequestDenied), "{uri}: {error}");
            assert!(
                fixture.reason().contains(says),
                "{uri}: {}",
                fixture.reason()
            );
        }

        // A granted name that leads inward.
        let mut fixture = Fixture::new(&format!(
            "[[http]]\norigin = \"http://localhost:{port}\"\npaths = [\"/**\"]\n"
        ));
        let error = fixture
            .send("GET", &format!("http://localhost:{port}/"), b"")
            .await
            .unwrap_err();
        assert!(matches!(error, Error::HttpRequestDenied), "{error}");
        assert!(
            fixture.reason().contains("localhost leads to")
                && fixture.reason().contains("this machine itself"),
            "{}",
            fixture.reason()
        );

        let mut fixture = Fixture::new(&rule(
            port,
            "auth = { secret = \"token\", as = \"bearer\" }",
        ));
        let error = fixture
            .send("GET", &format!("http://127.0.0.1:{port}/v1/a"), b"")
            .await
            .unwrap_err();
        assert!(matches!(error, Error::HttpRequestDenied), "{error}");
        assert!(
            fixture.reason().contains("no source of secrets"),
            "{}",
            fixture.reason()
        );
    }

    #[tokio::test]
    async fn answers_are_bounded_in_size_and_time() {
        let big = server(Some("HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n")).await;
        let mut fixture = Fixture::new(&rule(big, "deadline = \"300ms\""));
        let error = fixture
            .send("GET", &format!("http://127.0.0.1:{big}/v1/a"), b"")
            .await
            .unwrap_err();
        assert!(matches!(error, Error::HttpResponseTimeout), "{error}");

        let silent = server(Some("")).await;
        let mut fixture = Fixture::new(&rule(silent, "deadline = \"300ms\""));
        let error = fixture
            .send("GET", &format!("http://127.0.0.1:{silent}/v1/a"), b"")
            .await
            .unwrap_err();
        assert!(matches!(error, Error::HttpResponseTimeout), "{error}");

        let port = server(None).await;
        let uri = format!("http://127.0.0.1:{port}/v1/{}", "x".repeat(2000));
        let mut fixture = Fixture::new(&rule(port, "max_body = \"1KiB\""));
        let error = fixture.send("GET", &uri, b"").await.unwrap_err();
        assert!(
            matches!(error, Error::HttpResponseBodySize(Some(1024))),
            "{error}"
        );
        let error = fixture
            .send("GET", &format!("http://127.0.0.1:{port}/v1/a"), &[0; 2000])
            .await;
        assert!(error.is_err(), "a request's body is bounded as well");
    }
}
