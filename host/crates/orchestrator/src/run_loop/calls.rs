//! Calls to engines: begun in tasks of their own, and taken back as events.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use nestor_core::engine::{CallContext, EngineError, Purpose};
use nestor_core::execution::{Call, Direction, Event, Failure, StepState};
use nestor_core::ports::Batch;
use nestor_core::queue::{Class, Ticket};

use super::RunLoop;
use crate::context::Context;
use crate::driver::Driver;
use crate::job::{Job, Report, Settlement, Target, failure_of};
use crate::mask::Secrets;
use crate::neighbours;
use crate::observer::Observer;
use crate::prepared::prepared;
use crate::records::{ResourceRecord, encode, key};
use crate::slots::Slot;
use crate::surroundings::LONGEST_WAIT_MS;

/// An engine that asks to be polled without a pause would keep a core busy.
const MIN_POLL_MS: u64 = 50;
/// A shorter wait for a turn is nothing to the timeout of an operation.
const LONG_WAIT_MS: u64 = 1_000;

/// Why an operation that may begin has not.
const WAITS_FOR_TURN: &str = "waits for a turn: as many calls are under way as the host, the engine or the environment may have";

/// A call that came back. The channel is unbounded because calls under way are.
pub(super) struct Finished {
    step: u32,
    direction: Direction,
    call: Call,
    target: Target,
    report: Report,
    /// How long it waited for its turn.
    waited_ms: u64,
}

impl RunLoop {
    /// Begins a call for a step, in a task of its own.
    pub(super) fn call(&mut self, driver: &Driver, step: u32, call: Call) {
        // An operation that begins was decided on in this very turn.
        let decided = self.decided.remove(&step);
        let target = match decided.map_or_else(|| self.target(step), |target| Ok(Some(target))) {
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
            worker: driver.lease.worker(),
            direction: self.run.steps()[step as usize].direction,
            call,
            ticket: Ticket {
                composer: spec.composer.clone(),
                environment: spec.environment.clone(),
                engine: Some(target.record().engine.clone()),
                priority: spec.priority,
                class: Class::Work,
            },
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
            secrets: Arc::new(self.secrets(target.record())),
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

    /// What an engine is handed with a resource and must not be told on: what
    /// is sensitive of the resource itself and of all that it stands on, now
    /// and before this run.
    fn secrets(&self, record: &ResourceRecord) -> Secrets {
        let mut secrets = Secrets::of(&record.outputs);
        for name in record.depends_on.iter().chain([&record.name]) {
            let before = self.before.get(name).and_then(Option::as_ref);
            for record in self.resources.get(name).into_iter().chain(before) {
                secrets.extend(&record.outputs);
            }
        }
        secrets
    }

    /// Waits for calls under way without taking them in: the run is not this
    /// task's any more, but before they are back nobody here may begin another
    /// on the same resources. Calls have a limit of time, so this ends.
    pub(super) async fn drain(&mut self) {
        for finished in self.reports.drain(..) {
            self.calling.remove(&finished.step);
        }
        while !self.calling.is_empty() {
            let Some(finished) = self.receiver.recv().await else {
                return;
            };
            self.calling.remove(&finished.step);
        }
    }

    /// Turns a call's report into an event, and keeps what it says of the resource.
    pub(super) fn finished(
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
            waited_ms,
        } = finished;
        if matches!(report, Report::NotBegun) {
            self.calling.remove(&step);
            // The intent stands: whoever takes the deployment up settles it.
            self.gone = true;
            return None;
        }
        self.calling.remove(&step);
        if self.deferred.remove(&step) {
            self.ready.push_back(step);
        }
        // What goes on outside goes on from where it was.
        if !matches!(report, Report::Pending(_)) {
            driver
                .handle
                .live(|live| live.as_mut().map(|live| live.forget_progress(step)));
        }
        let state = &self.run.steps()[step as usize];
        let awaited = matches!(
            state.state,
            StepState::Running | StepState::Pending { .. } | StepState::Unsettled { .. }
        );
        if !awaited || state.direction != direction {
            self.late(driver, target, report, batch);
            return None;
        }
        if waited_ms >= LONG_WAIT_MS && !matches!(report, Report::NotBegun) {
            let ms = waited_ms;
            self.queue.push_back(Event::Waited { step, ms });
        }
        let name = target.record().name.clone();
        let now = driver.context.now();
        Some(match report {
            Report::NotBegun => return None,
            Report::Settled(settlement) => {
                self.settled(driver, target, settlement, batch);
                Event::Succeeded { step }
            }
            Report::Pending(pending) => {
                let progress = driver.handle.live(|live| {
                    live.as_mut()
                        .map(|live| live.note_progress(step, pending.percent, &pending.message))
                });
                if let Some(record) = self.resources.get_mut(&name) {
                    record.state = pending.state;
                    record.progress = progress;
                    batch.put(key::resource(&driver.id, &name), encode(record));
                }
                let wait = u64::try_from(pending.poll_after.as_millis()).unwrap_or(u64::MAX);
                Event::Pended {
                    step,
                    poll_at: now.plus_millis(wait.clamp(MIN_POLL_MS, LONGEST_WAIT_MS)),
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

    /// A call that was under way when the run turned around or ended. Nobody
    /// waits for its step any more, but whoever undoes or repeats the operation
    /// is told what the engine knew last. Nothing began for the resource since.
    fn late(&mut self, driver: &Driver, target: Target, report: Report, batch: &mut Batch) {
        let name = target.record().name.clone();
        match report {
            Report::Settled(settlement) => self.settled(driver, target, settlement, batch),
            Report::Pending(pending) => {
                if let Some(record) = self.resources.get_mut(&name) {
                    record.state = pending.state;
                    batch.put(key::resource(&driver.id, &name), encode(record));
                }
            }
            Report::NotBegun => {}
            Report::Failed(error) => {
                tracing::info!(resource = %name, kind = error.kind(), %error, "call failed when nobody waited for it any more");
            }
        }
    }

    fn settled(
        &mut self,
        driver: &Driver,
        target: Target,
        settlement: Settlement,
        batch: &mut Batch,
    ) {
        let name = target.record().name.clone();
        let before = self.resources.get(&name).cloned();
        match target {
            Target::Apply(planned) => {
                let open = self.resources.get(&name).and_then(|r| r.open.clone());
                let mut record = *planned;
                record.applied = Some(record.target());
                record.settled_by = open.as_ref().map(|o| o.id.clone());
                record.engine_digest = open.and_then(|o| o.engine_digest);
                record.outputs = settlement.outputs;
                record.state = settlement.state;
                record.progress = None;
                record.delivered = settlement.delivered;
                record.notes = settlement.notes;
                record.drifted = false;
                record.open = None;
                batch.put(key::resource(&driver.id, &name), encode(&record));
                self.resources.insert(name.clone(), record);
            }
            Target::Destroy(_) => {
                batch.delete(key::resource(&driver.id, &name));
                self.resources.remove(&name);
            }
        }
        let (environment, now) = (&self.revision.spec.environment, self.resources.get(&name));
        neighbours::note(batch, environment, &driver.id, before.as_ref(), now);
    }
}

/// Waits for the engine, so that a start does not use up time and attempts of
/// what was under way before it, and then for a turn. Says for how many
/// milliseconds it waited for that.
async fn turn(context: &Context, job: &Job, observer: &Observer) -> (Slot, u64) {
    let engine = &job.target.record().engine;
    let message = format!("waits for the engine {engine}, which is being prepared");
    let prepared = prepared(context, engine);
    observer.while_waiting(&message, prepared).await;
    let since = context.now();
    let turn = context.slots.acquire(&job.ticket);
    let slot = observer.while_waiting(WAITS_FOR_TURN, turn).await;
    (slot, context.now().0.saturating_sub(since.0))
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
    let slot = tokio::select! {
        slot = turn(&context, &job, &observer) => Some(slot),
        () = context.shutdown.cancelled() => None,
    };
    let (slot, waited_ms) = slot.map_or((None, 0), |(slot, ms)| (Some(slot), ms));
    let began = std::time::Instant::now();
    // A worker whose leases ran out must begin nothing: others may have.
    let report = if slot.is_some() && context.worker.alive_as(job.worker, context.now()) {
        AssertUnwindSafe(job.run(&context, observer))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                Report::Failed(EngineError::Trapped(
                    "the host failed during the call; its log has more".into(),
                ))
            })
    } else {
        Report::NotBegun
    };
    drop(slot);
    let outcome = match &report {
        Report::NotBegun => "not_begun",
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
        waited_ms,
    });
}
