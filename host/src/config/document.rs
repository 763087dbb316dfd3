//! A YAML (or JSON) document with the line of every value, read strictly:
//! every problem at once, and for an unknown key the nearest known one.

use std::fmt;

use nestor_core::text::{did_you_mean, pointer_step, shortened};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

/// More would only repeat themselves.
const MAX_PROBLEMS: usize = 50;
/// As many as the largest deployment needs: 10,000 resources of 60 nodes.
const MAX_NODES: usize = 2_000_000;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Counted from 1; 0 for an empty document.
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Of the key.
    pub(crate) line: usize,
    pub(crate) value: Node,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: Option<usize>,
    /// Such as `engines.terraform.parallelism`; empty for the whole.
    pub(crate) key: String,
    pub(crate) message: String,
}

/// Collects problems; reading goes on so that all are found.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn add(&mut self, line: usize, key: impl Into<String>, message: impl Into<String>) {
        if self.0.len() < MAX_PROBLEMS {
            let line = (line > 0).then_some(line);
            self.0.push(Problem {
                line,
                key: key.into(),
                message: message.into(),
            });
        }
    }

    /// In the order of the document.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.0.sort_by_key(|problem| problem.line);
        self.0
    }
}

/// Every problem, each on a line of its own: `file:12: key: what is wrong`.
pub(crate) fn listed(file: &str, problems: &[Problem]) -> String {
    let line = |problem: &Problem| {
        let at = problem
            .line
            .map_or(String::new(), |line| format!(":{line}"));
        let key = if problem.key.is_empty() {
            String::new()
        } else {
            format!("{}: ", problem.key)
        };
        format!("{file}{at}: {key}{}", problem.message)
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Reads one document.
pub(crate) fn parse(text: &str) -> Result<Node, Problem> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: MAX_NODES, max_events: 2 * MAX_NODES },
        with_snippet: false,
        // `yes` is a word, as in YAML 1.2.
        strict_booleans: true,
    };
    if text.trim().is_empty() {
        return Ok(Node {
            line: 0,
            kind: Kind::Null,
        });
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|error: serde_saphyr::Error| {
        let line = error
            .location()
            .map(|at| usize::try_from(at.line()).unwrap_or(usize::MAX));
        let message = error.to_string();
        let message = message.lines().next().unwrap_or("it cannot be read");
        Problem {
            line,
            key: String::new(),
            message: format!("not YAML: {}", shortened(message, 300)),
        }
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self {
            line: line(&spanned),
            kind: spanned.value,
        })
    }
}

fn line<T>(spanned: &Spanned<T>) -> usize {
    usize::try_from(spanned.referenced.line()).unwrap_or(usize::MAX)
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }
    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        Kind::deserialize(deserializer)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Kind, E> {
        serde_json::Number::from_f64(value)
            .map(Kind::Number)
            .ok_or_else(|| E::custom("JSON has no such number"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Node>()? {
            entries.push(Entry {
                line: line(&key),
                key: key.value,
                value,
            });
        }
        Ok(Kind::Map(entries))
    }
}

impl Node {
    /// The same without lines.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(value) => Value::Number(value.clone()),
            Kind::Text(value) => Value::String(value.clone()),
            Kind::List(items) => items.iter().map(Self::to_json).collect(),
            Kind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|e| (e.key.clone(), e.value.to_json()))
                    .collect(),
            ),
        }
    }

    /// The line of the value at a JSON pointer, or of the nearest thing around
    /// it that exists.
    pub(crate) fn line_of(&self, pointer: &str) -> usize {
        let (mut node, mut line) = (self, self.line);
        for step in pointer.split('/').skip(1) {
            let next = match &node.kind {
                Kind::List(items) => step
                    .parse::<usize>()
                    .ok()
                    .and_then(|i| items.get(i))
                    .map(|n| (n.line, n)),
                Kind::Map(entries) => entries
                    .iter()
                    .find(|e| pointer_step(&e.key) == step)
                    .map(|e| (e.line, &e.value)),
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => None,
            };
            let Some((at, inner)) = next else { break };
            (line, node) = (at, inner);
        }
        line
    }

    /// What kind of value it is, for messages.
    fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    pub(crate) fn text(&self) -> Result<&str, String> {
        match &self.kind {
            Kind::Text(text) => Ok(text),
            _ => Err(format!("must be a text, not {}", self.kind_name())),
        }
    }

    pub(crate) fn boolean(&self) -> Result<bool, String> {
        match &self.kind {
            Kind::Bool(value) => Ok(*value),
            _ => Err(format!("must be true or false, not {}", self.kind_name())),
        }
    }

    pub(crate) fn whole(&self) -> Result<u64, String> {
        match &self.kind {
            Kind::Number(number) => number.as_u64().ok_or_else(|| {
                format!("must be a whole number that is not negative, not {number}")
            }),
            _ => Err(format!("must be a whole number, not {}", self.kind_name())),
        }
    }

    pub(crate) fn list(&self) -> Result<&[Node], String> {
        match &self.kind {
            Kind::List(items) => Ok(items),
            _ => Err(format!("must be a list, not {}", self.kind_name())),
        }
    }
}

/// A map whose keys are known.
pub(crate) struct Section<'a> {
    path: String,
    line: usize,
    entries: &'a [Entry],
}

impl<'a> Section<'a> {
    /// The map at a path; unknown keys, and a value that is no map, are
    /// problems. Nothing at all is an empty map.
    pub(crate) fn new(
        node: &'a Node,
        path: impl Into<String>,
        known: &[&str],
        problems: &mut Problems,
    ) -> Option<Self> {
        let section = Self::any(node, path, problems)?;
        for entry in section.entries {
            if !known.contains(&entry.key.as_str()) {
                let hint = did_you_mean(&entry.key, known.iter().copied());
                let shown = shortened(&entry.key, 60);
                let message = format!(
                    "there is no key {shown:?} here{hint} (known: {})",
                    known.join(", ")
                );
                problems.add(entry.line, section.path.clone(), message);
            }
        }
        Some(section)
    }

    /// A map with any keys.
    pub(crate) fn any(
        node: &'a Node,
        path: impl Into<String>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let path = path.into();
        match &node.kind {
            Kind::Map(entries) => Some(Self {
                path,
                line: node.line,
                entries,
            }),
            Kind::Null => Some(Self {
                path,
                line: node.line,
                entries: &[],
            }),
            _ => {
                problems.add(
                    node.line,
                    path,
                    format!("must be a map, not {}", node.kind_name()),
                );
                None
            }
        }
    }

    pub(crate) fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    pub(crate) fn line(&self) -> usize {
        self.line
    }

    pub(crate) fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// A value, if it is there and fits; else a problem is noted.
    pub(crate) fn read<T>(
        &self,
        key: &str,
        problems: &mut Problems,
        read: impl FnOnce(&'a Node) -> Result<T, String>,
    ) -> Option<T> {
        let entry = self.get(key)?;
        match read(&entry.value) {
            Ok(value) => Some(value),
            Err(message) => {
                problems.add(entry.value.line, self.path(key), message);
                None
            }
        }
    }

    /// A key that this version does not serve: better refused than ignored.
    pub(crate) fn refuse(&self, key: &str, instead: &str, problems: &mut Problems) {
        if let Some(entry) = self.get(key) {
            problems.add(
                entry.line,
                self.path(key),
                format!("is not available in this version; {instead}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_lines_and_types() {
        let text = "a: 1\nb:\n  - x: yes\n    y: 1.5\n  - null\n\"c/d\": 'text'\ne: {f: true}\n";
        let node = parse(text).unwrap();
        assert_eq!(
            node.to_json(),
            serde_json::json!({"a": 1, "b": [{"x": "yes", "y": 1.5}, null], "c/d": "text", "e": {"f": true}})
        );
        for (pointer, line) in [
            ("", 1),
            ("/a", 1),
            ("/b", 2),
            ("/b/0/y", 4),
            ("/b/1", 5),
            ("/c~1d", 6),
            ("/e/f", 7),
            ("/b/0/z/deep", 3),
            ("/b/9", 2),
        ] {
            assert_eq!(node.line_of(pointer), line, "{pointer}");
        }
    }

    #[test]
    fn broken_documents_say_where() {
        for (text, line, says) in [
            ("a: 1\na: 2\n", 2, "duplicate"),
            ("a: [1, 2\nb: 3\n", 2, "not YAML"),
            ("a: 1\n---\nb: 2\n", 2, "not YAML"),
            ("a: .nan\n", 1, "not YAML"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.message.contains(says), "{text:?}: {problem:?}");
            assert!(
                problem.line.is_some_and(|l| l >= line.min(1)),
                "{text:?}: {problem:?}"
            );
        }
        assert_eq!(parse("\n# nothing\n").unwrap().to_json(), Value::Null);
    }
}
