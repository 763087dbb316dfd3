//! The cycles of a graph that cannot be ordered.

use std::collections::{HashMap, HashSet, VecDeque};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::Graph;

/// A cycle: each node goes before the next, and the last before the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<u32>);

impl Cycle {
    /// As people read it: `a → b → c → a`.
    #[must_use]
    pub fn show<'n>(&self, name: impl Fn(u32) -> &'n str) -> String {
        // A path of thousands of names helps nobody.
        const SHOWN: usize = 20;
        let nodes = &self.0;
        let mut names: Vec<&str> = nodes.iter().take(SHOWN).map(|&node| name(node)).collect();
        let left_out = format!("… {} more …", nodes.len().saturating_sub(SHOWN));
        if nodes.len() > SHOWN {
            names.push(&left_out);
        }
        names.extend(nodes.first().map(|&node| name(node)));
        names.join(" → ")
    }
}

pub(super) fn cycles(graph: &Graph) -> Vec<Cycle> {
    let nodes = u32::try_from(graph.len()).expect("a graph has fewer than 2³² nodes");
    let edges =
        (0..nodes).flat_map(|from| graph.successors(from).iter().map(move |&to| (from, to)));
    let mut whole: DiGraph<(), (), u32> = DiGraph::with_capacity(graph.len(), 0);
    for _ in 0..nodes {
        whole.add_node(());
    }
    whole.extend_with_edges(edges);
    let alone = (0..nodes).filter(|node| graph.successors(*node).contains(node));
    let mut cycles: Vec<Cycle> = alone.map(|node| Cycle(vec![node])).collect();
    let groups = kosaraju_scc(&whole).into_iter();
    cycles.extend(groups.filter_map(|group| shortest_within(graph, &group)));
    cycles.sort_by_key(|cycle| (cycle.0[0], cycle.0.len()));
    cycles
}

/// A shortest cycle of more than one node through the smallest node of a
/// strongly connected group; none for a single node.
fn shortest_within(graph: &Graph, group: &[NodeIndex]) -> Option<Cycle> {
    let group: HashSet<u32> = group.iter().map(|node| node.index() as u32).collect();
    let start = group.iter().copied().min()?;
    let mut came_from = HashMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(node) = open.pop_front() {
        for &next in graph.successors(node) {
            if next == start && node != start {
                let mut path = vec![node];
                while let Some(&before) = came_from.get(path.last()?) {
                    path.push(before);
                }
                path.reverse();
                return Some(Cycle(path));
            }
            if next != start && group.contains(&next) && !came_from.contains_key(&next) {
                came_from.insert(next, node);
                open.push_back(next);
            }
        }
    }
    None
}
