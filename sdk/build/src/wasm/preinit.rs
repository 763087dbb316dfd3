//! Pre-initialisation: the module is started once, here, and its memory and
//! globals are frozen into a new one. Starting a Go runtime with a large
//! program takes tens of milliseconds; copying its memory takes microseconds.
//!
//! It runs in an interpreter that translates a function when it is first called.
//! The code runs once, and most of it not at all: compiling the 80 MB of the
//! Helm engine took 40 s of CPU time, interpreting its start takes one.
//!
//! It is the core module that is frozen, not the component: in a component the
//! WASI adapter's handles would be frozen with it, and no file could be opened.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmi::{
    CompilationMode, Config, Engine, Error, Export, ExternType, Instance, Linker, Module, Store,
    Val,
};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

use super::pages::{self, Run};
use super::track::{WRITTEN, track_writes};
use super::wasi::{self, Wasi};

/// How deep calls may nest while the module starts. Go calls itself about as
/// deep as a wasm engine does; the interpreter's own default of 1,000 is less
/// than a template that includes templates needs.
const MAX_CALL_DEPTH: usize = 100_000;

/// What the interpreter's stack of values may take, in bytes: some hundreds for
/// each call.
const MAX_STACK: usize = 64 << 20;

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

/// What of a module is called before it is frozen. All are exports.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Called once, after `_initialize`.
    pub init: &'a str,
    /// No parameters, one i32: their answers are handed over.
    pub asked: &'a [&'a str],
    /// When the module has both: see [`HotPages`].
    pub hot: Option<HotPages<'a>>,
}

/// How a module learns which pages of its memory its calls write to.
#[derive(Debug, Clone, Copy)]
pub struct HotPages<'a> {
    /// Does what calls do; it runs in an instance that is thrown away.
    pub rehearse: &'a str,
    /// Told of each run of pages (first, count) that `rehearse` wrote to, before
    /// the module is frozen.
    pub keep: &'a str,
}

/// Starts `wasm` (its `_initialize`), calls the functions of `start` and freezes
/// the result.
///
/// The module sees no environment, one argument, two empty directories, a
/// clock that moves only when read, and random numbers that depend on `wasm`
/// alone: the same bytes in give the same bytes out.
///
/// # Errors
/// [`PreInitError::Failed`] when the module traps, exits or calls an import
/// that is not WASI start-up; [`PreInitError::Unsupported`] when it lacks the
/// functions or changes tables.
pub fn pre_initialise(wasm: &[u8], start: Start<'_>) -> Result<PreInitialised, PreInitError> {
    let Start { init, asked, hot } = start;
    let unsupported = |e: &dyn std::fmt::Display| PreInitError::Unsupported(format!("{e:#}"));
    let mut wizer = Wizer::new();
    wizer.init_func(init);
    let (context, instrumented) = wizer.instrument(wasm).map_err(|e| unsupported(&e))?;

    let mut config = Config::default();
    // Wizer validated the whole module already.
    config.compilation_mode(CompilationMode::Lazy);
    config.set_max_stack_height(MAX_STACK);
    config.set_max_recursion_depth(MAX_CALL_DEPTH);
    let engine = Engine::new(&config);
    let module = Module::new(&engine, &instrumented).map_err(|e| unsupported(&e))?;
    for name in [&init].into_iter().chain(asked) {
        if !matches!(module.get_export(name), Some(ExternType::Func(_))) {
            let said = format!("it exports no function {name}");
            return Err(PreInitError::Unsupported(said));
        }
    }
    let linker = link(&engine, &module).map_err(|e| unsupported(&e))?;

    let exports = |name| matches!(module.get_export(name), Some(ExternType::Func(_)));
    let hot = hot.filter(|hot| exports(hot.rehearse) && exports(hot.keep));
    let mut pages = Vec::new();
    if let Some(hot) = hot {
        // What goes wrong here goes wrong below again, where it is reported, or
        // leaves the module as it would be without.
        pages = hot_pages(&engine, wasm, init, hot.rehearse).unwrap_or_default();
    }

    let mut store = Store::new(&engine, Wasi::new(wasm));
    let started = begin(&mut store, &linker, &module, init).and_then(|instance| {
        if let Some(hot) = hot {
            let keep = instance.get_typed_func::<(u32, u32), ()>(&mut store, hot.keep)?;
            for run in &pages {
                keep.call(&mut store, (run.first, run.count))?;
            }
        }
        Ok((instance, ask(&mut store, instance, asked)?))
    });
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
    let snapshot = ready(wizer.snapshot(&context, &mut state)).map_err(|e| unsupported(&e))?;
    Ok(PreInitialised {
        wasm: snapshot,
        answers,
        output,
    })
}

/// Everything that `module` imports: functions that fail with their name, and
/// over them what WASI has for a start.
fn link(engine: &Engine, module: &Module) -> Result<Linker<Wasi>, Error> {
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        if let ExternType::Func(ty) = import.ty() {
            let said = format!("it called {from}::{name}, which is not there before it has a host");
            linker.func_new(from, name, ty.clone(), move |_, _, _| {
                Err(Error::new(said.clone()))
            })?;
        }
    }
    wasi::link(&mut linker)?;
    Ok(linker)
}

fn begin(
    store: &mut Store<Wasi>,
    linker: &Linker<Wasi>,
    module: &Module,
    init: &str,
) -> Result<Instance, Error> {
    let instance = linker.instantiate_and_start(&mut *store, module)?;
    for name in ["_initialize", init] {
        if name == init || instance.get_func(&mut *store, name).is_some() {
            let function = instance.get_typed_func::<(), ()>(&mut *store, name)?;
            function.call(&mut *store, ())?;
        }
    }
    Ok(instance)
}

fn ask(store: &mut Store<Wasi>, instance: Instance, asked: &[&str]) -> Result<Vec<u32>, Error> {
    let mut answers = Vec::new();
    for name in asked {
        let function = instance.get_typed_func::<(), u32>(&mut *store, name)?;
        answers.push(function.call(&mut *store, ())?);
    }
    Ok(answers)
}

/// The pages that `rehearse` writes to; those alone that the module has before.
fn hot_pages(engine: &Engine, wasm: &[u8], init: &str, rehearse: &str) -> Result<Vec<Run>, Error> {
    let wrong = |e: &dyn std::fmt::Display| Error::new(format!("{e:#}"));
    let tracked = track_writes(wasm).map_err(|e| wrong(&e))?;
    let module = Module::new(engine, &tracked)?;
    let mut store = Store::new(engine, Wasi::new(wasm));
    let linker = link(engine, &module)?;
    let instance = begin(&mut store, &linker, &module, init)?;
    let others = instance.exports(&store).filter(|e| e.name() != WRITTEN);
    let mut memories = others.filter_map(Export::into_memory);
    let (Some(memory), Some(written)) = (memories.next(), instance.get_memory(&store, WRITTEN))
    else {
        return Err(wrong(&"it exports no memory"));
    };
    drop(memories);
    let pages = pages::count(memory.data(&store));
    written.data_mut(&mut store).fill(0);
    let function = instance.get_typed_func::<(), ()>(&mut store, rehearse)?;
    function.call(&mut store, ())?;
    let written = written.data(&store);
    Ok(pages::hot_runs(&written[..pages.min(written.len())]))
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
            Val::F32(x) => SnapshotVal::F32(x.to_bits()),
            Val::F64(x) => SnapshotVal::F64(x.to_bits()),
            Val::V128(x) => SnapshotVal::V128(x.as_u128()),
            Val::FuncRef(_) | Val::ExternRef(_) => {
                unreachable!("Wizer refuses mutable globals of other types")
            }
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
