//! Adapters of the core's Store port.
//!
//! | adapter | for | survives |
//! |---|---|---|
//! | [`MemoryStore`] | tests | nothing |
//!
//! Both pass `nestor_testkit::store::conformance`.

mod limits;
mod memory;

pub use limits::{MAX_BATCH_BYTES, MAX_BATCH_WRITES};
pub use memory::MemoryStore;
