//! The pure core of Nestor: what to do, never doing it.
//!
//! No I/O, no clock, no randomness, no tokio, no wasmtime. Time, ids and
//! random numbers arrive as parameters, so the same input gives the same
//! output, live, in recovery and in a simulation.
//!
//! | module | decides |
//! |---|---|
//! | [`ids`] | which names exist at all |
//! | [`spec`] | whether a request is a deployment |
//! | [`environment`] | what holds in an environment, whatever is asked for |
//! | [`definition`] | what the catalog offers |
//! | [`relation`], [`identity`] | what goes with what, and what is the same real thing |
//! | [`schema`] | which configs a definition takes |
//! | [`planner`] | what to run, in which order |
//! | [`impact`] | what a change would touch |
//! | [`execution`] | what happens next in a run |
//! | [`grant`] | what an engine may do |
//! | [`engine`] | the words of the engine contract |
//! | [`queue`] | who goes next when not everything can |
//! | [`webhook`] | who hears of what, and when again |
//! | [`address`] | which addresses are whose |
//! | [`ports`] | what the core needs from the outside |
//! | [`text`], [`units`] | how messages, durations and sizes are written |

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests measure how long it takes")
)]

pub mod address;
pub mod definition;
pub mod engine;
pub mod environment;
pub mod execution;
pub mod grant;
pub mod identity;
pub mod ids;
pub mod impact;
pub mod planner;
pub mod ports;
pub mod queue;
pub mod relation;
pub mod schema;
pub mod spec;
pub mod text;
pub mod units;
pub mod violation;
pub mod webhook;
