//! YAML that remembers where each value stands.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A value and its line.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) line: u64,
    pub(crate) node: Node,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Scalar(Value),
    List(Vec<Item>),
    Table(Vec<(String, u64, Item)>),
}

/// What is wrong, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: Option<u64>,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn at(line: u64, message: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            message: message.into(),
        }
    }
}

/// Reads one document. YAML 1.2: `yes` and `no` are texts, repeated keys are
/// refused, and depth and aliases are bounded.
pub(crate) fn read(text: &str) -> Result<Item, Problem> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    match serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options) {
        Ok(root) => Ok(root.into()),
        Err(error) => {
            let line = error
                .location()
                .map(|location| location.line())
                .filter(|line| *line > 0);
            let message = error.to_string();
            let message = message.lines().next().unwrap_or_default();
            // The library speaks to programmers.
            let message = message.replace(
                ", set DuplicateKeyPolicy in Options if acceptable",
                "; keep one",
            );
            Err(Problem {
                line,
                message: format!("not YAML: {message}"),
            })
        }
    }
}

impl Item {
    /// The same as JSON.
    pub(crate) fn to_json(&self) -> Value {
        match &self.node {
            Node::Scalar(value) => value.clone(),
            Node::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Node::Table(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, _, item)| (key.clone(), item.to_json()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.node {
            Node::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.node, Node::Scalar(Value::Null))
    }

    /// What a key of a table holds.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.node {
            Node::Table(entries) => entries
                .iter()
                .find(|(name, _, _)| name == key)
                .map(|(_, _, item)| item),
            Node::Scalar(_) | Node::List(_) => None,
        }
    }

    /// The line of what a JSON pointer leads to, or of the last step that is there.
    pub(crate) fn line_of(&self, pointer: &str) -> u64 {
        let mut item = self;
        let mut line = self.line;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let found = match &item.node {
                Node::Table(entries) => entries
                    .iter()
                    .find(|(key, _, _)| *key == step)
                    .map(|(_, line, item)| (*line, item)),
                Node::List(items) => step
                    .parse::<usize>()
                    .ok()
                    .and_then(|i| items.get(i))
                    .map(|item| (item.line, item)),
                Node::Scalar(_) => None,
            };
            let Some((at, next)) = found else { break };
            (line, item) = (at, next);
        }
        line
    }

    pub(crate) fn kind(&self) -> &'static str {
        match &self.node {
            Node::Scalar(Value::Null) => "nothing",
            Node::Scalar(Value::Bool(_)) => "a boolean",
            Node::Scalar(Value::Number(_)) => "a number",
            Node::Scalar(_) => "a text",
            Node::List(_) => "a list",
            Node::Table(_) => "a mapping",
        }
    }
}

impl From<Spanned<Node>> for Item {
    fn from(spanned: Spanned<Node>) -> Self {
        Self {
            line: spanned.referenced.line(),
            node: spanned.value,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Node::Scalar(Value::Number(number)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Spanned<Node>>()? {
            items.push(item.into());
        }
        Ok(Node::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let item = map.next_value::<Spanned<Node>>()?;
            entries.push((key.value, key.referenced.line(), item.into()));
        }
        Ok(Node::Table(entries))
    }
}
