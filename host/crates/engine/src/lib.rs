//! The WebAssembly engine host.
//!
//! An engine is a component of the contract in `wit/engine.wit`, and is not
//! trusted: every call gets a fresh instance in a task of its own, within
//! limits on memory, processor time, wall time, output and reports, linked to
//! nothing but what its grant allows.
//!
//! | module | does |
//! |---|---|
//! | `host` | starts, loads, swaps, calls: the public face |
//! | `registry` | which versions there are, which is the head, what is on disk |
//! | `cache` | compiled components, checked before they are loaded |
//! | `compiler` | components to native code, in a process of its own |
//! | `check`, `linker` | what a component may import, and gets |
//! | `call` | one call within its limits |
//! | `convert` | between the contract's types and core's |
//! | `imports` | the host functions of the contract |
//! | `tools` | native programs outside the sandbox |
//! | `egress` | outgoing HTTP |
//! | `runtime` | wasmtime's settings |

mod bindings;
mod cache;
mod call;
mod check;
mod compiler;
mod convert;
mod egress;
mod error;
mod host;
mod imports;
mod info;
mod linker;
pub mod metrics;
mod options;
mod registry;
mod runtime;
mod sys;
mod tools;

pub use compiler::compile_if_asked;
pub use convert::Description;
pub use error::{EngineHostError, LoadError};
pub use host::{EngineHost, MAX_ENGINES};
pub use info::{EngineInfo, Loaded, Source};
pub use options::{Builtin, DEFAULT_MAX_CALLS, MAX_CALLS, Options};
