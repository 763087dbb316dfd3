//! All engines of a folder, as the host's build embeds them.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cache::write_atomically;
use crate::report::digest;
use crate::{BuildError, Built, Report, WORLD, build, compress, io};

/// Where the built-in engines are, in a checkout.
const ENGINES: &str = "engines-wasm";

/// The schema of `engine.toml` that this build knows.
const SCHEMA: i64 = 1;

/// What [`build_engine`] made of one engine.
#[derive(Debug)]
pub struct EngineFiles {
    /// The name of its folder, which names the files.
    pub name: String,
    /// The component.
    pub wasm: PathBuf,
    /// The component, compressed.
    pub compressed: PathBuf,
    /// Its `engine.toml`.
    pub manifest: PathBuf,
    /// How it came about.
    pub report: Report,
}

/// The folders below `root/engines-wasm` that hold an `engine.toml`, sorted.
///
/// # Errors
/// When the folder cannot be listed.
pub fn engine_folders(root: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let folder = root.join(ENGINES);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(io("list", &folder))? {
        let path = entry.map_err(io("list", &folder))?.path();
        if path.join("engine.toml").is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Builds the engine in `folder` into `out/<name>.wasm`, `out/<name>.wasm.zst`
/// and `out/<name>.toml`, where the name is the folder's. Files that would not
/// change are left alone, so that what depends on them is not built again.
///
/// # Errors
/// As [`build`], and when the `engine.toml` is missing or not for this contract.
pub fn build_engine(
    folder: &Path,
    out: &Path,
    announce: &dyn Fn(&str),
) -> Result<EngineFiles, BuildError> {
    let folder = folder.canonicalize().map_err(io("open", folder))?;
    let name = folder
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let manifest = read_manifest(&folder)?;
    std::fs::create_dir_all(out).map_err(io("create", out))?;
    let Built { wasm, mut report } = build(&folder, Some(&out.join(".cache")), announce)?;

    let files = |end: &str| out.join(format!("{name}.{end}"));
    let (component, compressed, toml) = (files("wasm"), files("wasm.zst"), files("toml"));
    // The digest of what a compressed file was made from: compressing takes
    // longer than reading it.
    let stamp = out.join(".cache").join(format!("{name}.zst.sha256"));
    std::fs::create_dir_all(out.join(".cache")).map_err(io("create", out))?;
    write_if_changed(&component, &wasm)?;
    let stamped = || {
        let packed = std::fs::read(&compressed).ok()?;
        let expected = std::fs::read_to_string(&stamp).ok()?;
        (expected == format!("{} {}", report.digest, digest(&packed))).then_some(packed.len())
    };
    let packed = match stamped() {
        Some(len) => len,
        None => {
            let packed = compress(&wasm)?;
            write_atomically(&compressed, &packed)?;
            let text = format!("{} {}", report.digest, digest(&packed));
            write_atomically(&stamp, text.as_bytes())?;
            packed.len()
        }
    };
    write_if_changed(&toml, manifest.as_bytes())?;
    report.compressed_bytes = Some(packed as u64);
    Ok(EngineFiles {
        name,
        wasm: component,
        compressed,
        manifest: toml,
        report,
    })
}

fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    write_atomically(path, bytes)
}

/// What the build reads of an `engine.toml`; the host reads, and checks, the
/// rest.
#[derive(Deserialize)]
struct Manifest {
    schema: i64,
    engine: Engine,
}

#[derive(Deserialize)]
struct Engine {
    world: String,
}

/// The text of the `engine.toml` in `folder`, which must be for this contract.
fn read_manifest(folder: &Path) -> Result<String, BuildError> {
    let path = folder.join("engine.toml");
    let text = std::fs::read_to_string(&path).map_err(io("read", &path))?;
    let problem = match toml::from_str::<Manifest>(&text) {
        Err(e) => Some(e.to_string()),
        Ok(m) if m.schema != SCHEMA => Some(format!("schema is {}, expected {SCHEMA}", m.schema)),
        Ok(m) if m.engine.world != WORLD => Some(format!(
            "engine.world is {:?}, this build makes {WORLD:?}",
            m.engine.world
        )),
        Ok(_) => None,
    };
    match problem {
        None => Ok(text),
        Some(problem) => Err(BuildError::Manifest { path, problem }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_toml_must_be_for_this_contract() {
        let folder = tempfile::tempdir().unwrap();
        let check = |text: &str| {
            std::fs::write(folder.path().join("engine.toml"), text).unwrap();
            read_manifest(folder.path()).map_err(|e| e.to_string())
        };
        let good = "schema = 1\n[engine]\nid = \"a\"\nversion = \"1.0.0\"\nworld = \"nestor:engine/engine@0.1.0\"\n[[tool]]\nname = \"t\"\n";
        assert_eq!(check(good).as_deref(), Ok(good));
        for (text, says) in [
            (
                "schema = 2\n[engine]\nworld = \"nestor:engine/engine@0.1.0\"\n",
                "schema is 2, expected 1",
            ),
            (
                "schema = 1\n[engine]\nworld = \"nestor:engine/engine@0.2.0\"\n",
                "this build makes",
            ),
            ("schema = 1\n", "engine"),
            ("nonsense", "engine.toml"),
        ] {
            let said = check(text).unwrap_err();
            assert!(said.contains(says), "{said}");
        }
    }

    #[test]
    fn unchanged_files_keep_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write_if_changed(&path, b"one").unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        let set = |time| {
            std::fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(time)
                .unwrap()
        };
        set(old);
        write_if_changed(&path, b"one").unwrap();
        assert_eq!(path.metadata().unwrap().modified().unwrap(), old);
        write_if_changed(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_ne!(path.metadata().unwrap().modified().unwrap(), old);
    }
}
