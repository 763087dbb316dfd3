//! One call: a fresh store and instance, in a task of its own, within limits.

mod cpu;
mod limiter;
mod state;
mod stderr;
pub(crate) mod stop;

use std::sync::Arc;
use std::time::Duration;

use nestor_core::engine::EngineError;
use nestor_core::ports::{Function, Reply};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tracing::Instrument;
use wasmtime::{Store, UpdateDeadline};

pub(crate) use state::{CallState, MAX_HANDLES, MAX_RESOURCES, Surroundings};

use crate::bindings::EnginePre;
use crate::bindings::nestor::engine::types as wit;
use crate::convert::{self, Description, Reader};
use crate::host::Checkout;
use crate::runtime::Runtime;
use crate::tools::Running;
use cpu::{Meter, Metered};
use stderr::Tail;
use stop::Stop;

/// Ticks of the epoch until a running guest is looked at.
const TICKS: u64 = 1;
/// What a guest may hand over in one host call, at least: a file or a value of
/// its store. Answers may be larger when `output_bytes` says so.
const MIN_HANDOVER: u64 = 4 << 20;
/// Lists and records around the bytes that are counted.
const HANDOVER_ROOM: u64 = 1 << 20;
/// After this in the queue the host is too busy; the caller comes back later.
const MAX_QUEUE: Duration = Duration::from_secs(300);
/// When to come back then.
const RETRY_WHEN_BUSY: Duration = Duration::from_secs(5);

/// What is asked of the guest.
pub(crate) enum Question {
    Describe,
    Check,
    About(Function, wit::Context, Box<wit::Request>),
}

/// What it answered.
pub(crate) enum Answer {
    Description(Description),
    Healthy,
    Reply(Reply),
}

impl Question {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Check => "check",
            Self::About(function, ..) => function.as_str(),
        }
    }
}

/// Bounds of this call; the grant's, or tighter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

/// The right to have one instance.
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
    /// What it works in.
    checkout: Option<Arc<Checkout>>,
}

impl Turn {
    /// Nobody else enters the checkout before the call has ended, also when
    /// whoever asked for it does not wait for that.
    pub(crate) fn at(self, checkout: Arc<Checkout>) -> Self {
        Self {
            checkout: Some(checkout),
            ..self
        }
    }
}

/// Waits for a turn: first among the calls of this engine, then among all.
pub(crate) async fn turn(
    runtime: &Runtime,
    engine_slots: &Arc<Semaphore>,
) -> Result<Turn, EngineError> {
    let wait = async {
        let own = Arc::clone(engine_slots).acquire_owned().await;
        let shared = Arc::clone(&runtime.slots).acquire_owned().await;
        (own, shared)
    };
    match tokio::time::timeout(MAX_QUEUE, wait).await {
        Ok((Ok(own), Ok(shared))) => Ok(Turn {
            _own: own,
            _shared: shared,
            checkout: None,
        }),
        Ok(_) => Err(EngineError::Unavailable {
            message: "the host is shutting down".into(),
            retry_after: None,
        }),
        Err(_) => Err(EngineError::Unavailable {
            message: format!(
                "the engine was busy for {MAX_QUEUE:?}; the host runs no more calls at once"
            ),
            retry_after: Some(RETRY_WHEN_BUSY),
        }),
    }
}

/// Asks in a task of its own: a panic of the host ends that task and nothing
/// else, and so does dropping this future.
///
/// With a turn, the answer of an engine that can have nothing left at work
/// outside, neither tools nor requests, is not held up by cleaning up its
/// instance; the turn ends with that.
pub(crate) async fn ask(
    runtime: &Arc<Runtime>,
    pre: EnginePre<CallState>,
    around: Surroundings,
    bounds: Bounds,
    question: Question,
    turn: Option<Turn>,
) -> Result<Answer, EngineError> {
    let runtime = Arc::clone(runtime);
    let engine = around.engine.clone();
    let tools = around.toolbox.running();
    let checkout = turn.as_ref().and_then(|turn| turn.checkout.clone());
    let (tell, told) = oneshot::channel();
    let work = async move { run(&runtime, &pre, around, bounds, question, turn, tell).await };
    let task = tokio::spawn(work.in_current_span());
    let mut asked = Asked(Some((task, tools, checkout)));
    let told = told.await;
    let task = asked.0.take().map(|(task, ..)| task);
    if let Ok(answer) = told {
        return answer;
    }
    if let Some(task) = task
        && let Err(error) = task.await
    {
        tracing::error!(%engine, %error, "a call failed inside the host");
    }
    Err(EngineError::Trapped(
        "the host failed inside the call; its log says how".into(),
    ))
}

/// A call that was not answered yet. Dropped, it ends, tools included, and the
/// checkout is free after that.
struct Asked(Option<(JoinHandle<()>, Running, Option<Arc<Checkout>>)>);

impl Drop for Asked {
    fn drop(&mut self) {
        let Some((task, tools, checkout)) = self.0.take() else {
            return;
        };
        task.abort();
        // Without a runtime, everything ends with the process.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let _ = task.await;
                tools.ended().await;
                drop(checkout);
            });
        }
    }
}

async fn run(
    runtime: &Runtime,
    pre: &EnginePre<CallState>,
    around: Surroundings,
    bounds: Bounds,
    question: Question,
    mut turn: Option<Turn>,
    tell: oneshot::Sender<Result<Answer, EngineError>>,
) {
    let output_limit = around.grant.limits().output_bytes;
    let tools = around.toolbox.running();
    let stderr = Tail::default();
    let alone = around.grant.capabilities().tools.is_empty() && !around.grant.allows_http();
    let state = match CallState::new(around, stderr.clone()) {
        Ok(state) => state,
        Err(e) => {
            let why = format!("the call's folders cannot be opened: {e:#}");
            let _ = tell.send(Err(EngineError::Failed(why)));
            return;
        }
    };
    let meter = Meter::new(bounds.cpu);
    let mut store = store(runtime, state, Arc::clone(&meter), output_limit);
    let _ticking = runtime.ticker.tick();
    let answering = Metered::new(meter, answer(pre, &mut store, question, output_limit));
    let ended = tokio::time::timeout(bounds.wall, answering).await;
    store.data_mut().reports.finish();
    let answer = match ended {
        Err(_) => Err(stop::wall(bounds.wall)),
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(stop::explain(&error, &stderr.text(), output_limit)),
    };
    // Nobody may be left to hear it.
    if alone && let Some(turn) = &mut turn {
        // Nothing of it writes any more.
        turn.checkout = None;
        let _ = tell.send(answer);
        drop(store);
    } else {
        // Ends what still runs of it.
        drop(store);
        tools.ended().await;
        let _ = tell.send(answer);
    }
    drop(turn);
}

fn store(
    runtime: &Runtime,
    state: CallState,
    meter: Arc<Meter>,
    output_limit: u64,
) -> Store<CallState> {
    let mut store = Store::new(&runtime.engine, state);
    store.limiter(|state| &mut state.limiter);
    let handover = output_limit.saturating_add(HANDOVER_ROOM).max(MIN_HANDOVER);
    store.set_hostcall_fuel(usize::try_from(handover).unwrap_or(usize::MAX));
    store.set_max_component_handles(MAX_HANDLES);
    store.set_epoch_deadline(TICKS);
    store.epoch_deadline_callback(move |_| {
        if meter.exhausted() {
            return Err(Stop::Cpu(meter.budget()).into());
        }
        // Others on this thread get their turn, ten milliseconds at a time.
        Ok(UpdateDeadline::YieldCustom(
            TICKS,
            Box::pin(tokio::task::yield_now()),
        ))
    });
    store
}

/// The outer result is the sandbox's, the inner one the engine's.
async fn answer(
    pre: &EnginePre<CallState>,
    store: &mut Store<CallState>,
    question: Question,
    output_limit: u64,
) -> wasmtime::Result<Result<Answer, EngineError>> {
    let function = question.name();
    let mut read = Reader::new(function, output_limit);
    let instance = pre.instantiate_async(&mut *store).await?;
    let guest = instance.nestor_engine_lifecycle();
    let reply = match question {
        Question::Describe => {
            let description = guest.call_describe(store).await?;
            return Ok(convert::description(description).map(Answer::Description));
        }
        Question::Check => {
            let health = guest.call_check(store).await?;
            return Ok(health.map(|()| Answer::Healthy).map_err(convert::failure));
        }
        Question::About(function, context, request) => match function {
            Function::Validate => guest
                .call_validate(store, &context, &request)
                .await?
                .map_err(convert::failure)
                .and_then(|given| read.warnings(given).map(Reply::Validated)),
            Function::Plan => guest
                .call_plan(store, &context, &request)
                .await?
                .map_err(convert::failure)
                .and_then(|given| read.proposed(given).map(Reply::Proposed)),
            Function::Drift => guest
                .call_drift(store, &context, &request)
                .await?
                .map_err(convert::failure)
                .and_then(|given| read.proposed(given).map(Reply::Proposed)),
            Function::Apply => guest
                .call_apply(store, &context, &request)
                .await?
                .map_err(convert::failure)
                .and_then(|given| read.outcome(given).map(Reply::Outcome)),
            Function::Observe => guest
                .call_observe(store, &context, &request)
                .await?
                .map_err(convert::failure)
                .and_then(|given| read.outcome(given).map(Reply::Outcome)),
            Function::Destroy => guest
                .call_destroy(store, &context, &request)
                .await?
                .map_err(convert::failure)
                .and_then(|given| read.outcome(given).map(Reply::Outcome)),
            Function::Render => guest
                .call_render(store, &context, &request)
                .await?
                .map_err(convert::failure)
                .and_then(|given| read.rendered(given).map(Reply::Rendered)),
        },
    };
    Ok(reply.map(Answer::Reply))
}
