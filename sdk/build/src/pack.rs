//! Compression of finished components.

use crate::{BuildError, io};

/// Compresses a component with zstd: the same bytes for the same input.
///
/// # Errors
/// Only when the encoder cannot get memory.
pub fn compress(wasm: &[u8]) -> Result<Vec<u8>, BuildError> {
    zstd::bulk::compress(wasm, LEVEL).map_err(io("compress", std::path::Path::new("the component")))
}

/// The level of [`compress`]. For the 89 MB of the Helm engine, one core, level
/// 6 took 0.4 s for 10.7 MB, 11 took 1.0 s for 10.2 MB, 15 took 7 s for 10.1 MB
/// and 17 took 15 s for 9.2 MB: past 11 a build waits long for little. Reading
/// takes 0.08 s at every level.
const LEVEL: i32 = 11;

/// The component again, at most `limit` bytes of it.
///
/// # Errors
/// When it is not zstd, cut short, or larger than `limit`.
pub fn decompress(bytes: &[u8], limit: usize) -> std::io::Result<Vec<u8>> {
    zstd::bulk::decompress(bytes, limit)
}
