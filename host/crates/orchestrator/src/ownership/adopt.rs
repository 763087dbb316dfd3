//! What can be taken over from the deployment that has it, and what cannot.
//!
//! An owner hands a thing over only while it rests: nobody has its lease, it
//! has nothing to do, and no run of it can be taken up again. All that was
//! looked at is guarded by the batch that takes the thing over.

use std::collections::{BTreeMap, BTreeSet};

use nestor_core::engine::Home;
use nestor_core::ids::{DeploymentId, ResourceName};
use nestor_core::planner::{ExecutionPlan, PlannedResource};
use nestor_core::ports::{Bytes, StoreError};
use nestor_core::spec::{CatalogRef, DeliveryMode, DeploymentSpec, VersionSelector};
use nestor_core::text::listed;

use super::release::halted;
use super::{OwnerRecord, same_as};
use crate::context::Context;
use crate::records::{DeploymentRecord, ResourceRecord, StatusRecord, TodoRecord, key};
use crate::worker::LeaseRecord;

/// A thing that this deployment takes over.
#[derive(Debug, Clone)]
pub(crate) struct Adoption {
    pub(crate) identity: String,
    /// The resource that it will be.
    pub(crate) resource: ResourceName,
    pub(crate) from: DeploymentId,
    /// The resource that it is there.
    pub(crate) owned: ResourceName,
    /// As it will be deployed here, before anything is done to it.
    pub(crate) record: ResourceRecord,
    /// As it is deployed there.
    pub(super) theirs: ResourceRecord,
    /// The owner's document.
    pub(super) owner: (OwnerRecord, Bytes),
}

impl Adoption {
    /// What is looked at twice is the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        (&self.identity, &self.resource, &self.theirs)
            == (&other.identity, &other.resource, &other.theirs)
            && self.owner.1 == other.owner.1
    }

    /// `deployment/resource`, as it is now.
    pub(crate) fn origin(&self) -> String {
        format!("{}/{}", self.from, self.owned)
    }

    /// For people.
    pub(crate) fn warning(&self) -> String {
        let mut text = format!(
            "resource {} takes over {:?} from resource {} of deployment {}, which is left without it",
            self.resource, self.identity, self.owned, self.from
        );
        if !self.theirs.depends_on.is_empty() {
            let names = self.theirs.depends_on.iter().map(ResourceName::as_str);
            text.push_str(&format!(
                "; what it stands on there does not come along: {}",
                listed(names)
            ));
        }
        text
    }
}

/// Somebody who has a thing and cannot hand it over now.
pub(crate) struct Unsettled {
    pub(crate) resource: ResourceName,
    pub(crate) why: String,
    pub(super) owner: (OwnerRecord, Bytes),
}

/// What came of looking.
#[derive(Default)]
pub(crate) struct Looked {
    /// Also those whose owner does not rest, as far as they are known.
    pub(crate) adoptions: Vec<Adoption>,
    /// What cannot be taken over, and what to do.
    pub(crate) refused: Vec<(ResourceName, String)>,
    pub(crate) unsettled: Vec<Unsettled>,
    pub(super) formers: BTreeMap<DeploymentId, Former>,
}

/// Who has a thing, as it was looked at.
pub(super) struct Former {
    pub(super) lease: Option<(LeaseRecord, Bytes)>,
    pub(super) record: (DeploymentRecord, Bytes),
    pub(super) status: (StatusRecord, Bytes),
    todo: bool,
    resources: Vec<ResourceRecord>,
}

impl Former {
    async fn read(context: &Context, id: &DeploymentId) -> Result<Option<Self>, StoreError> {
        // The lease first: whoever changes what is read later takes it.
        let lease = context.read_raw::<LeaseRecord>(&key::lease(id)).await?;
        let record = context.read_raw(&key::deployment(id)).await?;
        let status = context.read_raw(&key::status(id)).await?;
        let (Some(record), Some(status)) = (record, status) else {
            return Ok(None);
        };
        let todo = context.read::<TodoRecord>(&key::todo(id)).await?.is_some();
        let resources = context.read_all(&key::resources(id)).await?;
        Ok(Some(Self {
            lease,
            record,
            status,
            todo,
            resources: resources.into_iter().map(|(_, record)| record).collect(),
        }))
    }

    /// Why it does not rest, if it does not.
    fn unsettled(&self) -> Option<&'static str> {
        let status = &self.status.0;
        if status.gate.is_some() {
            return Some("waits for approval");
        }
        if halted(status) {
            return Some("failed half-way: retry, roll back or delete it");
        }
        let rests = !status.active
            && !status.blocked
            && !self.todo
            && self.record.0.inbox.is_empty()
            && self
                .lease
                .as_ref()
                .is_none_or(|(lease, _)| lease.is_nobodys());
        (!rests).then_some("has something to do")
    }
}

/// Who wants things.
#[derive(Clone, Copy)]
pub(crate) struct Wanting<'a> {
    pub(crate) spec: &'a DeploymentSpec,
    pub(crate) plan: &'a ExecutionPlan,
    /// What it has deployed.
    pub(crate) deployed: &'a [ResourceRecord],
}

/// A thing that somebody else has.
struct Wish<'a> {
    identity: &'a str,
    resource: &'a ResourceName,
    owner: (OwnerRecord, Bytes),
}

/// Looks at every one of these things that somebody else has.
pub(crate) async fn look(
    context: &Context,
    wanting: Wanting<'_>,
    things: &[(String, ResourceName)],
) -> Result<Looked, StoreError> {
    let mut by_owner: BTreeMap<DeploymentId, Vec<Wish<'_>>> = BTreeMap::new();
    for (identity, resource) in things {
        let owner = context
            .read_raw::<OwnerRecord>(&key::owner(identity))
            .await?;
        if let Some(owner) = owner.filter(|(owner, _)| owner.deployment != wanting.spec.id) {
            let wishes = by_owner.entry(owner.0.deployment.clone()).or_default();
            wishes.push(Wish {
                identity,
                resource,
                owner,
            });
        }
    }
    let mut looked = Looked::default();
    for (id, wishes) in by_owner {
        let Some(former) = Former::read(context, &id).await? else {
            let gone = wishes
                .into_iter()
                .map(|wish| unsettled(&wish, "is just being accepted"));
            looked.unsettled.extend(gone);
            continue;
        };
        let along: BTreeSet<ResourceName> =
            wishes.iter().map(|w| w.owner.0.resource.clone()).collect();
        for wish in wishes {
            wanting.look_at(&wish, &former, &along, &mut looked);
        }
        looked.formers.insert(id, former);
    }
    Ok(looked)
}

fn unsettled(wish: &Wish<'_>, why: &str) -> Unsettled {
    let owner = &wish.owner.0;
    Unsettled {
        resource: wish.resource.clone(),
        why: format!("deployment {} {why}", owner.deployment),
        owner: wish.owner.clone(),
    }
}

impl Wanting<'_> {
    fn look_at(
        &self,
        wish: &Wish<'_>,
        former: &Former,
        along: &BTreeSet<ResourceName>,
        looked: &mut Looked,
    ) {
        let Wish {
            identity,
            resource,
            owner,
        } = wish;
        let planned = self.plan.resources.iter().find(|p| &p.name == *resource);
        let theirs = former
            .resources
            .iter()
            .find(|r| r.name == owner.0.resource && r.applied.is_some() && r.open.is_none());
        let refusal = planned.and_then(|planned| self.refusal(wish, planned, former, along));
        if let Some(refusal) = refusal {
            let text = format!("{} {refusal}", same_as(resource, &owner.0));
            looked.refused.push(((*resource).clone(), text));
            return;
        }
        if let Some(theirs) = theirs {
            let mut record = theirs.clone();
            record.name = (*resource).clone();
            // Names of resources that are not here.
            record.depends_on.clear();
            let home = || Home::of(&owner.0.deployment, &owner.0.resource);
            record.home = Some(theirs.home.clone().unwrap_or_else(home));
            looked.adoptions.push(Adoption {
                identity: (*identity).to_owned(),
                resource: (*resource).clone(),
                from: owner.0.deployment.clone(),
                owned: owner.0.resource.clone(),
                record,
                theirs: theirs.clone(),
                owner: owner.clone(),
            });
        }
        match former.unsettled() {
            Some(why) => looked.unsettled.push(unsettled(wish, why)),
            None if theirs.is_none() => looked
                .unsettled
                .push(unsettled(wish, "has not brought it about")),
            None => {}
        }
    }

    /// Why this deployment can never take it over as both are, and what to do.
    fn refusal(
        &self,
        wish: &Wish<'_>,
        planned: &PlannedResource,
        former: &Former,
        along: &BTreeSet<ResourceName>,
    ) -> Option<String> {
        let owner = &wish.owner.0;
        let record = &former.record.0;
        if record.composer != self.spec.composer {
            return Some(format!(
                "and belongs to composer {}: a thing is handed over within one composer; have it taken out of that deployment, and wait for it with {QUEUE}",
                record.composer
            ));
        }
        if record.environment != self.spec.environment {
            return Some(format!(
                "in environment {}: a thing is handed over within one environment; take it out of that deployment, and wait for it with {QUEUE}",
                record.environment
            ));
        }
        if self.deployed.iter().any(|r| r.name == planned.name) {
            return Some(format!(
                "and {} is deployed as another thing already; give the resource another name",
                planned.name
            ));
        }
        let theirs = former.resources.iter().find(|r| r.name == owner.resource)?;
        if theirs.engine != planned.engine {
            return Some(format!(
                "where engine {} has its state, which engine {} cannot read; use that engine",
                theirs.engine, planned.engine
            ));
        }
        // What is under way there may change the rest.
        if former.unsettled().is_some() {
            return None;
        }
        if let Some(versions) = versions(&theirs.catalog_ref, &planned.catalog_ref) {
            return Some(versions);
        }
        if [theirs.delivery, planned.delivery].contains(&DeliveryMode::Gitops) {
            return Some(format!(
                "and is delivered through Git: its manifests are in the folder of their deployment, and whoever applies them from there would take the thing away; take it out of that deployment, and wait for it with {QUEUE}"
            ));
        }
        let stay: Vec<&str> = former
            .resources
            .iter()
            .filter(|r| r.depends_on.contains(&owner.resource) && !along.contains(&r.name))
            .map(|r| r.name.as_str())
            .collect();
        if !stay.is_empty() {
            return Some(format!(
                "where others stand on it: {}; take these over along with it, or take them out of that deployment first",
                listed(stay)
            ));
        }
        None
    }
}

const QUEUE: &str = "\"onConflict\": \"queue\"";

/// What is wrong with going from one version of a definition to the other.
fn versions(theirs: &str, planned: &str) -> Option<String> {
    let exact = |text: &str| {
        let reference: CatalogRef = text.parse().ok()?;
        match reference.version {
            VersionSelector::Exact(version) => Some((reference.name, version)),
            VersionSelector::Range(_) => None,
        }
    };
    let (Some(theirs_is), Some(planned_is)) = (exact(theirs), exact(planned)) else {
        return Some(format!("as {theirs}, and not as {planned}"));
    };
    if theirs_is.0 != planned_is.0 {
        return Some(format!(
            "as {theirs}, whose state a resource of {planned} cannot take over; use the same definition"
        ));
    }
    (planned_is.1 < theirs_is.1).then(|| {
        format!(
            "as {theirs}, and what a later version recorded is not read by {planned}; use {theirs} or a later version"
        )
    })
}
