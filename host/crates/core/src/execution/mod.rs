//! The run of a revision as one state machine.
