//! How fast and how noisy this machine is: figures of a busy machine say little,
//! and the reader has to know.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::row::time;
use crate::stats::Samples;

/// A look at the machine.
pub(crate) struct Machine {
    /// The same work again and again.
    spin: Samples,
    syncs_per_second: f64,
    processors: usize,
}

impl Machine {
    pub(crate) fn measure(folder: &Path) -> anyhow::Result<Self> {
        const SPINS: usize = 60;
        let spin = (0..SPINS).map(|_| spin()).collect();
        Ok(Self {
            spin: Samples::new(spin),
            syncs_per_second: syncs_per_second(folder, Duration::from_secs(1))?,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, usual, most) = (
            self.spin.percentile(1),
            self.spin.median(),
            self.spin.percentile(95),
        );
        let noise = most.as_secs_f64() / least.as_secs_f64();
        write!(
            f,
            "{} processors, a fixed piece of work takes {} ({} to {}: noise {noise:.1}×), {:.0} fdatasync/s",
            self.processors,
            time(usual),
            time(least),
            time(most),
            self.syncs_per_second
        )
    }
}

fn spin() -> Duration {
    const STEPS: u64 = 4_000_000;
    let began = Instant::now();
    let mut x = 88_172_645_463_325_252_u64;
    for _ in 0..STEPS {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    std::hint::black_box(x);
    began.elapsed()
}

/// Appends a small record and syncs it, in a loop: what a store without group
/// commit could do at best.
pub(crate) fn syncs_per_second(folder: &Path, during: Duration) -> anyhow::Result<f64> {
    let mut file = File::create(folder.join("syncs"))?;
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < during {
        file.write_all(&[b'x'; 512])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}
