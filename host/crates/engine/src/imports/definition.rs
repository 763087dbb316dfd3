//! The definition's files in one call.

use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};

use crate::bindings::nestor::engine::definition;
use crate::call::CallState;
use crate::convert::clean_line;

/// The largest public charts have under a thousand files.
const MAX_FILES: usize = 10_000;
/// All of them together; an engine's memory is bounded lower by default.
const MAX_BYTES: u64 = 64 << 20;
/// A deeper folder is a mistake, or somebody's trap.
const MAX_DEPTH: usize = 32;
/// Reading 64 MiB takes milliseconds; a hanging network mount takes for ever.
const DEADLINE: Duration = Duration::from_secs(30);
/// Of a path that comes back in an error.
const MAX_SHOWN: usize = 200;

impl definition::Host for CallState {
    async fn files(
        &mut self,
        under: String,
    ) -> wasmtime::Result<Result<Vec<definition::File>, String>> {
        let folder = self.definition.clone();
        let read = tokio::task::spawn_blocking(move || files(&folder, &under));
        Ok(match tokio::time::timeout(DEADLINE, read).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("the definition could not be read".into()),
            Err(_) => Err(format!(
                "the definition could not be read within {DEADLINE:?}"
            )),
        })
    }
}

/// Every file below `under`, sorted. Links are followed as long as they stay
/// in the definition; folders reached by a link are not entered.
fn files(folder: &Path, under: &str) -> Result<Vec<definition::File>, String> {
    let shown = clean_line(under, MAX_SHOWN);
    let under = Path::new(under);
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if !under.components().all(plain) {
        return Err(format!("{shown:?} is not a path inside the definition"));
    }
    let root = Dir::open_ambient_dir(folder, ambient_authority())
        .map_err(|e| format!("the definition cannot be opened: {e}"))?;
    // A pipe put in place of a file must not hold this thread.
    let mut reading = OpenOptions::new();
    reading.read(true).custom_flags(libc::O_NONBLOCK);
    let start = if under.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        under.to_owned()
    };
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut folders = vec![(start, PathBuf::new(), 0)];
    while let Some((path, relative, depth)) = folders.pop() {
        let at = clean_line(&relative.to_string_lossy(), MAX_SHOWN);
        let failed = |e: std::io::Error| match depth {
            0 => format!("the definition has no folder {shown:?}: {e}"),
            _ => format!("{at:?} in the definition cannot be read: {e}"),
        };
        if depth > MAX_DEPTH {
            return Err(format!(
                "the definition is nested deeper than {MAX_DEPTH} folders"
            ));
        }
        for entry in root.read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let (path, relative) = (path.join(&name), relative.join(&name));
            let at = clean_line(&relative.to_string_lossy(), MAX_SHOWN);
            let failed =
                |e: std::io::Error| format!("{at:?} in the definition cannot be read: {e}");
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                folders.push((path, relative, depth + 1));
                continue;
            }
            if !kind.is_file() && !kind.is_symlink() {
                continue;
            }
            // Through the link, if it is one; cap-std refuses what leads out.
            // Whatever it leads to is looked at before it is opened: opening a
            // device can have effects.
            if kind.is_symlink() && !root.metadata(&path).map_err(failed)?.is_file() {
                continue;
            }
            let file = root.open_with(&path, &reading).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            if !metadata.is_file() {
                continue;
            }
            bytes += metadata.len();
            if found.len() == MAX_FILES || bytes > MAX_BYTES {
                return Err(format!(
                    "the definition has more than {MAX_FILES} files or {} MiB below {shown:?}",
                    MAX_BYTES >> 20
                ));
            }
            let Some(relative) = relative.to_str() else {
                return Err(format!(
                    "{at:?} in the definition has a name that is not Unicode"
                ));
            };
            // One byte more than it has: the end is seen with the first read.
            let size = usize::try_from(metadata.len()).unwrap_or(0);
            let mut content = Vec::with_capacity(size + 1);
            file.take(MAX_BYTES)
                .read_to_end(&mut content)
                .map_err(failed)?;
            found.push(definition::File {
                path: relative.to_owned(),
                content,
            });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn paths(folder: &Path, under: &str) -> Result<Vec<String>, String> {
        files(folder, under).map(|files| files.into_iter().map(|f| f.path).collect())
    }

    #[test]
    fn all_files_sorted_and_nothing_outside() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("definition");
        fs::create_dir_all(folder.join("chart/templates")).unwrap();
        fs::write(folder.join("chart/Chart.yaml"), "name: x").unwrap();
        fs::write(folder.join("chart/templates/a.yaml"), "a").unwrap();
        fs::write(folder.join("b.txt"), "b").unwrap();
        fs::write(dir.path().join("outside"), "secret").unwrap();
        symlink("b.txt", folder.join("link")).unwrap();
        symlink("chart", folder.join("loop")).unwrap();
        let all = [
            "b.txt",
            "chart/Chart.yaml",
            "chart/templates/a.yaml",
            "link",
        ];
        assert_eq!(paths(&folder, "").unwrap(), all);
        assert_eq!(
            paths(&folder, "chart").unwrap(),
            ["Chart.yaml", "templates/a.yaml"]
        );
        assert_eq!(files(&folder, "chart").unwrap()[0].content, b"name: x");
        for bad in [
            "..",
            "../definition",
            "/etc",
            "chart/../..",
            "chart/../../outside",
        ] {
            assert!(
                paths(&folder, bad)
                    .unwrap_err()
                    .contains("not a path inside"),
                "{bad}"
            );
        }
        assert!(
            paths(&folder, "nothing")
                .unwrap_err()
                .contains("no folder \"nothing\"")
        );
        symlink("../outside", folder.join("escape")).unwrap();
        let error = paths(&folder, "").unwrap_err();
        assert!(
            error.contains("\"escape\"") && !error.contains("secret"),
            "{error}"
        );
        fs::remove_file(folder.join("escape")).unwrap();
        symlink("/etc", folder.join("absolute")).unwrap();
        assert!(paths(&folder, "absolute").is_err());
    }

    #[test]
    fn too_much_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let big = fs::File::create(dir.path().join("sparse")).unwrap();
        big.set_len(MAX_BYTES + 1).unwrap();
        assert!(paths(dir.path(), "").unwrap_err().contains("more than"));
    }
}
