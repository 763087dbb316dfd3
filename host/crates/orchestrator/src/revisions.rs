//! Revisions: what they were, and the way back to one.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;

use nestor_core::ids::DeploymentId;
use nestor_core::ports::StoreError;

use crate::Orchestrator;
use crate::keep::PastRevision;
use crate::orchestrator::conflict;
use crate::records::{RevisionRecord, encode, key};
use crate::service::{Rejection, RequestMeta, Scope};
use crate::submit::internal;
use crate::surroundings::rfc3339;
use crate::view::{Accepted, Phase, RevisionView};

impl Orchestrator {
    /// Posts an earlier revision again, as a new one. Without a number: the last
    /// before the current that was applied whole.
    ///
    /// # Errors
    /// [`Rejection::Conflict`] when there is no such revision.
    pub async fn rollback(
        &self,
        id: &str,
        to: Option<u64>,
        meta: RequestMeta,
    ) -> Result<Accepted, Rejection> {
        let (id, status) = self.status(id).await?;
        let to = match to {
            Some(to) => to,
            None => self
                .last_whole(&id, status.revision)
                .await
                .map_err(internal)?
                .ok_or_else(|| {
                    let why = "no revision before it was applied whole; name one to go back to";
                    conflict(&id, &status, why)
                })?,
        };
        let revision = self
            .context
            .read::<RevisionRecord>(&key::revision(&id, to))
            .await
            .map_err(internal)?;
        let Some(revision) = revision else {
            return Err(conflict(
                &id,
                &status,
                &format!("there is no revision {to} to go back to"),
            ));
        };
        self.submit(&as_planned(&revision), meta).await
    }

    /// The last revision before that one which was applied whole and can be
    /// gone back to.
    async fn last_whole(&self, id: &DeploymentId, before: u64) -> Result<Option<u64>, StoreError> {
        for revision in (1..before).rev() {
            let at = key::revision(id, revision);
            let Some(record) = self.context.read::<RevisionRecord>(&at).await? else {
                // Older ones are summaries.
                return Ok(None);
            };
            let at = key::outcome(id, revision);
            let whole = self.context.read::<String>(&at).await?.is_none();
            if whole && record.scope == Scope::Whole {
                return Ok(Some(revision));
            }
        }
        Ok(None)
    }

    /// Every revision, the latest first.
    ///
    /// # Errors
    /// See [`Rejection`].
    pub async fn revisions(&self, id: &str) -> Result<Vec<RevisionView>, Rejection> {
        let (id, status) = self.status(id).await?;
        let all = self
            .context
            .read_all::<RevisionRecord>(&key::revisions(&id))
            .await
            .map_err(internal)?;
        let mut not_whole: BTreeMap<String, String> = self
            .context
            .read_all(&key::outcomes(&id))
            .await
            .map_err(internal)?
            .into_iter()
            .collect();
        let whole = all.into_iter().rev().map(|(_, r)| {
            let became = not_whole
                .remove(&key::outcome(&id, r.revision))
                // Of an earlier run of it; the one under way may end otherwise.
                .filter(|_| !(status.phase != Phase::Done && r.revision == status.revision))
                .or_else(|| match r.revision.cmp(&status.revision) {
                    Ordering::Less => None,
                    Ordering::Equal => Some(status.status.as_str().into()),
                    Ordering::Greater => Some("queued".into()),
                });
            PastRevision::of(r, became)
        });
        let summaries = self
            .context
            .read_all::<PastRevision>(&key::past_revisions(&id))
            .await
            .map_err(internal)?;
        let summaries = summaries.into_iter().rev().map(|(_, r)| r);
        Ok(whole.chain(summaries).map(RevisionView::from).collect())
    }
}

/// The request of a revision with the exact version of every definition that it
/// was planned with: a range means something else by now.
fn as_planned(revision: &RevisionRecord) -> Vec<u8> {
    let asked = revision.body.as_bytes();
    let Ok(mut body) = serde_json::from_slice::<Value>(asked) else {
        return asked.to_vec();
    };
    for resource in body["resources"].as_array_mut().into_iter().flatten() {
        let mut planned = revision.plan.resources.iter();
        if let Some(planned) = planned.find(|p| resource["name"] == p.name.as_str()) {
            resource["catalogRef"] = planned.catalog_ref.clone().into();
        }
    }
    encode(&body).to_vec()
}

impl From<PastRevision> for RevisionView {
    fn from(r: PastRevision) -> Self {
        Self {
            outcome: r.outcome.unwrap_or_else(|| "superseded".into()),
            revision: r.revision,
            by: r.by,
            created_at: rfc3339(r.created_at),
            added: r.added,
            changed: r.changed,
            removed: r.removed,
        }
    }
}
