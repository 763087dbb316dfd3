//! Folders inside a commit, without a work tree.

use std::collections::BTreeMap;

use git2::{Error, ErrorCode, ObjectType, Oid, Repository, Tree};
use nestor_core::engine::Manifest;

/// Git's modes, as it writes them into trees.
const FILE: i32 = 0o100_644;
const FOLDER: i32 = 0o040_000;

/// Writes a folder that holds exactly these manifests; none for no manifests,
/// as Git knows no empty folders. Paths were checked.
pub(crate) fn write(repository: &Repository, manifests: &[Manifest]) -> Result<Option<Oid>, Error> {
    let files = manifests
        .iter()
        .map(|m| (m.path.as_str(), m.content.as_bytes()));
    write_level(repository, files.collect())
}

fn write_level(repository: &Repository, files: Vec<(&str, &[u8])>) -> Result<Option<Oid>, Error> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut builder = repository.treebuilder(None)?;
    let mut folders: BTreeMap<&str, Vec<(&str, &[u8])>> = BTreeMap::new();
    for (path, content) in files {
        match path.split_once('/') {
            Some((folder, rest)) => folders.entry(folder).or_default().push((rest, content)),
            None => {
                builder.insert(path, repository.blob(content)?, FILE)?;
            }
        }
    }
    // Paths are bounded, and so is the depth.
    for (name, files) in folders {
        if let Some(folder) = write_level(repository, files)? {
            builder.insert(name, folder, FOLDER)?;
        }
    }
    builder.write().map(Some)
}

/// The id of a folder in a tree; none if there is nothing of that name.
pub(crate) fn folder(tree: &Tree<'_>, path: &str) -> Result<Option<Oid>, Error> {
    match tree.get_path(std::path::Path::new(path)) {
        Ok(entry) => Ok(Some(entry.id())),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The tree with the folder at `path` replaced or removed, and all else as it
/// was; none when nothing is left. Folders that become empty go too.
pub(crate) fn replace(
    repository: &Repository,
    tree: Option<&Tree<'_>>,
    path: &str,
    new: Option<Oid>,
) -> Result<Option<Oid>, Error> {
    let (name, rest) = path
        .split_once('/')
        .map_or((path, None), |(name, rest)| (name, Some(rest)));
    let new = match rest {
        None => new,
        Some(rest) => {
            let below = match tree.and_then(|tree| tree.get_name(name)) {
                Some(entry) if entry.kind() == Some(ObjectType::Tree) => {
                    Some(repository.find_tree(entry.id())?)
                }
                Some(_) if new.is_some() => {
                    return Err(Error::from_str(&format!(
                        "{name:?} is a file in the repository where a folder is needed; remove it"
                    )));
                }
                _ => None,
            };
            if below.is_none() && new.is_none() {
                return Ok(tree.map(Tree::id));
            }
            replace(repository, below.as_ref(), rest, new)?
        }
    };
    let mut builder = repository.treebuilder(tree)?;
    match new {
        Some(folder) => {
            builder.insert(name, folder, FOLDER)?;
        }
        None if builder.get(name)?.is_some() => builder.remove(name)?,
        None => {}
    }
    if builder.is_empty() {
        return Ok(None);
    }
    builder.write().map(Some)
}
