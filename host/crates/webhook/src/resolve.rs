//! Names to addresses, all of which are allowed.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::allowed::Allowed;

/// A resolver that takes longer is broken.
const RESOLVE: Duration = Duration::from_secs(5);
/// Addresses looked at; a name with more is no receiver.
const MAX_ADDRESSES: usize = 16;

/// Answers only addresses that may be connected to; what it answers is what
/// is connected to, so that a name cannot change its mind in between.
pub(crate) struct Resolver {
    allowed: Allowed,
    allow_private: bool,
}

impl Resolver {
    pub(crate) fn new(allowed: Allowed, allow_private: bool) -> Self {
        Self {
            allowed,
            allow_private,
        }
    }
}

/// A name leads to where it may not.
#[derive(Debug)]
pub(crate) struct Refused {
    /// For the log.
    address: SocketAddr,
    /// For whoever subscribed.
    pub(crate) public: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.public, self.address.ip())
    }
}

impl std::error::Error for Refused {}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, allow_private) = (self.allowed.clone(), self.allow_private);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let lookup = tokio::net::lookup_host((host.as_str(), 0));
            let found: Vec<SocketAddr> = tokio::time::timeout(RESOLVE, lookup)
                .await??
                .take(MAX_ADDRESSES)
                .collect();
            // One bad address among them is an attack or a mistake.
            for address in &found {
                if let Err(problem) = allowed.check(&host, address.ip(), allow_private) {
                    return Err(Refused {
                        address: *address,
                        public: format!("{host} {problem}"),
                    }
                    .into());
                }
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
