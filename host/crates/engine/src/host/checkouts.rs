//! The folders that guests see at `/work`, and who is in which of them.
//!
//! A checkout is for one call at a time: that is the contract's "two calls for
//! the same resource never overlap", and with it an engine may rely on what it
//! wrote a moment ago. Runs keep to it by themselves; this keeps everybody who
//! only looks out of a run's way.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nestor_core::engine::EngineError;
use nestor_core::ids::DeploymentId;
use nestor_core::ports::Standing;
use tokio::sync::{OwnedMutexGuard, watch};

/// A folder that is removed while it is made is made again.
const MAKE_TRIES: u32 = 5;
/// How long who only looks waits for a checkout: longer than most calls take,
/// shorter than people do.
const LOOK_WAIT: Duration = Duration::from_secs(10);
/// How long work waits for other work, which is somebody else's only when a
/// worker lost its lease in the middle of a call: as long as for a turn.
const WORK_WAIT: Duration = Duration::from_secs(300);
/// When to ask again for a checkout that is in use.
const RETRY: Duration = Duration::from_secs(5);

/// All checkouts of a host.
pub(super) struct Checkouts {
    root: PathBuf,
    /// Those that somebody is in or waits for.
    places: Mutex<HashMap<PathBuf, Arc<Place>>>,
}

#[derive(Default)]
struct Place {
    held: Arc<tokio::sync::Mutex<()>>,
    /// How much work waits for it.
    work: watch::Sender<usize>,
}

/// Somebody at a checkout's door, or inside. The last one to leave takes the
/// entry away.
struct Visitor {
    all: Arc<Checkouts>,
    path: PathBuf,
    place: Arc<Place>,
}

/// A checkout in use. It is free again once this is dropped.
pub(crate) struct Checkout {
    visitor: Visitor,
    _held: OwnedMutexGuard<()>,
}

/// Work that waits; dropped, it does not any more.
struct Waiting<'a>(&'a Place);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.work.send_modify(|waiting| *waiting -= 1);
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let mut places = self.all.lock();
        // The map's and this one: nobody else came, and nobody can meanwhile.
        if Arc::strong_count(&self.place) == 2 {
            places.remove(&self.path);
        }
    }
}

impl Checkouts {
    pub(super) fn new(root: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            root,
            places: Mutex::default(),
        })
    }

    /// Waits until the checkout is free, and takes it.
    ///
    /// # Errors
    /// `unavailable` when it stayed in use for too long; who only looks gives up
    /// sooner, and at once when work waits for it too.
    pub(super) async fn enter(
        self: &Arc<Self>,
        relative: &Path,
        standing: Standing,
    ) -> Result<Checkout, EngineError> {
        let visitor = self.visit(self.root.join(relative));
        let held = Arc::clone(&visitor.place.held).lock_owned();
        let held = match standing {
            Standing::Work => {
                let waiting = visitor.waits();
                let held = tokio::time::timeout(WORK_WAIT, held).await;
                drop(waiting);
                held.ok()
            }
            Standing::Look | Standing::Preview => tokio::select! {
                biased;
                () = visitor.place.wanted() => None,
                held = tokio::time::timeout(LOOK_WAIT, held) => held.ok(),
            },
        };
        held.map(|held| Checkout {
            visitor,
            _held: held,
        })
        .ok_or_else(in_use)
    }

    /// All that a deployment has, in every environment.
    pub(super) async fn of_deployment(&self, deployment: &DeploymentId) -> Vec<PathBuf> {
        let (root, deployment) = (self.root.clone(), deployment.to_string());
        let found = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            for environment in std::fs::read_dir(&root).into_iter().flatten().flatten() {
                let own = Path::new(&environment.file_name()).join(&deployment);
                let folders = std::fs::read_dir(root.join(&own)).into_iter().flatten();
                found.extend(folders.flatten().map(|folder| own.join(folder.file_name())));
            }
            found
        });
        found.await.unwrap_or_default()
    }

    fn visit(self: &Arc<Self>, path: PathBuf) -> Visitor {
        let place = Arc::clone(self.lock().entry(path.clone()).or_default());
        Visitor {
            all: Arc::clone(self),
            path,
            place,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<Place>>> {
        // The map is whole at every panic point.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visitor {
    fn waits(&self) -> Waiting<'_> {
        self.place.work.send_modify(|waiting| *waiting += 1);
        Waiting(&self.place)
    }
}

impl Place {
    /// Returns once work waits for it.
    async fn wanted(&self) {
        let mut work = self.work.subscribe();
        // The sender is in `self`: it cannot be gone.
        let _ = work.wait_for(|waiting| *waiting > 0).await;
    }
}

impl Checkout {
    pub(super) fn path(&self) -> &Path {
        &self.visitor.path
    }

    /// Returns once work waits for this checkout.
    pub(super) async fn wanted(&self) {
        self.visitor.place.wanted().await;
    }

    /// Makes the folder; says whether it is new.
    pub(super) fn make(&self) -> io::Result<bool> {
        let path = self.path();
        let new = !path.try_exists()?;
        let mut tries = 1;
        loop {
            match DirBuilder::new().recursive(true).mode(0o700).create(path) {
                // A sibling's removal took the folder above away.
                Err(e) if e.kind() == io::ErrorKind::NotFound && tries < MAKE_TRIES => tries += 1,
                made => return made.map(|()| new),
            }
        }
    }

    /// Removes the folder, and those above as far as they are empty.
    pub(super) async fn remove(&self) {
        let (root, checkout) = (self.visitor.all.root.clone(), self.path().to_owned());
        let removed = tokio::task::spawn_blocking(move || {
            match std::fs::remove_dir_all(&checkout) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
            for folder in checkout
                .ancestors()
                .skip(1)
                .take_while(|folder| *folder != root)
            {
                if std::fs::remove_dir(folder).is_err() {
                    break;
                }
            }
            Ok::<(), io::Error>(())
        });
        if let Ok(Err(error)) = removed.await {
            tracing::warn!(%error, "a checkout that is not needed any more cannot be removed");
        }
    }
}

/// What who wanted to look is told.
pub(super) fn in_use() -> EngineError {
    EngineError::Unavailable {
        message: "the resource is being worked on; ask again when that is done".into(),
        retry_after: Some(RETRY),
    }
}
