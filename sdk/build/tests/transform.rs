//! The transformations together: a module written here goes through all of
//! them and is then run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use nestor_build::wasm::{
    HotPages, PreInitError, Start, add_adapter_realloc, merge_segments, pre_initialise,
};
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, ImportSection, Instruction as I, MemArg,
    MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wasmtime::{Engine, Instance, Store};

const ARENA: i32 = 100;
const ARENA_SIZE: i32 = 64;

const START: Start<'_> = Start {
    init: "init",
    asked: &["base", "size"],
    hot: Some(HotPages {
        rehearse: "rehearse",
        keep: "keep",
    }),
};

/// What the function `init` of the module does, besides adding 1 to the global.
#[derive(Clone, Copy, PartialEq)]
enum Init {
    /// Stores 42 at 8 and 16 random bytes at 32.
    Remembers,
    /// Calls an import that no build has.
    CallsTheHost,
    /// Exits with status 3.
    Exits,
}

/// A reactor: `_initialize` stores 7 at 4, `init` as asked, `base` and `size`
/// tell the arena, `load` reads an i32, `count` reads the global, `rehearse`
/// writes to the pages 6, 7, 16, 17 and 31, `keep` adds what it is told to the
/// i32 at 48. Data: 1 at 0, 2 at 70,000.
fn reactor(init: Init) -> Vec<u8> {
    let at = |offset| MemArg {
        offset,
        align: 2,
        memory_index: 0,
    };
    let mut types = TypeSection::new();
    types.ty().function([], []);
    types.ty().function([], [ValType::I32]);
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32], []);
    types
        .ty()
        .function([ValType::I32, ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32, ValType::I32], []);

    let wasi = "wasi_snapshot_preview1";
    let mut imports = ImportSection::new();
    imports.import("nestor:engine/report@0.1.0", "log", EntityType::Function(0));
    imports.import(wasi, "proc_exit", EntityType::Function(3));
    imports.import(wasi, "random_get", EntityType::Function(4));

    let mut functions = FunctionSection::new();
    for ty in [0, 0, 1, 1, 2, 1, 0, 5] {
        functions.function(ty);
    }
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 2,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut globals = GlobalSection::new();
    globals.global(
        GlobalType {
            val_type: ValType::I32,
            mutable: true,
            shared: false,
        },
        &ConstExpr::i32_const(10),
    );
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    let names = [
        "_initialize",
        "init",
        "base",
        "size",
        "load",
        "count",
        "rehearse",
        "keep",
    ];
    for (i, name) in names.iter().enumerate() {
        exports.export(name, ExportKind::Func, 3 + i as u32);
    }

    let mut code = CodeSection::new();
    let mut body = |instructions: &[I<'_>]| {
        let mut f = Function::new([]);
        for instruction in instructions {
            f.instruction(instruction);
        }
        f.instruction(&I::End);
        code.function(&f);
    };
    body(&[I::I32Const(0), I::I32Const(7), I::I32Store(at(4))]);
    let mut inited = vec![I::GlobalGet(0), I::I32Const(1), I::I32Add, I::GlobalSet(0)];
    inited.extend(match init {
        Init::Remembers => vec![
            I::I32Const(0),
            I::I32Const(42),
            I::I32Store(at(8)),
            I::I32Const(32),
            I::I32Const(16),
            I::Call(2),
            I::Drop,
        ],
        Init::CallsTheHost => vec![I::Call(0)],
        Init::Exits => vec![I::I32Const(3), I::Call(1)],
    });
    body(&inited);
    body(&[I::I32Const(ARENA)]);
    body(&[I::I32Const(ARENA_SIZE)]);
    body(&[I::LocalGet(0), I::I32Load(at(0))]);
    body(&[I::GlobalGet(0)]);
    body(&[
        // The end of page 16 is copied over the beginning of 17.
        I::I32Const(17 << 12),
        I::I32Const(16 << 12),
        I::I32Const(4),
        I::MemoryCopy {
            src_mem: 0,
            dst_mem: 0,
        },
        I::I32Const((6 << 12) + 4000),
        I::I32Const(9),
        I::I32Const(97),
        I::MemoryFill(0),
        I::I32Const(0),
        I::I64Const(1),
        I::I64Store(at(16 << 12)),
        // Changes nothing, and writes all the same.
        I::I32Const(31 << 12),
        I::I32Const(0),
        I::I32Store8(MemArg {
            offset: 5,
            align: 0,
            memory_index: 0,
        }),
    ]);
    body(&[
        I::I32Const(48),
        I::I32Const(48),
        I::I32Load(at(0)),
        I::I32Const(10_000),
        I::I32Mul,
        I::LocalGet(0),
        I::I32Const(100),
        I::I32Mul,
        I::I32Add,
        I::LocalGet(1),
        I::I32Add,
        I::I32Store(at(0)),
    ]);

    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(0), [1]);
    data.active(0, &ConstExpr::i32_const(70_000), [2]);

    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&memories);
    module
        .section(&globals)
        .section(&exports)
        .section(&code)
        .section(&data);
    module.finish()
}

/// All the steps, as for a Go module.
fn transform(module: &[u8]) -> Result<Vec<u8>, PreInitError> {
    let merged = merge_segments(module).unwrap();
    let started = pre_initialise(&merged, START)?;
    let &[base, size] = started.answers.as_slice() else {
        panic!("two answers")
    };
    Ok(merge_segments(&add_adapter_realloc(&started.wasm, base, size).unwrap()).unwrap())
}

fn run(wasm: &[u8]) -> (Store<()>, Instance) {
    let engine = Engine::default();
    let module = wasmtime::Module::new(&engine, wasm).unwrap();
    let mut linker = wasmtime::Linker::new(&engine);
    linker.define_unknown_imports_as_traps(&module).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

#[test]
fn a_started_module_remembers_and_does_not_start_again() {
    let wasm = transform(&reactor(Init::Remembers)).unwrap();
    let (mut store, instance) = run(&wasm);
    let load = instance
        .get_typed_func::<i32, i32>(&mut store, "load")
        .unwrap();
    let mut at = |address| load.call(&mut store, address).unwrap();
    assert_eq!([at(0), at(4), at(8), at(70_000)], [1, 7, 42, 2]);
    assert_ne!(at(32), 0, "random bytes were drawn");
    let count = instance
        .get_typed_func::<(), i32>(&mut store, "count")
        .unwrap();
    assert_eq!(count.call(&mut store, ()).unwrap(), 11);
    assert!(instance.get_func(&mut store, "_initialize").is_none());
    assert!(instance.get_func(&mut store, "init").is_none());
}

#[test]
fn a_module_is_told_which_pages_its_calls_write_to() {
    let wasm = transform(&reactor(Init::Remembers)).unwrap();
    let (mut store, instance) = run(&wasm);
    let load = instance
        .get_typed_func::<i32, i32>(&mut store, "load")
        .unwrap();
    let mut at = |address| load.call(&mut store, address).unwrap();
    // From 6 on, 12 pages, for the 8 in between are few; from 31 on, one.
    assert_eq!(at(48), 6_123_101);
    // Nothing of the rehearsal is left.
    assert_eq!([at(6 << 12), at(7 << 12), at(16 << 12)], [0; 3]);
}

#[test]
fn the_same_module_gives_the_same_bytes() {
    let module = reactor(Init::Remembers);
    assert_eq!(transform(&module).unwrap(), transform(&module).unwrap());
}

#[test]
fn the_adapter_gets_each_byte_of_the_arena_once_and_no_other() {
    let wasm = transform(&reactor(Init::Remembers)).unwrap();
    let (mut store, instance) = run(&wasm);
    let realloc = instance
        .get_typed_func::<(i32, i32, i32, i32), i32>(&mut store, "cabi_realloc_adapter")
        .unwrap();
    let mut ask = |align, size| realloc.call(&mut store, (0, 0, align, size)).ok();
    // 100 is rounded up to 112; the arena ends at 164.
    assert_eq!(ask(4, 10), Some(112));
    assert_eq!(ask(8, 8), Some(128));
    assert_eq!(ask(1, 1), Some(136));
    assert_eq!(ask(4, 28), None, "one byte too many is left after aligning");
    assert_eq!(ask(4, -1), None, "a size that wraps around");
    assert_eq!(ask(4, 24), Some(140));
    assert_eq!(ask(1, 0), Some(164), "nothing still fits");
    assert_eq!(ask(1, 1), None);
    let grow = realloc.call(&mut store, (112, 10, 4, 20));
    assert!(grow.is_err(), "growing is refused");
}

#[test]
fn a_program_that_calls_the_host_or_exits_fails_the_build() {
    let error = transform(&reactor(Init::CallsTheHost))
        .unwrap_err()
        .to_string();
    assert!(error.contains("nestor:engine/report@0.1.0"), "{error}");
    let error = transform(&reactor(Init::Exits)).unwrap_err().to_string();
    assert!(error.contains("exited with status 3"), "{error}");
}

#[test]
fn a_module_without_the_functions_is_refused() {
    let start = Start {
        init: "absent",
        ..START
    };
    let error = pre_initialise(&reactor(Init::Remembers), start).unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
}

#[test]
fn a_second_allocator_is_refused() {
    let once = add_adapter_realloc(&reactor(Init::Remembers), 0, 64).unwrap();
    assert!(add_adapter_realloc(&once, 0, 64).is_err());
}
