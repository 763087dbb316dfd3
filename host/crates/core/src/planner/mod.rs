//! From a specification to an execution plan.
