//! The contract's types and traits, generated from `wit/engine.wit`.
//!
//! Only `convert` and `imports` know them; the rest of the crate speaks core's
//! types.

wasmtime::component::bindgen!({
    path: "../../../wit",
    world: "engine",
    imports: {
        // Called often and never waiting: not worth an async frame each.
        "nestor:engine/report": trappable,
        "nestor:engine/secrets": trappable,
        default: async | trappable,
    },
    exports: { default: async },
    with: {
        "nestor:engine/tools.child": crate::tools::Child,
    },
});
