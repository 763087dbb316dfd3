//! `nestor serve`: everything put together, run, and put away again.

mod builtins;
mod delivery;
mod engines;
mod logging;
mod place;
mod tools;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use nestor_api::{Api, Hosts, MetricsHandle};
use nestor_catalog::FileCatalog;
use nestor_core::definition::Definition;
use nestor_core::ports::{Catalog, CatalogError, Store};
use nestor_core::spec::CatalogRef;
use nestor_orchestrator::{Orchestrator, RealSurroundings};
use nestor_store::{MemoryStore, SledOptions, SledStore};
use nestor_webhook::HttpNotifier;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::{Code, Failure, LogFormatArg, ServeArgs};
use crate::config::{CatalogConfig, Config, LogFormat, StoreConfig};

pub(crate) use builtins::all as builtin_engines;
pub(crate) use engines::start as start_engines;
pub(crate) use place::{data_dir, planned as planned_data_dir};
pub(crate) use tools::registry as tool_registry;

/// Runs the server until it is told to stop.
pub(crate) fn run(args: ServeArgs) -> Result<Code, Failure> {
    let begun = Instant::now();
    let config = configured(args)?;
    logging::start(&config.telemetry).map_err(Failure::invalid)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("nestor")
        .build()
        .map_err(|e| Failure::local(format!("the server cannot start its threads: {e}")))?;
    runtime.block_on(serve(config, begun))
}

/// What the coordinator may do at once.
pub(crate) fn orchestrator_limits(config: &Config) -> nestor_orchestrator::Limits {
    let default = nestor_orchestrator::Limits::default();
    let calls = config.server.max_calls;
    nestor_orchestrator::Limits {
        queue: config.server.max_queue.unwrap_or(default.queue),
        runs: config.server.max_runs.unwrap_or(default.runs),
        keep_deleted: config.server.keep_deleted.unwrap_or(default.keep_deleted),
        calls: calls
            .and_then(|calls| usize::try_from(calls).ok())
            .unwrap_or(default.calls),
        engines: config
            .engines
            .iter()
            .filter_map(|(id, engine)| Some((id.clone(), engine.concurrency?)))
            .collect(),
        ..default
    }
}

/// What the API takes at once.
pub(crate) fn api_limits(config: &Config) -> nestor_api::Limits {
    let default = nestor_api::Limits::default();
    nestor_api::Limits {
        drain: config.server.grace,
        requests: config.server.max_requests.unwrap_or(default.requests),
        streams: config.server.max_streams.unwrap_or(default.streams),
        ..default
    }
}

/// The config with what the command line says over it.
fn configured(args: ServeArgs) -> Result<Config, Failure> {
    let mut config = match &args.config {
        Some(file) => crate::config::load(file).map_err(Failure::invalid)?,
        None => Config::default(),
    };
    if let Some(listen) = args.listen {
        config.server.listen = listen;
    }
    if args.data_dir.is_some() {
        config.server.data_dir = args.data_dir;
    }
    if let Some(catalog) = args.catalog {
        config.catalog.directory = Some(catalog);
    }
    if let Some(log) = args.log {
        config.telemetry.log = log;
    }
    if let Some(format) = args.log_format {
        config.telemetry.format = match format {
            LogFormatArg::Text => LogFormat::Text,
            LogFormatArg::Json => LogFormat::Json,
        };
    }
    Ok(config)
}

async fn serve(config: Config, begun: Instant) -> Result<Code, Failure> {
    let signals = Signals::listen()?;
    // First, so that a port that is taken is said before anything is opened.
    let listener = listen(&config).await?;
    let address = listener
        .local_addr()
        .map_err(|e| Failure::local(e.to_string()))?;
    let data_dir = data_dir(&config).map_err(Failure::local)?;
    let metrics = MetricsHandle::install().map_err(|e| Failure::local(e.to_string()))?;
    let (store, sled) = open_store(&config.store, &data_dir)?;
    let engines = engines::start(&config, &data_dir, Arc::clone(&store))
        .await
        .map_err(Failure::local)?;
    let catalog = open_catalog(&config.catalog)?;
    let delivery = {
        let (gitops, data_dir) = (config.gitops.clone(), data_dir.clone());
        let opened = tokio::task::spawn_blocking(move || delivery::open(&gitops, &data_dir)).await;
        opened
            .map_err(|e| Failure::local(e.to_string()))?
            .map_err(Failure::local)?
    };
    let limits = orchestrator_limits(&config);
    let orchestrator = Orchestrator::start(nestor_orchestrator::Parts {
        store: Arc::clone(&store),
        engines: Arc::clone(&engines) as Arc<dyn nestor_core::ports::Engines>,
        catalog: Arc::clone(&catalog),
        delivery,
        notifier: Arc::new(HttpNotifier::new(config.webhooks.clone())),
        surroundings: Arc::new(RealSurroundings),
        limits,
        environments: config.environments.clone(),
    })
    .await
    .map_err(|e| Failure::local(e.to_string()))?;

    let shutdown = CancellationToken::new();
    let api_limits = api_limits(&config);
    let api = Api::new(nestor_api::Parts {
        service: Arc::new(orchestrator.clone()),
        webhooks: Arc::new(orchestrator.clone()),
        engines: Arc::clone(&engines) as Arc<dyn nestor_api::EngineAdmin>,
        catalog,
        metrics: metrics.clone(),
        limits: api_limits,
        hosts: Hosts {
            strict: address.ip().is_loopback() || !config.server.hosts.is_empty(),
            names: config.server.hosts.clone(),
        },
        shutdown: shutdown.clone(),
    });
    let upkeep = tokio::spawn(metrics.upkeep());
    let serving = tokio::spawn(nestor_api::serve(
        listener,
        nestor_api::router(api),
        api_limits,
        shutdown.clone(),
    ));

    say_ready(address, &data_dir, &engines, begun);
    let prepared = tokio::spawn({
        let engines = Arc::clone(&engines);
        async move {
            engines.settled().await;
            tracing::info!(engines = engines.summary(), "engines are prepared");
        }
    });
    let signal = signals.first().await;
    tracing::info!(
        signal,
        "stopping: requests and operations under way are finished; a second signal stops at once"
    );
    shutdown.cancel();
    let orderly = async {
        let _ = serving.await;
        orchestrator.shutdown(config.server.grace).await;
        prepared.abort();
        upkeep.abort();
        if let Some(sled) = sled {
            sled.close().await;
        }
    };
    tokio::select! {
        () = orderly => tracing::info!("stopped"),
        signal = signals.second() => tracing::warn!(signal, "stopped at once; what was under way is settled at the next start"),
    }
    Ok(Code::Done)
}

async fn listen(config: &Config) -> Result<TcpListener, Failure> {
    let address = config.server.listen;
    TcpListener::bind(address).await.map_err(|error| {
        let text = match error.kind() {
            std::io::ErrorKind::AddrInUse => format!(
                "{address} is in use: another program (perhaps another nestor) listens there; stop it, or choose another address with --listen"
            ),
            std::io::ErrorKind::PermissionDenied => {
                format!("{address} may not be listened on: ports below 1024 are for root; choose another with --listen")
            }
            std::io::ErrorKind::AddrNotAvailable => format!("{address} is not an address of this machine"),
            _ => format!("{address} cannot be listened on: {error}"),
        };
        Failure::local(text)
    })
}

type OpenStore = (Arc<dyn Store>, Option<Arc<SledStore>>);

fn open_store(config: &StoreConfig, data_dir: &std::path::Path) -> Result<OpenStore, Failure> {
    match config {
        StoreConfig::Memory => {
            tracing::warn!("the store is in memory: nothing survives a restart");
            Ok((Arc::new(MemoryStore::new()), None))
        }
        StoreConfig::Sled { path, cache_bytes } => {
            let path = path.clone().unwrap_or_else(|| data_dir.join("store"));
            let mut options = SledOptions::default();
            options.cache_bytes = cache_bytes.unwrap_or(options.cache_bytes);
            let store =
                SledStore::open(path, &options).map_err(|e| Failure::local(e.to_string()))?;
            let store = Arc::new(store);
            Ok((Arc::clone(&store) as Arc<dyn Store>, Some(store)))
        }
    }
}

fn open_catalog(config: &CatalogConfig) -> Result<Arc<dyn Catalog>, Failure> {
    let Some(directory) = &config.directory else {
        tracing::warn!(
            "there is no catalog: nothing can be deployed until the config names a catalog.directory"
        );
        return Ok(Arc::new(Empty));
    };
    let catalog = FileCatalog::open(directory).map_err(|e| Failure::local(e.to_string()))?;
    for problem in catalog.problems().unwrap_or_default() {
        tracing::warn!(%problem, "a definition is broken");
    }
    Ok(Arc::new(catalog))
}

/// One clear line for whoever started it; everything else is in the log.
fn say_ready(
    address: std::net::SocketAddr,
    data_dir: &std::path::Path,
    engines: &engines::GatedEngines,
    begun: Instant,
) {
    let after = begun.elapsed();
    let summary = engines.summary();
    if builtins::all().is_empty() {
        tracing::warn!(
            "this nestor was built without engines; build them (`make engines`) and nestor again, or load some"
        );
    }
    tracing::info!(%address, data_dir = %data_dir.display(), engines = summary, after_ms = after.as_millis(), "ready");
    let line = format!(
        "nestor is ready on http://{address} (engines: {summary}; data: {})",
        data_dir.display()
    );
    let _ = writeln!(std::io::stdout(), "{line}");
    let _ = std::io::stdout().flush();
}

/// SIGINT and SIGTERM, listened for from the very start.
struct Signals(tokio::sync::Mutex<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>);

impl Signals {
    fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind).map_err(|e| Failure::local(format!("signals cannot be listened for: {e}")))
        };
        Ok(Self(tokio::sync::Mutex::new((
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
        ))))
    }

    async fn first(&self) -> &'static str {
        let mut signals = self.0.lock().await;
        let (interrupt, terminate) = &mut *signals;
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    }

    async fn second(&self) -> &'static str {
        self.first().await
    }
}

/// A host without a catalog.
struct Empty;

#[async_trait]
impl Catalog for Empty {
    async fn lookup(&self, reference: &CatalogRef) -> Result<Arc<Definition>, CatalogError> {
        Err(CatalogError::UnknownName {
            name: reference.name.clone(),
            similar: None,
        })
    }
    async fn list(&self) -> Result<Vec<Arc<Definition>>, CatalogError> {
        Ok(Vec::new())
    }
}
