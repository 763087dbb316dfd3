//! What the host offers a guest, besides WASI. Each interface is one file.

mod definition;
mod report;
mod secrets;
mod store;
mod tools;

pub(crate) use report::Reports;
pub(crate) use store::{KeyValues, MAPS, map_of};

use crate::bindings::nestor::engine::types;
use crate::call::CallState;

impl types::Host for CallState {}
