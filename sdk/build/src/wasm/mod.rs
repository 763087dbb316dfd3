//! Transformations of core modules. Each takes bytes and gives bytes; none
//! knows anything about engines.

mod jumps;
mod pages;
mod preinit;
mod realloc;
mod sections;
mod segments;
mod track;
mod wasi;

pub use jumps::direct_jumps;
pub use preinit::{HotPages, PreInitError, PreInitialised, Start, pre_initialise};
pub use realloc::add_adapter_realloc;
pub use segments::merge_segments;

/// Why a module could not be transformed.
#[derive(Debug, thiserror::Error)]
pub enum TransformError {
    /// It is not WebAssembly, or broken.
    #[error("not a valid WebAssembly module: {0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// It is a component.
    #[error("this is a component; a core module is needed")]
    NotACoreModule,
    /// It uses something that the transformation cannot keep.
    #[error("cannot transform this module: {0}")]
    Unsupported(&'static str),
}
