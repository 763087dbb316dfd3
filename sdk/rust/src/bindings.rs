//! The raw bindings of `wit/engine.wit`. Engines use the types of the crate's
//! root; these are public only because [`export!`](crate::export) names them.

#![allow(missing_docs, reason = "the contract's own text is in wit/engine.wit")]
#![allow(
    unsafe_code,
    reason = "the canonical ABI passes pointers; generated code alone does so"
)]
#![allow(unreachable_pub, rust_2018_idioms, clippy::all, reason = "generated")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "engine",
    pub_export_macro: true,
    export_macro_name: "export_bindings",
    default_bindings_module: "nestor_sdk::bindings",
    runtime_path: "wit_bindgen::rt",
});
