//! Answers documents that are no JSON: an output, the state, and the schema in
//! its description. It uses the raw bindings, which the SDK's types would stop.
#![cfg_attr(
    not(target_family = "wasm"),
    allow(dead_code, reason = "only a component has exports")
)]
use nestor_sdk::bindings::{exports::nestor::engine::lifecycle::*, nestor::engine::types};

struct Hostile;

fn unsupported<T>() -> Result<T, Error> {
    Err(Error::Unsupported("a hostile engine".into()))
}

impl Guest for Hostile {
    fn describe() -> Description {
        Description {
            name: "invalid-json".into(),
            version: "0.1.0".into(),
            summary: "A hostile engine for tests".into(),
            definition_schema: "true".into(),
            features: Features::empty(),
        }
    }
    fn check() -> Result<(), Error> {
        Ok(())
    }
    fn validate(_: Context, _: Request) -> Result<Vec<String>, Error> {
        Ok(vec![])
    }
    fn plan(_: Context, _: Request) -> Result<ProposedChanges, Error> {
        unsupported()
    }
    fn apply(_: Context, _: Request) -> Result<Outcome, Error> {
        let output = types::Output {
            name: "endpoint".into(),
            value: "{not json".into(),
            sensitive: false,
        };
        Ok(Outcome::Ready(types::Settled {
            outputs: vec![output],
            state: "\u{0}".into(),
        }))
    }
    fn observe(_: Context, _: Request) -> Result<Outcome, Error> {
        unsupported()
    }
    fn drift(_: Context, _: Request) -> Result<ProposedChanges, Error> {
        unsupported()
    }
    fn destroy(_: Context, _: Request) -> Result<Outcome, Error> {
        unsupported()
    }
    fn render(_: Context, _: Request) -> Result<Rendered, Error> {
        unsupported()
    }
}

#[cfg(target_family = "wasm")]
nestor_sdk::bindings::export_bindings!(Hostile with_types_in nestor_sdk::bindings);
