//! The orchestrator: worker loop, recovery and the service façade.
