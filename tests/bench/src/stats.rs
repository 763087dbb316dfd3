//! Medians and percentiles.

use std::time::Duration;

/// Sorted samples; never empty.
#[derive(Debug, Clone)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// # Panics
    /// When there is none: a row that measured nothing is broken.
    pub(crate) fn new(mut samples: Vec<Duration>) -> Self {
        assert!(!samples.is_empty(), "nothing was measured");
        samples.sort_unstable();
        Self(samples)
    }

    pub(crate) fn median(&self) -> Duration {
        self.percentile(50)
    }

    /// Nearest rank.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0[rank - 1]
    }

    /// "1.2 s (1.1 to 1.4)", or only the figure when there is one.
    pub(crate) fn text(&self) -> String {
        let median = crate::row::time(self.median());
        match self.0.as_slice() {
            [_] => median,
            [first, .., last] => {
                format!(
                    "{median} ({} to {})",
                    crate::row::time(*first),
                    crate::row::time(*last)
                )
            }
            [] => median,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_nearest() {
        let samples = Samples::new((1..=100).rev().map(Duration::from_micros).collect());
        assert_eq!(samples.median(), Duration::from_micros(50));
        assert_eq!(samples.percentile(99), Duration::from_micros(99));
        assert_eq!(samples.percentile(100), Duration::from_micros(100));
        let three = Samples::new([3, 1, 2].map(Duration::from_secs).to_vec());
        assert_eq!(three.text(), "2.00 s (1.00 s to 3.00 s)");
        assert_eq!(
            Samples::new(vec![Duration::from_millis(5)]).text(),
            "5.00 ms"
        );
    }
}
