//! The dependency graph as arrays of numbers.
//!
//! petgraph finds the cycles (only a graph that is refused has any) and is the
//! oracle of the tests. It does not order: its `toposort` answers an order
//! that has nothing to do with the request's, takes twice as long over its
//! `Graph`, and its `is_cyclic_directed` and `tarjan_scc` recurse once per
//! node, which overflows the stack on a chain of 100,000.

mod cycle;
mod min_queue;
mod names;
mod wiring;

pub use cycle::Cycle;
pub use names::Names;
pub use wiring::{FoundReference, Wire, Wiring};

use min_queue::MinQueue;

/// Nodes are numbers from 0; edges lead from what goes first to what depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    successors: Adjacency,
    predecessors: Adjacency,
}

/// Neighbours of all nodes in one array: those of node `n` are
/// `targets[starts[n]..starts[n + 1]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Adjacency {
    starts: Vec<u32>,
    targets: Vec<u32>,
}

impl Graph {
    /// A graph of `nodes` nodes. Repeated edges are kept and do no harm.
    ///
    /// # Panics
    /// When an edge names a node that is not there, or there are 2³² nodes or edges.
    #[must_use]
    pub fn new(nodes: usize, edges: &[(u32, u32)]) -> Self {
        Self {
            successors: Adjacency::new(nodes, edges.iter().copied()),
            predecessors: Adjacency::new(nodes, edges.iter().map(|&(from, to)| (to, from))),
        }
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.successors.len()
    }

    /// Whether there is no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The nodes that depend on `node` directly.
    #[must_use]
    pub fn successors(&self, node: u32) -> &[u32] {
        self.successors.of(node)
    }

    /// The nodes that `node` depends on directly.
    #[must_use]
    pub fn predecessors(&self, node: u32) -> &[u32] {
        self.predecessors.of(node)
    }

    /// Every node after all it depends on; among those that could come next,
    /// the smallest number first. So the order of a request that is in order
    /// already is kept, and the same request always gives the same order.
    ///
    /// # Errors
    /// One of the graph's cycles.
    pub fn order(&self) -> Result<Vec<u32>, Cycle> {
        let mut waiting_for: Vec<u32> = self.predecessors.degrees().collect();
        let mut ready = MinQueue::new(self.len());
        for node in (0..)
            .zip(&waiting_for)
            .filter(|(_, count)| **count == 0)
            .map(|(node, _)| node)
        {
            ready.push(node);
        }
        let mut order = Vec::with_capacity(self.len());
        while let Some(node) = ready.pop() {
            order.push(node);
            for &next in self.successors(node) {
                let count = &mut waiting_for[next as usize];
                *count -= 1;
                if *count == 0 {
                    ready.push(next);
                }
            }
        }
        if order.len() == self.len() {
            return Ok(order);
        }
        let first = self.cycles().into_iter().next();
        Err(first.expect("nodes that wait for each other form a cycle"))
    }

    /// Every node that waits for itself, and a shortest cycle through the
    /// smallest node of each group of nodes that wait for each other; by their
    /// smallest node.
    #[must_use]
    pub fn cycles(&self) -> Vec<Cycle> {
        cycle::cycles(self)
    }

    /// Everything that `node` depends on, directly or not; sorted, without itself.
    #[must_use]
    pub fn ancestors(&self, node: u32) -> Vec<u32> {
        self.predecessors.reachable(node)
    }

    /// Everything that depends on `node`, directly or not; sorted, without itself.
    #[must_use]
    pub fn descendants(&self, node: u32) -> Vec<u32> {
        self.successors.reachable(node)
    }
}

impl Adjacency {
    /// Counting sort by the first of each pair; the order of equal ones is kept.
    fn new(nodes: usize, edges: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0_u32; nodes + 1];
        let mut count = 0;
        for (from, to) in edges.clone() {
            assert!((to as usize) < nodes, "edge to node {to} of {nodes}");
            starts[from as usize + 1] += 1;
            count += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut targets = vec![0; count];
        // `starts[n]` runs up to `starts[n + 1]` while the targets are filled in …
        for (from, to) in edges {
            let place = &mut starts[from as usize];
            targets[*place as usize] = to;
            *place += 1;
        }
        // … so afterwards every start stands one place too early.
        starts.copy_within(0..nodes, 1);
        starts[0] = 0;
        Self { starts, targets }
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn of(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.targets[self.starts[node] as usize..self.starts[node + 1] as usize]
    }

    fn degrees(&self) -> impl Iterator<Item = u32> {
        self.starts.windows(2).map(|pair| pair[1] - pair[0])
    }

    fn reachable(&self, node: u32) -> Vec<u32> {
        let mut seen = vec![false; self.len()];
        let mut open = vec![node];
        let mut reached = Vec::new();
        while let Some(next) = open.pop() {
            for &neighbour in self.of(next) {
                if !std::mem::replace(&mut seen[neighbour as usize], true) {
                    reached.push(neighbour);
                    open.push(neighbour);
                }
            }
        }
        reached.retain(|&other| other != node);
        reached.sort_unstable();
        reached
    }
}

#[cfg(test)]
mod tests;
