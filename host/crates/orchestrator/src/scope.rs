//! Which resources a request is about, and which of them differ from what is
//! deployed.

use std::collections::{BTreeMap, BTreeSet};

use nestor_core::execution::{affected, targeted};
use nestor_core::ids::ResourceName;
use nestor_core::planner::{ExecutionPlan, PlannedResource, resolve_config};
use nestor_core::spec::DeploymentSpec;
use nestor_core::text::{did_you_mean, listed};
use nestor_core::violation::{Violation, ViolationCode};

use crate::lookup::recorded;
use crate::records::ResourceRecord;
use crate::service::Scope;

/// A revision, and what is deployed.
#[derive(Clone, Copy)]
pub(crate) struct Compared<'a> {
    pub(crate) spec: &'a DeploymentSpec,
    pub(crate) revision: u64,
    pub(crate) plan: &'a ExecutionPlan,
    pub(crate) deployed: &'a [ResourceRecord],
}

/// Names of what is new, changed and gone.
pub(crate) struct Difference {
    pub(crate) added: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) removed: Vec<String>,
}

impl<'a> Compared<'a> {
    fn records(&self) -> BTreeMap<&'a ResourceName, &'a ResourceRecord> {
        self.deployed.iter().map(|r| (&r.name, r)).collect()
    }

    fn kept(&self) -> BTreeSet<&'a ResourceName> {
        self.plan.resources.iter().map(|r| &r.name).collect()
    }

    /// Deployed, and no longer in the plan.
    fn vanished(&self) -> impl Iterator<Item = &'a ResourceRecord> {
        let kept = self.kept();
        self.deployed
            .iter()
            .filter(move |r| !kept.contains(&r.name))
    }

    /// For people: a config that names its own revision changes with each.
    pub(crate) fn difference(&self) -> Difference {
        let records = self.records();
        let (mut added, mut changed) = (Vec::new(), Vec::new());
        for planned in &self.plan.resources {
            match records.get(&planned.name) {
                None => added.push(planned.name.to_string()),
                Some(record) => {
                    let same = record.definition_digest == planned.definition_digest
                        && resolve_config(&planned.config, &mut |reference| {
                            recorded(self.spec, 0, reference, |name| records.get(name).copied())
                        })
                        .is_ok_and(|resolved| resolved.config == record.config);
                    if !same {
                        changed.push(planned.name.to_string());
                    }
                }
            }
        }
        let removed = self.vanished().map(|r| r.name.to_string()).collect();
        Difference {
            added,
            changed,
            removed,
        }
    }

    /// Whether a run would have nothing to do about a resource, with outputs
    /// as they are recorded now.
    fn as_wanted(
        &self,
        planned: &PlannedResource,
        records: &BTreeMap<&ResourceName, &ResourceRecord>,
    ) -> bool {
        let Some(record) = records.get(&planned.name) else {
            return false;
        };
        if record.open.is_some() || record.applied.is_none() || record.drifted {
            return false;
        }
        let resolved = resolve_config(&planned.config, &mut |reference| {
            recorded(self.spec, self.revision, reference, |name| {
                records.get(name).copied()
            })
        });
        resolved.is_ok_and(|resolved| {
            let wanted = ResourceRecord::planned(planned, self.plan, resolved.config);
            record.applied == Some(wanted.target())
        })
    }

    /// The resources that a run of this scope works on; none: all.
    pub(crate) fn part(&self, scope: &Scope) -> Option<BTreeSet<ResourceName>> {
        let deployed: Vec<_> = self.deployed.iter().map(ResourceRecord::deployed).collect();
        match scope {
            Scope::Whole => None,
            Scope::Targets(targets) => Some(targeted(self.plan, &deployed, targets)),
            Scope::Affected => {
                let records = self.records();
                let differ = self
                    .plan
                    .resources
                    .iter()
                    .filter(|planned| !self.as_wanted(planned, &records))
                    .map(|planned| planned.name.clone());
                let changed = differ
                    .chain(self.vanished().map(|r| r.name.clone()))
                    .collect();
                Some(affected(self.plan, &deployed, &changed))
            }
        }
    }

    /// What a run of a part leaves as it is although the revision says
    /// otherwise, or will once the outputs of what is worked on have changed.
    pub(crate) fn left_out(&self, part: Option<&BTreeSet<ResourceName>>) -> Vec<String> {
        let Some(part) = part else { return Vec::new() };
        let records = self.records();
        let differ: BTreeSet<ResourceName> = self
            .plan
            .resources
            .iter()
            .filter(|planned| !self.as_wanted(planned, &records))
            .map(|planned| planned.name.clone())
            .collect();
        let worked_on = differ.intersection(part).cloned().collect();
        let deployed: Vec<_> = self.deployed.iter().map(ResourceRecord::deployed).collect();
        let reached = affected(self.plan, &deployed, &worked_on);
        let left = self
            .plan
            .resources
            .iter()
            .map(|planned| &planned.name)
            .filter(|name| differ.contains(*name) || reached.contains(*name));
        let vanished = self.vanished().map(|r| &r.name);
        left.chain(vanished)
            .filter(|name| !part.contains(*name))
            .map(ToString::to_string)
            .collect()
    }

    /// Targets have to be in the deployment, or to be deployed still.
    pub(crate) fn check_targets(&self, scope: &Scope) -> Vec<Violation> {
        let Scope::Targets(targets) = scope else {
            return Vec::new();
        };
        let mut known = self.kept();
        known.extend(self.deployed.iter().map(|r| &r.name));
        let unknown = targets.iter().filter(|target| !known.contains(target));
        unknown
            .map(|target| {
                let names = || known.iter().map(|name| name.as_str());
                let hint = did_you_mean(target.as_str(), names());
                let all = if hint.is_empty() {
                    format!("; there are: {}", listed(names()))
                } else {
                    String::new()
                };
                Violation::new(
                    ViolationCode::UnknownResource,
                    "",
                    format!(
                        "target {:?}: there is no resource of that name in the deployment{hint}{all}",
                        target.as_str()
                    ),
                )
            })
            .collect()
    }
}
