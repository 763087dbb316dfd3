//! GitOps delivery: manifests as commits in a Git repository.
//!
//! ```text
//! <path>/<environment>/<deployment>/<resource>/<manifest path>
//! ```
//!
//! Trees are edited directly, without a work tree, and the branch moves last
//! and only from the commit that was built upon: a crash at any moment leaves
//! either the commit before or the one after, and somebody else's push is
//! never overwritten.
//!
//! | module | does |
//! |---|---|
//! | [`config`] | which repository, and where in it |
//! | [`paths`] | which manifests can be files |
//! | [`message`] | what a commit says |
//! | [`repository`] | reading and writing commits |
//! | [`tree`] | folders inside a commit |

pub mod config;
mod message;
pub mod paths;
mod repository;
mod tree;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use nestor_core::ports::{Delivered, Delivery, DeliveryError, DeliveryRequest, Withdrawal};

pub use config::{DEFAULT_BRANCH, OpenError, RepositoryConfig};
use message::{Message, Verb};
use repository::Repository;

/// Delivers to one repository. One writer at a time; others wait their turn.
pub struct GitDelivery {
    name: String,
    branch: String,
    path: String,
    repository: Arc<Mutex<Repository>>,
}

impl GitDelivery {
    /// The host's own bare repository in a folder, created with an empty first
    /// commit if it is not there.
    ///
    /// # Errors
    /// When the folder holds something else, or cannot be read or written.
    pub fn embedded(folder: &Path) -> Result<Self, OpenError> {
        let config = RepositoryConfig {
            name: "embedded".into(),
            url: folder.to_string_lossy().into_owned(),
            branch: DEFAULT_BRANCH.into(),
            path: String::new(),
        };
        let repository = Repository::create_or_open(folder, &config)?;
        Ok(Self::new(config, repository))
    }

    /// A repository that the platform's config names.
    ///
    /// # Errors
    /// When it is remote (not supported yet), not a repository, has no such
    /// branch, or cannot be read or written.
    pub fn open(config: RepositoryConfig) -> Result<Self, OpenError> {
        let folder = config.folder()?;
        let repository = Repository::open(&folder, &config)?;
        Ok(Self::new(config, repository))
    }

    fn new(config: RepositoryConfig, repository: Repository) -> Self {
        let path = config.path.trim_matches('/').to_owned();
        let repository = Arc::new(Mutex::new(repository));
        Self {
            name: config.name,
            branch: config.branch,
            path,
            repository,
        }
    }

    fn folder(&self, environment: &str, deployment: &str, resource: &str) -> String {
        let under = if self.path.is_empty() {
            String::new()
        } else {
            format!("{}/", self.path)
        };
        format!("{under}{environment}/{deployment}/{resource}")
    }

    async fn run<F>(&self, path: String, work: F) -> Result<Delivered, DeliveryError>
    where
        F: FnOnce(&mut Repository, &str) -> Result<git2::Oid, DeliveryError> + Send + 'static,
    {
        let (repository, folder) = (self.repository.clone(), path.clone());
        let commit = tokio::task::spawn_blocking(move || {
            // A panic inside leaves the repository as a crash would: consistent.
            let mut repository = repository.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut repository, &folder)
        });
        let commit = commit
            .await
            .map_err(|e| DeliveryError::Transient(format!("the delivery ended early: {e}")))??;
        Ok(Delivered {
            repository: self.name.clone(),
            branch: self.branch.clone(),
            commit: commit.to_string(),
            path,
        })
    }
}

impl std::fmt::Debug for GitDelivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitDelivery")
            .field("name", &self.name)
            .field("branch", &self.branch)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Delivery for GitDelivery {
    async fn deliver(&self, request: DeliveryRequest) -> Result<Delivered, DeliveryError> {
        let DeliveryRequest {
            deployment,
            revision,
            environment,
            resource,
            operation_id,
            manifests,
        } = request;
        paths::check(&manifests)?;
        let folder = self.folder(environment.as_str(), deployment.as_str(), resource.as_str());
        let message = Message {
            verb: Verb::Deploy,
            deployment,
            revision,
            environment,
            resource,
            operation_id,
        };
        self.run(folder, move |repository, folder| {
            repository.put_folder(folder, &manifests, &message.to_string())
        })
        .await
    }

    async fn withdraw(&self, request: Withdrawal) -> Result<Delivered, DeliveryError> {
        let Withdrawal {
            deployment,
            revision,
            environment,
            resource,
            operation_id,
        } = request;
        let folder = self.folder(environment.as_str(), deployment.as_str(), resource.as_str());
        let message = Message {
            verb: Verb::Withdraw,
            deployment,
            revision,
            environment,
            resource,
            operation_id,
        };
        self.run(folder, move |repository, folder| {
            repository.put_folder(folder, &[], &message.to_string())
        })
        .await
    }
}
