//! The real coordinator in a simulated world.
//!
//! Everything that can differ between two runs (time, chance, the order of
//! answers, crashes) comes from one seed, so a seed that fails, fails again in
//! the same way. See [`scenario::run`].
//!
//! | module | stands in for |
//! |---|---|
//! | [`dice`] | chance |
//! | [`clock`] | time: it jumps when nothing else can happen |
//! | [`store`] | the disk: a commit is whole or not at all; the host may die before or after one |
//! | [`engines`] | engines and the world they change: slow, failing, forgetful |
//! | `receivers` | who subscribed: out of reach, refusing, slow |
//! | [`people`] | people: posts, updates, parts, approvals, cancels, deletes, retries |
//! | `hasty` | people in a hurry, in two environments and with two engines |
//! | `platform` | the catalog |
//! | [`scenario`] | nobody: puts the others together; one host, or two workers on one disk |
//! | [`exhaustive`] | the same with a death at every commit and effect, one after another |
//! | [`things`] | people who are after the same real things |
//! | [`turns`] | composers who want more than the host can do at once |
//! | `watch` | somebody who looks at deployments all the time |
//! | [`check`] | nobody: what has to hold in the end |

pub mod check;
pub mod clock;
pub mod dice;
pub mod engines;
pub mod exhaustive;
mod hasty;
pub mod people;
mod platform;
mod receivers;
pub mod scenario;
pub mod store;
pub mod things;
pub mod trace;
pub mod turns;
mod watch;

/// What has to hold, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// A resource is applied only after all it depends on is ready.
    DependenciesFirst,
    /// Never two operations at once on one resource.
    OneOperationAtATime,
    /// An acknowledged request is never lost.
    NothingLost,
    /// Every operation ends or is visibly stuck with a reason.
    EverythingEnds,
    /// Compensation runs in reverse order and only over what was changed.
    UnwindsInReverse,
    /// A cancelled deployment starts nothing new.
    CancelledStartsNothing,
    /// Nothing begins that has to be approved and was not.
    NothingUnapproved,
    /// No operation takes effect twice.
    NoEffectTwice,
    /// What is deployed in the end is what the status says.
    WorldMatchesStatus,
    /// A worker that lost a deployment's lease writes nothing about it and
    /// begins no call for it.
    StaleWritesAreRefused,
    /// A real thing is touched for its owner only, and is there once.
    OneOwner,
    /// Of what one composer has waiting, the higher priority goes first.
    HigherPriorityFirst,
    /// However much of a higher priority comes, the lower has its turn.
    NobodyStarves,
    /// The progress of a run that is written down or shown never goes back.
    ProgressOnlyGrows,
    /// Whatever is somewhere says why, and for what it waits.
    EverythingSaysWhy,
    /// Every durable event is told to who subscribed, or is a dead letter.
    NothingUntold,
    /// Events are told in their order.
    ToldInOrder,
    /// The same seed gives the same trace.
    SameTrace,
}

/// A breach of an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was seen.
    pub detail: String,
}
