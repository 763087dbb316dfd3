//! Before a run: everything that it will be is this deployment's, or nothing
//! begins.

use nestor_core::ids::ResourceName;
use nestor_core::ports::{Batch, Guard};
use nestor_core::spec::OnConflict;

use super::wait::{Asked, Queued};
use super::{ATTEMPTS, HoldRecord, Next, OwnerRecord, has_it, known_before, stopped};
use crate::driver::{Driver, Guarded, Stop};
use crate::gate::Intent;
use crate::records::{Request, encode, key};

/// What came of wanting things.
enum Owned {
    /// All are this deployment's.
    All,
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
            return Ok(Next::Begin);
        }
        for _ in 0..ATTEMPTS {
            match self.try_to_own(&wanted, intent).await {
                Ok(Owned::All) => return Ok(Next::Begin),
                Ok(Owned::Refused(reason)) => return Ok(Next::Refused(reason)),
                Ok(Owned::Waits) => return Err(Stop::Blocked),
                Ok(Owned::GivenUp) => {
                    self.stop_waiting(request, intent.revision.revision).await?;
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
                        OnConflict::Queue => self.wait_for(resource, owner, raw, intent).await,
                        OnConflict::Adopt => Ok(Owned::Refused(format!(
                            "{}; taking it over is not offered by this version",
                            has_it(resource, &owner)
                        ))),
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
        if !changes && !self.status.blocked {
            return Ok(Owned::All);
        }
        batch.delete(key::blocked(&self.id));
        let before = (self.status.holds, self.status.blocked);
        self.status.holds |= changes;
        self.status.blocked = false;
        batch.put(key::status(&self.id), encode(&self.status));
        match self.commit(batch).await {
            Ok(()) => Ok(Owned::All),
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

    /// Queues up, unless nobody wants it any more.
    async fn wait_for(
        &mut self,
        resource: &ResourceName,
        owner: OwnerRecord,
        raw: nestor_core::ports::Bytes,
        intent: &Intent,
    ) -> Result<Owned, Guarded> {
        if self.is_given_up().await.map_err(stopped)? {
            return Ok(Owned::GivenUp);
        }
        let asked = Asked {
            resource,
            revision: intent.revision.revision,
            in_run: false,
        };
        Ok(match self.queue_up(&asked, owner, raw).await? {
            Queued::Waits(told) => {
                if let Some(event) = told {
                    self.context.publish(&self.id, event);
                }
                Owned::Waits
            }
            Queued::Refused(reason) => Owned::Refused(reason),
        })
    }
}
