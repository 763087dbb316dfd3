//! Between the contract's types and core's. What comes from a guest is parsed
//! here, once, into types that cannot hold nonsense.

mod reply;
mod request;
mod text;
pub(crate) mod values;

pub use reply::Description;
pub(crate) use reply::{Reader, description, failure, log_level};
pub(crate) use request::{context, request};
pub(crate) use text::{clean, clean_line};
