//! Shows that the simulation finds bugs: with each deliberate one it reports
//! the invariant of that name. `make sim` runs this.
#![cfg(feature = "mutations")]

use nestor_core::execution::mutation::{Mutation, set};
use nestor_sim::scenario::{Options, run};
use nestor_sim::turns;

/// Seeds within which a bug has to be found.
const SEEDS: u64 = 1500;

#[test]
fn every_deliberate_bug_is_found() {
    for mutation in Mutation::ALL {
        set(Some(mutation));
        let name = format!("{mutation:?}");
        let found = (1..=SEEDS).find(|seed| {
            let violations = match mutation {
                Mutation::StaleWritesAreRefused => run(*seed, &Options::shared()).violations,
                Mutation::HigherPriorityFirst | Mutation::NobodyStarves => turns::run(*seed),
                _ => run(*seed, &Options::default()).violations,
            };
            violations
                .iter()
                .any(|v| format!("{:?}", v.invariant) == name)
        });
        set(None);
        println!("{name}: found with seed {found:?}");
        assert!(found.is_some(), "{name} was not found within {SEEDS} seeds");
    }
}
