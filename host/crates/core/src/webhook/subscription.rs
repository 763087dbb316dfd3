//! A subscription as somebody asks for it.

use serde_json::Value;

use super::filter::{Filter, MAX_TYPES, Pattern};
use super::signature::Secret;
use crate::spec::parse::document;
use crate::spec::parse::fields::{Fields, Refusal, Violations, list, name, text};
use crate::violation::{Violation, ViolationCode};

/// Longer addresses are refused by receivers and their proxies.
pub const MAX_URL_BYTES: usize = 2_048;

const SUBSCRIPTION: &[&str] = &["url", "secret", "previousSecret", "filter", "allowPrivate"];
const FILTER: &[&str] = &["composer", "environment", "deployment", "types"];

/// A subscription, parsed. Whether its address may be delivered to is the
/// notifier's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionRequest {
    /// Where to; not checked.
    pub url: String,
    /// None: those that it has.
    pub secrets: Option<Secrets>,
    /// Which events.
    pub filter: Filter,
    /// Whether private addresses are meant, as far as the host allows.
    pub allow_private: bool,
}

/// What messages are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    /// The one that stays.
    pub current: Secret,
    /// The one that receivers may still use.
    pub previous: Option<Secret>,
}

/// Parses a subscription.
///
/// # Errors
/// Every violation at once; never empty.
pub fn parse(body: &[u8]) -> Result<SubscriptionRequest, Vec<Violation>> {
    if body.iter().all(u8::is_ascii_whitespace) {
        let message = "the request has no body; send a subscription as a JSON object";
        return Err(vec![Violation::new(
            ViolationCode::MalformedJson,
            "",
            message,
        )]);
    }
    let document = document::read(body)?;
    let mut violations = Violations(document.violations);
    match read(document.value, &mut violations) {
        Some(request) if violations.0.is_empty() => Ok(request),
        _ => Err(violations.0),
    }
}

fn read(document: Value, violations: &mut Violations) -> Option<SubscriptionRequest> {
    let mut fields = Fields::of(
        document,
        String::new(),
        SUBSCRIPTION,
        "a webhook subscription",
        violations,
    )?;
    let url = fields.require("url", "where events are posted to", violations, |value| {
        let url = text(value)?;
        if url.len() > MAX_URL_BYTES {
            let message = format!(
                "has {} bytes; at most {MAX_URL_BYTES} are allowed",
                url.len()
            );
            return Err(Refusal(ViolationCode::LimitExceeded, message));
        }
        Ok(url)
    });
    let current = fields.read("secret", violations, secret);
    let previous = fields.read("previousSecret", violations, secret);
    if previous.is_some() && current.is_none() {
        let message = "needs the new one beside it, as \"secret\"";
        violations.add(ViolationCode::InvalidValue, "/previousSecret", message);
    }
    let filter = match fields.take("filter") {
        Some(value) => filter(value, violations),
        None => Some(Filter::default()),
    };
    let allow_private = fields.read("allowPrivate", violations, boolean);
    Some(SubscriptionRequest {
        url: url?,
        secrets: current.map(|current| Secrets { current, previous }),
        filter: filter?,
        allow_private: allow_private.unwrap_or(false),
    })
}

fn filter(value: Value, violations: &mut Violations) -> Option<Filter> {
    let what = "a webhook's filter";
    let mut fields = Fields::of(value, "/filter".into(), FILTER, what, violations)?;
    let composer = fields.read("composer", violations, name);
    let environment = fields.read("environment", violations, name);
    let deployment = fields.read("deployment", violations, name);
    let types = match fields.read("types", violations, list) {
        None => Filter::default().types,
        Some(items) if items.is_empty() => {
            let message =
                "is empty and would match nothing; leave it out for every event of deployments";
            violations.add(ViolationCode::InvalidValue, "/filter/types", message);
            Vec::new()
        }
        Some(items) if items.len() > MAX_TYPES => {
            let message = format!(
                "has {} entries; at most {MAX_TYPES} are allowed",
                items.len()
            );
            violations.add(ViolationCode::LimitExceeded, "/filter/types", message);
            Vec::new()
        }
        Some(items) => items
            .into_iter()
            .enumerate()
            .filter_map(|(place, item)| match text(item).and_then(pattern) {
                Ok(pattern) => Some(pattern),
                Err(Refusal(code, message)) => {
                    violations.add(code, format!("/filter/types/{place}"), message);
                    None
                }
            })
            .collect(),
    };
    Some(Filter {
        composer,
        environment,
        deployment,
        types,
    })
}

fn pattern(text: String) -> Result<Pattern, Refusal> {
    Pattern::parse(&text).map_err(|message| Refusal(ViolationCode::InvalidValue, message))
}

/// What is wrong with a secret is told without the secret.
fn secret(value: Value) -> Result<Secret, Refusal> {
    let Value::String(text) = value else {
        return Err(Refusal(ViolationCode::WrongType, "must be a string".into()));
    };
    Secret::parse(&text).map_err(|message| Refusal(ViolationCode::InvalidValue, message))
}

fn boolean(value: Value) -> Result<bool, Refusal> {
    match value {
        Value::Bool(value) => Ok(value),
        other => Err(Refusal::wrong_type("true or false", &other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn refused(body: &Value) -> Vec<(String, String)> {
        parse(body.to_string().as_bytes())
            .expect_err("refused")
            .into_iter()
            .map(|v| (v.pointer, v.code.as_str().to_owned()))
            .collect()
    }

    #[test]
    fn a_minimal_and_a_whole_subscription() {
        let minimal = parse(br#"{"url": "https://x.example/hook"}"#).unwrap();
        assert_eq!((minimal.secrets, minimal.allow_private), (None, false));
        assert_eq!(minimal.filter, Filter::default());
        let whole = json!({
            "url": "https://x.example/hook", "secret": SECRET, "previousSecret": SECRET, "allowPrivate": true,
            "filter": {"composer": "a", "environment": "b", "deployment": "c", "types": ["deployment.ready", "resource.*"]},
        });
        let whole = parse(whole.to_string().as_bytes()).unwrap();
        assert!(whole.secrets.is_some_and(|s| s.previous.is_some()));
        assert_eq!(whole.filter.types.len(), 2);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_and_no_secret_with_it() {
        let body = json!({
            "url": 1, "secret": "hunter2-hunter2", "allowPrivate": "yes", "colour": "red",
            "filter": {"composer": "A", "types": ["deployment.ready", "nothing", 3], "more": 1},
        });
        assert_eq!(
            refused(&body),
            [
                ("/colour", "unknown-field"),
                ("/url", "wrong-type"),
                ("/secret", "invalid-value"),
                ("/filter/more", "unknown-field"),
                ("/filter/composer", "invalid-name"),
                ("/filter/types/1", "invalid-value"),
                ("/filter/types/2", "wrong-type"),
                ("/allowPrivate", "wrong-type"),
            ]
            .map(|(pointer, code)| (pointer.to_owned(), code.to_owned()))
        );
        let all = format!("{:?}", parse(body.to_string().as_bytes()));
        assert!(!all.contains("hunter2"), "{all}");
        let too_many = json!({"url": "x".repeat(MAX_URL_BYTES + 1), "previousSecret": SECRET, "filter": {"types": []}});
        assert_eq!(refused(&too_many).len(), 3);
        assert_eq!(refused(&json!([])), [(String::new(), "wrong-type".into())]);
        assert!(parse(b" ").is_err() && parse(b"{").is_err());
    }
}
