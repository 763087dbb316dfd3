//! Jumps of Go's code, made direct.
//!
//! In Go's code for WebAssembly every jump inside a function goes by way of the
//! function's head: it puts the number of the place into local 0 and branches
//! to a loop around everything, which begins with a `br_table` over all places.
//! That table is needed to come back to a goroutine that was left in the middle
//! of the function. For all other jumps it costs a look at the epoch, an
//! indirect jump, and a register allocator that has to have everything where
//! the head wants it. So
//!
//! - a jump forward becomes a branch to the end of the block before the place;
//! - a jump back becomes a branch to a loop of its own, which holds everything
//!   from the place on to the jump. Where a goroutine can come back into the
//!   middle of that loop, or somebody jumps there from outside, the loop begins
//!   with a table of its own; whoever comes to its beginning says so in local 0
//!   and is let through with one comparison;
//! - and so is a plain call, which is for place 0, at the head of the function.
//!
//! The numbers of places stay as they are, for they are also what the runtime
//! remembers of goroutines that wait.

mod parse;
mod spans;
mod write;

use std::ops::Range;

use wasm_encoder::Encode;
use wasmparser::{BinaryReader, CodeSectionReader};

use super::TransformError;
use super::sections::{Sections, id};

/// The local in which a function is told at which place to begin, and in which
/// jumps say to which place they go.
const PLACE: u32 = 0;

/// Answers the same module with direct jumps in all functions that look as
/// Go's compiler makes them. Others stay as they are.
///
/// Assumes that nobody asks a function to begin at a place inside that is
/// neither right behind a call that can leave its goroutine nor in front of
/// one: no goroutine waits elsewhere. Such a place may trap.
///
/// # Errors
/// A module whose code cannot be read.
pub fn direct_jumps(wasm: &[u8]) -> Result<Vec<u8>, TransformError> {
    let mut sections = Sections::parse(wasm)?;
    let Some(code) = sections.find(id::CODE) else {
        return Ok(wasm.to_vec());
    };
    let mut rewritten = Vec::with_capacity(code.len());
    let bodies = CodeSectionReader::new(BinaryReader::new(code, 0))?;
    bodies.count().encode(&mut rewritten);
    for body in bodies {
        let body = body?;
        match parse::function(&body, code)? {
            Some(function) => function.write().encode(&mut rewritten),
            None => code[body.range()].encode(&mut rewritten),
        }
    }
    for section in &mut sections.0 {
        if section.id == id::CODE {
            section.data = std::mem::take(&mut rewritten).into();
        }
    }
    Ok(sections.encode())
}

/// A function with places.
struct Function<'a> {
    /// The bytes of the code section, which all ranges are of.
    code: &'a [u8],
    /// Locals, and what is done before the table of places.
    head: Range<usize>,
    /// Index of the block for each number of a place, in ascending order; the
    /// last is for all larger numbers.
    places: Vec<usize>,
    /// What is between the places.
    blocks: Vec<Block>,
    /// Whether there is a block around everything, whose end is for those who
    /// leave their goroutine.
    leaves: bool,
    /// What comes after the loop around everything.
    tail: Range<usize>,
}

#[derive(Default)]
struct Block {
    parts: Vec<Part>,
    /// Somebody may leave the goroutine in here, and come back to the end.
    leaves: bool,
    /// The end may be reached from the inside.
    falls: bool,
    /// The lowest and the highest block that jump to this one.
    from: Option<(usize, usize)>,
}

/// `depth`: of ifs and blocks inside of the [`Block`].
enum Part {
    /// Copied as it is.
    Other(Range<usize>),
    /// To the block with the index `to`; `place` is its number.
    Jump { to: usize, place: i32, depth: u32 },
    /// A `br_if` to the end of everything.
    Leave { depth: u32 },
}
