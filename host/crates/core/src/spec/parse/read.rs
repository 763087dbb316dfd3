//! From JSON to a deployment.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Map, Value};

use super::fields::{Fields, Refusal, Violations, duration, integer, list, name, one_of, text};
use super::{MAX_LABEL_KEY, MAX_LABEL_VALUE, MAX_LABELS, MAX_PRIORITY, MAX_TTL};
use crate::environment::Approval;
use crate::ids::{EngineId, ResourceName};
use crate::spec::{
    CatalogRef, DeliveryMode, Dependency, DeploymentSpec, Found, OnConflict, OnFailure, Policy,
    Queued, Reference, ResourceSpec, Strategy, no_such_resource, scan,
};
use crate::text::{pointer_step, shortened};
use crate::violation::{Violation, ViolationCode};

const DEPLOYMENT: &[&str] = &[
    "id",
    "composer",
    "environment",
    "resources",
    "dependencies",
    "priority",
    "strategy",
    "policy",
    "ttl",
    "labels",
    "delivery",
];
const RESOURCE: &[&str] = &["name", "catalogRef", "config", "engine", "policy"];
const DEPENDENCY: &[&str] = &["from", "to"];
const STRATEGY: &[&str] = &["onConflict", "approval", "queued"];
const POLICY: &[&str] = &["onFailure", "retries", "timeout"];
/// Less than the pause before the second attempt would be no time at all.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Shorter ones end before the deployment is up.
const MIN_TTL: Duration = Duration::from_secs(60);

pub(super) fn deployment(
    document: Value,
    found: Vec<Violation>,
) -> Result<DeploymentSpec, Vec<Violation>> {
    let mut violations = Violations(found);
    match read(document, &mut violations) {
        Some(spec) if violations.0.is_empty() => Ok(spec),
        _ => Err(violations.0),
    }
}

fn read(document: Value, violations: &mut Violations) -> Option<DeploymentSpec> {
    let mut fields = Fields::of(
        document,
        String::new(),
        DEPLOYMENT,
        "a deployment",
        violations,
    )?;
    let id = fields.require(
        "id",
        "the deployment's name, such as \"web-app-v1\"",
        violations,
        name,
    );
    let composer = fields.require(
        "composer",
        "the team that asks, such as \"frontend-team\"",
        violations,
        name,
    );
    let environment = fields.require(
        "environment",
        "where to, such as \"production\"",
        violations,
        name,
    );
    let priority = fields.read("priority", violations, |value| {
        integer(value, -i64::from(MAX_PRIORITY), MAX_PRIORITY.into())
    });
    let strategy = fields
        .take("strategy")
        .map_or(Some(Strategy::default()), |value| {
            strategy(value, fields.place("strategy"), violations)
        });
    let policy = fields
        .take("policy")
        .map_or(Some(Policy::default()), |value| {
            policy(
                value,
                fields.place("policy"),
                &Policy::default(),
                violations,
            )
        });
    let ttl = fields.read("ttl", violations, |value| duration(value, MIN_TTL, MAX_TTL));
    let labels = fields
        .take("labels")
        .map(|value| labels(value, fields.place("labels"), violations));
    let delivery = fields.read("delivery", violations, |value| {
        one_of(
            value,
            &[
                ("direct", DeliveryMode::Direct),
                ("gitops", DeliveryMode::Gitops),
            ],
        )
    });
    let inherited = policy.clone().unwrap_or_default();
    let listed = fields.require(
        "resources",
        "a list of at least one resource",
        violations,
        list,
    );
    if listed.as_ref().is_some_and(Vec::is_empty) {
        let message =
            "is empty; a deployment has at least one resource (to take one away, DELETE it)";
        violations.add(ViolationCode::InvalidValue, "/resources", message);
    }
    let mut resources = Resources::default();
    for (i, value) in listed.into_iter().flatten().enumerate() {
        if violations.is_full() {
            return None;
        }
        resources.add(value, i, &inherited, violations);
    }
    let edges = fields
        .read("dependencies", violations, list)
        .unwrap_or_default();
    let mut dependencies = Vec::with_capacity(edges.len());
    for (i, value) in edges.into_iter().enumerate() {
        if violations.is_full() {
            return None;
        }
        dependencies.extend(dependency(value, i, violations).map(|dependency| (i, dependency)));
    }
    if !violations.0.is_empty() {
        resources.check_names(&dependencies, violations);
        return None;
    }
    Some(DeploymentSpec {
        id: id?,
        composer: composer?,
        environment: environment?,
        resources: resources.whole,
        dependencies: dependencies
            .into_iter()
            .map(|(_, dependency)| dependency)
            .collect(),
        priority: i32::try_from(priority.unwrap_or(0)).ok()?,
        strategy: strategy?,
        policy: policy?,
        ttl,
        labels: labels.unwrap_or_default(),
        delivery,
    })
}

/// What was read of the list of resources.
#[derive(Default)]
struct Resources {
    /// Those without a violation.
    whole: Vec<ResourceSpec>,
    /// Where each name stands first.
    places: HashMap<ResourceName, usize>,
    /// Configs of those with a violation elsewhere.
    broken: Vec<(usize, Value)>,
    /// Some name is not known, so nothing can be said to be missing.
    nameless: bool,
}

impl Resources {
    fn add(&mut self, value: Value, i: usize, inherited: &Policy, violations: &mut Violations) {
        let pointer = format!("/resources/{i}");
        let Some(mut fields) = Fields::of(value, pointer, RESOURCE, "a resource", violations)
        else {
            self.nameless = true;
            return;
        };
        let before = violations.0.len();
        let name: Option<ResourceName> = fields.require(
            "name",
            "unique within the deployment, such as \"database\"",
            violations,
            name,
        );
        match &name {
            None => self.nameless = true,
            Some(name) => match self.places.get(name) {
                None => {
                    self.places.insert(name.clone(), i);
                }
                Some(first) => {
                    let message = format!(
                        "{name:?} is the name of /resources/{first} too; each name must be unique"
                    );
                    violations.add(
                        ViolationCode::DuplicateResource,
                        fields.place("name"),
                        message,
                    );
                }
            },
        }
        let meaning = "what the catalog offers, such as \"aws-rds-mysql:1.0.0\"";
        let catalog_ref: Option<CatalogRef> =
            fields.require("catalogRef", meaning, violations, |value| {
                text(value)?
                    .parse()
                    .map_err(|message| Refusal(ViolationCode::InvalidCatalogRef, message))
            });
        let config = fields.read("config", violations, |value| match value {
            Value::Object(_) => Ok(value),
            other => Err(Refusal::wrong_type("an object", &other)),
        });
        let config = config.unwrap_or_else(|| Value::Object(Map::new()));
        let engine = fields.read("engine", violations, super::fields::name::<EngineId>);
        let policy = fields
            .take("policy")
            .and_then(|value| policy(value, fields.place("policy"), inherited, violations));
        match (name, catalog_ref, policy) {
            (Some(name), Some(catalog_ref), policy) if violations.0.len() == before => {
                self.whole.push(ResourceSpec {
                    name,
                    catalog_ref,
                    config,
                    engine,
                    policy,
                });
            }
            _ => self.broken.push((i, config)),
        }
    }

    /// What the planner would say of names, for a deployment that does not get
    /// that far: so that everything is said at once.
    fn check_names(&self, dependencies: &[(usize, Dependency)], violations: &mut Violations) {
        if self.nameless || self.places.is_empty() {
            return;
        }
        let mut names: Vec<(&ResourceName, usize)> =
            self.places.iter().map(|(name, i)| (name, *i)).collect();
        names.sort_by_key(|(_, i)| *i);
        let all = || names.iter().map(|(name, _)| name.as_str());
        for (i, dependency) in dependencies {
            for (key, name) in [("from", &dependency.from), ("to", &dependency.to)] {
                if !self.places.contains_key(name) {
                    let message = no_such_resource(name.as_str(), all());
                    violations.add(
                        ViolationCode::UnknownDependency,
                        format!("/dependencies/{i}/{key}"),
                        message,
                    );
                }
            }
        }
        let whole = self
            .whole
            .iter()
            .filter_map(|r| Some((*self.places.get(&r.name)?, &r.config)));
        let mut configs: Vec<(usize, &Value)> = whole
            .chain(self.broken.iter().map(|(i, config)| (*i, config)))
            .collect();
        configs.sort_by_key(|(i, _)| *i);
        for (i, config) in configs {
            scan(config, &mut |pointer, found| {
                let pointer = format!("/resources/{i}/config{pointer}");
                match found {
                    Found::Unreadable(message) => {
                        violations.add(ViolationCode::InvalidReference, pointer, message)
                    }
                    Found::Reference { reference, .. } => {
                        if let Reference::Output { resource, .. } = &reference
                            && !self.places.contains_key(resource)
                        {
                            let problem = no_such_resource(resource.as_str(), all());
                            let message = format!("${{{reference}}}: {problem}");
                            violations.add(ViolationCode::UnknownResource, pointer, message);
                        }
                    }
                }
            });
        }
    }
}

fn dependency(value: Value, i: usize, violations: &mut Violations) -> Option<Dependency> {
    let what = "a dependency";
    let mut fields = Fields::of(
        value,
        format!("/dependencies/{i}"),
        DEPENDENCY,
        what,
        violations,
    )?;
    let from = fields.require("from", "the resource that goes first", violations, name);
    let to = fields.require("to", "the resource that depends on it", violations, name);
    Some(Dependency {
        from: from?,
        to: to?,
    })
}

fn strategy(value: Value, pointer: String, violations: &mut Violations) -> Option<Strategy> {
    let before = violations.0.len();
    let mut fields = Fields::of(value, pointer, STRATEGY, "a strategy", violations)?;
    let on_conflict = fields.read("onConflict", violations, |value| {
        let words = [
            ("fail", OnConflict::Fail),
            ("queue", OnConflict::Queue),
            ("adopt", OnConflict::Adopt),
        ];
        one_of(value, &words)
    });
    let approval = fields.read("approval", violations, |value| {
        let words = [
            ("automatic", Approval::Automatic),
            ("required", Approval::Required),
        ];
        one_of(value, &words)
    });
    let queued = fields.read("queued", violations, |value| {
        one_of(value, &[("each", Queued::Each), ("latest", Queued::Latest)])
    });
    let strategy = Strategy {
        on_conflict: on_conflict.unwrap_or_default(),
        approval: approval.unwrap_or_default(),
        queued: queued.unwrap_or_default(),
    };
    (violations.0.len() == before).then_some(strategy)
}

/// Fields that are absent are those of `inherited`.
fn policy(
    value: Value,
    pointer: String,
    inherited: &Policy,
    violations: &mut Violations,
) -> Option<Policy> {
    let before = violations.0.len();
    let mut fields = Fields::of(value, pointer, POLICY, "a policy", violations)?;
    let on_failure = fields.read("onFailure", violations, |value| {
        let words = [
            ("rollback", OnFailure::Rollback),
            ("halt", OnFailure::Halt),
            ("continue", OnFailure::Continue),
        ];
        one_of(value, &words)
    });
    let retries = fields.read("retries", violations, |value| {
        integer(value, 0, Policy::MAX_RETRIES.into())
    });
    let timeout = fields.read("timeout", violations, |value| {
        duration(value, MIN_TIMEOUT, Policy::MAX_TIMEOUT)
    });
    let policy = Policy {
        on_failure: on_failure.unwrap_or(inherited.on_failure),
        retries: retries
            .and_then(|retries| u32::try_from(retries).ok())
            .unwrap_or(inherited.retries),
        timeout: timeout.unwrap_or(inherited.timeout),
    };
    (violations.0.len() == before).then_some(policy)
}

fn labels(value: Value, pointer: String, violations: &mut Violations) -> BTreeMap<String, String> {
    let Value::Object(entries) = value else {
        let Refusal(code, message) = Refusal::wrong_type("an object of strings", &value);
        violations.add(code, pointer, message);
        return BTreeMap::new();
    };
    if entries.len() > MAX_LABELS {
        let message = format!(
            "there are {} labels; at most {MAX_LABELS} are allowed",
            entries.len()
        );
        violations.add(ViolationCode::LimitExceeded, pointer, message);
        return BTreeMap::new();
    }
    let mut labels = BTreeMap::new();
    for (key, value) in entries {
        let place = format!("{pointer}/{}", pointer_step(&shortened(&key, 80)));
        let key_ok = !key.is_empty()
            && key.len() <= MAX_LABEL_KEY
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'));
        if !key_ok {
            let message = format!(
                "{:?} is not the key of a label: 1 to {MAX_LABEL_KEY} ASCII letters, digits, '.', '_', '-' and '/'",
                shortened(&key, 80)
            );
            violations.add(ViolationCode::InvalidName, place, message);
            continue;
        }
        match value {
            Value::String(text)
                if text.chars().count() <= MAX_LABEL_VALUE
                    && !text.chars().any(char::is_control) =>
            {
                labels.insert(key, text);
            }
            Value::String(_) => {
                let message = format!(
                    "a label has at most {MAX_LABEL_VALUE} characters and no control characters"
                );
                violations.add(ViolationCode::InvalidValue, place, message);
            }
            other => {
                let Refusal(code, message) = Refusal::wrong_type("a string", &other);
                violations.add(code, place, message);
            }
        }
    }
    labels
}
