//! Speaks a contract version that this host does not know.
#![cfg_attr(
    not(target_family = "wasm"),
    allow(dead_code, reason = "only a component has exports")
)]
#![allow(unsafe_code, reason = "the raw exports, generated")]
mod bindings {
    #![allow(
        missing_docs,
        unsafe_code,
        unreachable_pub,
        clippy::all,
        reason = "generated"
    )]
    wit_bindgen::generate!({
        inline: "
            package nestor:engine@0.9.0;
            interface lifecycle {
                describe: func() -> string;
            }
            world engine {
                export lifecycle;
            }
        ",
    });
}

struct Hostile;

impl bindings::exports::nestor::engine::lifecycle::Guest for Hostile {
    fn describe() -> String {
        "from the future".into()
    }
}

#[cfg(target_family = "wasm")]
bindings::export!(Hostile with_types_in bindings);
