//! No code. Cargo chooses the features of a dependency anew for every selection
//! of packages, and each new set rebuilds Wasmtime for minutes. Every crate
//! that depends on this one gets the set of the whole workspace instead.
//!
//! After a change of dependencies: `make hack` (needs `cargo-hakari`).
