//! Where manifests go, as the config says.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use nestor_core::ports::{Delivered, Delivery, DeliveryError, DeliveryRequest, Withdrawal};
use nestor_gitops::{GitDelivery, RepositoryConfig};

use crate::config::GitopsConfig;

/// The host's own repository, in its data directory.
const EMBEDDED: &str = "manifests.git";

/// Opens the repository, or makes the embedded one. Blocks.
pub(crate) fn open(config: &GitopsConfig, data_dir: &Path) -> Result<Arc<dyn Delivery>, String> {
    if !config.enabled {
        return Ok(Arc::new(Off));
    }
    let delivery = match &config.repository {
        None => GitDelivery::embedded(&data_dir.join(EMBEDDED)),
        Some(repository) => GitDelivery::open(RepositoryConfig {
            name: repository.name.clone(),
            url: repository.folder.to_string_lossy().into_owned(),
            branch: repository.branch.clone(),
            path: repository.path.clone(),
        }),
    };
    delivery
        .map(|delivery| Arc::new(delivery) as Arc<dyn Delivery>)
        .map_err(|error| error.to_string())
}

/// `gitops.enabled: false`.
struct Off;

const SWITCHED_OFF: &str = "GitOps delivery is switched off in the host's config (gitops.enabled); use \"delivery\": \"direct\" where the engine can";

#[async_trait]
impl Delivery for Off {
    async fn deliver(&self, _: DeliveryRequest) -> Result<Delivered, DeliveryError> {
        Err(DeliveryError::Failed(SWITCHED_OFF.into()))
    }
    async fn withdraw(&self, _: Withdrawal) -> Result<Delivered, DeliveryError> {
        Err(DeliveryError::Failed(SWITCHED_OFF.into()))
    }
}
