//! A death at every boundary: the same small scenario again and again, in which
//! the host dies before, and then after, the first commit or effect, the
//! second, and so on to the last.

use crate::Violation;
use crate::scenario::{Options, run};
use crate::store::{Crash, Fate};

/// What came of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// Deaths tried.
    pub deaths: u64,
    /// Where the host died and what was breached then.
    pub violations: Vec<(Crash, Violation)>,
}

/// A person with one deployment and two requests; nothing dies by chance.
#[must_use]
pub fn options() -> Options {
    Options {
        deployments: 1,
        requests: 2,
        fate: Fate::default(),
        ..Options::default()
    }
}

/// Dies at every commit and every effect of a seed's scenario.
#[must_use]
pub fn every_death(seed: u64) -> Exhausted {
    let mut exhausted = Exhausted {
        deaths: 0,
        violations: Vec::new(),
    };
    for at in 1.. {
        for before in [true, false] {
            let crash = Crash { at, before };
            let report = run(
                seed,
                &Options {
                    crash: Some(crash),
                    ..options()
                },
            );
            if report.boundaries < at {
                // There is no such boundary any more.
                return exhausted;
            }
            exhausted.deaths += 1;
            let breached = report.violations.into_iter().map(|v| (crash, v));
            exhausted.violations.extend(breached);
        }
    }
    exhausted
}
