//! Which pages of a memory are written to, as few runs.

/// The host's page, on every machine that matters: 4 KiB.
pub(super) const PAGE_BITS: i32 = 12;

/// As many runs as the Go SDK has room for. Wasmtime copies the 32 lowest runs of
/// changed pages back after a call and drops the rest, which the next call then
/// faults in again; some of the 32 are for pages that were not foreseen.
const MAX_RUNS: usize = 24;

/// So many pages between two that are written to are always worth being written
/// to as well: copying one back takes a tenth of faulting one in.
const MAX_GAP: u32 = 8;

/// What the host copies back, 4 MiB, without some for what was not foreseen.
const MAX_PAGES: u32 = 960;

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
/// smallest gaps are closed until [`MAX_RUNS`] are left, and the highest runs
/// left out until there are no more than [`MAX_PAGES`].
pub(super) fn hot_runs(written: &[u8]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (page, _) in (0..).zip(written).filter(|(_, is)| **is != 0) {
        let last = runs.last_mut();
        if let Some(run) = last.filter(|run| page - run.end() <= MAX_GAP) {
            run.count = page + 1 - run.first;
        } else {
            runs.push(Run {
                first: page,
                count: 1,
            });
        }
    }
    while runs.len() > MAX_RUNS {
        let gap = |at: &usize| runs[*at].first - runs[at - 1].end();
        let Some(at) = (1..runs.len()).min_by_key(gap) else {
            break;
        };
        let next = runs.remove(at);
        runs[at - 1].count = next.end() - runs[at - 1].first;
    }
    while runs.iter().map(|run| run.count).sum::<u32>() > MAX_PAGES {
        runs.pop();
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
        for page in [1, 2, 11, 29, 99] {
            written[page] = 1;
        }
        // 8 pages are between 2 and 11.
        assert_eq!(hot_runs(&written), [run(1, 11), run(29, 1), run(99, 1)]);
        assert_eq!(hot_runs(&[0; 9]), []);
        assert_eq!(hot_runs(&[]), []);
    }

    #[test]
    fn the_smallest_gaps_are_closed() {
        let mut written = vec![0; 2000];
        for page in (0..30).map(|at| at * at * 2) {
            written[page] = 1;
        }
        let runs = hot_runs(&written);
        assert_eq!(runs.len(), MAX_RUNS);
        // From 0, 2, 8, 18, 32, 50 and 72 on all are one.
        assert_eq!(runs[..2], [run(0, 73), run(98, 1)]);
        assert_eq!(runs.last(), Some(&run(29 * 29 * 2, 1)));
    }

    #[test]
    fn too_many_pages_are_too_many() {
        let mut written = vec![1; 3000];
        written[500..600].fill(0);
        written[900..1000].fill(0);
        assert_eq!(hot_runs(&written), [run(0, 500), run(600, 300)]);
    }
}
