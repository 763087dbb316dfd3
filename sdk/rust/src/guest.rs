//! Between the raw bindings and the engine's trait.

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::bindings::exports::nestor::engine::lifecycle as raw;
use crate::bindings::nestor::engine::{definition, report, secrets, store, tools, types};
use crate::host::{Child, File, Host, Invocation, Level, Line};
use crate::{
    Action, Engine, Error, JsonType, Outcome, Output, ProposedChanges, Purpose, Rendered, Request,
};

/// Makes the contract's functions of an engine's.
#[doc(hidden)]
#[derive(Debug)]
pub struct Adapter<E>(PhantomData<E>);

impl<E: Engine> raw::Guest for Adapter<E> {
    fn describe() -> raw::Description {
        let it = E::default().describe();
        let mut features = raw::Features::empty();
        features.set(raw::Features::RENDER, it.features.render);
        features.set(raw::Features::DRIFT, it.features.drift);
        features.set(raw::Features::ADOPT, it.features.adopt);
        features.set(raw::Features::TRAFFIC, it.features.traffic);
        raw::Description {
            name: it.name,
            version: it.version,
            summary: it.summary,
            definition_schema: it.definition_schema.to_string(),
            features,
        }
    }

    fn check() -> Result<(), types::Error> {
        E::default().check(&Live).map_err(error_out)
    }

    fn validate(c: types::Context, r: types::Request) -> Result<Vec<String>, types::Error> {
        call(
            c,
            r,
            |request| E::default().validate(&Live, request),
            |warnings| warnings,
        )
    }

    fn plan(c: types::Context, r: types::Request) -> Result<types::ProposedChanges, types::Error> {
        call(
            c,
            r,
            |request| E::default().plan(&Live, request),
            changes_out,
        )
    }

    fn apply(c: types::Context, r: types::Request) -> Result<types::Outcome, types::Error> {
        call(
            c,
            r,
            |request| E::default().apply(&Live, request),
            outcome_out,
        )
    }

    fn observe(c: types::Context, r: types::Request) -> Result<types::Outcome, types::Error> {
        call(
            c,
            r,
            |request| E::default().observe(&Live, request),
            outcome_out,
        )
    }

    fn drift(c: types::Context, r: types::Request) -> Result<types::ProposedChanges, types::Error> {
        call(
            c,
            r,
            |request| E::default().drift(&Live, request),
            changes_out,
        )
    }

    fn destroy(c: types::Context, r: types::Request) -> Result<types::Outcome, types::Error> {
        call(
            c,
            r,
            |request| E::default().destroy(&Live, request),
            outcome_out,
        )
    }

    fn render(c: types::Context, r: types::Request) -> Result<types::Rendered, types::Error> {
        call(
            c,
            r,
            |request| E::default().render(&Live, request),
            rendered_out,
        )
    }
}

fn call<T, R>(
    context: types::Context,
    request: types::Request,
    run: impl FnOnce(&Request) -> Result<T, Error>,
    out: impl FnOnce(T) -> R,
) -> Result<R, types::Error> {
    request_in(context, request)
        .and_then(|request| run(&request))
        .map(out)
        .map_err(error_out)
}

fn request_in(c: types::Context, r: types::Request) -> Result<Request, Error> {
    Ok(Request {
        context: crate::Context {
            operation_id: c.operation_id,
            purpose: match c.purpose {
                types::Purpose::Inspect => Purpose::Inspect,
                types::Purpose::Apply => Purpose::Apply,
                types::Purpose::Destroy => Purpose::Destroy,
            },
            deployment: c.deployment,
            revision: c.revision,
            environment: c.environment,
            composer: c.composer,
            attempt: c.attempt,
            traceparent: c.traceparent,
        },
        name: r.name,
        catalog_ref: r.catalog_ref,
        definition: document("definition", &r.definition)?,
        config: document("config", &r.config)?,
        declared_outputs: declared(&document("declared outputs", &r.declared_outputs)?)?,
        settings: document("settings", &r.settings)?,
        prior: r
            .prior
            .map(|prior| {
                Ok::<_, Error>(crate::Prior {
                    config: document("prior config", &prior.config)?,
                    outputs: prior
                        .outputs
                        .into_iter()
                        .map(output_in)
                        .collect::<Result<_, _>>()?,
                    state: document("prior state", &prior.state)?,
                })
            })
            .transpose()?,
    })
}

/// A document that is no JSON is the host's mistake, not the composer's. An
/// empty text counts as none.
fn document(what: &str, text: &str) -> Result<Value, Error> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(text)
        .map_err(|error| Error::Failed(format!("the {what} is no JSON: {error}")))
}

#[derive(Deserialize)]
struct RawDeclared {
    #[serde(rename = "type", default)]
    json_type: String,
    #[serde(default)]
    sensitive: bool,
}

fn declared(
    document: &Value,
) -> Result<std::collections::BTreeMap<String, crate::DeclaredOutput>, Error> {
    if document.is_null() {
        return Ok(Default::default());
    }
    let raw: std::collections::BTreeMap<String, RawDeclared> =
        crate::error::read(document, Some("the declared outputs"))?;
    let one = |raw: RawDeclared| crate::DeclaredOutput {
        json_type: JsonType::named(&raw.json_type),
        sensitive: raw.sensitive,
    };
    Ok(raw
        .into_iter()
        .map(|(name, raw)| (name, one(raw)))
        .collect())
}

fn output_in(output: types::Output) -> Result<Output, Error> {
    let value = document("prior output", &output.value)?;
    Ok(Output {
        name: output.name,
        value,
        sensitive: output.sensitive,
    })
}

fn output_out(output: Output) -> types::Output {
    types::Output {
        name: output.name,
        value: output.value.to_string(),
        sensitive: output.sensitive,
    }
}

fn changes_out(changes: ProposedChanges) -> types::ProposedChanges {
    types::ProposedChanges {
        action: match changes.action {
            Action::Noop => types::Action::Noop,
            Action::Create => types::Action::Create,
            Action::Update => types::Action::Update,
            Action::Replace => types::Action::Replace,
            Action::Delete => types::Action::Delete,
        },
        changes: changes
            .changes
            .into_iter()
            .map(|change| types::Change {
                path: change.path,
                before: change.before.map(|value| value.to_string()),
                after: change.after.map(|value| value.to_string()),
                sensitive: change.sensitive,
            })
            .collect(),
        outputs: changes
            .outputs
            .into_iter()
            .map(|output| types::PlannedOutput {
                name: output.name,
                known: output.known.map(|value| value.to_string()),
                json_type: output.json_type.name().into(),
                sensitive: output.sensitive,
            })
            .collect(),
        summary: changes.summary,
    }
}

fn outcome_out(outcome: Outcome) -> types::Outcome {
    match outcome {
        Outcome::Ready(settled) => types::Outcome::Ready(types::Settled {
            outputs: settled.outputs.into_iter().map(output_out).collect(),
            state: settled.state.to_string(),
        }),
        Outcome::Pending(pending) => types::Outcome::Pending(types::Pending {
            poll_after_ms: millis(pending.poll_after),
            percent: pending.percent,
            message: pending.message,
            state: pending.state.to_string(),
        }),
    }
}

fn rendered_out(rendered: Rendered) -> types::Rendered {
    types::Rendered {
        manifests: rendered
            .manifests
            .into_iter()
            .map(|manifest| types::Manifest {
                path: manifest.path,
                content: manifest.content,
            })
            .collect(),
        outputs: rendered.outputs.into_iter().map(output_out).collect(),
        notes: rendered.notes,
        state: rendered.state.to_string(),
    }
}

fn error_out(error: Error) -> types::Error {
    match error {
        Error::Invalid(violations) => types::Error::Invalid(
            violations
                .into_iter()
                .map(|violation| types::Violation {
                    path: violation.path,
                    message: violation.message,
                })
                .collect(),
        ),
        Error::Denied(text) => types::Error::Denied(text),
        Error::Conflict(text) => types::Error::Conflict(text),
        Error::Missing(text) => types::Error::Missing(text),
        Error::Transient {
            message,
            retry_after,
        } => types::Error::Transient(types::Transient {
            message,
            retry_after_ms: retry_after.map(millis),
        }),
        Error::Failed(text) => types::Error::Failed(text),
        Error::Unsupported(text) => types::Error::Unsupported(text),
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// The host that runs this component.
struct Live;

impl Host for Live {
    fn log(&self, level: Level, message: &str, fields: Value) {
        let level = match level {
            Level::Debug => report::Level::Debug,
            Level::Info => report::Level::Info,
            Level::Warn => report::Level::Warn,
            Level::Error => report::Level::Error,
        };
        report::log(level, message, &fields.to_string());
    }

    fn progress(&self, percent: Option<u8>, message: &str) {
        report::progress(percent.map(|percent| percent.min(100)), message);
    }

    fn definition_files(&self, under: &str) -> Result<Vec<File>, Error> {
        let files = definition::files(under).map_err(Error::Failed)?;
        Ok(files
            .into_iter()
            .map(|file| File {
                path: file.path,
                content: file.content,
            })
            .collect())
    }

    fn secret(&self, name: &str) -> Result<String, Error> {
        secrets::reference(name).map_err(Error::Denied)
    }

    fn store_get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        store::get(key).map_err(Error::transient)
    }

    fn store_put(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        store::put(key, value).map_err(Error::Failed)
    }

    fn store_delete(&self, key: &str) -> Result<(), Error> {
        store::delete(key).map_err(Error::transient)
    }

    fn store_keys(&self, prefix: &str) -> Result<Vec<String>, Error> {
        store::keys(prefix).map_err(Error::transient)
    }

    fn spawn(&self, invocation: Invocation) -> Result<Box<dyn Child>, Error> {
        let child = tools::spawn(&tools::Invocation {
            tool: invocation.tool,
            args: invocation.args,
            env: invocation.env,
            directory: invocation.directory,
            stdin: invocation.stdin,
            timeout_ms: millis(invocation.timeout),
        });
        Ok(Box::new(LiveChild(child.map_err(Error::Denied)?)))
    }

    fn work(&self) -> &Path {
        Path::new("/work")
    }

    fn definition(&self) -> &Path {
        Path::new("/definition")
    }
}

struct LiveChild(tools::Child);

impl Child for LiveChild {
    fn next_line(&mut self) -> Option<Line> {
        self.0.next_line().map(|line| Line {
            stderr: line.stderr,
            text: line.text,
        })
    }

    fn wait(&mut self) -> Result<i32, Error> {
        self.0.wait().map(|exit| exit.code).map_err(Error::Failed)
    }

    fn kill(&mut self) {
        self.0.kill();
    }
}
