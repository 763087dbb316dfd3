//! What engines kept for resources that are gone: whoever uses their names later
//! must not find it.

use std::path::Path;

use nestor_core::engine::Home;
use nestor_core::ids::{DeploymentId, EngineId, EnvironmentName};
use nestor_core::ports::{Batch, Standing};

use super::EngineHost;
use crate::imports::{MAPS, map_of};

/// Keys read and deleted at once.
const PAGE: usize = 256;

impl EngineHost {
    pub(super) async fn forget_home(
        &self,
        engine: &EngineId,
        environment: &EnvironmentName,
        home: &Home,
    ) {
        let at = Path::new(environment.as_str())
            .join(home.deployment.as_str())
            .join(home.folder());
        self.forget_checkout(&at).await;
        let dropped = self.drop_keys(&map_of(engine, home), |_| true).await;
        if let Err(error) = dropped {
            tracing::warn!(%engine, error, "what an engine kept of a resource cannot be dropped");
        }
    }

    pub(super) async fn forget_rest(&self, deployment: &DeploymentId, kept: &[Home]) {
        let kept: Vec<String> = kept
            .iter()
            .filter(|home| home.deployment == *deployment)
            .map(Home::folder)
            .collect();
        let is_kept = |folder: &str| kept.iter().any(|kept| kept == folder);
        for at in self.checkouts.of_deployment(deployment).await {
            let folder = at.file_name().unwrap_or_default().to_string_lossy();
            if !is_kept(&folder) {
                self.forget_checkout(&at).await;
            }
        }
        if let Err(error) = self.drop_maps(deployment, is_kept).await {
            tracing::warn!(%deployment, error, "what engines kept of a deployment cannot be dropped");
        }
    }

    async fn forget_checkout(&self, at: &Path) {
        match self.checkouts.enter(at, Standing::Work).await {
            Ok(checkout) => checkout.remove().await,
            Err(error) => {
                tracing::warn!(checkout = %at.display(), %error, "a checkout that is not needed any more cannot be removed");
            }
        }
    }

    /// Of every engine that ever had one, also of those that are gone.
    async fn drop_maps(
        &self,
        deployment: &DeploymentId,
        is_kept: impl Fn(&str) -> bool + Copy,
    ) -> Result<(), String> {
        let mut after: Option<String> = None;
        loop {
            let next = self.kv.scan(MAPS, after.as_deref(), 1).await;
            let next = next.map_err(|e| e.to_string())?;
            let Some(engine) = next.first().and_then(|(key, _)| {
                let rest = key.strip_prefix(MAPS)?;
                Some(rest.split('/').next()?.to_owned())
            }) else {
                return Ok(());
            };
            let goes = |rest: &str| !is_kept(rest.split('/').next().unwrap_or(rest));
            self.drop_keys(&format!("{MAPS}{engine}/{deployment}/"), goes)
                .await?;
            // Behind whatever this engine has.
            after = Some(format!("{MAPS}{engine}/{}", char::MAX));
        }
    }

    async fn drop_keys(&self, prefix: &str, goes: impl Fn(&str) -> bool) -> Result<(), String> {
        let mut after: Option<String> = None;
        loop {
            let page = self.kv.scan(prefix, after.as_deref(), PAGE).await;
            let page = page.map_err(|e| e.to_string())?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let mut batch = Batch::new();
            for (key, _) in page {
                if key.strip_prefix(prefix).is_some_and(&goes) {
                    batch.delete(key);
                }
            }
            if !batch.writes.is_empty() {
                self.kv.commit(batch).await.map_err(|e| e.to_string())?;
            }
        }
    }
}
