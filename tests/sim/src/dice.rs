//! Chance from a seed.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to choose
/// failures with. Shared by everything of one simulation.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below `sides`; 0 for none.
    pub fn below(&mut self, sides: u64) -> u64 {
        if sides == 0 { 0 } else { self.roll() % sides }
    }

    /// True once in so many rolls on average.
    pub fn once_in(&mut self, rolls: u64) -> bool {
        self.below(rolls.max(1)) == 0
    }
}
