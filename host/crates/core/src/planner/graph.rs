//! The dependency graph as arrays of numbers.

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

/// A cycle: each node goes before the next, the last before the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<u32>);

impl Graph {
    /// A graph of `nodes` nodes. Repeated edges are kept and do no harm.
    ///
    /// # Panics
    /// When an edge names a node that is not there.
    #[must_use]
    pub fn new(nodes: usize, edges: &[(u32, u32)]) -> Self {
        let _ = (nodes, edges);
        todo!()
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.successors.starts.len() - 1
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
    /// the smallest number first.
    pub fn order(&self) -> Result<Vec<u32>, Cycle> {
        todo!()
    }

    /// Everything that `node` depends on, directly or not; sorted, without itself.
    #[must_use]
    pub fn ancestors(&self, node: u32) -> Vec<u32> {
        let _ = node;
        todo!()
    }

    /// Everything that depends on `node`, directly or not; sorted, without itself.
    #[must_use]
    pub fn descendants(&self, node: u32) -> Vec<u32> {
        let _ = node;
        todo!()
    }
}

impl Adjacency {
    fn of(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.targets[self.starts[node] as usize..self.starts[node + 1] as usize]
    }
}
