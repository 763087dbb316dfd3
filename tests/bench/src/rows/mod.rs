//! What is measured.

mod calls;
mod dispatch;
mod helm;
mod http;
mod noop;
mod planning;
mod recovery;
mod start;
mod waiting;

use crate::row::Row;

/// All rows, in the order of the table.
pub(crate) fn all() -> Vec<Box<dyn Row>> {
    vec![
        Box::new(noop::Noop),
        Box::new(planning::Planning),
        Box::new(calls::Calls),
        Box::new(dispatch::Dispatch),
        Box::new(recovery::Recovery),
        Box::new(http::Http),
        Box::new(start::Start),
        Box::new(waiting::Waiting),
        Box::new(helm::Helm),
    ]
}
