//! Functions as Go's compiler makes them, before and after: they do the same.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use nestor_build::wasm::direct_jumps;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ElementSection, Elements, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, Instruction as I, Module, RefType,
    TableSection, TableType, TypeSection, ValType,
};
use wasmparser::{Operator, Parser, Payload};
use wasmtime::{Engine, Instance, Store, TypedFunc, Val};

const PLACE: u32 = 0;
/// Globals: what the blocks that were run add up to, how many more may run, and
/// where to go on after the goroutine was left.
const SUM: u32 = 0;
const FUEL: u32 = 1;
const RESUME: u32 = 2;

/// What a block does, in this order.
#[derive(Debug, Clone, Default)]
struct Block {
    /// Jumps to a block with one of its numbers, when a bit of the sum is set.
    when: Option<(u32, usize, i32)>,
    /// Calls what may leave the goroutine: directly, or by reference.
    calls: Option<bool>,
    /// Jumps to a block for sure.
    always: Option<(usize, i32)>,
}

/// Numbers from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// The first number of each block, and one past the last.
fn blocks(chance: &mut Chance) -> (Vec<Block>, Vec<i32>) {
    let count = 1 + chance.below(9);
    let mut numbers = vec![0];
    for _ in 0..count {
        let last = *numbers.last().unwrap();
        numbers.push(last + 1 + i32::try_from(chance.below(3)).unwrap());
    }
    let blocks = (0..count)
        .map(|_| {
            let mut target = |odds: usize| {
                (chance.below(odds) == 0).then(|| {
                    let to = chance.below(count);
                    let more =
                        chance.below(usize::try_from(numbers[to + 1] - numbers[to]).unwrap());
                    (to, numbers[to] + i32::try_from(more).unwrap())
                })
            };
            let (when, always) = (target(2), target(3));
            Block {
                when: when
                    .map(|(to, number)| (u32::try_from(chance.below(6)).unwrap(), to, number)),
                calls: (chance.below(3) == 0).then(|| chance.below(2) == 0),
                always,
            }
        })
        .collect();
    (blocks, numbers)
}

/// `run(place)` as Go would compile the blocks; function 0 is what may leave.
fn module(blocks: &[Block], numbers: &[i32]) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0).function(0);
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: 1,
        maximum: None,
        shared: false,
    });
    let mut elements = ElementSection::new();
    elements.active(
        None,
        &ConstExpr::i32_const(0),
        Elements::Functions([0].as_slice().into()),
    );
    let mut globals = GlobalSection::new();
    for _ in [SUM, FUEL, RESUME] {
        let mutable = GlobalType {
            val_type: ValType::I32,
            mutable: true,
            shared: false,
        };
        globals.global(mutable, &ConstExpr::i32_const(0));
    }
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, 1);
    for (name, index) in [("sum", SUM), ("fuel", FUEL), ("resume", RESUME)] {
        exports.export(name, ExportKind::Global, index);
    }
    let mut code = CodeSection::new();
    code.function(&leaving()).function(&run(blocks, numbers));
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&tables)
        .section(&globals);
    module.section(&exports).section(&elements).section(&code);
    module.finish()
}

/// Answers 1 when two bits of the sum are set: the goroutine is left.
fn leaving() -> Function {
    let mut f = Function::new([]);
    for i in [
        I::GlobalGet(SUM),
        I::I32Const(0x30),
        I::I32And,
        I::I32Const(0x30),
        I::I32Eq,
        I::End,
    ] {
        f.instruction(&i);
    }
    f
}

fn run(blocks: &[Block], numbers: &[i32]) -> Function {
    let count = u32::try_from(blocks.len()).unwrap();
    let may_leave = blocks.iter().any(|b| b.calls.is_some());
    let mut f = Function::new([(1, ValType::I32)]);
    let mut add = |i: I<'_>| {
        f.instruction(&i);
    };
    add(I::GlobalGet(SUM));
    add(I::LocalSet(1));
    if may_leave {
        add(I::Block(BlockType::Empty));
    }
    let jumps = blocks
        .iter()
        .any(|b| b.when.is_some() || b.always.is_some());
    if jumps {
        add(I::Loop(BlockType::Empty));
    }
    for _ in blocks {
        add(I::Block(BlockType::Empty));
    }
    let mut table: Vec<u32> = (0..count)
        .zip(numbers.windows(2))
        .flat_map(|(block, of)| (of[0]..of[1]).map(move |_| block))
        .collect();
    let last = table.pop().unwrap();
    add(I::LocalGet(PLACE));
    add(I::BrTable(table.into(), last));
    add(I::End);
    for (index, block) in (0..).zip(blocks) {
        let all = count - 1 - index;
        if index > 0 {
            add(I::End);
        }
        for i in [
            // sum = sum * 31 + index; when the fuel is used up, answer 0.
            I::GlobalGet(SUM),
            I::I32Const(31),
            I::I32Mul,
            I::I32Const(index.cast_signed() + 1),
            I::I32Add,
            I::GlobalSet(SUM),
            I::GlobalGet(FUEL),
            I::I32Const(1),
            I::I32Sub,
            I::GlobalSet(FUEL),
            I::GlobalGet(FUEL),
            I::I32Eqz,
            I::If(BlockType::Empty),
            I::I32Const(0),
            I::Return,
            I::End,
        ] {
            add(i);
        }
        if let Some((bit, _, place)) = block.when {
            for i in [
                I::GlobalGet(SUM),
                I::I32Const(1 << bit),
                I::I32And,
                I::If(BlockType::Empty),
                I::I32Const(place),
                I::LocalSet(PLACE),
                I::Br(all + 1),
                I::End,
            ] {
                add(i);
            }
        }
        if let Some(by_reference) = block.calls {
            // Behind the call, which is at the beginning of the next block.
            add(I::I32Const(
                numbers[index as usize + 1].min(numbers[blocks.len()] - 1),
            ));
            add(I::GlobalSet(RESUME));
            add(I::I32Const(0));
            if by_reference {
                for i in [I::LocalSet(PLACE), I::I32Const(7), I::LocalGet(PLACE)] {
                    add(i);
                }
                add(I::CallIndirect {
                    type_index: 0,
                    table_index: 0,
                });
            } else {
                add(I::Call(0));
            }
            add(I::BrIf(all + u32::from(jumps)));
        }
        if let Some((_, place)) = block.always {
            for i in [I::I32Const(place), I::LocalSet(PLACE), I::Br(all)] {
                add(i);
            }
        }
    }
    // The end of the last block is the function's: it answers 0.
    add(I::I32Const(0));
    add(I::Return);
    if jumps {
        add(I::End);
    }
    add(I::Unreachable);
    if may_leave {
        add(I::End);
        add(I::I32Const(1));
    }
    add(I::End);
    f
}

/// Runs the function from its beginning, and again where it was left, and tells
/// what it did: sum, fuel, how it ended, and the places where it was left.
fn trace(engine: &Engine, wasm: &[u8]) -> (i32, i32, i32, Vec<i32>) {
    let module = wasmtime::Module::new(engine, wasm).unwrap();
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run: TypedFunc<i32, i32> = instance.get_typed_func(&mut store, "run").unwrap();
    let global = |name: &str, store: &mut Store<()>| instance.get_global(store, name).unwrap();
    let (sum, fuel, resume) = (
        global("sum", &mut store),
        global("fuel", &mut store),
        global("resume", &mut store),
    );
    fuel.set(&mut store, Val::I32(200)).unwrap();
    let mut left = Vec::new();
    let mut ended = run.call(&mut store, 0).unwrap();
    while ended == 1 && left.len() < 20 {
        let place = resume.get(&mut store).unwrap_i32();
        left.push(place);
        ended = run.call(&mut store, place).unwrap();
    }
    let number = |global: wasmtime::Global, store: &mut Store<()>| global.get(store).unwrap_i32();
    (
        number(sum, &mut store),
        number(fuel, &mut store),
        ended,
        left,
    )
}

/// How often the operators of function 1 are as asked.
fn count(wasm: &[u8], is: impl Fn(&Operator<'_>) -> bool) -> usize {
    let bodies = Parser::new(0)
        .parse_all(wasm)
        .filter_map(|payload| match payload.unwrap() {
            Payload::CodeSectionEntry(body) => Some(body),
            _ => None,
        });
    let body = bodies.into_iter().nth(1).unwrap();
    let operators = body.get_operators_reader().unwrap();
    operators
        .into_iter()
        .filter(|o| is(o.as_ref().unwrap()))
        .count()
}

#[test]
fn what_is_done_stays_the_same() {
    let engine = Engine::default();
    let (mut direct, mut resumed, mut tables) = (0, 0, 0);
    for seed in 0..600 {
        let (blocks, numbers) = blocks(&mut Chance(seed));
        let before = module(&blocks, &numbers);
        let after = direct_jumps(&before).unwrap();
        wasmparser::validate(&after).unwrap();
        let (expected, found) = (trace(&engine, &before), trace(&engine, &after));
        assert_eq!(expected, found, "seed {seed}: {blocks:?} {numbers:?}");
        direct += usize::from(before != after);
        resumed += usize::from(!found.3.is_empty());
        tables += usize::from(count(&after, |o| matches!(o, Operator::BrTable { .. })) > 1);
    }
    // What is said above was put to the test.
    assert!(
        direct > 580 && resumed > 50 && tables > 100,
        "{direct} {resumed} {tables}"
    );
}

#[test]
fn a_loop_without_calls_needs_no_table() {
    // 0, then 1 and 2 again and again, then 3.
    let jump = |to: usize| Some((to, i32::try_from(to).unwrap()));
    let mut blocks = vec![Block::default(); 4];
    blocks[1].when = Some((3, 3, 3));
    blocks[2].always = jump(1);
    let before = module(&blocks, &[0, 1, 2, 3, 4]);
    let after = direct_jumps(&before).unwrap();
    let is_table = |o: &Operator<'_>| matches!(o, Operator::BrTable { .. });
    let is_place = |o: &Operator<'_>| matches!(o, Operator::LocalSet { local_index: PLACE });
    assert_eq!((count(&before, is_table), count(&before, is_place)), (1, 2));
    assert_eq!((count(&after, is_table), count(&after, is_place)), (1, 0));
    assert_eq!(count(&after, |o| matches!(o, Operator::Loop { .. })), 1);

    // Forward alone: no loop at all.
    blocks[2].always = jump(3);
    let after = direct_jumps(&module(&blocks, &[0, 1, 2, 3, 4])).unwrap();
    assert_eq!(count(&after, |o| matches!(o, Operator::Loop { .. })), 0);

    // Nor jumps: the table is for those who come back.
    let mut blocks = vec![Block::default(); 2];
    blocks[0].calls = Some(false);
    let before = module(&blocks, &[0, 1, 2]);
    let after = direct_jumps(&before).unwrap();
    let is_if = |o: &Operator<'_>| matches!(o, Operator::If { .. });
    assert_eq!(count(&after, is_if), count(&before, is_if) + 1);
    assert_eq!(
        trace(&Engine::default(), &after),
        trace(&Engine::default(), &before)
    );
}

#[test]
fn what_looks_otherwise_is_left_alone() {
    let (blocks, numbers) = (
        vec![Block {
            always: Some((0, 0)),
            ..Block::default()
        }],
        [0, 1],
    );
    let wasm = module(&blocks, &numbers);
    assert_ne!(direct_jumps(&wasm).unwrap(), wasm);
    // Once it is direct there is nothing more to do.
    let direct = direct_jumps(&wasm).unwrap();
    assert_eq!(direct_jumps(&direct).unwrap(), direct);
    // The number of the place is needed for something else.
    let at = wasm.windows(2).rposition(|w| w == [0x20, 0]).unwrap();
    let mut other = wasm.clone();
    other[at + 1] = 1;
    assert_eq!(direct_jumps(&other).unwrap(), other);
    assert!(direct_jumps(b"(module)").is_err());
}
