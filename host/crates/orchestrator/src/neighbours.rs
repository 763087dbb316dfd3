//! What is ready in an environment, by definition: an index beside the
//! resources' own documents, written in the same batches as they are.

use std::collections::{BTreeMap, BTreeSet};

use nestor_core::ids::{DeploymentId, EngineId, EnvironmentName, ResourceName};
use nestor_core::planner::Definitions;
use nestor_core::ports::{Batch, StoreError};
use nestor_core::relation::{self, Neighbour, Relations};
use nestor_core::spec::{CatalogRef, DeploymentSpec, VersionSelector};

use crate::context::Context;
use crate::records::{ResourceRecord, RevisionRecord, decode, encode, key};

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
    of(
        deployment,
        &record.name,
        &record.catalog_ref,
        &record.engine,
        &record.relations,
    )
}

fn of(
    deployment: &DeploymentId,
    resource: &ResourceName,
    catalog_ref: &str,
    engine: &EngineId,
    relations: &Relations,
) -> Option<Neighbour> {
    let reference: CatalogRef = catalog_ref.parse().ok()?;
    let VersionSelector::Exact(version) = reference.version else {
        return None;
    };
    Some(Neighbour {
        deployment: deployment.clone(),
        resource: resource.clone(),
        definition: reference.name,
        version,
        engine: engine.clone(),
        relations: relations.beyond(),
    })
}

/// Why a revision that was accepted some time ago does not go with what is
/// ready around it now; none: it does.
pub(crate) async fn misfit(
    context: &Context,
    revision: &RevisionRecord,
) -> Result<Option<String>, StoreError> {
    let (id, spec) = (&revision.spec.id, &revision.spec);
    let ours = revision.plan.resources.iter();
    let ours: Vec<Neighbour> = ours
        .filter_map(|r| of(id, &r.name, &r.catalog_ref, &r.engine, &r.relations))
        .collect();
    let beyond = ours.iter().flat_map(|n| {
        let relations = n.relations.requires.iter().chain(&n.relations.conflicts);
        relations.map(|relation| key::uses(&relation.definition))
    });
    let towards = ours.iter().map(|n| key::related(&n.definition));
    let around = around(context, spec, beyond.chain(towards).collect()).await?;
    Ok(relation::misfit(&ours, &around))
}

/// Looks up what the definitions of a deployment have to go with.
pub(crate) async fn meet(
    context: &Context,
    spec: &DeploymentSpec,
    definitions: &mut Definitions,
) -> Result<(), StoreError> {
    let beyond = definitions.beyond();
    let of = beyond.iter().map(key::uses);
    let of = of.chain(definitions.found().map(|d| key::related(&d.name)));
    for neighbour in around(context, spec, of.collect()).await? {
        definitions.meet(neighbour);
    }
    Ok(())
}

/// What other deployments have under these prefixes of the index, in the
/// environment of this one.
async fn around(
    context: &Context,
    spec: &DeploymentSpec,
    of: BTreeSet<String>,
) -> Result<Vec<Neighbour>, StoreError> {
    let prefixes = of
        .into_iter()
        .map(|of| format!("{of}{}/", spec.environment));
    let mut met: BTreeMap<(DeploymentId, ResourceName), Neighbour> = BTreeMap::new();
    for prefix in prefixes {
        for neighbour in under(context, &prefix).await?.0 {
            if neighbour.deployment != spec.id {
                let at = (neighbour.deployment.clone(), neighbour.resource.clone());
                met.insert(at, neighbour);
            }
        }
    }
    Ok(met.into_values().collect())
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
