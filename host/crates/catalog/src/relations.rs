//! `requires`, `conflicts` and `identity` of a definition.

use nestor_core::identity::Identity;
use nestor_core::ids::{DefinitionName, EngineId};
use nestor_core::relation::{MAX_RELATIONS, Relation, Relations, Scope};
use nestor_core::text::{did_you_mean, listed};
use serde_json::Value;

use crate::yaml::{Item, Node, Problem};

const KEYS: [&str; 4] = ["definition", "version", "engine", "scope"];

/// What the definition says of others; every problem at once.
pub(crate) fn read(root: &Item, schema: &Value, problems: &mut Vec<Problem>) -> Relations {
    Relations {
        requires: list(root, "requires", problems),
        conflicts: list(root, "conflicts", problems),
        identity: identity(root, schema, problems),
    }
}

fn list(root: &Item, key: &str, problems: &mut Vec<Problem>) -> Vec<Relation> {
    let Some(item) = root.get(key).filter(|item| !item.is_null()) else {
        return Vec::new();
    };
    let Node::List(items) = &item.node else {
        let message = format!(
            "{key}: must be a list such as `- {{definition: vpc, version: \">=2, <4\"}}`, not {}",
            item.kind()
        );
        problems.push(Problem::at(item.line, message));
        return Vec::new();
    };
    if items.len() > MAX_RELATIONS {
        let message = format!(
            "{key}: has {} entries; at most {MAX_RELATIONS} are allowed",
            items.len()
        );
        problems.push(Problem::at(item.line, message));
    }
    items
        .iter()
        .take(MAX_RELATIONS)
        .filter_map(|item| one(key, item, problems))
        .collect()
}

fn one(key: &str, item: &Item, problems: &mut Vec<Problem>) -> Option<Relation> {
    let Node::Table(entries) = &item.node else {
        let message = format!("{key}: an entry is a mapping, not {}", item.kind());
        problems.push(Problem::at(item.line, message));
        return None;
    };
    for (name, line, _) in entries {
        if !KEYS.contains(&name.as_str()) {
            let message = format!(
                "{key}.{name}: is not a key here{} (known: {})",
                did_you_mean(name, KEYS),
                listed(KEYS)
            );
            problems.push(Problem::at(*line, message));
        }
    }
    if item.get("definition").is_none_or(Item::is_null) {
        let message = format!("{key}: an entry needs a `definition`, such as vpc");
        problems.push(Problem::at(item.line, message));
    }
    let mut field = Field {
        key,
        item,
        problems,
    };
    let definition = field.read("definition", |text| {
        DefinitionName::new(text).map_err(|e| e.to_string())
    });
    let version = field.read("version", |text| {
        semver::VersionReq::parse(text).map_err(|e| {
            format!("{text:?} is not a range of versions (^1.2, ~1.2.3, 1.x, \">=1, <3\"): {e}")
        })
    });
    let engine = field.read("engine", |text| {
        EngineId::new(text).map_err(|e| e.to_string())
    });
    let scope = field.read("scope", |text| match text {
        "deployment" => Ok(Scope::Deployment),
        "environment" => Ok(Scope::Environment),
        other => Err(format!("{other:?} must be deployment or environment")),
    });
    Some(Relation {
        definition: definition?,
        version: version.unwrap_or_default(),
        engine,
        scope: scope.unwrap_or_default(),
    })
}

struct Field<'a> {
    key: &'a str,
    item: &'a Item,
    problems: &'a mut Vec<Problem>,
}

impl Field<'_> {
    fn read<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let item = self.item.get(name).filter(|item| !item.is_null())?;
        let parsed = match item.text() {
            Some(text) => parse(text),
            None => Err(format!(
                "must be a text, not {} (put it in quotes)",
                item.kind()
            )),
        };
        let key = self.key;
        parsed
            .map_err(|message| {
                let message = format!("{key}.{name}: {message}");
                self.problems.push(Problem::at(item.line, message));
            })
            .ok()
    }
}

fn identity(root: &Item, schema: &Value, problems: &mut Vec<Problem>) -> Option<Identity> {
    let item = root.get("identity").filter(|item| !item.is_null())?;
    let parsed = match item.text() {
        Some(text) => text.parse::<Identity>(),
        None => Err(format!(
            "must be a text such as \"rds/${{environment}}/${{config.name}}\", not {}",
            item.kind()
        )),
    };
    let identity = parsed
        .map_err(|message| problems.push(Problem::at(item.line, format!("identity: {message}"))))
        .ok()?;
    for path in identity.fields() {
        if let Some(message) = refused(path, schema) {
            problems.push(Problem::at(item.line, format!("identity: {message}")));
        }
    }
    Some(identity)
}

/// Why a field cannot tell real things apart, as far as the schema says.
fn refused(path: &[String], schema: &Value) -> Option<String> {
    let name = path.first()?;
    let fields = schema.get("properties").and_then(Value::as_object)?;
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    let Some(field) = fields.get(name) else {
        return closed.then(|| {
            format!(
                "config has no field {name:?}{}",
                did_you_mean(name, fields.keys().map(String::as_str))
            )
        });
    };
    let required = schema.get("required").and_then(Value::as_array);
    if !required.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(name))) {
        return Some(format!(
            "config.{name} may be left out, so it cannot tell real things apart; make it a field that must be given"
        ));
    }
    let whole = path.len() == 1;
    let inner = matches!(
        field.get("type").and_then(Value::as_str),
        Some("object" | "array")
    );
    (whole && inner)
        .then(|| format!("config.{name} is no text, number or boolean; name a field within it"))
}
