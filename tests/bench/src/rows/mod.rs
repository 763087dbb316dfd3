//! What is measured.

mod calls;
mod helm;
mod noop;
mod planning;

use crate::row::Row;

/// All rows, in the order of the table.
pub(crate) fn all() -> Vec<Box<dyn Row>> {
    vec![
        Box::new(noop::Noop),
        Box::new(planning::Planning),
        Box::new(calls::Calls),
        Box::new(helm::Helm),
    ]
}
