//! What the engines see of the coordinator's order.

use nestor_core::engine::Purpose;
use nestor_core::ports::{EngineCall, Function};
use serde_json::Value;

use super::{Inner, output_of};
use crate::Invariant;
use crate::store::SimStore;

/// Nothing begins before what it needs, and nothing goes before what needs it.
pub(super) fn check_order(
    inner: &mut Inner,
    call: &EngineCall,
    place: &(String, String),
    forward: bool,
) {
    let operation = &call.context.operation_id;
    if forward && call.context.purpose == Purpose::Apply {
        for (needed, value) in call.request.config["needs"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let there = inner.things.get(&(place.0.clone(), needed.clone()));
            let is = there.map(|thing| output_of(&place.0, needed, &thing.config));
            if is.as_deref() != value.as_str() {
                let detail = format!("{operation} needs {needed} = {value}, which is {is:?}");
                inner.breach(Invariant::DependenciesFirst, detail);
            }
        }
    }
    // What needs this one must be undone, or gone, before it.
    let users: Vec<String> = inner
        .things
        .iter()
        .filter(|((d, r), _)| d == &place.0 && r != &place.1)
        .filter(|(_, thing)| thing.config["needs"].get(&place.1).is_some())
        .filter(|(_, thing)| {
            let same_run = run_of(&thing.operation) == run_of(operation);
            if forward {
                call.context.purpose == Purpose::Destroy
            } else {
                same_run && thing.operation.ends_with("/do")
            }
        })
        .map(|((_, r), _)| r.clone())
        .collect();
    if !users.is_empty() {
        let detail = format!("{operation} while {} still stand on it", users.join(", "));
        inner.breach(Invariant::UnwindsInReverse, detail);
    }
}

fn run_of(operation: &str) -> &str {
    operation.split('/').nth(1).unwrap_or_default()
}

/// A thing is its engine's and stays where it is, and that is where its
/// deployment says that it is.
pub(super) fn check_place(
    inner: &mut Inner,
    host: &SimStore,
    call: &EngineCall,
    place: &(String, String),
) {
    let (engine, environment) = (&call.engine, &call.context.environment);
    let operation = &call.context.operation_id;
    let other = inner
        .things
        .get(place)
        .filter(|thing| &thing.engine != engine || &thing.environment != environment)
        .map(|thing| format!("{} in {}", thing.engine, thing.environment));
    if let Some(other) = other {
        let detail = format!("{operation} by {engine} in {environment}, where it is {other}'s");
        inner.breach(Invariant::WorldMatchesStatus, detail);
    }
    let said = host.environment(&place.0);
    if said.is_some_and(|said| said != environment.as_str()) {
        let detail = format!("{operation} in {environment}, but its deployment is elsewhere");
        inner.breach(Invariant::WorldMatchesStatus, detail);
    }
}

/// A real thing is touched for its owner, and is there once.
pub(super) fn check_owner(
    inner: &mut Inner,
    host: &SimStore,
    call: &EngineCall,
    place: &(String, String),
) {
    let thing = |config: &Value| config["thing"].as_str().map(str::to_owned);
    let there = inner.things.get(place).and_then(|t| thing(&t.config));
    let wanted = match call.function {
        Function::Destroy => None,
        _ => thing(&call.request.config),
    };
    let operation = &call.context.operation_id;
    for name in there.iter().chain(&wanted) {
        let owner = host.owner(&format!("thing/{name}"));
        let mine = owner.as_ref().is_some_and(|(deployment, resource)| {
            deployment == call.context.deployment.as_str() && resource == call.request.name.as_str()
        });
        if !mine {
            let detail = format!("{operation} touches {name}, whose owner is {owner:?}");
            inner.breach(Invariant::OneOwner, detail);
        }
    }
    let twice = inner
        .things
        .iter()
        .find(|(other, is)| *other != place && wanted.is_some() && thing(&is.config) == wanted);
    if let Some((other, _)) = twice {
        let detail = format!("{operation} makes {wanted:?} again, which is at {other:?}");
        inner.breach(Invariant::OneOwner, detail);
    }
}
