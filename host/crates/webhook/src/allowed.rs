//! Which addresses messages may go to.

use std::fmt;
use std::net::IpAddr;

use nestor_core::address::{Place, Range, place};

/// Private addresses that the host's config allows: ranges, and names of hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    ranges: Vec<Range>,
    hosts: Vec<String>,
}

/// As the config writes it; `none` when nothing is listed.
impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.ranges.iter().map(ToString::to_string);
        let all: Vec<String> = ranges.chain(self.hosts.iter().cloned()).collect();
        if all.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&all.join(", "))
    }
}

impl Allowed {
    /// Adds a range such as `10.0.0.0/8`, or the name of a host.
    ///
    /// # Errors
    /// When it is neither.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let numeric = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '/');
        let looks_numeric = text.contains('/') || text.contains(':') || {
            let last = text.rsplit('.').next().unwrap_or_default();
            !last.is_empty() && last.chars().all(|c| c.is_ascii_digit())
        };
        if looks_numeric && text.chars().all(numeric) {
            let range = Range::parse(text)?;
            self.ranges.push(range);
            return Ok(());
        }
        let label = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        if text.len() <= super::MAX_HOST && text.split('.').all(label) {
            self.hosts.push(text.to_ascii_lowercase());
            return Ok(());
        }
        Err(format!(
            "{text:?} is neither a range of addresses such as 10.0.0.0/8 nor the name of a host"
        ))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.hosts.is_empty()
    }

    /// Whether a message for a host may go to one of its addresses. The error
    /// does not say which address that is: it is the network's own business.
    pub(crate) fn check(
        &self,
        host: &str,
        address: IpAddr,
        allow_private: bool,
    ) -> Result<(), String> {
        let listed = || {
            let host = host.trim_end_matches('.');
            self.ranges.iter().any(|r| r.contains(address))
                || self.hosts.iter().any(|h| h.eq_ignore_ascii_case(host))
        };
        match place(address) {
            Place::Public => Ok(()),
            Place::Private | Place::Loopback if allow_private && listed() => Ok(()),
            Place::Private | Place::Loopback => Err(
                "leads to a private address, which is not allowed: the host's config must list it in webhooks.allow_private and the webhook must say allowPrivate"
                    .into(),
            ),
            Place::Never => Err(
                "leads to a link-local, metadata or special address, which is never allowed".into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_and_meant() {
        let mut allowed = Allowed::default();
        for good in ["10.1.0.0/16", "hooks.internal", "fd00::/8", "127.0.0.1"] {
            allowed.add(good).unwrap();
        }
        for bad in ["10.1.0.0/40", "a b", "", "http://x", "x..y", "10.1.2"] {
            assert!(allowed.add(bad).is_err(), "{bad}");
        }
        assert_eq!(
            allowed.to_string(),
            "10.1.0.0/16, fd00::/8, 127.0.0.1/32, hooks.internal"
        );
        let may = |host: &str, address: &str, meant: bool| {
            allowed.check(host, address.parse().unwrap(), meant).is_ok()
        };
        assert!(may("x.example", "8.8.8.8", false));
        assert!(may("x.example", "10.1.2.3", true));
        assert!(!may("x.example", "10.1.2.3", false));
        assert!(!may("x.example", "10.2.2.3", true));
        assert!(may("Hooks.Internal.", "192.168.0.1", true));
        assert!(may("127.0.0.1", "127.0.0.1", true));
        assert!(!may("hooks.internal", "169.254.169.254", true));
    }
}
