//! The API over a fake orchestrator: what a client sees.
#![allow(clippy::unwrap_used)]

mod approval;
mod bad_input;
mod bad_parameters;
mod deployments;
mod engines;
mod events;
mod fake;
mod host;
mod origin;
mod server;
mod webhooks;
