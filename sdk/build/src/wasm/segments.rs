//! Merging data segments.
//!
//! Go's linker writes exactly 100,000 of them, which is wasmtime's limit, and a
//! snapshot adds some. What they say is one memory image; so the image is built
//! and written with as few segments as its zero pages allow.

use wasm_encoder::{ConstExpr, DataSection, Encode};
use wasmparser::{BinaryReader, DataKind, DataSectionReader, Operator};

use super::TransformError;
use super::sections::{Section, Sections, id};

/// Runs of zeros shorter than a page are not worth a segment of their own.
const PAGE: usize = 4096;

/// The most a memory image may cover. An active segment beyond it would make
/// this process allocate what a 32-bit memory can hold; engines stay far below.
const MAX_IMAGE: usize = 1 << 30;

/// Answers the same module with one active data segment per run of pages that
/// are not all zero.
///
/// Assumes one memory that no import provides already filled: bytes that the
/// segments leave out, and zeros inside them, mean zero. Empty passive segments
/// (what a snapshot leaves of the original ones) are dropped.
///
/// # Errors
/// Passive segments with content, segments of a second memory, and offsets that
/// are not constants cannot be kept and are refused.
pub fn merge_segments(wasm: &[u8]) -> Result<Vec<u8>, TransformError> {
    let mut sections = Sections::parse(wasm)?;
    let Some(data) = sections.find(id::DATA) else {
        return Ok(wasm.to_vec());
    };
    let merged = split(&image(data)?);

    let mut encoded = Vec::new();
    merged.encode(&mut encoded);
    // `encode` of a section writes its length first; a Section holds none.
    let mut reader = BinaryReader::new(&encoded, 0);
    reader.read_var_u32()?;
    let content = encoded[reader.current_position()..].to_vec();

    // The count only serves memory.init and data.drop, which have no segment to
    // refer to any more; a module that uses them does not validate afterwards.
    sections.0.retain(|s| s.id != id::DATA_COUNT);
    for section in &mut sections.0 {
        if section.id == id::DATA {
            *section = Section {
                id: id::DATA,
                data: content.clone().into(),
            };
        }
    }
    Ok(sections.encode())
}

/// The memory as the segments fill it, from address 0.
fn image(data: &[u8]) -> Result<Vec<u8>, TransformError> {
    let mut image = Vec::new();
    for segment in DataSectionReader::new(BinaryReader::new(data, 0))? {
        let segment = segment?;
        let DataKind::Active {
            memory_index,
            offset_expr,
        } = segment.kind
        else {
            if segment.data.is_empty() {
                continue;
            }
            return Err(TransformError::Unsupported("it has passive data segments"));
        };
        if memory_index != 0 {
            return Err(TransformError::Unsupported("it fills more than one memory"));
        }
        let mut operators = offset_expr.get_operators_reader();
        let Operator::I32Const { value } = operators.read()? else {
            return Err(TransformError::Unsupported(
                "a data segment's offset is not an i32 constant",
            ));
        };
        if !matches!(operators.read()?, Operator::End) {
            return Err(TransformError::Unsupported(
                "a data segment's offset is not an i32 constant",
            ));
        }
        let start = value.cast_unsigned() as usize;
        let end = start + segment.data.len();
        if end > MAX_IMAGE {
            return Err(TransformError::Unsupported(
                "a data segment lies beyond 1 GiB",
            ));
        }
        if end > image.len() {
            image.resize(end, 0);
        }
        image[start..end].copy_from_slice(segment.data);
    }
    Ok(image)
}

fn split(image: &[u8]) -> DataSection {
    let zero = |page: &[u8]| page.iter().all(|b| *b == 0);
    let mut section = DataSection::new();
    let mut start = 0;
    while start < image.len() {
        let page = &image[start..image.len().min(start + PAGE)];
        if zero(page) {
            start += PAGE;
            continue;
        }
        let mut end = start;
        while end < image.len() && !zero(&image[end..image.len().min(end + PAGE)]) {
            end += PAGE;
        }
        let run = &image[start..end.min(image.len())];
        let leading = run.iter().take_while(|b| **b == 0).count();
        let trailing = run.iter().rev().take_while(|b| **b == 0).count();
        let offset = u32::try_from(start + leading).expect("the image is below MAX_IMAGE");
        section.active(
            0,
            &ConstExpr::i32_const(offset.cast_signed()),
            run[leading..run.len() - trailing].iter().copied(),
        );
        start = end;
    }
    section
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{MemorySection, MemoryType, Module};

    use super::*;

    /// A module with one memory of `pages` and these data segments.
    fn module(pages: u64, segments: &[(u32, &[u8])], passive: &[&[u8]]) -> Vec<u8> {
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: pages,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut data = DataSection::new();
        for (offset, bytes) in segments {
            data.active(
                0,
                &ConstExpr::i32_const(offset.cast_signed()),
                bytes.iter().copied(),
            );
        }
        for bytes in passive {
            data.passive(bytes.iter().copied());
        }
        let mut module = Module::new();
        module.section(&memories).section(&data);
        module.finish()
    }

    /// Offsets and contents of the segments of a module.
    fn segments(wasm: &[u8]) -> Vec<(i32, Vec<u8>)> {
        let sections = Sections::parse(wasm).unwrap();
        let data = sections.find(id::DATA).unwrap();
        DataSectionReader::new(BinaryReader::new(data, 0))
            .unwrap()
            .into_iter()
            .map(|segment| {
                let segment = segment.unwrap();
                let DataKind::Active { offset_expr, .. } = segment.kind else {
                    panic!("passive")
                };
                let Operator::I32Const { value } =
                    offset_expr.get_operators_reader().read().unwrap()
                else {
                    panic!("not a constant")
                };
                (value, segment.data.to_vec())
            })
            .collect()
    }

    #[test]
    fn neighbours_become_one_and_far_ones_stay_apart() {
        let wasm = module(
            2,
            &[(8, b"ab"), (10, b"cd"), (40, b"e"), (70_000, b"f")],
            &[],
        );
        let merged = segments(&merge_segments(&wasm).unwrap());
        assert_eq!(merged.len(), 2);
        assert_eq!(merged[0].0, 8);
        assert_eq!(&merged[0].1[..4], b"abcd");
        assert_eq!(merged[0].1.len(), 33);
        assert_eq!(merged[1], (70_000, b"f".to_vec()));
    }

    #[test]
    fn a_later_segment_overwrites_an_earlier_one() {
        let wasm = module(1, &[(0, b"aaaa"), (1, b"bb"), (3, b"\0")], &[]);
        assert_eq!(
            segments(&merge_segments(&wasm).unwrap()),
            [(0, b"abb".to_vec())]
        );
    }

    #[test]
    fn a_hundred_thousand_become_one_and_merging_again_changes_nothing() {
        let all: Vec<(u32, &[u8])> = (0..100_000)
            .map(|i| (i * 8, b"12345678".as_slice()))
            .collect();
        let once = merge_segments(&module(20, &all, &[])).unwrap();
        assert_eq!(segments(&once).len(), 1);
        assert_eq!(merge_segments(&once).unwrap(), once);
    }

    #[test]
    fn what_a_snapshot_leaves_behind_is_dropped() {
        let wasm = module(1, &[(4, b"x")], &[b"", b""]);
        assert_eq!(
            segments(&merge_segments(&wasm).unwrap()),
            [(4, b"x".to_vec())]
        );
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let error = |wasm: &[u8]| merge_segments(wasm).unwrap_err().to_string();
        assert!(error(&module(1, &[], &[b"kept"])).contains("passive"));
        assert!(error(&module(1, &[(u32::MAX - 8, b"x")], &[])).contains("1 GiB"));
        assert!(error(&wasm_encoder::Component::new().finish()).contains("component"));
        assert!(error(b"(module)").contains("not a valid WebAssembly module"));
    }

    #[test]
    fn a_module_without_data_stays_as_it_is() {
        let wasm = Module::new().finish();
        assert_eq!(merge_segments(&wasm).unwrap(), wasm);
    }
}
