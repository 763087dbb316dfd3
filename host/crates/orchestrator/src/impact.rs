//! What a change would touch, in this deployment and in others. Reads only.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use nestor_core::ids::{DeploymentId, EnvironmentName, OutputName, ResourceName};
use nestor_core::impact::{Fate, Impact, Link, Place, Reach, Seed, Touch};
use nestor_core::planner::{ExecutionPlan, UNKNOWN_KEY};
use nestor_core::ports::StoreError;
use nestor_core::relation::{Neighbour, Scope};
use nestor_core::spec::{CatalogRef, VersionSelector};
use nestor_core::text::did_you_mean;
use nestor_core::violation::{Violation, ViolationCode};

use crate::context::Context;
use crate::present::MASK;
use crate::records::{DeploymentRecord, ResourceRecord, RevisionRecord, StatusRecord, key};
use crate::service::Rejection;
use crate::submit::{Checked, internal};
use crate::view::{ImpactView, PlanView, PlannedAction, TouchedView};
use crate::{neighbours, ownership};

mod offer;

pub use offer::Offer;
pub(crate) use offer::of_offer;

/// Other deployments that are read for one answer: each costs its plan.
pub(crate) const MAX_OTHERS: usize = 100;

/// What a change of one resource, or the deletion of the whole deployment,
/// would touch.
pub(crate) async fn of_deployment(
    context: &Context,
    id: &DeploymentId,
    resource: Option<&str>,
) -> Result<ImpactView, Rejection> {
    let not_found = || Rejection::NotFound(id.to_string());
    let known = Deployment::read(context, id)
        .await
        .map_err(internal)?
        .ok_or_else(not_found)?;
    let mut search = Search::new(context);
    search.enter(id, known);
    let here: Vec<usize> = search.of(id).collect();
    let (seeds, reason, change) = match resource {
        Some(name) => {
            let found = here
                .iter()
                .copied()
                .find(|at| search.impact.places()[*at].resource.as_str() == name);
            let Some(at) = found else {
                let names = here
                    .iter()
                    .map(|at| search.impact.places()[*at].resource.as_str());
                let hint = did_you_mean(name, names);
                let shown = nestor_core::text::shortened(name, 80);
                return Err(Rejection::Invalid(vec![Violation::new(
                    ViolationCode::UnknownResource,
                    "",
                    format!("deployment {id} has no resource {shown:?}{hint}"),
                )]));
            };
            (vec![at], "it is what changes", format!("resource {name}"))
        }
        None => (here, "it would be destroyed", "deletion".to_owned()),
    };
    for at in seeds {
        search.impact.seed(
            at,
            Seed {
                touch: Touch::Certainly,
                reason: reason.into(),
                outputs: BTreeMap::new(),
            },
        );
    }
    search.answer(Some(id), change).await.map_err(internal)
}

/// What the changes of a plan would touch besides.
pub(crate) async fn of_plan(
    context: &Context,
    checked: &Checked,
    plan: &PlanView,
) -> Result<ImpactView, StoreError> {
    let id = &checked.spec.id;
    let mut known = Deployment {
        environment: checked.spec.environment.clone(),
        plan: Some(checked.plan.clone()),
        asked: BTreeMap::new(),
        resources: BTreeMap::new(),
    };
    for (_, record) in context
        .read_all::<ResourceRecord>(&key::resources(id))
        .await?
    {
        known.resources.insert(record.name.clone(), record);
    }
    let mut search = Search::new(context);
    search.enter(id, known);
    let here: Vec<usize> = search.of(id).collect();
    for change in &plan.resources {
        let at = here
            .iter()
            .copied()
            .find(|at| search.impact.places()[*at].resource.as_str() == change.name);
        let touch = match change.action {
            PlannedAction::Noop => continue,
            PlannedAction::Possible => Touch::Possibly,
            PlannedAction::Create
            | PlannedAction::Update
            | PlannedAction::Replace
            | PlannedAction::Delete => Touch::Certainly,
        };
        let Some(at) = at else { continue };
        let record = search.known[id].resources.get(change.name.as_str());
        let outputs = change.outputs.iter().filter_map(|(name, value)| {
            Some((OutputName::new(name).ok()?, fate(name, value, record)))
        });
        let outputs = outputs.collect();
        let reason = match (touch, change.reason.as_str()) {
            (_, "") => format!("the plan says {}", change.action.as_str()),
            (_, why) => format!("the plan says {}: {why}", change.action.as_str()),
        };
        search.impact.seed(
            at,
            Seed {
                touch,
                reason,
                outputs,
            },
        );
    }
    let change = format!("revision {}", plan.revision);
    search.answer(Some(id), change).await
}

/// What becomes of an output that a plan foresees.
fn fate(name: &str, value: &Value, record: Option<&ResourceRecord>) -> Fate {
    let was = record.and_then(|r| r.outputs.iter().find(|o| o.name.as_str() == name));
    let unknown = value == MASK || value.get(UNKNOWN_KEY).is_some();
    match was {
        Some(was) if !unknown && &was.value == value => Fate::Same,
        Some(_) if !unknown => Fate::Changes,
        Some(_) | None => Fate::Unknown,
    }
}

/// As much of a deployment as matters here.
struct Deployment {
    environment: EnvironmentName,
    plan: Option<ExecutionPlan>,
    /// Which version each resource wants.
    asked: BTreeMap<ResourceName, CatalogRef>,
    resources: BTreeMap<ResourceName, ResourceRecord>,
}

impl Deployment {
    async fn read(context: &Context, id: &DeploymentId) -> Result<Option<Self>, StoreError> {
        let record = context
            .read::<DeploymentRecord>(&key::deployment(id))
            .await?;
        let status = context.read::<StatusRecord>(&key::status(id)).await?;
        let (Some(record), Some(status)) = (record, status) else {
            return Ok(None);
        };
        let revision = context
            .read::<RevisionRecord>(&key::revision(id, status.revision))
            .await?;
        let resources = context
            .read_all::<ResourceRecord>(&key::resources(id))
            .await?;
        let asked = revision.iter().flat_map(|r| &r.spec.resources);
        Ok(Some(Self {
            environment: record.environment,
            asked: asked
                .map(|r| (r.name.clone(), r.catalog_ref.clone()))
                .collect(),
            plan: revision.map(|r| r.plan),
            resources: resources
                .into_iter()
                .map(|(_, r)| (r.name.clone(), r))
                .collect(),
        }))
    }
}

struct Search<'a> {
    context: &'a Context,
    impact: Impact,
    known: HashMap<DeploymentId, Deployment>,
    /// Resources from which other deployments were looked for.
    followed: BTreeSet<usize>,
    /// Why resources that one might have thought of are not touched.
    spared: BTreeMap<usize, String>,
    truncated: bool,
}

impl<'a> Search<'a> {
    fn new(context: &'a Context) -> Self {
        Self {
            context,
            impact: Impact::new(),
            known: HashMap::new(),
            followed: BTreeSet::new(),
            spared: BTreeMap::new(),
            truncated: false,
        }
    }

    fn at(&mut self, deployment: &DeploymentId, resource: &ResourceName) -> usize {
        self.impact.place(Place {
            deployment: deployment.clone(),
            resource: resource.clone(),
        })
    }

    /// The numbers of a deployment's resources.
    fn of(&self, id: &DeploymentId) -> impl Iterator<Item = usize> {
        let places = self.impact.places().iter().enumerate();
        places.filter_map(move |(at, place)| (&place.deployment == id).then_some(at))
    }

    /// Resources of a deployment and the links between them.
    fn enter(&mut self, id: &DeploymentId, deployment: Deployment) {
        let mut numbers: HashMap<ResourceName, usize> = HashMap::new();
        let planned = deployment.plan.iter().flat_map(|plan| &plan.resources);
        let names: Vec<ResourceName> = planned
            .map(|r| r.name.clone())
            .chain(deployment.resources.keys().cloned())
            .collect();
        for name in names {
            let at = self.at(id, &name);
            numbers.insert(name, at);
        }
        if let Some(plan) = &deployment.plan {
            for resource in &plan.resources {
                let to = numbers[&resource.name];
                let number = |name: &ResourceName| numbers.get(name).copied();
                self.impact.link_config(to, &resource.config, &number);
            }
            for edge in plan.edges.iter().filter(|edge| edge.explicit) {
                let number = |at: u32| numbers[&plan.resources[at as usize].name];
                self.impact
                    .link(number(edge.from), number(edge.to), Link::Order);
            }
        }
        // What stands may stand on more than the plan says.
        for record in deployment.resources.values() {
            for from in &record.depends_on {
                if let Some(from) = numbers.get(from) {
                    self.impact.link(*from, numbers[&record.name], Link::Order);
                }
            }
        }
        self.known.insert(id.clone(), deployment);
    }

    async fn answer(
        mut self,
        id: Option<&DeploymentId>,
        change: String,
    ) -> Result<ImpactView, StoreError> {
        let reach = loop {
            let reach = self.impact.reach();
            let touched = reach.iter().enumerate();
            let fresh: Vec<usize> = touched
                .filter(|(at, r)| r.touch > Touch::Not && !self.followed.contains(at))
                .map(|(at, _)| at)
                .collect();
            if fresh.is_empty() {
                break reach;
            }
            for at in fresh {
                self.followed.insert(at);
                self.follow(at).await?;
            }
        };
        Ok(self.view(id, change, &reach))
    }

    /// Links from a resource to those of other deployments.
    async fn follow(&mut self, at: usize) -> Result<(), StoreError> {
        let Place {
            deployment,
            resource,
        } = self.impact.places()[at].clone();
        let Some(record) = self
            .known
            .get(&deployment)
            .and_then(|known| known.resources.get(&resource))
        else {
            return Ok(());
        };
        let environment = self.known[&deployment].environment.clone();
        let identity = match &record.relations.identity {
            Some(_) => self
                .context
                .read::<DeploymentRecord>(&key::deployment(&deployment))
                .await?
                .and_then(|of| ownership::identity(&of, record)),
            None => None,
        };
        let Ok(CatalogRef { name, version }) = record.catalog_ref.parse::<CatalogRef>() else {
            return Ok(());
        };
        let engine = record.engine.clone();
        let prefix = format!("{}{environment}/", key::related(&name));
        let (related, more) = neighbours::under(self.context, &prefix).await?;
        self.truncated |= more;
        for neighbour in related.iter().filter(|n| n.deployment != deployment) {
            let VersionSelector::Exact(version) = &version else {
                continue;
            };
            let required = neighbour.relations.requires.iter().find(|relation| {
                relation.scope == Scope::Environment && relation.means(&name, version, &engine)
            });
            if let Some(required) = required {
                let what = required.show();
                self.reach_out(at, neighbour, Link::Requires { what })
                    .await?;
            }
        }
        let Some(identity) = identity else {
            return Ok(());
        };
        for (waiter, block) in ownership::waiting(self.context, &identity).await? {
            if block.identity == identity && self.meet(&waiter).await? {
                let to = self.at(&waiter, &block.resource);
                let identity = identity.clone();
                self.impact.link(at, to, Link::SameThing { identity });
            }
        }
        Ok(())
    }

    async fn reach_out(
        &mut self,
        from: usize,
        to: &Neighbour,
        link: Link,
    ) -> Result<(), StoreError> {
        if self.meet(&to.deployment).await? {
            let to = self.at(&to.deployment, &to.resource);
            self.impact.link(from, to, link);
        }
        Ok(())
    }

    /// Reads another deployment, unless those are too many.
    async fn meet(&mut self, id: &DeploymentId) -> Result<bool, StoreError> {
        if self.known.contains_key(id) {
            return Ok(true);
        }
        if self.known.len() > MAX_OTHERS {
            self.truncated = true;
            return Ok(false);
        }
        let Some(deployment) = Deployment::read(self.context, id).await? else {
            return Ok(false);
        };
        self.enter(id, deployment);
        Ok(true)
    }

    fn view(&self, id: Option<&DeploymentId>, change: String, reach: &[Reach]) -> ImpactView {
        let mut resources = Vec::new();
        let mut summary: BTreeMap<String, u32> = BTreeMap::new();
        for (at, reached) in reach.iter().enumerate() {
            let place = &self.impact.places()[at];
            let here = Some(&place.deployment) == id;
            let spared = self.spared.get(&at);
            if !here && spared.is_none() && reached.touch == Touch::Not {
                continue;
            }
            let affected = match reached.touch {
                Touch::Certainly => "certainly",
                Touch::Possibly => "possibly",
                Touch::Not => "not",
            };
            *summary.entry(affected.into()).or_default() += 1;
            let path = match reached.touch {
                Touch::Not => Vec::new(),
                Touch::Certainly | Touch::Possibly => self.impact.path(reach, at),
            };
            resources.push(TouchedView {
                deployment: place.deployment.to_string(),
                resource: place.resource.to_string(),
                affected: affected.into(),
                reason: match spared.filter(|_| reached.touch == Touch::Not) {
                    Some(why) => why.clone(),
                    None => reached.reason.clone(),
                },
                path: path
                    .iter()
                    .map(|place| format!("{}/{}", place.deployment, place.resource))
                    .collect(),
            });
        }
        // This deployment's first, each by how sure it is.
        let order = |affected: &str| match affected {
            "certainly" => 0,
            "possibly" => 1,
            _ => 2,
        };
        resources.sort_by_key(|r| {
            let elsewhere = id.is_none_or(|id| r.deployment != id.as_str());
            (elsewhere, r.deployment.clone(), order(&r.affected))
        });
        ImpactView {
            deployment: id.map(ToString::to_string),
            change,
            resources,
            summary,
            truncated: self.truncated,
        }
    }
}
