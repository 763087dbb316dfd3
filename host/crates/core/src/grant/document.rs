//! A document of tables, read strictly: every problem at once, with its line,
//! and for an unknown key the nearest known one.

use std::fmt;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::text::{did_you_mean, listed};

/// A manifest is a page of text.
pub(super) const MAX_BYTES: usize = 64 << 10;
/// More would only repeat themselves.
const MAX_PROBLEMS: usize = 50;

/// What is wrong with an `engine.toml` or a grant; all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// What the document is called.
    pub file: String,
    /// Never empty.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1; none for a document that is not text.
    pub line: Option<usize>,
    /// Which key, such as `tool[0].args[1]`.
    pub key: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl std::error::Error for ManifestError {}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { "\n" })?;
            f.write_str(&self.file)?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            let colon = if problem.key.is_empty() { "" } else { ": " };
            write!(f, ": {}{colon}{}", problem.key, problem.message)?;
        }
        Ok(())
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Item {
    line: Option<usize>,
    node: Node,
}

#[derive(Debug)]
enum Node {
    Text(String),
    Integer(i64),
    List(Vec<Item>),
    Table(Vec<(String, Option<usize>, Item)>),
    /// Nothing in a manifest is of these types.
    Other(&'static str),
}

impl Item {
    /// Reads TOML.
    pub(super) fn from_toml(text: &str) -> Result<Self, Problem> {
        if text.len() > MAX_BYTES {
            let message = format!("has {} bytes; at most {MAX_BYTES} are allowed", text.len());
            return Err(Problem {
                line: None,
                key: String::new(),
                message,
            });
        }
        let line_at = |offset: usize| {
            Some(
                text.as_bytes()[..offset.min(text.len())]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count()
                    + 1,
            )
        };
        let table = DeTable::parse(text).map_err(|error| Problem {
            line: error.span().and_then(|span| line_at(span.start)),
            key: String::new(),
            message: format!("not TOML: {}", error.message()),
        })?;
        Ok(Self {
            line: Some(1),
            node: table_of(table.get_ref(), &line_at),
        })
    }

    /// Takes a document that was JSON or YAML.
    pub(super) fn from_json(value: &Value) -> Self {
        let node = match value {
            Value::String(text) => Node::Text(text.clone()),
            Value::Number(number) => number
                .as_i64()
                .map_or(Node::Other("a fraction"), Node::Integer),
            Value::Array(items) => Node::List(items.iter().map(Self::from_json).collect()),
            Value::Object(entries) => Node::Table(
                entries
                    .iter()
                    .map(|(key, v)| (key.clone(), None, Self::from_json(v)))
                    .collect(),
            ),
            Value::Bool(_) => Node::Other("true or false"),
            Value::Null => Node::Other("nothing"),
        };
        Self { line: None, node }
    }

    fn type_name(&self) -> &'static str {
        match &self.node {
            Node::Text(_) => "a text",
            Node::Integer(_) => "a whole number",
            Node::List(_) => "a list",
            Node::Table(_) => "a table",
            Node::Other(name) => name,
        }
    }

    pub(super) fn text(&self) -> Result<&str, String> {
        match &self.node {
            Node::Text(text) => Ok(text),
            _ => Err(format!("must be a text, not {}", self.type_name())),
        }
    }

    pub(super) fn integer(&self) -> Result<i64, String> {
        match &self.node {
            Node::Integer(number) => Ok(*number),
            _ => Err(format!("must be a whole number, not {}", self.type_name())),
        }
    }

    pub(super) fn list(&self) -> Result<&[Item], String> {
        match &self.node {
            Node::List(items) => Ok(items),
            _ => Err(format!("must be a list, not {}", self.type_name())),
        }
    }

    pub(super) fn texts(&self) -> Result<Vec<&str>, String> {
        self.list()?
            .iter()
            .map(|item| item.text().map_err(|e| format!("each element {e}")))
            .collect()
    }
}

type LineAt<'a> = &'a dyn Fn(usize) -> Option<usize>;

fn table_of(table: &DeTable<'_>, line_at: LineAt<'_>) -> Node {
    let entry = |key: &toml::Spanned<std::borrow::Cow<'_, str>>,
                 value: &toml::Spanned<DeValue<'_>>| {
        let line = line_at(key.span().start);
        (key.get_ref().to_string(), line, item_of(value, line_at))
    };
    let mut entries: Vec<_> = table.iter().map(|(key, value)| entry(key, value)).collect();
    entries.sort_by_key(|(_, line, _)| *line);
    Node::Table(entries)
}

fn item_of(value: &toml::Spanned<DeValue<'_>>, line_at: LineAt<'_>) -> Item {
    let node = match value.get_ref() {
        DeValue::String(text) => Node::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Node::Other("a number beyond 64 bits"), Node::Integer),
        DeValue::Array(items) => {
            Node::List(items.iter().map(|item| item_of(item, line_at)).collect())
        }
        DeValue::Table(table) => table_of(table, line_at),
        DeValue::Float(_) => Node::Other("a fraction"),
        DeValue::Boolean(_) => Node::Other("true or false"),
        DeValue::Datetime(_) => Node::Other("a date"),
    };
    Item {
        line: line_at(value.span().start),
        node,
    }
}

/// Collects problems; reading goes on so that all are found.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, line: Option<usize>, key: String, message: String) {
        if self.0.len() < MAX_PROBLEMS {
            self.0.push(Problem { line, key, message });
        }
    }

    pub(super) fn into_result<T>(
        mut self,
        file: &str,
        value: Option<T>,
    ) -> Result<T, ManifestError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => {
                self.0.sort_by_key(|problem| problem.line);
                Err(ManifestError {
                    file: file.to_owned(),
                    problems: self.0,
                })
            }
        }
    }
}

/// A table whose keys are known.
pub(super) struct Section<'a> {
    path: String,
    line: Option<usize>,
    entries: &'a [(String, Option<usize>, Item)],
}

impl<'a> Section<'a> {
    /// The table at a path; unknown keys and a value that is no table are problems.
    pub(super) fn new(
        item: &'a Item,
        path: String,
        known: &[&str],
        problems: &mut Problems,
    ) -> Option<Self> {
        let Node::Table(entries) = &item.node else {
            problems.add(
                item.line,
                path,
                format!("must be a table, not {}", item.type_name()),
            );
            return None;
        };
        let section = Self {
            path,
            line: item.line,
            entries,
        };
        for (key, line, _) in entries {
            if !known.contains(&key.as_str()) {
                let hint = did_you_mean(key, known.iter().copied());
                let message = format!(
                    "unknown key{hint} Known are {}.",
                    listed(known.iter().copied())
                );
                let message = if hint.is_empty() {
                    message.replacen("unknown key", "unknown key.", 1)
                } else {
                    message
                };
                problems.add(*line, section.key(key), message);
            }
        }
        Some(section)
    }

    /// A key as problems name it.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value of a key and its line.
    pub(super) fn get(&self, key: &str) -> Option<(&'a Item, Option<usize>)> {
        self.entries
            .iter()
            .find(|(name, _, _)| name == key)
            .map(|(_, line, item)| (item, *line))
    }

    /// The value of a key, parsed; a problem when it is there and wrong.
    pub(super) fn read<T>(
        &self,
        key: &str,
        problems: &mut Problems,
        parse: impl FnOnce(&'a Item) -> Result<T, String>,
    ) -> Option<T> {
        let (item, line) = self.get(key)?;
        parse(item)
            .map_err(|message| problems.add(line, self.key(key), message))
            .ok()
    }

    /// The value of a key, parsed; a problem when it is wrong or not there.
    pub(super) fn require<T>(
        &self,
        key: &str,
        problems: &mut Problems,
        parse: impl FnOnce(&'a Item) -> Result<T, String>,
    ) -> Option<T> {
        if self.get(key).is_none() {
            problems.add(self.line, self.key(key), "is missing".into());
        }
        self.read(key, problems, parse)
    }

    /// The elements of a list, each with its path and line; none when it is absent.
    pub(super) fn elements(
        &self,
        key: &str,
        max: usize,
        problems: &mut Problems,
    ) -> impl Iterator<Item = (&'a Item, String, Option<usize>)> + use<'a> {
        let items = self.read(key, problems, |item| {
            let items = item.list()?;
            if items.len() > max {
                Err(format!(
                    "has {} entries; at most {max} are allowed",
                    items.len()
                ))
            } else {
                Ok(items)
            }
        });
        let path = self.key(key);
        items
            .unwrap_or(&[])
            .iter()
            .enumerate()
            .map(move |(i, item)| (item, format!("{path}[{i}]"), item.line))
    }
}
