//! Parts of a deployment, and plans in files.

use std::path::Path;

use clap::Args;
use nestor_client::{Part, Plan, Reply};
use nestor_core::ids::Digest;
use serde_json::Value;

use super::Failure;

/// A plan's JSON is bounded by the server's answer.
const MAX_PLAN_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PartArgs {
    /// Work on this resource and what it depends on only; may be given several times
    #[arg(long, value_name = "NAME", num_args = 1..)]
    target: Vec<String>,
    /// Work only on what differs from what is deployed, and on what depends on it
    #[arg(long, conflicts_with = "target")]
    affected: bool,
}

impl PartArgs {
    pub(crate) fn part(&self) -> Part {
        Part {
            targets: self.target.clone(),
            affected: self.affected,
        }
    }

    fn is_whole(&self) -> bool {
        self.target.is_empty() && !self.affected
    }
}

/// Keeps a plan, and which part it is of.
pub(crate) fn write(path: &Path, plan: &Reply<Plan>, part: &PartArgs) -> Result<(), Failure> {
    let mut document = plan.raw.clone();
    if let Value::Object(fields) = &mut document {
        fields.insert("targets".into(), part.target.clone().into());
        fields.insert("affected".into(), part.affected.into());
    }
    std::fs::write(path, format!("{document:#}\n"))
        .map_err(|e| Failure::local(format!("{} cannot be written: {e}", path.display())))
}

/// The digest of a plan, given as such or as the file that keeps it, and the
/// part that it is of.
pub(crate) fn named(text: &str, part: &PartArgs) -> Result<(String, Part), Failure> {
    if let Ok(digest) = text.parse::<Digest>() {
        return Ok((digest.to_string(), part.part()));
    }
    let cannot = |why: String| {
        Failure::invalid(format!(
            "{text} is neither the digest of a plan nor a file that `nestor plan --out` wrote: {why}"
        ))
    };
    let size = std::fs::metadata(text)
        .map_err(|e| cannot(e.to_string()))?
        .len();
    if size > MAX_PLAN_BYTES {
        return Err(cannot(format!("it has {size} bytes")));
    }
    let bytes = std::fs::read(text).map_err(|e| cannot(e.to_string()))?;
    let document: Value = serde_json::from_slice(&bytes).map_err(|e| cannot(e.to_string()))?;
    let digest = document["digest"]
        .as_str()
        .and_then(|d| d.parse::<Digest>().ok());
    let digest = digest.ok_or_else(|| cannot("it has no digest".into()))?;
    if !part.is_whole() {
        return Ok((digest.to_string(), part.part()));
    }
    let targets = document["targets"].as_array().into_iter().flatten();
    let part = Part {
        targets: targets
            .filter_map(|t| t.as_str().map(str::to_owned))
            .collect(),
        affected: document["affected"].as_bool().unwrap_or(false),
    };
    Ok((digest.to_string(), part))
}
