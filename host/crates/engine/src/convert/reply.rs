//! From the guest to core: every text bounded, every document parsed, every
//! name checked. What breaks the contract is a crash of the engine, with a
//! message for its author.

use std::collections::BTreeSet;
use std::time::Duration;

use nestor_core::engine::{
    Action, Change, EngineError, EngineViolation, Features, Manifest, Outcome, Output, Pending,
    PlannedOutput, ProposedChanges, Rendered, Settled,
};
use nestor_core::ids::OutputName;
use nestor_core::ports::LogLevel;
use serde_json::Value;

use super::text::{clean, clean_line};
use super::values::{self, Refused};
use crate::bindings::exports::nestor::engine::lifecycle;
use crate::bindings::nestor::engine::{report, types as wit};
use crate::call::stop;

/// An engine's error may hold a tool's whole complaint.
const MAX_ERROR: usize = 16 << 10;
/// A line for people.
const MAX_MESSAGE: usize = 2000;
/// A JSON pointer or an engine's address of something.
const MAX_PATH: usize = 1024;
/// Notes are a page of text.
const MAX_NOTES: usize = 64 << 10;
/// More warnings are not read by anybody.
const MAX_WARNINGS: usize = 100;
/// More violations than a request has fields are a mistake.
const MAX_VIOLATIONS: usize = 1000;
/// A poll costs an instance: more often than this is a busy loop.
const MIN_POLL: Duration = Duration::from_millis(10);
/// Longer than this, an operation looks forgotten.
const MAX_POLL: Duration = Duration::from_secs(3600);
/// A name and a version.
const MAX_NAME: usize = 100;
/// JSON values of any kind in one answer, as many as a deployment may have. An
/// engine that records more keeps it in its folder or its map.
const MAX_ANSWER_VALUES: usize = 250_000;
/// Small next to what it describes.
const MAX_SCHEMA: usize = 1 << 20;
/// The types of JSON, as declared outputs name them.
const JSON_TYPES: [&str; 8] = [
    "string", "number", "integer", "boolean", "object", "array", "null", "any",
];

/// What an engine says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// Its own name for itself.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// One line.
    pub summary: String,
    /// JSON Schema of the definition's section for it.
    pub definition_schema: Value,
    /// What it can do beyond the core.
    pub features: Features,
}

pub(crate) fn description(given: lifecycle::Description) -> Result<Description, EngineError> {
    let broken = |what: String| {
        EngineError::Trapped(format!("it broke the contract: describe answered {what}"))
    };
    if given.definition_schema.len() > MAX_SCHEMA {
        return Err(broken(format!(
            "a definition-schema of {} bytes; at most {MAX_SCHEMA} are allowed",
            given.definition_schema.len()
        )));
    }
    let mut left = MAX_ANSWER_VALUES;
    let definition_schema =
        values::read(&given.definition_schema, &mut left).map_err(|refused| match refused {
            Refused::TooMany => too_many_values(),
            Refused::NotJson(e) => broken(format!("a definition-schema that is not JSON ({e})")),
        })?;
    if !definition_schema.is_object() && !definition_schema.is_boolean() {
        return Err(broken(
            "a definition-schema that is no JSON Schema: it must be an object or a boolean".into(),
        ));
    }
    let has = |feature| given.features.contains(feature);
    Ok(Description {
        name: clean_line(&given.name, MAX_NAME),
        version: clean_line(&given.version, MAX_NAME),
        summary: clean_line(&given.summary, MAX_MESSAGE),
        definition_schema,
        features: Features {
            render: has(lifecycle::Features::RENDER),
            drift: has(lifecycle::Features::DRIFT),
            adopt: has(lifecycle::Features::ADOPT),
            traffic: has(lifecycle::Features::TRAFFIC),
        },
    })
}

fn too_many_values() -> EngineError {
    EngineError::LimitExceeded {
        limit: "output",
        message: format!(
            "it answered with more than {MAX_ANSWER_VALUES} JSON values at once; it can keep what it needs again in its folder or its map"
        ),
    }
}

/// The engine's own error.
pub(crate) fn failure(error: wit::Error) -> EngineError {
    let text = |text: String| clean(&text, MAX_ERROR);
    match error {
        wit::Error::Invalid(violations) => EngineError::Invalid(
            violations
                .into_iter()
                .take(MAX_VIOLATIONS)
                .map(|v| EngineViolation {
                    path: clean_line(&v.path, MAX_PATH),
                    message: clean(&v.message, MAX_ERROR),
                })
                .collect(),
        ),
        wit::Error::Denied(what) => EngineError::Denied(text(what)),
        wit::Error::Conflict(what) => EngineError::Conflict(text(what)),
        wit::Error::Missing(what) => EngineError::Missing(text(what)),
        wit::Error::Transient(what) => EngineError::Transient {
            message: text(what.message),
            retry_after: what
                .retry_after_ms
                .map(|ms| Duration::from_millis(ms.into()).min(MAX_POLL)),
        },
        wit::Error::Failed(what) => EngineError::Failed(text(what)),
        wit::Error::Unsupported(what) => EngineError::Unsupported(text(what)),
    }
}

pub(crate) fn log_level(level: report::Level) -> LogLevel {
    match level {
        report::Level::Debug => LogLevel::Debug,
        report::Level::Info => LogLevel::Info,
        report::Level::Warn => LogLevel::Warn,
        report::Level::Error => LogLevel::Error,
    }
}

/// Reads one answer; its texts together must stay within the limit.
pub(crate) struct Reader {
    function: &'static str,
    limit: u64,
    left: u64,
    values_left: usize,
}

type Read<T> = Result<T, EngineError>;

impl Reader {
    pub(crate) fn new(function: &'static str, limit: u64) -> Self {
        Self {
            function,
            limit,
            left: limit,
            values_left: MAX_ANSWER_VALUES,
        }
    }

    fn broken(&self, what: impl std::fmt::Display) -> EngineError {
        EngineError::Trapped(format!(
            "it broke the contract: {} answered {what}",
            self.function
        ))
    }

    fn take(&mut self, bytes: usize) -> Read<()> {
        self.left = self
            .left
            .checked_sub(bytes as u64)
            .ok_or_else(|| stop::output(self.limit))?;
        Ok(())
    }

    /// A JSON document.
    fn json(&mut self, what: &str, text: &str) -> Read<Value> {
        self.take(text.len())?;
        values::read(text, &mut self.values_left).map_err(|refused| match refused {
            Refused::TooMany => too_many_values(),
            Refused::NotJson(e) => self.broken(format_args!("{what} that is not JSON ({e})")),
        })
    }

    fn text(&mut self, text: &str, max: usize) -> Read<String> {
        self.take(text.len())?;
        Ok(clean(text, max))
    }

    fn output_name(&mut self, name: &str, seen: &mut BTreeSet<OutputName>) -> Read<OutputName> {
        self.take(name.len())?;
        let name = OutputName::new(name).map_err(|e| self.broken(e))?;
        if !seen.insert(name.clone()) {
            return Err(self.broken(format_args!("the output {name} twice")));
        }
        Ok(name)
    }

    fn outputs(&mut self, outputs: Vec<wit::Output>) -> Read<Vec<Output>> {
        let mut seen = BTreeSet::new();
        let mut read = Vec::with_capacity(outputs.len());
        for output in outputs {
            let name = self.output_name(&output.name, &mut seen)?;
            let value = self.json(&format!("an output {name}"), &output.value)?;
            read.push(Output {
                name,
                value,
                sensitive: output.sensitive,
            });
        }
        Ok(read)
    }

    pub(crate) fn warnings(&mut self, warnings: Vec<String>) -> Read<Vec<String>> {
        warnings
            .iter()
            .take(MAX_WARNINGS)
            .map(|warning| self.text(warning, MAX_MESSAGE))
            .collect()
    }

    pub(crate) fn proposed(&mut self, given: wit::ProposedChanges) -> Read<ProposedChanges> {
        let mut changes = Vec::with_capacity(given.changes.len());
        for change in given.changes {
            changes.push(Change {
                path: self.text(&change.path, MAX_PATH)?,
                before: change
                    .before
                    .map(|v| self.json("a change", &v))
                    .transpose()?,
                after: change
                    .after
                    .map(|v| self.json("a change", &v))
                    .transpose()?,
                sensitive: change.sensitive,
            });
        }
        let mut seen = BTreeSet::new();
        let mut outputs = Vec::with_capacity(given.outputs.len());
        for output in given.outputs {
            let name = self.output_name(&output.name, &mut seen)?;
            if !JSON_TYPES.contains(&output.json_type.as_str()) {
                let shown = clean_line(&output.json_type, MAX_NAME);
                return Err(self.broken(format_args!(
                    "the output {name} with the type {shown:?}; it must be one of {}",
                    JSON_TYPES.join(", ")
                )));
            }
            let known = output
                .known
                .map(|v| self.json("a planned output", &v))
                .transpose()?;
            outputs.push(PlannedOutput {
                name,
                known,
                json_type: output.json_type,
                sensitive: output.sensitive,
            });
        }
        Ok(ProposedChanges {
            action: match given.action {
                wit::Action::Noop => Action::Noop,
                wit::Action::Create => Action::Create,
                wit::Action::Update => Action::Update,
                wit::Action::Replace => Action::Replace,
                wit::Action::Delete => Action::Delete,
            },
            changes,
            outputs,
            summary: self.text(&given.summary, MAX_MESSAGE)?,
        })
    }

    pub(crate) fn outcome(&mut self, given: wit::Outcome) -> Read<Outcome> {
        match given {
            wit::Outcome::Ready(settled) => Ok(Outcome::Ready(Settled {
                outputs: self.outputs(settled.outputs)?,
                state: self.json("a state", &settled.state)?,
            })),
            wit::Outcome::Pending(pending) => {
                if let Some(percent) = pending.percent.filter(|&p| p > 100) {
                    return Err(self.broken(format_args!("{percent} percent; it must be 0 to 100")));
                }
                let poll_after = Duration::from_millis(pending.poll_after_ms.into());
                Ok(Outcome::Pending(Pending {
                    poll_after: poll_after.clamp(MIN_POLL, MAX_POLL),
                    percent: pending.percent,
                    message: self.text(&pending.message, MAX_MESSAGE)?,
                    state: self.json("a state", &pending.state)?,
                }))
            }
        }
    }

    /// Paths of manifests are the delivery's to check: it knows where they go.
    pub(crate) fn rendered(&mut self, given: wit::Rendered) -> Read<Rendered> {
        let mut manifests = Vec::with_capacity(given.manifests.len());
        for manifest in given.manifests {
            self.take(manifest.path.len() + manifest.content.len())?;
            manifests.push(Manifest {
                path: manifest.path,
                content: manifest.content,
            });
        }
        Ok(Rendered {
            manifests,
            outputs: self.outputs(given.outputs)?,
            notes: given
                .notes
                .map(|notes| self.text(&notes, MAX_NOTES))
                .transpose()?,
            state: self.json("a state", &given.state)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(name: &str, value: &str) -> wit::Output {
        wit::Output {
            name: name.into(),
            value: value.into(),
            sensitive: false,
        }
    }

    fn settled(outputs: Vec<wit::Output>, state: &str) -> wit::Outcome {
        wit::Outcome::Ready(wit::Settled {
            outputs,
            state: state.into(),
        })
    }

    fn pending(percent: u8, poll_after_ms: u32) -> wit::Outcome {
        wit::Outcome::Pending(wit::Pending {
            poll_after_ms,
            percent: Some(percent),
            message: "waits\u{7}".into(),
            state: "{}".into(),
        })
    }

    #[test]
    fn what_breaks_the_contract_says_where() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let table = [
            (
                settled(vec![output("../up", "1")], "{}"),
                "is not an output name",
            ),
            (
                settled(vec![output("a", "{not json")], "{}"),
                "an output a that is not JSON",
            ),
            (
                settled(vec![output("a", "1"), output("a", "2")], "{}"),
                "the output a twice",
            ),
            (settled(vec![], "\u{0}"), "a state that is not JSON"),
            (settled(vec![], ""), "a state that is not JSON"),
            (settled(vec![output("a", &deep)], "{}"), "recursion limit"),
            (pending(101, 5), "101 percent"),
        ];
        for (given, says) in table {
            let error = Reader::new("apply", 1 << 20).outcome(given).unwrap_err();
            let EngineError::Trapped(text) = &error else {
                panic!("{error:?}")
            };
            assert!(text.contains("apply answered"), "{text}");
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn texts_together_stay_within_the_limit() {
        let big = format!("\"{}\"", "x".repeat(600));
        let given = settled(vec![output("a", &big), output("b", &big)], "{}");
        let error = Reader::new("apply", 1000).outcome(given).unwrap_err();
        assert!(
            matches!(
                error,
                EngineError::LimitExceeded {
                    limit: "output",
                    ..
                }
            ),
            "{error:?}"
        );
    }

    #[test]
    fn values_of_all_texts_together_are_bounded() {
        // A megabyte each, which as values would be a hundred times as large.
        let bomb = format!("[{}1]", r#"{"a":{}},"#.repeat(100_000));
        let one = settled(vec![output("a", "1")], &bomb);
        assert!(Reader::new("apply", 8 << 20).outcome(one).is_err());
        let small = format!("[{}1]", "1,".repeat(200_000));
        let one = settled(vec![output("a", "1")], &small);
        assert!(Reader::new("apply", 8 << 20).outcome(one).is_ok());
        let two = settled(vec![output("a", &small)], &small);
        let error = Reader::new("apply", 8 << 20).outcome(two).unwrap_err();
        let EngineError::LimitExceeded { limit, message } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*limit, "output");
        assert!(message.contains("250000 JSON values"), "{message}");
    }

    #[test]
    fn polls_are_neither_a_busy_loop_nor_forgotten() {
        for (given, expected) in [
            (0, MIN_POLL),
            (50, Duration::from_millis(50)),
            (u32::MAX, MAX_POLL),
        ] {
            let outcome = Reader::new("apply", 1000)
                .outcome(pending(100, given))
                .unwrap();
            let Outcome::Pending(pending) = outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!(pending.poll_after, expected);
            assert_eq!(pending.message, "waits\u{fffd}");
        }
    }
}
