//! Posts messages to receivers outside.
//!
//! A receiver is whoever somebody subscribed, so every address is checked
//! before a byte goes there: what a name resolves to now is what is connected
//! to, a name of which one address is not allowed is refused whole, redirects
//! are not followed, no proxy of the environment is used, and no connection is
//! kept for the next message.

mod allowed;
mod resolve;

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use nestor_core::ports::{Notice, NoticeAnswer, Notifier};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Url};

pub use allowed::Allowed;
use resolve::{Refused, Resolver};

/// A receiver that takes no connection by then is not there.
const CONNECT: Duration = Duration::from_secs(5);
/// Receivers are to answer first and work later.
const ANSWER: Duration = Duration::from_secs(15);
/// Nobody needs more to be named.
const MAX_HOST: usize = 253;

/// Posts over HTTP.
pub struct HttpNotifier {
    allowed: Allowed,
    /// By scheme, and by whether private addresses are meant: made when first
    /// needed, because only HTTPS needs the machine's certificates.
    clients: [OnceLock<Result<Client, String>>; 4],
}

impl HttpNotifier {
    /// With the private addresses that the host's config allows.
    #[must_use]
    pub fn new(allowed: Allowed) -> Self {
        Self {
            allowed,
            clients: Default::default(),
        }
    }

    fn client(&self, https: bool, allow_private: bool) -> Result<&Client, String> {
        let place = usize::from(https) * 2 + usize::from(allow_private);
        self.clients[place]
            .get_or_init(|| {
                let resolver = Resolver::new(self.allowed.clone(), allow_private);
                build(https, resolver)
            })
            .as_ref()
            .map_err(Clone::clone)
    }
}

fn build(https: bool, resolver: Resolver) -> Result<Client, String> {
    // Fails only when there is one already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .pool_max_idle_per_host(0)
        .dns_resolver(resolver)
        .user_agent(concat!("nestor/", env!("CARGO_PKG_VERSION")));
    if !https {
        // Plain text needs no certificates, and a small machine has none.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| {
        tracing::error!(%error, "webhooks cannot be sent over HTTPS");
        "this host cannot check certificates; its log says why".into()
    })
}

#[async_trait]
impl Notifier for HttpNotifier {
    fn check(&self, url: &str, allow_private: bool) -> Result<(), String> {
        if allow_private && self.allowed.is_empty() {
            return Err(
                "this host sends nothing to private addresses; webhooks.allow_private in its config would allow some"
                    .into(),
            );
        }
        target(url).and_then(|url| literal(&url, allow_private, &self.allowed))
    }

    async fn post(&self, notice: Notice) -> NoticeAnswer {
        // The config may allow less than it did when the subscription was made.
        let url = match target(&notice.url)
            .and_then(|url| literal(&url, notice.allow_private, &self.allowed).map(|()| url))
        {
            Ok(url) => url,
            Err(problem) => return NoticeAnswer::NotAllowed(format!("the address {problem}")),
        };
        let client = match self.client(url.scheme() == "https", notice.allow_private) {
            Ok(client) => client,
            Err(problem) => return NoticeAnswer::Unreachable(problem),
        };
        let sent = client
            .post(url)
            .header(CONTENT_TYPE, "application/cloudevents+json")
            .header("webhook-id", &notice.id)
            .header("webhook-timestamp", notice.sent_at.to_string())
            .header("webhook-signature", &notice.signature)
            .body(notice.body)
            .send()
            .await;
        match sent {
            Ok(response) => NoticeAnswer::Status {
                code: response.status().as_u16(),
                retry_after_ms: response
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok())
                    .and_then(|text| retry_after(text, SystemTime::now())),
            },
            Err(error) => failed(&notice.id, &error),
        }
    }
}

/// An address that can be one of a receiver.
fn target(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("is not a URL: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with https:// (or http://)".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry a user or a password: messages are signed instead".into());
    }
    if url.fragment().is_some() {
        return Err("must not have a part after '#': it is never sent".into());
    }
    match url.host_str() {
        Some(host) if !host.is_empty() && host.len() <= MAX_HOST => Ok(url),
        Some(_) | None => Err("must name a host".into()),
    }
}

/// An address that is written out needs no resolver.
fn literal(url: &Url, allow_private: bool, allowed: &Allowed) -> Result<(), String> {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(address) => allowed.check(bare, address, allow_private),
        Err(_) => Ok(()),
    }
}

/// In milliseconds: a number of seconds, or a date.
fn retry_after(text: &str, now: SystemTime) -> Option<u64> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let at = httpdate::parse_http_date(text.trim()).ok()?;
    let wait = at.duration_since(now).unwrap_or(Duration::ZERO);
    u64::try_from(wait.as_millis()).ok()
}

/// The log hears what happened; who subscribed hears what it means.
fn failed(id: &str, error: &reqwest::Error) -> NoticeAnswer {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            tracing::warn!(event = id, %refused, "a webhook was not sent");
            return NoticeAnswer::NotAllowed(refused.public.clone());
        }
        match cause.source() {
            Some(inner) => cause = inner,
            None => break,
        }
    }
    tracing::info!(event = id, error = %cause, "a webhook was not answered");
    let reason = if error.is_timeout() {
        format!("the receiver did not answer within {} s", ANSWER.as_secs())
    } else if error.is_connect() {
        "the receiver cannot be reached: its name, its port or its certificate is not right, or it is down".into()
    } else {
        "the connection to the receiver broke".to_owned()
    };
    NoticeAnswer::Unreachable(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_a_receivers() {
        let open = HttpNotifier::new(Allowed::default());
        for good in [
            "https://x.example/hook?a=b",
            "http://x.example:8080",
            "https://8.8.8.8/",
        ] {
            assert_eq!(open.check(good, false), Ok(()), "{good}");
        }
        for (bad, says) in [
            ("x.example", "not a URL"),
            ("ftp://x.example", "https://"),
            ("https://u:p@x.example", "password"),
            ("https://x.example/#a", "'#'"),
            ("https://127.0.0.1/", "not allowed"),
            ("https://[::1]/", "not allowed"),
            ("https://0x7f.1/", "not allowed"),
            ("https://169.254.169.254/latest/meta-data", "never"),
            ("https://[::ffff:10.0.0.1]/", "not allowed"),
        ] {
            let problem = open.check(bad, false).unwrap_err();
            assert!(problem.contains(says), "{bad}: {problem}");
        }
        assert!(
            open.check("https://x.example/", true)
                .unwrap_err()
                .contains("allow_private")
        );
    }

    #[test]
    fn wishes_to_wait() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_700);
        for (text, expected) in [
            ("120", Some(120_000)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(77_000)),
            ("Sun, 06 Nov 1993 08:49:37 GMT", None),
            ("soon", None),
            ("-1", None),
        ] {
            let got = retry_after(text, now);
            // A date that is not one, or has passed, is no wish.
            assert_eq!(got.filter(|ms| *ms > 0), expected, "{text}");
        }
    }
}
