//! From bytes to a deployment, or to everything that is wrong with it.

use super::DeploymentSpec;
use crate::violation::Violation;

/// One request. 10,000 resources of 800 bytes fit.
pub const MAX_BODY_BYTES: usize = 8 << 20;
/// Resources in one deployment.
pub const MAX_RESOURCES: usize = 10_000;
/// Objects and arrays within each other, in one config.
pub const MAX_CONFIG_DEPTH: usize = 64;
/// Explicit edges in one deployment.
pub const MAX_DEPENDENCIES: usize = 50_000;
/// Labels of one deployment.
pub const MAX_LABELS: usize = 64;

/// Parses a deployment. Answers every violation at once, up to
/// [`MAX_VIOLATIONS`](crate::violation::MAX_VIOLATIONS), in the order of the document.
pub fn parse(body: &[u8]) -> Result<DeploymentSpec, Vec<Violation>> {
    let _ = body;
    todo!()
}
