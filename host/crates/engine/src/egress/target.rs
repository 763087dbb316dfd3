//! Where a request goes, in one spelling only. What a resolver, a proxy or a
//! server could read in two ways is refused, not normalised.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{Method, Uri};
use nestor_core::grant::Scheme;

use crate::convert::clean_line;

/// Of a text that comes back in a reason.
const MAX_SHOWN: usize = 200;
/// RFC 9110 asks servers for 8,000 bytes.
const MAX_PATH: usize = 8 << 10;

/// A parsed destination.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) scheme: Scheme,
    /// Lower case, without brackets.
    pub(super) host: String,
    /// When the host is an address.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    /// Decoded once; no `.`, `..`, `//`.
    pub(super) path: String,
}

impl Target {
    pub(super) fn parse(method: &Method, uri: &Uri) -> Result<Self, String> {
        let shown = || clean_line(&format!("{method} {uri}"), MAX_SHOWN);
        let refuse = |why: &str| format!("{}: {why}", shown());
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            _ => return Err(refuse("the scheme must be http or https")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("a host must stand without user and password"));
        }
        let (host, address) = host(authority.host()).map_err(|why| refuse(&why))?;
        let port = match (authority.port(), scheme) {
            (Some(port), _) => port.as_u16(),
            // `host:` and `host:99999` parse as no port.
            (None, _) if !authority.as_str().ends_with(authority.host()) => {
                return Err(refuse("the port is not a number from 1 to 65535"));
            }
            (None, Scheme::Https) => 443,
            (None, Scheme::Http) => 80,
        };
        if port == 0 {
            return Err(refuse("the port is not a number from 1 to 65535"));
        }
        let path = path(uri.path()).map_err(refuse)?;
        Ok(Self {
            scheme,
            host,
            address,
            port,
            path,
        })
    }

    /// For the `Host` header: the port only where it is not the scheme's own.
    pub(super) fn authority(&self) -> String {
        let host = match self.address {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        match (self.scheme, self.port) {
            (Scheme::Https, 443) | (Scheme::Http, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

fn host(text: &str) -> Result<(String, Option<IpAddr>), String> {
    if let Some(inner) = text.strip_prefix('[') {
        let address: Ipv6Addr = inner
            .strip_suffix(']')
            .and_then(|inner| inner.parse().ok())
            .ok_or("between [ and ] must be an IPv6 address")?;
        return Ok((address.to_string(), Some(address.into())));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok((address.to_string(), Some(address.into())));
    }
    let lower = text.to_ascii_lowercase();
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if lower.len() > 253 || !lower.split('.').all(label_ok) {
        return Err(
            "the host must be an ASCII name without a dot at its end, or an IP address".into(),
        );
    }
    // What some resolvers take for an IPv4 address: 127.1, 0x7f.1, 2130706433.
    let last = lower.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
        return Err("the host looks like a number; write an IPv4 address as four numbers".into());
    }
    Ok((lower, None))
}

fn path(text: &str) -> Result<String, &'static str> {
    if text.len() > MAX_PATH {
        return Err("the path is too long");
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest
            .split_at_checked(2)
            .ok_or("the path has a broken % escape")?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).map_err(|_| "the path has a broken % escape")?;
        if matches!(byte[0], b'/' | b'\\' | b'.' | b'%' | 0..=31 | 127) {
            return Err("the path escapes a character that servers read in different ways");
        }
        bytes.push(byte[0]);
        rest = after;
    }
    let path = String::from_utf8(bytes).map_err(|_| "the path is not UTF-8")?;
    if path.contains('\\')
        || path.contains("//")
        || path.split('/').any(|part| part == "." || part == "..")
    {
        return Err("the path must stand without '.', '..', '//' and '\\'");
    }
    if path.starts_with('/') {
        Ok(path)
    } else {
        Err("the path must begin with '/'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Result<Target, String> {
        let uri = uri.parse::<Uri>().map_err(|e| e.to_string())?;
        Target::parse(&Method::GET, &uri)
    }

    #[test]
    fn one_spelling_only() {
        let good = [
            (
                "https://API.acme.io",
                "api.acme.io",
                443,
                "/",
                "api.acme.io",
            ),
            (
                "http://api.acme.io:8080/a/b?c=//..",
                "api.acme.io",
                8080,
                "/a/b",
                "api.acme.io:8080",
            ),
            ("https://[::1]:443/", "::1", 443, "/", "[::1]"),
            (
                "http://127.0.0.1/%C3%BC",
                "127.0.0.1",
                80,
                "/ü",
                "127.0.0.1",
            ),
        ];
        for (uri, host, port, path, authority) in good {
            let target = parse(uri).unwrap();
            assert_eq!(
                (target.host.as_str(), target.port, target.path.as_str()),
                (host, port, path),
                "{uri}"
            );
            assert_eq!(target.authority(), authority);
        }
        for bad in [
            "ftp://acme.io/",
            "/only/a/path",
            "https://user@acme.io/",
            "https://user:pw@acme.io/",
            "https://acme.io./",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://127.1/",
            "https://0x7f000001/",
            "https://①②⑦.0.0.1/",
            "https://acme..io/",
            "https://-acme.io/",
            "https://ä.io/",
            "https://[::1/",
            "https://acme.io/a/../b",
            "https://acme.io/./a",
            "https://acme.io//a",
            "https://acme.io/a/%2e%2e/b",
            "https://acme.io/a%2fb",
            "https://acme.io/a%2Fb",
            "https://acme.io/a%5cb",
            "https://acme.io/%252e",
            "https://acme.io/%zz",
            "https://acme.io/%0d%0a",
            "https://acme.io/%00",
            "https://acme.io:0/",
            "https://acme.io:99999/",
            "https://acme.io:/",
            "https://%61cme.io/",
            "https://a_b..c/",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
