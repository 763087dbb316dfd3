//! Requests that a browser makes for another site.

use crate::fake::Host;

/// Headers, and the code of the refusal; none: it is let through.
type Case<'a> = (&'a str, Option<&'a str>);

const OTHER_NAME: Option<&str> = Some("unknown-host");
const OTHER_SITE: Option<&str> = Some("foreign-origin");

async fn check(host: &Host, table: &[Case<'_>]) {
    for (headers, code) in table {
        for request in [
            "POST /api/v1/deployments/web-app/approve",
            "DELETE /api/v1/deployments/web-app",
        ] {
            host.service.asked.lock().unwrap().clear();
            let answer = host.ask(&format!("{request}\n{headers}")).await;
            let called = host.service.asked.lock().unwrap().len();
            match code {
                None => assert!(
                    answer.status.is_success() && called == 1,
                    "{headers}: {answer:?}"
                ),
                Some(code) => {
                    assert_eq!(answer.json()["code"], *code, "{headers}");
                    assert_eq!(called, 0, "{headers}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_host_on_loopback_is_asked_for_by_its_own_names() {
    let host = Host::known_as(&["nestor.example.com"], true);
    check(
        &host,
        &[
            ("", None),
            ("host: 127.0.0.1:8080", None),
            ("host: [::1]:8080", None),
            ("host: LocalHost:8080", None),
            ("host: localhost.:8080", None),
            ("host: web.localhost", None),
            ("host: Nestor.example.com", None),
            ("host: nestor.example.com:443", None),
            ("host: evil.example:8080", OTHER_NAME),
            // A page whose name was made to lead here.
            (
                "host: evil.example:8080\norigin: http://evil.example:8080",
                OTHER_NAME,
            ),
            ("host: localhost.evil.example", OTHER_NAME),
            ("host: 127.0.0.1.evil.example", OTHER_NAME),
            ("host: localhost:8080\nhost: evil.example", OTHER_NAME),
            ("host: ", OTHER_NAME),
        ],
    )
    .await;
    // It says what to do, and reading is refused as well.
    let answer = host
        .ask("GET /api/v1/deployments\nhost: evil.example")
        .await;
    assert_eq!(answer.status, 421);
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("server.hosts"), "{detail}");
    assert!(detail.contains("hosts: [evil.example]"), "{detail}");
}

#[tokio::test]
async fn other_hosts_take_what_leads_to_them() {
    let host = Host::known_as(&[], false);
    check(
        &host,
        &[
            ("host: nestor.internal:8080", None),
            (
                "host: nestor.internal\norigin: http://nestor.internal",
                None,
            ),
            (
                "host: nestor.internal\norigin: https://evil.example",
                OTHER_SITE,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn pages_of_other_sites_do_nothing() {
    let host = Host::known_as(&["nestor.example.com"], true);
    let own = "host: 127.0.0.1:8080\n";
    let table: Vec<(String, Option<&str>)> = [
        ("origin: http://127.0.0.1:8080", None),
        // Behind a proxy that asks for an address.
        ("origin: https://nestor.example.com", None),
        ("origin: https://evil.example", OTHER_SITE),
        ("origin: http://127.0.0.1:3000", OTHER_SITE),
        ("origin: http://localhost:8080", OTHER_SITE),
        ("origin: null", OTHER_SITE),
        ("origin: ", OTHER_SITE),
        ("origin: http://127.0.0.1:8080@evil.example", OTHER_SITE),
        ("origin: file://127.0.0.1:8080", OTHER_SITE),
        ("sec-fetch-site: same-origin", None),
        ("sec-fetch-site: none", None),
        ("sec-fetch-site: cross-site", OTHER_SITE),
        ("sec-fetch-site: same-site", OTHER_SITE),
        (
            "sec-fetch-site: cross-site\nsec-fetch-mode: navigate\nsec-fetch-dest: document",
            OTHER_SITE,
        ),
    ]
    .map(|(headers, code)| (format!("{own}{headers}"), code))
    .into();
    let table: Vec<Case<'_>> = table
        .iter()
        .map(|(headers, code)| (headers.as_str(), *code))
        .collect();
    check(&host, &table).await;
    // Somebody follows a link.
    let link = "host: 127.0.0.1\nsec-fetch-site: cross-site\nsec-fetch-mode: navigate\nsec-fetch-dest: document";
    let answer = host.ask(&format!("GET /errors/busy\n{link}")).await;
    assert_eq!(answer.status, 200);
    let frame = link.replace("document", "iframe");
    let answer = host.ask(&format!("GET /errors/busy\n{frame}")).await;
    assert_eq!(answer.status, 403);
}
