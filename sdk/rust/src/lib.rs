//! Guest SDK: an engine is one trait and one macro.
//!
//! ```
//! use nestor_sdk::{Description, Engine, Error, Host, Outcome, ProposedChanges, Request, Settled};
//!
//! #[derive(Default)]
//! struct Greeter;
//!
//! impl Engine for Greeter {
//!     fn describe(&self) -> Description {
//!         Description::new("greeter", "0.1.0", "Greets somebody")
//!     }
//!     fn plan(&self, _host: &dyn Host, request: &Request) -> Result<ProposedChanges, Error> {
//!         let prior = request.prior.as_ref().map(|prior| &prior.config);
//!         Ok(ProposedChanges::diff(prior, Some(&request.config)))
//!     }
//!     fn apply(&self, host: &dyn Host, request: &Request) -> Result<Outcome, Error> {
//!         let name: String = request.config()?;
//!         host.info("greeting");
//!         Ok(Settled::new().output("greeting", format!("Hello, {name}!")).ready())
//!     }
//!     fn destroy(&self, _host: &dyn Host, _request: &Request) -> Result<Outcome, Error> {
//!         Ok(Settled::new().ready())
//!     }
//! }
//!
//! nestor_sdk::export!(Greeter);
//! ```
//!
//! Built as a `cdylib` for `wasm32-wasip2`, that is a component which the host
//! loads. On the machine's own target the same crate is an ordinary library:
//! its logic is tested with `cargo test` and [`testing::FakeHost`].
//!
//! Files are used through `std::fs` below [`Host::work`]; there is no network
//! but `wasi:http`, when granted, and no environment. A panic ends the call, and
//! its text becomes part of the error that the host shows.

#[doc(hidden)]
pub mod bindings;
mod changes;
mod engine;
mod error;
mod guest;
mod host;
mod outcome;
mod request;
#[cfg(all(feature = "testing", not(target_family = "wasm")))]
pub mod testing;
pub mod value;

pub use changes::{Action, Change, PlannedOutput, ProposedChanges, diff};
pub use engine::{Description, Engine, Features};
pub use error::{Error, Violation};
#[doc(hidden)]
pub use guest::Adapter;
pub use host::{Child, File, Host, Invocation, Level, Line};
pub use outcome::{Manifest, Outcome, Output, Pending, Rendered, Settled};
pub use request::{Context, DeclaredOutput, Prior, Purpose, Request};
pub use value::JsonType;

/// JSON, as every document of the contract is.
pub use serde_json::{self, Value, json};

/// Makes a component of an engine: `export!(MyEngine)`, once per crate. On
/// other targets than WebAssembly it only checks that the type is one.
#[macro_export]
macro_rules! export {
    ($engine:ty) => {
        #[cfg(not(target_family = "wasm"))]
        const _: fn() -> $crate::Description = || $crate::Engine::describe(&<$engine>::default());
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, reason = "the component's exports; generated")]
        const _: () = {
            type Component = $crate::Adapter<$engine>;
    $crate::bindings::export_bindings!(Component with_types_in $crate::bindings);
        };
    };
}
