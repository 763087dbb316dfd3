//! What a build depends on, as one digest.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{BuildError, io};

/// Collects inputs. Every part is written with its length, so that no two
/// different lists of parts give the same digest.
pub(crate) struct Inputs(Sha256);

impl Inputs {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(crate) fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// Adds every source file below `folder`, with its path there.
    pub(crate) fn add_sources(&mut self, folder: &Path) -> Result<(), BuildError> {
        for path in files_below(folder)? {
            let name = path.strip_prefix(folder).expect("it was found below");
            self.add(name.as_os_str().as_encoded_bytes());
            self.add(&std::fs::read(&path).map_err(io("read", &path))?);
        }
        Ok(())
    }

    /// The digest in hexadecimal.
    pub(crate) fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// The files that can matter for a build of the Go module in `folder`, sorted:
/// not what is hidden, not tests, not other modules inside it.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let mut files = Vec::new();
    if folder.exists() {
        collect(folder, &mut files)?;
    }
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), BuildError> {
    for entry in std::fs::read_dir(folder).map_err(io("list", folder))? {
        let path = entry.map_err(io("list", folder))?.path();
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy())
            .unwrap_or_default();
        if name.starts_with('.') || name.ends_with("_test.go") {
            continue;
        }
        if !path.is_dir() {
            files.push(path);
        } else if name != "target" && !path.join("go.mod").exists() {
            collect(&path, files)?;
        }
    }
    Ok(())
}
