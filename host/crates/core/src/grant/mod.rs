//! What an engine requests, what the platform grants, and what follows.
//!
//! A component comes with an `engine.toml`, its [`Manifest`]: what it requests.
//! The platform's grant has the same shape without the `[engine]` part. An
//! engine runs with its [`Grant`]: exactly what it requested, and only if all
//! of that was granted; otherwise [`effective`] lists what is missing.

mod document;
mod effective;
mod http;
mod limits;
mod manifest;
mod parse;
mod tool;

pub use document::{ManifestError, Problem};
pub use effective::{Grant, MissingGrant, effective};
pub use http::{
    Addresses, AuthScheme, HostPattern, HttpAuth, HttpRule, Origin, PathPattern, Redirects, Scheme,
};
pub use limits::Limits;
pub use manifest::{
    CONTRACT, Capabilities, ComponentId, DEFAULT_CHECKOUT_QUOTA, DEFAULT_KV_QUOTA, FsMode, FsRule,
    FsSource, MAX_CHECKOUT_QUOTA, MAX_KV_QUOTA, Manifest, World,
};
pub use tool::{ArgPattern, EnvRule, ToolRule};

#[cfg(test)]
mod tests;
