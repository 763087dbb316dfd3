//! Where an engine may speak HTTP to.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One origin, with what may be asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRule {
    /// Scheme, host and port.
    pub origin: Origin,
    /// Upper case, sorted; never empty.
    pub methods: Vec<String>,
    /// Matched after normalisation; never empty.
    pub paths: Vec<PathPattern>,
    /// Which resolved addresses are allowed.
    pub addresses: Addresses,
    /// Whether redirects are followed.
    pub redirects: Redirects,
    /// Of a request and of a response, in bytes.
    pub max_body: u64,
    /// Of one exchange, headers to last byte.
    pub deadline: Duration,
    /// What the host puts in at egress; the engine never sees it.
    pub auth: Option<HttpAuth>,
    /// Why the engine wants it; shown to who approves.
    pub reason: String,
}

impl HttpRule {
    /// Documents, not images.
    pub const DEFAULT_MAX_BODY: u64 = 8 << 20;
    /// A body passes through the guest's memory; more does not fit there.
    pub const MAX_BODY: u64 = 512 << 20;
    /// Whatever answers later is watched by polling.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
    /// Watches of Kubernetes end themselves after ten minutes at most.
    pub const MAX_DEADLINE: Duration = Duration::from_secs(600);
    /// When a rule names none.
    pub const DEFAULT_METHODS: [&str; 2] = ["GET", "HEAD"];
    /// The methods of RFC 9110 and 5789 but CONNECT and TRACE, which are for proxies.
    pub const KNOWN_METHODS: [&str; 7] =
        ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

    /// Whether a request is of this rule. The path must be normalised: decoded
    /// once, without `.`, `..` and `//`.
    #[must_use]
    pub fn matches(&self, scheme: Scheme, host: &str, port: u16, method: &str, path: &str) -> bool {
        self.origin.matches(scheme, host, port)
            && self.methods.iter().any(|m| m == method)
            && self.paths.iter().any(|p| p.matches(path))
    }
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// `https://api.acme.io:443`, or `https://*.acme.io` for every host below a domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The scheme.
    pub scheme: Scheme,
    /// The host.
    pub host: HostPattern,
    /// The port; the scheme's own when the text names none.
    pub port: u16,
}

/// Which hosts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This one: a name in lower case, an IPv4 address, or an IPv6 address without brackets.
    Exact(String),
    /// Every host below this domain, but not the domain itself.
    Below(String),
}

/// Which addresses a name may resolve to, each including the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Addresses {
    /// Public ones.
    Public,
    /// Private networks (RFC 1918, unique local) too.
    Private,
    /// Loopback too; link-local and metadata addresses never.
    Loopback,
}

/// Whether redirects are followed, each including the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Redirects {
    /// Handed to the engine as they are.
    None,
    /// Within the origin.
    SameOrigin,
    /// To anything that the grant allows; each hop is checked anew.
    Granted,
}

/// A secret that the host puts into requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAuth {
    /// The secret's name.
    pub secret: String,
    /// How it is put in.
    pub scheme: AuthScheme,
}

/// How a secret is put into a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthScheme {
    /// `Authorization: Bearer …`
    Bearer,
    /// `Authorization: Basic …`; the secret is `user:password`.
    Basic,
}

/// A path with wildcards: `*` stands for exactly one segment, `**` at the end
/// for any number of segments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    segments: Vec<Segment>,
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    Exact(String),
    Any,
}

impl Origin {
    /// Whether a request goes here; the host in lower case without brackets.
    #[must_use]
    pub fn matches(&self, scheme: Scheme, host: &str, port: u16) -> bool {
        self.scheme == scheme && self.port == port && self.host.matches(host)
    }

    /// Whether everything that goes to `narrower` goes here too.
    #[must_use]
    pub fn covers(&self, narrower: &Self) -> bool {
        self.scheme == narrower.scheme
            && self.port == narrower.port
            && self.host.covers(&narrower.host)
    }
}

impl HostPattern {
    /// Whether a host is meant; in lower case without brackets.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            Self::Below(domain) => is_below(host, domain),
        }
    }

    fn covers(&self, narrower: &Self) -> bool {
        match (self, narrower) {
            (_, Self::Exact(host)) => self.matches(host),
            (Self::Below(wide), Self::Below(narrow)) => wide == narrow || is_below(narrow, wide),
            (Self::Exact(_), Self::Below(_)) => false,
        }
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .and_then(|rest| rest.strip_suffix('.'))
        .is_some_and(|label| !label.is_empty())
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            let shown = crate::text::shortened(text, 80);
            format!("{shown:?} is not an origin: {why}; write it as https://api.example.com:443")
        };
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(_) => return Err(bad("the scheme must be http or https")),
            None => return Err(bad("it has no scheme")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@', '\\']) {
            return Err(bad("it must end after the host and port"));
        }
        let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
            let (host, port) = bracketed
                .split_once(']')
                .ok_or_else(|| bad("the [ has no ]"))?;
            let address: std::net::Ipv6Addr = host
                .parse()
                .map_err(|_| bad("between [ and ] must be an IPv6 address"))?;
            let port = match port {
                "" => None,
                port => Some(
                    port.strip_prefix(':')
                        .ok_or_else(|| bad("after ] comes the port"))?,
                ),
            };
            (HostPattern::Exact(address.to_string()), port)
        } else {
            let (host, port) = match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            };
            (host_pattern(host).map_err(|why| bad(&why))?, port)
        };
        let port = match (port, scheme) {
            (None, Scheme::Https) => 443,
            (None, Scheme::Http) => 80,
            (Some(text), _) => match text.parse::<u16>() {
                Ok(port) if port > 0 && !text.starts_with('+') => port,
                _ => return Err(bad("the port must be a number from 1 to 65535")),
            },
        };
        Ok(Self { scheme, host, port })
    }
}

/// Strict on purpose: what a resolver or URL parser could read in two ways
/// (`2130706433`, `127.1`, trailing dots, look-alike letters) is not a host.
fn host_pattern(text: &str) -> Result<HostPattern, String> {
    if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
        return Ok(HostPattern::Exact(address.to_string()));
    }
    let (name, below) = match text.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (text, false),
    };
    if name.is_empty() || name.len() > 253 {
        return Err("the host is empty or too long".into());
    }
    let labels: Vec<&str> = name.split('.').collect();
    let label_ok = |label: &&str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !labels.iter().all(label_ok) {
        return Err(
            "the host must be a name in lower-case ASCII letters, digits and '-', or an IP address"
                .into(),
        );
    }
    if labels
        .last()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x"))
    {
        return Err("the host looks like a number; write an IPv4 address as four numbers".into());
    }
    if below && labels.len() < 2 {
        return Err("a wildcard must stand below a domain of at least two parts".into());
    }
    let name = name.to_owned();
    Ok(if below {
        HostPattern::Below(name)
    } else {
        HostPattern::Exact(name)
    })
}

impl PathPattern {
    /// Whether a normalised path is of this pattern.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else {
            return false;
        };
        let mut segments = path.split('/');
        for pattern in &self.segments {
            match (pattern, segments.next()) {
                (_, None) => return false,
                (Segment::Exact(text), Some(segment)) if text != segment => return false,
                (Segment::Any, Some("")) => return false,
                _ => {}
            }
        }
        self.open || segments.next().is_none()
    }

    /// Whether every path of `narrower` is one of this pattern's too.
    #[must_use]
    pub fn covers(&self, narrower: &Self) -> bool {
        let (own, theirs) = (self.segments.len(), narrower.segments.len());
        let length_fits = if self.open {
            theirs >= own
        } else {
            theirs == own && !narrower.open
        };
        length_fits
            && self
                .segments
                .iter()
                .zip(&narrower.segments)
                .all(|(wide, narrow)| match (wide, narrow) {
                    (Segment::Any, Segment::Any) => true,
                    (Segment::Any, Segment::Exact(text)) => !text.is_empty(),
                    (Segment::Exact(a), Segment::Exact(b)) => a == b,
                    (Segment::Exact(_), Segment::Any) => false,
                })
    }
}

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = crate::text::shortened(text, 80);
        let Some(path) = text.strip_prefix('/') else {
            return Err(format!("{shown:?} must begin with '/'"));
        };
        let mut parts: Vec<&str> = path.split('/').collect();
        let open = parts.last() == Some(&"**");
        if open {
            parts.pop();
        }
        let mut segments = Vec::with_capacity(parts.len());
        for part in parts {
            segments.push(match part {
                "*" => Segment::Any,
                "**" => {
                    return Err(format!(
                        "{shown:?} has \"**\" before its end; it may only be the last segment"
                    ));
                }
                "." | ".." => {
                    return Err(format!("{shown:?} must be written without '.' and '..'"));
                }
                _ if part.contains(['*', '?', '#', '%', '\\'])
                    || part.bytes().any(|b| b <= b' ' || b == 0x7f) =>
                {
                    return Err(format!(
                        "{shown:?}: a segment is '*' or text without * ? # % \\ and spaces"
                    ));
                }
                _ => Segment::Exact(part.to_owned()),
            });
        }
        if text.contains("//") {
            return Err(format!("{shown:?} must be written without '//'"));
        }
        Ok(Self { segments, open })
    }
}

impl Scheme {
    /// As URLs write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Addresses {
    /// As `engine.toml` writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Loopback => "loopback",
        }
    }
}

impl Redirects {
    /// As `engine.toml` writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SameOrigin => "same-origin",
            Self::Granted => "granted",
        }
    }
}

impl AuthScheme {
    /// As `engine.toml` writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.as_str())?;
        match &self.host {
            HostPattern::Exact(host) if host.contains(':') => write!(f, "[{host}]")?,
            HostPattern::Exact(host) => f.write_str(host)?,
            HostPattern::Below(domain) => write!(f, "*.{domain}")?,
        }
        write!(f, ":{}", self.port)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fixed = self.segments.iter().map(|segment| match segment {
            Segment::Exact(text) => text.as_str(),
            Segment::Any => "*",
        });
        let all: Vec<&str> = fixed.chain(self.open.then_some("**")).collect();
        write!(f, "/{}", all.join("/"))
    }
}
