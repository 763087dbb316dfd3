//! Nestor: server and command line.
fn main() {}
