//! The config, checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nestor_core::environment::Environments;
use nestor_core::grant::Capabilities;
use nestor_core::ids::EngineId;
use nestor_webhook::Allowed;
use serde_json::Value;

/// What `nestor serve` runs with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) engines: BTreeMap<EngineId, EngineConfig>,
    pub(crate) catalog: CatalogConfig,
    pub(crate) gitops: GitopsConfig,
    pub(crate) store: StoreConfig,
    pub(crate) server: ServerConfig,
    pub(crate) telemetry: TelemetryConfig,
    pub(crate) environments: Environments,
    /// Private addresses that webhooks may go to.
    pub(crate) webhooks: Allowed,
}

/// An engine's part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EngineConfig {
    pub(crate) enabled: bool,
    /// A component file that takes the place of the built-in one.
    pub(crate) component: Option<PathBuf>,
    /// None: a built-in engine gets what it requests, any other nothing.
    pub(crate) grants: Option<Capabilities>,
    /// Handed to the engine with every request; null: none.
    pub(crate) settings: Value,
    /// The program behind the engine's tool.
    pub(crate) tool: Option<PathBuf>,
    /// Calls to it under way at once; none: as many as the host makes.
    pub(crate) concurrency: Option<usize>,
}

/// Where definitions come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CatalogConfig {
    /// None: an empty catalog.
    pub(crate) directory: Option<PathBuf>,
}

/// Where manifests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GitopsConfig {
    pub(crate) enabled: bool,
    /// None: a bare repository in the data directory.
    pub(crate) repository: Option<RepositoryConfig>,
}

/// A Git repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RepositoryConfig {
    pub(crate) name: String,
    /// A local, bare repository.
    pub(crate) folder: PathBuf,
    pub(crate) branch: String,
    /// The folder in it; empty for the top.
    pub(crate) path: String,
}

/// Where everything durable is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreConfig {
    Sled {
        /// None: `store` in the data directory.
        path: Option<PathBuf>,
        cache_bytes: Option<u64>,
    },
    /// Nothing survives a restart: for tries and tests.
    Memory,
}

/// The listener and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerConfig {
    pub(crate) listen: SocketAddr,
    /// Names under which it is asked for, in lower case.
    pub(crate) hosts: Vec<String>,
    /// None: the user's data directory.
    pub(crate) data_dir: Option<PathBuf>,
    /// Compiled engines; none: `cache` in the data directory.
    pub(crate) cache_dir: Option<PathBuf>,
    /// `NAME.wasm` with `NAME.toml`.
    pub(crate) engines_dir: Option<PathBuf>,
    /// How long requests and operations under way get at the end.
    pub(crate) grace: Duration,
    pub(crate) max_requests: Option<usize>,
    pub(crate) max_streams: Option<usize>,
    /// Deployments that wait or run at once.
    pub(crate) max_queue: Option<usize>,
    /// Deployments that are worked on at once.
    pub(crate) max_runs: Option<usize>,
    /// Engine calls at once.
    pub(crate) max_calls: Option<u32>,
    /// For how long a deleted deployment is still known.
    pub(crate) keep_deleted: Option<Duration>,
}

/// What is told of the host's inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TelemetryConfig {
    /// Directives of `tracing-subscriber`: `info`, `info,nestor_engine=debug`.
    pub(crate) log: String,
    pub(crate) format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Where the host listens when nobody says.
    pub(crate) const LISTEN: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
    /// Orchestrators of containers kill after 30 seconds.
    pub(crate) const GRACE: Duration = Duration::from_secs(20);
    /// A tenth of an hour would not be a grace any more.
    pub(crate) const MAX_GRACE: Duration = Duration::from_secs(3600);
    /// Who waits for the end of a deletion asks what came of it.
    pub(crate) const MIN_KEEP_DELETED: Duration = Duration::from_secs(60);
    /// Ten years: as long as any law wants a record.
    pub(crate) const MAX_KEEP_DELETED: Duration = Duration::from_secs(3_660 * 24 * 3_600);
}

/// With no file at all.
impl Default for Config {
    fn default() -> Self {
        Self {
            engines: BTreeMap::new(),
            catalog: CatalogConfig::default(),
            gitops: GitopsConfig {
                enabled: true,
                repository: None,
            },
            store: StoreConfig::Sled {
                path: None,
                cache_bytes: None,
            },
            server: ServerConfig {
                listen: Self::LISTEN,
                hosts: Vec::new(),
                data_dir: None,
                cache_dir: None,
                engines_dir: None,
                grace: Self::GRACE,
                max_requests: None,
                max_streams: None,
                max_queue: None,
                max_runs: None,
                keep_deleted: None,
                max_calls: None,
            },
            telemetry: TelemetryConfig {
                log: "info".into(),
                format: LogFormat::Text,
            },
            environments: Environments::default(),
            webhooks: Allowed::default(),
        }
    }
}
