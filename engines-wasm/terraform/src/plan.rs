//! Reads `show -json` of a saved plan: what would change, and what the outputs
//! will be.

use nestor_sdk::{
    Action, Change, Error, JsonType, PlannedOutput, ProposedChanges, Request, Value, diff, json,
};
use serde::Deserialize;
use serde_json::Map;
use std::collections::BTreeMap;

use crate::root::{SENSITIVITY, UNKNOWN};

/// More changes than these are counted and not listed: nobody reads them, and
/// the host bounds what a call answers.
const MAX_CHANGES: usize = 500;

/// What stands for a value that the tool says is sensitive.
pub const MASKED: &str = "(sensitive)";

/// A plan, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Plan {
    #[serde(default)]
    resource_changes: Vec<ResourceChange>,
    #[serde(default)]
    resource_drift: Vec<ResourceChange>,
    #[serde(default)]
    output_changes: BTreeMap<String, ChangeOf>,
    #[serde(default)]
    prior_state: Option<StateDocument>,
    /// Only how many steps it has, where the document was too long to read.
    #[serde(skip)]
    counted: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ResourceChange {
    address: String,
    #[serde(default)]
    previous_address: Option<String>,
    #[serde(default)]
    mode: String,
    change: ChangeOf,
}

/// The tool writes documents beside each other: the values, and for each value
/// whether it is sensitive or unknown.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ChangeOf {
    actions: Vec<String>,
    #[serde(default)]
    before: Value,
    #[serde(default)]
    after: Value,
    #[serde(default)]
    after_unknown: Value,
    #[serde(default)]
    before_sensitive: Value,
    #[serde(default)]
    after_sensitive: Value,
    #[serde(default)]
    importing: Option<Value>,
}

/// What `show -json` says of a state.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct StateDocument {
    #[serde(default)]
    values: Option<StateValues>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
struct StateValues {
    #[serde(default)]
    root_module: StateModule,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
struct StateModule {
    #[serde(default)]
    resources: Vec<StateResource>,
    #[serde(default)]
    child_modules: Vec<StateModule>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct StateResource {
    #[serde(default)]
    mode: String,
}

impl StateDocument {
    /// How many resources the state holds, data sources not counted.
    #[must_use]
    pub fn resources(&self) -> usize {
        self.values
            .as_ref()
            .map_or(0, |values| values.root_module.resources())
    }
}

impl StateModule {
    fn resources(&self) -> usize {
        self.resources
            .iter()
            .filter(|resource| resource.mode == "managed")
            .count()
            + self
                .child_modules
                .iter()
                .map(Self::resources)
                .sum::<usize>()
    }
}

impl ChangeOf {
    fn action(&self) -> Option<Action> {
        let actions: Vec<&str> = self.actions.iter().map(String::as_str).collect();
        match actions.as_slice() {
            ["create"] => Some(Action::Create),
            ["update"] => Some(Action::Update),
            ["delete" | "forget"] => Some(Action::Delete),
            ["delete", "create"] | ["create", "delete" | "forget"] | ["forget", "create"] => {
                Some(Action::Replace)
            }
            // Reading data is no change; an action of a later version is not
            // passed over.
            ["no-op" | "read"] | [] => None,
            _ => Some(Action::Update),
        }
    }
}

impl Plan {
    /// Reads the document of `show -json`.
    ///
    /// # Errors
    /// [`Error::Failed`] when it is none.
    pub fn read(document: &str) -> Result<Self, Error> {
        serde_json::from_str(document)
            .map_err(|error| Error::Failed(format!("`show -json` of the plan: {error}")))
    }

    /// A plan of which only the tool's own count is known.
    #[must_use]
    pub fn counted(steps: usize) -> Self {
        Self {
            resource_changes: Vec::new(),
            resource_drift: Vec::new(),
            output_changes: BTreeMap::new(),
            prior_state: None,
            counted: Some(steps),
        }
    }

    fn changed(&self) -> impl Iterator<Item = (&ResourceChange, Action)> {
        let own = |change: &&ResourceChange| change.address != format!("terraform_data.{UNKNOWN}");
        self.resource_changes
            .iter()
            .filter(own)
            .filter(|change| change.mode == "managed")
            .filter_map(|change| change.change.action().map(|action| (change, action)))
    }

    /// How many steps applying it takes: a replacement is two.
    #[must_use]
    pub fn steps(&self) -> usize {
        if let Some(steps) = self.counted {
            return steps;
        }
        self.changed()
            .map(|(_, action)| if action == Action::Replace { 2 } else { 1 })
            .sum()
    }

    /// Whether applying it would change nothing at all, outputs and recorded
    /// addresses included.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let quiet = |change: &ResourceChange| {
            change.previous_address.is_none() && change.change.importing.is_none()
        };
        self.counted.is_none()
            && self.changed().next().is_none()
            && self.resource_changes.iter().all(quiet)
            && self
                .output_changes
                .values()
                .all(|change| change.action().is_none())
    }

    /// What the plan does to the resource as a whole.
    fn action(&self) -> Action {
        let (mut created, mut deleted, mut others) = (0, 0, 0);
        for (_, action) in self.changed() {
            match action {
                Action::Create => created += 1,
                Action::Delete => deleted += 1,
                Action::Replace => return Action::Replace,
                Action::Update | Action::Noop => others += 1,
            }
        }
        let before = self
            .prior_state
            .as_ref()
            .map_or(0, StateDocument::resources);
        match (created, deleted, others) {
            (0, 0, 0) if self.is_empty() => Action::Noop,
            (1.., 0, 0) if before == 0 => Action::Create,
            (0, 1.., 0) if deleted >= before => Action::Delete,
            _ => Action::Update,
        }
    }

    fn summary(&self) -> String {
        if let Some(steps) = self.counted {
            return format!("{steps} resource actions, too many to list");
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, action) in self.changed() {
            let word = match action {
                Action::Create => "to create",
                Action::Update | Action::Noop => "to update",
                Action::Replace => "to replace",
                Action::Delete => "to delete",
            };
            *counts.entry(word).or_default() += 1;
        }
        if counts.is_empty() {
            return if self.is_empty() {
                "nothing changes".into()
            } else {
                "only outputs change".into()
            };
        }
        let parts: Vec<String> = counts
            .iter()
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        parts.join(", ")
    }

    /// The plan in the contract's terms.
    #[must_use]
    pub fn proposed(&self, request: &Request) -> ProposedChanges {
        let mut proposed = ProposedChanges::new(self.action(), self.summary());
        let all = self
            .changed()
            .flat_map(|(change, action)| changes(change, action));
        list(&mut proposed, all);
        proposed.outputs = self.outputs(request);
        proposed
    }

    /// The difference between the state and the real thing, from a refresh-only
    /// plan.
    #[must_use]
    pub fn drift(&self) -> ProposedChanges {
        let drifted: Vec<(&ResourceChange, Action)> = self
            .resource_drift
            .iter()
            .filter(|change| change.mode == "managed")
            .filter_map(|change| change.change.action().map(|action| (change, action)))
            .collect();
        let gone = drifted
            .iter()
            .filter(|(_, action)| *action == Action::Delete)
            .count();
        let before = self
            .prior_state
            .as_ref()
            .map_or(0, StateDocument::resources);
        let action = match drifted.len() {
            0 => Action::Noop,
            n if n == gone && before == 0 => Action::Delete,
            _ => Action::Update,
        };
        let summary = match (drifted.len(), gone) {
            (0, _) => "as last applied".into(),
            (changed, 0) => format!("{changed} changed outside"),
            (changed, gone) if changed == gone => format!("{gone} deleted outside"),
            (changed, gone) => format!("{} changed, {gone} deleted outside", changed - gone),
        };
        let mut proposed = ProposedChanges::new(action, summary);
        list(
            &mut proposed,
            drifted
                .into_iter()
                .flat_map(|(change, action)| changes(change, action)),
        );
        proposed
    }

    fn outputs(&self, request: &Request) -> Vec<PlannedOutput> {
        let sensitivity = self
            .output_changes
            .get(SENSITIVITY)
            .map(|change| &change.after);
        let one = |(name, declared): (&String, &nestor_sdk::DeclaredOutput)| {
            let planned = self.output_changes.get(name);
            let known = planned
                .filter(|change| !holds_true(&change.after_unknown) && change.actions != ["delete"])
                .map(|change| change.after.clone());
            let marked = sensitivity
                .and_then(|all| all.get(name))
                .and_then(Value::as_bool)
                == Some(true);
            PlannedOutput {
                name: name.clone(),
                known,
                json_type: declared.json_type,
                sensitive: declared.sensitive || marked,
            }
        };
        request.declared_outputs.iter().map(one).collect()
    }
}

fn list(proposed: &mut ProposedChanges, all: impl Iterator<Item = Change>) {
    let mut more = 0;
    for change in all {
        if proposed.changes.len() < MAX_CHANGES {
            proposed.changes.push(change);
        } else {
            more += 1;
        }
    }
    if more > 0 {
        proposed
            .summary
            .push_str(&format!(" ({more} more changes not listed)"));
    }
}

/// The changes of one resource: as a whole where it comes or goes, else value
/// by value, as `<address>#<pointer into its attributes>`.
fn changes(resource: &ResourceChange, action: Action) -> Vec<Change> {
    let change = &resource.change;
    let whole = |before, after| {
        vec![Change {
            path: resource.address.clone(),
            before,
            after,
            sensitive: false,
        }]
    };
    match action {
        Action::Create => whole(None, Some(shown(&after(change), &change.after_sensitive))),
        Action::Delete => whole(Some(shown(&change.before, &change.before_sensitive)), None),
        Action::Update | Action::Replace | Action::Noop => {
            // Compared as they are, shown masked: a change of a sensitive value
            // is a change.
            let (before, after) = (&change.before, after(change));
            let masked_before = shown(before, &change.before_sensitive);
            let masked_after = shown(&after, &change.after_sensitive);
            diff(Some(before), Some(&after))
                .into_iter()
                .map(|found| {
                    let hidden = is_hidden(&change.before_sensitive, &found.path)
                        || is_hidden(&change.after_sensitive, &found.path);
                    let value = |masked: &Value, there: bool| match hidden {
                        true if there => Some(json!(MASKED)),
                        true => None,
                        false => masked.pointer(&found.path).filter(|_| there).cloned(),
                    };
                    Change {
                        before: value(&masked_before, found.before.is_some()),
                        after: value(&masked_after, found.after.is_some()),
                        path: format!("{}#{}", resource.address, found.path),
                        sensitive: hidden,
                    }
                })
                .collect()
        }
    }
}

/// The values afterwards, with unknown ones in their places.
fn after(change: &ChangeOf) -> Value {
    let mut after = change.after.clone();
    overlay(&mut after, &change.after_unknown);
    after
}

fn overlay(value: &mut Value, unknown: &Value) {
    match unknown {
        Value::Bool(true) => *value = JsonType::Any.unknown(),
        Value::Object(marks) => {
            if value.is_null() && holds_true(unknown) {
                *value = Value::Object(Map::new());
            }
            if let Some(map) = value.as_object_mut() {
                for (key, mark) in marks.iter().filter(|(_, mark)| holds_true(mark)) {
                    overlay(map.entry(key).or_insert(Value::Null), mark);
                }
            }
        }
        Value::Array(marks) => {
            if let Some(items) = value.as_array_mut() {
                for (item, mark) in items.iter_mut().zip(marks) {
                    overlay(item, mark);
                }
            }
        }
        Value::Null | Value::Bool(false) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A document with sensitive values masked and, in an object, nulls left out:
/// attributes that nobody set.
fn shown(value: &Value, sensitive: &Value) -> Value {
    match (value, sensitive) {
        (_, Value::Bool(true)) => json!(MASKED),
        (Value::Object(map), marks) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| {
                (
                    key.clone(),
                    shown(value, marks.get(key).unwrap_or(&Value::Null)),
                )
            })
            .collect(),
        (Value::Array(items), marks) => items
            .iter()
            .enumerate()
            .map(|(i, item)| shown(item, marks.get(i).unwrap_or(&Value::Null)))
            .collect(),
        (value, _) => value.clone(),
    }
}

/// Whether a place, something around it or something in it is sensitive.
fn is_hidden(sensitive: &Value, pointer: &str) -> bool {
    let mut at = sensitive;
    for token in pointer.split('/').skip(1) {
        if at == &Value::Bool(true) {
            return true;
        }
        let key = token.replace("~1", "/").replace("~0", "~");
        let next = match at {
            Value::Array(items) => key.parse::<usize>().ok().and_then(|i| items.get(i)),
            other => other.get(&key),
        };
        let Some(next) = next else { return false };
        at = next;
    }
    holds_true(at)
}

fn holds_true(marks: &Value) -> bool {
    match marks {
        Value::Bool(yes) => *yes,
        Value::Array(items) => items.iter().any(holds_true),
        Value::Object(map) => map.values().any(holds_true),
        Value::Null | Value::Number(_) | Value::String(_) => false,
    }
}
