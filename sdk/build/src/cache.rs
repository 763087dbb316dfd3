//! Finished components by the digest of their inputs.

use std::path::{Path, PathBuf};

use crate::report::digest;
use crate::{BuildError, Built, Report, io};

/// The component for `key`, when it is there and whole.
pub(crate) fn load(cache: &Path, key: &str) -> Option<Built> {
    let (component, report) = paths(cache, key);
    let wasm = std::fs::read(component).ok()?;
    let mut report: Report = serde_json::from_slice(&std::fs::read(report).ok()?).ok()?;
    if report.digest != digest(&wasm) {
        return None; // Cut short or touched: build again.
    }
    report.cached = true;
    Some(Built { wasm, report })
}

/// Keeps a component for `key`. A crash in between leaves what `load` refuses.
pub(crate) fn save(cache: &Path, key: &str, built: &Built) -> Result<(), BuildError> {
    std::fs::create_dir_all(cache).map_err(io("create", cache))?;
    let (component, report) = paths(cache, key);
    let text = serde_json::to_vec_pretty(&built.report).expect("a report is JSON");
    write_atomically(&component, &built.wasm)?;
    write_atomically(&report, &text)
}

fn paths(cache: &Path, key: &str) -> (PathBuf, PathBuf) {
    (
        cache.join(format!("{key}.wasm")),
        cache.join(format!("{key}.json")),
    )
}

/// Puts `bytes` at `path` in one step: a reader sees the old file or the new.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file =
        tempfile::NamedTempFile::new_in(folder).map_err(io("create a file in", folder))?;
    std::io::Write::write_all(&mut file, bytes).map_err(io("write", path))?;
    // Temporary files are private; artefacts are for whoever builds the host.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(0o644);
        file.as_file()
            .set_permissions(mode)
            .map_err(io("set the mode of", path))?;
    }
    file.persist(path).map_err(|e| io("write", path)(e.error))?;
    Ok(())
}
