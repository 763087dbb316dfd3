//! Reading and writing commits.

use std::path::Path;

use git2::{Commit, Config, ConfigLevel, ErrorCode, Oid, RepositoryInitOptions, Signature, Tree};
use nestor_core::engine::Manifest;
use nestor_core::ports::DeliveryError;

use crate::config::{OpenError, RepositoryConfig};
use crate::tree;

/// The author of every commit.
const AUTHOR: (&str, &str) = ("Nestor", "nestor@localhost");
/// Somebody else pushes between reading the branch and moving it; so often in a
/// row means that something is wrong with them.
const MAX_RACES: u32 = 10;
/// Commits to walk back for the one that delivered a folder. Redelivery after a
/// crash finds it within the last few.
const MAX_WALK: usize = 1_000;
/// Objects and refs are synced to disk before the branch moves. Git itself has
/// another name for it by now and warns about this one, so it is not written
/// into the repository's own config.
const CONFIG: &str = "[core]\n\tfsyncObjectFiles = true\n";
const CONFIG_FILE: &str = "nestor.config";

/// A bare repository and one branch of it.
pub(crate) struct Repository {
    git: git2::Repository,
    reference: String,
}

impl Repository {
    /// Opens the repository in a folder, or makes a new one there.
    pub(crate) fn create_or_open(
        folder: &Path,
        config: &RepositoryConfig,
    ) -> Result<Self, OpenError> {
        let failed = |problem: String| git_failed(config, folder, problem);
        std::fs::create_dir_all(folder).map_err(|e| failed(e.to_string()))?;
        let empty = std::fs::read_dir(folder)
            .map_err(|e| failed(e.to_string()))?
            .next()
            .is_none();
        // Also after a crash in the middle of making it: that has no HEAD yet.
        if empty || !folder.join("HEAD").exists() && folder.join("objects").exists() {
            let mut options = RepositoryInitOptions::new();
            options
                .bare(true)
                .external_template(false)
                .initial_head(&config.branch);
            git2::Repository::init_opts(folder, &options)
                .map_err(|e| failed(e.message().into()))?;
            // Git syncs none of these; without them there is no repository.
            for made in [
                folder.join("HEAD"),
                folder.join("config"),
                folder.to_owned(),
            ] {
                let synced = std::fs::File::open(made).and_then(|file| file.sync_all());
                synced.map_err(|e| failed(e.to_string()))?;
            }
        }
        Self::open(folder, config)
    }

    /// Opens an existing repository. An empty one gets an empty first commit.
    pub(crate) fn open(folder: &Path, config: &RepositoryConfig) -> Result<Self, OpenError> {
        let failed = |error: &git2::Error| {
            let hint = match error.code() {
                ErrorCode::NotFound => "; create it with: git init --bare",
                ErrorCode::Owner => {
                    "; it belongs to another user: run as that user or change its owner"
                }
                _ => "",
            };
            git_failed(config, folder, format!("{}{hint}", error.message()))
        };
        let git = git2::Repository::open_bare(folder).map_err(|e| failed(&e))?;
        // `open_bare` believes its caller; the config knows.
        let bare = git.config().and_then(|config| config.get_bool("core.bare"));
        if bare.is_ok_and(|bare| !bare) {
            let problem =
                "it has a work tree, which would fall behind the branch; use a bare repository";
            return Err(git_failed(config, folder, problem.into()));
        }
        let own = folder.join(CONFIG_FILE);
        std::fs::write(&own, CONFIG).map_err(|e| git_failed(config, folder, e.to_string()))?;
        let configured = || -> Result<(), git2::Error> {
            // Only the repository's own config counts, not the one of whoever runs the host.
            let mut settings = Config::new()?;
            settings.add_file(&folder.join("config"), ConfigLevel::Local, false)?;
            settings.add_file(&own, ConfigLevel::App, false)?;
            git.set_config(&settings)
        };
        configured().map_err(|e| failed(&e))?;
        let repository = Self {
            git,
            reference: format!("refs/heads/{}", config.branch),
        };
        if repository.tip().map_err(|e| failed(&e))?.is_none() {
            repository.start(config).map_err(|e| failed(&e))??;
        }
        Ok(repository)
    }

    /// The first commit, in a repository without any branch.
    fn start(&self, config: &RepositoryConfig) -> Result<Result<(), OpenError>, git2::Error> {
        let branches = self.git.branches(Some(git2::BranchType::Local))?;
        let name = |branch: &git2::Branch<'_>| branch.name().ok().flatten().map(str::to_owned);
        let present: Vec<String> = branches.filter_map(|b| name(&b.ok()?.0)).collect();
        if !present.is_empty() {
            let (name, branch) = (config.name.clone(), config.branch.clone());
            return Ok(Err(OpenError::NoBranch {
                name,
                branch,
                present,
            }));
        }
        let empty = self.git.find_tree(self.git.treebuilder(None)?.write()?)?;
        let commit = self.commit(&empty, None, "Start of deliveries by Nestor\n")?;
        self.git
            .reference(&self.reference, commit, false, "start")?;
        Ok(Ok(()))
    }

    /// Makes a folder hold exactly these manifests; none removes it. Answers
    /// the commit that holds it so, which is a new one only if that changes
    /// anything.
    pub(crate) fn put_folder(
        &mut self,
        folder: &str,
        manifests: &[Manifest],
        message: &str,
    ) -> Result<Oid, DeliveryError> {
        let new = tree::write(&self.git, manifests).map_err(failed)?;
        for _ in 0..MAX_RACES {
            let tip = self.tip().map_err(failed)?;
            let tip = tip.ok_or_else(|| {
                DeliveryError::Failed(format!("{} is gone from the repository", self.reference))
            })?;
            let before = tip.tree().map_err(failed)?;
            if tree::folder(&before, folder).map_err(failed)? == new {
                return self.last_change(tip, folder, new).map_err(failed);
            }
            let commit = self
                .with_folder(&before, &tip, folder, new, message)
                .map_err(failed)?;
            match self
                .git
                .reference_matching(&self.reference, commit, true, tip.id(), "deliver")
            {
                Ok(_) => {
                    tracing::info!(%commit, folder, files = manifests.len(), "delivered");
                    return Ok(commit);
                }
                // Moved meanwhile: build upon where it is now.
                Err(error) if error.code() == ErrorCode::Modified => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(DeliveryError::Transient(format!(
            "{} moved {MAX_RACES} times while a delivery was being committed",
            self.reference
        )))
    }

    fn with_folder(
        &self,
        before: &Tree<'_>,
        tip: &Commit<'_>,
        folder: &str,
        new: Option<Oid>,
        message: &str,
    ) -> Result<Oid, git2::Error> {
        let after = match tree::replace(&self.git, Some(before), folder, new)? {
            Some(after) => after,
            None => self.git.treebuilder(None)?.write()?,
        };
        self.commit(&self.git.find_tree(after)?, Some(tip), message)
    }

    /// A commit that no branch knows yet.
    fn commit(
        &self,
        tree: &Tree<'_>,
        parent: Option<&Commit<'_>>,
        message: &str,
    ) -> Result<Oid, git2::Error> {
        let author = Signature::now(AUTHOR.0, AUTHOR.1)?;
        let parents: Vec<&Commit<'_>> = parent.into_iter().collect();
        self.git
            .commit(None, &author, &author, message, tree, &parents)
    }

    /// The commit that the branch names; none if there is no such branch.
    fn tip(&self) -> Result<Option<Commit<'_>>, git2::Error> {
        match self.git.find_reference(&self.reference) {
            Ok(reference) => reference.peel_to_commit().map(Some),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The commit since which the folder is as it is; the tip if that is too
    /// far back, as it holds the same.
    fn last_change(
        &self,
        tip: Commit<'_>,
        folder: &str,
        now: Option<Oid>,
    ) -> Result<Oid, git2::Error> {
        let newest = tip.id();
        let mut commit = tip;
        for _ in 0..MAX_WALK {
            let parent = match commit.parent(0) {
                Ok(parent) => parent,
                Err(error) if error.code() == ErrorCode::NotFound => return Ok(commit.id()),
                Err(error) => return Err(error),
            };
            if tree::folder(&parent.tree()?, folder)? != now {
                return Ok(commit.id());
            }
            commit = parent;
        }
        Ok(newest)
    }
}

fn git_failed(config: &RepositoryConfig, folder: &Path, problem: String) -> OpenError {
    OpenError::Git {
        name: config.name.clone(),
        folder: folder.to_owned(),
        problem,
    }
}

/// A lock held by another Git process passes, and so may a full disk.
fn failed(error: git2::Error) -> DeliveryError {
    let message = format!("git: {}", error.message());
    match (error.code(), error.class()) {
        (ErrorCode::Locked, _) | (_, git2::ErrorClass::Os | git2::ErrorClass::Filesystem) => {
            DeliveryError::Transient(message)
        }
        _ => DeliveryError::Failed(message),
    }
}
