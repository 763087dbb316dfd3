//! One bound for all memories and tables of a call together: wasmtime's own
//! limits count each memory for itself.

use wasmtime::ResourceLimiter;

use super::stop::Stop;

/// Of a reference in a table.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// Adds up what an instance takes.
pub(crate) struct Limiter {
    limit: usize,
    taken: usize,
}

impl Limiter {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            taken: 0,
        }
    }

    fn grow(&mut self, current: usize, desired: usize) -> wasmtime::Result<bool> {
        let taken = self.taken.saturating_add(desired.saturating_sub(current));
        if taken > self.limit {
            // A trap instead of a refused growth: what guests do with a refusal
            // is abort, and then nobody can tell why.
            return Err(Stop::Memory {
                wanted: taken as u64,
                limit: self.limit as u64,
            }
            .into());
        }
        self.taken = taken;
        Ok(true)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(current, desired)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(
            current.saturating_mul(TABLE_ELEMENT),
            desired.saturating_mul(TABLE_ELEMENT),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut limiter = Limiter::new(1000);
        assert!(limiter.memory_growing(0, 400, None).unwrap());
        assert!(limiter.memory_growing(0, 400, None).unwrap());
        assert!(limiter.table_growing(0, 10, None).unwrap());
        let error = limiter.memory_growing(400, 600, None).unwrap_err();
        assert!(matches!(
            error.downcast_ref(),
            Some(Stop::Memory { limit: 1000, .. })
        ));
        assert!(limiter.memory_growing(400, 500, None).unwrap());
    }

    #[test]
    fn beyond_its_own_maximum_nothing_is_taken() {
        let mut limiter = Limiter::new(1000);
        assert!(!limiter.memory_growing(0, 900, Some(800)).unwrap());
        assert!(limiter.memory_growing(0, 800, Some(800)).unwrap());
    }
}
