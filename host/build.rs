//! Puts the built-in engines into the binary: `NAME.wasm.zst` and `NAME.toml`
//! of target/engines (or `NESTOR_ENGINES_DIR`), as nestor-build leaves them
//! there. Where there are none, the binary is built without, and says so.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Only for tests and benchmarks.
const NOT_CARRIED: [&str; 1] = ["noop"];

fn main() {
    println!("cargo::rerun-if-env-changed=NESTOR_ENGINES_DIR");
    let folder = folder();
    // Also when it is not there yet: cargo then looks again every time.
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut code = String::from("const ENGINES: &[Carried] = &[\n");
    for compressed in components(&folder) {
        let file = compressed
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let name = file.trim_end_matches(".wasm.zst");
        let manifest = folder.join(format!("{name}.toml"));
        if NOT_CARRIED.contains(&name) || !manifest.is_file() {
            continue;
        }
        println!("cargo::rerun-if-changed={}", compressed.display());
        println!("cargo::rerun-if-changed={}", manifest.display());
        let digest = digest(&folder, name, &compressed);
        writeln!(
            code,
            "    Carried {{ name: {name:?}, digest: {digest:?}, compressed: include_bytes!({compressed:?}), manifest: include_str!({manifest:?}) }},"
        )
        .expect("a String takes all");
    }
    code.push_str("];\n");
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&out).join("engines.rs"), code).expect("OUT_DIR can be written");
}

fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("NESTOR_ENGINES_DIR") {
        return PathBuf::from(folder);
    }
    // OUT_DIR is <target>/<profile>/build/<package>/out.
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it"));
    let target = out
        .ancestors()
        .nth(4)
        .expect("OUT_DIR has four folders above it");
    target.join("engines")
}

fn components(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).map(|entries| entries.flatten().map(|e| e.path()).collect());
    let mut paths: Vec<PathBuf> = entries.unwrap_or_default();
    paths.retain(|path| path.to_string_lossy().ends_with(".wasm.zst"));
    paths.sort();
    paths
}

/// Of the component itself, which the builder notes beside its cache; computed
/// where that note is not there, or is about another file.
fn digest(folder: &Path, name: &str, compressed: &Path) -> String {
    let packed = std::fs::read(compressed).expect("it was just listed");
    let note = std::fs::read_to_string(folder.join(".cache").join(format!("{name}.zst.sha256")));
    if let Ok(note) = note
        && let Some((component, of_packed)) = note.split_once(' ')
        && of_packed == sha256(&packed)
    {
        return component.to_owned();
    }
    let component = folder.join(format!("{name}.wasm"));
    let component = std::fs::read(&component)
        .unwrap_or_else(|e| panic!("{}: {e}; `make engines` writes it", component.display()));
    sha256(&component)
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
