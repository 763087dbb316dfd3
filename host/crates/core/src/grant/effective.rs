//! Requested ∩ granted, all or nothing.

use std::fmt;

use super::{Capabilities, FsMode, HttpRule, Limits, ToolRule};
use crate::units::{show_duration, show_size};

/// What an engine may do. Made only by [`effective`], so holding one means
/// that everything in it was requested and granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant(Capabilities);

/// Something requested that was not granted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingGrant {
    /// The part of the grant: `http`, `fs`, `tool`, `secrets`, `kv`, `limits`.
    pub capability: &'static str,
    /// What was requested, in the words of `engine.toml`.
    pub requested: String,
    /// What is granted of it, or that nothing is.
    pub granted: String,
}

impl fmt::Display for MissingGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: requested {}; granted {}",
            self.capability, self.requested, self.granted
        )
    }
}

/// What an engine may do: what it requested, if all of that is granted.
///
/// # Errors
/// Everything that is missing, in the order of the request.
pub fn effective(
    requested: &Capabilities,
    granted: &Capabilities,
) -> Result<Grant, Vec<MissingGrant>> {
    let mut missing = Vec::new();
    for rule in &requested.http {
        http(rule, &granted.http, &mut missing);
    }
    let (asked, allowed) = (requested.checkout(), granted.checkout());
    if asked.quota > allowed.quota || asked.mode > allowed.mode {
        let show = |mode: FsMode, quota| {
            format!("/work {} with quota {}", mode.as_str(), show_size(quota))
        };
        missing.push(MissingGrant {
            capability: "fs",
            requested: show(asked.mode, asked.quota),
            granted: show(allowed.mode, allowed.quota),
        });
    }
    for rule in &requested.tools {
        tool(rule, &granted.tools, &mut missing);
    }
    for secret in &requested.secrets {
        if !granted.secrets.contains(secret) {
            missing.push(MissingGrant {
                capability: "secrets",
                requested: secret.clone(),
                granted: some_or_none(&granted.secrets),
            });
        }
    }
    if requested.kv_quota > granted.kv_quota {
        missing.push(MissingGrant {
            capability: "kv",
            requested: format!("quota {}", show_size(requested.kv_quota)),
            granted: show_size(granted.kv_quota),
        });
    }
    limits(&requested.limits, &granted.limits, &mut missing);
    if missing.is_empty() {
        Ok(Grant(requested.clone()))
    } else {
        Err(missing)
    }
}

/// Every method on every path must be allowed by some granted rule, whole.
fn http(rule: &HttpRule, granted: &[HttpRule], missing: &mut Vec<MissingGrant>) {
    let same_origin: Vec<&HttpRule> = granted
        .iter()
        .filter(|g| g.origin.covers(&rule.origin))
        .collect();
    if same_origin.is_empty() {
        missing.push(MissingGrant {
            capability: "http",
            requested: rule.origin.to_string(),
            granted: some_or_none(granted.iter().map(|g| &g.origin)),
        });
        return;
    }
    for path in &rule.paths {
        let on_path: Vec<&HttpRule> = same_origin
            .iter()
            .copied()
            .filter(|g| g.paths.iter().any(|p| p.covers(path)))
            .collect();
        for method in &rule.methods {
            let allowing: Vec<&HttpRule> = on_path
                .iter()
                .copied()
                .filter(|g| g.methods.contains(method))
                .collect();
            let what = format!("{method} {}{path}", rule.origin);
            if allowing.is_empty() {
                let shown = same_origin.iter().flat_map(|g| {
                    g.paths
                        .iter()
                        .map(move |path| format!("{} {path}", g.methods.join("/")))
                });
                missing.push(MissingGrant {
                    capability: "http",
                    requested: what,
                    granted: some_or_none(shown),
                });
            } else if !allowing.iter().any(|g| terms_covered(rule, g)) {
                missing.push(MissingGrant {
                    capability: "http",
                    requested: format!("{what} with {}", terms(rule)),
                    granted: allowing
                        .iter()
                        .map(|g| terms(g))
                        .collect::<Vec<_>>()
                        .join(", or "),
                });
            }
        }
    }
}

fn terms_covered(rule: &HttpRule, granted: &HttpRule) -> bool {
    rule.addresses <= granted.addresses
        && rule.redirects <= granted.redirects
        && rule.max_body <= granted.max_body
        && rule.deadline <= granted.deadline
        && (rule.auth.is_none() || rule.auth == granted.auth)
}

fn terms(rule: &HttpRule) -> String {
    let auth = match &rule.auth {
        Some(auth) => format!("secret {} as {}", auth.secret, auth.scheme.as_str()),
        None => "no auth".into(),
    };
    format!(
        "addresses {}, redirects {}, max_body {}, deadline {}, {auth}",
        rule.addresses.as_str(),
        rule.redirects.as_str(),
        show_size(rule.max_body),
        show_duration(rule.deadline)
    )
}

fn tool(rule: &ToolRule, granted: &[ToolRule], missing: &mut Vec<MissingGrant>) {
    let same: Vec<&ToolRule> = granted.iter().filter(|g| g.name == rule.name).collect();
    if same.is_empty() {
        let requested = format!(
            "{}{}",
            rule.name,
            if rule.reason.is_empty() {
                String::new()
            } else {
                format!(" ({})", rule.reason)
            }
        );
        let granted = some_or_none(granted.iter().map(|g| &g.name));
        missing.push(MissingGrant {
            capability: "tool",
            requested,
            granted,
        });
        return;
    }
    // One granted rule must cover the whole of the requested one: arguments of
    // one rule with the variables of another were never approved together.
    let gaps = |g: &ToolRule| {
        let args = rule
            .args
            .iter()
            .filter(|a| !g.args.iter().any(|wide| wide.covers(a)));
        let args = args.map(|a| format!("{} with arguments {a}", rule.name));
        let env = rule
            .env
            .iter()
            .filter(|e| !g.env.iter().any(|wide| env_covers(wide, e)));
        let env = env.map(|e| format!("{} with variable {e}", rule.name));
        let deadline = (rule.deadline > g.deadline).then(|| {
            format!(
                "{} with deadline {}",
                rule.name,
                show_duration(rule.deadline)
            )
        });
        args.chain(env).chain(deadline).collect::<Vec<_>>()
    };
    let Some((nearest, gaps)) = same
        .iter()
        .map(|g| (*g, gaps(g)))
        .min_by_key(|(_, gaps)| gaps.len())
    else {
        return;
    };
    for requested in gaps {
        let granted = if requested.contains(" with arguments ") {
            some_or_none(&nearest.args)
        } else if requested.contains(" with variable ") {
            some_or_none(&nearest.env)
        } else {
            show_duration(nearest.deadline)
        };
        missing.push(MissingGrant {
            capability: "tool",
            requested,
            granted,
        });
    }
}

fn env_covers(wide: &super::EnvRule, narrow: &super::EnvRule) -> bool {
    wide.name == narrow.name && (wide.value.is_none() || wide.value == narrow.value)
}

fn limits(asked: &Limits, allowed: &Limits, missing: &mut Vec<MissingGrant>) {
    let mut check = |exceeds: bool, key: &str, requested: String, granted: String| {
        if exceeds {
            let requested = format!("{key} {requested}");
            missing.push(MissingGrant {
                capability: "limits",
                requested,
                granted,
            });
        }
    };
    let size = |bytes: u64| show_size(bytes);
    check(
        asked.memory > allowed.memory,
        "memory",
        size(asked.memory),
        size(allowed.memory),
    );
    check(
        asked.cpu > allowed.cpu,
        "cpu",
        show_duration(asked.cpu),
        show_duration(allowed.cpu),
    );
    check(
        asked.wall > allowed.wall,
        "wall",
        show_duration(asked.wall),
        show_duration(allowed.wall),
    );
    check(
        asked.log_bytes > allowed.log_bytes,
        "log_bytes",
        size(asked.log_bytes),
        size(allowed.log_bytes),
    );
    check(
        asked.events_per_second > allowed.events_per_second,
        "events_per_second",
        asked.events_per_second.to_string(),
        allowed.events_per_second.to_string(),
    );
    check(
        asked.output_bytes > allowed.output_bytes,
        "output_bytes",
        size(asked.output_bytes),
        size(allowed.output_bytes),
    );
    check(
        asked.concurrency > allowed.concurrency,
        "concurrency",
        asked.concurrency.to_string(),
        allowed.concurrency.to_string(),
    );
}

fn some_or_none<T: fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    let names = crate::text::listed(names);
    if names.is_empty() {
        "nothing".into()
    } else {
        names
    }
}

impl Grant {
    /// Everything that is allowed.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.0
    }

    /// The bounds of every call.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Whether any HTTP is allowed at all: without it the interface is not even linked.
    #[must_use]
    pub fn allows_http(&self) -> bool {
        !self.0.http.is_empty()
    }

    /// Whether a secret may be referred to.
    #[must_use]
    pub fn allows_secret(&self, name: &str) -> bool {
        self.0.secrets.iter().any(|secret| secret == name)
    }

    /// The rule by which a tool may run with these arguments and variables.
    ///
    /// # Errors
    /// A sentence for the engine's author and the audit: what was asked for and
    /// what is allowed.
    pub fn allows_tool<S: AsRef<str>>(&self, tool: &str, args: &[S]) -> Result<&ToolRule, String> {
        let rules = || self.0.tools.iter().filter(|rule| rule.name == tool);
        if let Some(rule) =
            rules().find(|rule| rule.args.iter().any(|pattern| pattern.matches(args)))
        {
            return Ok(rule);
        }
        let shown = crate::text::shortened(tool, 80);
        if rules().next().is_none() {
            let granted = some_or_none(self.0.tools.iter().map(|rule| &rule.name));
            return Err(format!("tool {shown:?} is not granted; granted: {granted}"));
        }
        let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
        let asked = crate::text::shortened(&format!("{args:?}"), 300);
        let allowed = some_or_none(rules().flat_map(|rule| &rule.args));
        Err(format!(
            "tool {shown:?} is not granted with the arguments {asked}; granted: {allowed}"
        ))
    }

    /// The rule by which a request may be made; the host in lower case without
    /// brackets, the path normalised.
    ///
    /// # Errors
    /// A sentence for the engine's author and the audit.
    pub fn allows_request(
        &self,
        scheme: super::Scheme,
        host: &str,
        port: u16,
        method: &str,
        path: &str,
    ) -> Result<&HttpRule, String> {
        self.0
            .http
            .iter()
            .find(|rule| rule.matches(scheme, host, port, method, path))
            .ok_or_else(|| {
                let asked = format!("{method} {}://{host}:{port}{path}", scheme.as_str());
                let asked = crate::text::shortened(&asked, 300);
                format!(
                    "{asked} is not granted; granted: {}",
                    some_or_none(self.0.http.iter().map(|rule| &rule.origin))
                )
            })
    }
}
