//! A core module as a list of sections, so that one of them can be changed and
//! the others copied byte for byte. Code sections here are tens of megabytes;
//! decoding and encoding them again would cost seconds and gain nothing.

use std::borrow::Cow;

use wasm_encoder::{Encode, RawSection};
use wasmparser::{BinaryReader, Encoding, Parser, Payload};

use super::TransformError;

/// The ids of the sections that the transformations touch.
pub(super) mod id {
    pub(crate) const CUSTOM: u8 = 0;
    pub(crate) const TYPE: u8 = 1;
    pub(crate) const IMPORT: u8 = 2;
    pub(crate) const FUNCTION: u8 = 3;
    pub(crate) const MEMORY: u8 = 5;
    pub(crate) const GLOBAL: u8 = 6;
    pub(crate) const EXPORT: u8 = 7;
    pub(crate) const CODE: u8 = 10;
    pub(crate) const DATA: u8 = 11;
    pub(crate) const DATA_COUNT: u8 = 12;
}

/// The order in which a module lists its sections; ids alone do not give it.
const ORDER: [u8; 13] = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11];

/// One section: its id and its content without the length.
pub(super) struct Section<'a> {
    pub(super) id: u8,
    pub(super) data: Cow<'a, [u8]>,
}

/// A core module, split.
pub(super) struct Sections<'a>(pub(super) Vec<Section<'a>>);

impl<'a> Sections<'a> {
    /// Splits `wasm`. Fails when it is not a core module; does not validate
    /// what is inside the sections.
    pub(super) fn parse(wasm: &'a [u8]) -> Result<Self, TransformError> {
        let mut sections = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            if let Payload::Version {
                encoding: Encoding::Component,
                ..
            } = payload
            {
                return Err(TransformError::NotACoreModule);
            }
            if let Some((id, range)) = payload.as_section() {
                let data = Cow::Borrowed(&wasm[range]);
                sections.push(Section { id, data });
            }
        }
        Ok(Self(sections))
    }

    /// The content of the section `id`, if there is one.
    pub(super) fn find(&self, id: u8) -> Option<&[u8]> {
        self.0.iter().find(|s| s.id == id).map(|s| s.data.as_ref())
    }

    /// How many entries the section `id` has.
    pub(super) fn count(&self, id: u8) -> Result<u32, TransformError> {
        match self.find(id) {
            Some(data) => Ok(BinaryReader::new(data, 0).read_var_u32()?),
            None => Ok(0),
        }
    }

    /// Adds an encoded entry to the end of the section `id`, and the section
    /// when it is missing.
    pub(super) fn append(&mut self, id: u8, entry: &[u8]) -> Result<(), TransformError> {
        let count = self.count(id)?;
        let mut data = Vec::new();
        (count + 1).encode(&mut data);
        if let Some(section) = self.0.iter_mut().find(|s| s.id == id) {
            let mut reader = BinaryReader::new(&section.data, 0);
            reader.read_var_u32()?;
            data.extend_from_slice(&section.data[reader.current_position()..]);
            data.extend_from_slice(entry);
            section.data = Cow::Owned(data);
            return Ok(());
        }
        data.extend_from_slice(entry);
        let place = |id| ORDER.iter().position(|o| *o == id);
        let at = self
            .0
            .iter()
            .position(|s| s.id != self::id::CUSTOM && place(s.id) > place(id))
            .unwrap_or(self.0.len());
        self.0.insert(
            at,
            Section {
                id,
                data: Cow::Owned(data),
            },
        );
        Ok(())
    }

    /// The module again.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut module = wasm_encoder::Module::new();
        for section in &self.0 {
            module.section(&RawSection {
                id: section.id,
                data: &section.data,
            });
        }
        module.finish()
    }
}
