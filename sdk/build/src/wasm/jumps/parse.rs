//! Recognising what Go's compiler made.

use std::ops::Range;

use wasmparser::{BlockType, FunctionBody, Operator as O};

use super::{Block, Function, PLACE, Part};
use crate::wasm::TransformError;

/// None when there is nothing to do, or the function is not exactly as expected.
pub(super) fn function<'a>(
    body: &FunctionBody<'_>,
    code: &'a [u8],
) -> Result<Option<Function<'a>>, TransformError> {
    let mut operators = body.get_operators_reader()?;
    let mut read = Vec::new();
    while !operators.eof() {
        let (operator, start) = operators.read_with_offset()?;
        read.push((operator, start..operators.original_position()));
    }
    let reader = Reader {
        operators: &read,
        at: 0,
    };
    Ok(reader.function(code, body.range().start))
}

struct Reader<'o, 'b> {
    operators: &'o [(O<'b>, Range<usize>)],
    at: usize,
}

impl<'o, 'b> Reader<'o, 'b> {
    fn next(&mut self) -> Option<(&'o O<'b>, Range<usize>)> {
        let (operator, range) = self.operators.get(self.at)?;
        self.at += 1;
        Some((operator, range.clone()))
    }

    fn peek(&self) -> Option<&'o O<'b>> {
        self.operators.get(self.at).map(|(operator, _)| operator)
    }

    /// Goes over an operator if it is as asked.
    fn skip(&mut self, is: impl Fn(&O<'b>) -> bool) -> bool {
        let yes = self.peek().is_some_and(is);
        self.at += usize::from(yes);
        yes
    }

    fn function<'a>(mut self, code: &'a [u8], start: usize) -> Option<Function<'a>> {
        while self.skip(|o| matches!(o, O::GlobalGet { .. } | O::LocalSet { .. })) {}
        let head = start..self.operators.get(self.at)?.1.start;
        let leaves = matches!(self.peek()?, O::Block { .. });
        if leaves && !self.skip(is_block) {
            return None;
        }
        let is_loop = |o: &O<'_>| {
            matches!(
                o,
                O::Loop {
                    blockty: BlockType::Empty
                }
            )
        };
        // Without jumps there is no loop, and then the last block has no end.
        let jumps = self.skip(is_loop);
        if !jumps && !leaves {
            return None;
        }
        let mut count = 0;
        while self.skip(is_block) {
            count += 1;
        }
        if !self.skip(|o| matches!(o, O::LocalGet { local_index: PLACE })) {
            return None;
        }
        let places = places(self.next()?.0, count)?;
        if !self.skip(is_end) {
            return None;
        }
        let mut blocks = Vec::with_capacity(count);
        for left in (0..count).rev() {
            let outer = Outer {
                blocks: u32::try_from(left).ok()?,
                jumps,
                leaves,
                places: &places,
            };
            blocks.push(self.block(&outer)?);
        }
        if !jumps {
            // What is behind the last block was read as part of it.
            self.at -= 2;
            let behind = self.operators.get(self.at)?.1.start;
            blocks.last_mut()?.cut(behind);
        }
        let mut from = vec![None; count];
        for (index, block) in blocks.iter().enumerate() {
            for part in &block.parts {
                if let Part::Jump { to, .. } = part {
                    let (lowest, _) = from[*to].unwrap_or((index, index));
                    from[*to] = Some((lowest, index));
                }
            }
        }
        for (block, from) in blocks.iter_mut().zip(from) {
            block.from = from;
        }
        let tail = self.operators.get(self.at)?.1.start..self.operators.last()?.1.end;
        let as_expected = self.skip(|o| matches!(o, O::Unreachable))
            && (!leaves
                || self.skip(is_end) && self.skip(|o| matches!(o, O::I32Const { value: 1 })))
            && self.skip(is_end)
            && self.peek().is_none();
        as_expected.then_some(Function {
            code,
            head,
            places,
            blocks,
            leaves,
            tail,
        })
    }

    /// What is up to the end of the block.
    fn block(&mut self, outer: &Outer<'_>) -> Option<Block> {
        let mut block = Block {
            falls: true,
            ..Block::default()
        };
        let mut depth = 0;
        loop {
            let (operator, range) = self.next()?;
            match operator {
                O::Block { .. } | O::Loop { .. } | O::If { .. } => depth += 1,
                O::End if depth == 0 => return Some(block),
                O::End => depth -= 1,
                O::Br { relative_depth } if *relative_depth >= depth => {
                    if !outer.jumps || relative_depth - depth != outer.blocks {
                        return None;
                    }
                    let (to, place) = self.jump(outer.places)?;
                    // The two operators that say where to are left out.
                    let said = self.operators.get(self.at - 3)?.1.start;
                    block.cut(said);
                    block.parts.push(Part::Jump { to, place, depth });
                    block.falls &= depth > 0;
                    continue;
                }
                O::BrIf { relative_depth } if *relative_depth >= depth => {
                    let all = outer.blocks + u32::from(outer.jumps);
                    if !outer.leaves || relative_depth - depth != all {
                        return None;
                    }
                    block.leaves = true;
                    block.parts.push(Part::Leave { depth });
                    continue;
                }
                O::BrTable { targets } => {
                    let inside = |target: u32| target < depth;
                    let all = targets.targets().all(|t| t.is_ok_and(inside));
                    if !all || !inside(targets.default()) {
                        return None;
                    }
                }
                O::Return | O::Unreachable => block.falls &= depth > 0,
                O::LocalGet { local_index: PLACE } if !self.is_swap(self.at - 1) => return None,
                O::LocalSet { local_index: PLACE }
                    if !self.is_swap(self.at + 1) && !self.is_jump(self.at) =>
                {
                    return None;
                }
                O::LocalTee { local_index: PLACE } => return None,
                _ if is_known(operator) => {}
                _ => return None,
            }
            block.copy(range);
        }
    }

    /// Where the branch goes that was just read.
    fn jump(&self, places: &[usize]) -> Option<(usize, i32)> {
        let [
            (O::I32Const { value }, _),
            (O::LocalSet { local_index: PLACE }, _),
        ] = self.operators.get(self.at.checked_sub(3)?..self.at - 1)?
        else {
            return None;
        };
        let last = places.len() - 1;
        Some((places[usize::try_from(*value).ok()?.min(last)], *value))
    }

    /// A call by reference puts its argument below the reference with the help
    /// of the local: set, 0, get. `get` is the index of the last.
    fn is_swap(&self, get: usize) -> bool {
        let is = |index: usize, is: fn(&O<'_>) -> bool| {
            self.operators.get(index).is_some_and(|(o, _)| is(o))
        };
        get >= 2
            && is(get - 2, |o| matches!(o, O::LocalSet { local_index: PLACE }))
            && is(get - 1, |o| matches!(o, O::I32Const { .. }))
            && is(get, |o| matches!(o, O::LocalGet { local_index: PLACE }))
    }

    /// Whether a set of the local belongs to a jump; `next` is what follows it.
    fn is_jump(&self, next: usize) -> bool {
        let branch = self.operators.get(next).map(|(o, _)| o);
        let value = next.checked_sub(2).map(|at| &self.operators[at].0);
        matches!(branch, Some(O::Br { .. })) && matches!(value, Some(O::I32Const { .. }))
    }
}

/// What is around a block.
struct Outer<'p> {
    /// How many other blocks.
    blocks: u32,
    /// Then a loop, for jumps.
    jumps: bool,
    /// Then a block, for those who leave their goroutine.
    leaves: bool,
    places: &'p [usize],
}

impl Block {
    fn copy(&mut self, range: Range<usize>) {
        match self.parts.last_mut() {
            Some(Part::Other(last)) if last.end == range.start => last.end = range.end,
            _ => self.parts.push(Part::Other(range)),
        }
    }

    /// Takes back what was copied from `start` on, of the last part.
    fn cut(&mut self, start: usize) {
        if let Some(Part::Other(last)) = self.parts.last_mut() {
            last.end = last.end.min(start);
        }
    }
}

/// Index of the block for each place, of so many blocks.
fn places(table: &O<'_>, count: usize) -> Option<Vec<usize>> {
    let O::BrTable { targets } = table else {
        return None;
    };
    let mut places = Vec::with_capacity(targets.len() as usize + 1);
    let all = targets.targets().chain([Ok(targets.default())]);
    for target in all {
        let target = target.ok()? as usize;
        if target >= count || places.last().is_some_and(|last| *last > target) {
            return None;
        }
        places.push(target);
    }
    // Where calls begin.
    (places[0] == 0).then_some(places)
}

fn is_block(o: &O<'_>) -> bool {
    matches!(
        o,
        O::Block {
            blockty: BlockType::Empty
        }
    )
}

fn is_end(o: &O<'_>) -> bool {
    matches!(o, O::End)
}

/// No branches but those that are looked at, and nothing else that opens a block.
fn is_known(o: &O<'_>) -> bool {
    !matches!(
        o,
        O::TryTable { .. }
            | O::Try { .. }
            | O::Catch { .. }
            | O::CatchAll
            | O::Delegate { .. }
            | O::Rethrow { .. }
            | O::BrOnNull { .. }
            | O::BrOnNonNull { .. }
            | O::BrOnCast { .. }
            | O::BrOnCastFail { .. }
            | O::ReturnCall { .. }
            | O::ReturnCallIndirect { .. }
            | O::ReturnCallRef { .. }
            | O::Resume { .. }
            | O::ResumeThrow { .. }
            | O::Switch { .. }
    )
}
