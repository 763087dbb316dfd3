//! Which blocks of a function are a loop.

use super::Function;

/// Neighbouring blocks: one, or a loop of one or more.
pub(super) struct Span {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) inner: Option<Loop>,
}

/// A loop. Whoever jumps back goes to the first block.
pub(super) struct Loop {
    /// A number of the first block's place, when somebody comes into the loop
    /// elsewhere too, so that all have to say where they go.
    pub(super) told: Option<i32>,
    /// All blocks, the first on its own.
    pub(super) spans: Vec<Span>,
}

impl Span {
    pub(super) fn has(&self, block: usize) -> bool {
        self.first <= block && block <= self.last
    }

    /// The number by which the first block is told, where it has to be.
    pub(super) fn told(&self) -> Option<i32> {
        self.inner.as_ref().and_then(|inner| inner.told)
    }
}

impl Function<'_> {
    /// All blocks in order, loops put together.
    pub(super) fn spans(&self) -> Vec<Span> {
        // To each block the last that jumps back to it, if any.
        let mut back: Vec<Option<usize>> = (0..)
            .zip(&self.blocks)
            .map(|(index, block)| {
                block
                    .from
                    .map(|(_, last)| last)
                    .filter(|last| index <= *last)
            })
            .collect();
        // A loop that would end in the middle of another is made longer.
        for first in (0..back.len()).rev() {
            let Some(mut last) = back[first] else {
                continue;
            };
            let mut at = first + 1;
            while at <= last {
                last = last.max(back[at].unwrap_or(last));
                at += 1;
            }
            back[first] = Some(last);
        }
        self.within(0, self.blocks.len() - 1, &back)
    }

    fn within(&self, first: usize, last: usize, back: &[Option<usize>]) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut next = first;
        while next <= last {
            let alone = Span {
                first: next,
                last: next,
                inner: None,
            };
            let Some(last) = back[next] else {
                spans.push(alone);
                next += 1;
                continue;
            };
            let mut inside = vec![alone];
            inside.extend(self.within(next + 1, last, back));
            let is_entered = (next + 1..=last).any(|block| self.is_entered(block, next, last));
            let told = is_entered.then(|| self.place(next));
            spans.push(Span {
                first: next,
                last,
                inner: Some(Loop {
                    told,
                    spans: inside,
                }),
            });
            next = last + 1;
        }
        spans
    }

    /// Whether somebody comes to a block from outside of the blocks from `first`
    /// to `last`: a jump, or a goroutine that is resumed. That is where it left,
    /// at the end of the block before, or after a panic where its deferred calls
    /// are run, in this one.
    pub(super) fn is_entered(&self, block: usize, first: usize, last: usize) -> bool {
        let jumps = self.blocks[block].from;
        jumps.is_some_and(|(lowest, highest)| lowest < first || highest > last)
            || block == 0
            || self.blocks[block].leaves
            || self.blocks[block - 1].leaves
    }

    /// The first number of the place of a block.
    fn place(&self, block: usize) -> i32 {
        let place = self.places.partition_point(|before| *before < block);
        i32::try_from(place).unwrap_or(i32::MAX)
    }
}
