//! Writing a function with direct jumps.

use wasm_encoder::{BlockType, Encode, Instruction as I};

use super::spans::Span;
use super::{Function, PLACE, Part};

impl Function<'_> {
    /// The body, without its length.
    pub(super) fn write(&self) -> Vec<u8> {
        let spans = self.spans();
        let mut writer = Writer {
            function: self,
            out: self.code[self.head.clone()].to_vec(),
            around: Vec::new(),
        };
        if self.leaves {
            writer.open(Label::Leave);
        }
        writer.open(Label::Nowhere);
        // A place of zero is where calls begin; others are for those who come back.
        writer.put(&spans, Some(0));
        writer.close();
        writer.out.extend_from_slice(&self.code[self.tail.clone()]);
        writer.out
    }
}

/// What is around the code that is being written, and can be branched to.
#[derive(Clone, Copy)]
enum Label<'s> {
    /// The end of everything, for those who leave their goroutine.
    Leave,
    /// A trap, for numbers of places where nobody comes back to.
    Nowhere,
    /// Its end is the beginning of the span.
    Before(&'s Span),
    /// The beginning of the loop that the span is.
    Again(&'s Span),
}

struct Writer<'s> {
    function: &'s Function<'s>,
    out: Vec<u8>,
    around: Vec<Label<'s>>,
}

impl<'s> Writer<'s> {
    fn add(&mut self, instruction: &I<'_>) {
        instruction.encode(&mut self.out);
    }

    fn open(&mut self, label: Label<'s>) {
        let block = BlockType::Empty;
        self.add(&match label {
            Label::Again(_) => I::Loop(block),
            Label::Leave | Label::Nowhere | Label::Before(_) => I::Block(block),
        });
        self.around.push(label);
    }

    fn close(&mut self) {
        self.around.pop();
        self.add(&I::End);
    }

    /// How far out the label is that `is` asks for, and which one it is.
    fn find(&self, is: impl Fn(Label<'s>) -> bool) -> (u32, Label<'s>) {
        let outwards = (0..).zip(self.around.iter().rev().copied());
        let mut found = outwards.filter(|(_, label)| is(*label));
        found.next().expect("every block is in a span")
    }

    /// `told`: somebody may come elsewhere than to the first, which is told by
    /// this number.
    fn put(&mut self, spans: &'s [Span], told: Option<i32>) {
        for span in spans[1..].iter().rev() {
            self.open(Label::Before(span));
        }
        if let Some(told) = told {
            self.open(Label::Before(&spans[0]));
            self.enter(spans, told);
            self.close();
        }
        for (index, span) in spans.iter().enumerate() {
            if index > 0 {
                self.close();
            }
            self.span(span);
            if let Some(told) = spans.get(index + 1).and_then(Span::told)
                && self.function.blocks[span.last].falls
            {
                self.say(told);
            }
        }
    }

    fn span(&mut self, span: &'s Span) {
        match &span.inner {
            None => self.block(span.first),
            Some(inner) => {
                self.open(Label::Again(span));
                self.put(&inner.spans, inner.told);
                self.close();
            }
        }
    }

    /// Branches to where the number of the place says, unless that is the first.
    fn enter(&mut self, spans: &[Span], told: i32) {
        let places = &self.function.places;
        let (first, last) = (spans[0].first, spans[spans.len() - 1].last);
        let begin = places.partition_point(|block| *block < first);
        let end = places.partition_point(|block| *block <= last);
        // Inside of the if.
        let depth = 1;
        let targets: Vec<u32> = places[begin..end]
            .iter()
            .map(|to| self.entry(*to, spans) + depth)
            .collect();
        // The last of all places is also for all larger numbers.
        let (default, targets) = match targets.split_last() {
            Some((last, others)) if end == places.len() => (*last, others.to_vec()),
            _ => (
                self.find(|l| matches!(l, Label::Nowhere)).0 + depth,
                targets,
            ),
        };
        self.add(&I::LocalGet(PLACE));
        if told != 0 {
            self.add(&I::I32Const(told));
            self.add(&I::I32Ne);
        }
        self.add(&I::If(BlockType::Empty));
        self.add(&I::LocalGet(PLACE));
        if begin > 0 {
            self.add(&I::I32Const(i32::try_from(begin).unwrap_or(i32::MAX)));
            self.add(&I::I32Sub);
        }
        self.add(&I::BrTable(targets.into(), default));
        self.add(&I::End);
    }

    /// The label before the block, or before the loop that it is in, when it can
    /// be entered from outside of `spans`.
    fn entry(&self, block: usize, spans: &[Span]) -> u32 {
        let (first, last) = (spans[0].first, spans[spans.len() - 1].last);
        let (depth, _) = if block == first || self.function.is_entered(block, first, last) {
            self.find(|l| matches!(l, Label::Before(span) if span.has(block)))
        } else {
            self.find(|l| matches!(l, Label::Nowhere))
        };
        depth
    }

    fn block(&mut self, index: usize) {
        let function = self.function;
        for part in &function.blocks[index].parts {
            match part {
                Part::Other(range) => self.out.extend_from_slice(&function.code[range.clone()]),
                Part::Jump { to, place, depth } => self.jump(index, *to, *place, *depth),
                Part::Leave { depth } => {
                    let (out, _) = self.find(|l| matches!(l, Label::Leave));
                    self.add(&I::BrIf(out + depth));
                }
            }
        }
    }

    fn jump(&mut self, from: usize, to: usize, place: i32, depth: u32) {
        let (out, told) = if to > from {
            let (out, label) = self.find(|l| matches!(l, Label::Before(span) if span.has(to)));
            let told = match label {
                Label::Before(span) if span.first == to => span.told(),
                Label::Before(span) => span.told().map(|_| place),
                Label::Leave | Label::Nowhere | Label::Again(_) => None,
            };
            (out, told)
        } else {
            let (out, label) = self.find(|l| matches!(l, Label::Again(span) if span.first == to));
            let told = match label {
                Label::Again(span) => span.told(),
                Label::Leave | Label::Nowhere | Label::Before(_) => None,
            };
            (out, told)
        };
        if let Some(told) = told {
            self.say(told);
        }
        self.add(&I::Br(out + depth));
    }

    fn say(&mut self, place: i32) {
        self.add(&I::I32Const(place));
        self.add(&I::LocalSet(PLACE));
    }
}
