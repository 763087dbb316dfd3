//! Secrets: the guest would get placeholders, and the host put the values in
//! at egress. There is no source of secrets yet, so every reference is an
//! error that says which of the two is missing; this is where one plugs in.

use crate::bindings::nestor::engine::secrets;
use crate::call::CallState;
use crate::convert::clean_line;

/// Of a name that comes back in an error.
const MAX_SHOWN: usize = 80;

impl secrets::Host for CallState {
    fn reference(&mut self, name: String) -> wasmtime::Result<Result<String, String>> {
        let shown = clean_line(&name, MAX_SHOWN);
        Ok(Err(if self.grant.allows_secret(&name) {
            format!("secret {shown:?} is granted, but this host has no source of secrets")
        } else {
            format!("secret {shown:?} is not granted")
        }))
    }
}
