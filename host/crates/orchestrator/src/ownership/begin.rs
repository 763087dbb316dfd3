//! Before a run: everything that it will be is this deployment's, or nothing
//! begins.

use nestor_core::ids::ResourceName;
use nestor_core::ports::{Batch, Bytes, Guard, StoreError};
use nestor_core::spec::OnConflict;

use super::adopt::{Adoption, Looked, Unsettled, Wanting, look};
use super::wait::{Asked, Queued};
use super::{ATTEMPTS, HoldRecord, Next, OwnerRecord, has_it, known_before, stopped};
use crate::driver::{Driver, Guarded, Stop};
use crate::gate::Intent;
use crate::records::{Request, encode, key};
use crate::unbegun::Unbegun;

/// What came of wanting things.
enum Owned {
    /// All are this deployment's, but for those that are to be taken over.
    All(Vec<Adoption>),
    /// One is somebody else's, for good.
    Refused(String),
    /// Written down that it waits.
    Waits,
    /// It would wait, and somebody has asked for something else meanwhile.
    GivenUp,
}

impl Driver {
    /// Makes the things of a revision this deployment's before it begins.
    pub(crate) async fn own(&mut self, request: Request, intent: &Intent) -> Result<Next, Stop> {
        let revision = &intent.revision;
        let part = intent.part.as_ref();
        let wanted = known_before(&revision.spec, revision.revision, &revision.plan, part);
        if wanted.is_empty() && !self.status.blocked {
            return Ok(Next::Begin(Vec::new()));
        }
        for _ in 0..ATTEMPTS {
            match self.try_to_own(&wanted, intent).await {
                Ok(Owned::All(adoptions)) => return Ok(Next::Begin(adoptions)),
                Ok(Owned::Refused(reason)) => return Ok(Next::Refused(reason)),
                Ok(Owned::Waits) => return Err(Stop::Blocked),
                Ok(Owned::GivenUp) => {
                    // Alone, the cancellation would mean what was there before.
                    let taking = [request, Request::Cancel];
                    let revision = intent.revision.revision;
                    self.skip(&taking, revision, Unbegun::CalledOff).await?;
                    return Ok(Next::Over);
                }
                // Somebody else was faster: look again.
                Err(Guarded::Changed) => {}
                Err(Guarded::Stop(stop)) => return Err(stop),
            }
        }
        Ok(Next::Refused(
            "too many deployments want the same things at once; retry".into(),
        ))
    }

    async fn try_to_own(
        &mut self,
        wanted: &[(String, ResourceName)],
        intent: &Intent,
    ) -> Result<Owned, Guarded> {
        let mut batch = Batch::new();
        // A thing that was reserved is not yet known to be held.
        let mut changes = false;
        let mut others = Vec::new();
        for (identity, resource) in wanted {
            let at = key::owner(identity);
            let owner = self
                .context
                .read_raw::<OwnerRecord>(&at)
                .await
                .map_err(stopped)?;
            let mut waiters = Vec::new();
            match owner {
                None => {
                    batch.guard(Guard::Absent(at.clone()));
                }
                Some((owner, _)) if owner.deployment == self.id && &owner.resource == resource => {
                    changes |= !self.status.holds;
                    continue;
                }
                Some((owner, raw)) if owner.deployment == self.id => {
                    if intent.resources.iter().any(|r| r.name == owner.resource) {
                        return Ok(Owned::Refused(format!(
                            "resource {resource} is the same real thing ({identity:?}) as resource {}, which is deployed under that name; keep the name, or take it away first",
                            owner.resource
                        )));
                    }
                    batch.guard(Guard::Equals(at.clone(), raw));
                    waiters = owner.waiters;
                }
                Some((owner, raw)) => {
                    return match intent.revision.spec.strategy.on_conflict {
                        OnConflict::Fail => Ok(Owned::Refused(has_it(resource, &owner))),
                        OnConflict::Queue => {
                            self.wait_for(resource, (owner, raw), None, intent).await
                        }
                        OnConflict::Adopt => {
                            others.push((identity.clone(), resource.clone()));
                            continue;
                        }
                    };
                }
            }
            changes = true;
            let mine = OwnerRecord {
                identity: identity.clone(),
                deployment: self.id.clone(),
                resource: resource.clone(),
                waiters,
            };
            batch.put(at, encode(&mine));
            self.hold(&mut batch, identity, resource);
        }
        let looked = match others.is_empty() {
            true => Looked::default(),
            false => self.look_at(&others, intent).await.map_err(stopped)?,
        };
        if let Some((_, reason)) = looked.refused.into_iter().next() {
            return Ok(Owned::Refused(reason));
        }
        if let Some(first) = looked.unsettled.into_iter().next() {
            let Unsettled {
                resource,
                why,
                owner,
            } = first;
            let owned = self.wait_for(&resource, owner, Some(why), intent).await?;
            // It may have come to rest before it could know that somebody waits.
            let again = self.look_at(&others, intent).await.map_err(stopped)?;
            if again.unsettled.is_empty() {
                self.handle.ring();
            }
            return Ok(owned);
        }
        if !changes && !self.status.blocked {
            return Ok(Owned::All(looked.adoptions));
        }
        batch.delete(key::blocked(&self.id));
        let before = (self.status.holds, self.status.blocked);
        self.status.holds |= changes;
        self.status.blocked = false;
        batch.put(key::status(&self.id), encode(&self.status));
        match self.commit(batch).await {
            Ok(()) => Ok(Owned::All(looked.adoptions)),
            Err(failed) => {
                (self.status.holds, self.status.blocked) = before;
                Err(failed)
            }
        }
    }

    pub(super) fn hold(&self, batch: &mut Batch, identity: &str, resource: &ResourceName) {
        let hold = HoldRecord {
            identity: identity.to_owned(),
            resource: resource.clone(),
            reserved: None,
        };
        batch.put(key::hold(&self.id, identity), encode(&hold));
    }

    async fn look_at(
        &self,
        things: &[(String, ResourceName)],
        intent: &Intent,
    ) -> Result<Looked, StoreError> {
        let wanting = Wanting {
            spec: &intent.revision.spec,
            plan: &intent.revision.plan,
            deployed: &intent.resources,
        };
        look(&self.context, wanting, things).await
    }

    /// What is approved, with what it takes over as things are now; an error
    /// is for people.
    pub(crate) async fn still_taking(
        &self,
        intent: Intent,
    ) -> Result<Result<Intent, String>, Stop> {
        let revision = &intent.revision;
        if revision.spec.strategy.on_conflict != OnConflict::Adopt {
            return Ok(Ok(intent));
        }
        let part = intent.part.as_ref();
        let things = known_before(&revision.spec, revision.revision, &revision.plan, part);
        let looked = self.look_at(&things, &intent).await?;
        if let Some((_, reason)) = looked.refused.into_iter().next() {
            return Ok(Err(reason));
        }
        if let Some(first) = looked.unsettled.into_iter().next() {
            return Ok(Err(first.why));
        }
        Ok(Ok(intent.taking(looked.adoptions)))
    }

    /// Queues up, unless nobody wants it any more.
    async fn wait_for(
        &mut self,
        resource: &ResourceName,
        (owner, raw): (OwnerRecord, Bytes),
        adopts: Option<String>,
        intent: &Intent,
    ) -> Result<Owned, Guarded> {
        if self.is_given_up().await.map_err(stopped)? {
            return Ok(Owned::GivenUp);
        }
        let asked = Asked {
            resource,
            revision: intent.revision.revision,
            adopts,
            in_run: false,
        };
        Ok(match self.queue_up(&asked, owner, raw).await? {
            Queued::Waits(told) => {
                for event in told {
                    self.context.publish(&self.id, event);
                }
                Owned::Waits
            }
            Queued::Refused(reason) => Owned::Refused(reason),
        })
    }
}
