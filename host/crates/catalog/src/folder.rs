//! Folders of definitions: found, fingerprinted, digested.

use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nestor_core::ids::Digest;
use sha2::{Digest as _, Sha256};

/// The file that makes a folder a definition.
pub(crate) const FILE: &str = "definition.yaml";
/// Folders within each other on the way to a definition.
const MAX_DEPTH: usize = 8;
/// Definitions in one catalog, each version counted.
const MAX_DEFINITIONS: usize = 10_000;
/// A definition is a page or two; what is large goes into files beside it.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 20;
/// Files beside one definition. The largest public charts have a few hundred.
const MAX_FILES: usize = 10_000;
/// All of them together, in bytes.
const MAX_FOLDER_BYTES: u64 = 64 << 20;
/// Folders within each other beside one definition.
const MAX_FOLDER_DEPTH: usize = 32;
/// Never part of a definition.
const IGNORED: [&str; 2] = [".git", ".terraform"];

/// What a directory holds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The folders with a definition, sorted.
    pub(crate) definitions: Vec<PathBuf>,
    /// Folders that were not searched, and why.
    pub(crate) unsearched: Vec<(PathBuf, String)>,
}

/// Searches a directory for definitions. A definition's own folder is not
/// searched further: what is in it belongs to it. Hidden folders and links are
/// passed over.
pub(crate) fn find(root: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let mut open = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = open.pop() {
        let (is_definition, below) = match look_into(&folder) {
            Ok(seen) => seen,
            Err(error) if depth == 0 => return Err(error),
            Err(error) => {
                found
                    .unsearched
                    .push((folder, format!("cannot be read: {error}")));
                continue;
            }
        };
        if is_definition {
            found.definitions.push(folder);
            if found.definitions.len() > MAX_DEFINITIONS {
                return Err(io::Error::other(format!(
                    "more than {MAX_DEFINITIONS} definitions"
                )));
            }
        } else if depth < MAX_DEPTH {
            open.extend(below.into_iter().map(|folder| (folder, depth + 1)));
        } else if !below.is_empty() {
            let message = format!("folders deeper than {MAX_DEPTH} are not searched");
            found.unsearched.push((folder, message));
        }
    }
    found.definitions.sort();
    Ok(found)
}

/// Whether a folder holds a definition, and the folders in it.
fn look_into(folder: &Path) -> io::Result<(bool, Vec<PathBuf>)> {
    let mut below = Vec::new();
    let mut is_definition = false;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_folder = entry.file_type()?.is_dir();
        is_definition |= name == FILE && !is_folder;
        if is_folder && !name.as_encoded_bytes().starts_with(b".") {
            below.push(entry.path());
        }
    }
    Ok((is_definition, below))
}

/// What tells that a folder has changed, without reading its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<(PathBuf, u64, Option<SystemTime>, u64)>);

/// The files of a definition's folder.
pub(crate) struct Folder {
    /// Relative paths, sorted.
    files: Vec<(PathBuf, Metadata)>,
}

impl Folder {
    /// Lists a folder.
    pub(crate) fn list(root: &Path) -> Result<Self, String> {
        let mut files = Vec::new();
        let mut bytes = 0;
        let mut open = vec![(PathBuf::new(), 0)];
        while let Some((relative, depth)) = open.pop() {
            let folder = root.join(&relative);
            let unreadable =
                |error: io::Error| format!("{} cannot be read: {error}", folder.display());
            for entry in fs::read_dir(&folder).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let metadata = entry.metadata().map_err(unreadable)?;
                let path = relative.join(entry.file_name());
                if path.to_str().is_none() {
                    return Err(format!("{} has a name that is not UTF-8", path.display()));
                }
                if metadata.is_dir() {
                    if IGNORED.iter().any(|name| entry.file_name() == *name) {
                        continue;
                    }
                    if depth == MAX_FOLDER_DEPTH {
                        return Err(format!(
                            "{} lies deeper than {MAX_FOLDER_DEPTH} folders",
                            path.display()
                        ));
                    }
                    open.push((path, depth + 1));
                } else if metadata.is_file() {
                    bytes += metadata.len();
                    files.push((path, metadata));
                } else {
                    // An engine could not follow a link anyway: its sandbox ends at the folder.
                    return Err(format!(
                        "{} is a link or special file; a definition holds ordinary files",
                        path.display()
                    ));
                }
                if files.len() > MAX_FILES || bytes > MAX_FOLDER_BYTES {
                    let mib = MAX_FOLDER_BYTES >> 20;
                    return Err(format!("holds more than {MAX_FILES} files or {mib} MiB"));
                }
            }
        }
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self { files })
    }

    /// Whether files came, went or changed since another listing.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let of = |(path, metadata): &(PathBuf, Metadata)| {
            (
                path.clone(),
                metadata.len(),
                metadata.modified().ok(),
                inode(metadata),
            )
        };
        Fingerprint(self.files.iter().map(of).collect())
    }

    /// Whether there is anything but the definition itself for an engine to see.
    pub(crate) fn has_more_than_the_definition(&self) -> bool {
        self.files.iter().any(|(path, _)| path != Path::new(FILE))
    }

    /// The digest of every file's path and content, and the definition's text.
    pub(crate) fn read(&self, root: &Path) -> Result<(Digest, String), String> {
        let mut hasher = Sha256::new();
        let mut definition = None;
        for (path, _) in &self.files {
            let content = read_bounded(&root.join(path), MAX_FOLDER_BYTES)?;
            let name = path.to_str().expect("only names in UTF-8 are listed");
            // Lengths first, so that no two folders are written the same.
            for part in [name.as_bytes(), &content] {
                hasher.update((part.len() as u64).to_be_bytes());
                hasher.update(part);
            }
            if path == Path::new(FILE) {
                definition = Some(content);
            }
        }
        let definition = definition.ok_or_else(|| format!("{FILE} is gone"))?;
        if definition.len() as u64 > MAX_FILE_BYTES {
            return Err(format!("{FILE} has more than {} MiB", MAX_FILE_BYTES >> 20));
        }
        let text = String::from_utf8(definition).map_err(|_| format!("{FILE} is not UTF-8"))?;
        Ok((Digest::from_bytes(hasher.finalize().into()), text))
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    let mut content = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(max + 1)
        .read_to_end(&mut content)
        .map_err(unreadable)?;
    if content.len() as u64 > max {
        Err(format!("{} is too large", path.display()))
    } else {
        Ok(content)
    }
}
