//! From bytes to JSON, with bounds on what it may become in memory, and
//! without the silence of ordinary JSON readers about repeated keys.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{MAX_BODY_BYTES, MAX_CONFIG_DEPTH, MAX_DEPENDENCIES, MAX_RESOURCES, MAX_VALUES};
use crate::text::{pointer_step, shortened};
use crate::violation::{MAX_VIOLATIONS, Violation, ViolationCode};

/// The object, the list and the resource around a config.
const DEPTH_AROUND_CONFIG: usize = 3;

/// JSON, and what can be said of it as JSON.
pub(crate) struct Document {
    /// Of repeated keys the first.
    pub(crate) value: Value,
    /// Repeated keys, and lists that are too long; those are cut.
    pub(crate) violations: Vec<Violation>,
}

/// Reads a request's body.
pub(crate) fn read(body: &[u8]) -> Result<Document, Vec<Violation>> {
    if body.len() > MAX_BODY_BYTES {
        let message = format!(
            "the request has {} bytes; at most {MAX_BODY_BYTES} (8 MiB) are allowed: split the deployment, \
             or move large texts into the catalog's definition",
            body.len()
        );
        return Err(vec![Violation::new(
            ViolationCode::LimitExceeded,
            "",
            message,
        )]);
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        let message = "the request has no body; send a deployment as a JSON object";
        return Err(vec![Violation::new(
            ViolationCode::MalformedJson,
            "",
            message,
        )]);
    }
    let state = RefCell::new(State::default());
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = Seed {
        state: &state,
        depth: 0,
    }
    .deserialize(&mut deserializer)
    .and_then(|value| deserializer.end().map(|()| value));
    let state = state.into_inner();
    match read {
        Ok(value) => Ok(Document {
            value,
            violations: state.violations,
        }),
        Err(error) => Err(vec![
            state
                .fatal
                .clone()
                .unwrap_or_else(|| state.malformed(&error)),
        ]),
    }
}

#[derive(Default)]
struct State {
    path: Vec<Step>,
    values: usize,
    violations: Vec<Violation>,
    /// Why reading was given up, when the JSON is not to blame.
    fatal: Option<Violation>,
}

enum Step {
    Key(String),
    Index(usize),
}

impl State {
    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            pointer.push('/');
            match step {
                Step::Key(key) => pointer.push_str(&pointer_step(&shortened(key, 80))),
                Step::Index(index) => pointer.push_str(&index.to_string()),
            }
        }
        pointer
    }

    fn malformed(&self, error: &serde_json::Error) -> Violation {
        // serde_json ends its messages with the place; ours begin with it.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let text = error.to_string();
        let problem = text.strip_suffix(&place).unwrap_or(&text);
        let message = format!(
            "not JSON: line {}, column {}: {problem}",
            error.line(),
            error.column()
        );
        Violation::new(ViolationCode::MalformedJson, self.pointer(), message)
    }

    fn violation(&mut self, violation: Violation) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(violation);
        }
    }

    /// Counts a value.
    fn count<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.values += 1;
        if self.values <= MAX_VALUES {
            return Ok(());
        }
        let message =
            format!("the request holds more than {MAX_VALUES} values; split the deployment");
        Err(self.give_up(String::new(), message))
    }

    /// Checks how deep an object or list stands.
    fn nest<E: serde::de::Error>(&mut self, depth: usize) -> Result<(), E> {
        if depth < MAX_CONFIG_DEPTH + DEPTH_AROUND_CONFIG {
            return Ok(());
        }
        let message = format!(
            "objects and lists stand within each other more than {MAX_CONFIG_DEPTH} deep; make the config flatter"
        );
        Err(self.give_up(shortened(&self.pointer(), 200), message))
    }

    fn give_up<E: serde::de::Error>(&mut self, pointer: String, message: String) -> E {
        self.fatal = Some(Violation::new(
            ViolationCode::LimitExceeded,
            pointer,
            message,
        ));
        E::custom("given up")
    }

    /// How many elements of the list at this path are read.
    fn most_elements(&self) -> Option<(usize, &'static str)> {
        match self.path.as_slice() {
            [Step::Key(key)] if key == "resources" => Some((MAX_RESOURCES, "resources")),
            [Step::Key(key)] if key == "dependencies" => Some((MAX_DEPENDENCIES, "dependencies")),
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'s> {
    state: &'s RefCell<State>,
    depth: usize,
}

impl Seed<'_> {
    /// Reads what stands under a step; the step stays in the path on an error,
    /// which so says where it was.
    fn under<T, E>(self, step: Step, read: impl FnOnce(Self) -> Result<T, E>) -> Result<T, E> {
        self.state.borrow_mut().path.push(step);
        let value = read(Seed {
            depth: self.depth + 1,
            ..self
        })?;
        self.state.borrow_mut().path.pop();
        Ok(value)
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.state.borrow_mut().count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        self.state.borrow_mut().nest(self.depth)?;
        let most = self.state.borrow().most_elements();
        let mut items = Vec::new();
        loop {
            if let Some((max, what)) = most.filter(|(max, _)| items.len() == *max) {
                let mut count = max;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                if count > max {
                    let message = format!(
                        "there are {count} {what}; at most {max} are allowed: split the deployment"
                    );
                    let mut state = self.state.borrow_mut();
                    let violation =
                        Violation::new(ViolationCode::LimitExceeded, state.pointer(), message);
                    state.violation(violation);
                }
                break;
            }
            match self.under(Step::Index(items.len()), |seed| {
                list.next_element_seed(seed)
            })? {
                Some(item) => items.push(item),
                None => break,
            }
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.state.borrow_mut().nest(self.depth)?;
        let mut entries = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if entries.contains_key(&key) {
                let step = Step::Key(key.clone());
                self.under(step, |seed| {
                    let mut state = seed.state.borrow_mut();
                    let message = format!(
                        "the key {:?} stands here twice; keep one",
                        shortened(&key, 80)
                    );
                    let violation =
                        Violation::new(ViolationCode::InvalidValue, state.pointer(), message);
                    state.violation(violation);
                    drop(state);
                    map.next_value::<IgnoredAny>()
                })?;
                continue;
            }
            let value = self.under(Step::Key(key.clone()), |seed| map.next_value_seed(seed))?;
            entries.insert(key, value);
        }
        Ok(Value::Object(entries))
    }
}
