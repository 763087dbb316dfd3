//! A real listener and the real client.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use nestor_client::{Client, ClientError, DeploymentStatus, EventOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::fake::{Host, event};

struct Running {
    host: Host,
    address: std::net::SocketAddr,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(host: Host, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(nestor_api::serve(
            listener,
            host.router(),
            host.limits,
            host.shutdown.clone(),
        ));
        Self {
            host,
            address,
            task,
        }
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.address)).unwrap()
    }

    async fn stop(self) -> Host {
        self.host.shutdown.cancel();
        self.task.await.unwrap();
        self.host
    }
}

#[tokio::test]
async fn the_client_knows_every_call() {
    let running = Running::start(Host::new(), "127.0.0.1:0").await;
    let client = running.client();
    let accepted = client
        .submit(r#"{"id": "web-app"}"#, Some("key"))
        .await
        .unwrap();
    assert_eq!(
        (accepted.id.as_str(), accepted.status),
        ("web-app", DeploymentStatus::Pending)
    );
    assert_eq!(
        client.deployment("web-app").await.unwrap().status,
        DeploymentStatus::Ready
    );
    assert_eq!(
        client.plan(r#"{"id": "web-app"}"#).await.unwrap().revision,
        2
    );
    assert_eq!(client.plan_again("web-app").await.unwrap().revision, 2);
    assert_eq!(
        client
            .deployments(&Default::default(), None, Some(3))
            .await
            .unwrap()
            .next
            .as_deref(),
        Some("c")
    );
    client.retry("web-app").await.unwrap();
    client.cancel("web-app").await.unwrap();
    client.rollback("web-app", Some(1)).await.unwrap();
    client.delete("web-app").await.unwrap();
    assert!(client.revisions("web-app").await.unwrap().is_empty());
    assert!(client.graph("web-app").await.unwrap().nodes.is_empty());
    assert_eq!(
        client.definitions().await.unwrap().items[0].catalog_ref,
        "aws-rds-mysql:1.0.0"
    );
    assert_eq!(
        client
            .definition("aws-rds-mysql")
            .await
            .unwrap()
            .versions
            .len(),
        1
    );
    client.ready().await.unwrap();
    let component = b"\0component \r\n--x".to_vec();
    assert_eq!(
        client
            .put_engine("note", component.clone(), Some("schema = 1\n"))
            .await
            .unwrap()
            .size,
        component.len() as u64
    );
    assert_eq!(
        running.host.engines.put.lock().unwrap()[0].1.as_deref(),
        Some("schema = 1\n")
    );
    assert_eq!(client.engine("note").await.unwrap().status, "ready");
    assert_eq!(client.engines().await.unwrap().items.len(), 1);
    assert!(client.delete_engine("note").await.unwrap().is_none());
    running.stop().await;
}

#[tokio::test]
async fn the_client_keeps_codes_pointers_and_violations() {
    let running = Running::start(Host::new(), "127.0.0.1:0").await;
    let client = running.client();
    let problem = match client.submit("{}", None).await {
        Err(ClientError::Problem(problem)) => problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (problem.code.as_str(), problem.status),
        ("invalid-deployment", 422)
    );
    let violations: Vec<_> = problem
        .violations
        .iter()
        .map(|v| (v.code.as_str(), v.pointer.as_str()))
        .collect();
    assert_eq!(
        violations,
        [
            ("missing-field", "/id"),
            ("dependency-cycle", "/dependencies")
        ]
    );
    assert!(!problem.correlation_id.is_empty());
    let busy = client.submit(r#"{"id": "busy"}"#, None).await.unwrap_err();
    assert_eq!(
        busy.problem().unwrap().retry_after,
        Some(Duration::from_secs(7))
    );
    assert!(busy.is_transient());
    let big = vec![b' '; nestor_core::spec::MAX_BODY_BYTES + 1000];
    assert_eq!(
        client
            .submit(big, None)
            .await
            .unwrap_err()
            .problem()
            .unwrap()
            .status,
        413
    );
    running.stop().await;
    assert!(matches!(
        client.ready().await,
        Err(ClientError::Unreachable { .. })
    ));
}

#[tokio::test]
async fn the_client_resumes_across_a_restart() {
    let host = Host::new();
    *host.service.events.lock().unwrap() = vec![event(1), event(2)];
    let running = Running::start(host, "127.0.0.1:0").await;
    let address = running.address.to_string();
    let mut events = running.client().events(
        "settled",
        EventOptions {
            follow: true,
            ..Default::default()
        },
    );
    let mut seen = vec![
        events.next().await.unwrap().unwrap().id,
        events.next().await.unwrap().unwrap().id,
    ];
    running.stop().await;

    let host = Host::new();
    *host.service.events.lock().unwrap() = (1..=4).map(event).collect();
    let running = Running::start(host, &address).await;
    seen.push(events.next().await.unwrap().unwrap().id);
    seen.push(events.next().await.unwrap().unwrap().id);
    assert_eq!(seen, [Some(1), Some(2), Some(3), Some(4)]);
    let rest: Vec<_> = running
        .client()
        .events(
            "settled",
            EventOptions {
                after: Some(3),
                ..Default::default()
            },
        )
        .try_collect()
        .await
        .unwrap();
    assert_eq!(rest.iter().map(|e| e.id).collect::<Vec<_>>(), [Some(4)]);
    assert_eq!(rest[0].message, "event 4\nwith a second line");
    drop(events);
    running.stop().await;
}

#[tokio::test]
async fn requests_under_way_finish_and_new_ones_are_refused() {
    let running = Running::start(Host::new(), "127.0.0.1:0").await;
    let client = running.client();
    let slow = tokio::spawn({
        let client = client.clone();
        async move { client.submit(r#"{"id": "slow"}"#, None).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = std::time::Instant::now();
    running.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(slow.await.unwrap().unwrap().id, "slow");
}

async fn raw(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn raw_nonsense_does_not_hurt() {
    let running = Running::start(Host::new(), "127.0.0.1:0").await;
    let many = (0..200)
        .map(|n| format!("x-{n}: 1\r\n"))
        .collect::<String>();
    for request in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{many}\r\n").into_bytes(),
        format!("GET /healthz HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(100_000)).into_bytes(),
        b"POST /api/v1/deployments HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
    ] {
        let answer = raw(running.address, &request).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    running.client().ready().await.unwrap();
    running.stop().await;
}
