//! A module that remembers which pages of its memory it wrote to.

use wasm_encoder::{
    BlockType, CodeSection, Encode, ExportKind, Function, Instruction as I, MemArg, MemorySection,
    MemoryType, ValType,
};
use wasmparser::{BinaryReader, CodeSectionReader, Operator};

use super::TransformError;
use super::pages::PAGE_BITS;
use super::realloc::{imported_functions, plain_types, single_entry};
use super::sections::{Sections, id};

/// The export of the memory that [`track_writes`] adds: a byte for each page of
/// the first, not zero when it was written to.
pub(super) const WRITTEN: &str = "nestor_written";

/// A byte for each 4 KiB page of 4 GiB, in pages of 64 KiB.
const WRITTEN_PAGES: u64 = 16;

/// What writes: the plain stores, `memory.fill` and `memory.copy`. A write of
/// another kind (vectors, atomics) is not seen.
#[derive(Clone, Copy)]
enum Writes {
    I32,
    I64,
    F32,
    F64,
    I32Low8,
    I32Low16,
    I64Low8,
    I64Low16,
    I64Low32,
    Fill,
    Copy,
}

const ALL: [Writes; 11] = [
    Writes::I32,
    Writes::I64,
    Writes::F32,
    Writes::F64,
    Writes::I32Low8,
    Writes::I32Low16,
    Writes::I64Low8,
    Writes::I64Low16,
    Writes::I64Low32,
    Writes::Fill,
    Writes::Copy,
];

impl Writes {
    /// What an operator writes, and at which offset.
    fn of(operator: &Operator<'_>) -> Option<(Self, u64)> {
        use Operator as O;
        Some(match operator {
            O::I32Store { memarg } => (Self::I32, memarg.offset),
            O::I64Store { memarg } => (Self::I64, memarg.offset),
            O::F32Store { memarg } => (Self::F32, memarg.offset),
            O::F64Store { memarg } => (Self::F64, memarg.offset),
            O::I32Store8 { memarg } => (Self::I32Low8, memarg.offset),
            O::I32Store16 { memarg } => (Self::I32Low16, memarg.offset),
            O::I64Store8 { memarg } => (Self::I64Low8, memarg.offset),
            O::I64Store16 { memarg } => (Self::I64Low16, memarg.offset),
            O::I64Store32 { memarg } => (Self::I64Low32, memarg.offset),
            O::MemoryFill { .. } => (Self::Fill, 0),
            O::MemoryCopy { .. } => (Self::Copy, 0),
            _ => return None,
        })
    }

    /// Of what is written.
    fn value(self) -> ValType {
        match self {
            Self::I32 | Self::I32Low8 | Self::I32Low16 | Self::Fill | Self::Copy => ValType::I32,
            Self::I64 | Self::I64Low8 | Self::I64Low16 | Self::I64Low32 => ValType::I64,
            Self::F32 => ValType::F32,
            Self::F64 => ValType::F64,
        }
    }

    fn instruction(self) -> I<'static> {
        let at = at(0);
        match self {
            Self::I32 => I::I32Store(at),
            Self::I64 => I::I64Store(at),
            Self::F32 => I::F32Store(at),
            Self::F64 => I::F64Store(at),
            Self::I32Low8 => I::I32Store8(at),
            Self::I32Low16 => I::I32Store16(at),
            Self::I64Low8 => I::I64Store8(at),
            Self::I64Low16 => I::I64Store16(at),
            Self::I64Low32 => I::I64Store32(at),
            Self::Fill => I::MemoryFill(0),
            Self::Copy => I::MemoryCopy {
                src_mem: 0,
                dst_mem: 0,
            },
        }
    }

    /// `(address, value, offset)` for a store, else the operator's own three:
    /// notes the pages, then writes.
    fn body(self) -> Function {
        match self {
            Self::Fill | Self::Copy => self.range(),
            _ => self.store(),
        }
    }

    fn store(self) -> Function {
        function(&[
            I::LocalGet(0),
            I::LocalGet(2),
            I::I32Add,
            I::LocalTee(3),
            I::I32Const(PAGE_BITS),
            I::I32ShrU,
            I::I32Const(1),
            I::I32Store8(at(1)),
            I::LocalGet(3),
            I::LocalGet(1),
            self.instruction(),
            I::End,
        ])
    }

    fn range(self) -> Function {
        function(&[
            I::LocalGet(2),
            I::If(BlockType::Empty),
            // From the first page to the last.
            I::LocalGet(0),
            I::I32Const(PAGE_BITS),
            I::I32ShrU,
            I::LocalTee(3),
            I::I32Const(1),
            I::LocalGet(0),
            I::LocalGet(2),
            I::I32Add,
            I::I32Const(1),
            I::I32Sub,
            I::I32Const(PAGE_BITS),
            I::I32ShrU,
            I::LocalGet(3),
            I::I32Sub,
            I::I32Const(1),
            I::I32Add,
            I::MemoryFill(1),
            I::End,
            I::LocalGet(0),
            I::LocalGet(1),
            I::LocalGet(2),
            self.instruction(),
            I::End,
        ])
    }
}

/// With one local of its own, 3.
fn function(instructions: &[I<'_>]) -> Function {
    let mut function = Function::new([(1, ValType::I32)]);
    for instruction in instructions {
        function.instruction(instruction);
    }
    function
}

fn at(memory_index: u32) -> MemArg {
    MemArg {
        offset: 0,
        align: 0,
        memory_index,
    }
}

/// Answers the same module with every write replaced by a call that also notes
/// the page, in a second memory with the export [`WRITTEN`].
///
/// Assumes one memory. A store across the end of a page notes the first.
///
/// # Errors
/// A module whose types are not all plain function types is refused.
pub(super) fn track_writes(wasm: &[u8]) -> Result<Vec<u8>, TransformError> {
    let mut sections = Sections::parse(wasm)?;
    let types = plain_types(&sections)?;
    let functions = imported_functions(&sections)? + sections.count(id::FUNCTION)?;
    if sections.count(id::MEMORY)? != 1 {
        return Err(TransformError::Unsupported("it has not one memory"));
    }
    let code = rewritten(sections.find(id::CODE).unwrap_or_default(), functions)?;

    let mut entry = Vec::new();
    for (index, writes) in (0..).zip(ALL) {
        entry.clear();
        entry.push(0x60); // A function type.
        [ValType::I32, writes.value(), ValType::I32]
            .as_slice()
            .encode(&mut entry);
        0u32.encode(&mut entry);
        sections.append(id::TYPE, &entry)?;
        entry.clear();
        u32::encode(&(types + index), &mut entry);
        sections.append(id::FUNCTION, &entry)?;
    }
    let mut memory = MemorySection::new();
    memory.memory(MemoryType {
        minimum: WRITTEN_PAGES,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    sections.append(id::MEMORY, &single_entry(&memory)?)?;
    entry.clear();
    WRITTEN.encode(&mut entry);
    ExportKind::Memory.encode(&mut entry);
    1u32.encode(&mut entry);
    sections.append(id::EXPORT, &entry)?;
    for section in &mut sections.0 {
        if section.id == id::CODE {
            section.data = code.clone().into();
        }
    }
    Ok(sections.encode())
}

/// The code section with its writes replaced and the functions that replace
/// them at its end, which are `first` and those after it.
fn rewritten(code: &[u8], first: u32) -> Result<Vec<u8>, TransformError> {
    let mut written = CodeSection::new();
    for body in CodeSectionReader::new(BinaryReader::new(code, 0))? {
        let body = body?;
        let range = body.range();
        let mut bytes = Vec::with_capacity(range.len() * 2);
        let mut copied = range.start;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let (operator, at) = operators.read_with_offset()?;
            if let Some((writes, offset)) = Writes::of(&operator) {
                bytes.extend_from_slice(&code[copied..at]);
                copied = operators.original_position();
                if !matches!(writes, Writes::Fill | Writes::Copy) {
                    // A 32-bit memory's offset, as the bits that it is.
                    I::I32Const(u32::try_from(offset).unwrap_or(0).cast_signed())
                        .encode(&mut bytes);
                }
                I::Call(first + writes as u32).encode(&mut bytes);
            }
        }
        bytes.extend_from_slice(&code[copied..range.end]);
        written.raw(&bytes);
    }
    for writes in ALL {
        written.function(&writes.body());
    }
    let mut encoded = Vec::new();
    written.encode(&mut encoded);
    // `encode` of a section writes its length first.
    let mut reader = BinaryReader::new(&encoded, 0);
    reader.read_var_u32()?;
    Ok(encoded[reader.current_position()..].to_vec())
}
