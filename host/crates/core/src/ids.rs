//! Names that cannot hold nonsense.
//!
//! Every name is an RFC 1123 label (lower-case letters, digits, inner `-`), so
//! that it can be a file name, a Git path and a Kubernetes name without
//! escaping, and no Unicode look-alike or path character can get in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

/// Kubernetes' limit for a label (RFC 1123), the narrowest place a name goes to.
pub const MAX_LABEL: usize = 63;
/// A deployment id joins several labels; twice a label keeps paths short of
/// the 255 bytes that file systems allow per component.
pub const MAX_DEPLOYMENT_ID: usize = 128;
/// Output names are identifiers of the engines behind them (Terraform's allow
/// `_` and capitals), bounded like a label.
pub const MAX_OUTPUT_NAME: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {shown:?} {problem}")]
pub struct InvalidName {
    what: &'static str,
    shown: String,
    problem: String,
}

impl InvalidName {
    fn new(what: &'static str, text: &str, problem: impl Into<String>) -> Self {
        // An id of megabytes must not come back as an error of megabytes.
        const SHOWN: usize = 80;
        let mut shown: String = text.chars().take(SHOWN).collect();
        if text.chars().count() > SHOWN {
            shown.push('…');
        }
        Self {
            what,
            shown,
            problem: problem.into(),
        }
    }
}

fn check_label(what: &'static str, text: &str, max: usize) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::new(
            what,
            text,
            "is empty; use lower-case letters, digits and '-'",
        ));
    }
    if text.len() > max {
        return Err(InvalidName::new(
            what,
            text,
            format!("has {} bytes; at most {max} are allowed", text.len()),
        ));
    }
    if let Some(bad) = text
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-'))
    {
        return Err(InvalidName::new(
            what,
            text,
            format!(
                "contains {:?}; only lower-case letters, digits and '-' are allowed",
                bad
            ),
        ));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(InvalidName::new(
            what,
            text,
            "starts or ends with '-'; use a letter or digit there",
        ));
    }
    Ok(())
}

fn check_output(what: &'static str, text: &str, max: usize) -> Result<(), InvalidName> {
    let mut chars = text.chars();
    let first_ok = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !first_ok
        || text.len() > max
        || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    {
        return Err(InvalidName::new(
            what,
            text,
            format!(
                "is not an output name: a letter or '_', then letters, digits, '_' or '-', at most {max}"
            ),
        ));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $check:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(std::sync::Arc<str>);

        impl $type {
            /// Parses a name; the error says what is wrong with it.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                let text = text.as_ref();
                $check($what, text, $max)?;
                Ok(Self(text.into()))
            }
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Debug::fmt(&*self.0, f) }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(s: &str) -> Result<Self, InvalidName> { Self::new(s) }
        }
        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str { &self.0 }
        }
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str { &self.0 }
        }
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_str(&self.0) }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A deployment's id, unique within a host.
    DeploymentId, "deployment id", check_label, MAX_DEPLOYMENT_ID
);
name!(
    /// A resource's name, unique within its deployment.
    ResourceName, "resource name", check_label, MAX_LABEL
);
name!(
    /// The team that asks for a deployment.
    ComposerId, "composer", check_label, MAX_LABEL
);
name!(
    /// An environment, such as `production`.
    EnvironmentName, "environment", check_label, MAX_LABEL
);
name!(
    /// An engine, such as `terraform`.
    EngineId, "engine", check_label, MAX_LABEL
);
name!(
    /// A definition's name in the catalog.
    DefinitionName, "catalog name", check_label, MAX_LABEL
);
name!(
    /// A webhook subscription's name.
    WebhookName, "webhook", check_label, MAX_LABEL
);
name!(
    /// An output's name, as the definition declares it.
    OutputName, "output", check_output, MAX_OUTPUT_NAME
);

/// A SHA-256 digest, written `sha256:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
    /// A digest that was made piece by piece.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The raw bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// The 64 hex digits without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Digest {
    type Err = InvalidName;
    fn from_str(s: &str) -> Result<Self, InvalidName> {
        let bad = || InvalidName::new("digest", s, "is not 'sha256:' and 64 hex digits");
        let digits = s.strip_prefix("sha256:").ok_or_else(bad)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| bad())?;
        Ok(Self(bytes))
    }
}
impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Milliseconds since the Unix epoch. The core never reads a clock; the shell
/// passes the time in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This moment plus some milliseconds; saturates.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_paths_unicode_and_length() {
        for good in ["a", "a-b", "web-app-v1", "0"] {
            assert_eq!(
                ResourceName::new(good).map(|n| n.to_string()),
                Ok(good.to_string())
            );
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a/b",
            "..",
            "a b",
            "ä",
            "а",
            "a\0",
            "a\u{202e}b",
            &"a".repeat(64),
        ] {
            assert!(ResourceName::new(bad).is_err(), "{bad:?}");
        }
        let message = DeploymentId::new("../etc").expect_err("path").to_string();
        assert_eq!(
            message,
            "deployment id \"../etc\" contains '.'; only lower-case letters, digits and '-' are allowed"
        );
        assert!(
            DeploymentId::new("x".repeat(1 << 20))
                .expect_err("long")
                .to_string()
                .len()
                < 250
        );
    }

    #[test]
    fn digests_round_trip() {
        let digest = Digest::of(b"nestor");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("sha256:zz".parse::<Digest>().is_err());
        assert!("md5:00".parse::<Digest>().is_err());
    }
}
