//! Fakes and conformance suites for tests of the other crates.
