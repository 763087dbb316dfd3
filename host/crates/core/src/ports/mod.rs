//! What the core needs from the outside. Each port is small; every adapter of
//! one passes the same conformance suite.

mod catalog;
mod delivery;
mod engines;
mod notifier;
mod store;

pub use catalog::{Catalog, CatalogError};
pub use delivery::{Delivered, Delivery, DeliveryError, DeliveryRequest, Withdrawal};
pub use engines::{
    CallObserver, EngineCall, EngineHead, EngineStatus, Engines, Function, LogLevel, NoObserver,
    Reply, Standing,
};
pub use notifier::{NoNotifier, Notice, NoticeAnswer, Notifier};
pub use store::{
    Batch, Bytes, CommitError, Guard, MAX_KEY_BYTES, MAX_VALUE_BYTES, Store, StoreError, Write,
};
