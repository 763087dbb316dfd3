//! One task per deployment that has something to do. It owns the deployment's
//! status, takes requests from the inbox one at a time, and runs runs.

use std::sync::Arc;

use tracing::Instrument as _;

use nestor_core::execution::{Deployed, Outcome, RunPlan};
use nestor_core::ids::{DeploymentId, ResourceName};
use nestor_core::ports::{Batch, Bytes, CommitError, Guard, StoreError};

use crate::context::{Context, Handle};
use crate::records::{
    DeploymentRecord, Request, ResourceRecord, RevisionRecord, RunKind, RunRecord, StatusRecord,
    encode, key,
};
use crate::run_loop::RunLoop;
use crate::surroundings::rfc3339;
use crate::validate;
use crate::view::{DeploymentStatus, EventView, Phase};

/// Starts a driver unless the deployment has one, and rings its bell.
pub(crate) fn wake(context: &Arc<Context>, id: &DeploymentId) {
    if context.shutdown.is_cancelled() {
        return;
    }
    let (handle, new) = context.driver_or_new(id);
    handle.bell.notify_one();
    if new {
        let span = tracing::info_span!(parent: None, "deployment", deployment = %id);
        let (context, id) = (Arc::clone(context), id.clone());
        let tasks = context.tasks.clone();
        tasks.spawn(drive(context, id, handle).instrument(span));
    }
}

async fn drive(context: Arc<Context>, id: DeploymentId, handle: Handle) {
    metrics::gauge!(crate::metrics::ACTIVE).increment(1.0);
    let result = Driver::run(Arc::clone(&context), id.clone(), handle).await;
    metrics::gauge!(crate::metrics::ACTIVE).decrement(1.0);
    context.remove_driver(&id);
    match result {
        Ok(()) => {
            // A request may have come between the last look into the inbox and
            // the removal of the handle; its bell rang for nobody.
            let record = context
                .read::<DeploymentRecord>(&key::deployment(&id))
                .await;
            if record.is_ok_and(|r| r.is_some_and(|r| !r.inbox.is_empty())) {
                wake(&context, &id);
            }
        }
        Err(Stop::Shutdown) => {}
        Err(Stop::Fenced) => tracing::info!("another worker took the deployment over"),
        Err(Stop::Store(error)) => {
            tracing::error!(%error, "the deployment rests until it is asked for again or the host restarts");
        }
    }
}

/// Why a driver stops before everything is done.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The host is going down.
    Shutdown,
    /// Another worker holds the fence.
    Fenced,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

pub(crate) struct Driver {
    pub(crate) context: Arc<Context>,
    pub(crate) id: DeploymentId,
    pub(crate) handle: Handle,
    fence: Bytes,
    pub(crate) status: StatusRecord,
}

impl Driver {
    async fn run(context: Arc<Context>, id: DeploymentId, handle: Handle) -> Result<(), Stop> {
        let fence = take_fence(&context, &id).await?;
        let Some(status) = context.read::<StatusRecord>(&key::status(&id)).await? else {
            return Ok(());
        };
        let mut driver = Self {
            context,
            id,
            handle,
            fence,
            status,
        };
        if driver.status.active {
            driver.resume().await?;
        }
        loop {
            if driver.context.shutdown.is_cancelled() {
                return Err(Stop::Shutdown);
            }
            let record_key = key::deployment(&driver.id);
            let Some((record, raw)) = driver
                .context
                .read_raw::<DeploymentRecord>(&record_key)
                .await?
            else {
                return Ok(());
            };
            let Some(&request) = record.inbox.first() else {
                let mut batch = Batch::new();
                batch
                    .guard(Guard::Equals(record_key, raw))
                    .delete(key::todo(&driver.id));
                match driver.commit(batch).await {
                    Ok(()) => return Ok(()),
                    // Somebody put something in meanwhile.
                    Err(Guarded::Changed) => continue,
                    Err(Guarded::Stop(stop)) => return Err(stop),
                }
            };
            driver.handle_request(request, &record).await?;
        }
    }

    async fn handle_request(
        &mut self,
        request: Request,
        record: &DeploymentRecord,
    ) -> Result<(), Stop> {
        match request {
            Request::Apply { revision, .. } => match skipped_for(&record.inbox, revision) {
                Some(later) => self.skip(request, revision, later).await,
                None => self.apply(request, revision).await,
            },
            Request::Delete => self.destroy(request).await,
            Request::Cancel => {
                if self.status.status == DeploymentStatus::Failed {
                    return self
                        .reopen(request, nestor_core::execution::Event::CancelRequested)
                        .await;
                }
                self.finish_request(request, Vec::new()).await
            }
            // A retry that was killed while the engines were still looking.
            Request::Retry if !self.status.active && self.status.phase == Phase::Validating => {
                self.apply(request, self.status.revision).await
            }
            Request::Retry => match self.status.status {
                DeploymentStatus::Failed | DeploymentStatus::Stuck if self.status.run.is_some() => {
                    self.reopen(request, nestor_core::execution::Event::RetryRequested)
                        .await
                }
                DeploymentStatus::Failed
                | DeploymentStatus::RolledBack
                | DeploymentStatus::Cancelled => self.apply(request, self.status.revision).await,
                DeploymentStatus::Pending
                | DeploymentStatus::InProgress
                | DeploymentStatus::AwaitingApproval
                | DeploymentStatus::Ready
                | DeploymentStatus::Cancelling
                | DeploymentStatus::RollingBack
                | DeploymentStatus::Deleting
                | DeploymentStatus::Deleted
                | DeploymentStatus::Stuck => self.finish_request(request, Vec::new()).await,
            },
        }
    }

    /// A revision that never begins, because a later one wants it so.
    async fn skip(&mut self, request: Request, revision: u64, later: u64) -> Result<(), Stop> {
        let message = format!("revision {revision} was skipped for revision {later}");
        let event = self.event("superseded", revision, None, message);
        let mut batch = Batch::new();
        batch.put(key::outcome(&self.id, revision), encode(&"skipped"));
        batch.put(key::status(&self.id), encode(&self.status));
        self.record_event(&mut batch, event.clone());
        self.commit_taking(batch, request).await?;
        self.context.publish(&self.id, event);
        Ok(())
    }

    /// A new run for a revision: engines check their resources first.
    async fn apply(&mut self, request: Request, number: u64) -> Result<(), Stop> {
        let Some(revision) = self
            .context
            .read::<RevisionRecord>(&key::revision(&self.id, number))
            .await?
        else {
            return self.finish_request(request, Vec::new()).await;
        };
        if self.status.phase != Phase::Validating || self.status.revision != number {
            let mut batch = Batch::new();
            self.set_status(
                &mut batch,
                DeploymentStatus::InProgress,
                Phase::Validating,
                number,
                None,
            );
            self.commit(batch).await?;
        }
        let resources = self.resources().await?;
        let verdict = tokio::select! {
            verdict = validate::all(&self.context, &self.id, &revision, &resources) => verdict,
            () = self.context.shutdown.cancelled() => return Err(Stop::Shutdown),
        };
        if let Err(reason) = verdict {
            // No run: nothing was begun, so there is nothing to undo.
            self.status.run = None;
            let mut batch = Batch::new();
            let message =
                format!("revision {number} was refused before anything was begun: {reason}");
            let mut event = self.event("failed", number, None, message);
            self.set_status(
                &mut batch,
                DeploymentStatus::Failed,
                Phase::Done,
                number,
                Some(reason),
            );
            event.status = Some(DeploymentStatus::Failed);
            self.record_event(&mut batch, event.clone());
            self.commit_taking(batch, request).await?;
            self.context.publish(&self.id, event);
            return Ok(());
        }
        let plan = RunPlan::apply(&revision.plan, &deployed(&resources));
        self.start_run(request, RunKind::Apply, plan, Arc::new(revision), resources)
            .await
    }

    async fn destroy(&mut self, request: Request) -> Result<(), Stop> {
        let resources = self.resources().await?;
        let plan = RunPlan::destroy(&deployed(&resources));
        let number = self.status.revision;
        let Some(revision) = self
            .context
            .read::<RevisionRecord>(&key::revision(&self.id, number))
            .await?
        else {
            return self.finish_request(request, Vec::new()).await;
        };
        self.start_run(
            request,
            RunKind::Destroy,
            plan,
            Arc::new(revision),
            resources,
        )
        .await
    }

    async fn start_run(
        &mut self,
        request: Request,
        kind: RunKind,
        plan: RunPlan,
        revision: Arc<RevisionRecord>,
        resources: Vec<ResourceRecord>,
    ) -> Result<(), Stop> {
        let number = self
            .context
            .read::<u64>(&key::run_counter(&self.id))
            .await?
            .unwrap_or(0)
            + 1;
        let record = Arc::new(RunRecord {
            number,
            revision: revision.revision,
            kind,
            plan,
        });
        let mut batch = Batch::new();
        batch.put(key::run(&self.id, number), encode(record.as_ref()));
        batch.put(key::run_counter(&self.id), encode(&number));
        self.status.run = Some(number);
        self.status.active = true;
        self.status.progress = 0;
        let (status, phase) = match kind {
            RunKind::Apply => (DeploymentStatus::InProgress, Phase::Deploying),
            RunKind::Destroy => (DeploymentStatus::Deleting, Phase::Destroying),
        };
        self.set_status(&mut batch, status, phase, revision.revision, None);
        self.commit_taking(batch, request).await?;
        let run = RunLoop::fresh(self, record, revision, resources);
        self.finish_run(run).await
    }

    /// The last run goes on after it had ended.
    async fn reopen(
        &mut self,
        request: Request,
        event: nestor_core::execution::Event,
    ) -> Result<(), Stop> {
        let Some(run) = RunLoop::load(self).await? else {
            return self.finish_request(request, Vec::new()).await;
        };
        let mut batch = Batch::new();
        self.status.active = true;
        self.status.reason = None;
        batch.put(key::status(&self.id), encode(&self.status));
        // The request leaves the inbox before its event is in the journal: a
        // crash between the two loses neither the run nor its state, and the
        // person sees that nothing moved.
        self.commit_taking(batch, request).await?;
        let run = run.reopened(event);
        self.finish_run(run).await
    }

    async fn resume(&mut self) -> Result<(), Stop> {
        tracing::info!(run = self.status.run, "taking up a run that was under way");
        match RunLoop::load(self).await? {
            Some(run) => self.finish_run(run.recovered()).await,
            None => {
                self.status.active = false;
                Ok(())
            }
        }
    }

    async fn finish_run(&mut self, mut run: RunLoop) -> Result<(), Stop> {
        let outcome = run.drive(self).await?;
        self.handle.live(|live| *live = None);
        let label = match outcome {
            Outcome::Completed => "completed",
            Outcome::Failed => "failed",
            Outcome::RolledBack => "rolled_back",
            Outcome::Cancelled => "cancelled",
            Outcome::Stuck => "stuck",
        };
        metrics::counter!(crate::metrics::RUNS_ENDED, "outcome" => label).increment(1);
        let seconds = self
            .context
            .now()
            .0
            .saturating_sub(run.revision.created_at.0) as f64
            / 1_000.0;
        metrics::histogram!(crate::metrics::RUN_SECONDS, "outcome" => label).record(seconds);
        tracing::info!(run = run.record.number, outcome = label, "run ended");
        Ok(())
    }

    pub(crate) async fn resources(&self) -> Result<Vec<ResourceRecord>, StoreError> {
        let all = self
            .context
            .read_all::<ResourceRecord>(&key::resources(&self.id))
            .await?;
        Ok(all.into_iter().map(|(_, record)| record).collect())
    }

    /// Takes a request out of the inbox without more.
    async fn finish_request(
        &mut self,
        request: Request,
        events: Vec<EventView>,
    ) -> Result<(), Stop> {
        let mut batch = Batch::new();
        for event in &events {
            self.record_event(&mut batch, event.clone());
        }
        if !events.is_empty() {
            batch.put(key::status(&self.id), encode(&self.status));
        }
        self.commit_taking(batch, request).await?;
        for event in events {
            self.context.publish(&self.id, event);
        }
        Ok(())
    }

    /// Commits and takes a request out of the inbox, both or neither. The API
    /// may put requests in meanwhile; then the inbox is read again.
    pub(crate) async fn commit_taking(&self, batch: Batch, request: Request) -> Result<(), Stop> {
        let record_key = key::deployment(&self.id);
        loop {
            let mut batch = batch.clone();
            if let Some((mut record, raw)) = self
                .context
                .read_raw::<DeploymentRecord>(&record_key)
                .await?
            {
                if let Some(place) = record.inbox.iter().position(|r| *r == request) {
                    record.inbox.remove(place);
                }
                batch
                    .guard(Guard::Equals(record_key.clone(), raw))
                    .put(record_key.clone(), encode(&record));
            }
            match self.commit(batch).await {
                Ok(()) => return Ok(()),
                Err(Guarded::Changed) => {}
                Err(Guarded::Stop(stop)) => return Err(stop),
            }
        }
    }

    pub(crate) fn set_status(
        &mut self,
        batch: &mut Batch,
        status: DeploymentStatus,
        phase: Phase,
        revision: u64,
        reason: Option<String>,
    ) {
        self.status.status = status;
        self.status.phase = phase;
        self.status.revision = revision;
        self.status.reason = reason;
        self.status.updated_at = self.context.now();
        batch.put(key::status(&self.id), encode(&self.status));
    }

    /// A durable event that has its number already.
    pub(crate) fn event(
        &mut self,
        kind: &str,
        revision: u64,
        resource: Option<&ResourceName>,
        message: String,
    ) -> EventView {
        self.status.events += 1;
        EventView {
            id: Some(self.status.events),
            kind: kind.to_owned(),
            at: rfc3339(self.context.now()),
            revision,
            resource: resource.map(ToString::to_string),
            status: None,
            message,
            data: serde_json::Value::Null,
        }
    }

    pub(crate) fn record_event(&self, batch: &mut Batch, event: EventView) {
        if let Some(number) = event.id {
            batch.put(key::event(&self.id, number), encode(&event));
        }
    }

    /// Commits under the fence.
    pub(crate) async fn commit(&self, mut batch: Batch) -> Result<(), Guarded> {
        let fence = key::fence(&self.id);
        batch.guard(Guard::Equals(fence.clone(), self.fence.clone()));
        match self.context.store.commit(batch).await {
            Ok(()) => Ok(()),
            Err(CommitError::Guard { key }) if key == fence => Err(Guarded::Stop(Stop::Fenced)),
            Err(CommitError::Guard { .. }) => Err(Guarded::Changed),
            Err(CommitError::Store(error)) => Err(Guarded::Stop(Stop::Store(error))),
        }
    }
}

/// Why a commit under the fence did not happen.
#[derive(Debug)]
pub(crate) enum Guarded {
    /// A document changed since it was read: read it again.
    Changed,
    /// It will not work for this driver.
    Stop(Stop),
}

impl From<Guarded> for Stop {
    fn from(guarded: Guarded) -> Self {
        match guarded {
            // Only batches that guard on more than the fence can meet this, and
            // they match on it themselves.
            Guarded::Changed => {
                Self::Store(StoreError::Failed("a guard failed that was not set".into()))
            }
            Guarded::Stop(stop) => stop,
        }
    }
}

/// The revision for which a waiting one is skipped, if there is one.
fn skipped_for(inbox: &[Request], revision: u64) -> Option<u64> {
    inbox.iter().find_map(|request| match request {
        Request::Apply {
            revision: later,
            latest: true,
        } if *later > revision => Some(*later),
        Request::Apply { .. } | Request::Delete | Request::Cancel | Request::Retry => None,
    })
}

fn deployed(resources: &[ResourceRecord]) -> Vec<Deployed> {
    resources.iter().map(ResourceRecord::deployed).collect()
}

/// Makes this worker the only one whose writes count.
async fn take_fence(context: &Context, id: &DeploymentId) -> Result<Bytes, Stop> {
    let fence = key::fence(id);
    let old = context.store.get(&fence).await?;
    let token: u64 = match &old {
        Some(bytes) => crate::records::decode(&fence, bytes)?,
        None => 0,
    };
    let new = encode(&(token + 1));
    let mut batch = Batch::new();
    batch.guard(old.map_or(Guard::Absent(fence.clone()), |old| {
        Guard::Equals(fence.clone(), old)
    }));
    batch.put(fence, new.clone());
    match context.store.commit(batch).await {
        Ok(()) => Ok(new),
        Err(CommitError::Guard { .. }) => Err(Stop::Fenced),
        Err(CommitError::Store(error)) => Err(Stop::Store(error)),
    }
}
