//! Checks a specification against what it names, and orders it.

use std::collections::BTreeMap;

use super::{Definitions, ExecutionPlan};
use crate::ids::EngineId;
use crate::ports::EngineHead;
use crate::spec::DeploymentSpec;
use crate::violation::Violation;

/// Plans a deployment. Answers every violation at once, up to
/// [`MAX_VIOLATIONS`](crate::violation::MAX_VIOLATIONS).
///
/// `definitions` must hold an answer for each of [`catalog_refs`](super::catalog_refs).
pub fn plan(
    spec: &DeploymentSpec,
    definitions: &Definitions,
    engines: &BTreeMap<EngineId, EngineHead>,
) -> Result<ExecutionPlan, Vec<Violation>> {
    let _ = (spec, definitions, engines);
    todo!()
}
