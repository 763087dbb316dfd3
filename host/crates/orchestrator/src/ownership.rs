//! Who has which real thing outside.
//!
//! A definition's `identity` names the thing that a resource is. Whoever
//! brings it about owns it: a document under the digest of the identity,
//! written under a guard before anything is done to it, and taken away once
//! the resource is gone. Only the owner's driver lets go, between two runs, so
//! no batch of a run can fail for it.
//!
//! Who waits for a thing stands in the owner's document: letting go and
//! queueing up guard on the same bytes, so nobody is overlooked. What waits
//! has no task and no timer; what it was asked to do stays on the list of what
//! is to be done, and so a crash loses no wake-up.
//!
//! | module | when |
//! |---|---|
//! | `reserve` | a revision is accepted that will not wait |
//! | `begin` | before its run |
//! | `late` | in its run, for an identity that hangs on an output |
//! | `wait` | somebody else has it |
//! | `adopt`, `take`, `handed` | somebody else has it, and hands it over |
//! | `release` | between two runs |

mod adopt;
mod begin;
mod handed;
mod late;
mod release;
mod reserve;
mod take;
mod wait;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use nestor_core::identity::{Belongs, Known};
use nestor_core::ids::{DeploymentId, ResourceName};
use nestor_core::planner::{ExecutionPlan, resolve_config};
use nestor_core::ports::StoreError;
use nestor_core::spec::DeploymentSpec;

use crate::context::Context;
use crate::driver::{Guarded, Stop};
use crate::lookup::outputs_unknown;
use crate::records::{DeploymentRecord, ResourceRecord, key};
pub(crate) use adopt::Adoption;
pub(crate) use handed::{HandoverRecord, Homes, gave_away, given_homes, handed_over};
pub(crate) use late::{Beginning, Late};
pub(crate) use release::halted;
pub(crate) use reserve::{adoptions, reserve, taken};
pub(crate) use take::Untaken;

/// Deployments that wait for one thing. More is a mistake of somebody's.
pub(crate) const MAX_WAITERS: usize = 64;
/// Deployments of which each waits for the next; whoever would be one more is
/// refused, because nobody can tell any more whether it closes a circle.
const MAX_CHAIN: usize = 64;
/// Tries against others who want the same things; each lost one means that
/// another got something.
const ATTEMPTS: usize = 64;

/// Who has a thing. Guarded on by whoever changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnerRecord {
    pub(crate) identity: String,
    pub(crate) deployment: DeploymentId,
    pub(crate) resource: ResourceName,
    /// Those that are told when it is free, in the order in which they came.
    #[serde(default)]
    pub(crate) waiters: Vec<DeploymentId>,
}

/// The same from the owner's side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HoldRecord {
    pub(crate) identity: String,
    pub(crate) resource: ResourceName,
    /// The last revision that was accepted with the thing for its own, if one
    /// was; kept as long as that revision waits, whatever is deployed.
    #[serde(default)]
    pub(crate) reserved: Option<u64>,
}

/// What a deployment waits for, while it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockRecord {
    pub(crate) identity: String,
    /// Its own resource.
    pub(crate) resource: ResourceName,
    pub(crate) owner: DeploymentId,
    pub(crate) owned: ResourceName,
    /// Why it is not handed over now, if this deployment would take it over.
    #[serde(default)]
    pub(crate) adopts: Option<String>,
    /// What other resources of its run would have to wait for after that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<BlockRecord>,
}

impl BlockRecord {
    pub(crate) fn of(resource: &ResourceName, owner: &OwnerRecord, adopts: Option<String>) -> Self {
        Self {
            identity: owner.identity.clone(),
            resource: resource.clone(),
            owner: owner.deployment.clone(),
            owned: owner.resource.clone(),
            adopts,
            also: Vec::new(),
        }
    }

    /// What a resource waits for.
    pub(crate) fn about(&self, resource: &str) -> Option<&Self> {
        let mut all = std::iter::once(self).chain(&self.also);
        all.find(|block| block.resource.as_str() == resource)
    }

    pub(crate) fn reason(&self) -> String {
        if let Some(why) = &self.adopts {
            return format!(
                "{} takes {:?} over from resource {} of deployment {} once that rests: {why}",
                self.resource, self.identity, self.owned, self.owner
            );
        }
        format!(
            "{} is the same real thing ({:?}) as resource {} of deployment {}; it waits until that one lets go",
            self.resource, self.identity, self.owned, self.owner
        )
    }
}

/// How it goes on with a revision.
pub(crate) enum Next {
    /// With what is to be taken over before.
    Begin(Vec<Adoption>),
    /// The request is dealt with.
    Over,
    Refused(String),
}

/// The identities of a revision that are known before it runs.
fn known_before(
    spec: &DeploymentSpec,
    revision: u64,
    plan: &ExecutionPlan,
    part: Option<&BTreeSet<ResourceName>>,
) -> Vec<(String, ResourceName)> {
    let in_part = |name: &ResourceName| part.is_none_or(|part| part.contains(name));
    let resources = plan.resources.iter().filter(|r| in_part(&r.name));
    let known = resources.filter_map(|resource| {
        let identity = resource.relations.identity.as_ref()?;
        let mut lookup = |reference: &_| outputs_unknown(spec, revision, plan, reference);
        let resolved = resolve_config(&resource.config, &mut lookup).ok()?;
        match identity.of(Belongs::of(spec), &resolved.config) {
            Known::Whole(identity) => Some((identity, resource.name.clone())),
            Known::NotYet | Known::Never { .. } => None,
        }
    });
    known.collect()
}

fn same_as(resource: &ResourceName, owner: &OwnerRecord) -> String {
    format!(
        "resource {resource} is the same real thing ({:?}) as resource {} of deployment {},",
        owner.identity, owner.resource, owner.deployment
    )
}

fn has_it(resource: &ResourceName, owner: &OwnerRecord) -> String {
    format!(
        "{} which has it; delete that one, or say with \"strategy\": {{\"onConflict\": …}} \
         to wait for it (\"queue\") or to take it over (\"adopt\")",
        same_as(resource, owner)
    )
}

fn stopped(error: StoreError) -> Guarded {
    Guarded::Stop(Stop::Store(error))
}

/// Who waits for a real thing, and what each says that it waits for.
pub(crate) async fn waiting(
    context: &Context,
    identity: &str,
) -> Result<Vec<(DeploymentId, BlockRecord)>, StoreError> {
    let owner = context.read::<OwnerRecord>(&key::owner(identity)).await?;
    let mut waiting = Vec::new();
    for waiter in owner.map(|owner| owner.waiters).unwrap_or_default() {
        let block = context.read::<BlockRecord>(&key::blocked(&waiter)).await?;
        waiting.extend(block.map(|block| (waiter, block)));
    }
    Ok(waiting)
}

/// The identity of a resource as it is deployed.
pub(crate) fn identity(record: &DeploymentRecord, resource: &ResourceRecord) -> Option<String> {
    let belongs = Belongs {
        environment: &record.environment,
        deployment: &record.id,
        composer: &record.composer,
    };
    match resource
        .relations
        .identity
        .as_ref()?
        .of(belongs, &resource.config)
    {
        Known::Whole(identity) => Some(identity),
        Known::NotYet | Known::Never { .. } => None,
    }
}
