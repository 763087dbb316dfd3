//! In a run: an identity that hangs on another resource's output is known only
//! when that one is ready.

use nestor_core::identity::{Belongs, Identity, Known};
use nestor_core::ids::ResourceName;
use nestor_core::ports::{Batch, Guard};
use nestor_core::spec::OnConflict;

use super::wait::{Asked, Queued};
use super::{ATTEMPTS, BlockRecord, OwnerRecord, has_it};
use crate::driver::{Driver, Guarded, Stop};
use crate::records::{RevisionRecord, encode, key};
use crate::view::EventView;

/// What came of wanting a thing half-way.
pub(crate) enum Late {
    /// It is this deployment's.
    Owned,
    /// It is somebody else's, for good.
    Refused(String),
    /// It is somebody else's for now; whoever lets go rings. With an event that
    /// is durable and was not told yet.
    Waits(Option<EventView>),
}

/// A step that is about to begin.
pub(crate) struct Beginning<'a> {
    pub(crate) revision: &'a RevisionRecord,
    pub(crate) resource: &'a ResourceName,
    pub(crate) config: &'a serde_json::Value,
    pub(crate) identity: &'a Identity,
}

impl Driver {
    /// The resource that this run waits with, if it does.
    pub(crate) async fn waits_with(&self) -> Result<Option<ResourceName>, Stop> {
        let block = self
            .context
            .read::<BlockRecord>(&key::blocked(&self.id))
            .await?;
        Ok(block.map(|block| block.resource))
    }

    /// Makes a thing this deployment's right before the intent to work on it is
    /// written. A run waits for one thing at a time: that is what lets a circle
    /// be told. `stands` says which resources are there.
    pub(crate) async fn own_now(
        &mut self,
        beginning: &Beginning<'_>,
        stands: impl Fn(&ResourceName) -> bool,
    ) -> Result<Late, Stop> {
        let Beginning {
            revision,
            resource,
            config,
            identity,
        } = *beginning;
        let identity = match identity.of(Belongs::of(&revision.spec), config) {
            Known::Whole(identity) => identity,
            Known::NotYet => return Ok(Late::Refused("its identity is not known".into())),
            Known::Never { pointer, problem } => {
                return Ok(Late::Refused(format!("config{pointer}: {problem}")));
            }
        };
        let at = key::owner(&identity);
        for _ in 0..ATTEMPTS {
            let mut batch = Batch::new();
            let mut waiters = Vec::new();
            match self.context.read_raw::<OwnerRecord>(&at).await? {
                None => {
                    batch.guard(Guard::Absent(at.clone()));
                }
                Some((owner, _)) if owner.deployment == self.id && &owner.resource == resource => {
                    return Ok(Late::Owned);
                }
                Some((owner, raw)) if owner.deployment == self.id && !stands(&owner.resource) => {
                    batch.guard(Guard::Equals(at.clone(), raw));
                    waiters = owner.waiters;
                }
                Some((owner, _)) if owner.deployment == self.id => {
                    return Ok(Late::Refused(has_it(resource, &owner)));
                }
                Some((owner, raw)) => match revision.spec.strategy.on_conflict {
                    OnConflict::Fail | OnConflict::Adopt => {
                        return Ok(Late::Refused(has_it(resource, &owner)));
                    }
                    OnConflict::Queue => {
                        if self.waits_with().await?.is_some_and(|r| &r != resource) {
                            return Ok(Late::Waits(None));
                        }
                        let asked = Asked {
                            resource,
                            revision: revision.revision,
                            in_run: true,
                        };
                        match self.queue_up(&asked, owner, raw).await {
                            Ok(Queued::Waits(told)) => return Ok(Late::Waits(told)),
                            Ok(Queued::Refused(reason)) => return Ok(Late::Refused(reason)),
                            Err(Guarded::Changed) => continue,
                            Err(Guarded::Stop(stop)) => return Err(stop),
                        }
                    }
                },
            }
            if self.waits_with().await?.as_ref() == Some(resource) {
                batch.delete(key::blocked(&self.id));
            }
            let mine = OwnerRecord {
                identity: identity.clone(),
                deployment: self.id.clone(),
                resource: resource.clone(),
                waiters,
            };
            batch.put(at.clone(), encode(&mine));
            self.hold(&mut batch, &identity, resource);
            self.status.holds = true;
            batch.put(key::status(&self.id), encode(&self.status));
            match self.commit(batch).await {
                Ok(()) => return Ok(Late::Owned),
                Err(Guarded::Changed) => {}
                Err(Guarded::Stop(stop)) => return Err(stop),
            }
        }
        Ok(Late::Refused(
            "too many deployments want the same thing at once".into(),
        ))
    }
}
