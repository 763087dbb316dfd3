//! One case from start to end.

use std::collections::BTreeMap;

use nestor_orchestrator::view::{DeploymentStatus, DeploymentView};
use serde::Serialize;

use crate::example::Example;
use crate::fault::{At, Kind, Point};
use crate::world::{Host, World};

/// What is being done when something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    First,
    Update,
    Vanish,
    UndoFirst,
    UndoUpdate,
    Destroy,
}

impl Scenario {
    pub(crate) const ALL: [Self; 6] = [
        Self::First,
        Self::Update,
        Self::Vanish,
        Self::UndoFirst,
        Self::UndoUpdate,
        Self::Destroy,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::First => "The first revision",
            Self::Update => "A second revision, in which every resource changes",
            Self::Vanish => "A second revision without the last resource",
            Self::UndoFirst => {
                "The last resource of the first revision failed, and the rest is undone"
            }
            Self::UndoUpdate => {
                "The last resource of a second revision failed, and the first is restored"
            }
            Self::Destroy => "Deletion",
        }
    }

    pub(crate) fn points(self, example: &Example) -> Vec<Point> {
        match self {
            Self::First | Self::Update => example.forward(),
            Self::Vanish => example.last().destroy(),
            Self::UndoFirst => undoing(example.backward()),
            Self::UndoUpdate => {
                let steps = example.resources.iter().rev();
                undoing(steps.flat_map(|r| r.apply()).collect())
            }
            Self::Destroy => example.backward(),
        }
    }

    /// Those that make a difference.
    pub(crate) fn policies(self) -> &'static [&'static str] {
        match self {
            Self::First | Self::Update | Self::Vanish => &["rollback", "halt", "continue"],
            Self::UndoFirst | Self::UndoUpdate | Self::Destroy => &["rollback"],
        }
    }
}

fn undoing(points: Vec<Point>) -> Vec<Point> {
    points.into_iter().map(Point::undoing).collect()
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ending {
    pub(crate) status: DeploymentStatus,
    pub(crate) reason: Option<String>,
    pub(crate) resources: Vec<(String, String)>,
    pub(crate) things: BTreeMap<String, String>,
    /// Operations that had an effect on each resource, and commits.
    pub(crate) effects: (BTreeMap<String, u32>, usize),
    /// The most often that one operation was asked for.
    pub(crate) asked: u32,
    /// Statuses after each retry, once the cause was mended.
    pub(crate) retries: Vec<DeploymentStatus>,
    /// What there is in the very end.
    pub(crate) at_last: BTreeMap<String, String>,
    pub(crate) overlaps: Vec<String>,
    pub(crate) impure: Vec<String>,
}

/// Retries until it is as wanted; more would be a loop.
const RETRIES: usize = 4;

pub(crate) fn run(
    example: &Example,
    scenario: Scenario,
    policy: &str,
    wrong: Option<(&Point, Kind)>,
) -> Ending {
    let world = World::new(example);
    let mut host = world.host();
    let with_policy = |body: &serde_json::Value| {
        let mut body = body.clone();
        body["policy"] = serde_json::json!({ "onFailure": policy });
        body
    };
    let [first, second] = [&example.bodies[0], &example.bodies[1]].map(with_policy);
    if !matches!(scenario, Scenario::First | Scenario::UndoFirst) {
        host.post(&first);
        assert!(host.settles(&example.id, &world.script));
    }
    if matches!(scenario, Scenario::UndoFirst | Scenario::UndoUpdate) {
        let last = example.last().apply();
        let last = last
            .iter()
            .find(|p| matches!(p.at, At::Apply | At::Deliver));
        world
            .script
            .add(last.expect("one").clone(), Kind::PermanentAfter);
    }
    if let Some((point, kind)) = wrong {
        if point.at == At::Observe {
            world.slow(&point.resource);
        }
        world.script.add(point.clone(), kind);
    }
    world.script.count();
    match scenario {
        Scenario::First | Scenario::UndoFirst => host.post(&first),
        Scenario::Update | Scenario::UndoUpdate => host.post(&second),
        Scenario::Vanish => host.post(&with_policy(&example.without_last())),
        Scenario::Destroy => host.delete(&example.id),
    }
    while !host.settles(&example.id, &world.script) {
        host = world.host();
    }
    let view = host.view(&example.id);
    let (things, effects, asked) = (world.things(), world.effects(), world.script.asked());
    world.script.heal();
    let retries = mend(&host, &world, view.status);
    Ending {
        status: view.status,
        reason: view.reason.clone(),
        resources: resources(&view),
        things,
        effects,
        asked,
        retries,
        at_last: world.things(),
        overlaps: world.engines.overlaps(),
        impure: impure(&world),
    }
}

/// What a person does: the cause is mended, so retry.
fn mend(host: &Host, world: &World<'_>, mut status: DeploymentStatus) -> Vec<DeploymentStatus> {
    let id = &world.example.id;
    let mut after = Vec::new();
    while !matches!(status, DeploymentStatus::Ready | DeploymentStatus::Deleted) {
        assert!(after.len() < RETRIES, "{id} does not get well: {after:?}");
        host.retry(id);
        assert!(host.settles(id, &world.script));
        status = host.view(id).status;
        after.push(status);
    }
    after
}

fn resources(view: &DeploymentView) -> Vec<(String, String)> {
    let resources = view.resources.iter();
    resources
        .map(|r| (r.name.clone(), word(&r.status)))
        .collect()
}

/// A status in the API's words.
pub(crate) fn word<T: Serialize>(status: &T) -> String {
    let word = serde_json::to_value(status).expect("a word");
    word.as_str().expect("a word").to_owned()
}

/// Operations that were asked for more than once, and not for the same thing.
fn impure(world: &World<'_>) -> Vec<String> {
    let mut asked = BTreeMap::new();
    let mut impure = Vec::new();
    for call in world.engines.calls() {
        let key = (call.operation_id.clone(), call.function.as_str());
        let what = asked.entry(key).or_insert_with(|| call.config.clone());
        if call.operation_id.contains('/') && *what != call.config {
            impure.push(format!("{} with another config", call.operation_id));
        }
    }
    impure
}
