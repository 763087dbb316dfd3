//! From a document to a [`Config`], with every problem at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nestor_core::grant::Capabilities;
use nestor_core::ids::EngineId;
use nestor_core::text::did_you_mean;
use nestor_core::units::{parse_duration, parse_size, show_duration};
use serde_json::{Map, Value};

use super::document::{Entry, Node, Problems, Section};
use super::environments::environments;
#[cfg(test)]
use super::environments::{DRIFT, ENVIRONMENT};
use super::model::{
    CatalogConfig, Config, EngineConfig, GitopsConfig, LogFormat, RepositoryConfig, ServerConfig,
    StoreConfig, TelemetryConfig,
};
#[cfg(test)]
use super::webhooks::WEBHOOKS;
use super::webhooks::webhooks;

const TOP: &[&str] = &[
    "engines",
    "catalog",
    "gitops",
    "store",
    "server",
    "auth",
    "telemetry",
    "environments",
    "webhooks",
];
const ENGINE: &[&str] = &[
    "enabled",
    "endpoint",
    "timeout",
    "backend",
    "parallelism",
    "workspace_prefix",
    "component",
    "grants",
    "settings",
    "tool",
    "concurrency",
];
const CATALOG: &[&str] = &["endpoint", "directory", "cache"];
const CACHE: &[&str] = &["enabled", "ttl", "redis_url"];
const GITOPS: &[&str] = &["enabled", "repositories", "argocd"];
const REPOSITORY: &[&str] = &["name", "url", "branch", "path"];
const STORE: &[&str] = &["kind", "path", "cache", "url"];
const SERVER: &[&str] = &[
    "listen",
    "hosts",
    "data_dir",
    "cache_dir",
    "engines_dir",
    "grace",
    "max_requests",
    "max_streams",
    "max_queue",
    "max_runs",
    "keep_deleted",
    "max_calls",
];
const TELEMETRY: &[&str] = &["log", "format", "otlp"];

/// Every list of keys, for the documentation's test.
#[cfg(test)]
pub(super) const ALL_KEYS: &[&[&str]] = &[
    TOP,
    ENGINE,
    CATALOG,
    GITOPS,
    REPOSITORY,
    STORE,
    SERVER,
    TELEMETRY,
    ENVIRONMENT,
    DRIFT,
    WEBHOOKS,
];
/// Known, and refused in this version or by the engines that it carries.
#[cfg(test)]
pub(super) const REFUSED: &[&str] = &["auth", "endpoint", "timeout", "argocd", "otlp"];

/// Keys of an engine that are handed to it as settings of the same name.
const HANDED_ON: &[&str] = &[
    "endpoint",
    "timeout",
    "backend",
    "parallelism",
    "workspace_prefix",
];
/// The engines whose settings this version knows: what each reads.
const SETTINGS: &[(&str, &[&str])] = &[
    ("terraform", &["backend", "parallelism", "workspace_prefix"]),
    ("helm", &["namespace"]),
];
/// As many as a tool can use.
const MAX_PARALLELISM: u64 = 256;

/// Reads a config; relative paths in it are relative to `folder`.
pub(super) fn config(document: &Node, folder: &Path, problems: &mut Problems) -> Config {
    let mut config = Config::default();
    let Some(root) = Section::new(document, "", TOP, problems) else {
        return config;
    };
    let paths = Paths(folder);
    if let Some(entry) = root.get("engines")
        && let Some(section) = Section::any(&entry.value, "engines", problems)
    {
        for entry in section.entries() {
            if let Some((id, engine)) = engine(entry, paths, problems) {
                config.engines.insert(id, engine);
            }
        }
    }
    if let Some(entry) = root.get("catalog") {
        config.catalog = catalog(&entry.value, paths, problems);
    }
    if let Some(entry) = root.get("gitops") {
        config.gitops = gitops(&entry.value, paths, problems);
    }
    if let Some(entry) = root.get("store") {
        config.store = store(&entry.value, paths, problems);
    }
    if let Some(entry) = root.get("server") {
        config.server = server(&entry.value, paths, problems);
    }
    if let Some(entry) = root.get("telemetry") {
        config.telemetry = telemetry(&entry.value, problems);
    }
    if let Some(entry) = root.get("environments") {
        config.environments = environments(&entry.value, problems);
    }
    if let Some(entry) = root.get("webhooks") {
        config.webhooks = webhooks(&entry.value, problems);
    }
    if let Some(entry) = root.get("auth")
        && let Some(section) = Section::new(&entry.value, "auth", &["enabled"], problems)
        && section.read("enabled", problems, Node::boolean) != Some(false)
    {
        let advice = "take the section out or write `enabled: false`, and keep the host behind a proxy that checks who asks";
        problems.add(
            section.line(),
            "auth",
            format!("is not available in this version; {advice}"),
        );
    }
    config
}

#[derive(Clone, Copy)]
struct Paths<'a>(&'a Path);

impl Paths<'_> {
    fn of(self, node: &Node) -> Result<PathBuf, String> {
        match node.text()? {
            "" => Err("must not be empty".into()),
            text => Ok(self.0.join(text)),
        }
    }

    fn folder(self, node: &Node) -> Result<PathBuf, String> {
        let path = self.of(node)?;
        if path.is_dir() {
            Ok(path)
        } else {
            Err(format!("{} is not a folder", path.display()))
        }
    }

    fn file(self, node: &Node) -> Result<PathBuf, String> {
        let path = self.of(node)?;
        if path.is_file() {
            Ok(path)
        } else {
            Err(format!("{} is not a file", path.display()))
        }
    }
}

fn engine(
    entry: &Entry,
    paths: Paths<'_>,
    problems: &mut Problems,
) -> Option<(EngineId, EngineConfig)> {
    let path = format!("engines.{}", entry.key);
    let id = match EngineId::new(&entry.key) {
        Ok(id) => id,
        Err(error) => {
            problems.add(entry.line, path, error.to_string());
            return None;
        }
    };
    let section = Section::new(&entry.value, path, ENGINE, problems)?;
    let enabled = section
        .read("enabled", problems, Node::boolean)
        .unwrap_or(true);
    let component = section.read("component", problems, |node| {
        let path = paths.file(node)?;
        match path.extension() {
            Some(end) if end == "wasm" => Ok(path),
            _ => Err(
                "must be a .wasm file, with its engine.toml beside it as the same name with .toml"
                    .into(),
            ),
        }
    });
    let tool = section.read("tool", problems, |node| paths.file(node));
    let concurrency = section.read("concurrency", problems, |node| {
        let max = u64::from(nestor_engine::MAX_CALLS);
        match node.whole()? {
            calls @ 1.. if calls <= max => usize::try_from(calls).map_err(|e| e.to_string()),
            _ => Err(format!("must be 1 to {max}")),
        }
    });
    if let Some(entry) = section.get("tool")
        && id.as_str() != "terraform"
    {
        let message = "is only for terraform: other engines get the tools that their grants name";
        problems.add(entry.line, section.path("tool"), message);
    }
    let grants = section.get("grants").and_then(|grants| {
        let at = section.path("grants");
        match Capabilities::from_json(&grants.value.to_json(), &at) {
            Ok(capabilities) => Some(capabilities),
            Err(error) => {
                for problem in error.problems {
                    let pointer =
                        format!("/{}", problem.key.replace(['.', '['], "/").replace(']', ""));
                    let line = grants.value.line_of(&pointer);
                    problems.add(line, format!("{at}.{}", problem.key), problem.message);
                }
                None
            }
        }
    });
    let settings = settings(&id, &section, problems);
    Some((
        id,
        EngineConfig {
            enabled,
            component,
            grants,
            settings,
            tool,
            concurrency,
        },
    ))
}

/// The keys that an engine reads, under one roof.
fn settings(id: &EngineId, section: &Section<'_>, problems: &mut Problems) -> Value {
    let known = SETTINGS
        .iter()
        .find(|(name, _)| *name == id.as_str())
        .map(|(_, keys)| *keys);
    let mut all = Map::new();
    if let Some(entry) = section.get("settings")
        && let Some(inner) = Section::any(&entry.value, section.path("settings"), problems)
    {
        for entry in inner.entries() {
            match known {
                Some(known) if !known.contains(&entry.key.as_str()) => {
                    let hint = did_you_mean(&entry.key, known.iter().copied());
                    let message = format!(
                        "the engine {id} has no such setting{hint} (known: {})",
                        known.join(", ")
                    );
                    problems.add(entry.line, inner.path(&entry.key), message);
                }
                _ => {
                    all.insert(entry.key.clone(), entry.value.to_json());
                }
            }
        }
    }
    section.read("parallelism", problems, |node| match node.whole()? {
        1..=MAX_PARALLELISM => Ok(()),
        _ => Err(format!("must be 1 to {MAX_PARALLELISM}")),
    });
    section.read("timeout", problems, |node| {
        parse_duration(node.text()?).map(|_| ())
    });
    section.read("workspace_prefix", problems, |node| node.text().map(|_| ()));
    section.read("endpoint", problems, |node| node.text().map(|_| ()));
    for &key in HANDED_ON {
        let Some(entry) = section.get(key) else {
            continue;
        };
        if known.is_some_and(|known| !known.contains(&key)) {
            let advice = if key == "timeout" {
                "give the deployment or the resource a `policy.timeout`"
            } else {
                "take it out"
            };
            problems.add(
                entry.line,
                section.path(key),
                format!("the engine {id} has no {key} in this version; {advice}"),
            );
        } else if all.insert(key.to_owned(), entry.value.to_json()).is_some() {
            problems.add(
                entry.line,
                section.path(key),
                format!("is in settings.{key} as well; keep one"),
            );
        }
    }
    if all.is_empty() {
        Value::Null
    } else {
        Value::Object(all)
    }
}

fn catalog(node: &Node, paths: Paths<'_>, problems: &mut Problems) -> CatalogConfig {
    let Some(section) = Section::new(node, "catalog", CATALOG, problems) else {
        return CatalogConfig::default();
    };
    section.refuse(
        "endpoint",
        "use `directory`, a folder of definitions",
        problems,
    );
    let directory = section.read("directory", problems, |node| paths.folder(node));
    if let Some(entry) = section.get("cache")
        && let Some(cache) = Section::new(&entry.value, "catalog.cache", CACHE, problems)
    {
        let instead = "a directory is kept in memory, and read again when its files change";
        cache.refuse("ttl", instead, problems);
        cache.refuse("redis_url", instead, problems);
        if cache.read("enabled", problems, Node::boolean) == Some(false) {
            problems.add(
                entry.line,
                "catalog.cache.enabled",
                format!("cannot be false in this version; {instead}"),
            );
        }
    }
    CatalogConfig { directory }
}

fn gitops(node: &Node, paths: Paths<'_>, problems: &mut Problems) -> GitopsConfig {
    let none = GitopsConfig {
        enabled: true,
        repository: None,
    };
    let Some(section) = Section::new(node, "gitops", GITOPS, problems) else {
        return none;
    };
    let enabled = section
        .read("enabled", problems, Node::boolean)
        .unwrap_or(true);
    section.refuse(
        "argocd",
        "let Argo CD watch the repository, or have it told by a webhook of the repository",
        problems,
    );
    let repositories = section
        .read("repositories", problems, Node::list)
        .unwrap_or_default();
    let mut read = repositories
        .iter()
        .enumerate()
        .filter_map(|(i, node)| repository(node, i, paths, problems));
    let repository = read.next();
    let further = read.count();
    if further > 0 {
        let line = repositories.get(1).map_or(0, |second| second.line);
        problems.add(
            line,
            "gitops.repositories",
            "more than one repository is not available in this version; keep the first",
        );
    }
    GitopsConfig {
        enabled,
        repository,
    }
}

fn repository(
    node: &Node,
    index: usize,
    paths: Paths<'_>,
    problems: &mut Problems,
) -> Option<RepositoryConfig> {
    let path = format!("gitops.repositories[{index}]");
    let section = Section::new(node, path, REPOSITORY, problems)?;
    let label = |node: &Node| match node.text()? {
        text if EngineId::new(text).is_ok() => Ok(text.to_owned()),
        _ => Err("must be lower-case letters, digits and '-'".to_owned()),
    };
    let name = section.read("name", problems, label);
    let folder = section.read("url", problems, |node| {
        let text = node.text()?;
        let local = match text.split_once("://") {
            None if text.contains('@') && text.contains(':') => None,
            None => Some(text),
            Some(("file", path)) => Some(path),
            Some(_) => None,
        };
        match local {
            Some("") => Err("must not be empty".to_owned()),
            Some(path) => Ok(paths.0.join(path)),
            None => Err(
                "a repository on another machine is not available in this version; \
                 write the folder of a bare repository, and push it from there"
                    .to_owned(),
            ),
        }
    });
    if section.get("name").is_none() {
        problems.add(section.line(), section.path("name"), "is missing");
    }
    if section.get("url").is_none() {
        problems.add(section.line(), section.path("url"), "is missing");
    }
    let branch = section.read("branch", problems, |node| match node.text()? {
        "" => Err("must not be empty".to_owned()),
        text => Ok(text.to_owned()),
    });
    let path = section.read("path", problems, |node| {
        let text = node.text()?.trim_matches('/');
        let plain = |part: &str| !matches!(part, "" | "." | ".." | ".git");
        if text.is_empty() || text.split('/').all(plain) {
            Ok(text.to_owned())
        } else {
            Err("must be a folder in the repository, without `.`, `..` and `.git`".to_owned())
        }
    });
    Some(RepositoryConfig {
        name: name?,
        folder: folder?,
        branch: branch.unwrap_or_else(|| "main".into()),
        path: path.unwrap_or_default(),
    })
}

fn store(node: &Node, paths: Paths<'_>, problems: &mut Problems) -> StoreConfig {
    let default = StoreConfig::Sled {
        path: None,
        cache_bytes: None,
    };
    let Some(section) = Section::new(node, "store", STORE, problems) else {
        return default;
    };
    section.refuse("url", "the store is a folder: `kind: sled`", problems);
    let kind = section.read("kind", problems, |node| match node.text()? {
        kind @ ("sled" | "memory") => Ok(kind),
        "postgres" | "postgresql" => {
            Err("\"postgres\" is not available in this version; use sled".to_owned())
        }
        other => Err(format!(
            "{other:?} is not a store{} (known: sled, memory)",
            did_you_mean(other, ["sled", "memory"])
        )),
    });
    let path = section.read("path", problems, |node| paths.of(node));
    let cache_bytes = section.read("cache", problems, |node| match parse_size(node.text()?)? {
        bytes if (1 << 20..=64 << 30).contains(&bytes) => Ok(bytes),
        _ => Err("must be 1MiB to 64GiB".to_owned()),
    });
    match kind {
        Some("memory") => {
            for key in ["path", "cache"] {
                if let Some(entry) = section.get(key) {
                    problems.add(entry.line, section.path(key), "is only for `kind: sled`");
                }
            }
            StoreConfig::Memory
        }
        _ => StoreConfig::Sled { path, cache_bytes },
    }
}

fn server(node: &Node, paths: Paths<'_>, problems: &mut Problems) -> ServerConfig {
    let mut server = Config::default().server;
    let Some(section) = Section::new(node, "server", SERVER, problems) else {
        return server;
    };
    let mut count = |key: &str, max: u64| {
        section.read(key, problems, |node| match node.whole()? {
            n if (1..=max).contains(&n) => Ok(n),
            _ => Err(format!("must be 1 to {max}")),
        })
    };
    let small = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok());
    server.max_requests = small(count("max_requests", 100_000));
    server.max_streams = small(count("max_streams", 100_000));
    server.max_queue = small(count("max_queue", 10_000_000));
    server.max_runs = small(count("max_runs", 100_000));
    server.max_calls =
        count("max_calls", nestor_engine::MAX_CALLS.into()).and_then(|n| u32::try_from(n).ok());
    if let Some(listen) = section.read("listen", problems, |node| listen(node.text()?)) {
        server.listen = listen;
    }
    server.keep_deleted = section.read("keep_deleted", problems, |node| {
        match duration(node, Config::MAX_KEEP_DELETED)? {
            keep if keep >= Config::MIN_KEEP_DELETED => Ok(keep),
            _ => Err("must be at least 1m".into()),
        }
    });
    server.hosts = super::hosts::hosts(&section, problems);
    if let Some(grace) = section.read("grace", problems, |node| duration(node, Config::MAX_GRACE)) {
        server.grace = grace;
    }
    server.data_dir = section.read("data_dir", problems, |node| paths.of(node));
    server.cache_dir = section.read("cache_dir", problems, |node| paths.of(node));
    server.engines_dir = section.read("engines_dir", problems, |node| paths.folder(node));
    server
}

fn telemetry(node: &Node, problems: &mut Problems) -> TelemetryConfig {
    let mut telemetry = Config::default().telemetry;
    let Some(section) = Section::new(node, "telemetry", TELEMETRY, problems) else {
        return telemetry;
    };
    section.refuse(
        "otlp",
        "metrics are at /metrics, and logs on standard error",
        problems,
    );
    if let Some(log) = section.read("log", problems, |node| directives(node.text()?)) {
        telemetry.log = log;
    }
    if let Some(format) = section.read("format", problems, |node| match node.text()? {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!(
            "{other:?} is not a format of log lines (known: text, json)"
        )),
    }) {
        telemetry.format = format;
    }
    telemetry
}

/// Directives of the log filter, checked: levels, alone or for a module.
pub(crate) fn directives(text: &str) -> Result<String, String> {
    let level = |text: &str| matches!(text, "off" | "error" | "warn" | "info" | "debug" | "trace");
    let module = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
    };
    let good = |part: &str| match part.split_once('=') {
        Some((target, of)) => module(target) && level(of),
        None => level(part),
    };
    if text.split(',').all(good) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is not a log filter; write a level (error, warn, info, debug, trace) or `info,nestor_engine=debug`"
    ))
}

/// An address to listen on.
pub(crate) fn listen(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is not an address to listen on; write it as 127.0.0.1:8080, or 0.0.0.0:8080 for every network")
    })
}

fn duration(node: &Node, max: Duration) -> Result<Duration, String> {
    match parse_duration(node.text()?)? {
        duration if duration <= max => Ok(duration),
        _ => Err(format!("must be at most {}", show_duration(max))),
    }
}
