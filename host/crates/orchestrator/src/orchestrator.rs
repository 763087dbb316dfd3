//! The façade.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;

use nestor_core::environment::DriftAction;
use nestor_core::ids::DeploymentId;
use nestor_core::ports::StoreError;

use crate::context::{Context, Parts};
use crate::impact::Offer;
use crate::records::{DeploymentRecord, Request, RevisionRecord, RunKind, StatusRecord, key};
use crate::report::{NoReport, ReportView};
use crate::scheduler::{Occupancy, keep_time};
use crate::service::{Approving, ListFilter, Rejection, RequestMeta};
use crate::submit::{ask, ask_and_put, internal};
use crate::view::{
    Accepted, DeploymentPage, DeploymentStatus, DeploymentView, DriftView, EventView, GraphView,
    ImpactView, PlanView,
};
use crate::worker::Worker;
use crate::{
    alarms, approve, drift, feed, impact, present, preview, recovery, report, submit, sweep,
    webhooks,
};

/// The largest page of a list.
const MAX_PAGE: usize = 500;
/// Deployments read at once while filtering.
const LIST_READ: usize = 500;

/// The orchestrator. A cheap handle; all of them are the same one.
#[derive(Clone)]
pub struct Orchestrator {
    pub(crate) context: Arc<Context>,
}

/// The store could not be read at start.
#[derive(Debug, thiserror::Error)]
#[error("the store cannot be read at start: {0}")]
pub struct StartError(#[from] StoreError);

impl Orchestrator {
    /// Takes up everything that was under way when the host last stopped.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let now = parts.surroundings.now();
        let worker = Worker::register(Arc::clone(&parts.store), now).await?;
        let context = Arc::new(Context::new(parts, worker));
        // Before anything happens that they want to hear of.
        webhooks::take_up(&context).await?;
        recovery::take_up(&context).await?;
        alarms::load(&context).await?;
        let tasks = &context.tasks;
        tasks.spawn(keep_time(Arc::clone(&context)));
        tasks.spawn(alarms::keep(Arc::clone(&context)));
        tasks.spawn(drift::enroll(Arc::clone(&context)));
        if !context.store.exclusive() {
            tasks.spawn(recovery::keep_alive(Arc::clone(&context)));
        }
        sweep::now_and_then(&context);
        Ok(Self { context })
    }

    /// Stops taking work on, and gives operations under way some time to end.
    /// What does not end in time is settled at the next start.
    pub async fn shutdown(&self, grace: Duration) {
        self.context.shutdown.cancel();
        self.context.tasks.close();
        if tokio::time::timeout(grace, self.context.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("operations are still under way; they are settled at the next start");
        }
        self.context.worker.leave().await;
    }

    /// An error when no work is taken on.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), String> {
        if self.context.shutdown.is_cancelled() {
            Err("the host is shutting down".into())
        } else {
            Ok(())
        }
    }

    /// How many deployments are worked on, wait for their turn, and only wait
    /// for a time.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        self.context.scheduler.occupancy()
    }

    /// Accepts a deployment, or a new revision of one. Durable when it returns.
    ///
    /// # Errors
    /// See [`Rejection`].
    pub async fn submit(&self, body: &[u8], meta: RequestMeta) -> Result<Accepted, Rejection> {
        self.ready().map_err(|message| Rejection::Busy {
            message,
            retry_after: 5,
        })?;
        submit::submit(&self.context, body, &meta).await
    }

    /// What posting this would change.
    ///
    /// # Errors
    /// See [`Rejection`].
    pub async fn plan(&self, body: &[u8], meta: RequestMeta) -> Result<PlanView, Rejection> {
        preview::preview(&self.context, body, &meta).await
    }

    /// What applying the latest revision again would change: nothing, unless
    /// its definitions have changed since, or it was not applied whole.
    ///
    /// # Errors
    /// See [`Rejection`].
    pub async fn plan_again(&self, id: &str, meta: RequestMeta) -> Result<PlanView, Rejection> {
        let id = parse(id)?;
        let record = self
            .context
            .read::<DeploymentRecord>(&key::deployment(&id))
            .await
            .map_err(internal)?;
        let latest = record.map_or(0, |record| record.revision);
        let revision = self
            .context
            .read::<RevisionRecord>(&key::revision(&id, latest))
            .await
            .map_err(internal)?
            .ok_or_else(|| not_found(&id))?;
        preview::preview(&self.context, revision.body.as_bytes(), &meta).await
    }

    /// A deployment, whole.
    ///
    /// # Errors
    /// See [`Rejection`].
    pub async fn get(&self, id: &str) -> Result<DeploymentView, Rejection> {
        let id = parse(id)?;
        present::deployment(&self.context, &id)
            .await
            .map_err(internal)?
            .ok_or_else(|| not_found(&id))
    }

    /// Deployments in order of id, after `cursor`.
    ///
    /// # Errors
    /// See [`Rejection`].
    pub async fn list(
        &self,
        filter: ListFilter,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<DeploymentPage, Rejection> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut after = cursor.map(|c| format!("{}{c}", key::DEPLOYMENTS));
        let mut items = Vec::new();
        loop {
            let page = self
                .context
                .store
                .scan(key::DEPLOYMENTS, after.as_deref(), LIST_READ)
                .await
                .map_err(internal)?;
            let last = page.len() < LIST_READ;
            for (at, bytes) in page {
                let record: DeploymentRecord =
                    crate::records::decode(&at, &bytes).map_err(internal)?;
                after = Some(at);
                if !filter.may_list(&record) {
                    continue;
                }
                let status = self
                    .context
                    .read::<StatusRecord>(&key::status(&record.id))
                    .await
                    .map_err(internal)?;
                let Some(status) = status else { continue };
                if filter.status.is_none_or(|wanted| wanted == status.status) {
                    items.push(present::summary(&record, &status));
                }
                if items.len() > limit {
                    items.pop();
                    let next = items.last().map(|i| i.id.clone());
                    return Ok(DeploymentPage { items, next });
                }
            }
            if last {
                return Ok(DeploymentPage { items, next: None });
            }
        }
    }

    /// In flight: stops and unwinds. Settled: destroys in reverse order.
    ///
    /// # Errors
    /// See [`Rejection`].
    pub async fn delete(&self, id: &str, meta: RequestMeta) -> Result<Accepted, Rejection> {
        let queued = self.queued(id).await?;
        let (id, status) = self.status(id).await?;
        tracing::info!(deployment = %id, correlation_id = %meta.correlation_id, "deletion asked for");
        if status.status == DeploymentStatus::Deleted && !queued {
            return Ok(accepted(&id, &status, DeploymentStatus::Deleted));
        }
        ask(&self.context, &id, Request::Delete).await?;
        // From here on nothing begins that waited before: what is in flight
        // now is stopped and unwound, and what is not is destroyed.
        let (id, status) = self.status(id.as_str()).await?;
        let next = match status.status {
            DeploymentStatus::InProgress | DeploymentStatus::Cancelling => {
                DeploymentStatus::Cancelling
            }
            DeploymentStatus::RollingBack => DeploymentStatus::RollingBack,
            DeploymentStatus::Pending
            | DeploymentStatus::AwaitingApproval
            | DeploymentStatus::Ready
            | DeploymentStatus::Failed
            | DeploymentStatus::RolledBack
            | DeploymentStatus::Cancelled
            | DeploymentStatus::Deleting
            | DeploymentStatus::Deleted
            | DeploymentStatus::Stuck => DeploymentStatus::Deleting,
        };
        Ok(accepted(&id, &status, next))
    }

    /// Stops what is under way and puts back what it changed; or else the
    /// revision whose turn comes next is not begun.
    ///
    /// # Errors
    /// [`Rejection::Conflict`] when there is nothing to stop.
    pub async fn cancel(&self, id: &str, meta: RequestMeta) -> Result<Accepted, Rejection> {
        let queued = self.queued(id).await?;
        let (id, status) = self.status(id).await?;
        let next = match status.status {
            DeploymentStatus::RollingBack => DeploymentStatus::RollingBack,
            DeploymentStatus::Pending
            | DeploymentStatus::InProgress
            | DeploymentStatus::AwaitingApproval
            | DeploymentStatus::Cancelling => DeploymentStatus::Cancelling,
            DeploymentStatus::Failed if !queued => DeploymentStatus::Cancelling,
            DeploymentStatus::Ready
            | DeploymentStatus::RolledBack
            | DeploymentStatus::Cancelled
            | DeploymentStatus::Failed
            | DeploymentStatus::Deleting
            | DeploymentStatus::Deleted
            | DeploymentStatus::Stuck => {
                if !queued {
                    return Err(conflict(&id, &status, "there is nothing to cancel"));
                }
                status.status
            }
        };
        tracing::info!(deployment = %id, correlation_id = %meta.correlation_id, "cancellation asked for");
        let refusal = match status.gate {
            Some(_) => approve::refusal(&self.context, &id, &meta).await?,
            None => None,
        };
        ask_and_put(&self.context, &id, Request::Cancel, refusal).await?;
        Ok(accepted(&id, &status, next))
    }

    /// Approves the plan that waits; it begins if it would still do the same.
    /// The same approval again is accepted again.
    ///
    /// # Errors
    /// [`Rejection::Conflict`] when nothing waits, [`Rejection::PlanMoved`]
    /// when something else does.
    pub async fn approve(
        &self,
        id: &str,
        approving: Approving,
        meta: RequestMeta,
    ) -> Result<Accepted, Rejection> {
        let (id, status) = self.status(id).await?;
        approve::approve(&self.context, &id, &status, approving, &meta).await?;
        let next = match status.gate {
            Some(RunKind::Apply) => DeploymentStatus::InProgress,
            Some(RunKind::Destroy | RunKind::Expire) => DeploymentStatus::Deleting,
            None => status.status,
        };
        Ok(accepted(&id, &status, next))
    }

    /// The plan that waits for approval, or was approved last.
    ///
    /// # Errors
    /// [`Rejection::Conflict`] when there is none.
    pub async fn waiting_plan(&self, id: &str) -> Result<PlanView, Rejection> {
        let (id, _) = self.status(id).await?;
        approve::plan(&self.context, &id).await
    }

    /// Goes on from what failed.
    ///
    /// # Errors
    /// [`Rejection::Conflict`] when nothing failed.
    pub async fn retry(&self, id: &str, meta: RequestMeta) -> Result<Accepted, Rejection> {
        let (id, status) = self.status(id).await?;
        match status.status {
            DeploymentStatus::Failed
            | DeploymentStatus::Stuck
            | DeploymentStatus::RolledBack
            | DeploymentStatus::Cancelled => {}
            DeploymentStatus::Pending
            | DeploymentStatus::InProgress
            | DeploymentStatus::AwaitingApproval
            | DeploymentStatus::Ready
            | DeploymentStatus::Cancelling
            | DeploymentStatus::RollingBack
            | DeploymentStatus::Deleting
            | DeploymentStatus::Deleted => {
                return Err(conflict(&id, &status, "there is nothing to retry"));
            }
        }
        tracing::info!(deployment = %id, correlation_id = %meta.correlation_id, "retry asked for");
        ask(&self.context, &id, Request::Retry).await?;
        Ok(accepted(&id, &status, DeploymentStatus::InProgress))
    }

    /// Looks whether everything is still as it was applied, as soon as the
    /// deployment rests and there is room. With `remediate`, what is not is
    /// applied again.
    ///
    /// # Errors
    /// [`Rejection::Conflict`] when there is nothing to look at, or nothing
    /// whole that could be put right.
    pub async fn check_drift(
        &self,
        id: &str,
        remediate: bool,
        meta: RequestMeta,
    ) -> Result<Accepted, Rejection> {
        let (id, status) = self.status(id).await?;
        if status.status == DeploymentStatus::Deleted {
            return Err(conflict(&id, &status, "there is nothing to look at"));
        }
        if remediate && status.status != DeploymentStatus::Ready {
            let problem = "only what is ready can be put right";
            return Err(conflict(&id, &status, problem));
        }
        tracing::info!(deployment = %id, correlation_id = %meta.correlation_id, remediate, "a look for drift asked for");
        let action = if remediate {
            DriftAction::Remediate
        } else {
            DriftAction::Report
        };
        drift::ask(&self.context, &id, action).await?;
        Ok(accepted(&id, &status, status.status))
    }

    /// What the last look for drift saw.
    ///
    /// # Errors
    /// See [`Rejection`].
    pub async fn drift(&self, id: &str) -> Result<DriftView, Rejection> {
        let (id, status) = self.status(id).await?;
        drift::view(&self.context, &id, &status)
            .await
            .map_err(internal)
    }

    /// What a run did, or does; without a number, of what is going on or went
    /// on last.
    ///
    /// # Errors
    /// [`Rejection::NoRun`] when there is no run of that number.
    pub async fn report(&self, id: &str, run: Option<u64>) -> Result<ReportView, Rejection> {
        let id = parse(id)?;
        let found = report::report(&self.context, &id, run)
            .await
            .map_err(internal)?;
        found.map_err(|why| match why {
            NoReport::NoDeployment => not_found(&id),
            NoReport::NoRun => Rejection::NoRun(match run {
                Some(run) => format!("deployment {id} has no run {run}"),
                None => format!("deployment {id} has no run yet"),
            }),
        })
    }

    /// What a change of one resource would touch, in this deployment and in
    /// others; without a resource, what the deletion of all of it would.
    ///
    /// # Errors
    /// See [`Rejection`]; [`Rejection::Invalid`] when there is no such resource.
    pub async fn impact(&self, id: &str, resource: Option<&str>) -> Result<ImpactView, Rejection> {
        impact::of_deployment(&self.context, &parse(id)?, resource).await
    }

    /// What a change of a definition or an engine would touch, of all that is
    /// ready.
    ///
    /// # Errors
    /// [`Rejection::Internal`] when the store fails.
    pub async fn impact_of(&self, offer: &Offer) -> Result<ImpactView, Rejection> {
        impact::of_offer(&self.context, offer)
            .await
            .map_err(internal)
    }

    /// The dependency graph of the current revision.
    ///
    /// # Errors
    /// See [`Rejection`].
    pub async fn graph(&self, id: &str) -> Result<GraphView, Rejection> {
        let id = parse(id)?;
        present::graph(&self.context, &id)
            .await
            .map_err(internal)?
            .ok_or_else(|| not_found(&id))
    }

    /// Durable events after `after`, then live ones; without `follow` the
    /// stream ends once the deployment has settled.
    ///
    /// # Errors
    /// See [`Rejection`].
    pub async fn events(
        &self,
        id: &str,
        after: Option<u64>,
        follow: bool,
    ) -> Result<BoxStream<'static, EventView>, Rejection> {
        let (id, _) = self.status(id).await?;
        Ok(feed::stream(Arc::clone(&self.context), id, after, follow))
    }

    /// Whether a revision waits. Read it before the status: what is begun
    /// meanwhile shows there.
    async fn queued(&self, id: &str) -> Result<bool, Rejection> {
        let id = parse(id)?;
        let record = self
            .context
            .read::<DeploymentRecord>(&key::deployment(&id))
            .await
            .map_err(internal)?;
        let applies = |request: &Request| matches!(request, Request::Apply { .. });
        Ok(record.is_some_and(|record| record.inbox.iter().any(applies)))
    }

    pub(crate) async fn status(&self, id: &str) -> Result<(DeploymentId, StatusRecord), Rejection> {
        let id = parse(id)?;
        let status = self
            .context
            .read::<StatusRecord>(&key::status(&id))
            .await
            .map_err(internal)?;
        let status = status.ok_or_else(|| not_found(&id))?;
        Ok((id, status))
    }
}

/// An id that cannot be one is not there.
fn parse(id: &str) -> Result<DeploymentId, Rejection> {
    DeploymentId::new(id).map_err(|_| Rejection::NotFound(id.chars().take(200).collect()))
}

fn not_found(id: &DeploymentId) -> Rejection {
    Rejection::NotFound(id.to_string())
}

pub(crate) fn conflict(id: &DeploymentId, status: &StatusRecord, problem: &str) -> Rejection {
    let word = status.status.as_str();
    Rejection::Conflict(format!("deployment {id} is {word}; {problem}"))
}

fn accepted(id: &DeploymentId, status: &StatusRecord, next: DeploymentStatus) -> Accepted {
    Accepted {
        id: id.to_string(),
        revision: status.revision,
        status: next,
        warnings: Vec::new(),
    }
}
