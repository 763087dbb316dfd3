//! What will be run, in which order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::graph::Graph;
use crate::definition::OutputDeclaration;
use crate::ids::{Digest, EngineId, OutputName, ResourceName};
use crate::relation::Relations;
use crate::spec::{DeliveryMode, Policy};

/// A deployment with everything looked up and checked. Stored with its run, so
/// a resumed run does what was planned, whatever the catalog says by then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionPlan {
    /// In topological order: each comes after all it depends on, and otherwise
    /// in the order of the request.
    pub resources: Vec<PlannedResource>,
    /// Sorted by `to`, then `from`; at most one per pair; `from < to`.
    pub edges: Vec<PlannedEdge>,
    /// What to know although nothing is wrong.
    pub warnings: Vec<String>,
    /// Config schemas, by the digest of their definition, of those whose
    /// configs take outputs of others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<Digest, Value>,
}

/// One resource of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedResource {
    /// Unique within the plan.
    pub name: ResourceName,
    /// `name:version`, exact.
    pub catalog_ref: String,
    /// Of the definition and all of its files.
    pub definition_digest: Digest,
    /// What the engine sees at `/definition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition_folder: Option<PathBuf>,
    /// Who runs it.
    pub engine: EngineId,
    /// The definition's section for that engine.
    #[serde(with = "shared")]
    pub section: Arc<Value>,
    /// What it will offer.
    pub declared_outputs: BTreeMap<OutputName, OutputDeclaration>,
    /// As requested, references still in it.
    pub config: Value,
    /// Indexes into the plan's resources, sorted, each smaller than its own.
    pub depends_on: Vec<u32>,
    /// The resource's own, else the deployment's.
    pub policy: Policy,
    /// How what it renders reaches its target.
    pub delivery: DeliveryMode,
    /// What its definition says of others and of the real thing.
    #[serde(default, skip_serializing_if = "is_none")]
    pub relations: Relations,
}

/// Why one resource waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedEdge {
    /// Goes first; an index into the plan's resources.
    pub from: u32,
    /// Depends on it; an index into the plan's resources.
    pub to: u32,
    /// Asked for under `dependencies`.
    pub explicit: bool,
    /// Implied by a reference.
    pub reference: bool,
}

fn is_none(relations: &Relations) -> bool {
    relations == &Relations::default()
}

impl ExecutionPlan {
    /// The place of a resource.
    #[must_use]
    pub fn index_of(&self, name: &ResourceName) -> Option<usize> {
        self.resources.iter().position(|r| &r.name == name)
    }

    /// The plan's graph: node numbers are indexes into `resources`.
    #[must_use]
    pub fn graph(&self) -> Graph {
        let edges: Vec<(u32, u32)> = self.edges.iter().map(|e| (e.from, e.to)).collect();
        Graph::new(self.resources.len(), &edges)
    }
}

/// Shared JSON, written out like the JSON itself.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    pub(super) fn serialize<S: Serializer>(value: &Arc<Value>, s: S) -> Result<S::Ok, S::Error> {
        value.as_ref().serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Arc<Value>, D::Error> {
        Value::deserialize(d).map(Arc::new)
    }
}
