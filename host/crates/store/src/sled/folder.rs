//! The store's folder: its lock, its format marker, sled inside.
//!
//! ```text
//! LOCK      locked while open; holds the process id
//! FORMAT    which layout this is
//! sled/     sled's own files
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::sled::Db;

use super::layout::SEGMENT_BYTES;

/// The newest layout this program knows; [`super::layout`] describes it.
const FORMAT_VERSION: u32 = 1;
const FORMAT_NAME: &str = "nestor-store/sled";
const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";
const SLED_FOLDER: &str = "sled";

/// A store closed a moment ago in this process may leave sled's file locked
/// until sled's garbage collection has run.
const SLED_LOCK_WAIT: Duration = Duration::from_secs(2);

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the store in {} is in use by {holder}; stop it, or choose another data folder", path.display())]
    Locked {
        /// The store's folder.
        path: PathBuf,
        /// The process, as far as known.
        holder: String,
    },
    /// The folder holds something else.
    #[error("{} is not empty and not a store of Nestor ({found}); choose another data folder", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What is in it.
        found: String,
    },
    /// Written by a newer version.
    #[error("the store in {} has format {found}, this version of nestor knows up to {FORMAT_VERSION}; use a newer nestor", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A file could not be read or written.
    #[error("the store in {}: {doing}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What happened.
        source: std::io::Error,
    },
    /// Sled refused.
    #[error("the store in {} cannot be opened: {source}", path.display())]
    Sled {
        /// The folder.
        path: PathBuf,
        /// What happened.
        source: sled::Error,
    },
}

/// A locked folder with the right format.
pub(super) struct Folder {
    path: PathBuf,
    /// The lock goes with the handle, also when the process is killed.
    _lock: File,
}

impl Folder {
    pub(super) fn open(path: PathBuf, cache_bytes: u64) -> Result<(Self, Db), OpenError> {
        let io = |doing| {
            let path = path.clone();
            move |source| OpenError::Io {
                path,
                doing,
                source,
            }
        };
        std::fs::create_dir_all(&path).map_err(io("creating the folder"))?;
        let lock = lock(&path)?;
        check_format(&path)?;
        let db = open_sled(&path, cache_bytes)?;
        sync_folder(&path.join(SLED_FOLDER)).map_err(io("syncing the folder"))?;
        sync_folder(&path).map_err(io("syncing the folder"))?;
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            sync_folder(parent).map_err(io("syncing the folder above"))?;
        }
        Ok((Self { path, _lock: lock }, db))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A handle of our own to the file that sled writes.
    pub(super) fn data_file(&self) -> Result<File, OpenError> {
        let file = self.path.join(SLED_FOLDER).join("db");
        OpenOptions::new()
            .write(true)
            .open(file)
            .map_err(|source| OpenError::Io {
                path: self.path.clone(),
                doing: "opening sled's file",
                source,
            })
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |doing| {
        move |source| OpenError::Io {
            path: path.to_owned(),
            doing,
            source,
        }
    };
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path.join(LOCK_FILE))
        .map_err(io("opening LOCK"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::Locked {
                path: path.to_owned(),
                holder: holder(&mut file),
            });
        }
        Err(TryLockError::Error(source)) => return Err(io("locking it")(source)),
    }
    let id = std::process::id().to_string();
    file.set_len(0)
        .and_then(|()| file.write_all(id.as_bytes()))
        .map_err(io("writing LOCK"))?;
    Ok(file)
}

/// Who holds the lock, for a person.
fn holder(file: &mut File) -> String {
    const LONGEST: u64 = 32;
    let mut id = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(LONGEST).read_to_string(&mut id));
    let Some(id) = read.ok().and_then(|_| id.trim().parse::<u32>().ok()) else {
        return "another process".into();
    };
    if id == std::process::id() {
        return format!("this very process ({id})");
    }
    let Ok(command) = std::fs::read(format!("/proc/{id}/cmdline")) else {
        return format!("process {id}");
    };
    let command = String::from_utf8_lossy(&command);
    let words: Vec<&str> = command
        .split('\0')
        .filter(|word| !word.is_empty())
        .collect();
    let shown: String = words.join(" ").chars().take(120).collect();
    format!("process {id} ({shown})")
}

fn check_format(path: &Path) -> Result<(), OpenError> {
    let io = |doing| {
        move |source| OpenError::Io {
            path: path.to_owned(),
            doing,
            source,
        }
    };
    let foreign = |found: String| OpenError::Foreign {
        path: path.to_owned(),
        found,
    };
    let marker = path.join(FORMAT_FILE);
    match std::fs::read_to_string(&marker) {
        Ok(text) => {
            let version = text
                .trim()
                .strip_prefix(FORMAT_NAME)
                .and_then(|v| v.trim().parse::<u32>().ok());
            match version {
                Some(1..=FORMAT_VERSION) => Ok(()),
                Some(found) if found > FORMAT_VERSION => Err(OpenError::Newer {
                    path: path.to_owned(),
                    found,
                }),
                _ => Err(foreign(format!(
                    "its {FORMAT_FILE} says {:.40?}",
                    text.trim()
                ))),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            for entry in std::fs::read_dir(path).map_err(io("listing the folder"))? {
                let name = entry.map_err(io("listing the folder"))?.file_name();
                // An unfinished marker is what a crash during the first start leaves.
                if name != LOCK_FILE && name.as_os_str() != unfinished().as_str() {
                    return Err(foreign(format!(
                        "it has {:.80}",
                        name.display().to_string()
                    )));
                }
            }
            write_marker(path, &marker).map_err(io("writing FORMAT"))
        }
        Err(source) => Err(io("reading FORMAT")(source)),
    }
}

fn unfinished() -> String {
    format!("{FORMAT_FILE}.new")
}

fn write_marker(path: &Path, marker: &Path) -> std::io::Result<()> {
    let new = path.join(unfinished());
    let mut file = File::create(&new)?;
    writeln!(file, "{FORMAT_NAME} {FORMAT_VERSION}")?;
    file.sync_all()?;
    std::fs::rename(&new, marker)?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

fn open_sled(path: &Path, cache_bytes: u64) -> Result<Db, OpenError> {
    let config = sled::Config::new()
        .path(path.join(SLED_FOLDER))
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(cache_bytes)
        // Everything is flushed at once by the writer thread. Sled's own thread
        // would also tidy sparse segments, but in 10 million skewed writes the
        // file was no smaller with it (75 MB for 30 MB of data either way).
        .flush_every_ms(None);
    let deadline = Instant::now() + SLED_LOCK_WAIT;
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            // We hold the folder, so the lock is our own from a moment ago.
            Err(sled::Error::Io(e))
                if e.to_string().contains("acquire lock") && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(source) => {
                return Err(OpenError::Sled {
                    path: path.to_owned(),
                    source,
                });
            }
        }
    }
}
