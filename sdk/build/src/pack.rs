//! Compression of finished components.

use crate::{BuildError, io};

/// Compresses a component with zstd: the same bytes for the same input.
///
/// # Errors
/// Only when the encoder cannot get memory.
pub fn compress(wasm: &[u8]) -> Result<Vec<u8>, BuildError> {
    zstd::bulk::compress(wasm, LEVEL).map_err(io("compress", std::path::Path::new("the component")))
}

/// The level of [`compress`].
const LEVEL: i32 = 12;

/// The component again, at most `limit` bytes of it.
///
/// # Errors
/// When it is not zstd, cut short, or larger than `limit`.
pub fn decompress(bytes: &[u8], limit: usize) -> std::io::Result<Vec<u8>> {
    zstd::bulk::decompress(bytes, limit)
}
