//! In a run: an identity that hangs on another resource's output is known only
//! when that one is ready.

use nestor_core::environment::Approval;
use nestor_core::identity::{Belongs, Identity, Known};
use nestor_core::ids::ResourceName;
use nestor_core::planner::Resolved;
use nestor_core::ports::{Batch, Bytes, Guard};
use nestor_core::spec::OnConflict;

use super::adopt::{Wanting, look};
use super::take::{Taken, Untaken};
use super::wait::{Asked, Queued};
use super::{ATTEMPTS, BlockRecord, OwnerRecord, has_it, stopped};
use crate::driver::{Driver, Guarded, Stop};
use crate::records::{ResourceRecord, RevisionRecord, encode, key};
use crate::view::EventView;

/// What came of wanting a thing half-way.
pub(crate) enum Late {
    /// It is this deployment's.
    Owned,
    /// It was taken over, as this. With events that are durable and were not
    /// told yet.
    Adopted(Box<ResourceRecord>, Vec<EventView>),
    /// It is somebody else's, for good.
    Refused(String),
    /// It is somebody else's for now; whoever lets go rings. With events as above.
    Waits(Vec<EventView>),
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
                    OnConflict::Fail => return Ok(Late::Refused(has_it(resource, &owner))),
                    OnConflict::Queue => {
                        match self.wait_half_way(beginning, owner, raw, None).await {
                            Ok(late) => return Ok(late),
                            Err(Guarded::Changed) => continue,
                            Err(Guarded::Stop(stop)) => return Err(stop),
                        }
                    }
                    OnConflict::Adopt => match self.adopt_now(beginning, &identity).await {
                        Ok(Some(late)) => return Ok(late),
                        Ok(None) | Err(Guarded::Changed) => continue,
                        Err(Guarded::Stop(stop)) => return Err(stop),
                    },
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

    async fn wait_half_way(
        &mut self,
        beginning: &Beginning<'_>,
        owner: OwnerRecord,
        raw: Bytes,
        adopts: Option<String>,
    ) -> Result<Late, Guarded> {
        let (resource, revision) = (beginning.resource, beginning.revision.revision);
        let at = key::blocked(&self.id);
        let block = self.context.read_raw::<BlockRecord>(&at).await;
        if let Some((mut block, raw)) = block.map_err(stopped)?
            && &block.resource != resource
        {
            let mine = BlockRecord::of(resource, &owner, adopts);
            if !block.also.contains(&mine) {
                block.also.retain(|other| &other.resource != resource);
                block.also.push(mine);
                let mut batch = Batch::new();
                batch.guard(Guard::Equals(at.clone(), raw));
                batch.put(at, encode(&block));
                self.commit(batch).await?;
            }
            return Ok(Late::Waits(Vec::new()));
        }
        let asked = Asked {
            resource,
            revision,
            adopts,
            in_run: true,
        };
        Ok(match self.queue_up(&asked, owner, raw).await? {
            Queued::Waits(told) => Late::Waits(told),
            Queued::Refused(reason) => Late::Refused(reason),
        })
    }

    /// None: look again.
    async fn adopt_now(
        &mut self,
        beginning: &Beginning<'_>,
        identity: &str,
    ) -> Result<Option<Late>, Guarded> {
        let Beginning {
            revision,
            resource,
            config,
            ..
        } = *beginning;
        if self.approval(&revision.spec) == Approval::Required || revision.pinned.is_some() {
            return Ok(Some(Late::Refused(format!(
                "resource {resource} would take {identity:?} over, which was not known when the plan was approved; \
                 put into its config what the identity is made of"
            ))));
        }
        let things = [(identity.to_owned(), resource.clone())];
        let deployed = self.resources().await.map_err(stopped)?;
        let wanting = Wanting {
            spec: &revision.spec,
            plan: &revision.plan,
            deployed: &deployed,
        };
        let looked = look(&self.context, wanting, &things)
            .await
            .map_err(stopped)?;
        if let Some((_, reason)) = looked.refused.into_iter().next() {
            return Ok(Some(Late::Refused(reason)));
        }
        if let Some(first) = looked.unsettled.into_iter().next() {
            let (owner, raw) = first.owner;
            let late = self
                .wait_half_way(beginning, owner, raw, Some(first.why))
                .await?;
            let again = look(&self.context, wanting, &things)
                .await
                .map_err(stopped)?;
            // It may have come to rest before it could know that somebody waits.
            return Ok((!again.unsettled.is_empty()).then_some(late));
        }
        let resolved = Resolved {
            config: config.clone(),
            sensitive: Vec::new(),
            unknown: Vec::new(),
        };
        let taken = self
            .take_over(revision, &looked.adoptions, Some(&resolved))
            .await
            .map_err(Guarded::Stop)?;
        Ok(match (taken, looked.adoptions.into_iter().next()) {
            (Taken::Yes(told), Some(adoption)) => {
                Some(Late::Adopted(Box::new(adoption.record), told))
            }
            (Taken::No(Untaken::Refused(reason)), _) => Some(Late::Refused(reason)),
            (Taken::No(Untaken::Moved), _) | (Taken::Yes(_), None) => None,
        })
    }
}
