//! `engine.toml` and grants, read.

use std::time::Duration;

use serde_json::Value;

use super::document::{Item, ManifestError, Problems, Section};
use super::{
    Addresses, ArgPattern, AuthScheme, Capabilities, EnvRule, FsMode, FsRule, FsSource, HttpAuth,
    HttpRule, Limits, MAX_CHECKOUT_QUOTA, MAX_KV_QUOTA, Manifest, Redirects, ToolRule,
};
use crate::text::{did_you_mean, listed};
use crate::units::{parse_duration, parse_size, show_duration, show_size};

/// The version of the file format.
const SCHEMA: i64 = 1;
/// Of one kind; a reviewer reads every one.
const MAX_RULES: usize = 64;
/// Argument lists, paths or variables in one rule.
const MAX_ENTRIES: usize = 256;
/// A reason is a sentence.
const MAX_REASON: usize = 500;

const MANIFEST_KEYS: &[&str] = &[
    "schema", "engine", "http", "fs", "tool", "secrets", "kv", "limits",
];
const GRANT_KEYS: &[&str] = &["schema", "http", "fs", "tool", "secrets", "kv", "limits"];

impl Manifest {
    /// Reads an `engine.toml`; `file` is what messages call it.
    ///
    /// # Errors
    /// Every problem, with its line.
    pub fn parse(text: &str, file: &str) -> Result<Self, ManifestError> {
        let mut problems = Problems::default();
        let item = toml_item(text, file)?;
        let manifest = manifest(&item, &mut problems);
        problems.into_result(file, manifest)
    }
}

impl Capabilities {
    /// Reads a grant: the shape of an `engine.toml` without its `[engine]`.
    ///
    /// # Errors
    /// Every problem, with its line.
    pub fn parse_grant(text: &str, file: &str) -> Result<Self, ManifestError> {
        let item = toml_item(text, file)?;
        Self::read(&item, file)
    }

    /// Reads a grant that stands in another document, such as the host's
    /// config; `file` is what messages call it.
    ///
    /// # Errors
    /// Every problem, without lines.
    pub fn from_json(grant: &Value, file: &str) -> Result<Self, ManifestError> {
        Self::read(&Item::from_json(grant), file)
    }

    fn read(item: &Item, file: &str) -> Result<Self, ManifestError> {
        let mut problems = Problems::default();
        let grant = Section::new(item, String::new(), GRANT_KEYS, &mut problems).map(|root| {
            root.read("schema", &mut problems, schema);
            capabilities(&root, &mut problems)
        });
        problems.into_result(file, grant)
    }
}

fn toml_item(text: &str, file: &str) -> Result<Item, ManifestError> {
    Item::from_toml(text).map_err(|problem| ManifestError {
        file: file.to_owned(),
        problems: vec![problem],
    })
}

fn manifest(item: &Item, problems: &mut Problems) -> Option<Manifest> {
    let root = Section::new(item, String::new(), MANIFEST_KEYS, problems)?;
    root.require("schema", problems, schema);
    let capabilities = capabilities(&root, problems);
    let engine = root.require("engine", problems, Ok)?;
    let engine = Section::new(
        engine,
        "engine".into(),
        &["id", "version", "world"],
        problems,
    )?;
    let id = engine.require("id", problems, |v| v.text()?.parse());
    let version = engine.require("version", problems, |v| {
        v.text()?
            .parse()
            .map_err(|e| format!("is not a version such as 1.4.0: {e}"))
    });
    let world = engine.require("world", problems, |v| v.text()?.parse());
    Some(Manifest {
        id: id?,
        version: version?,
        world: world?,
        capabilities,
    })
}

fn schema(item: &Item) -> Result<(), String> {
    match item.integer()? {
        SCHEMA => Ok(()),
        other => Err(format!("is {other}; this host reads schema {SCHEMA}")),
    }
}

fn capabilities(root: &Section<'_>, problems: &mut Problems) -> Capabilities {
    let mut result = Capabilities::default();
    for (item, path, _) in root.elements("http", MAX_RULES, problems) {
        result.http.extend(http_rule(item, path, problems));
    }
    for (item, path, line) in root.elements("fs", MAX_RULES, problems) {
        let Some(rule) = fs_rule(item, path.clone(), problems) else {
            continue;
        };
        if result.fs.iter().any(|other| other.source == rule.source) {
            problems.add(
                line,
                path,
                format!("is a second rule for {}; keep one", rule.source.mount()),
            );
        } else {
            result.fs.push(rule);
        }
    }
    for (item, path, _) in root.elements("tool", MAX_RULES, problems) {
        result.tools.extend(tool_rule(item, path, problems));
    }
    if let Some((item, _)) = root.get("secrets")
        && let Some(section) = Section::new(item, "secrets".into(), &["names"], problems)
    {
        for (item, path, line) in section.elements("names", MAX_ENTRIES, problems) {
            match item.text().and_then(secret_name) {
                Ok(name) => result.secrets.push(name),
                Err(message) => problems.add(line, path, message),
            }
        }
        result.secrets.sort();
        result.secrets.dedup();
    }
    if let Some((item, _)) = root.get("kv")
        && let Some(section) = Section::new(item, "kv".into(), &["quota"], problems)
    {
        result.kv_quota = section
            .read("quota", problems, size(1, MAX_KV_QUOTA))
            .unwrap_or(result.kv_quota);
    }
    if let Some((item, _)) = root.get("limits") {
        limits(item, &mut result.limits, problems);
    }
    result
}

fn limits(item: &Item, result: &mut Limits, problems: &mut Problems) {
    const KEYS: &[&str] = &[
        "memory",
        "cpu",
        "wall",
        "log_bytes",
        "events_per_second",
        "output_bytes",
        "concurrency",
    ];
    let Some(section) = Section::new(item, "limits".into(), KEYS, problems) else {
        return;
    };
    let mut set_size = |key, field: &mut u64, max| {
        *field = section.read(key, problems, size(1, max)).unwrap_or(*field)
    };
    // A page of WebAssembly is 64 KiB; below sixteen of them nothing starts.
    const LEAST_MEMORY: u64 = 1 << 20;
    set_size("log_bytes", &mut result.log_bytes, Limits::MAX_LOG_BYTES);
    set_size(
        "output_bytes",
        &mut result.output_bytes,
        Limits::MAX_OUTPUT_BYTES,
    );
    result.memory = section
        .read("memory", problems, size(LEAST_MEMORY, Limits::MAX_MEMORY))
        .unwrap_or(result.memory);
    result.cpu = section
        .read("cpu", problems, duration(Limits::MAX_CPU))
        .unwrap_or(result.cpu);
    result.wall = section
        .read("wall", problems, duration(Limits::MAX_WALL))
        .unwrap_or(result.wall);
    let mut set_count = |key, field: &mut u32, max| {
        *field = section.read(key, problems, count(max)).unwrap_or(*field)
    };
    set_count(
        "events_per_second",
        &mut result.events_per_second,
        Limits::MAX_EVENTS_PER_SECOND,
    );
    set_count(
        "concurrency",
        &mut result.concurrency,
        Limits::MAX_CONCURRENCY,
    );
}

fn http_rule(item: &Item, path: String, problems: &mut Problems) -> Option<HttpRule> {
    const KEYS: &[&str] = &[
        "origin",
        "methods",
        "paths",
        "addresses",
        "redirects",
        "max_body",
        "deadline",
        "auth",
        "reason",
    ];
    let section = Section::new(item, path, KEYS, problems)?;
    let origin = section.require("origin", problems, |v| v.text()?.parse());
    let methods = section.read("methods", problems, |v| {
        let mut methods = Vec::new();
        for method in v.texts()? {
            if !HttpRule::KNOWN_METHODS.contains(&method) {
                let hint = did_you_mean(method, HttpRule::KNOWN_METHODS);
                let known = listed(HttpRule::KNOWN_METHODS);
                return Err(format!(
                    "{:?} is not a method{hint} (known: {known})",
                    crate::text::shortened(method, 40)
                ));
            }
            methods.push(method.to_owned());
        }
        methods.sort();
        methods.dedup();
        if methods.is_empty() {
            Err("names no method; leave it out for GET and HEAD".into())
        } else {
            Ok(methods)
        }
    });
    let paths = section.read("paths", problems, |v| {
        let paths = v.texts()?;
        if paths.is_empty() || paths.len() > MAX_ENTRIES {
            return Err(format!(
                "must name 1 to {MAX_ENTRIES} paths; leave it out for every path"
            ));
        }
        paths.into_iter().map(str::parse).collect()
    });
    let addresses = section.read("addresses", problems, |v| {
        one_of(
            v,
            &[Addresses::Public, Addresses::Private, Addresses::Loopback],
            Addresses::as_str,
        )
    });
    let redirects = section.read("redirects", problems, |v| {
        one_of(
            v,
            &[Redirects::None, Redirects::SameOrigin, Redirects::Granted],
            Redirects::as_str,
        )
    });
    let max_body = section.read("max_body", problems, size(1, HttpRule::MAX_BODY));
    let deadline = section.read("deadline", problems, duration(HttpRule::MAX_DEADLINE));
    let auth = section.get("auth").and_then(|(item, _)| {
        let section = Section::new(item, section.key("auth"), &["secret", "as"], problems)?;
        let secret = section.require("secret", problems, |v| secret_name(v.text()?));
        let scheme = section.require("as", problems, |v| {
            one_of(
                v,
                &[AuthScheme::Bearer, AuthScheme::Basic],
                AuthScheme::as_str,
            )
        });
        Some(HttpAuth {
            secret: secret?,
            scheme: scheme?,
        })
    });
    let reason = section.read("reason", problems, reason);
    Some(HttpRule {
        origin: origin?,
        methods: methods.unwrap_or_else(|| HttpRule::DEFAULT_METHODS.map(str::to_owned).to_vec()),
        paths: paths
            .unwrap_or_else(|| vec!["/**".parse().expect("the pattern for every path is one")]),
        addresses: addresses.unwrap_or(Addresses::Public),
        redirects: redirects.unwrap_or(Redirects::None),
        max_body: max_body.unwrap_or(HttpRule::DEFAULT_MAX_BODY),
        deadline: deadline.unwrap_or(HttpRule::DEFAULT_DEADLINE),
        auth,
        reason: reason.unwrap_or_default(),
    })
}

fn fs_rule(item: &Item, path: String, problems: &mut Problems) -> Option<FsRule> {
    let section = Section::new(
        item,
        path,
        &["mount", "source", "mode", "quota", "reason"],
        problems,
    )?;
    let source = section.require("source", problems, |v| {
        one_of(
            v,
            &[FsSource::Definition, FsSource::Checkout],
            FsSource::as_str,
        )
    })?;
    section.read("mount", problems, |v| match v.text()? {
        mount if mount == source.mount() => Ok(()),
        other => Err(format!(
            "is {other:?}; the source {:?} is always at {:?}",
            source.as_str(),
            source.mount()
        )),
    });
    let most = if source == FsSource::Definition {
        FsMode::ReadOnly
    } else {
        FsMode::ReadWrite
    };
    let mode = section.read("mode", problems, |v| {
        match one_of(v, &[FsMode::ReadOnly, FsMode::ReadWrite], FsMode::as_str)? {
            mode if mode > most => Err("cannot be \"rw\": a definition is never written".into()),
            mode => Ok(mode),
        }
    });
    section.read("reason", problems, reason);
    let quota = section.read("quota", problems, size(0, MAX_CHECKOUT_QUOTA));
    let default_quota = if source == FsSource::Definition {
        0
    } else {
        super::DEFAULT_CHECKOUT_QUOTA
    };
    Some(FsRule {
        source,
        mode: mode.unwrap_or(most),
        quota: quota.unwrap_or(default_quota),
    })
}

fn tool_rule(item: &Item, path: String, problems: &mut Problems) -> Option<ToolRule> {
    let section = Section::new(
        item,
        path,
        &["name", "args", "env", "deadline", "reason"],
        problems,
    )?;
    let name = section.require("name", problems, |v| {
        let name = v.text()?;
        match crate::ids::EngineId::new(name) {
            Ok(name) => Ok(name.to_string()),
            Err(_) => Err(format!(
                "{:?} is not the name of a tool: use a name of the host's registry, such as \"terraform\", never a path",
                crate::text::shortened(name, 80)
            )),
        }
    });
    let mut args = Vec::new();
    if section.get("args").is_none() {
        section.require("args", problems, |_| Ok(()));
    }
    for (item, path, line) in section.elements("args", MAX_ENTRIES, problems) {
        match item.texts().and_then(|pattern| ArgPattern::new(&pattern)) {
            Ok(pattern) => args.push(pattern),
            Err(message) => problems.add(line, path, message),
        }
    }
    let mut env = Vec::new();
    for (item, path, line) in section.elements("env", MAX_ENTRIES, problems) {
        match item.text().and_then(str::parse) {
            Ok(rule) => env.push(rule),
            Err(message) => problems.add(line, path, message),
        }
    }
    let deadline = section.read("deadline", problems, duration(ToolRule::MAX_DEADLINE));
    let reason = section.read("reason", problems, reason);
    Some(ToolRule {
        name: name?,
        args,
        env,
        deadline: deadline.unwrap_or(ToolRule::DEFAULT_DEADLINE),
        reason: reason.unwrap_or_default(),
    })
}

impl std::str::FromStr for EnvRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let mut letters = name.bytes();
        let first_ok = letters
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !first_ok
            || !letters.all(|b| b.is_ascii_alphanumeric() || b == b'_')
            || text.contains('\0')
        {
            let shown = crate::text::shortened(text, 80);
            return Err(format!(
                "{shown:?} is not NAME=value, or NAME for any value"
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

fn secret_name(text: &str) -> Result<String, String> {
    crate::ids::EngineId::new(text)
        .map(|name| name.to_string())
        .map_err(|_| {
            format!(
                "{:?} is not the name of a secret: lower-case letters, digits and '-'",
                crate::text::shortened(text, 80)
            )
        })
}

fn reason(item: &Item) -> Result<String, String> {
    Ok(crate::text::shortened(item.text()?, MAX_REASON))
}

fn one_of<T: Copy>(item: &Item, all: &[T], name: fn(T) -> &'static str) -> Result<T, String> {
    let text = item.text()?;
    all.iter()
        .copied()
        .find(|&value| name(value) == text)
        .ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|&value| name(value)).collect();
            let shown = crate::text::shortened(text, 40);
            format!(
                "is {shown:?}; it must be one of {}{}",
                names.join(", "),
                did_you_mean(text, names.iter().copied())
            )
        })
}

/// A size: a text with a unit, or a number of bytes.
fn size(min: u64, max: u64) -> impl FnOnce(&Item) -> Result<u64, String> {
    move |item| {
        let bytes = match item.integer() {
            Ok(bytes) => u64::try_from(bytes).map_err(|_| "must not be negative".to_owned())?,
            Err(_) => parse_size(item.text()?)?,
        };
        if (min..=max).contains(&bytes) {
            Ok(bytes)
        } else {
            Err(format!(
                "is {}; it must be {} to {}",
                show_size(bytes),
                show_size(min),
                show_size(max)
            ))
        }
    }
}

fn duration(max: Duration) -> impl FnOnce(&Item) -> Result<Duration, String> {
    move |item| {
        let duration = parse_duration(item.text()?)?;
        if duration.is_zero() || duration > max {
            return Err(format!(
                "is {}; it must be above 0s and at most {}",
                show_duration(duration),
                show_duration(max)
            ));
        }
        Ok(duration)
    }
}

fn count(max: u32) -> impl FnOnce(&Item) -> Result<u32, String> {
    move |item| match u32::try_from(item.integer()?) {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        _ => Err(format!("must be 1 to {max}")),
    }
}
