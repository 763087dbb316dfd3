//! Which resources a run works on, when it shall not be all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Deployed;
use crate::ids::ResourceName;
use crate::planner::ExecutionPlan;

/// The targets and what they depend on. A target that the plan no longer has
/// is destroyed, and what still stands on it has to move off it or go first.
#[must_use]
pub fn targeted(
    plan: &ExecutionPlan,
    deployed: &[Deployed],
    targets: &BTreeSet<ResourceName>,
) -> BTreeSet<ResourceName> {
    let graph = Graph::of(plan, deployed);
    graph.closure(targets, |graph, name, next| match graph.planned.get(name) {
        Some(place) => next.extend(graph.needed(*place)),
        None => next.extend(graph.users(name)),
    })
}

/// What changed and all that depends on it. Nothing that it depends on is
/// added: that is deployed as the plan wants it, or it has changed as well.
#[must_use]
pub fn affected(
    plan: &ExecutionPlan,
    deployed: &[Deployed],
    changed: &BTreeSet<ResourceName>,
) -> BTreeSet<ResourceName> {
    let graph = Graph::of(plan, deployed);
    graph.closure(changed, |graph, name, next| match graph.planned.get(name) {
        Some(place) => next.extend(graph.dependants(*place)),
        None => next.extend(graph.users(name)),
    })
}

struct Graph<'a> {
    plan: &'a ExecutionPlan,
    planned: BTreeMap<&'a ResourceName, u32>,
    /// By place: who depends on it, by the plan.
    dependants: Vec<Vec<u32>>,
    /// Who stands on it, by what is deployed.
    users: BTreeMap<&'a ResourceName, Vec<&'a ResourceName>>,
}

impl<'a> Graph<'a> {
    fn of(plan: &'a ExecutionPlan, deployed: &'a [Deployed]) -> Self {
        let planned = (0u32..)
            .zip(&plan.resources)
            .map(|(place, r)| (&r.name, place))
            .collect();
        let mut dependants = vec![Vec::new(); plan.resources.len()];
        for (place, resource) in (0u32..).zip(&plan.resources) {
            for &before in &resource.depends_on {
                dependants[before as usize].push(place);
            }
        }
        let mut users: BTreeMap<&ResourceName, Vec<&ResourceName>> = BTreeMap::new();
        for resource in deployed {
            for dependency in &resource.depends_on {
                users.entry(dependency).or_default().push(&resource.name);
            }
        }
        Self {
            plan,
            planned,
            dependants,
            users,
        }
    }

    fn name(&self, place: u32) -> &'a ResourceName {
        &self.plan.resources[place as usize].name
    }

    fn needed(&self, place: u32) -> impl Iterator<Item = &'a ResourceName> {
        let depends_on = &self.plan.resources[place as usize].depends_on;
        depends_on.iter().map(|place| self.name(*place))
    }

    fn dependants(&self, place: u32) -> impl Iterator<Item = &'a ResourceName> {
        let dependants = self.dependants[place as usize].iter();
        dependants.map(|place| self.name(*place))
    }

    fn users(&self, name: &ResourceName) -> impl Iterator<Item = &'a ResourceName> {
        self.users.get(name).into_iter().flatten().copied()
    }

    fn closure(
        &self,
        first: &BTreeSet<ResourceName>,
        follow: impl Fn(&Self, &ResourceName, &mut Vec<&'a ResourceName>),
    ) -> BTreeSet<ResourceName> {
        let mut all = first.clone();
        let mut next = Vec::new();
        for name in first {
            follow(self, name, &mut next);
        }
        while let Some(name) = next.pop() {
            if all.insert(name.clone()) {
                follow(self, name, &mut next);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::execution::{RunPlan, StepKind};
    use crate::planner::PlannedResource;
    use crate::spec::{DeliveryMode, Policy};

    fn name(i: usize) -> ResourceName {
        ResourceName::new(format!("r{i}")).unwrap()
    }

    fn names(all: &[usize]) -> BTreeSet<ResourceName> {
        all.iter().map(|i| name(*i)).collect()
    }

    /// Resources by number, each with the numbers that it depends on; all of
    /// those have to be listed before it.
    fn plan(resources: &[(usize, Vec<usize>)]) -> ExecutionPlan {
        let place = |i: &usize| {
            let found = resources.iter().position(|(j, _)| j == i).unwrap();
            u32::try_from(found).unwrap()
        };
        let resources = resources.iter().map(|(i, needs)| PlannedResource {
            name: name(*i),
            catalog_ref: "thing:1.0.0".into(),
            definition_digest: crate::ids::Digest::of(b"thing"),
            definition_folder: None,
            engine: "noop".parse().unwrap(),
            section: Default::default(),
            declared_outputs: Default::default(),
            config: serde_json::json!({}),
            depends_on: needs.iter().map(place).collect(),
            policy: Policy::default(),
            delivery: DeliveryMode::Direct,
            relations: Default::default(),
        });
        ExecutionPlan {
            resources: resources.collect(),
            edges: Vec::new(),
            warnings: Vec::new(),
            schemas: Default::default(),
        }
    }

    fn deployed(resources: &[(usize, Vec<usize>)]) -> Vec<Deployed> {
        let one = |(i, needs): &(usize, Vec<usize>)| Deployed {
            name: name(*i),
            depends_on: needs.iter().map(|i| name(*i)).collect(),
            policy: Policy::default(),
        };
        resources.iter().map(one).collect()
    }

    #[test]
    fn a_target_brings_what_it_depends_on() {
        // 0 ← 1 ← 2, and 3 beside them.
        let plan = plan(&[(0, vec![]), (1, vec![0]), (2, vec![1]), (3, vec![])]);
        assert_eq!(targeted(&plan, &[], &names(&[1])), names(&[0, 1]));
        assert_eq!(targeted(&plan, &[], &names(&[3])), names(&[3]));
        assert_eq!(affected(&plan, &[], &names(&[1])), names(&[1, 2]));
        assert_eq!(affected(&plan, &[], &names(&[])), names(&[]));
    }

    #[test]
    fn what_vanished_goes_after_all_that_stands_on_it() {
        // Deployed: 4 ← 1, 4 ← 5. The plan has neither 4 nor 5.
        let was = deployed(&[(4, vec![]), (1, vec![4]), (5, vec![4])]);
        let plan = plan(&[(0, vec![]), (1, vec![0]), (2, vec![1])]);
        let part = targeted(&plan, &was, &names(&[4]));
        assert_eq!(part, names(&[0, 1, 4, 5]));
        let run = RunPlan::apply_part(&plan, &was, &part);
        let shown: Vec<_> = run
            .steps
            .iter()
            .map(|s| (s.name.as_str(), s.kind, s.place, s.after.clone()))
            .collect();
        assert_eq!(
            shown,
            [
                ("r0", StepKind::Apply, Some(0), vec![]),
                ("r1", StepKind::Apply, Some(1), vec![0]),
                ("r5", StepKind::Destroy, None, vec![]),
                ("r4", StepKind::Destroy, None, vec![1, 2]),
            ]
        );
        assert_eq!(affected(&plan, &was, &names(&[4])), names(&[1, 2, 4, 5]));
    }

    /// A graph over 0..n whose edges go from smaller to larger numbers.
    fn graph(n: usize) -> impl Strategy<Value = Vec<(usize, Vec<usize>)>> {
        prop::collection::vec(prop::collection::btree_set(0..n, 0..4), n).prop_map(|needs| {
            let one = |(i, needs): (usize, BTreeSet<usize>)| {
                (i, needs.into_iter().filter(|j| *j < i).collect())
            };
            needs.into_iter().enumerate().map(one).collect()
        })
    }

    proptest! {
        /// A run of a part touches only the part, in an order in which
        /// everything that a step has to come after comes before it.
        #[test]
        fn a_run_touches_only_its_part(
            wanted in graph(12),
            was in graph(12),
            gone in prop::collection::btree_set(0..12usize, 0..6),
            picked in prop::collection::btree_set(0..12usize, 0..4),
        ) {
            let kept: Vec<(usize, Vec<usize>)> = wanted
                .into_iter()
                .filter(|(i, _)| !gone.contains(i))
                .map(|(i, needs)| (i, needs.into_iter().filter(|j| !gone.contains(j)).collect()))
                .collect();
            let (plan, was) = (plan(&kept), deployed(&was));
            let picked: BTreeSet<ResourceName> = picked.into_iter().map(name).collect();
            for part in [targeted(&plan, &was, &picked), affected(&plan, &was, &picked)] {
                prop_assert!(picked.is_subset(&part));
                let run = RunPlan::apply_part(&plan, &was, &part);
                let touched: BTreeSet<ResourceName> = run.steps.iter().map(|s| s.name.clone()).collect();
                prop_assert_eq!(&touched, &part);
                prop_assert_eq!(run.steps.len(), part.len(), "no step twice");
                let place = |name: &ResourceName| run.steps.iter().position(|s| &s.name == name);
                for (i, step) in run.steps.iter().enumerate() {
                    prop_assert!(step.after.iter().all(|before| (*before as usize) < i));
                    let after: BTreeSet<usize> = step.after.iter().map(|i| *i as usize).collect();
                    match step.place {
                        Some(at) => {
                            let planned = &plan.resources[at as usize];
                            prop_assert_eq!(&planned.name, &step.name);
                            for needed in &planned.depends_on {
                                let needed = place(&plan.resources[*needed as usize].name);
                                prop_assert!(needed.is_none_or(|needed| after.contains(&needed)));
                            }
                        }
                        // Whoever stands on it has moved off, or is gone.
                        None => for user in was.iter().filter(|d| d.depends_on.contains(&step.name)) {
                            let user = place(&user.name);
                            prop_assert!(user.is_some_and(|user| after.contains(&user)));
                        },
                    }
                }
            }
            // With targets, everything that is needed is in the part.
            let part = targeted(&plan, &was, &picked);
            for resource in plan.resources.iter().filter(|r| part.contains(&r.name)) {
                for needed in &resource.depends_on {
                    prop_assert!(part.contains(&plan.resources[*needed as usize].name));
                }
            }
            // The whole is a part as well.
            let all: BTreeSet<ResourceName> = plan.resources.iter().map(|r| r.name.clone())
                .chain(was.iter().map(|d| d.name.clone())).collect();
            prop_assert_eq!(RunPlan::apply_part(&plan, &was, &all), RunPlan::apply(&plan, &was));
        }
    }
}
