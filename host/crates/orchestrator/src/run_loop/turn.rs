//! What is decided at once.

use nestor_core::execution::{Call, Event};
use nestor_core::ports::{Batch, Write};

use crate::view::EventView;

/// Events of one commit at most: bounds the size of a journal entry.
pub(super) const EVENTS_PER_COMMIT: usize = 512;
/// Beyond so many bytes what else is to do waits for the next commit: a
/// resource's state can be megabytes, and a store takes so much at once. One
/// more step adds its document as it was and as it is.
pub(crate) const BYTES_PER_COMMIT: usize = 32 << 20;

/// What one commit holds, and the calls that follow it.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) batch: Batch,
    pub(super) journal: Vec<Event>,
    pub(super) events: Vec<EventView>,
    pub(super) calls: Vec<(u32, Call)>,
    /// Of the batch: writes that were looked at, and their bytes.
    measured: (usize, usize),
}

impl Turn {
    /// Whether nothing large should be added any more.
    pub(super) fn is_large(&mut self) -> bool {
        let (writes, bytes) = &mut self.measured;
        let new = &self.batch.writes[*writes..];
        *bytes += new.iter().map(Write::bytes).sum::<usize>();
        *writes = self.batch.writes.len();
        *bytes >= BYTES_PER_COMMIT
    }
}
