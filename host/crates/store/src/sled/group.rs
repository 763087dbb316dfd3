//! What the commits of one flush do together: each sees the writes of those
//! before it, as if they had come one after the other.

use nestor_core::ports::{Batch, Bytes, CommitError, Guard, StoreError, Write};

use super::pending::Keys;

/// The writes so far.
#[derive(Default)]
pub(super) struct Group {
    pub(super) keys: Keys,
}

impl Group {
    /// Takes a batch in if its guards hold; `stored` reads what is on disk.
    pub(super) fn add(
        &mut self,
        batch: Batch,
        stored: impl Fn(&str) -> Result<Option<Bytes>, StoreError>,
    ) -> Result<(), CommitError> {
        for guard in &batch.guards {
            let key = match guard {
                Guard::Absent(key) | Guard::Equals(key, _) => key,
            };
            let value = match self.keys.get(key) {
                Some(written) => written.clone(),
                None => stored(key)?,
            };
            let holds = match guard {
                Guard::Absent(_) => value.is_none(),
                Guard::Equals(_, wanted) => value.as_ref() == Some(wanted),
            };
            if !holds {
                return Err(CommitError::Guard { key: key.clone() });
            }
        }
        for write in batch.writes {
            match write {
                Write::Put(key, value) => self.keys.insert(key, Some(value)),
                Write::Delete(key) => self.keys.insert(key, None),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(key: &str) -> Result<Option<Bytes>, StoreError> {
        Ok((key == "old").then(|| Bytes::from_static(b"1")))
    }

    fn batch(guard: Guard, write: Write) -> Batch {
        Batch {
            guards: vec![guard],
            writes: vec![write],
        }
    }

    #[test]
    fn guards_see_the_batches_before_them() {
        let mut group = Group::default();
        let lease = || {
            batch(
                Guard::Absent("lease".into()),
                Write::Put("lease".into(), "a".into()),
            )
        };
        assert_eq!(group.add(lease(), stored), Ok(()));
        assert_eq!(
            group.add(lease(), stored),
            Err(CommitError::Guard {
                key: "lease".into()
            })
        );
        let take = batch(
            Guard::Equals("old".into(), "1".into()),
            Write::Delete("old".into()),
        );
        assert_eq!(group.add(take.clone(), stored), Ok(()));
        assert_eq!(
            group.add(take, stored),
            Err(CommitError::Guard { key: "old".into() })
        );
    }

    #[test]
    fn a_refused_batch_leaves_nothing() {
        let mut group = Group::default();
        let mut refused = Batch::new();
        refused
            .guard(Guard::Absent("x".into()))
            .guard(Guard::Absent("old".into()))
            .put("x", "y");
        assert!(group.add(refused, stored).is_err());
        assert!(group.keys.is_empty());
    }
}
