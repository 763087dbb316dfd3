//! The types of an `engine.toml`.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::{HttpRule, Limits, ToolRule};
use crate::ids::EngineId;
use crate::units::{show_duration, show_size};

/// The world of the contract that this host speaks.
pub const CONTRACT: &str = "nestor:engine/engine@0.1.0";
/// Providers of terraform weigh hundreds of megabytes; without a tool a
/// checkout holds a few documents.
pub const DEFAULT_CHECKOUT_QUOTA: u64 = 256 << 20;
/// Beyond this the disk of a small host is in danger.
pub const MAX_CHECKOUT_QUOTA: u64 = 64 << 30;
/// Cursors and serial numbers.
pub const DEFAULT_KV_QUOTA: u64 = 1 << 20;
/// It is a note book, not a database.
pub const MAX_KV_QUOTA: u64 = 64 << 20;

/// What comes with a component.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Whose component it is.
    pub id: ComponentId,
    /// Its own version.
    pub version: semver::Version,
    /// The contract that it speaks.
    pub world: World,
    /// What it requests.
    pub capabilities: Capabilities,
}

/// `terraform`, or `acme/terraform` with its vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentId {
    /// Who made it.
    pub vendor: Option<String>,
    /// The engine that it is.
    pub name: EngineId,
}

/// `nestor:engine/engine@0.1.0`, of a version that this host can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// The version of the contract.
    pub version: semver::Version,
}

/// Capabilities with their limits: requested by a manifest, or granted by the
/// platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Where it may speak HTTP to.
    pub http: Vec<HttpRule>,
    /// What the two directories allow beyond their defaults.
    pub fs: Vec<FsRule>,
    /// Native tools.
    pub tools: Vec<ToolRule>,
    /// Names of secrets that it may refer to; sorted.
    pub secrets: Vec<String>,
    /// Bytes in its key-value store, per resource.
    pub kv_quota: u64,
    /// Bounds of every call.
    pub limits: Limits,
}

/// One of the two directories that every engine sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsRule {
    /// Which one.
    pub source: FsSource,
    /// Whether it may be written.
    pub mode: FsMode,
    /// How much may be written, in bytes.
    pub quota: u64,
}

/// A directory that an engine sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FsSource {
    /// The definition's folder, at `/definition`.
    Definition,
    /// The engine's own checkout for this resource, at `/work`.
    Checkout,
}

/// Whether a directory may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FsMode {
    /// Only read.
    ReadOnly,
    /// Read and written.
    ReadWrite,
}

impl Manifest {
    /// For a component that comes without an `engine.toml`: no capability, and
    /// the default limits.
    #[must_use]
    pub fn default_for(id: EngineId) -> Self {
        Self {
            id: ComponentId {
                vendor: None,
                name: id,
            },
            version: semver::Version::new(0, 0, 0),
            world: CONTRACT
                .parse()
                .expect("the host's own contract is one that it serves"),
            capabilities: Capabilities::default(),
        }
    }
}

/// Nothing beyond the two directories, and the default limits.
impl Default for Capabilities {
    fn default() -> Self {
        Self {
            http: Vec::new(),
            fs: Vec::new(),
            tools: Vec::new(),
            secrets: Vec::new(),
            kv_quota: DEFAULT_KV_QUOTA,
            limits: Limits::default(),
        }
    }
}

impl Capabilities {
    /// Bytes that the engine and its tools may write below `/work`.
    #[must_use]
    pub fn checkout_quota(&self) -> u64 {
        self.checkout().quota
    }

    /// The rule for `/work`; the default one when there is none.
    #[must_use]
    pub fn checkout(&self) -> FsRule {
        let default = FsRule {
            source: FsSource::Checkout,
            mode: FsMode::ReadWrite,
            quota: DEFAULT_CHECKOUT_QUOTA,
        };
        self.fs
            .iter()
            .find(|rule| rule.source == FsSource::Checkout)
            .cloned()
            .unwrap_or(default)
    }

    /// In words for the API: the keys of `engine.toml`, everything spelled out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let http = self.http.iter().map(|rule| {
            let mut shown = json!({
                "origin": rule.origin.to_string(),
                "methods": rule.methods,
                "paths": rule.paths.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "addresses": rule.addresses.as_str(),
                "redirects": rule.redirects.as_str(),
                "max_body": show_size(rule.max_body),
                "deadline": show_duration(rule.deadline),
                "reason": rule.reason,
            });
            if let Some(auth) = &rule.auth {
                shown["auth"] = json!({ "secret": auth.secret, "as": auth.scheme.as_str() });
            }
            shown
        });
        let fs = self.fs.iter().map(|rule| {
            json!({
                "mount": rule.source.mount(),
                "source": rule.source.as_str(),
                "mode": rule.mode.as_str(),
                "quota": show_size(rule.quota),
            })
        });
        let tools = self.tools.iter().map(|rule| {
            json!({
                "name": rule.name,
                "args": rule.args.iter().map(super::ArgPattern::elements).collect::<Vec<_>>(),
                "env": rule.env.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "deadline": show_duration(rule.deadline),
                "reason": rule.reason,
            })
        });
        let limits = &self.limits;
        json!({
            "http": http.collect::<Vec<_>>(),
            "fs": fs.collect::<Vec<_>>(),
            "tool": tools.collect::<Vec<_>>(),
            "secrets": { "names": self.secrets },
            "kv": { "quota": show_size(self.kv_quota) },
            "limits": {
                "memory": show_size(limits.memory),
                "cpu": show_duration(limits.cpu),
                "wall": show_duration(limits.wall),
                "log_bytes": show_size(limits.log_bytes),
                "events_per_second": limits.events_per_second,
                "output_bytes": show_size(limits.output_bytes),
                "concurrency": limits.concurrency,
            },
        })
    }
}

impl FsSource {
    /// As `engine.toml` writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Definition => "definition",
            Self::Checkout => "checkout",
        }
    }

    /// Where the engine sees it.
    #[must_use]
    pub fn mount(self) -> &'static str {
        match self {
            Self::Definition => "/definition",
            Self::Checkout => "/work",
        }
    }
}

impl FsMode {
    /// As `engine.toml` writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
        }
    }
}

impl FromStr for ComponentId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (vendor, name) = match text.split_once('/') {
            Some((vendor, name)) => (Some(vendor), name),
            None => (None, text),
        };
        let label = |text: &str| {
            EngineId::new(text).map_err(|e| format!("{e}; write 'name' or 'vendor/name'"))
        };
        let vendor = vendor
            .map(label)
            .transpose()?
            .map(|vendor| vendor.to_string());
        Ok(Self {
            vendor,
            name: label(name)?,
        })
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.vendor {
            Some(vendor) => write!(f, "{vendor}/{}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

impl FromStr for World {
    type Err = String;

    /// Parses a world and refuses what this host does not serve: another
    /// package, or a version that is not compatible with [`CONTRACT`].
    fn from_str(text: &str) -> Result<Self, String> {
        let (known, own) = CONTRACT
            .split_once('@')
            .expect("the contract has a version");
        let own: semver::Version = own.parse().expect("the contract's version is one");
        let shown = crate::text::shortened(text, 80);
        let Some((world, version)) = text.split_once('@') else {
            return Err(format!(
                "{shown:?} has no version; this host speaks {CONTRACT:?}"
            ));
        };
        if world != known {
            return Err(format!(
                "{shown:?} is not a world of this host; it speaks {CONTRACT:?}"
            ));
        }
        let version: semver::Version = version.parse().map_err(|e| {
            format!("{shown:?} has no version such as 0.1.0 ({e}); this host speaks {CONTRACT:?}")
        })?;
        let compatible =
            version.major == own.major && (own.major > 0 || version.minor == own.minor);
        if !compatible {
            let advice = if version > own {
                "a newer host, or build the engine against the contract of this one"
            } else {
                "an engine built against the contract of this host"
            };
            return Err(format!(
                "speaks contract {version}, and this host {own}: use {advice}"
            ));
        }
        Ok(Self { version })
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (known, _) = CONTRACT
            .split_once('@')
            .expect("the contract has a version");
        write!(f, "{known}@{}", self.version)
    }
}
