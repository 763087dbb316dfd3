//! Drives one run: events into the state machine, the journal before the
//! effects, effects into calls and timers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};

use futures::FutureExt as _;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use nestor_core::engine::{CallContext, EngineError, Purpose};
use nestor_core::execution::mutation::{Mutation, active};
use nestor_core::execution::{
    Call, Direction, Effect, Event, Failure, Mode, Outcome, Run, StepKind, StepState, replay, step,
};
use nestor_core::ids::{ResourceName, Timestamp};
use nestor_core::planner::{Lookup, resolve_config};
use nestor_core::ports::{Batch, StoreError};
use nestor_core::spec::Reference;

use crate::context::Context;
use crate::driver::{Driver, Stop};
use crate::job::{Job, Report, Settlement, Target, failure_of};
use crate::live::Live;
use crate::lookup::of_deployment;
use crate::observer::Observer;
use crate::records::{
    DeploymentRecord, OpenOperation, Request, ResourceRecord, RevisionRecord, RunKind, RunRecord,
    encode, key,
};
use crate::view::EventView;
use crate::{narrate, status};

/// Events of one commit at most: bounds the size of a journal entry.
const EVENTS_PER_COMMIT: usize = 512;
/// An engine that asks to be polled without a pause would keep a core busy.
const MIN_POLL_MS: u64 = 50;
/// Nobody wants to hear later than this that something is ready.
const MAX_POLL_MS: u64 = 600_000;

pub(crate) struct RunLoop {
    pub(crate) record: Arc<RunRecord>,
    pub(crate) revision: Arc<RevisionRecord>,
    run: Run,
    /// Journal entries so far.
    entries: u64,
    resources: HashMap<ResourceName, ResourceRecord>,
    /// As they were when this run first touched them.
    before: HashMap<ResourceName, Option<ResourceRecord>>,
    queue: VecDeque<Event>,
    ready: VecDeque<u32>,
    timers: BinaryHeap<Reverse<(Timestamp, u32)>>,
    /// Steps with a call under way.
    calling: HashSet<u32>,
    /// Steps that may begin once the call that is under way for them is back:
    /// the run turned around while an operation was being looked at.
    deferred: HashSet<u32>,
    sender: mpsc::UnboundedSender<Finished>,
    receiver: mpsc::UnboundedReceiver<Finished>,
    reports: VecDeque<Finished>,
    /// Steps whose time to look has come.
    polls: VecDeque<u32>,
    /// The bell rang since the inbox was last read.
    rung: bool,
}

/// A call that came back. The channel is unbounded because calls under way are.
struct Finished {
    step: u32,
    direction: Direction,
    call: Call,
    target: Target,
    report: Report,
}

impl RunLoop {
    pub(crate) fn fresh(
        driver: &Driver,
        record: Arc<RunRecord>,
        revision: Arc<RevisionRecord>,
        resources: Vec<ResourceRecord>,
    ) -> Self {
        let run = Run::new(Arc::new(record.plan.clone()));
        let mut this = Self::new(record, revision, run, resources);
        this.queue.push_back(Event::Began);
        this.show(driver);
        this
    }

    fn new(
        record: Arc<RunRecord>,
        revision: Arc<RevisionRecord>,
        run: Run,
        resources: Vec<ResourceRecord>,
    ) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            record,
            revision,
            run,
            entries: 0,
            resources: resources.into_iter().map(|r| (r.name.clone(), r)).collect(),
            before: HashMap::new(),
            queue: VecDeque::new(),
            ready: VecDeque::new(),
            timers: BinaryHeap::new(),
            calling: HashSet::new(),
            deferred: HashSet::new(),
            sender,
            receiver,
            reports: VecDeque::new(),
            polls: VecDeque::new(),
            rung: true,
        }
    }

    /// The deployment's last run, from its journal.
    pub(crate) async fn load(driver: &Driver) -> Result<Option<Self>, Stop> {
        let (context, id) = (&driver.context, &driver.id);
        let Some(number) = driver.status.run else {
            return Ok(None);
        };
        let Some(record) = context.read::<RunRecord>(&key::run(id, number)).await? else {
            return Ok(None);
        };
        let revision_key = key::revision(id, record.revision);
        let Some(revision) = context.read::<RevisionRecord>(&revision_key).await? else {
            return Ok(None);
        };
        let journal = context
            .read_all::<Vec<Event>>(&key::journal(id, number))
            .await?;
        let fresh = Run::new(Arc::new(record.plan.clone()));
        let run =
            replay(fresh, journal.iter().flat_map(|(_, events)| events)).map_err(|illegal| {
                StoreError::Failed(format!(
                    "the journal of run {number} does not replay: {illegal}"
                ))
            })?;
        let mut this = Self::new(
            Arc::new(record),
            Arc::new(revision),
            run,
            driver.resources().await?,
        );
        this.entries = journal.len() as u64;
        let befores = context
            .read_all::<Option<ResourceRecord>>(&key::befores(id, number))
            .await?;
        for (name, before) in befores {
            let name = name
                .rsplit('/')
                .next()
                .and_then(|n| ResourceName::new(n).ok());
            if let Some(name) = name {
                this.before.insert(name, before);
            }
        }
        this.show(driver);
        Ok(Some(this))
    }

    pub(crate) fn recovered(mut self) -> Self {
        // Killed before the first commit: it begins, rather than recovers.
        let begins = self.run.mode() == Mode::Fresh;
        self.queue.push_back(if begins {
            Event::Began
        } else {
            Event::Recovered
        });
        self
    }

    pub(crate) fn reopened(mut self, event: Event) -> Self {
        self.queue.push_back(event);
        self
    }

    fn show(&self, driver: &Driver) {
        let live = Live::new(self.run.clone());
        *driver
            .handle
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(live);
    }

    /// Until the run has ended.
    pub(crate) async fn drive(&mut self, driver: &mut Driver) -> Result<Outcome, Stop> {
        loop {
            self.advance(driver).await?;
            if let Some(outcome) = self.run.outcome() {
                return Ok(outcome);
            }
            self.look_into_inbox(driver).await?;
            if let Some(outcome) = self.run.outcome() {
                return Ok(outcome);
            }
            if driver.context.shutdown.is_cancelled() && self.calling.is_empty() {
                return Err(Stop::Shutdown);
            }
            self.wait(driver).await;
        }
    }

    /// Works off what came in, commit by commit.
    async fn advance(&mut self, driver: &mut Driver) -> Result<(), Stop> {
        while let Some(step) = self.polls.pop_front() {
            let waits = matches!(
                self.run.steps()[step as usize].state,
                StepState::Pending { .. } | StepState::Unsettled { .. }
            );
            if waits && !self.calling.contains(&step) {
                self.call(driver, step, Call::Observe);
            }
        }
        loop {
            let mut turn = Turn::default();
            while turn.journal.len() < EVENTS_PER_COMMIT {
                if let Some(event) = self.queue.pop_front() {
                    self.take(driver, event, &mut turn)?;
                } else if let Some(finished) = self.reports.pop_front() {
                    let event = self.finished(driver, finished, &mut turn.batch);
                    self.queue.extend(event);
                } else {
                    self.dispatch_ready(driver, &mut turn);
                    if self.queue.is_empty() {
                        break;
                    }
                }
            }
            if turn.journal.is_empty() {
                return Ok(());
            }
            self.commit(driver, turn).await?;
        }
    }

    fn take(&mut self, driver: &mut Driver, event: Event, turn: &mut Turn) -> Result<(), Stop> {
        let skipped_before = narrate::may_skip(&event).then(|| narrate::skipped(&self.run));
        let effects = step(&mut self.run, &event).map_err(|illegal| {
            tracing::error!(%illegal, "a bug in the orchestrator: the run is left as it is");
            Stop::Store(StoreError::Failed(illegal.to_string()))
        })?;
        for event in narrate::tell(driver, &self.record, &self.run, &event, skipped_before) {
            driver.record_event(&mut turn.batch, event.clone());
            turn.events.push(event);
        }
        turn.journal.push(event);
        for effect in effects {
            match effect {
                Effect::Dispatch { step } => self.ready.push_back(step),
                Effect::WakeAt { step, at } => self.timers.push(Reverse((at, step))),
                Effect::Call { step, call, .. } => turn.calls.push((step, call)),
                // Seen by `drive` from the run itself.
                Effect::Ended(_) => {}
            }
        }
        Ok(())
    }

    /// Decides what to do about steps that may begin, up to the bound.
    fn dispatch_ready(&mut self, driver: &Driver, turn: &mut Turn) {
        let bound = driver.context.limits.calls_per_run;
        while self.calling.len() + turn.calls.len() + self.queue.len() < bound
            && !driver.context.shutdown.is_cancelled()
        {
            let Some(step) = self.ready.pop_front() else {
                return;
            };
            // Stale: the run was stopped meanwhile.
            if !matches!(self.run.steps()[step as usize].state, StepState::Due { .. }) {
                continue;
            }
            if self.calling.contains(&step) && !active(Mutation::OneOperationAtATime) {
                self.deferred.insert(step);
                continue;
            }
            let event = self.decide(driver, step, turn);
            self.queue.push_back(event);
        }
    }

    /// Whether a step needs an operation; if so, the intent goes into the batch.
    fn decide(&mut self, driver: &Driver, step: u32, turn: &mut Turn) -> Event {
        let now = driver.context.now();
        let jitter = driver.context.surroundings.jitter();
        let target = match self.target(step) {
            Ok(Some(target)) => target,
            Ok(None) => return Event::Unchanged { step },
            Err(reason) => {
                return Event::CallFailed {
                    step,
                    failure: Failure::Permanent,
                    reason,
                    at: now,
                    jitter,
                };
            }
        };
        let name = target.record().name.clone();
        let current = self.resources.get(&name);
        let wanted = match &target {
            Target::Apply(record) => Some(record.target()),
            Target::Destroy(_) => None,
        };
        let forward = self.run.steps()[step as usize].direction == Direction::Forward;
        if forward
            && let (Target::Apply(planned), Some(current)) = (&target, current)
            && current.applied.is_some()
            && current.applied == wanted
            && current.open.is_none()
        {
            // The same thing; only what it stands after may be new.
            let mut kept = current.clone();
            kept.depends_on = planned.depends_on.clone();
            kept.policy = planned.policy.clone();
            if &kept != current {
                turn.batch
                    .put(key::resource(&driver.id, &name), encode(&kept));
                self.resources.insert(name, kept);
            }
            return Event::Unchanged { step };
        }
        let head = match driver.context.engines.head(&target.record().engine) {
            Ok(head) => head,
            Err(error) => {
                let (failure, reason) = (failure_of(&error, Call::Act), error.to_string());
                return Event::CallFailed {
                    step,
                    failure,
                    reason,
                    at: now,
                    jitter,
                };
            }
        };
        if forward && !self.before.contains_key(&name) {
            let before = current.cloned();
            turn.batch.put(
                key::before(&driver.id, self.record.number, &name),
                encode(&before),
            );
            self.before.insert(name.clone(), before);
        }
        // A retry of the same operation stays on the component it began with.
        let id = self.operation_id(driver, step);
        let open = current
            .and_then(|c| c.open.clone())
            .filter(|open| open.id == id);
        let open = open.unwrap_or(OpenOperation {
            id,
            engine_digest: Some(head.digest),
            target: wanted,
        });
        let mut record = match (current, &target) {
            (Some(current), _) => current.clone(),
            (None, Target::Apply(planned)) => planned.as_ref().clone(),
            (None, Target::Destroy(gone)) => gone.as_ref().clone(),
        };
        if let Target::Apply(planned) = &target {
            // Whatever becomes of the operation, the resource may stand on both.
            let new = planned
                .depends_on
                .iter()
                .filter(|name| !record.depends_on.contains(name));
            let new: Vec<ResourceName> = new.cloned().collect();
            record.depends_on.extend(new);
        }
        record.open = Some(open);
        turn.batch
            .put(key::resource(&driver.id, &name), encode(&record));
        self.resources.insert(name, record);
        Event::Started { step, at: now }
    }

    /// What the step's operation is to bring about; none when there is nothing
    /// to do. An error is for the person who wrote the deployment.
    fn target(&self, step: u32) -> Result<Option<Target>, String> {
        let planned = &self.record.plan.steps[step as usize];
        let current = || {
            self.resources
                .get(&planned.name)
                .cloned()
                .map(|r| Target::Destroy(Box::new(r)))
        };
        match (self.run.steps()[step as usize].direction, planned.kind) {
            (Direction::Forward, StepKind::Destroy) => Ok(current()),
            (Direction::Forward, StepKind::Apply) => {
                let plan = &self.revision.plan;
                let resource = &plan.resources[step as usize];
                let resolved =
                    resolve_config(&resource.config, &mut |reference| self.lookup(reference))
                        .map_err(|unresolved| {
                            unresolved
                                .iter()
                                .map(ToString::to_string)
                                .collect::<Vec<_>>()
                                .join("; ")
                        })?;
                Ok(Some(Target::Apply(Box::new(ResourceRecord::planned(
                    resource,
                    plan,
                    resolved.config,
                )))))
            }
            (Direction::Undo, _) => match self.before.get(&planned.name) {
                Some(Some(before)) if before.applied.is_some() => {
                    Ok(Some(Target::Apply(Box::new(before.clone()))))
                }
                Some(_) | None => Ok(current()),
            },
        }
    }

    fn lookup(&self, reference: &Reference) -> Lookup {
        let (resource, output) =
            match of_deployment(&self.revision.spec, self.revision.revision, reference) {
                Ok(known) => return known,
                Err(output) => output,
            };
        let outputs = self
            .resources
            .get(resource)
            .map(|r| r.outputs.as_slice())
            .unwrap_or_default();
        match outputs.iter().find(|o| &o.name == output) {
            Some(found) => Lookup::Value {
                value: found.value.clone(),
                sensitive: found.sensitive,
            },
            None => Lookup::Missing(format!("resource {resource} has put out no {output}")),
        }
    }

    /// Stable over retries and crashes, and another one for undoing.
    fn operation_id(&self, driver: &Driver, step: u32) -> String {
        let direction = match self.run.steps()[step as usize].direction {
            Direction::Forward => "do",
            Direction::Undo => "undo",
        };
        let name = &self.record.plan.steps[step as usize].name;
        let id = format!("{}/{}/{}/{direction}", driver.id, self.record.number, name);
        if active(Mutation::NoEffectTwice) {
            return format!("{id}/{}", self.run.steps()[step as usize].attempts);
        }
        id
    }

    /// Journal, records, events and status in one commit; then the calls.
    async fn commit(&mut self, driver: &mut Driver, turn: Turn) -> Result<(), Stop> {
        let Turn {
            mut batch,
            journal,
            mut events,
            calls,
        } = turn;
        batch.put(
            key::journal_entry(&driver.id, self.record.number, self.entries),
            encode(&journal),
        );
        self.entries += 1;
        let (new_status, phase) = status::of_run(self.record.kind, &self.run);
        let changed = (new_status, phase) != (driver.status.status, driver.status.phase);
        driver.status.active = self.run.outcome().is_none();
        if let Some(live) = driver
            .handle
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
        {
            driver.status.progress = driver.status.progress.max(live.percent());
        }
        if self.run.outcome() == Some(Outcome::Completed) {
            driver.status.progress = 100;
        }
        let reason = status::reason(&self.run);
        if changed {
            let message = reason.clone().unwrap_or_default();
            let mut event = driver.event("status", self.revision.revision, None, message);
            event.status = Some(new_status);
            driver.record_event(&mut batch, event.clone());
            events.push(event);
        }
        driver.set_status(
            &mut batch,
            new_status,
            phase,
            self.revision.revision,
            reason,
        );
        driver.commit(batch).await?;
        if let Some(live) = driver
            .handle
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            live.follow(&journal);
        }
        for event in events {
            driver.context.publish(&driver.id, event);
        }
        for (step, call) in calls {
            self.call(driver, step, call);
        }
        Ok(())
    }

    fn call(&mut self, driver: &Driver, step: u32, call: Call) {
        let target = match self.target(step) {
            Ok(Some(target)) => target,
            Ok(None) => {
                // What was to be taken away is gone: the crash came right after.
                self.queue.push_back(Event::Succeeded { step });
                return;
            }
            Err(reason) => {
                let (at, jitter) = (driver.context.now(), driver.context.surroundings.jitter());
                self.queue.push_back(Event::CallFailed {
                    step,
                    failure: Failure::Permanent,
                    reason,
                    at,
                    jitter,
                });
                return;
            }
        };
        let name = target.record().name.clone();
        let current = self.resources.get(&name);
        let spec = &self.revision.spec;
        let attempt = self.run.steps()[step as usize].attempts.max(1);
        if attempt > 1 && call == Call::Act {
            metrics::counter!(crate::metrics::RETRIES, "engine" => target.record().engine.to_string()).increment(1);
        }
        let job = Job {
            step,
            direction: self.run.steps()[step as usize].direction,
            call,
            prior: current.and_then(ResourceRecord::prior),
            context: CallContext {
                operation_id: self.operation_id(driver, step),
                purpose: target.purpose(),
                deployment: driver.id.clone(),
                revision: self.revision.revision,
                environment: spec.environment.clone(),
                composer: spec.composer.clone(),
                attempt,
                traceparent: self.revision.traceparent.clone(),
            },
            digest: current
                .and_then(|c| c.open.as_ref())
                .and_then(|open| open.engine_digest),
            target,
        };
        self.calling.insert(step);
        let observer = Arc::new(Observer::new(
            driver,
            self.revision.revision,
            step,
            name.clone(),
        ));
        let span = tracing::info_span!(
            "operation",
            operation = %job.context.operation_id,
            resource = %name,
            engine = %job.target.record().engine,
            correlation_id = %self.revision.correlation_id,
            attempt,
        );
        let context = Arc::clone(&driver.context);
        let sender = self.sender.clone();
        driver
            .context
            .tasks
            .spawn(perform(context, job, observer, sender).instrument(span));
    }

    /// Turns a call's report into an event, and keeps what it says of the resource.
    fn finished(
        &mut self,
        driver: &Driver,
        finished: Finished,
        batch: &mut Batch,
    ) -> Option<Event> {
        let Finished {
            step,
            direction,
            call,
            target,
            report,
        } = finished;
        self.calling.remove(&step);
        if self.deferred.remove(&step) {
            self.ready.push_back(step);
        }
        if let Some(live) = driver
            .handle
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            live.forget_progress(step);
        }
        let state = &self.run.steps()[step as usize];
        let awaited = matches!(
            state.state,
            StepState::Running | StepState::Pending { .. } | StepState::Unsettled { .. }
        );
        if !awaited || state.direction != direction {
            // The run turned around meanwhile; what the operation did, or will
            // do, is being undone.
            return None;
        }
        let name = target.record().name.clone();
        let now = driver.context.now();
        Some(match report {
            Report::Settled(settlement) => {
                self.settled(driver, target, settlement, batch);
                Event::Succeeded { step }
            }
            Report::Pending(pending) => {
                if let Some(record) = self.resources.get_mut(&name) {
                    record.state = pending.state;
                    batch.put(key::resource(&driver.id, &name), encode(record));
                }
                let wait = u64::try_from(pending.poll_after.as_millis()).unwrap_or(u64::MAX);
                if let Some(live) = driver
                    .handle
                    .live
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .as_mut()
                {
                    live.note_progress(step, pending.percent, &pending.message);
                }
                Event::Pended {
                    step,
                    poll_at: now.plus_millis(wait.clamp(MIN_POLL_MS, MAX_POLL_MS)),
                    at: now,
                }
            }
            Report::Failed(error) => {
                let jitter = driver.context.surroundings.jitter();
                let failure = failure_of(&error, call);
                tracing::warn!(resource = %name, kind = error.kind(), %error, "call failed");
                Event::CallFailed {
                    step,
                    failure,
                    reason: error.to_string(),
                    at: now,
                    jitter,
                }
            }
        })
    }

    fn settled(
        &mut self,
        driver: &Driver,
        target: Target,
        settlement: Settlement,
        batch: &mut Batch,
    ) {
        let name = target.record().name.clone();
        match target {
            Target::Apply(planned) => {
                let open = self.resources.get(&name).and_then(|r| r.open.clone());
                let mut record = *planned;
                record.applied = Some(record.target());
                record.engine_digest = open.and_then(|o| o.engine_digest);
                record.outputs = settlement.outputs;
                record.state = settlement.state;
                record.delivered = settlement.delivered;
                record.notes = settlement.notes;
                record.open = None;
                batch.put(key::resource(&driver.id, &name), encode(&record));
                self.resources.insert(name, record);
            }
            Target::Destroy(_) => {
                batch.delete(key::resource(&driver.id, &name));
                self.resources.remove(&name);
            }
        }
    }

    /// Requests for a run that is under way.
    async fn look_into_inbox(&mut self, driver: &mut Driver) -> Result<(), Stop> {
        if !std::mem::take(&mut self.rung) {
            return Ok(());
        }
        let record = driver
            .context
            .read::<DeploymentRecord>(&key::deployment(&driver.id))
            .await?;
        for request in record.map(|r| r.inbox).unwrap_or_default() {
            match request {
                // Waits for its turn.
                Request::Apply { .. } => {}
                // Deleting what is in flight is stopping it and unwinding.
                Request::Cancel | Request::Delete if self.record.kind == RunKind::Apply => {
                    self.queue.push_back(Event::CancelRequested);
                    self.advance(driver).await?;
                    driver.commit_taking(Batch::new(), request).await?;
                }
                // A deletion cannot be taken back half-way, and what is under
                // way needs no retry.
                Request::Cancel | Request::Delete | Request::Retry => {
                    driver.commit_taking(Batch::new(), request).await?;
                }
            }
        }
        Ok(())
    }

    async fn wait(&mut self, driver: &Driver) {
        let stopping = driver.context.shutdown.is_cancelled();
        let due = self
            .timers
            .peek()
            .map(|Reverse((at, _))| *at)
            .filter(|_| !stopping);
        let surroundings = Arc::clone(&driver.context.surroundings);
        let timer = async {
            match due {
                Some(at) => surroundings.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(first) = self.receiver.recv() => {
                self.reports.push_back(first);
                while let Ok(next) = self.receiver.try_recv() {
                    self.reports.push_back(next);
                }
            }
            () = timer => self.fire(driver.context.now()),
            () = driver.handle.bell.notified() => self.rung = true,
            () = driver.context.shutdown.cancelled(), if !stopping => {}
        }
    }

    /// Timers that are due: dispatch, or look. A timer that was replaced by a
    /// later one of the same step finds a state that is not due yet.
    fn fire(&mut self, now: Timestamp) {
        while let Some(Reverse((at, step))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            match &self.run.steps()[step as usize].state {
                StepState::Due {
                    not_before: Some(at),
                    ..
                } if *at <= now => self.ready.push_back(step),
                StepState::Pending { poll_at: at }
                | StepState::Unsettled {
                    not_before: Some(at),
                } if *at <= now => {
                    self.polls.push_back(step);
                }
                StepState::Due { .. }
                | StepState::Pending { .. }
                | StepState::Unsettled { .. }
                | StepState::Waiting { .. }
                | StepState::Running
                | StepState::Done { .. }
                | StepState::Failed { .. }
                | StepState::Skipped { .. } => {}
            }
        }
    }
}

/// What one commit holds, and the calls that follow it.
#[derive(Default)]
struct Turn {
    batch: Batch,
    journal: Vec<Event>,
    events: Vec<EventView>,
    calls: Vec<(u32, Call)>,
}

/// Does a call and always answers, also when something in it panics: a run
/// must not wait for an answer that never comes.
async fn perform(
    context: Arc<Context>,
    job: Job,
    observer: Arc<Observer>,
    sender: mpsc::UnboundedSender<Finished>,
) {
    let engine = job.target.record().engine.to_string();
    let purpose = match job.target.purpose() {
        Purpose::Apply => "apply",
        Purpose::Destroy => "destroy",
        Purpose::Inspect => "inspect",
    };
    // Closed only when the host goes down.
    let Ok(_permit) = Arc::clone(&context.calls).acquire_owned().await else {
        return;
    };
    let began = std::time::Instant::now();
    let report = AssertUnwindSafe(job.run(&context, observer))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            Report::Failed(EngineError::Trapped(
                "the host failed during the call; its log has more".into(),
            ))
        });
    let outcome = match &report {
        Report::Settled(_) => "done",
        Report::Pending(_) => "pending",
        Report::Failed(error) => error.kind(),
    };
    metrics::histogram!(crate::metrics::OPERATION_SECONDS, "engine" => engine.clone(), "purpose" => purpose)
        .record(began.elapsed().as_secs_f64());
    metrics::counter!(crate::metrics::OPERATIONS, "engine" => engine, "purpose" => purpose, "outcome" => outcome)
        .increment(1);
    let Job {
        step,
        direction,
        call,
        target,
        ..
    } = job;
    // A driver that is gone settles the operation when it comes back.
    let _ = sender.send(Finished {
        step,
        direction,
        call,
        target,
        report,
    });
}
