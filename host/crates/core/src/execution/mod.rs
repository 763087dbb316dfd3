//! The run of a revision as one state machine: `(Run, Event) → (Run, Vec<Effect>)`.
//!
//! The same [`step`] serves live, in recovery (folding the journal) and in
//! simulation. It reads no clock and draws no random number: both come with
//! the event, so the journal replays to the same state.
//!
//! Invariants, each checked by the tests of [`machine`](self):
//! - a step is dispatched only after every step it comes after is done;
//! - a step has at most one operation under way;
//! - once a run is stopped, nothing new is started forward;
//! - unwinding goes in reverse order and touches only what the run touched;
//! - every run ends, or has a step that an outside event can still move.

mod backoff;
mod event;
mod machine;
pub mod mutation;
mod part;
mod plan;
mod state;
#[cfg(test)]
mod tests;

pub use backoff::{BACKOFF_BASE_MS, BACKOFF_MAX_MS, Jitter, backoff_ms};
pub use event::{Call, Effect, Event, Failure, Illegal};
pub use machine::{replay, step};
pub use part::{affected, targeted};
pub use plan::{Deployed, RunPlan, RunStep, StepKind};
pub use state::{Direction, Mode, Outcome, ResourceState, Run, StepRun, StepState, StopReason};
