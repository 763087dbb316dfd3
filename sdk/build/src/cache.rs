//! Finished components by the digest of their inputs.

use std::path::{Path, PathBuf};

use crate::report::digest;
use crate::{BuildError, Built, Report, io};

/// How many components a cache keeps: enough to go back and forth between a few
/// states of a few engines, and less than a gigabyte where each is Helm.
const KEEP: usize = 8;

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
    write_atomically(&report, &text)?;
    prune(cache);
    Ok(())
}

/// Removes all but the newest components. What cannot be removed now is tried
/// again next time.
fn prune(cache: &Path) {
    let Ok(entries) = std::fs::read_dir(cache) else {
        return;
    };
    let mut kept: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let written = path.metadata().and_then(|m| m.modified()).ok()?;
            (path.extension()? == "wasm").then_some((written, path))
        })
        .collect();
    kept.sort_unstable_by(|a, b| b.cmp(a));
    for (_, path) in kept.into_iter().skip(KEEP) {
        let _ = std::fs::remove_file(path.with_extension("json"));
        let _ = std::fs::remove_file(path);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Surface;

    #[test]
    fn a_cache_keeps_the_newest() {
        let cache = tempfile::tempdir().unwrap();
        let surface = Surface {
            imports: Vec::new(),
            exports: Vec::new(),
        };
        let wasm = b"any bytes".to_vec();
        let report = Report::new(&wasm, Vec::new(), surface);
        let built = Built { wasm, report };
        for i in 0..KEEP + 2 {
            save(cache.path(), &format!("key{i}"), &built).unwrap();
            let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(i as u64);
            let file = std::fs::File::options()
                .write(true)
                .open(paths(cache.path(), &format!("key{i}")).0);
            file.unwrap().set_modified(old).unwrap();
        }
        save(cache.path(), "last", &built).unwrap();
        assert!(load(cache.path(), "last").is_some());
        assert!(load(cache.path(), "key0").is_none());
        assert!(load(cache.path(), &format!("key{}", KEEP + 1)).is_some());
        let files = std::fs::read_dir(cache.path()).unwrap().count();
        assert_eq!(files, 2 * KEEP, "reports go with their components");
    }
}
