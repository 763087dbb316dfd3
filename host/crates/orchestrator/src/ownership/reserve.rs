//! When a revision is accepted that will not wait: its things are reserved in
//! the batch that accepts it, so that of two that want the same, one is refused
//! at once. A reservation is an owner's document like any other. It is let go
//! when its revision has left the inbox without bringing the thing about.

use std::collections::BTreeSet;

use nestor_core::ids::ResourceName;
use nestor_core::planner::ExecutionPlan;
use nestor_core::ports::{Batch, Guard, StoreError};
use nestor_core::spec::{DeploymentSpec, OnConflict};
use nestor_core::violation::{Violation, ViolationCode};

use super::adopt::{Looked, Wanting, look};
use super::{HoldRecord, OwnerRecord, has_it, known_before};
use crate::context::Context;
use crate::records::{ResourceRecord, encode, key};

/// Things of a deployment that others have and do not hand over, as far as
/// that is known now.
pub(crate) async fn taken(
    context: &Context,
    spec: &DeploymentSpec,
    plan: &ExecutionPlan,
) -> Result<Vec<Violation>, StoreError> {
    let mut violations = Vec::new();
    match spec.strategy.on_conflict {
        OnConflict::Fail => {}
        OnConflict::Queue => return Ok(violations),
        OnConflict::Adopt => {
            let refused = adoptions(context, spec, plan, None).await?.refused;
            let refused = refused.into_iter();
            return Ok(refused
                .map(|(resource, message)| violation(spec, &resource, message))
                .collect());
        }
    }
    for (identity, resource) in known_before(spec, 1, plan, None) {
        let owner = context.read::<OwnerRecord>(&key::owner(&identity)).await?;
        if let Some(owner) = owner.filter(|owner| owner.deployment != spec.id) {
            violations.push(violation(spec, &resource, has_it(&resource, &owner)));
        }
    }
    Ok(violations)
}

/// What a deployment would take over as things are now.
pub(crate) async fn adoptions(
    context: &Context,
    spec: &DeploymentSpec,
    plan: &ExecutionPlan,
    part: Option<&BTreeSet<ResourceName>>,
) -> Result<Looked, StoreError> {
    if spec.strategy.on_conflict != OnConflict::Adopt {
        return Ok(Looked::default());
    }
    let deployed = context
        .read_all::<ResourceRecord>(&key::resources(&spec.id))
        .await?;
    let deployed: Vec<ResourceRecord> = deployed.into_iter().map(|(_, r)| r).collect();
    let wanting = Wanting {
        spec,
        plan,
        deployed: &deployed,
    };
    look(context, wanting, &known_before(spec, 1, plan, part)).await
}

fn violation(spec: &DeploymentSpec, resource: &ResourceName, message: String) -> Violation {
    let place = spec.resources.iter().position(|r| &r.name == resource);
    Violation::new(
        ViolationCode::SameThing,
        format!("/resources/{}", place.unwrap_or_default()),
        message,
    )
}

/// What is reserved in the batch that accepts a revision.
pub(crate) struct Reserved {
    /// Whether anything is.
    pub(crate) some: bool,
    /// What somebody else has; then the batch is not to be committed.
    pub(crate) violations: Vec<Violation>,
}

/// Reserves what a revision will be. Whoever is faster fails its guards.
pub(crate) async fn reserve(
    context: &Context,
    spec: &DeploymentSpec,
    plan: &ExecutionPlan,
    revision: u64,
    part: Option<&BTreeSet<ResourceName>>,
    batch: &mut Batch,
) -> Result<Reserved, StoreError> {
    let mut reserved = Reserved {
        some: false,
        violations: Vec::new(),
    };
    if spec.strategy.on_conflict != OnConflict::Fail {
        return Ok(reserved);
    }
    for (identity, resource) in known_before(spec, revision, plan, part) {
        let at = key::owner(&identity);
        match context.read_raw::<OwnerRecord>(&at).await? {
            None => {
                let mine = OwnerRecord {
                    identity: identity.clone(),
                    deployment: spec.id.clone(),
                    resource: resource.clone(),
                    waiters: Vec::new(),
                };
                batch
                    .guard(Guard::Absent(at.clone()))
                    .put(at, encode(&mine));
            }
            Some((owner, raw)) if owner.deployment == spec.id => {
                // Under another name, its run decides.
                if owner.resource != resource {
                    continue;
                }
                batch.guard(Guard::Equals(at, raw));
            }
            Some((owner, _)) => {
                let message = has_it(&resource, &owner);
                reserved
                    .violations
                    .push(violation(spec, &resource, message));
                continue;
            }
        }
        let hold = HoldRecord {
            identity: identity.clone(),
            resource,
            reserved: Some(revision),
        };
        batch.put(key::hold(&spec.id, &identity), encode(&hold));
        reserved.some = true;
    }
    Ok(reserved)
}
