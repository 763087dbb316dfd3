//! Keys and values as sled holds them, all in its default tree because only
//! there a batch is atomic.
//!
//! | sled key | sled value |
//! |---|---|
//! | `k` + key | `0` + value, or `1` + chunk id + length |
//! | `c` + chunk id + number | a piece of a longer value |
//!
//! Longer values are cut because sled writes items above a quarter of a
//! segment, and leaves that grow so large, as files of their own, and never
//! syncs those: they would not be there after a power cut.

use std::ops::Bound;

use nestor_core::ports::{Bytes, StoreError};
use sled::{Db, IVec};

/// Sled's unit of allocation in its log; its default is half of it.
pub(super) const SEGMENT_BYTES: usize = 1 << 20;
/// A leaf holds at most 16 items before it splits, 21 in the worst moment of a
/// merge: 21 pieces with their keys stay below a quarter of a segment.
pub(super) const PIECE_BYTES: usize = 8 << 10;

const USER: u8 = b'k';
const CHUNK: u8 = b'c';
const WHOLE: u8 = 0;
const CUT: u8 = 1;
/// Tag, chunk id, length.
const CUT_BYTES: usize = 1 + 8 + 8;

/// A user's key.
pub(super) fn key(key: &str) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + key.len());
    stored.push(USER);
    stored.extend_from_slice(key.as_bytes());
    stored
}

/// The user's key in a stored one.
pub(super) fn user_key(stored: &[u8]) -> Result<&str, StoreError> {
    let text = stored
        .strip_prefix(&[USER])
        .and_then(|key| std::str::from_utf8(key).ok());
    text.ok_or_else(|| corrupt("a key is not text"))
}

/// All users' keys from `prefix`, or after `after`, on.
pub(super) fn range(prefix: &str, after: Option<&str>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(key(after)),
        _ => Bound::Included(key(prefix)),
    };
    (start, Bound::Excluded(vec![USER + 1]))
}

/// A value's pieces in a cut value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pieces {
    pub(super) id: u64,
    pub(super) length: u64,
}

impl Pieces {
    /// The pieces that a stored value stands for, if it is a cut one.
    pub(super) fn of(stored: &[u8]) -> Option<Self> {
        let (tag, rest) = stored.split_first()?;
        let (id, length) = rest.split_at_checked(8)?;
        let id = u64::from_be_bytes(id.try_into().ok()?);
        let length = u64::from_be_bytes(length.try_into().ok()?);
        (*tag == CUT && stored.len() == CUT_BYTES).then_some(Self { id, length })
    }

    /// The keys of the pieces.
    pub(super) fn keys(self) -> impl Iterator<Item = Vec<u8>> {
        (0..self.length.div_ceil(PIECE_BYTES as u64)).map(move |number| piece_key(self.id, number))
    }

    fn stored(self) -> Vec<u8> {
        let mut stored = Vec::with_capacity(CUT_BYTES);
        stored.push(CUT);
        stored.extend_from_slice(&self.id.to_be_bytes());
        stored.extend_from_slice(&self.length.to_be_bytes());
        stored
    }
}

fn piece_key(id: u64, number: u64) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + 8 + 8);
    stored.push(CHUNK);
    stored.extend_from_slice(&id.to_be_bytes());
    stored.extend_from_slice(&number.to_be_bytes());
    stored
}

/// Puts a value into a sled batch; `next_id` gives ids for cut ones.
pub(super) fn insert(batch: &mut sled::Batch, user_key: &str, value: &[u8], next_id: &mut u64) {
    if value.len() < PIECE_BYTES {
        let mut stored = Vec::with_capacity(1 + value.len());
        stored.push(WHOLE);
        stored.extend_from_slice(value);
        batch.insert(key(user_key), stored);
        return;
    }
    let pieces = Pieces {
        id: *next_id,
        length: value.len() as u64,
    };
    *next_id += 1;
    for (piece_key, piece) in pieces.keys().zip(value.chunks(PIECE_BYTES)) {
        batch.insert(piece_key, piece);
    }
    batch.insert(key(user_key), pieces.stored());
}

/// The value that a stored one stands for. No batch may be applied meanwhile.
pub(super) fn load(db: &Db, user_key: &str, stored: &IVec) -> Result<Bytes, StoreError> {
    if let Some(pieces) = Pieces::of(stored) {
        let mut value = Vec::with_capacity(usize::try_from(pieces.length).unwrap_or(0));
        for piece_key in pieces.keys() {
            let piece = db.get(piece_key).map_err(super::failed)?;
            value.extend_from_slice(&piece.ok_or_else(|| corrupt(user_key))?);
        }
        if value.len() as u64 != pieces.length {
            return Err(corrupt(user_key));
        }
        return Ok(value.into());
    }
    match stored.split_first() {
        Some((&WHOLE, value)) => Ok(Bytes::copy_from_slice(value)),
        _ => Err(corrupt(user_key)),
    }
}

/// The first id that no piece uses.
pub(super) fn next_id(db: &Db) -> Result<u64, StoreError> {
    let last = db
        .range(..vec![CHUNK + 1])
        .next_back()
        .transpose()
        .map_err(super::failed)?;
    let id = last.and_then(|(stored, _)| {
        let id = stored.strip_prefix(&[CHUNK])?.first_chunk::<8>().copied()?;
        Some(u64::from_be_bytes(id) + 1)
    });
    Ok(id.unwrap_or(1))
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Failed(format!(
        "the store's files are damaged at {what:?}; restore the data folder from a backup"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_value_never_looks_like_a_cut_one() {
        for length in 0..64 {
            let mut stored = vec![WHOLE];
            stored.resize(1 + length, CUT);
            assert_eq!(Pieces::of(&stored), None);
        }
        let pieces = Pieces {
            id: 7,
            length: 3 * PIECE_BYTES as u64 + 1,
        };
        assert_eq!(Pieces::of(&pieces.stored()), Some(pieces));
        assert_eq!(pieces.keys().count(), 4);
    }

    #[test]
    fn every_leaf_stays_below_what_sled_would_put_into_a_file() {
        const ITEMS: usize = 21;
        let item = nestor_core::ports::MAX_KEY_BYTES + 1 + PIECE_BYTES + 64;
        assert!(ITEMS * item < SEGMENT_BYTES / 4);
    }
}
