//! Integration tests against real programs.
