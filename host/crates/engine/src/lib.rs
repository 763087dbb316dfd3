//! The WebAssembly engine host: bindings, linker, grants, limits, component cache, registry and tools.
