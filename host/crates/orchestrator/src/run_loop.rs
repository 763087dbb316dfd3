//! Drives one run: events into the state machine, the journal before the
//! effects, effects into calls and timers.

mod calls;
mod ending;
mod inbox;
mod operation;
mod turn;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;

use nestor_core::execution::mutation::{Mutation, active};
use nestor_core::execution::{Call, Effect, Event, Mode, Outcome, Run, StepState, replay, step};
use nestor_core::ids::{ResourceName, Timestamp};
use nestor_core::ports::{Batch, StoreError};

use crate::driver::{Driver, Stop};
use crate::job::Target;
use crate::live::Live;
use crate::ownership::Homes;
use crate::records::{
    JournalEntry, Request, ResourceRecord, RevisionRecord, RunRecord, encode, key,
};
use crate::recovery::WaitRecord;
use crate::surroundings::is_due;
use crate::{narrate, status};
use calls::Finished;
pub(crate) use turn::BYTES_PER_COMMIT;
use turn::{EVENTS_PER_COMMIT, Turn};

/// A run that has nothing to do for so long is parked. Taking it up again
/// costs a few reads; shorter waits are not worth them.
const PARK_MS: u64 = 1_000;

/// How a run is left.
pub(crate) enum Driven {
    /// It has ended.
    Ended(Outcome),
    /// It has nothing to do before that time.
    Parked(Timestamp),
}

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
    /// What the operations that begin in this turn are to bring about.
    decided: HashMap<u32, Target>,
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
    /// Operations under way have come further than is written down.
    further: bool,
    /// What was seen of the inbox.
    asked: u64,
    /// The store may say that this run waits.
    wait_written: bool,
    /// Steps whose real things are this deployment's.
    owned: HashSet<u32>,
    /// Steps whose real things are somebody else's, and whose.
    refused: HashMap<u32, String>,
    /// Steps that may begin once somebody lets go of their real things.
    held: HashSet<u32>,
    /// When to look whether somebody did, if nobody rings.
    held_until: Option<Timestamp>,
    /// The store may say what this run waits for.
    blocked: bool,
    /// Requests that leave the inbox in the commit that has their event.
    taking: Vec<(Event, Request)>,
    /// A call was not made because this worker must not act any more.
    gone: bool,
    homes: Homes,
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
        this.homes = driver.homes.clone();
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
            decided: HashMap::new(),
            calling: HashSet::new(),
            deferred: HashSet::new(),
            sender,
            receiver,
            reports: VecDeque::new(),
            polls: VecDeque::new(),
            rung: true,
            further: false,
            asked: 0,
            wait_written: true,
            owned: HashSet::new(),
            refused: HashMap::new(),
            held: HashSet::new(),
            held_until: None,
            blocked: false,
            taking: Vec::new(),
            gone: false,
            homes: Homes::default(),
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
            .read_all::<JournalEntry>(&key::journal(id, number))
            .await?;
        let fresh = Run::new(Arc::new(record.plan.clone()));
        let run = replay(fresh, journal.iter().flat_map(|(_, entry)| &entry.events)).map_err(
            |illegal| {
                StoreError::Failed(format!(
                    "the journal of run {number} does not replay: {illegal}"
                ))
            },
        )?;
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
        this.blocked = driver.waits_with().await?.is_some();
        this.homes = driver.homes.clone();
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

    /// Taken up by the worker that parked it: nothing was under way, so nothing
    /// is lost; only the timers have to be set again.
    pub(crate) fn unparked(mut self) -> Self {
        if self.run.mode() == Mode::Fresh {
            return self.recovered();
        }
        for (place, step) in (0u32..).zip(self.run.steps()) {
            match step.state {
                StepState::Due {
                    not_before: None, ..
                } => self.ready.push_back(place),
                StepState::Due {
                    not_before: Some(at),
                    ..
                }
                | StepState::Pending { poll_at: at }
                | StepState::Unsettled {
                    not_before: Some(at),
                } => self.timers.push(Reverse((at, place))),
                StepState::Running | StepState::Unsettled { not_before: None } => {
                    return self.recovered();
                }
                StepState::Waiting { .. }
                | StepState::Done { .. }
                | StepState::Failed { .. }
                | StepState::Skipped { .. } => {}
            }
        }
        self
    }

    /// It had ended, and goes on because of a request.
    pub(crate) fn reopened(mut self, event: Event, request: Request) -> Self {
        self.ask(event, request);
        self
    }

    fn ask(&mut self, event: Event, request: Request) {
        self.queue.push_back(event.clone());
        self.taking.push((event, request));
    }

    fn show(&self, driver: &Driver) {
        let of = |name: &str| self.resources.get(name).and_then(|r| r.progress.as_ref());
        let live = Live::new(self.run.clone()).with_progress(of);
        driver.handle.live(|shown| *shown = Some(live));
    }

    /// Until the run has ended, or has nothing to do for a while.
    pub(crate) async fn drive(&mut self, driver: &mut Driver) -> Result<Driven, Stop> {
        let driven = self.go_on(driver).await;
        self.drain().await;
        driven
    }

    async fn go_on(&mut self, driver: &mut Driver) -> Result<Driven, Stop> {
        // What came due while the run was parked.
        self.fire(driver.context.now());
        // Cancelled before it begins, it begins nothing.
        self.look_into_inbox(driver).await?;
        loop {
            self.advance(driver).await?;
            if let Some(outcome) = self.run.outcome() {
                return self.last_calls(driver, outcome).await;
            }
            self.look_into_inbox(driver).await?;
            if let Some(outcome) = self.run.outcome() {
                return self.last_calls(driver, outcome).await;
            }
            if driver.context.shutdown.is_cancelled() && self.calling.is_empty() {
                return Err(Stop::Shutdown);
            }
            if self.gone {
                let going_down = driver.context.shutdown.is_cancelled();
                return Err(if going_down {
                    Stop::Shutdown
                } else {
                    Stop::Fenced
                });
            }
            if let Some(until) = self.only_waits(driver.context.now()) {
                return Ok(Driven::Parked(until));
            }
            self.wait(driver).await;
        }
    }

    /// Until when nothing is to do, if that is worth parking for.
    fn only_waits(&self, now: Timestamp) -> Option<Timestamp> {
        let idle = self.calling.is_empty()
            && self.queue.is_empty()
            && self.ready.is_empty()
            && self.deferred.is_empty()
            && self.polls.is_empty()
            && self.reports.is_empty();
        let until = self.next_time(now).filter(|_| idle)?;
        (until >= now.plus_millis(PARK_MS)).then_some(until)
    }

    /// When something is to do that nobody rings for.
    fn next_time(&self, now: Timestamp) -> Option<Timestamp> {
        let timers = self.timers.iter().map(|Reverse((at, _))| *at);
        let times = timers.chain(self.held_until);
        times.map(|at| if is_due(at, now) { now } else { at }).min()
    }

    /// A run can end while an operation that it gave up is being looked at.
    /// The next operation on that resource begins after the look is back, and
    /// knows what it found. Calls have a limit of time, so this ends.
    async fn last_calls(&mut self, driver: &mut Driver, outcome: Outcome) -> Result<Driven, Stop> {
        while !self.calling.is_empty() && !self.gone {
            let Some(finished) = self.receiver.recv().await else {
                break;
            };
            self.reports.push_back(finished);
            self.advance(driver).await?;
        }
        Ok(Driven::Ended(outcome))
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
                } else if turn.is_large() {
                    break;
                } else if let Some(finished) = self.reports.pop_front() {
                    let event = self.finished(driver, finished, &mut turn.batch);
                    self.queue.extend(event);
                } else {
                    self.own(driver, &mut turn).await?;
                    self.dispatch_ready(driver, &mut turn);
                    if self.queue.is_empty() {
                        break;
                    }
                }
            }
            let further = std::mem::take(&mut self.further);
            if turn.journal.is_empty() && turn.batch.writes.is_empty() && !further {
                for event in turn.events {
                    driver.context.publish(&driver.id, event);
                }
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
        if active(Mutation::SameTrace) {
            let any_order: HashSet<u32> = self.ready.drain(..).collect();
            self.ready.extend(any_order);
        }
        // A run that turned around before it got here has a step twice.
        let mut begins = HashSet::new();
        while !turn.is_large()
            && self.calling.len() + turn.calls.len() + self.queue.len() < bound
            && !driver.context.shutdown.is_cancelled()
        {
            let Some(step) = self.ready.pop_front() else {
                return;
            };
            // Stale: the run was stopped meanwhile.
            if !matches!(self.run.steps()[step as usize].state, StepState::Due { .. }) {
                continue;
            }
            if !begins.insert(step) {
                continue;
            }
            if self.calling.contains(&step) && !active(Mutation::OneOperationAtATime) {
                self.deferred.insert(step);
                continue;
            }
            let event = self.decide(driver, step, turn);
            let failed = matches!(event, Event::CallFailed { .. });
            self.queue.push_back(event);
            // It may stop the run: what else may begin is seen after it.
            if failed {
                return;
            }
        }
    }

    /// Journal, records, events and status in one commit; then the calls.
    async fn commit(&mut self, driver: &mut Driver, turn: Turn) -> Result<(), Stop> {
        let Turn {
            mut batch,
            journal,
            mut events,
            calls,
            ..
        } = turn;
        let entry = JournalEntry {
            at: driver.context.now(),
            events: journal,
        };
        if !entry.events.is_empty() {
            batch.put(
                key::journal_entry(&driver.id, self.record.number, self.entries),
                encode(&entry),
            );
            self.entries += 1;
        }
        let (new_status, phase) = status::of_run(self.record.kind, &self.run);
        let changed = (new_status, phase) != (driver.status.status, driver.status.phase);
        driver.status.active = self.run.outcome().is_none();
        let percent = driver
            .handle
            .live(|live| live.as_mut().map_or(0, Live::mark));
        driver.status.progress = if active(Mutation::ProgressOnlyGrows) {
            percent
        } else {
            driver.status.progress.max(percent)
        };
        if self.run.outcome() == Some(Outcome::Completed) {
            driver.status.progress = 100;
        }
        let reason = status::reason(self.record.kind, &self.run);
        let reason = match (reason, self.not_as_before()) {
            (Some(reason), Some(more)) => Some(format!("{reason}; {more}")),
            (reason, more) => reason.or(more),
        };
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
        let later = self.leave_behind(driver, new_status, &mut batch).await?;
        self.note_wait(driver, calls.is_empty(), &mut batch);
        if self.blocked && self.run.mode() != Mode::Forward {
            batch.delete(key::blocked(&driver.id));
            self.blocked = false;
        }
        let in_it = |(event, _): &mut (Event, Request)| entry.events.contains(event);
        let taken: Vec<Request> = self.taking.extract_if(.., in_it).map(|(_, r)| r).collect();
        if taken.is_empty() {
            driver.commit(batch).await?;
        } else {
            driver.commit_taking(batch, &taken).await?;
        }
        if let Some((kind, at)) = later {
            driver.context.alarms.look(kind, &driver.id, at);
        }
        driver
            .handle
            .live(|live| live.as_mut().map(|live| live.follow(&entry.events)));
        for event in events {
            driver.context.publish(&driver.id, event);
        }
        for (step, call) in calls {
            self.call(driver, step, call);
        }
        Ok(())
    }

    /// Writes down that nothing is to do before some time, or no longer, so that
    /// a host that starts anew need not take up a run that only waits.
    fn note_wait(&mut self, driver: &Driver, idle: bool, batch: &mut Batch) {
        let until = self.only_waits(driver.context.now()).filter(|_| idle);
        match until {
            Some(until) => {
                let asked = self.asked;
                batch.put(key::wait(&driver.id), encode(&WaitRecord { until, asked }));
            }
            None if self.wait_written => {
                batch.delete(key::wait(&driver.id));
            }
            None => {}
        }
        self.wait_written = until.is_some();
    }

    async fn wait(&mut self, driver: &Driver) {
        let stopping = driver.context.shutdown.is_cancelled();
        let due = self.next_time(driver.context.now()).filter(|_| !stopping);
        let surroundings = Arc::clone(&driver.context.surroundings);
        let timer = async {
            match due {
                Some(at) => surroundings.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        // In this order, so that the same story is told the same way again.
        tokio::select! {
            biased;
            Some(first) = self.receiver.recv() => {
                self.reports.push_back(first);
                while let Ok(next) = self.receiver.try_recv() {
                    self.reports.push_back(next);
                }
            }
            () = timer => self.fire(driver.context.now()),
            () = driver.handle.bell.notified() => self.rung = true,
            () = driver.handle.further.notified() => self.further = true,
            () = driver.context.shutdown.cancelled(), if !stopping => {}
        }
    }

    /// Timers that are due: dispatch, or look. A timer that was replaced by a
    /// later one of the same step finds a state that is not due yet.
    fn fire(&mut self, now: Timestamp) {
        if self.held_until.is_some_and(|at| is_due(at, now)) {
            self.look_again();
        }
        let mut due = Vec::new();
        self.timers.retain(|Reverse((at, step))| {
            if is_due(*at, now) {
                due.push((*at, *step));
            }
            !is_due(*at, now)
        });
        due.sort_unstable();
        for (_, step) in due {
            match &self.run.steps()[step as usize].state {
                StepState::Due {
                    not_before: Some(at),
                    ..
                } if is_due(*at, now) => self.ready.push_back(step),
                StepState::Pending { poll_at: at }
                | StepState::Unsettled {
                    not_before: Some(at),
                } if is_due(*at, now) => {
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
