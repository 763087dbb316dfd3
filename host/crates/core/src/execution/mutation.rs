//! Deliberate bugs, one per invariant, to show that the simulation would find
//! them. They exist only with the feature `mutations`, which nothing but the
//! simulation's own test turns on; without it [`active`] is the constant false.

/// A deliberate bug, named after the invariant that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// A step begins when the first of those it comes after is done.
    DependenciesFirst,
    /// A step is worked on although a call for it is still under way.
    OneOperationAtATime,
    /// A request is acknowledged, but not marked as something to do.
    NothingLost,
    /// A call that was under way when the host died is forgotten.
    EverythingEnds,
    /// Everything that was touched is undone at once.
    UnwindsInReverse,
    /// A request to stop is noted, and the run goes on.
    CancelledStartsNothing,
    /// A plan that has to be approved is not waited for.
    NothingUnapproved,
    /// An attempt is an operation of its own.
    NoEffectTwice,
    /// A destruction that never happened counts as done.
    WorldMatchesStatus,
    /// A worker writes without its lease.
    StaleWritesAreRefused,
    /// What was handed over is still its former owner's.
    OneOwner,
    /// First come, first served.
    HigherPriorityFirst,
    /// Waiting is worth nothing.
    NobodyStarves,
    /// Progress is what it is just now.
    ProgressOnlyGrows,
    /// What waits does not say for what.
    EverythingSaysWhy,
    /// An event is struck off before its receiver has it.
    NothingUntold,
    /// An event that did not arrive is passed by.
    ToldInOrder,
    /// What may begin begins in the order that a hash map happens to have.
    SameTrace,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::DependenciesFirst,
        Self::OneOperationAtATime,
        Self::NothingLost,
        Self::EverythingEnds,
        Self::UnwindsInReverse,
        Self::CancelledStartsNothing,
        Self::NothingUnapproved,
        Self::NoEffectTwice,
        Self::WorldMatchesStatus,
        Self::StaleWritesAreRefused,
        Self::OneOwner,
        Self::HigherPriorityFirst,
        Self::NobodyStarves,
        Self::ProgressOnlyGrows,
        Self::EverythingSaysWhy,
        Self::NothingUntold,
        Self::ToldInOrder,
        Self::SameTrace,
    ];
}

#[cfg(feature = "mutations")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Turns one bug on for this thread, or none.
#[cfg(feature = "mutations")]
pub fn set(mutation: Option<Mutation>) {
    ACTIVE.set(mutation);
}

/// Whether the code is to misbehave so.
#[cfg(feature = "mutations")]
#[must_use]
pub fn active(mutation: Mutation) -> bool {
    ACTIVE.get() == Some(mutation)
}

/// Whether the code is to misbehave so.
#[cfg(not(feature = "mutations"))]
#[must_use]
pub const fn active(_: Mutation) -> bool {
    false
}
