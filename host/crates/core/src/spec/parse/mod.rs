//! From bytes to a deployment, or to everything that is wrong with it.

pub(crate) mod document;
pub(crate) mod fields;
mod read;

#[cfg(test)]
mod tests;

use super::DeploymentSpec;
use crate::violation::Violation;

/// One request. 10,000 resources of 800 bytes fit.
pub const MAX_BODY_BYTES: usize = 8 << 20;
/// Resources in one deployment. A deployment is one run with one journal;
/// whoever has more has more than one deployment.
pub const MAX_RESOURCES: usize = 10_000;
/// Objects and arrays within each other, in one config. Deeper than any
/// chart's values or module's variables; the walks over a config recurse this
/// deep at most.
pub const MAX_CONFIG_DEPTH: usize = 64;
/// Explicit edges in one deployment: five per resource.
pub const MAX_DEPENDENCIES: usize = 50_000;
/// Labels of one deployment, as many as an AWS resource may have tags, and then some.
pub const MAX_LABELS: usize = 64;
/// Values of any kind in one request. 8 MiB of `{"a":{}}` would otherwise take
/// a hundred times as much memory as they take in the request.
pub const MAX_VALUES: usize = 250_000;
/// Like a Kubernetes label's key.
pub(crate) const MAX_LABEL_KEY: usize = 63;
/// A label is for selecting, not for documents.
pub(crate) const MAX_LABEL_VALUE: usize = 256;
/// Far more steps than anyone can tell apart.
pub const MAX_PRIORITY: i32 = 1000;
/// Long enough for a deployment that nobody wants to keep.
pub const MAX_TTL: std::time::Duration = std::time::Duration::from_secs(366 * 86_400);

/// Parses a deployment.
///
/// # Errors
/// Every violation at once, up to [`MAX_VIOLATIONS`](crate::violation::MAX_VIOLATIONS);
/// never empty. Of a text that is not JSON only the first is told, with line
/// and column.
pub fn parse(body: &[u8]) -> Result<DeploymentSpec, Vec<Violation>> {
    let document = document::read(body)?;
    read::deployment(document.value, document.violations)
}
