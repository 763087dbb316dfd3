//! Guest SDK: an engine is one trait and one macro.
