//! The orchestrator: worker loop, recovery and the service façade.

pub mod service;
pub mod view;
