//! From a specification to an execution plan.
//!
//! ```text
//! spec ── catalog_refs ──► (shell looks definitions up) ──► plan ──► ExecutionPlan
//!                                                            │
//!                       resolve_config, once per operation ◄─┘
//! ```

mod compat;
mod definitions;
pub mod graph;
mod model;
mod plan;
mod resolve;
mod select;

pub use definitions::{Definitions, catalog_refs};
pub use model::{ExecutionPlan, PlannedEdge, PlannedResource};
pub use plan::plan;
pub use resolve::{
    Lookup, Resolved, UNKNOWN_KEY, Unresolved, placeholder, placeholders, promised, resolve_config,
};

#[cfg(test)]
mod tests;
