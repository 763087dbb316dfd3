//! Fakes and conformance suites for tests of the other crates.
//!
//! | module | gives |
//! |---|---|
//! | [`engines`] | [`FakeEngines`]: engines with scripted behaviour and a world of their own |
//! | [`catalog`] | [`MemoryCatalog`]: definitions from code |
//! | [`delivery`] | [`MemoryDelivery`]: GitOps delivery without Git |
//! | [`notifier`] | [`FakeNotifier`]: a receiver that keeps what it is told |
//! | [`store`] | what every adapter of the Store port must do |

pub mod catalog;
pub mod delivery;
pub mod engines;
pub mod notifier;
pub mod store;

pub use catalog::MemoryCatalog;
pub use delivery::MemoryDelivery;
pub use engines::FakeEngines;
pub use notifier::FakeNotifier;
