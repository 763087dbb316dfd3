//! What is left behind by a resource that another deployment took over.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use nestor_core::engine::Home;
use nestor_core::ids::{DeploymentId, ResourceName, Timestamp};
use nestor_core::ports::StoreError;

use crate::context::Context;
use crate::records::{ResourceRecord, StatusRecord, key};

/// On the former owner's side: where a resource went. The last time counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HandoverRecord {
    pub(crate) identity: String,
    pub(crate) resource: ResourceName,
    pub(crate) to: DeploymentId,
    /// Its name there.
    pub(crate) there: ResourceName,
    pub(crate) at: Timestamp,
    /// What was deployed when it went.
    pub(crate) revision: u64,
    /// Homes of this resource's name that are no longer its own.
    pub(crate) homes: u32,
}

impl HandoverRecord {
    pub(crate) fn reason(&self) -> String {
        format!(
            "handed over to resource {} of deployment {} ({:?})",
            self.there, self.to, self.identity
        )
    }
}

/// Homes that a deployment gave away, by the name of the resource. What is
/// created under such a name again must not find what another works with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Homes(HashMap<ResourceName, u32>);

impl Homes {
    /// Where a resource is at home: where it always was, or where it will be.
    pub(crate) fn of(
        &self,
        deployment: &DeploymentId,
        resource: &ResourceName,
        current: Option<&ResourceRecord>,
    ) -> Option<Home> {
        if let Some(current) = current {
            return current.home.clone();
        }
        self.0.get(resource).map(|given| Home {
            deployment: deployment.clone(),
            resource: resource.clone(),
            given: *given,
        })
    }

    pub(crate) async fn read(
        context: &Context,
        id: &DeploymentId,
        status: Option<&StatusRecord>,
    ) -> Result<Self, StoreError> {
        let handed = handed_over(context, id, status).await?;
        let given = handed.into_iter().filter(|handover| handover.homes > 0);
        Ok(Self(given.map(|h| (h.resource, h.homes)).collect()))
    }
}

/// Every resource that was ever handed over.
pub(crate) async fn handed_over(
    context: &Context,
    id: &DeploymentId,
    status: Option<&StatusRecord>,
) -> Result<Vec<HandoverRecord>, StoreError> {
    // One that is not there yet may have been, and is forgotten.
    if status.is_some_and(|status| !status.handed_over) {
        return Ok(Vec::new());
    }
    let all = context
        .read_all::<HandoverRecord>(&key::handovers(id))
        .await?;
    Ok(all.into_iter().map(|(_, handover)| handover).collect())
}

/// Homes under a deployment's name that others have, or had.
pub(crate) async fn given_homes(
    context: &Context,
    id: &DeploymentId,
    status: &StatusRecord,
) -> Result<Vec<Home>, StoreError> {
    let handed = handed_over(context, id, Some(status)).await?;
    let homes = handed.into_iter().flat_map(|handover| {
        (0..handover.homes).map(move |given| Home {
            deployment: id.clone(),
            resource: handover.resource.clone(),
            given,
        })
    });
    Ok(homes.collect())
}

/// Whether a deployment of that id ever handed something over.
pub(crate) async fn gave_away(context: &Context, id: &DeploymentId) -> Result<bool, StoreError> {
    let first = context.store.scan(&key::handovers(id), None, 1).await?;
    Ok(!first.is_empty())
}
