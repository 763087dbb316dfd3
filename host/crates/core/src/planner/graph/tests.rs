use std::collections::HashSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use petgraph::algo::{has_path_connecting, toposort};
use petgraph::graph::DiGraph;
use proptest::prelude::*;

use super::*;
use crate::spec::{Dependency, DeploymentSpec};

/// Up to 40 nodes with up to 120 edges, half of them without any cycle.
fn graphs() -> impl Strategy<Value = (usize, Vec<(u32, u32)>)> {
    (1_usize..40, any::<bool>()).prop_flat_map(|(nodes, acyclic)| {
        let node = 0..u32::try_from(nodes).unwrap();
        let edges = prop::collection::vec((node.clone(), node), 0..120);
        edges.prop_map(move |mut edges| {
            if acyclic {
                // A fixed shuffle of the numbers, so that order and number differ.
                let rank = |n: u32| (u64::from(n) * 7919 + 13) % 40_009;
                edges.retain(|(from, to)| from != to);
                for edge in &mut edges {
                    if rank(edge.0) > rank(edge.1) {
                        *edge = (edge.1, edge.0);
                    }
                }
            }
            (nodes, edges)
        })
    })
}

fn oracle(nodes: usize, edges: &[(u32, u32)]) -> DiGraph<(), (), u32> {
    let mut graph = DiGraph::with_capacity(nodes, edges.len());
    (0..nodes).for_each(|_| {
        graph.add_node(());
    });
    graph.extend_with_edges(edges);
    graph
}

/// The definition of the order, word by word.
fn smallest_first(nodes: usize, edges: &[(u32, u32)]) -> Vec<u32> {
    let mut left: Vec<u32> = (0..u32::try_from(nodes).unwrap()).collect();
    let mut order = Vec::new();
    while let Some(i) = left.iter().position(|node| {
        !edges
            .iter()
            .any(|(from, to)| to == node && left.contains(from))
    }) {
        order.push(left.remove(i));
    }
    order
}

proptest! {
    #[test]
    fn order_is_the_smallest_that_respects_every_edge((nodes, edges) in graphs()) {
        let ordered = Graph::new(nodes, &edges).order();
        prop_assert_eq!(ordered.is_ok(), toposort(&oracle(nodes, &edges), None).is_ok());
        if let Ok(order) = ordered {
            prop_assert_eq!(order, smallest_first(nodes, &edges));
        }
    }

    #[test]
    fn every_cycle_is_one_and_every_group_has_one((nodes, edges) in graphs()) {
        let graph = Graph::new(nodes, &edges);
        let cycles = graph.cycles();
        prop_assert_eq!(cycles.is_empty(), graph.order().is_ok());
        let mut seen = HashSet::new();
        for Cycle(path) in &cycles {
            let next = path.iter().skip(1).chain(path.first());
            for (from, to) in path.iter().zip(next) {
                prop_assert!(edges.contains(&(*from, *to)), "{} → {} is no edge", from, to);
            }
            prop_assert_eq!(path.iter().min(), path.first());
            // A node is on one cycle of its group, and on one with itself at most.
            let kind = path.len() == 1;
            prop_assert!(path.iter().all(|node| seen.insert((kind, *node))), "cycles share a node");
        }
        let groups = petgraph::algo::tarjan_scc(&oracle(nodes, &edges));
        let with_itself = (0..u32::try_from(nodes).unwrap()).filter(|&n| edges.contains(&(n, n))).count();
        prop_assert_eq!(groups.iter().filter(|group| group.len() > 1).count() + with_itself, cycles.len());
    }

    #[test]
    fn ancestors_and_descendants_are_what_a_path_connects((nodes, edges) in graphs(), pick: prop::sample::Index) {
        let (graph, oracle) = (Graph::new(nodes, &edges), oracle(nodes, &edges));
        let node = u32::try_from(pick.index(nodes)).unwrap();
        let all = 0..u32::try_from(nodes).unwrap();
        let path = |a: u32, b: u32| has_path_connecting(&oracle, a.into(), b.into(), None);
        let after: Vec<u32> = all.clone().filter(|&other| other != node && path(node, other)).collect();
        let before: Vec<u32> = all.filter(|&other| other != node && path(other, node)).collect();
        prop_assert_eq!(graph.descendants(node), after);
        prop_assert_eq!(graph.ancestors(node), before);
    }

    #[test]
    fn neighbours_are_the_edges((nodes, mut edges) in graphs()) {
        let graph = Graph::new(nodes, &edges);
        let all = 0..u32::try_from(nodes).unwrap();
        let mut by_successor: Vec<_> = all.clone().flat_map(|a| graph.successors(a).iter().map(move |&b| (a, b))).collect();
        let mut by_predecessor: Vec<_> = all.flat_map(|b| graph.predecessors(b).iter().map(move |&a| (a, b))).collect();
        for list in [&mut edges, &mut by_successor, &mut by_predecessor] {
            list.sort_unstable();
        }
        prop_assert_eq!(&by_successor, &edges);
        prop_assert_eq!(&by_predecessor, &edges);
    }
}

#[test]
fn a_chain_and_a_ring_of_a_million_need_no_stack() {
    let nodes = 1_000_000;
    let mut edges: Vec<(u32, u32)> = (1..nodes).map(|n| (n, n - 1)).collect();
    let chain = Graph::new(nodes as usize, &edges);
    assert!(chain.order().unwrap().into_iter().eq((0..nodes).rev()));
    assert_eq!(chain.ancestors(0).len(), 999_999);
    edges.push((0, nodes - 1));
    let ring = Graph::new(nodes as usize, &edges).order().unwrap_err();
    assert_eq!(ring.0.len(), 1_000_000);
    assert!(ring.show(|_| "x").len() < 200);
}

#[test]
fn a_cycle_is_shown_as_its_path() {
    let graph = Graph::new(4, &[(0, 1), (1, 2), (2, 1), (2, 3)]);
    let cycle = graph.order().unwrap_err();
    assert_eq!(
        cycle.show(|n| ["a", "b", "c", "d"][n as usize]),
        "b → c → b"
    );
}

/// `n` resources in random order, three dependencies each.
fn large(n: u32) -> DeploymentSpec {
    let mut seed = 42_u64;
    let mut random = move |below: u32| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((seed >> 33) % u64::from(below)).unwrap()
    };
    let name = |i: u32| format!("resource-{i:07}");
    let resources: Vec<_> = (0..n)
        .map(|i| {
            crate::spec::samples::resource(&name(
                u32::try_from(u64::from(i) * 48_271 % u64::from(n)).unwrap(),
            ))
        })
        .collect();
    let dependencies = (1..n).flat_map(|i| [random(i), random(i), random(i)].map(|from| (from, i)));
    let dependencies = dependencies
        .map(|(from, to)| Dependency {
            from: name(from).parse().unwrap(),
            to: name(to).parse().unwrap(),
        })
        .collect();
    crate::spec::samples::deployment(resources, dependencies)
}

#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn best_of<T>(runs: u32, mut work: impl FnMut() -> T) -> Duration {
    let timed = |_| {
        let start = Instant::now();
        let result = black_box(work());
        let elapsed = start.elapsed();
        drop(result);
        elapsed
    };
    (0..runs).map(timed).min().unwrap()
}

/// Run with `cargo test -p nestor-core --release ordering_speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check; make bench has the one that counts"]
fn ordering_speed() {
    for n in [1_000, 10_000, 100_000, 1_000_000] {
        let spec = large(n);
        let ours = best_of(7, || Wiring::of(&spec).graph().order().unwrap());
        let edges: Vec<(u32, u32)> = Wiring::of(&spec)
            .wires
            .iter()
            .map(|w| (w.from, w.to))
            .collect();
        let intern = || {
            let state = foldhash::fast::RandomState::default();
            let mut names = std::collections::HashMap::with_capacity_and_hasher(n as usize, state);
            for (i, resource) in spec.resources.iter().enumerate() {
                names.insert(resource.name.as_str(), i);
            }
            names
        };
        let once = best_of(7, || (intern(), kahn(n as usize, &edges)));
        let each = best_of(7, || {
            let names = intern();
            let number = |name: &str| u32::try_from(names[name]).unwrap();
            let edges: Vec<_> = spec
                .dependencies
                .iter()
                .map(|d| (number(d.from.as_str()), number(d.to.as_str())))
                .collect();
            kahn(n as usize, &edges)
        });
        let ratio = |other: Duration| ours.as_secs_f64() / other.as_secs_f64();
        let parts = (
            best_of(7, || Wiring::of(&spec)),
            best_of(7, || Graph::new(n as usize, &edges)),
            best_of(7, || kahn(n as usize, &edges)),
        );
        println!("{n}: ours {ours:?} (wiring, graph, least sort: {parts:?})");
        println!(
            "  against interning each name once {once:?}: {:.2}",
            ratio(once)
        );
        println!(
            "  against interning each appearance {each:?}: {:.2}",
            ratio(each)
        );
    }
}

/// The least work: one adjacency array, a stack, no particular order.
fn kahn(nodes: usize, edges: &[(u32, u32)]) -> Vec<u32> {
    let mut waiting = vec![0_u32; nodes];
    edges.iter().for_each(|&(_, to)| waiting[to as usize] += 1);
    let successors = Adjacency::new(nodes, edges.iter().copied());
    let mut order: Vec<u32> = (0..u32::try_from(nodes).unwrap())
        .filter(|&n| waiting[n as usize] == 0)
        .collect();
    let mut done = 0;
    while let Some(&node) = order.get(done) {
        done += 1;
        for &next in successors.of(node) {
            waiting[next as usize] -= 1;
            if waiting[next as usize] == 0 {
                order.push(next);
            }
        }
    }
    order
}
