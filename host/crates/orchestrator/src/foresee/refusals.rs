//! What engines refuse to plan.

use nestor_core::engine::EngineError;
use nestor_core::planner::PlannedResource;
use nestor_core::spec::DeploymentSpec;
use nestor_core::violation::{Violation, ViolationCode};

/// An engine's refusal as violations of the request.
pub(super) fn refusals(
    spec: &DeploymentSpec,
    planned: &PlannedResource,
    error: &EngineError,
) -> Vec<Violation> {
    let base = super::config_pointer(spec, planned);
    match error {
        EngineError::Invalid(found) => found
            .iter()
            .map(|v| {
                Violation::new(
                    ViolationCode::EngineRefused,
                    format!("{base}{}", v.path),
                    format!(
                        "engine {} refuses resource {}: {}",
                        planned.engine, planned.name, v.message
                    ),
                )
            })
            .collect(),
        EngineError::Denied(_)
        | EngineError::Conflict(_)
        | EngineError::Missing(_)
        | EngineError::Transient { .. }
        | EngineError::Failed(_)
        | EngineError::Unsupported(_)
        | EngineError::Trapped(_)
        | EngineError::LimitExceeded { .. }
        | EngineError::Unavailable { .. } => vec![Violation::new(
            ViolationCode::EngineRefused,
            base,
            format!(
                "engine {} cannot plan resource {}: {error}",
                planned.engine, planned.name
            ),
        )],
    }
}
