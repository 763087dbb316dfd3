//! What a run does: a step per resource, and which come after which.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::ResourceName;
use crate::planner::ExecutionPlan;
use crate::spec::{OnFailure, Policy};

/// The immutable plan of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// In an order in which they could be done one by one.
    pub steps: Vec<RunStep>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStep {
    /// The resource.
    pub name: ResourceName,
    /// What to do.
    pub kind: StepKind,
    /// Where the resource stands in the revision's plan; none for one that it
    /// no longer has.
    pub place: Option<u32>,
    /// Steps that must be done before, sorted; each smaller than this one's place.
    pub after: Vec<u32>,
    /// When it fails for good.
    pub on_failure: OnFailure,
    /// Attempts after the first.
    pub retries: u32,
    /// Milliseconds for all attempts and waits together.
    pub timeout_ms: u64,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Bring the resource to the revision's config.
    Apply,
    /// Take away a resource that the revision no longer has.
    Destroy,
}

/// A resource as it stands, for deriving what has to go.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployed {
    /// Its name.
    pub name: ResourceName,
    /// What it was applied after.
    pub depends_on: Vec<ResourceName>,
    /// Its policy.
    pub policy: Policy,
}

fn millis(policy: &Policy) -> u64 {
    u64::try_from(policy.timeout.as_millis()).unwrap_or(u64::MAX)
}

impl RunPlan {
    /// Applies a revision: the plan's resources first, in the plan's own order,
    /// then what vanished, in reverse order and after everything that used it
    /// has moved off it.
    #[must_use]
    pub fn apply(plan: &ExecutionPlan, deployed: &[Deployed]) -> Self {
        Self::of(plan, deployed, |_| true)
    }

    /// The same for some resources only, of the plan or vanished. Whatever
    /// they need outside of the part has to be there already.
    #[must_use]
    pub fn apply_part(
        plan: &ExecutionPlan,
        deployed: &[Deployed],
        part: &BTreeSet<ResourceName>,
    ) -> Self {
        Self::of(plan, deployed, |name| part.contains(name))
    }

    fn of(
        plan: &ExecutionPlan,
        deployed: &[Deployed],
        wanted: impl Fn(&ResourceName) -> bool,
    ) -> Self {
        let mut steps: Vec<RunStep> = Vec::with_capacity(plan.resources.len());
        // By place in the plan: the number of its step.
        let mut numbers: Vec<Option<u32>> = vec![None; plan.resources.len()];
        for (place, r) in (0u32..).zip(&plan.resources) {
            if !wanted(&r.name) {
                continue;
            }
            numbers[place as usize] = u32::try_from(steps.len()).ok();
            let after = r.depends_on.iter();
            steps.push(RunStep {
                name: r.name.clone(),
                kind: StepKind::Apply,
                place: Some(place),
                after: after.filter_map(|i| numbers[*i as usize]).collect(),
                on_failure: r.policy.on_failure,
                retries: r.policy.retries,
                timeout_ms: millis(&r.policy),
            });
        }
        let kept: BTreeMap<ResourceName, Option<u32>> = plan
            .resources
            .iter()
            .zip(numbers)
            .map(|(r, number)| (r.name.clone(), number))
            .collect();
        let on_failure = plan
            .resources
            .first()
            .map_or(OnFailure::default(), |r| r.policy.on_failure);
        push_destroys(&mut steps, kept, deployed, on_failure, wanted);
        Self { steps }
    }

    /// Destroys everything, in reverse order. A failure leaves what it still
    /// needs in place and goes on with the rest.
    #[must_use]
    pub fn destroy(deployed: &[Deployed]) -> Self {
        let mut steps = Vec::with_capacity(deployed.len());
        let kept = BTreeMap::new();
        push_destroys(&mut steps, kept, deployed, OnFailure::Continue, |_| true);
        Self { steps }
    }
}

/// Appends a destroy step for each deployed resource that is not kept, and is
/// wanted. What is kept comes with the number of its step, if it has one.
fn push_destroys(
    steps: &mut Vec<RunStep>,
    kept: BTreeMap<ResourceName, Option<u32>>,
    deployed: &[Deployed],
    on_failure: OnFailure,
    wanted: impl Fn(&ResourceName) -> bool,
) {
    // Who used it: must be moved off it, or destroyed, before it goes.
    let mut users: BTreeMap<&ResourceName, BTreeSet<&ResourceName>> = BTreeMap::new();
    for resource in deployed {
        for dependency in &resource.depends_on {
            users.entry(dependency).or_default().insert(&resource.name);
        }
    }
    let mut places = kept;
    for resource in dependants_first(deployed) {
        if places.contains_key(&resource.name) || !wanted(&resource.name) {
            continue;
        }
        let mut after: Vec<u32> = users
            .get(&resource.name)
            .into_iter()
            .flatten()
            .filter_map(|user| places.get(*user).copied().flatten())
            .collect();
        after.sort_unstable();
        places.insert(resource.name.clone(), u32::try_from(steps.len()).ok());
        steps.push(RunStep {
            name: resource.name.clone(),
            kind: StepKind::Destroy,
            place: None,
            after,
            on_failure,
            retries: resource.policy.retries,
            timeout_ms: millis(&resource.policy),
        });
    }
}

/// Deployed resources so that each comes before what it depends on. What is
/// deployed came from acyclic plans; should records of several revisions
/// disagree all the same, the rest follows in its given order.
fn dependants_first(deployed: &[Deployed]) -> Vec<&Deployed> {
    let by_name: BTreeMap<&ResourceName, usize> = deployed
        .iter()
        .enumerate()
        .map(|(i, d)| (&d.name, i))
        .collect();
    let mut users = vec![0usize; deployed.len()];
    let dependencies: Vec<Vec<usize>> = deployed
        .iter()
        .map(|d| {
            d.depends_on
                .iter()
                .filter_map(|n| by_name.get(n).copied())
                .collect()
        })
        .collect();
    for targets in &dependencies {
        for &target in targets {
            users[target] += 1;
        }
    }
    let mut order: Vec<usize> = (0..deployed.len()).filter(|&i| users[i] == 0).collect();
    let mut next = 0;
    while next < order.len() {
        for &target in &dependencies[order[next]] {
            users[target] -= 1;
            if users[target] == 0 {
                order.push(target);
            }
        }
        next += 1;
    }
    let placed: BTreeSet<usize> = order.iter().copied().collect();
    order.extend((0..deployed.len()).filter(|i| !placed.contains(i)));
    order.into_iter().map(|i| &deployed[i]).collect()
}
