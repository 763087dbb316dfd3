//! A `definition.yaml`, read.

use std::collections::BTreeMap;
use std::sync::Arc;

use nestor_core::definition::{JsonType, OutputDeclaration};
use nestor_core::ids::{DefinitionName, EngineId, OutputName};
use nestor_core::relation::Relations;
use nestor_core::schema::ConfigSchema;
use nestor_core::spec::DeliveryMode;
use nestor_core::text::{did_you_mean, listed, nearest};
use serde_json::{Value, json};

use crate::relations;
use crate::shorthand;
use crate::yaml::{Item, Node, Problem, read};

/// Every key that is not an engine's section.
const KEYS: [&str; 10] = [
    "name",
    "version",
    "description",
    "engines",
    "config",
    "outputs",
    "delivery",
    "requires",
    "conflicts",
    "identity",
];
const OUTPUT_KEYS: [&str; 3] = ["type", "sensitive", "description"];

/// What a file says of itself.
#[derive(Debug, PartialEq)]
pub(crate) struct Content {
    pub(crate) name: DefinitionName,
    pub(crate) version: semver::Version,
    pub(crate) description: String,
    pub(crate) engines: Vec<(EngineId, Arc<Value>)>,
    pub(crate) config_schema: Arc<Value>,
    pub(crate) outputs: BTreeMap<OutputName, OutputDeclaration>,
    pub(crate) delivery: Option<DeliveryMode>,
    pub(crate) relations: Relations,
}

/// A file that is no definition.
#[derive(Debug, PartialEq)]
pub(crate) struct Broken {
    /// As far as it can be read: a lookup of this name is told of it.
    pub(crate) name: Option<DefinitionName>,
    pub(crate) version: Option<semver::Version>,
    pub(crate) problems: Vec<Problem>,
}

/// Reads a definition; every problem at once.
pub(crate) fn parse(text: &str) -> Result<Content, Broken> {
    let root = read(text).map_err(|problem| Broken {
        name: None,
        version: None,
        problems: vec![problem],
    })?;
    let mut reader = Reader {
        problems: Vec::new(),
    };
    let Node::Table(entries) = &root.node else {
        let message = format!("a definition is a mapping, not {}", root.kind());
        let problems = vec![Problem::at(root.line, message)];
        return Err(Broken {
            name: None,
            version: None,
            problems,
        });
    };
    let name: Option<DefinitionName> =
        reader.required(&root, "name", "such as aws-rds-mysql", |text| {
            text.parse().map_err(|e| format!("{e}"))
        });
    let version: Option<semver::Version> =
        reader.required(&root, "version", "such as 1.0.0", |text| {
            text.parse()
                .map_err(|e| format!("{text:?} is not a version such as 1.0.0: {e}"))
        });
    let description = reader
        .optional(&root, "description", |text| Ok(text.trim().to_owned()))
        .unwrap_or_default();
    let delivery = reader.optional(&root, "delivery", |text| match text {
        "direct" => Ok(DeliveryMode::Direct),
        "gitops" => Ok(DeliveryMode::Gitops),
        other => Err(format!("{other:?} must be direct or gitops")),
    });
    let engines = reader.engines(&root, entries);
    let outputs = root
        .get("outputs")
        .map(|item| reader.outputs(item))
        .unwrap_or_default();
    let config_schema = Arc::new(shorthand::schema(root.get("config"), &mut reader.problems));
    if reader.problems.is_empty()
        && let Err(message) = ConfigSchema::compile(&config_schema)
    {
        let place = message
            .strip_prefix("at ")
            .and_then(|rest| rest.split_once(": "))
            .map_or("", |(place, _)| place);
        let config = root.get("config");
        let line = config.map_or(root.line, |config| config.line_of(place));
        reader.problems.push(Problem::at(
            line,
            format!("config: not a JSON Schema: {message}"),
        ));
    }
    let relations = relations::read(&root, &config_schema, &mut reader.problems);
    let mut problems = reader.problems;
    match (name, version) {
        (Some(name), Some(version)) if problems.is_empty() => Ok(Content {
            name,
            version,
            description,
            engines,
            config_schema,
            outputs,
            delivery,
            relations,
        }),
        (name, version) => {
            problems.sort_by_key(|problem| problem.line);
            Err(Broken {
                name,
                version,
                problems,
            })
        }
    }
}

struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    fn problem(&mut self, line: u64, message: String) {
        self.problems.push(Problem::at(line, message));
    }

    fn required<T>(
        &mut self,
        root: &Item,
        key: &str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if root.get(key).is_none_or(Item::is_null) {
            self.problem(root.line, format!("{key}: is missing; write it, {example}"));
            return None;
        }
        self.optional(root, key, parse)
    }

    fn optional<T>(
        &mut self,
        root: &Item,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let item = root.get(key).filter(|item| !item.is_null())?;
        let parsed = match item.text() {
            Some(text) => parse(text),
            None => Err(format!(
                "must be a text, not {} (put it in quotes)",
                item.kind()
            )),
        };
        parsed
            .map_err(|message| self.problem(item.line, format!("{key}: {message}")))
            .ok()
    }

    /// The engines in order of preference: those listed, else the sections in
    /// the order of the file.
    fn engines(
        &mut self,
        root: &Item,
        entries: &[(String, u64, Item)],
    ) -> Vec<(EngineId, Arc<Value>)> {
        let before = self.problems.len();
        let listed_engines = root
            .get("engines")
            .filter(|item| !item.is_null())
            .map(|item| self.engine_list(item));
        let mut engines: Vec<(EngineId, Arc<Value>)> = Vec::new();
        for id in listed_engines.iter().flatten() {
            let section = root.get(id.as_str()).map(|item| self.section(id, item));
            engines.push((id.clone(), section.unwrap_or_else(|| Arc::new(json!({})))));
        }
        for (key, line, item) in entries
            .iter()
            .filter(|(key, _, _)| !KEYS.contains(&key.as_str()))
        {
            if engines.iter().any(|(id, _)| id.as_str() == key) {
                continue;
            }
            let known = || {
                KEYS.into_iter()
                    .chain(listed_engines.iter().flatten().map(EngineId::as_str))
            };
            let section = matches!(item.node, Node::Table(_)) || item.is_null();
            match EngineId::new(key) {
                // A section of an engine whose name looks like a mistyped key has to be listed.
                Ok(id) if listed_engines.is_none() && section && nearest(key, KEYS).is_none() => {
                    let section = self.section(&id, item);
                    engines.push((id, section));
                }
                _ => {
                    let hint = did_you_mean(key, known());
                    let all = if hint.is_empty() {
                        format!("; known are {} and the engines' sections", listed(known()))
                    } else {
                        String::new()
                    };
                    self.problem(
                        *line,
                        format!("{key}: is not a key of a definition{hint}{all}"),
                    );
                }
            }
        }
        if engines.is_empty() && self.problems.len() == before {
            let message = "no engine can run it: add a section such as `terraform:` or `helm:`, or list `engines`";
            self.problem(root.line, message.into());
        }
        engines
    }

    fn engine_list(&mut self, item: &Item) -> Vec<EngineId> {
        let Node::List(items) = &item.node else {
            self.problem(
                item.line,
                format!("engines: must be a list of engines, not {}", item.kind()),
            );
            return Vec::new();
        };
        let mut engines: Vec<EngineId> = Vec::new();
        for item in items {
            match item.text().map(EngineId::new) {
                Some(Ok(id)) if engines.contains(&id) => {
                    self.problem(
                        item.line,
                        format!("engines: {id} stands here twice; keep one"),
                    );
                }
                Some(Ok(id)) if KEYS.contains(&id.as_str()) => {
                    self.problem(
                        item.line,
                        format!("engines: {id} is a key of definitions and cannot name an engine"),
                    );
                }
                Some(Ok(id)) => engines.push(id),
                Some(Err(error)) => self.problem(item.line, format!("engines: {error}")),
                None => self.problem(
                    item.line,
                    format!("engines: must be names of engines, not {}", item.kind()),
                ),
            }
        }
        engines
    }

    fn section(&mut self, id: &EngineId, item: &Item) -> Arc<Value> {
        match &item.node {
            Node::Table(_) => return Arc::new(item.to_json()),
            Node::Scalar(Value::Null) => {}
            Node::Scalar(_) | Node::List(_) => {
                self.problem(
                    item.line,
                    format!(
                        "{id}: an engine's section is a mapping, not {}",
                        item.kind()
                    ),
                );
            }
        }
        Arc::new(json!({}))
    }

    fn outputs(&mut self, item: &Item) -> BTreeMap<OutputName, OutputDeclaration> {
        let mut outputs = BTreeMap::new();
        let Node::Table(entries) = &item.node else {
            if !item.is_null() {
                self.problem(
                    item.line,
                    format!(
                        "outputs: must be a mapping of names to types, not {}",
                        item.kind()
                    ),
                );
            }
            return outputs;
        };
        for (name, line, item) in entries {
            let declared = self.output(name, item);
            match OutputName::new(name) {
                Ok(name) => outputs.extend(declared.map(|declared| (name, declared))),
                Err(error) => self.problem(*line, format!("outputs: {error}")),
            }
        }
        outputs
    }

    fn output(&mut self, name: &str, item: &Item) -> Option<OutputDeclaration> {
        let Node::Table(entries) = &item.node else {
            let json_type = self.json_type(name, item)?;
            return Some(OutputDeclaration {
                json_type,
                sensitive: false,
                description: String::new(),
            });
        };
        for (key, line, _) in entries
            .iter()
            .filter(|(key, _, _)| !OUTPUT_KEYS.contains(&key.as_str()))
        {
            let hint = did_you_mean(key, OUTPUT_KEYS);
            self.problem(
                *line,
                format!(
                    "outputs.{name}.{key}: is not a key of an output{hint} (known: {})",
                    listed(OUTPUT_KEYS)
                ),
            );
        }
        let sensitive = match item.get("sensitive").map(|item| (item.line, &item.node)) {
            None | Some((_, Node::Scalar(Value::Null))) => false,
            Some((_, Node::Scalar(Value::Bool(sensitive)))) => *sensitive,
            Some((line, _)) => {
                self.problem(
                    line,
                    format!("outputs.{name}.sensitive: must be true or false"),
                );
                true
            }
        };
        let description = item
            .get("description")
            .and_then(Item::text)
            .unwrap_or_default()
            .trim()
            .to_owned();
        match item.get("type") {
            Some(json_type) => {
                let json_type = self.json_type(name, json_type)?;
                Some(OutputDeclaration {
                    json_type,
                    sensitive,
                    description,
                })
            }
            None => {
                self.problem(
                    item.line,
                    format!(
                        "outputs.{name}: has no type; write one of {}",
                        listed(TYPES.map(|t| t.as_str()))
                    ),
                );
                None
            }
        }
    }

    fn json_type(&mut self, name: &str, item: &Item) -> Option<JsonType> {
        let word = item.text().unwrap_or_default();
        let found = TYPES.into_iter().find(|t| t.as_str() == word);
        if found.is_none() {
            let hint = did_you_mean(word, TYPES.map(|t| t.as_str()));
            let is = if word.is_empty() {
                item.kind().to_owned()
            } else {
                format!("{word:?}")
            };
            self.problem(
                item.line,
                format!(
                    "outputs.{name}: {is} is not a type{hint} (types are {})",
                    listed(TYPES.map(|t| t.as_str()))
                ),
            );
        }
        found
    }
}

const TYPES: [JsonType; 6] = [
    JsonType::String,
    JsonType::Number,
    JsonType::Integer,
    JsonType::Boolean,
    JsonType::Object,
    JsonType::Array,
];
