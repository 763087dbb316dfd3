//! A queue of small numbers that gives the smallest first.

/// Bits in a word.
const BITS: usize = 64;

/// A set of numbers below a bound as a tree of bit words: a bit of one level
/// says that a word of the level below is not empty. A push or pop touches a
/// word per level, three for 100,000 numbers, where a binary heap moves
/// seventeen entries.
pub(super) struct MinQueue {
    /// From the numbers themselves up to a single word.
    levels: Vec<Vec<u64>>,
}

impl MinQueue {
    /// Empty, for numbers below `bound`.
    pub(super) fn new(bound: usize) -> Self {
        let mut levels = Vec::new();
        let mut words = bound;
        while levels.is_empty() || words > 1 {
            words = words.div_ceil(BITS).max(1);
            levels.push(vec![0; words]);
        }
        Self { levels }
    }

    /// Adds a number below the bound; one that is in it already stays in once.
    pub(super) fn push(&mut self, number: u32) {
        let mut place = number as usize;
        for level in &mut self.levels {
            let word = &mut level[place / BITS];
            let was_empty = *word == 0;
            *word |= 1 << (place % BITS);
            if !was_empty {
                return;
            }
            place /= BITS;
        }
    }

    /// Takes the smallest number out.
    pub(super) fn pop(&mut self) -> Option<u32> {
        if self.levels.last().is_none_or(|top| top[0] == 0) {
            return None;
        }
        let mut place = 0;
        for level in self.levels.iter().rev() {
            place = place * BITS + level[place].trailing_zeros() as usize;
        }
        let number = u32::try_from(place).expect("only numbers of 32 bits are pushed");
        for level in &mut self.levels {
            let word = &mut level[place / BITS];
            *word &= !(1 << (place % BITS));
            if *word != 0 {
                break;
            }
            place /= BITS;
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_sorted_set(bound in 1_u32..300_000, steps in prop::collection::vec(prop::option::of(any::<u32>()), 0..200)) {
            let mut queue = MinQueue::new(bound as usize);
            let mut model = BTreeSet::new();
            for step in steps {
                match step {
                    Some(number) => {
                        queue.push(number % bound);
                        model.insert(number % bound);
                    }
                    None => prop_assert_eq!(queue.pop(), model.pop_first()),
                }
            }
            while let Some(least) = model.pop_first() {
                prop_assert_eq!(queue.pop(), Some(least));
            }
            prop_assert_eq!(queue.pop(), None);
        }
    }

    #[test]
    fn bounds_at_the_edges_of_words() {
        for bound in [0, 1, 63, 64, 65, 4095, 4096, 4097] {
            let mut queue = MinQueue::new(bound);
            for number in (0..u32::try_from(bound).unwrap()).rev() {
                queue.push(number);
            }
            let all: Vec<u32> = std::iter::from_fn(|| queue.pop()).collect();
            assert!(
                all.iter().copied().eq(0..u32::try_from(bound).unwrap()),
                "{bound}"
            );
        }
    }
}
