use proptest::prelude::*;
use serde_json::json;

use super::*;

fn place(deployment: &str, resource: &str) -> Place {
    Place {
        deployment: deployment.parse().unwrap(),
        resource: resource.parse().unwrap(),
    }
}

fn seed(touch: Touch, outputs: &[(&str, Fate)]) -> Seed {
    Seed {
        touch,
        reason: "changed".into(),
        outputs: outputs
            .iter()
            .map(|(name, fate)| (name.parse().unwrap(), *fate))
            .collect(),
    }
}

#[test]
fn each_link_reaches_as_far_as_it_says() {
    let reference = |exact| Link::Reference {
        output: "id".parse().unwrap(),
        exact,
    };
    let order = || Link::Order;
    let same = || Link::SameThing {
        identity: "x".into(),
    };
    let requires = || Link::Requires { what: "vpc".into() };
    use Fate::{Changes, Same, Unknown};
    use Touch::{Certainly, Not, Possibly};
    for (touch, fate, link, expected) in [
        (Certainly, Changes, reference(true), Certainly),
        (Certainly, Changes, reference(false), Possibly),
        (Certainly, Unknown, reference(true), Possibly),
        (Certainly, Same, reference(true), Not),
        (Possibly, Changes, reference(true), Possibly),
        (Possibly, Same, reference(false), Not),
        (Not, Changes, reference(true), Not),
        (Certainly, Same, order(), Possibly),
        (Not, Changes, order(), Not),
        (Certainly, Same, same(), Possibly),
        (Possibly, Same, requires(), Possibly),
    ] {
        let mut impact = Impact::new();
        let (a, b) = (
            impact.place(place("web", "a")),
            impact.place(place("web", "b")),
        );
        impact.link(a, b, link.clone());
        impact.seed(a, seed(touch, &[("id", fate)]));
        assert_eq!(
            impact.reach()[b].touch,
            expected,
            "{touch:?} {fate:?} {link:?}"
        );
    }
}

#[test]
fn the_way_is_told_also_around_a_circle() {
    let mut impact = Impact::new();
    let all = ["a", "b", "c", "d"].map(|name| impact.place(place("web", name)));
    let number = |name: &ResourceName| Some(all[usize::from(name.as_str().as_bytes()[0] - b'a')]);
    impact.link_config(
        all[1],
        &json!({"x": ["${resources.a.outputs.id}"]}),
        &number,
    );
    impact.link_config(all[2], &json!("at ${resources.b.outputs.id}"), &number);
    impact.link(all[2], all[0], Link::Order);
    impact.seed(all[0], seed(Touch::Certainly, &[("id", Fate::Changes)]));
    let reach = impact.reach();
    // The circle comes back to where it began, so its output is not sure.
    assert_eq!(reach[all[1]].touch, Touch::Possibly);
    assert_eq!(reach[all[2]].touch, Touch::Possibly);
    assert_eq!(reach[all[3]].touch, Touch::Not);
    let path: Vec<&str> = impact
        .path(&reach, all[2])
        .iter()
        .map(|p| p.resource.as_str())
        .collect();
    assert_eq!(path, ["a", "b", "c"]);
}

/// A resource of the model: its output is a function of its own value and of
/// what its references put in; a dull one puts out the same whatever it is.
#[derive(Debug, Clone)]
struct Model {
    own: u64,
    dull: bool,
    /// References to earlier ones: which, and whether alone in their text.
    refs: Vec<(usize, bool)>,
    /// Explicit dependencies alone.
    orders: Vec<usize>,
}

fn models() -> impl Strategy<Value = Vec<Model>> {
    prop::collection::vec(
        (
            0_u64..3,
            any::<bool>(),
            prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..3),
            prop::collection::vec(any::<prop::sample::Index>(), 0..2),
        ),
        1..12,
    )
    .prop_map(|raw| {
        raw.into_iter()
            .enumerate()
            .map(|(i, (own, dull, refs, orders))| Model {
                own,
                dull,
                refs: refs
                    .into_iter()
                    .filter(|_| i > 0)
                    .map(|(at, alone)| (at.index(i.max(1)), alone))
                    .collect(),
                orders: orders
                    .into_iter()
                    .filter(|_| i > 0)
                    .map(|at| at.index(i.max(1)))
                    .collect(),
            })
            .collect()
    })
}

/// Configs with their values in, and outputs, by brute force.
fn brought_about(models: &[Model]) -> (Vec<Vec<u64>>, Vec<u64>) {
    let (mut configs, mut outputs) = (Vec::new(), Vec::<u64>::new());
    for model in models {
        let mut config = vec![model.own];
        for (from, alone) in &model.refs {
            // Within a longer text something beside it may make up for it.
            config.push(if *alone {
                outputs[*from]
            } else {
                outputs[*from] % 2
            });
        }
        let sum: u64 = config.iter().sum();
        outputs.push(if model.dull { 7 } else { sum * 10 });
        configs.push(config);
    }
    (configs, outputs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What changes was said to change or maybe to; what was said to change
    /// for certain does; what was said not to never does.
    #[test]
    fn sound_against_brute_force(
        models in models(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..4, 0_u8..3), 1..3),
    ) {
        let mut after = models.clone();
        let mut changed = std::collections::BTreeMap::new();
        for (at, own, telling) in &changes {
            let at = at.index(models.len());
            after[at].own = *own;
            changed.insert(at, *telling);
        }
        let (configs, _) = brought_about(&models);
        let (new_configs, _) = brought_about(&after);

        let mut impact = Impact::new();
        let places: Vec<usize> = (0..models.len())
            .map(|i| impact.place(place("web", &format!("r{i}"))))
            .collect();
        for (i, model) in models.iter().enumerate() {
            for (from, alone) in &model.refs {
                let link = Link::Reference { output: "id".parse().unwrap(), exact: *alone };
                impact.link(places[*from], places[i], link);
            }
            for from in &model.orders {
                impact.link(places[*from], places[i], Link::Order);
            }
        }
        for (at, telling) in &changed {
            // Whoever makes the seed knows what the resource alone would put out.
            let alone = |own: u64| {
                let model = Model { own, ..models[*at].clone() };
                let mut all = models.clone();
                all[*at] = model;
                brought_about(&all).1[*at]
            };
            let (was, is) = (alone(models[*at].own), alone(after[*at].own));
            let fate = match telling {
                0 => Fate::Unknown,
                _ if was == is => Fate::Same,
                _ => Fate::Changes,
            };
            let touch = if models[*at].own == after[*at].own { Touch::Not } else { Touch::Certainly };
            impact.seed(places[*at], seed(touch, &[("id", fate)]));
        }
        for (i, reach) in impact.reach().iter().enumerate() {
            let moved = configs[i] != new_configs[i];
            match reach.touch {
                Touch::Not => prop_assert!(!moved, "r{i} changed, and was said not to"),
                Touch::Certainly => prop_assert!(moved, "r{i} did not change"),
                Touch::Possibly => {}
            }
        }
    }
}
