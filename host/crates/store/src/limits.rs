//! The port's limits, checked before anything is touched.

use nestor_core::ports::{Batch, Guard, MAX_KEY_BYTES, MAX_VALUE_BYTES, StoreError, Write};

/// A run of 10,000 resources writes a handful of documents per resource at
/// once; more in one batch is a mistake, not a need.
pub const MAX_BATCH_WRITES: usize = 100_000;
/// All values of a batch together. They are in memory several times over
/// while they are written (caller, queue, log buffer).
pub const MAX_BATCH_BYTES: usize = 128 << 20;

/// Whether a batch is within the limits; the error names the first key that is not.
pub(crate) fn check_batch(batch: &Batch) -> Result<(), StoreError> {
    if batch.writes.len() > MAX_BATCH_WRITES {
        return Err(StoreError::Limit(format!(
            "a batch of {} writes; at most {MAX_BATCH_WRITES} are allowed: split it",
            batch.writes.len()
        )));
    }
    for guard in &batch.guards {
        match guard {
            Guard::Absent(key) | Guard::Equals(key, _) => check_key(key)?,
        }
    }
    let mut bytes = 0_usize;
    for write in &batch.writes {
        match write {
            Write::Put(key, value) => {
                check_key(key)?;
                if value.len() > MAX_VALUE_BYTES {
                    return Err(StoreError::Limit(format!(
                        "the value of {key} has {} bytes; at most {MAX_VALUE_BYTES} are allowed",
                        value.len()
                    )));
                }
                bytes += value.len();
            }
            Write::Delete(key) => check_key(key)?,
        }
    }
    if bytes > MAX_BATCH_BYTES {
        return Err(StoreError::Limit(format!(
            "a batch of {bytes} bytes; at most {MAX_BATCH_BYTES} are allowed: split it"
        )));
    }
    Ok(())
}

/// Whether a key is within the limits.
pub(crate) fn check_key(key: &str) -> Result<(), StoreError> {
    if key.is_empty() {
        return Err(StoreError::Limit("a key is empty".into()));
    }
    if key.len() > MAX_KEY_BYTES {
        let start: String = key.chars().take(60).collect();
        return Err(StoreError::Limit(format!(
            "the key {start:?}… has {} bytes; at most {MAX_KEY_BYTES} are allowed",
            key.len()
        )));
    }
    Ok(())
}
