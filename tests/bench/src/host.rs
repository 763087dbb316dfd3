//! The real binary as a process.
