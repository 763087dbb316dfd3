//! One task per deployment that is worked on. It owns the deployment's status, takes requests from the inbox one at a time, and runs runs.

use std::sync::Arc;

use nestor_core::execution::Deployed;
use nestor_core::execution::mutation::{Mutation, active};
use nestor_core::ids::{DeploymentId, Timestamp};
use nestor_core::ports::{Batch, CommitError, Guard, StoreError};

use crate::context::Context;
use crate::drift;
use crate::expiry;
use crate::foresee;
use crate::gate::{GateEnd, Intent, Passage, next_request};
use crate::ownership::{Homes, Next, Untaken};
use crate::records::{
    DeploymentRecord, Request, ResourceRecord, RevisionRecord, RunKind, RunRecord, StatusRecord,
    encode, key,
};
use crate::run_loop::{Driven, RunLoop};
use crate::scheduler::{Handle, Left};
use crate::unbegun::{Unbegun, called_off, skipped_for};
use crate::validate;
use crate::view::{DeploymentStatus, Phase};
use crate::webhooks::Subject;
use crate::worker::{Lease, NotTaken};

/// After the store failed, before another try. A store that fails once mostly
/// fails for a while.
const STORE_PAUSE_MS: u64 = 30_000;

/// Works on a deployment until nothing is to do, or nothing before some time.
pub(crate) async fn drive(
    context: &Arc<Context>,
    id: &DeploymentId,
    handle: &Handle,
    lease: Option<Lease>,
) -> Left {
    let result = Driver::run(Arc::clone(context), id.clone(), handle.clone(), lease).await;
    if matches!(result, Ok(Left::Idle) | Err(Stop::Fenced)) {
        drift::end(context, id);
    }
    match result {
        Ok(left) => left,
        Err(Stop::Shutdown) => Left::Shutdown,
        Err(Stop::Blocked) => Left::Idle,
        Err(Stop::Held(until)) => Left::Until(until, None),
        Err(Stop::Fenced) => {
            tracing::info!("another worker took the deployment over");
            Left::Idle
        }
        Err(Stop::Store(error)) => {
            tracing::error!(%error, retry_after_ms = STORE_PAUSE_MS, "the deployment rests for a while");
            Left::Until(context.now().plus_millis(STORE_PAUSE_MS), None)
        }
    }
}

/// Why a driver stops before everything is done.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The host is going down.
    Shutdown,
    /// Another worker took the lease.
    Fenced,
    /// Another worker that is alive has the lease; worth another look then.
    Held(Timestamp),
    /// Another deployment has what this one wants, and rings when it lets go.
    Blocked,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotTaken> for Stop {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Held(until) => Self::Held(until),
            NotTaken::Store(error) => Self::Store(error),
        }
    }
}

pub(crate) struct Driver {
    pub(crate) context: Arc<Context>,
    pub(crate) id: DeploymentId,
    pub(crate) handle: Handle,
    pub(crate) lease: Lease,
    /// Whose it is, for those who want to hear of it.
    pub(crate) subject: Subject,
    pub(crate) status: StatusRecord,
    /// Where its engines' things are not any more.
    pub(crate) homes: Homes,
}

impl Driver {
    /// `lease` is what this worker has from the last time, if it still has it.
    async fn run(
        context: Arc<Context>,
        id: DeploymentId,
        handle: Handle,
        lease: Option<Lease>,
    ) -> Result<Left, Stop> {
        let kept = lease.is_some();
        let lease = match lease {
            Some(lease) => lease,
            None => context.worker.take(&id, context.now()).await?,
        };
        let Some(status) = context.read::<StatusRecord>(&key::status(&id)).await? else {
            return Ok(Left::Idle);
        };
        let Some(record) = context
            .read::<DeploymentRecord>(&key::deployment(&id))
            .await?
        else {
            return Ok(Left::Idle);
        };
        let homes = Homes::read(&context, &id, Some(&status)).await?;
        let mut driver = Self {
            context,
            id,
            handle,
            lease,
            subject: Subject::of(&record),
            status,
            homes,
        };
        if driver.status.active
            && let Some(until) = driver.resume(kept).await?
        {
            return Ok(Left::Until(until, Some(driver.lease)));
        }
        loop {
            if driver.context.shutdown.is_cancelled() {
                return Err(Stop::Shutdown);
            }
            driver.handle.heard();
            let record_key = key::deployment(&driver.id);
            let Some((record, raw)) = driver
                .context
                .read_raw::<DeploymentRecord>(&record_key)
                .await?
            else {
                return Ok(Left::Idle);
            };
            driver.let_go(&record).await?;
            // Another revision may be in another environment.
            driver.subject = Subject::of(&record);
            let Some(request) = next_request(&driver.status, &record.inbox) else {
                let mut batch = Batch::new();
                batch
                    .guard(Guard::Equals(record_key, raw))
                    .delete(key::todo(&driver.id))
                    .delete(key::wait(&driver.id));
                driver.lease.give_up(&driver.id, &mut batch);
                match driver.commit(batch).await {
                    Ok(()) => {
                        driver.ring_adopters().await?;
                        return Ok(Left::Idle);
                    }
                    // Somebody put something in meanwhile.
                    Err(Guarded::Changed) => continue,
                    Err(Guarded::Stop(stop)) => return Err(stop),
                }
            };
            if let Some(until) = driver.handle_request(request, &record).await? {
                return Ok(Left::Until(until, Some(driver.lease)));
            }
        }
    }

    /// A time when nothing is to do before that.
    async fn handle_request(
        &mut self,
        request: Request,
        record: &DeploymentRecord,
    ) -> Result<Option<Timestamp>, Stop> {
        let waits = self.status.gate;
        match request {
            _ if called_off(&self.status, &record.inbox, request) => {
                self.call_off(request, &record.inbox).await
            }
            Request::Approve => self.approve(request).await,
            // Everything that waits makes way for the latest.
            Request::Apply { revision, .. } if waits.is_some() => {
                let later = skipped_for(&record.inbox, 0).unwrap_or(revision);
                self.leave_gate(GateEnd::SkippedFor(later), None).await
            }
            Request::Cancel if waits.is_some() => {
                self.leave_gate(GateEnd::Refused, Some(request)).await
            }
            Request::Delete if waits == Some(RunKind::Apply) => {
                self.leave_gate(GateEnd::Deleted, None).await
            }
            Request::Delete if waits.is_some() => self.finish_request(request, Vec::new()).await,
            Request::Expire { .. } if waits.is_some() && expiry::is_over(record) => {
                self.leave_gate(GateEnd::Expired, None).await
            }
            Request::Apply { revision, .. } if expiry::is_over(record) => {
                self.skip(&[request], revision, Unbegun::Expired).await
            }
            Request::Apply { revision, .. } => match skipped_for(&record.inbox, revision) {
                Some(later) => {
                    let why = Unbegun::SkippedFor(later);
                    self.skip(&[request], revision, why).await
                }
                None => self.apply(request, revision).await,
            },
            Request::Expiring { revision } => self.warn_of_expiry(request, revision, record).await,
            Request::Expire { .. } => self.expire(request, record).await,
            Request::CheckDrift { asked, action } => {
                self.check_drift(request, asked, action, record).await
            }
            Request::Delete if self.status.status == DeploymentStatus::Deleted => {
                self.gone_already(request).await
            }
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
            Request::Retry
                if !self.status.active
                    && (self.status.phase == Phase::Validating || self.status.blocked) =>
            {
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

    /// A new run for a revision: engines check their resources first.
    async fn apply(&mut self, request: Request, number: u64) -> Result<Option<Timestamp>, Stop> {
        let Some(revision) = self
            .context
            .read::<RevisionRecord>(&key::revision(&self.id, number))
            .await?
        else {
            return self.finish_request(request, Vec::new()).await;
        };
        let resources = self.resources().await?;
        if let Some(reason) = self.outdated(&revision, &resources).await? {
            return self.refuse_run(request, number, reason).await;
        }
        let intent = Intent::apply(Arc::new(revision), resources);
        let mut intent = match self.own(request, &intent).await? {
            Next::Begin(adoptions) => intent.taking(adoptions),
            Next::Over => return Ok(None),
            Next::Refused(reason) => return self.refuse_run(request, number, reason).await,
        };
        if self.status.phase != Phase::Validating || self.status.revision != number {
            let before = self.status.clone();
            let mut batch = Batch::new();
            self.status.keep_before();
            self.status.progress = 0;
            self.set_status(
                &mut batch,
                DeploymentStatus::InProgress,
                Phase::Validating,
                number,
                None,
            );
            let event = self.status_event(&mut batch, number, format!("revision {number} begins"));
            let wanted = |inbox: &[Request]| !called_off(&before, inbox, request);
            if !self.commit_if(batch, &[], wanted).await? {
                self.status = before;
                return Ok(None);
            }
            self.context.publish(&self.id, event);
        }
        let verdict = tokio::select! {
            verdict = validate::all(&self.context, &self.id, &intent, &self.homes) => verdict,
            () = self.context.shutdown.cancelled() => return Err(Stop::Shutdown),
        };
        if let Err(reason) = verdict {
            return self.refuse_run(request, number, reason).await;
        }
        match self.passage(&mut intent).await? {
            Passage::Free => match self.take_all(&intent).await? {
                Ok(()) => self.start_run(request, intent, Batch::new()).await,
                // The request is still there.
                Err(Untaken::Moved) => Ok(None),
                Err(Untaken::Refused(reason)) => self.refuse_run(request, number, reason).await,
            },
            Passage::Refused(reason) => self.refuse_run(request, number, reason).await,
            Passage::Waits(foreseen) => {
                self.wait_for_approval(request, &intent, *foreseen, None)
                    .await
            }
        }
    }

    async fn destroy(&mut self, request: Request) -> Result<Option<Timestamp>, Stop> {
        let number = self.status.revision;
        let Some(revision) = self
            .context
            .read::<RevisionRecord>(&key::revision(&self.id, number))
            .await?
        else {
            return self.finish_request(request, Vec::new()).await;
        };
        let mut intent = Intent::destroy(Arc::new(revision), self.resources().await?);
        match self.passage(&mut intent).await? {
            Passage::Waits(foreseen) => {
                self.wait_for_approval(request, &intent, *foreseen, None)
                    .await
            }
            Passage::Free | Passage::Refused(_) => {
                self.start_run(request, intent, Batch::new()).await
            }
        }
    }

    /// The run of what was decided on, with what else belongs to its begin.
    pub(crate) async fn start_run(
        &mut self,
        request: Request,
        intent: Intent,
        mut batch: Batch,
    ) -> Result<Option<Timestamp>, Stop> {
        let plan = intent.run_plan();
        let before = self.status.clone();
        self.status.left_out = intent.left_out();
        self.status.before = None;
        self.status.gate = None;
        let Intent {
            kind,
            revision,
            resources,
            basis,
            ..
        } = intent;
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
            engines: foresee::engines(&basis),
        });
        batch.put(key::run(&self.id, number), encode(record.as_ref()));
        batch.put(key::run_counter(&self.id), encode(&number));
        self.status.run = Some(number);
        self.status.active = true;
        self.status.progress = 0;
        let (status, phase) = match kind {
            RunKind::Apply => (DeploymentStatus::InProgress, Phase::Deploying),
            RunKind::Destroy | RunKind::Expire => (DeploymentStatus::Deleting, Phase::Destroying),
        };
        let expired = (kind == RunKind::Expire).then(|| {
            let message = "the deployment's time is over; it is being destroyed".into();
            self.event("expired", revision.revision, None, message)
        });
        if let Some(event) = &expired {
            self.record_event(&mut batch, event.clone());
        }
        let news = status != self.status.status;
        self.set_status(&mut batch, status, phase, revision.revision, None);
        let event = news.then(|| {
            self.status_event(
                &mut batch,
                revision.revision,
                format!("run {number} begins"),
            )
        });
        // What was approved is begun only here.
        let wanted = |inbox: &[Request]| !called_off(&before, inbox, request);
        if !self.commit_if(batch, &[request], wanted).await? {
            self.status = before;
            return Ok(None);
        }
        for event in expired.into_iter().chain(event) {
            self.context.publish(&self.id, event);
        }
        let run = RunLoop::fresh(self, record, revision, resources);
        self.finish_run(run).await
    }

    /// The last run goes on after it had ended.
    async fn reopen(
        &mut self,
        request: Request,
        event: nestor_core::execution::Event,
    ) -> Result<Option<Timestamp>, Stop> {
        let Some(run) = RunLoop::load(self).await? else {
            return self.finish_request(request, Vec::new()).await;
        };
        self.finish_run(run.reopened(event, request)).await
    }

    /// Takes a run up that was parked by this worker, or was under way when
    /// some worker stopped.
    async fn resume(&mut self, parked: bool) -> Result<Option<Timestamp>, Stop> {
        match RunLoop::load(self).await? {
            Some(run) if parked => self.finish_run(run.unparked()).await,
            Some(run) => {
                tracing::info!(run = self.status.run, "taking up a run that was under way");
                self.finish_run(run.recovered()).await
            }
            None => {
                self.status.active = false;
                Ok(None)
            }
        }
    }

    async fn finish_run(&mut self, mut run: RunLoop) -> Result<Option<Timestamp>, Stop> {
        let driven = run.drive(self).await?;
        self.handle.live(|live| *live = None);
        let outcome = match driven {
            Driven::Ended(outcome) => outcome,
            Driven::Parked(until) => return Ok(Some(until)),
        };
        let label = outcome.as_str();
        metrics::counter!(crate::metrics::RUNS_ENDED, "outcome" => label).increment(1);
        let seconds = self
            .context
            .now()
            .0
            .saturating_sub(run.revision.created_at.0) as f64
            / 1_000.0;
        metrics::histogram!(crate::metrics::RUN_SECONDS, "outcome" => label).record(seconds);
        tracing::info!(run = run.record.number, outcome = label, "run ended");
        let gone = self.status.status == DeploymentStatus::Deleted;
        self.forget_runs(run.record.number, gone).await?;
        Ok(None)
    }

    pub(crate) async fn resources(&self) -> Result<Vec<ResourceRecord>, StoreError> {
        let all = self
            .context
            .read_all::<ResourceRecord>(&key::resources(&self.id))
            .await?;
        Ok(all.into_iter().map(|(_, record)| record).collect())
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

    /// Lets another worker have the deployment.
    pub(crate) fn give_up(&self, batch: &mut Batch) {
        self.lease.give_up(&self.id, batch);
    }

    /// Commits under the lease. A worker that stood still for longer than its
    /// leases last writes nothing, also when nobody took them: it does not know
    /// what it missed before it has said that it is alive again.
    pub(crate) async fn commit(&self, mut batch: Batch) -> Result<(), Guarded> {
        if !active(Mutation::StaleWritesAreRefused) {
            if !self.context.worker.alive(self.context.now()) {
                return Err(Guarded::Stop(Stop::Fenced));
            }
            batch.guard(self.lease.guard(&self.id));
        }
        match self.context.store.commit(batch).await {
            Ok(()) => Ok(()),
            Err(CommitError::Guard { key }) if key == key::lease(&self.id) => {
                Err(Guarded::Stop(Stop::Fenced))
            }
            Err(CommitError::Guard { .. }) => Err(Guarded::Changed),
            Err(CommitError::Store(error)) => Err(Guarded::Stop(Stop::Store(error))),
        }
    }
}

/// Why a commit under the lease did not happen.
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
            // Only batches that guard on more than the lease can meet this, and
            // they match on it themselves.
            Guarded::Changed => {
                Self::Store(StoreError::Failed("a guard failed that was not set".into()))
            }
            Guarded::Stop(stop) => stop,
        }
    }
}

pub(crate) fn deployed(resources: &[ResourceRecord]) -> Vec<Deployed> {
    resources.iter().map(ResourceRecord::deployed).collect()
}
