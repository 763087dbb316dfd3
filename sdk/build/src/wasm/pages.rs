//! Which pages of a memory are written to, as few runs.

/// The host's page, on every machine that matters: 4 KiB.
pub(super) const PAGE_BITS: i32 = 12;

/// As many runs as the Go SDK has room for. Wasmtime copies the 32 lowest runs of
/// changed pages back after a call and drops the rest, which the next call then
/// faults in again; a third of the 32 is for pages that were not foreseen.
const MAX_RUNS: usize = 20;

/// So many pages between two that are written to are worth being written to as
/// well: copying one back takes a tenth of faulting one in.
const MAX_GAP: u32 = 16;

/// Neighbouring pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) count: u32,
}

impl Run {
    fn end(self) -> u32 {
        self.first + self.count
    }
}

/// How many pages a memory has.
pub(super) fn count(memory: &[u8]) -> usize {
    memory.len() >> PAGE_BITS
}

/// The pages that are not zero in `written`, with the few between them: the
/// [`MAX_RUNS`] lowest runs.
pub(super) fn hot_runs(written: &[u8]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (page, _) in (0..).zip(written).filter(|(_, is)| **is != 0) {
        let last = runs.last_mut();
        if let Some(run) = last.filter(|run| page - run.end() <= MAX_GAP) {
            run.count = page + 1 - run.first;
        } else if runs.len() < MAX_RUNS {
            runs.push(Run {
                first: page,
                count: 1,
            });
        } else {
            break;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u32, count: u32) -> Run {
        Run { first, count }
    }

    #[test]
    fn written_pages_are_runs_with_what_is_between() {
        let mut written = vec![0; 100];
        for page in [1, 2, 19, 37, 99] {
            written[page] = 1;
        }
        // 16 pages are between 2 and 19, 17 between 19 and 37.
        assert_eq!(hot_runs(&written), [run(1, 19), run(37, 1), run(99, 1)]);
        assert_eq!(hot_runs(&[0; 9]), []);
        assert_eq!(hot_runs(&[]), []);
    }

    #[test]
    fn the_lowest_runs_are_enough() {
        let mut written = vec![0; 2000];
        for page in (0..2000).step_by(50) {
            written[page] = 1;
            written[page + 1] = 1;
        }
        let runs = hot_runs(&written);
        assert_eq!(runs.len(), MAX_RUNS);
        assert_eq!(runs.last(), Some(&run(950, 2)));
    }
}
