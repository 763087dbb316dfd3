//! The orchestrator: worker loop, recovery and the service façade.
//!
//! ```text
//! submit ─► dep/ rev/ todo/  (one commit, then 202)
//!              │ bell
//!              ▼
//!           driver (one task per busy deployment, fenced)
//!              │ validate with the engines
//!              ▼
//!           run loop:  event ─► core::execution::step ─► effects
//!                        ▲            │ journal first
//!                        └── calls ◄──┘
//! ```
//! Everything that matters is in the store before anything follows from it;
//! the process can be killed at any moment and goes on after a restart.

mod context;
mod driver;
mod feed;
mod job;
mod live;
mod lookup;
pub mod metrics;
mod narrate;
mod observer;
mod orchestrator;
mod present;
mod preview;
mod records;
mod run_loop;
pub mod service;
mod status;
mod submit;
mod surroundings;
mod validate;
pub mod view;

pub use context::{Limits, Parts};
pub use orchestrator::{Orchestrator, StartError};
pub use surroundings::{RealSurroundings, Surroundings};
