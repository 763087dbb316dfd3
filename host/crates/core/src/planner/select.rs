//! Which engine runs a resource, and how what it makes reaches its target.

use std::collections::BTreeMap;

use crate::definition::Definition;
use crate::ids::EngineId;
use crate::ports::{EngineHead, EngineStatus};
use crate::spec::DeliveryMode;
use crate::text::{did_you_mean, listed};
use crate::violation::ViolationCode;

/// Engines of the host's own that render manifests, for the minute in which
/// one is still being compiled and cannot say so itself.
const KNOWN_TO_RENDER: [&str; 2] = ["helm", "crossplane"];

/// The engine that is asked for, if the definition allows it; else the
/// definition's first that there is, one that could be loaded before one that
/// could not.
pub(super) fn select_engine(
    definition: &Definition,
    asked: Option<&EngineId>,
    engines: &BTreeMap<EngineId, EngineHead>,
) -> Result<EngineId, (ViolationCode, String)> {
    let allowed = || definition.engines.iter().map(|(id, _)| id);
    let loaded = || engines.keys();
    let engine = match asked {
        Some(asked) if allowed().any(|id| id == asked) => asked,
        Some(asked) if !engines.contains_key(asked) => {
            let hint = did_you_mean(asked.as_str(), loaded().map(EngineId::as_str));
            let message = format!(
                "there is no engine {asked:?}{hint} (loaded: {})",
                listed(loaded())
            );
            return Err((ViolationCode::UnknownEngine, message));
        }
        Some(asked) => {
            let message = format!(
                "{} cannot be run by engine {asked:?}; it can be run by: {}",
                definition.reference(),
                listed(allowed())
            );
            return Err((ViolationCode::EngineNotAllowed, message));
        }
        None => {
            let there = || allowed().filter(|id| engines.contains_key(*id));
            let usable = there().find(|id| !matches!(engines[*id].status, EngineStatus::Failed(_)));
            usable.or_else(|| there().next()).ok_or_else(|| {
                let message = format!(
                    "{} is run by {}, and no such engine is loaded (loaded: {}); load it, or use another definition",
                    definition.reference(),
                    listed(allowed()),
                    listed(loaded())
                );
                (ViolationCode::UnknownEngine, message)
            })?
        }
    };
    match engines.get(engine).map(|head| &head.status) {
        Some(EngineStatus::Ready | EngineStatus::Preparing) => Ok(engine.clone()),
        Some(EngineStatus::Failed(why)) => {
            let message = format!(
                "engine {engine:?} could not be loaded, so nothing can be run by it: {why}"
            );
            Err((ViolationCode::UnknownEngine, message))
        }
        None => {
            let message = format!(
                "engine {engine:?} is not loaded, although {} allows it (loaded: {})",
                definition.reference(),
                listed(loaded())
            );
            Err((ViolationCode::UnknownEngine, message))
        }
    }
}

/// How a resource is delivered, and what to know about that.
pub(super) fn deliver(
    asked: Option<DeliveryMode>,
    definition: &Definition,
    engine: &EngineId,
    head: Option<&EngineHead>,
) -> (DeliveryMode, Option<String>) {
    let renders = head.is_some_and(|head| match head.status {
        EngineStatus::Preparing => KNOWN_TO_RENDER.contains(&engine.as_str()),
        EngineStatus::Ready | EngineStatus::Failed(_) => head.features.render,
    });
    match (asked.or(definition.delivery), renders) {
        (Some(DeliveryMode::Direct), _) | (None, false) => (DeliveryMode::Direct, None),
        (Some(DeliveryMode::Gitops) | None, true) => (DeliveryMode::Gitops, None),
        (Some(DeliveryMode::Gitops), false) => {
            let warning = format!(
                "engine {engine} renders no manifests, so it is applied directly instead of by GitOps"
            );
            (DeliveryMode::Direct, Some(warning))
        }
    }
}
