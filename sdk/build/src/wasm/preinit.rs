//! Pre-initialisation: the module is started once, here, and its memory and
//! globals are frozen into a new one. Starting a Go runtime with a large
//! program takes tens of milliseconds; copying its memory takes microseconds.
//!
//! It is the core module that is frozen, not the component: in a component the
//! WASI adapter's handles would be frozen with it, and no file could be opened.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmtime::{Config, Engine, Instance, Linker, Module, OptLevel, Store, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

use super::wasi::{self, Wasi};

/// A module that needs no start any more.
#[derive(Debug)]
pub struct PreInitialised {
    /// The module. `_initialize` and the initialisation function are gone.
    pub wasm: Vec<u8>,
    /// What the functions asked for answered, in the order asked.
    pub answers: Vec<u32>,
    /// What the module wrote to stdout and stderr.
    pub output: String,
}

/// Why a module could not be pre-initialised.
#[derive(Debug, thiserror::Error)]
pub enum PreInitError {
    /// It trapped, exited, or called what is not there before it has a host.
    #[error("the program failed while it was initialised: {reason}{}", said(.output))]
    Failed {
        /// What went wrong, with its causes.
        reason: String,
        /// What the module had written by then.
        output: String,
    },
    /// It is not a module that can be frozen.
    #[error("the module cannot be pre-initialised: {0}")]
    Unsupported(String),
}

fn said(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!("\nit wrote:\n{output}")
    }
}

/// Starts `wasm` (its `_initialize`), calls `init`, asks the functions `asked`
/// (no parameters, one i32) and freezes the result.
///
/// The module sees no environment, one argument, two empty directories, a
/// clock that moves only when read, and random numbers that depend on `wasm`
/// alone: the same bytes in give the same bytes out.
///
/// # Errors
/// [`PreInitError::Failed`] when the module traps, exits or calls an import
/// that is not WASI start-up; [`PreInitError::Unsupported`] when it lacks the
/// functions or changes tables.
pub fn pre_initialise(
    wasm: &[u8],
    init: &str,
    asked: &[&str],
) -> Result<PreInitialised, PreInitError> {
    let unsupported = |e: wasmtime::Error| PreInitError::Unsupported(format!("{e:#}"));
    let mut wizer = Wizer::new();
    wizer.init_func(init);
    let (context, instrumented) = wizer.instrument(wasm).map_err(unsupported)?;

    let mut config = Config::new();
    // The code runs once: compiling it well would take longer than running it.
    config.cranelift_opt_level(OptLevel::None);
    let engine = Engine::new(&config).map_err(unsupported)?;
    let module = Module::new(&engine, &instrumented).map_err(unsupported)?;
    let mut linker = Linker::new(&engine);
    wasi::link(&mut linker).map_err(unsupported)?;
    linker
        .define_unknown_imports_as_traps(&module)
        .map_err(unsupported)?;

    let mut store = Store::new(&engine, Wasi::new(wasm));
    let started = start(&mut store, &linker, &module, init, asked);
    let output = String::from_utf8_lossy(&store.data().output).into_owned();
    let (instance, answers) = match started {
        Ok(started) => started,
        Err(e) => {
            return Err(PreInitError::Failed {
                reason: format!("{e:#}"),
                output,
            });
        }
    };

    let mut state = Frozen { store, instance };
    let snapshot = ready(wizer.snapshot(&context, &mut state)).map_err(unsupported)?;
    Ok(PreInitialised {
        wasm: snapshot,
        answers,
        output,
    })
}

fn start(
    store: &mut Store<Wasi>,
    linker: &Linker<Wasi>,
    module: &Module,
    init: &str,
    asked: &[&str],
) -> wasmtime::Result<(Instance, Vec<u32>)> {
    let instance = linker.instantiate(&mut *store, module)?;
    if instance.get_func(&mut *store, "_initialize").is_some() {
        instance
            .get_typed_func::<(), ()>(&mut *store, "_initialize")?
            .call(&mut *store, ())?;
    }
    instance
        .get_typed_func::<(), ()>(&mut *store, init)?
        .call(&mut *store, ())?;
    let mut answers = Vec::new();
    for name in asked {
        answers.push(
            instance
                .get_typed_func::<(), u32>(&mut *store, name)?
                .call(&mut *store, ())?,
        );
    }
    Ok((instance, answers))
}

/// The started instance, as Wizer reads it.
struct Frozen {
    store: Store<Wasi>,
    instance: Instance,
}

impl InstanceState for Frozen {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut self.store, name);
        match global
            .expect("Wizer exported every global")
            .get(&mut self.store)
        {
            Val::I32(x) => SnapshotVal::I32(x),
            Val::I64(x) => SnapshotVal::I64(x),
            Val::F32(x) => SnapshotVal::F32(x),
            Val::F64(x) => SnapshotVal::F64(x),
            Val::V128(x) => SnapshotVal::V128(x.as_u128()),
            _ => unreachable!("Wizer refuses mutable globals of other types"),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        let memory = self.instance.get_memory(&mut self.store, name);
        contents(
            memory
                .expect("Wizer exported every memory")
                .data(&self.store),
        );
    }
}

/// The value of a future that never waits, as Wizer's over [`Frozen`].
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("reading an instance never waits"),
    }
}
