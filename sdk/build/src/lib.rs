//! Turns a Go module or a Rust crate into a finished engine component.
