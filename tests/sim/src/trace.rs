//! What happened, in order, as one number: the same seed must give the same.

use std::sync::{Mutex, PoisonError};

/// A running hash of everything that happened, and the last lines of it.
#[derive(Debug, Default)]
pub struct Trace {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    hash: u64,
    lines: Vec<String>,
    keep: bool,
}

impl Default for Inner {
    fn default() -> Self {
        // FNV-1a's offset basis.
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: Vec::new(),
            keep: false,
        }
    }
}

impl Trace {
    /// Also keeps the lines, for showing them.
    #[must_use]
    pub fn keeping(keep: bool) -> Self {
        let trace = Self::default();
        trace.lock().keep = keep;
        trace
    }

    /// Something happened.
    pub fn note(&self, line: impl AsRef<str>) {
        let mut inner = self.lock();
        for byte in line.as_ref().bytes().chain([b'\n']) {
            inner.hash = (inner.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if inner.keep {
            inner.lines.push(line.as_ref().to_owned());
        }
    }

    /// Of everything so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.lock().hash
    }

    /// What was kept.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
