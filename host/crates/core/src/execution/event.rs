//! What happens to a run, and what the shell has to do about it.

use serde::{Deserialize, Serialize};

use super::backoff::Jitter;
use super::state::{Direction, Outcome};
use crate::ids::Timestamp;

/// What happened. Journaled before anything follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run starts.
    Began,
    /// The intent to work on a step: durable before the engine is called.
    Started {
        /// Which.
        step: u32,
        /// When.
        at: Timestamp,
    },
    /// The step needs no operation: it is deployed exactly so already.
    Unchanged {
        /// Which.
        step: u32,
    },
    /// The call waited so long for its turn: that is not the operation's time.
    Waited {
        /// Which.
        step: u32,
        /// For how long.
        ms: u64,
    },
    /// The operation is under way outside; look again later.
    Pended {
        /// Which.
        step: u32,
        /// When to look.
        poll_at: Timestamp,
        /// When the engine said so.
        at: Timestamp,
    },
    /// The operation is done.
    Succeeded {
        /// Which.
        step: u32,
    },
    /// A call failed; the machine decides whether to try again.
    CallFailed {
        /// Which.
        step: u32,
        /// How.
        failure: Failure,
        /// For the people.
        reason: String,
        /// When.
        at: Timestamp,
        /// For the backoff.
        jitter: Jitter,
    },
    /// Somebody wants the run to stop and be unwound.
    CancelRequested,
    /// Somebody wants what failed to be tried again.
    RetryRequested,
    /// The host started anew: calls that were under way are lost.
    Recovered,
}

/// How a call failed, as far as the next step depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Worth another attempt.
    Transient {
        /// The engine's wish.
        retry_after_ms: Option<u64>,
    },
    /// The call was not made: the engine is being prepared, or has too much to
    /// do. It comes again, within the step's time, and counts as no attempt.
    NotNow {
        /// When it would be worth it.
        retry_after_ms: Option<u64>,
    },
    /// Not worth another attempt.
    Permanent,
    /// From `observe`: the operation never took effect.
    NeverHappened,
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The step may begin: answer with `Started`, `Unchanged` or `CallFailed`.
    Dispatch {
        /// Which.
        step: u32,
    },
    /// Call the engine: answer with `Succeeded`, `Pended` or `CallFailed`.
    Call {
        /// Which.
        step: u32,
        /// For the step or against it.
        direction: Direction,
        /// What to call.
        call: Call,
        /// Counts from 1.
        attempt: u32,
    },
    /// At that time: dispatch the step if it is due, observe it if it is
    /// pending or unsettled. A later wake of the same step replaces this one.
    WakeAt {
        /// Which.
        step: u32,
        /// When.
        at: Timestamp,
    },
    /// The run ended.
    Ended(Outcome),
}

/// What to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Do the step, or undo it.
    Act,
    /// Settle an operation that is pending or whose outcome is unknown.
    Observe,
}

/// An event that cannot happen in that state: a bug in the shell, or a journal
/// that was tampered with. The run stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {event} is illegal for step {step:?} in state {state}")]
pub struct Illegal {
    /// The event.
    pub event: String,
    /// The step, for events of one.
    pub step: Option<u32>,
    /// The state of the step, or of the run.
    pub state: String,
}
