//! The orchestrator: worker loop, recovery and the service façade.
//!
//! ```text
//! submit ─► dep/ rev/ todo/  (one commit, then 202)
//!              │ wake
//!              ▼
//!          scheduler (turns, fair among composers; who only waits is parked)
//!              ▼
//!           driver (one task per deployment worked on, under a lease)
//!              │ validate with the engines
//!              ▼
//!           run loop:  event ─► core::execution::step ─► effects
//!                        ▲            │ journal first
//!                        └── calls ◄──┘
//! ```
//! Everything that matters is in the store before anything follows from it;
//! the process can be killed at any moment and goes on after a restart.

mod alarms;
mod approve;
mod ask;
mod context;
mod drift;
mod driver;
mod events;
mod expiry;
mod feed;
mod fixed;
mod foresee;
mod forget;
mod gate;
mod impact;
mod job;
mod keep;
mod live;
mod lookup;
mod mask;
pub mod metrics;
mod narrate;
mod neighbours;
mod observer;
mod orchestrator;
mod ownership;
mod prepared;
mod present;
mod preview;
mod records;
mod recovery;
pub mod report;
mod revisions;
mod run_loop;
mod scheduler;
mod scope;
pub mod service;
mod slots;
mod status;
mod submit;
mod surroundings;
mod sweep;
mod taking;
mod unbegun;
mod validate;
pub mod view;
pub mod webhooks;
mod why;
mod worker;

pub use approve::MAX_COMMENT;
pub use context::{Limits, Parts};
pub use impact::Offer;
pub use orchestrator::{Orchestrator, StartError};
pub use scheduler::Occupancy;
pub use surroundings::{RealSurroundings, Surroundings};
