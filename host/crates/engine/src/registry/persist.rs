//! Components put over the API, on disk: `engines/<name>/<digest>.wasm`, its
//! `.toml`, and `head.json`, which is written last and says what counts. A
//! crash before that leaves the engine as it was.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nestor_core::ids::{Digest, EngineId};
use serde::{Deserialize, Serialize};

/// What counts.
const HEAD: &str = "head.json";

/// The folder of all engines.
pub(crate) struct Persistence(PathBuf);

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// None: a built-in or a file is the head.
    head: Option<Digest>,
    /// Latest first.
    held: Vec<Digest>,
}

/// One engine, as found at start.
#[derive(Debug)]
pub(crate) struct Persisted {
    pub(crate) id: EngineId,
    pub(crate) head: Option<Stored>,
    pub(crate) held: Vec<Stored>,
}

/// One component.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) wasm: PathBuf,
    pub(crate) manifest: Option<String>,
}

impl Persistence {
    pub(crate) fn new(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    fn folder(&self, id: &EngineId) -> PathBuf {
        self.0.join(id.as_str())
    }

    /// Where a component of an engine is.
    pub(crate) fn wasm(&self, id: &EngineId, digest: &Digest) -> PathBuf {
        self.folder(id).join(format!("{}.wasm", digest.hex()))
    }

    /// Stores a component, durably. It does not count yet.
    pub(crate) fn store(
        &self,
        id: &EngineId,
        digest: &Digest,
        wasm: &[u8],
        manifest: Option<&str>,
    ) -> io::Result<()> {
        let folder = self.folder(id);
        fs::create_dir_all(&folder)?;
        let path = self.wasm(id, digest);
        write_durably(&path, wasm)?;
        let manifest_path = path.with_extension("toml");
        match manifest {
            Some(text) => write_durably(&manifest_path, text.as_bytes())?,
            None => match fs::remove_file(&manifest_path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            },
        }
        sync_folder(&folder)?;
        sync_folder(&self.0)
    }

    /// Says what counts, durably, and removes what does not.
    pub(crate) fn set(
        &self,
        id: &EngineId,
        head: Option<Digest>,
        held: Vec<Digest>,
    ) -> io::Result<()> {
        let folder = self.folder(id);
        if head.is_none() && held.is_empty() && !folder.exists() {
            return Ok(());
        }
        fs::create_dir_all(&folder)?;
        let needed: Vec<String> = head.iter().chain(&held).map(Digest::hex).collect();
        let text = serde_json::to_vec(&Head { head, held }).map_err(io::Error::other)?;
        write_durably(&folder.join(HEAD), &text)?;
        sync_folder(&folder)?;
        for entry in fs::read_dir(&folder)?.flatten() {
            let path = entry.path();
            let stem = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let component = path
                .extension()
                .is_some_and(|end| end == "wasm" || end == "toml");
            if component && !needed.contains(&stem) {
                // Not needed; the next change tries again.
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// Everything that counts. What is broken is left out and said.
    pub(crate) fn restore(&self) -> io::Result<Vec<Persisted>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let Ok(id) = EngineId::new(&name) else {
                continue;
            };
            match self.restore_one(&id) {
                Ok(Some(persisted)) => found.push(persisted),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(engine = %id, %error, "the engine that was put over the API cannot be restored");
                }
            }
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    fn restore_one(&self, id: &EngineId) -> io::Result<Option<Persisted>> {
        let bytes = match fs::read(self.folder(id).join(HEAD)) {
            Ok(bytes) => bytes,
            // A crash before the first head: nothing was acknowledged.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let Head { head, held } = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
        let stored = |digest: Digest| {
            let wasm = self.wasm(id, &digest);
            let manifest = match fs::read_to_string(wasm.with_extension("toml")) {
                Ok(text) => Some(text),
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(e) => return Err(e),
            };
            fs::metadata(&wasm)?;
            Ok(Stored {
                digest,
                wasm,
                manifest,
            })
        };
        Ok(Some(Persisted {
            id: id.clone(),
            head: head.map(stored).transpose()?,
            // One that is gone is only an older version.
            held: held
                .into_iter()
                .filter_map(|digest| stored(digest).ok())
                .collect(),
        }))
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_restored_and_the_rest_removed() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Persistence::new(dir.path().join("engines")).unwrap();
        let id = EngineId::new("custom").unwrap();
        let [one, two, three] = [b"one".as_slice(), b"two", b"three"].map(Digest::of);
        let engines = open();
        engines
            .store(&id, &one, b"one", Some("schema = 1"))
            .unwrap();
        assert!(
            open().restore().unwrap().is_empty(),
            "stored is not yet head"
        );
        engines.set(&id, Some(one), vec![]).unwrap();
        engines.store(&id, &two, b"two", None).unwrap();
        engines.set(&id, Some(two), vec![one]).unwrap();

        let restored = open().restore().unwrap();
        let [engine] = restored.as_slice() else {
            panic!("{restored:?}")
        };
        let head = engine.head.as_ref().unwrap();
        assert_eq!((head.digest, &head.manifest), (two, &None));
        assert_eq!(fs::read(&head.wasm).unwrap(), b"two");
        assert_eq!(engine.held[0].manifest.as_deref(), Some("schema = 1"));

        engines.store(&id, &three, b"three", None).unwrap();
        engines.set(&id, None, vec![three]).unwrap();
        assert!(!engines.wasm(&id, &one).exists());
        let restored = open().restore().unwrap();
        assert!(restored[0].head.is_none());
        assert_eq!(restored[0].held.len(), 1);

        fs::write(dir.path().join("engines/custom/head.json"), "{").unwrap();
        assert!(open().restore().unwrap().is_empty());
    }
}
