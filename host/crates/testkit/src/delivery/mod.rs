//! GitOps delivery without Git, and what every adapter of its port must do.

mod conformance;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use nestor_core::engine::Manifest;
use nestor_core::ids::Digest;
use nestor_core::ports::{Delivered, Delivery, DeliveryError, DeliveryRequest, Withdrawal};

pub use conformance::conformance;

/// Keeps what was delivered in memory; a "commit" is the digest of everything
/// that was ever delivered, so it moves only when something changes.
#[derive(Debug, Default)]
pub struct MemoryDelivery {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Folder to manifests and the commit that delivered them.
    folders: BTreeMap<String, (Vec<Manifest>, String)>,
    /// Folder to the commit that withdrew it.
    withdrawn: BTreeMap<String, String>,
    commits: Vec<String>,
    failures: Vec<DeliveryError>,
}

impl MemoryDelivery {
    /// Nothing delivered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next call fails with this; several are used up in order.
    pub fn fail_next(&self, error: DeliveryError) {
        self.state().failures.push(error);
    }

    /// What lies in `environment/deployment/resource`, if anything.
    #[must_use]
    pub fn folder(&self, path: &str) -> Option<Vec<Manifest>> {
        self.state()
            .folders
            .get(path)
            .map(|(manifests, _)| manifests.clone())
    }

    /// The subject of every commit, oldest first.
    #[must_use]
    pub fn commits(&self) -> Vec<String> {
        self.state().commits.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn scripted(&mut self) -> Result<(), DeliveryError> {
        if self.failures.is_empty() {
            Ok(())
        } else {
            Err(self.failures.remove(0))
        }
    }

    fn commit(&mut self, subject: String) -> String {
        self.commits.push(subject);
        Digest::of(self.commits.join("\n").as_bytes()).hex()[..40].to_owned()
    }
}

fn delivered(commit: String, path: String) -> Delivered {
    Delivered {
        repository: "memory".into(),
        branch: "main".into(),
        commit,
        path,
    }
}

#[async_trait]
impl Delivery for MemoryDelivery {
    async fn deliver(&self, request: DeliveryRequest) -> Result<Delivered, DeliveryError> {
        let mut state = self.state();
        state.scripted()?;
        let path = format!(
            "{}/{}/{}",
            request.environment, request.deployment, request.resource
        );
        for (i, manifest) in request.manifests.iter().enumerate() {
            let twice = request.manifests[..i]
                .iter()
                .any(|m| m.path == manifest.path);
            let bad = |step: &str| ["", ".", "..", ".git"].contains(&step);
            if twice || manifest.path.split('/').any(bad) {
                let path = manifest.path.clone();
                let problem = "not relative, or there twice".into();
                return Err(DeliveryError::Path { path, problem });
            }
        }
        let mut request = request;
        request.manifests.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some((manifests, commit)) = state.folders.get(&path)
            && *manifests == request.manifests
        {
            return Ok(delivered(commit.clone(), path));
        }
        let commit = state.commit(format!(
            "Deploy {} revision {}: {} ({})",
            request.deployment, request.revision, request.resource, request.environment
        ));
        state
            .folders
            .insert(path.clone(), (request.manifests, commit.clone()));
        Ok(delivered(commit, path))
    }

    async fn withdraw(&self, request: Withdrawal) -> Result<Delivered, DeliveryError> {
        let mut state = self.state();
        state.scripted()?;
        let path = format!(
            "{}/{}/{}",
            request.environment, request.deployment, request.resource
        );
        if state.folders.remove(&path).is_none() {
            let last = Digest::of(state.commits.join("\n").as_bytes()).hex()[..40].to_owned();
            let commit = state.withdrawn.get(&path).cloned().unwrap_or(last);
            return Ok(delivered(commit, path));
        }
        let commit = state.commit(format!(
            "Withdraw {} revision {}: {} ({})",
            request.deployment, request.revision, request.resource, request.environment
        ));
        state.withdrawn.insert(path.clone(), commit.clone());
        Ok(delivered(commit, path))
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn memory_conforms() {
        super::conformance(&super::MemoryDelivery::new()).await;
    }
}
