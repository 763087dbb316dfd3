//! Compiled components on disk.
//!
//! What Cranelift makes is native code, and wasmtime runs what it is handed.
//! So a file is loaded only if its MAC, made with a key that only this host's
//! data directory has, fits both its content and its name. The name holds the
//! component's digest, wasmtime's version and the hash of everything that the
//! compiler was told, so a file never serves another component or another
//! build of the host. Whatever does not fit is compiled again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nestor_core::ids::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::EngineHostError;
use crate::metrics::CACHE;

/// Of the key and of a MAC.
const BYTES: usize = blake3::OUT_LEN;
/// Read at once while a file is checked.
const CHUNK: usize = 1 << 20;
/// The key's file, in the same folder.
const KEY: &str = "key";
/// Part of every name; the compiler and the runtime must be the same.
const WASMTIME: &str = "48.0.8";

/// The folder, and the key of its MACs.
pub(crate) struct Cache {
    folder: PathBuf,
    key: [u8; BYTES],
    /// Of the engine's configuration and this machine's processor.
    build: String,
}

impl Cache {
    /// Opens the cache, making folder and key when they are not there.
    pub(crate) fn open(folder: PathBuf, engine: &Engine) -> Result<Self, EngineHostError> {
        let data = |path: &Path| {
            let path = path.display().to_string();
            move |source| EngineHostError::Data { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(data(&folder))?;
        // Also when it was there before, with whatever mode.
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(&folder, owner_only).map_err(data(&folder))?;
        let key_file = folder.join(KEY);
        let key = read_or_make_key(&key_file).map_err(data(&key_file))?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            folder,
            key,
            build: format!("{WASMTIME}-{:016x}", hasher.finish()),
        })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder
            .join(format!("{}-{}.cwasm", digest.hex(), self.build))
    }

    /// Whether there is a file for it; says nothing about its content.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// The compiled component, if there is one that this host made.
    pub(crate) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(digest);
        let count =
            |result: &'static str| metrics::counter!(CACHE, "result" => result).increment(1);
        match self.verified(&path) {
            Ok(true) => {}
            Ok(false) => {
                tracing::error!(target: "nestor_engine::audit", file = %path.display(), "a compiled engine is damaged or was swapped; it is compiled again");
                count("refused");
                return None;
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(file = %path.display(), %error, "a compiled engine cannot be read; it is compiled again");
                }
                count("miss");
                return None;
            }
        }
        match deserialize(engine, &path) {
            Ok(component) => {
                count("hit");
                Some(component)
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a compiled engine is not for this host; it is compiled again");
                count("miss");
                None
            }
        }
    }

    /// Keeps a compiled component, and gives it back as loaded from its file:
    /// mapped memory that the kernel can take away, instead of the compiler's.
    pub(crate) fn keep(&self, engine: &Engine, digest: &Digest, component: Component) -> Component {
        let kept = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|bytes| {
                let mut file = self.new_file()?;
                file.write_all(&bytes)?;
                self.keep_file(digest, file)
            });
        match kept {
            Ok(()) => self.load(engine, digest).unwrap_or(component),
            Err(error) => {
                tracing::warn!(%digest, %error, "a compiled engine cannot be kept; it is compiled again at the next start");
                component
            }
        }
    }

    /// Removes what no engine of this host needs any more: other versions and
    /// other builds, a hundred megabytes each.
    pub(crate) fn prune(&self, needed: &BTreeSet<Digest>) {
        let needed: BTreeSet<PathBuf> = needed
            .iter()
            .map(|digest| self.path(digest))
            .flat_map(|path| [mac_path(&path), path])
            .collect();
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let ours = path
                .extension()
                .is_some_and(|end| end == "cwasm" || end == "mac");
            if ours && !needed.contains(&path) {
                // The next start tries again.
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// An empty file in the cache's folder, for a compiler to write into.
    pub(crate) fn new_file(&self) -> io::Result<tempfile::NamedTempFile> {
        tempfile::NamedTempFile::new_in(&self.folder)
    }

    /// Keeps what this host's compiler wrote into a file of [`Self::new_file`].
    pub(crate) fn keep_file(
        &self,
        digest: &Digest,
        file: tempfile::NamedTempFile,
    ) -> io::Result<()> {
        let path = self.path(digest);
        let mac = self.mac(&path, &mut file.reopen()?)?;
        let mut sidecar = self.new_file()?;
        sidecar.write_all(mac.as_bytes())?;
        // A crash in between leaves a file whose MAC does not fit: compiled again.
        file.persist(&path)?;
        sidecar.persist(mac_path(&path))?;
        Ok(())
    }

    fn mac(&self, path: &Path, file: &mut File) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update(&[0]);
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(hasher.finalize()),
                read => hasher.update(&chunk[..read]),
            };
        }
    }

    fn verified(&self, path: &Path) -> io::Result<bool> {
        let mut file = File::open(path)?;
        let mut mac = [0; BYTES];
        match File::open(mac_path(path)).and_then(|mut file| file.read_exact(&mut mac)) {
            Ok(()) => {}
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
                ) =>
            {
                return Ok(false);
            }
            Err(e) => return Err(e),
        }
        // Compares in constant time.
        Ok(self.mac(path, &mut file)? == blake3::Hash::from_bytes(mac))
    }
}

fn mac_path(path: &Path) -> PathBuf {
    path.with_extension("mac")
}

fn read_or_make_key(path: &Path) -> io::Result<[u8; BYTES]> {
    let read = || -> io::Result<[u8; BYTES]> {
        let mut key = [0; BYTES];
        File::open(path)?.read_exact(&mut key)?;
        Ok(key)
    };
    match read() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        read => return read,
    }
    let mut key = [0; BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    // A temporary file is its owner's alone, and whole before it has the name.
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(key),
        // Another process was faster.
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => read(),
        Err(e) => Err(e.error),
    }
}

#[expect(
    unsafe_code,
    reason = "native code from disk can only be loaded unsafely"
)]
fn deserialize(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file's MAC was checked just now, so it is what this host's
    // compiler wrote; only this user can write into its folder.
    unsafe { Component::deserialize_file(engine, path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest component there is.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    struct Fixture {
        dir: tempfile::TempDir,
        engine: Engine,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                dir: tempfile::tempdir().unwrap(),
                engine: Engine::default(),
            }
        }
        fn open(&self) -> Cache {
            Cache::open(self.dir.path().join("cache"), &self.engine).unwrap()
        }
        fn filled(&self) -> (Cache, Digest) {
            let cache = self.open();
            let digest = Digest::of(EMPTY);
            let component = Component::from_binary(&self.engine, EMPTY).unwrap();
            cache.keep(&self.engine, &digest, component);
            (cache, digest)
        }
    }

    #[test]
    fn kept_and_found_again() {
        let fixture = Fixture::new();
        let (cache, digest) = fixture.filled();
        assert!(cache.load(&fixture.engine, &digest).is_some());
        assert!(
            fixture.open().load(&fixture.engine, &digest).is_some(),
            "after a restart"
        );
        assert!(cache.load(&fixture.engine, &Digest::of(b"other")).is_none());
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&cache.folder), 0o700);
        assert_eq!(mode(&cache.folder.join(KEY)), 0o600);
    }

    #[test]
    fn what_is_not_needed_goes() {
        let fixture = Fixture::new();
        let (cache, digest) = fixture.filled();
        cache.prune(&BTreeSet::from([digest]));
        assert!(cache.has(&digest));
        cache.prune(&BTreeSet::new());
        assert!(!cache.has(&digest));
        assert!(cache.folder.join(KEY).exists());
    }

    #[test]
    fn the_version_in_the_names_is_the_one_that_is_built() {
        let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../Cargo.lock"))
            .unwrap();
        assert!(lock.contains(&format!("name = \"wasmtime\"\nversion = \"{WASMTIME}\"")));
    }

    #[test]
    fn a_changed_swapped_or_foreign_file_is_refused() {
        let fixture = Fixture::new();
        let (cache, digest) = fixture.filled();
        let path = cache.path(&digest);
        let good = fs::read(&path).unwrap();

        let mut changed = good.clone();
        let last = changed.len() - 1;
        changed[last] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(cache.load(&fixture.engine, &digest).is_none(), "changed");

        fs::write(&path, &good[..last]).unwrap();
        assert!(cache.load(&fixture.engine, &digest).is_none(), "cut");

        fs::write(&path, &good).unwrap();
        assert!(cache.load(&fixture.engine, &digest).is_some(), "as it was");

        let other = Digest::of(b"other");
        fs::copy(&path, cache.path(&other)).unwrap();
        fs::copy(mac_path(&path), mac_path(&cache.path(&other))).unwrap();
        assert!(
            cache.load(&fixture.engine, &other).is_none(),
            "a good file under another name"
        );

        fs::remove_file(mac_path(&path)).unwrap();
        assert!(
            cache.load(&fixture.engine, &digest).is_none(),
            "without MAC"
        );

        let (cache, _) = fixture.filled();
        assert!(cache.load(&fixture.engine, &digest).is_some());
        fs::remove_file(cache.folder.join(KEY)).unwrap();
        assert!(
            fixture.open().load(&fixture.engine, &digest).is_none(),
            "made with another key"
        );
    }
}
