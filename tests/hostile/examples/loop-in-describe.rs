//! Never ends `describe`, which the host calls when it loads an engine.
use nestor_sdk::{Description, Engine};

#[derive(Default)]
struct Hostile;

impl Engine for Hostile {
    fn describe(&self) -> Description {
        let mut n = 0u64;
        loop {
            n = std::hint::black_box(n.wrapping_mul(3).wrapping_add(1));
        }
    }
}

nestor_sdk::export!(Hostile);
