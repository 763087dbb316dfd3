//! The engines that the binary carries.

use nestor_core::ids::{Digest, EngineId};
use nestor_engine::Builtin;

/// As the build script found it.
struct Carried {
    name: &'static str,
    digest: &'static str,
    compressed: &'static [u8],
    manifest: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/engines.rs"));

/// All of them; none when the binary was built before the engines were.
pub(crate) fn all() -> Vec<Builtin> {
    ENGINES
        .iter()
        .map(|carried| Builtin {
            id: EngineId::new(carried.name).expect("a folder of engines-wasm has an engine's name"),
            compressed: carried.compressed,
            digest: carried
                .digest
                .parse::<Digest>()
                .expect("the build script writes digests"),
            manifest: carried.manifest,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_is_what_was_built() {
        for builtin in all() {
            let component = zstd::decode_all(builtin.compressed).unwrap();
            assert_eq!(Digest::of(&component), builtin.digest, "{}", builtin.id);
            nestor_core::grant::Manifest::parse(builtin.manifest, "engine.toml").unwrap();
        }
    }
}
