//! Over random graphs: no placeholder is ever applied, and what was planned is
//! what happens.

mod common;

use proptest::prelude::*;
use serde_json::{Value, json};

use common::{World, deploy};
use nestor_core::definition::JsonType;
use nestor_core::engine::{Action, PlannedOutput, ProposedChanges};
use nestor_core::ids::OutputName;
use nestor_core::planner::placeholder;
use nestor_core::ports::Function;
use nestor_orchestrator::service::RequestMeta;
use nestor_orchestrator::view::{DeploymentStatus as Is, PlanView};
use nestor_testkit::engines::Behaviour;

const ENGINES: [&str; 2] = ["fake", "other"];

/// A resource of a random graph.
#[derive(Debug, Clone)]
struct Node {
    /// Which of [`ENGINES`].
    engine: usize,
    /// Whether revision 2 changes it, and whether its outputs do.
    changes: bool,
    moves: bool,
    /// Which earlier resources it refers to, and in which way.
    refers: Vec<(prop::sample::Index, u8)>,
    /// How its engine is wrong, if it is.
    odd: Option<Odd>,
}

/// Answers that no engine should give.
#[derive(Debug, Clone)]
enum Odd {
    /// A plan with these actions and outputs, whatever is asked.
    Plan(Action, Option<Value>, bool),
    /// A placeholder as, or in, an output of something that was applied.
    Output(Value),
}

fn odd() -> impl Strategy<Value = Odd> {
    let value = prop_oneof![
        Just(json!({ "$unknown": "object" })),
        Just(json!({ "a": { "$unknown": "string" }, "b": [1, { "$unknown": "any" }] })),
        Just(json!({ "a": "x", "b": [1, 2] })),
        Just(json!({})),
        Just(json!("a text")),
    ];
    let action = prop_oneof![
        Just(Action::Noop),
        Just(Action::Create),
        Just(Action::Update),
        Just(Action::Replace),
        Just(Action::Delete),
    ];
    prop_oneof![
        (action, prop::option::of(value.clone()), any::<bool>())
            .prop_map(|(action, known, speaks)| Odd::Plan(action, known, speaks)),
        value.prop_map(Odd::Output),
    ]
}

fn nodes(odd: impl Strategy<Value = Option<Odd>>) -> impl Strategy<Value = Vec<Node>> {
    let refers = prop::collection::vec((any::<prop::sample::Index>(), 0_u8..6), 0..4);
    let node = (0..ENGINES.len(), any::<bool>(), any::<bool>(), refers, odd);
    let node = node.prop_map(|(engine, changes, moves, refers, odd)| Node {
        engine,
        changes,
        moves,
        refers,
        odd,
    });
    prop::collection::vec(node, 1..7)
}

/// The graph's revision 1 or 2.
fn body(nodes: &[Node], revision: u64) -> Value {
    let resources: Vec<Value> = nodes
        .iter()
        .enumerate()
        .map(|(place, node)| {
            let mut config = serde_json::Map::new();
            config.insert("v".into(), json!(if node.changes { revision } else { 0 }));
            for (number, (earlier, way)) in node.refers.iter().enumerate() {
                if place == 0 {
                    continue;
                }
                let of = |output: &str| {
                    format!("${{resources.r{}.outputs.{output}}}", earlier.index(place))
                };
                let value = match way {
                    0 => json!(of("text")),
                    1 => json!(format!("<{}|{}>", of("text"), of("number"))),
                    2 => json!([1, of("number"), [of("text")]]),
                    3 => json!({ "a": { "b/c": of("map") } }),
                    4 => json!(of("map.a")),
                    _ => json!([of("map.b.0"), "${environment}"]),
                };
                config.insert(format!("x{number}"), value);
            }
            let reference = format!("{}:1.0.0", ENGINES[node.engine]);
            json!({ "name": format!("r{place}"), "catalogRef": reference, "config": config })
        })
        .collect();
    json!({
        "id": "web", "composer": "team", "environment": "production",
        "resources": resources, "dependencies": [],
        "policy": { "onFailure": "halt", "retries": 0 },
    })
}

/// What the engines do in a revision.
fn script(world: &World, nodes: &[Node], revision: u64) {
    for (place, node) in nodes.iter().enumerate() {
        let moved = if node.moves { revision } else { 0 };
        let map = match &node.odd {
            Some(Odd::Output(value)) => value.clone(),
            Some(Odd::Plan(..)) | None => json!({ "a": "x", "b": [moved, 2] }),
        };
        let mut behaviour = Behaviour::ready([
            ("text", json!(format!("t{moved}"))),
            ("number", json!(moved)),
            ("map", map),
        ]);
        if let Some(Odd::Plan(action, known, speaks)) = &node.odd {
            let output = PlannedOutput {
                name: OutputName::new("map").expect("a name"),
                known: known.clone(),
                json_type: "object".into(),
                sensitive: false,
            };
            behaviour = behaviour.proposes(ProposedChanges {
                action: *action,
                changes: Vec::new(),
                outputs: speaks.then_some(output).into_iter().collect(),
                summary: String::new(),
            });
        }
        world.engines.script(&format!("r{place}"), behaviour);
    }
}

fn world() -> World {
    let world = World::new();
    for engine in ENGINES {
        world.engines.add(engine);
        let outputs = [
            ("text", JsonType::String),
            ("number", JsonType::Integer),
            ("map", JsonType::Object),
        ];
        world
            .catalog
            .add_simple(&format!("{engine}:1.0.0"), engine, &outputs);
    }
    world
}

/// What was planned for each revision, how it ended, and what was applied.
type Told = Vec<(Option<PlanView>, Is, Vec<String>)>;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

fn run(nodes: &[Node]) -> (World, Told) {
    runtime().block_on(async {
        let world = world();
        let host = world.host().await;
        let mut told = Vec::new();
        for revision in [1, 2] {
            script(&world, nodes, revision);
            let body = body(nodes, revision);
            let bytes = serde_json::to_vec(&body).expect("JSON");
            let plan = host.plan(&bytes, RequestMeta::default()).await.ok();
            let before = world.engines.calls().len();
            let view = deploy(&host, &body).await;
            let calls = world.engines.calls().split_off(before);
            let applied = calls.iter().filter(|c| c.function == Function::Apply);
            told.push((
                plan,
                view.status,
                applied.map(|c| c.resource.to_string()).collect(),
            ));
        }
        (world, told)
    })
}

/// Two resources may begin at the same moment, and one of them cannot be given
/// its config: what its engine put out has no such part.
#[test]
fn what_cannot_be_given_its_config_ends_the_run_as_any_failure() {
    for (on_failure, ends, there) in [
        ("halt", Is::Failed, 1),
        ("rollback", Is::RolledBack, 0),
        ("continue", Is::Failed, 2),
    ] {
        let node = Node {
            engine: 0,
            changes: false,
            moves: false,
            refers: Vec::new(),
            odd: None,
        };
        runtime().block_on(async {
            let world = world();
            let host = world.host().await;
            script(&world, &[node.clone(), node.clone(), node.clone()], 1);
            let of = |part: &str| json!({ "x": format!("${{resources.r0.outputs.map.{part}}}") });
            let mut body = body(&[node], 1);
            let resources = body["resources"].as_array_mut().expect("resources");
            for (name, part) in [("r1", "nowhere"), ("r2", "a")] {
                resources
                    .push(json!({ "name": name, "catalogRef": "fake:1.0.0", "config": of(part) }));
            }
            body["policy"]["onFailure"] = json!(on_failure);
            let view = deploy(&host, &body).await;
            assert_eq!(view.status, ends, "{view:#?}");
            assert_eq!(world.engines.world("web").len(), there, "{on_failure}");
            let reason = view.reason.expect("says why");
            assert!(reason.contains("no \"nowhere\""), "{reason}");
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_placeholder_reaches_an_apply(nodes in nodes(prop::option::weighted(0.4, odd()))) {
        let (world, _) = run(&nodes);
        for call in world.engines.calls() {
            let changes = match call.function {
                Function::Apply | Function::Destroy | Function::Observe | Function::Render => true,
                Function::Validate | Function::Plan | Function::Drift => false,
            };
            prop_assert!(!changes || placeholder(&call.config).is_none(), "{call:?}");
        }
    }

    #[test]
    fn what_was_planned_is_what_happens(nodes in nodes(Just(None))) {
        let (_, told) = run(&nodes);
        for (plan, status, applied) in told {
            prop_assert_eq!(status, Is::Ready);
            let plan = plan.expect("honest engines have a plan");
            for resource in plan.resources {
                let is = applied.contains(&resource.name);
                match resource.action.as_str() {
                    "noop" => prop_assert!(!is, "{resource:?} was applied"),
                    "possible" => {}
                    _ => prop_assert!(is, "{resource:?} was not applied"),
                }
                prop_assert!(!resource.reason.is_empty());
            }
        }
    }
}
