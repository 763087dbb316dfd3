//! A test engine: it manages nothing. Its outputs are its config, and what a
//! test wants to see go wrong is asked for under the config's key `noop`.
//!
//! Not for production; it exists for the project's own tests and benchmarks.

use std::time::Duration;

use nestor_sdk::{
    Context, Description, Engine, Error, Features, Host, JsonType, Outcome, Output, Pending,
    ProposedChanges, Purpose, Rendered, Request, Settled, Value, json,
};
use serde::Deserialize;

/// How long the host waits between polls of a `pending` operation unless a test
/// asks for something else: short, so that tests are.
const POLL: Duration = Duration::from_millis(20);

/// What a test asks for; nothing by default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// `apply` fails with this text.
    fail: Option<String>,
    /// `destroy` fails with this text.
    fail_destroy: Option<String>,
    /// `apply` and `validate` refuse the request with this text.
    invalid: Option<String>,
    /// The first so many calls of `apply` of one operation fail for a while.
    transient: u32,
    /// `apply` answers pending, and so do so many calls of `observe`.
    pending: u32,
    /// Milliseconds from a pending answer to the next look.
    poll_ms: Option<u64>,
    /// `apply` takes so long.
    sleep_ms: u64,
    /// `plan` takes so long.
    plan_sleep_ms: u64,
    /// `apply` panics.
    trap: bool,
    /// `apply` counts itself in the store under `applied/<operation id>`, and
    /// `observe` knows from it whether an operation took effect.
    count: bool,
}

/// The engine.
#[derive(Debug, Default)]
pub struct Noop;

impl Engine for Noop {
    fn describe(&self) -> Description {
        Description::new(
            "noop",
            env!("CARGO_PKG_VERSION"),
            "Test engine: manages nothing, outputs are its config",
        )
        .schema(json!({"type": "object"}))
        .features(Features {
            render: true,
            drift: true,
            ..Features::default()
        })
    }

    fn validate(&self, _host: &dyn Host, request: &Request) -> Result<Vec<String>, Error> {
        match behaviour(request)?.invalid {
            Some(text) => Err(Error::invalid("/noop/invalid", text)),
            None => Ok(Vec::new()),
        }
    }

    fn plan(&self, _host: &dyn Host, request: &Request) -> Result<ProposedChanges, Error> {
        std::thread::sleep(Duration::from_millis(behaviour(request)?.plan_sleep_ms));
        let prior = request.prior.as_ref().map(|prior| &prior.config);
        let proposed = ProposedChanges::diff(prior, Some(&request.config));
        Ok(outputs(request)
            .into_iter()
            .fold(proposed, |proposed, output| {
                let mut proposed = proposed.known_output(output.name, output.value);
                let last = proposed.outputs.last_mut().expect("just added");
                last.sensitive = output.sensitive;
                proposed
            }))
    }

    fn apply(&self, host: &dyn Host, request: &Request) -> Result<Outcome, Error> {
        let behaviour = behaviour(request)?;
        assert!(!behaviour.trap, "the test asked for a trap");
        if behaviour.sleep_ms > 0 {
            host.progress(Some(50), "sleeping");
            std::thread::sleep(Duration::from_millis(behaviour.sleep_ms));
        }
        if let Some(text) = behaviour.invalid {
            return Err(Error::invalid("/noop/invalid", text));
        }
        if let Some(text) = behaviour.fail {
            return Err(Error::Failed(text));
        }
        if behaviour.transient > 0 {
            let tries = count(host, &format!("transient/{}", request.context.operation_id))?;
            if tries <= behaviour.transient {
                return Err(Error::transient(format!(
                    "failure {tries} of {}",
                    behaviour.transient
                )));
            }
        }
        if behaviour.count {
            count(host, &applied(&request.context))?;
        }
        match behaviour.pending {
            0 => Ok(settled(request)),
            polls => Ok(pending(polls, &behaviour)),
        }
    }

    fn observe(&self, host: &dyn Host, request: &Request) -> Result<Outcome, Error> {
        if request.context.purpose == Purpose::Destroy {
            return Ok(Settled::new().ready());
        }
        let behaviour = behaviour(request)?;
        let left = request
            .prior
            .as_ref()
            .and_then(|prior| prior.state["polls_left"].as_u64());
        match left {
            Some(0 | 1) => Ok(settled(request)),
            Some(left) => Ok(pending(
                u32::try_from(left - 1).unwrap_or(u32::MAX),
                &behaviour,
            )),
            None if behaviour.count && host.store_get(&applied(&request.context))?.is_some() => {
                Ok(settled(request))
            }
            None => Err(Error::Missing(
                "nothing is recorded of this operation".into(),
            )),
        }
    }

    fn drift(&self, _host: &dyn Host, request: &Request) -> Result<ProposedChanges, Error> {
        let prior = request.prior.as_ref().map(|prior| &prior.config);
        Ok(ProposedChanges::diff(prior, prior))
    }

    fn destroy(&self, _host: &dyn Host, request: &Request) -> Result<Outcome, Error> {
        match behaviour(request)?.fail_destroy {
            Some(text) => Err(Error::Failed(text)),
            None => Ok(Settled::new().ready()),
        }
    }

    fn render(&self, _host: &dyn Host, request: &Request) -> Result<Rendered, Error> {
        let mut rendered =
            Rendered::new().manifest(format!("{}.json", request.name), request.config.to_string());
        rendered.outputs = outputs(request);
        Ok(rendered)
    }
}

fn behaviour(request: &Request) -> Result<Behaviour, Error> {
    match request.config.get("noop") {
        None => Ok(Behaviour::default()),
        Some(asked) => Behaviour::deserialize(asked)
            .map_err(|error| Error::invalid("/noop", error.to_string())),
    }
}

/// Adds one to a counter in the store and answers it.
fn count(host: &dyn Host, key: &str) -> Result<u32, Error> {
    let before = host
        .store_get(key)?
        .and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse::<u32>().ok());
    let now = before.unwrap_or(0) + 1;
    host.store_put(key, now.to_string().as_bytes())?;
    Ok(now)
}

fn applied(context: &Context) -> String {
    format!("applied/{}", context.operation_id)
}

fn pending(left: u32, behaviour: &Behaviour) -> Outcome {
    let of = behaviour.pending;
    let percent = 100 - 100 * left.min(of) / of.max(1);
    let poll = behaviour.poll_ms.map_or(POLL, Duration::from_millis);
    Pending::new(poll, format!("{left} polls left"))
        .percent(u8::try_from(percent).unwrap_or(100))
        .state(json!({"polls_left": left}))
        .wait()
}

fn settled(request: &Request) -> Outcome {
    Settled::new()
        .outputs(outputs(request))
        .state(json!({}))
        .ready()
}

/// Each declared output: the config's value of that name, or something of the
/// declared type that tells which output it is.
fn outputs(request: &Request) -> Vec<Output> {
    let made_up = |name: &str, json_type: JsonType| -> Value {
        match json_type {
            JsonType::Number | JsonType::Integer => json!(name.len()),
            JsonType::Boolean => json!(true),
            JsonType::Array => json!([name]),
            JsonType::Object => json!({"name": name}),
            JsonType::Null => Value::Null,
            JsonType::String | JsonType::Any => json!(format!("{}.{name}", request.name)),
        }
    };
    let of = |(name, declared): (&String, &nestor_sdk::DeclaredOutput)| {
        let value = request.config.get(name).cloned();
        Output::new(
            name,
            value.unwrap_or_else(|| made_up(name, declared.json_type)),
        )
        .sensitive(declared.sensitive)
    };
    request.declared_outputs.iter().map(of).collect()
}

nestor_sdk::export!(Noop);
