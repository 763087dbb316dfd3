//! Shows that the simulation finds bugs: with each deliberate one it reports
//! the invariant of that name. `make sim` runs this.
#![cfg(feature = "mutations")]

use std::sync::atomic::{AtomicUsize, Ordering};

use nestor_core::execution::mutation::{Mutation, set};
use nestor_sim::Violation;
use nestor_sim::scenario::{Options, again, run};
use nestor_sim::{things, turns};

/// Where searches begin: one that finds a bug by luck does not find it from
/// each of these.
const BEGIN: [u64; 3] = [1, 100_001, 200_001];
/// Seeds from each of them within which a bug has to be found: six times what
/// the rarest takes.
const SEEDS: u64 = 150;
/// Searches at once: `make sim` is measured on two cores.
const THREADS: usize = 2;

#[test]
fn every_deliberate_bug_is_found() {
    let next = AtomicUsize::new(0);
    let lines = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut lines = Vec::new();
                    while let Some(mutation) =
                        Mutation::ALL.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        lines.push((*mutation, BEGIN.map(|from| seeds_until(*mutation, from))));
                    }
                    lines
                })
            })
            .collect();
        let found = threads
            .into_iter()
            .map(|thread| thread.join().expect("ends"));
        found.flatten().collect::<Vec<_>>()
    });
    for (mutation, found) in &lines {
        let found = found.map(|seeds| seeds.map_or("none".into(), |seeds| seeds.to_string()));
        println!("{mutation:?}: found after {} seeds", found.join(", "));
    }
    let missed: Vec<_> = lines
        .iter()
        .filter(|(_, found)| found.iter().any(Option::is_none))
        .collect();
    assert!(missed.is_empty(), "not within {SEEDS} seeds: {missed:?}");
}

/// How many seeds it takes to find a bug.
fn seeds_until(mutation: Mutation, from: u64) -> Option<u64> {
    set(Some(mutation));
    let name = format!("{mutation:?}");
    let found = (1..=SEEDS).find(|number| {
        let violations = scenario(mutation, from + number - 1);
        violations
            .iter()
            .any(|v| format!("{:?}", v.invariant) == name)
    });
    set(None);
    found
}

/// The scenarios that a bug shows in: the everyday ones, but for those that
/// take several workers or more than the host can do.
fn scenario(mutation: Mutation, seed: u64) -> Vec<Violation> {
    match mutation {
        Mutation::StaleWritesAreRefused => run(seed, &Options::shared()).violations,
        Mutation::SameTrace => again(seed, &Options::of_seed(seed)).into_iter().collect(),
        Mutation::OneOwner => things::run(seed, false).violations,
        Mutation::HigherPriorityFirst | Mutation::NobodyStarves => turns::run(seed),
        Mutation::DependenciesFirst
        | Mutation::OneOperationAtATime
        | Mutation::NothingLost
        | Mutation::EverythingEnds
        | Mutation::UnwindsInReverse
        | Mutation::CancelledStartsNothing
        | Mutation::NothingUnapproved
        | Mutation::NoEffectTwice
        | Mutation::WorldMatchesStatus
        | Mutation::ProgressOnlyGrows
        | Mutation::EverythingSaysWhy
        | Mutation::NothingUntold
        | Mutation::ToldInOrder => run(seed, &Options::of_seed(seed)).violations,
    }
}
