//! Which real thing a resource stands for: `rds/${environment}/${config.name}`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::ids::{ComposerId, DeploymentId, Digest, EnvironmentName};
use crate::planner::UNKNOWN_KEY;
use crate::text::shortened;

/// An identity is a name with a few parts, not a document.
pub const MAX_IDENTITY: usize = 512;
/// Keys behind `config`.
const MAX_PATH: usize = 16;

/// How the identity of a definition's resources is put together. Holds at
/// least one piece, and nothing but the known ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Environment,
    DeploymentId,
    Composer,
    Config(Vec<String>),
}

/// Where a resource belongs.
#[derive(Debug, Clone, Copy)]
pub struct Belongs<'a> {
    /// Its environment.
    pub environment: &'a EnvironmentName,
    /// Its deployment.
    pub deployment: &'a DeploymentId,
    /// Who asks for it.
    pub composer: &'a ComposerId,
}

/// What is known of the identity of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// All of it.
    Whole(String),
    /// It hangs on an output that is not there yet.
    NotYet,
    /// It can never be known: a sentence that says why, with the field.
    Never {
        /// JSON pointer into the config.
        pointer: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

const FORMS: &str =
    "known are ${environment}, ${deployment.id}, ${deployment.composer} and ${config.<field>}";

impl Identity {
    /// The identity of a resource with this config, in which unknown outputs
    /// stand as placeholders.
    #[must_use]
    pub fn of(&self, belongs: Belongs<'_>, config: &Value) -> Known {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Environment => text.push_str(belongs.environment.as_str()),
                Piece::DeploymentId => text.push_str(belongs.deployment.as_str()),
                Piece::Composer => text.push_str(belongs.composer.as_str()),
                Piece::Config(path) => match value_at(config, path) {
                    Ok(value) => text.push_str(&value),
                    Err(known) => return known,
                },
            }
        }
        if text.len() > MAX_IDENTITY {
            return Known::Never {
                pointer: String::new(),
                problem: format!(
                    "the identity has {} bytes; at most {MAX_IDENTITY} are allowed",
                    text.len()
                ),
            };
        }
        Known::Whole(text)
    }

    /// The paths into the config that it reads, each as its keys.
    pub fn fields(&self) -> impl Iterator<Item = &[String]> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Config(path) => Some(path.as_slice()),
            Piece::Literal(_) | Piece::Environment | Piece::DeploymentId | Piece::Composer => None,
        })
    }
}

/// The name of an identity in keys and links.
#[must_use]
pub fn digest(identity: &str) -> Digest {
    Digest::of(identity.as_bytes())
}

fn value_at(config: &Value, path: &[String]) -> Result<String, Known> {
    let mut value = config;
    let mut pointer = String::new();
    for key in path {
        if is_unknown(value) {
            return Err(Known::NotYet);
        }
        pointer.push('/');
        pointer.push_str(&crate::text::pointer_step(key));
        let inner = match value {
            Value::Object(fields) => fields.get(key),
            Value::Array(items) => key.parse::<usize>().ok().and_then(|i| items.get(i)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        let Some(inner) = inner else {
            let problem = format!(
                "the definition tells real things apart by config.{}, so it must be given",
                path.join(".")
            );
            return Err(Known::Never { pointer, problem });
        };
        value = inner;
    }
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(boolean) => Ok(boolean.to_string()),
        value if is_unknown(value) => Err(Known::NotYet),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            let problem = format!(
                "the definition tells real things apart by config.{}, which must be a text, a number or a boolean",
                path.join(".")
            );
            Err(Known::Never { pointer, problem })
        }
    }
}

fn is_unknown(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|fields| fields.len() == 1 && fields.contains_key(UNKNOWN_KEY))
}

impl FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_IDENTITY {
            return Err(format!(
                "an identity has 1 to {MAX_IDENTITY} bytes, not {}",
                text.len()
            ));
        }
        if text.chars().any(char::is_control) {
            return Err("an identity holds no control characters".into());
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            if start > 0 {
                pieces.push(Piece::Literal(rest[..start].to_owned()));
            }
            let inner = &rest[start + 2..];
            let Some(end) = inner.find('}') else {
                return Err(format!("a ${{ has no closing }}; {FORMS}"));
            };
            pieces.push(piece(&inner[..end])?);
            rest = &inner[end + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Self { pieces })
    }
}

fn piece(inner: &str) -> Result<Piece, String> {
    let segments: Vec<&str> = inner.splitn(MAX_PATH + 2, '.').collect();
    match segments.as_slice() {
        ["environment"] => Ok(Piece::Environment),
        ["deployment", "id"] => Ok(Piece::DeploymentId),
        ["deployment", "composer"] => Ok(Piece::Composer),
        ["config", path @ ..] if !path.is_empty() && path.len() <= MAX_PATH => {
            let plain = |key: &&str| {
                !key.is_empty()
                    && key
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            };
            match path.iter().find(|key| !plain(key)) {
                None => Ok(Piece::Config(
                    path.iter().map(|&key| key.to_owned()).collect(),
                )),
                Some(bad) => Err(format!(
                    "{:?} is not a field of a config: use letters, digits, '_' and '-'",
                    shortened(bad, 80)
                )),
            }
        }
        _ => Err(format!(
            "${{{}}} cannot stand in an identity; {FORMS}",
            shortened(inner, 80)
        )),
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Literal(literal) => f.write_str(literal),
            Piece::Environment => f.write_str("${environment}"),
            Piece::DeploymentId => f.write_str("${deployment.id}"),
            Piece::Composer => f.write_str("${deployment.composer}"),
            Piece::Config(path) => write!(f, "${{config.{}}}", path.join(".")),
        })
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(identity: &str, config: Value) -> Known {
        let belongs = Belongs {
            environment: &"prod".parse().unwrap(),
            deployment: &"web".parse().unwrap(),
            composer: &"team-a".parse().unwrap(),
        };
        identity.parse::<Identity>().unwrap().of(belongs, &config)
    }

    #[test]
    fn pieces_are_put_together() {
        for (identity, config, expected) in [
            ("fixed", json!({}), "fixed"),
            (
                "rds/${environment}/${config.name}",
                json!({"name": "orders"}),
                "rds/prod/orders",
            ),
            (
                "${deployment.composer}/${deployment.id}",
                json!({}),
                "team-a/web",
            ),
            (
                "p${config.a.b}-${config.c.1}",
                json!({"a": {"b": 80}, "c": [1, true]}),
                "p80-true",
            ),
        ] {
            assert_eq!(of(identity, config), Known::Whole(expected.into()));
        }
    }

    #[test]
    fn what_is_not_there_yet_is_told_from_what_never_will_be() {
        let unknown = json!({"name": {"$unknown": "string"}});
        assert_eq!(of("x/${config.name}", unknown.clone()), Known::NotYet);
        assert_eq!(of("x/${config.name.inner}", unknown), Known::NotYet);
        for (config, at) in [
            (json!({}), "/name"),
            (json!({"name": null}), "/name"),
            (json!({"name": ["a"]}), "/name"),
            (json!({"name": {"$unknown": "string", "b": 1}}), "/name"),
        ] {
            match of("x/${config.name}", config) {
                Known::Never { pointer, problem } => {
                    assert_eq!(pointer, at);
                    assert!(problem.contains("config.name"), "{problem}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(
            of("${config.name}", json!({"name": "x".repeat(600)})),
            Known::Never { .. }
        ));
    }

    #[test]
    fn nonsense_is_refused_at_the_door() {
        for (text, word) in [
            ("", "1 to 512"),
            ("a/${config.name", "no closing"),
            ("${config}", "cannot stand"),
            ("${config.}", "not a field"),
            ("${config.a/b}", "not a field"),
            ("${resources.a.outputs.b}", "cannot stand"),
            ("${deployment.revision}", "cannot stand"),
            ("a\nb", "control"),
        ] {
            let error = text.parse::<Identity>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_agree(text in r"([a-z/$ {]{0,4}(\$\{(environment|deployment\.id|config\.[a-z]{1,3}(\.[0-9])?)\})?){1,5}") {
            if let Ok(identity) = text.parse::<Identity>() {
                prop_assert_eq!(identity.to_string(), text);
            }
        }
    }
}
