//! Adapters of the core's Store port.
//!
//! | adapter | for | survives |
//! |---|---|---|
//! | [`MemoryStore`] | tests | nothing |
//! | [`SledStore`] | one host, the default | crashes of the process and of the machine |
//!
//! Both pass `nestor_testkit::store::conformance`.

mod limits;
mod memory;
pub mod metrics;
mod sled;

pub use limits::{MAX_BATCH_BYTES, MAX_BATCH_WRITES};
pub use memory::MemoryStore;
pub use sled::{DEFAULT_CACHE_BYTES, OpenError, SledOptions, SledStore};
