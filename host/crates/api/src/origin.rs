//! Requests that a browser makes for somebody else: a page of another site that
//! posts to this host, or one whose name was made to lead here.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method};
use nestor_core::text::shortened;

use crate::problem::{Problem, ProblemCode};

/// Names are shown back up to this length; DNS knows no longer ones.
const SHOWN: usize = 253;

/// Under which names the host is asked for. An address and `localhost` are
/// always its own.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// Names, in lower case, without a port.
    pub names: Vec<String>,
    /// Whether requests for other names are refused.
    pub strict: bool,
}

impl Hosts {
    fn has(&self, host: &str) -> bool {
        self.names.iter().any(|name| name == host)
    }

    /// Whether a request is for this host, and nobody but its own pages and
    /// programs made it.
    pub(crate) fn refuse(&self, request: &Request) -> Option<Problem> {
        let headers = request.headers();
        let uri = request.uri().authority().map(|a| a.as_str());
        let text = |value: &HeaderValue| value.to_str().unwrap_or("(not text)").to_owned();
        let asked = headers.get_all(HOST).iter().map(text);
        let asked: Vec<String> = asked.chain(uri.map(str::to_owned)).collect();
        if self.strict
            && let Some(other) = asked.iter().find(|asked| !self.is_own(asked))
        {
            return Some(unknown(other));
        }
        match headers.get(ORIGIN) {
            Some(origin) => {
                let origin = text(origin);
                let from = Origin::of(&origin);
                let own = from.is_some_and(|from| {
                    self.has(&from.host) || asked.iter().any(|asked| from.is(asked))
                });
                (!own).then(|| foreign(&format!("its Origin is {:?}", shortened(&origin, SHOWN))))
            }
            None => crossed(request.method(), headers)
                .then(|| foreign("the browser says that another site made it (Sec-Fetch-Site)")),
        }
    }

    fn is_own(&self, asked: &str) -> bool {
        let (host, _) = split(asked);
        host == "localhost"
            || host.ends_with(".localhost")
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
            || self.has(&host)
    }
}

/// Whether a browser says that another site's page wants it. That somebody
/// follows a link to here is fine: it changes nothing, and that page sees
/// nothing of it.
fn crossed(method: &Method, headers: &HeaderMap) -> bool {
    let is = |name: &str, wanted: &[&str]| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| wanted.contains(&value))
    };
    let follows = *method == Method::GET
        && is("sec-fetch-mode", &["navigate"])
        && is("sec-fetch-dest", &["document"]);
    is("sec-fetch-site", &["cross-site", "same-site"]) && !follows
}

/// Where a page is from.
struct Origin {
    host: String,
    port: Option<String>,
    default_port: &'static str,
}

impl Origin {
    /// None for `null` and whatever else is no page of the web.
    fn of(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let default_port = match scheme {
            "http" => "80",
            "https" => "443",
            _ => return None,
        };
        let (host, port) = split(authority);
        Some(Self {
            host,
            port,
            default_port,
        })
    }

    /// Whether this is where the request goes.
    fn is(&self, asked: &str) -> bool {
        let (host, port) = split(asked);
        let or_default = |port: &Option<String>| {
            let port = port.as_deref().unwrap_or(self.default_port);
            port.to_owned()
        };
        host == self.host && or_default(&port) == or_default(&self.port)
    }
}

/// Host and port, in lower case, without the dot that may end a name.
fn split(authority: &str) -> (String, Option<String>) {
    let lower = authority.to_ascii_lowercase();
    let (host, port) = match lower.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port.to_owned())),
        _ => (lower.as_str(), None),
    };
    (host.strip_suffix('.').unwrap_or(host).to_owned(), port)
}

fn unknown(asked: &str) -> Problem {
    let (host, _) = split(asked);
    let host = shortened(&host, SHOWN);
    Problem::new(
        ProblemCode::UnknownHost,
        format!(
            "the request is for the host {host:?}, and this one does not know that it has that name; \
             if it has, add it to server.hosts in its config: hosts: [{host}]"
        ),
    )
}

fn foreign(why: &str) -> Problem {
    Problem::new(
        ProblemCode::ForeignOrigin,
        format!(
            "the request was made by a page of another site: {why}; if that is a name of this host, \
             add it to server.hosts in its config"
        ),
    )
}
