//! What is ready in an environment, by definition: an index beside the
//! resources' own documents, written in the same batches as they are.

use std::collections::BTreeMap;

use nestor_core::ids::{DeploymentId, EnvironmentName, ResourceName};
use nestor_core::planner::Definitions;
use nestor_core::ports::{Batch, StoreError};
use nestor_core::relation::Neighbour;
use nestor_core::spec::{CatalogRef, DeploymentSpec, VersionSelector};

use crate::context::Context;
use crate::records::{ResourceRecord, decode, encode, key};

/// Resources of one definition in one environment that are looked at. With
/// more there is most likely one that does, and none that is missed for long.
pub(crate) const MAX_NEIGHBOURS: usize = 1_000;

/// Notes that a resource is ready, or as it is now, or no longer there.
pub(crate) fn note(
    batch: &mut Batch,
    environment: &EnvironmentName,
    deployment: &DeploymentId,
    before: Option<&ResourceRecord>,
    now: Option<&ResourceRecord>,
) {
    let keys = |neighbour: &Neighbour| {
        let place = format!("{environment}/{deployment}/{}", neighbour.resource);
        let relations = &neighbour.relations;
        let targets = relations.requires.iter().chain(&relations.conflicts);
        let mut keys: Vec<String> = targets
            .map(|relation| format!("{}{place}", key::related(&relation.definition)))
            .collect();
        keys.push(format!("{}{place}", key::uses(&neighbour.definition)));
        keys
    };
    let now = now.and_then(|record| neighbour(deployment, record));
    let fresh: Vec<String> = now.as_ref().map(keys).unwrap_or_default();
    let before = before.and_then(|record| neighbour(deployment, record));
    for stale in before.as_ref().map(keys).unwrap_or_default() {
        if !fresh.contains(&stale) {
            batch.delete(stale);
        }
    }
    if let Some(now) = now {
        for key in fresh {
            batch.put(key, encode(&now));
        }
    }
}

fn neighbour(deployment: &DeploymentId, record: &ResourceRecord) -> Option<Neighbour> {
    let reference: CatalogRef = record.catalog_ref.parse().ok()?;
    let VersionSelector::Exact(version) = reference.version else {
        return None;
    };
    Some(Neighbour {
        deployment: deployment.clone(),
        resource: record.name.clone(),
        definition: reference.name,
        version,
        engine: record.engine.clone(),
        relations: record.relations.beyond(),
    })
}

/// Looks up what the definitions of a deployment have to go with.
pub(crate) async fn meet(
    context: &Context,
    spec: &DeploymentSpec,
    definitions: &mut Definitions,
) -> Result<(), StoreError> {
    let mut prefixes: Vec<String> = definitions
        .beyond()
        .iter()
        .map(key::uses)
        .chain(definitions.found().map(|d| key::related(&d.name)))
        .map(|of| format!("{of}{}/", spec.environment))
        .collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    let mut met: BTreeMap<(DeploymentId, ResourceName), Neighbour> = BTreeMap::new();
    for prefix in prefixes {
        for neighbour in under(context, &prefix).await?.0 {
            if neighbour.deployment != spec.id {
                let at = (neighbour.deployment.clone(), neighbour.resource.clone());
                met.insert(at, neighbour);
            }
        }
    }
    for neighbour in met.into_values() {
        definitions.meet(neighbour);
    }
    Ok(())
}

/// Those under a prefix of the index, and whether there are more.
pub(crate) async fn under(
    context: &Context,
    prefix: &str,
) -> Result<(Vec<Neighbour>, bool), StoreError> {
    let page = context.store.scan(prefix, None, MAX_NEIGHBOURS).await?;
    let more = page.len() == MAX_NEIGHBOURS;
    if more {
        tracing::warn!(
            prefix,
            limit = MAX_NEIGHBOURS,
            "not every resource was looked at"
        );
    }
    let all: Result<Vec<Neighbour>, StoreError> =
        page.iter().map(|(at, bytes)| decode(at, bytes)).collect();
    Ok((all?, more))
}
