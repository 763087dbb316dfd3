//! Waiting for an engine that is being compiled, as after a start.

use nestor_core::ids::EngineId;
use nestor_core::ports::EngineStatus;

use crate::context::Context;

/// For how long at most. The largest takes half a minute on two cores; who
/// still waits then is told what the engine answers.
const WAIT_MS: u64 = 600_000;
/// Between two looks at whether it is ready.
const LOOK_MS: u64 = 250;

/// Waits while the head of an engine is being prepared.
pub(crate) async fn prepared(context: &Context, engine: &EngineId) {
    let preparing = || {
        let head = context.engines.head(engine);
        head.is_ok_and(|head| head.status == EngineStatus::Preparing)
    };
    let give_up = context.now().plus_millis(WAIT_MS);
    while preparing() && context.now() < give_up {
        let next = context.now().plus_millis(LOOK_MS);
        context.surroundings.sleep_until(next).await;
    }
}
