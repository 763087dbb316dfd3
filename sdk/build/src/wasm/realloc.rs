//! Memory for the WASI adapter.
//!
//! The adapter allocates its stack and state through the main module's realloc
//! unless the module exports `cabi_realloc_adapter`. Go's realloc would run in
//! the middle of a WASI import, on the runtime's small system stack, and
//! overflow it; `memory.grow` would corrupt a heap that believes it alone grows
//! the memory. So a bump allocator over a region that belongs to a Go variable
//! is added.

use wasm_encoder::{
    BlockType, ConstExpr, Encode, ExportKind, Function, GlobalSection, GlobalType, Instruction,
    ValType,
};
use wasmparser::{BinaryReader, ImportSectionReader, TypeRef, TypeSectionReader};

use super::TransformError;
use super::sections::{Sections, id};

/// The name that wit-component looks for.
const EXPORT: &str = "cabi_realloc_adapter";

/// What the adapter's values are aligned to at most.
const ALIGN: u32 = 16;

/// Adds the export `cabi_realloc_adapter`, which hands out the region of `size`
/// bytes from `base` on, once each byte, and traps when it is used up or asked
/// to grow a value.
///
/// Assumes that nothing else uses the region.
///
/// # Errors
/// A module that already has the export or whose types are not all plain
/// function types is refused.
pub fn add_adapter_realloc(wasm: &[u8], base: u32, size: u32) -> Result<Vec<u8>, TransformError> {
    let mut sections = Sections::parse(wasm)?;
    let types = plain_types(&sections)?;
    let functions = imported_functions(&sections)? + sections.count(id::FUNCTION)?;
    let globals = sections.count(id::GLOBAL)?;
    if let Some(exports) = sections.find(id::EXPORT) {
        for export in wasmparser::ExportSectionReader::new(BinaryReader::new(exports, 0))? {
            if export?.name == EXPORT {
                return Err(TransformError::Unsupported(
                    "it already exports cabi_realloc_adapter",
                ));
            }
        }
    }
    let end = base
        .checked_add(size)
        .ok_or(TransformError::Unsupported("the arena wraps around"))?;
    let first = base.next_multiple_of(ALIGN);

    let mut entry = Vec::new();
    entry.push(0x60); // A function type.
    [ValType::I32; 4].as_slice().encode(&mut entry);
    [ValType::I32].as_slice().encode(&mut entry);
    sections.append(id::TYPE, &entry)?;

    entry.clear();
    types.encode(&mut entry);
    sections.append(id::FUNCTION, &entry)?;

    let mut next = GlobalSection::new();
    next.global(
        GlobalType {
            val_type: ValType::I32,
            mutable: true,
            shared: false,
        },
        &ConstExpr::i32_const(first.cast_signed()),
    );
    sections.append(id::GLOBAL, &single_entry(&next)?)?;

    entry.clear();
    EXPORT.encode(&mut entry);
    ExportKind::Func.encode(&mut entry);
    functions.encode(&mut entry);
    sections.append(id::EXPORT, &entry)?;

    entry.clear();
    body(globals, end).encode(&mut entry);
    sections.append(id::CODE, &entry)?;
    Ok(sections.encode())
}

/// `(old, old size, align, size) -> pointer`, local 4 is the result.
fn body(next: u32, end: u32) -> Function {
    use Instruction as I;
    let end = end.cast_signed();
    let mut f = Function::new([(1, ValType::I32)]);
    for instruction in [
        // Growing is never asked for.
        I::LocalGet(0),
        I::If(BlockType::Empty),
        I::Unreachable,
        I::End,
        // result = (next + align - 1) & -align
        I::GlobalGet(next),
        I::LocalGet(2),
        I::I32Const(1),
        I::I32Sub,
        I::I32Add,
        I::I32Const(0),
        I::LocalGet(2),
        I::I32Sub,
        I::I32And,
        I::LocalTee(4),
        // Past the end, or not enough left: two tests, so that nothing wraps.
        I::I32Const(end),
        I::I32GtU,
        I::If(BlockType::Empty),
        I::Unreachable,
        I::End,
        I::LocalGet(3),
        I::I32Const(end),
        I::LocalGet(4),
        I::I32Sub,
        I::I32GtU,
        I::If(BlockType::Empty),
        I::Unreachable,
        I::End,
        I::LocalGet(4),
        I::LocalGet(3),
        I::I32Add,
        I::GlobalSet(next),
        I::LocalGet(4),
        I::End,
    ] {
        f.instruction(&instruction);
    }
    f
}

/// The only entry of a section, encoded.
pub(super) fn single_entry(section: &impl Encode) -> Result<Vec<u8>, TransformError> {
    let mut encoded = Vec::new();
    section.encode(&mut encoded);
    let mut reader = BinaryReader::new(&encoded, 0);
    reader.read_var_u32()?; // length
    reader.read_var_u32()?; // count
    Ok(encoded[reader.current_position()..].to_vec())
}

/// How many types there are; recursive groups would make the count of entries
/// differ from the count of types.
pub(super) fn plain_types(sections: &Sections<'_>) -> Result<u32, TransformError> {
    let Some(data) = sections.find(id::TYPE) else {
        return Ok(0);
    };
    let reader = TypeSectionReader::new(BinaryReader::new(data, 0))?;
    let mut count = 0;
    for ty in reader.into_iter_err_on_gc_types() {
        ty?;
        count += 1;
    }
    Ok(count)
}

pub(super) fn imported_functions(sections: &Sections<'_>) -> Result<u32, TransformError> {
    let Some(data) = sections.find(id::IMPORT) else {
        return Ok(0);
    };
    let mut count = 0;
    for import in ImportSectionReader::new(BinaryReader::new(data, 0))?.into_imports() {
        if matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
            count += 1;
        }
    }
    Ok(count)
}
