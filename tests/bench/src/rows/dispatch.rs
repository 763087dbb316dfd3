//! How soon what depends on a resource begins once that is ready, and what a
//! transition costs beside the write that makes it durable.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use futures::StreamExt as _;
use nestor_core::ports::{EngineCall, Store};
use nestor_orchestrator::service::RequestMeta;
use nestor_orchestrator::{Limits, Orchestrator};
use nestor_store::{SledOptions, SledStore};
use tokio::task::JoinSet;

use crate::coordinator::{Behaviour, Plain, Watched, chain, start};
use crate::row::{Bench, Line, Row, time};
use crate::stats::Samples;

/// Resources of a deployment whose every step is measured.
const CHAIN: usize = 20;
const DURING: Duration = Duration::from_secs(8);
/// Other deployments that the host runs meanwhile, and how long each of their
/// calls takes: up to 800 operations a second, and slots for calls are left.
const OTHERS: usize = 40;
const THEIR_CALLS: Duration = Duration::from_millis(50);
const READY_TO_DISPATCH: Duration = Duration::from_millis(5);
/// For the cost of a transition.
const LONG_CHAIN: usize = 200;

pub(crate) struct Dispatch;

#[async_trait]
impl Row for Dispatch {
    fn name(&self) -> &'static str {
        "dispatch"
    }

    fn about(&self) -> &'static str {
        "dependency ready → dependant's engine called"
    }

    async fn measure(&self, bench: &Bench) -> anyhow::Result<Vec<Line>> {
        let mut lines = self.latency(bench).await?;
        lines.push(transition(bench).await?);
        Ok(lines)
    }
}

/// Notes when the last call of each measured deployment was answered.
struct Timed {
    store: Arc<Watched<SledStore>>,
    inner: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    answered: HashMap<String, Instant>,
    /// From the answer of the dependency to the call of the dependant.
    whole: Vec<Duration>,
    /// The part of it after the journal entry was durable.
    after: Vec<Duration>,
    /// The journal entries between them.
    commits: Vec<Duration>,
}

impl Timed {
    fn lock(&self) -> std::sync::MutexGuard<'_, Times> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn measured(call: &EngineCall) -> bool {
    call.context.deployment.as_str().starts_with("measured")
}

#[async_trait]
impl Behaviour for Timed {
    async fn called(&self, call: &EngineCall) {
        let now = Instant::now();
        if !measured(call) {
            return tokio::time::sleep(THEIR_CALLS).await;
        }
        let id = call.context.deployment.as_str();
        let journaled = self.store.journaled(id);
        let mut times = self.lock();
        let answered = times.answered.remove(id);
        if let (Some(answered), Some((took, durable))) = (answered, journaled) {
            times.whole.push(now - answered);
            times.after.push(now - durable);
            times.commits.push(took);
        }
    }

    fn answered(&self, call: &EngineCall) {
        if measured(call) {
            let id = call.context.deployment.to_string();
            self.lock().answered.insert(id, Instant::now());
        }
    }
}

impl Dispatch {
    async fn latency(&self, bench: &Bench) -> anyhow::Result<Vec<Line>> {
        let sled = SledStore::open(bench.folder("dispatch-")?, &SledOptions::default())?;
        let store = Arc::new(Watched::new(Arc::new(sled)));
        let timed = Arc::new(Timed {
            store: store.clone(),
            inner: Mutex::default(),
        });
        let engines = Arc::new(Plain(timed.clone()));
        let host = start(store, engines, Limits::default()).await?;
        let busy = Arc::new(AtomicBool::new(true));
        let mut others = JoinSet::new();
        for number in 0..OTHERS {
            let (host, busy) = (host.clone(), busy.clone());
            others.spawn(async move {
                for round in 0.. {
                    if !busy.load(Ordering::Relaxed) {
                        break;
                    }
                    deploy(&host, &format!("other-{number}-{round}"), CHAIN).await?;
                }
                anyhow::Ok(())
            });
        }
        let began = Instant::now();
        for round in 0.. {
            if began.elapsed() > DURING {
                break;
            }
            deploy(&host, &format!("measured-{round}"), CHAIN).await?;
        }
        busy.store(false, Ordering::Relaxed);
        while let Some(joined) = others.join_next().await {
            joined??;
        }
        host.shutdown(Duration::from_secs(5)).await;
        let times = std::mem::take(&mut *timed.lock());
        let [whole, after, commits] = [times.whole, times.after, times.commits].map(Samples::new);
        let tails = |samples: &Samples| {
            format!(
                "p50 {}, p99 {}",
                time(samples.median()),
                time(samples.percentile(99))
            )
        };
        let ready = Line::limit(
            format!(
                "{}, {OTHERS} other deployments running: from durably ready",
                self.about()
            ),
            tails(&after),
            after.percentile(99).as_secs_f64(),
            (READY_TO_DISPATCH.as_secs_f64(), &time(READY_TO_DISPATCH)),
        );
        let ratio = whole.percentile(99).as_secs_f64() / commits.percentile(99).as_secs_f64();
        let answered = Line::ratio(
            "the same, from the dependency's answer, which is written in between",
            tails(&whole),
            format!("the write: {}", tails(&commits)),
            ratio,
            None,
        );
        Ok(vec![ready, answered])
    }
}

/// From the request to "ready".
async fn deploy(host: &Orchestrator, id: &str, length: usize) -> anyhow::Result<Duration> {
    let began = Instant::now();
    host.submit(chain(id, length).as_bytes(), RequestMeta::default())
        .await
        .map_err(|r| anyhow::anyhow!("{r:?}"))?;
    let events = host.events(id, None, false).await;
    let events = events.map_err(|r| anyhow::anyhow!("{r:?}"))?;
    events.for_each(|_| async {}).await;
    let took = began.elapsed();
    let view = host.get(id).await.map_err(|r| anyhow::anyhow!("{r:?}"))?;
    let status = serde_json::to_value(view.status)?;
    anyhow::ensure!(status == "ready", "{id} ended {status}: {:?}", view.reason);
    Ok(took)
}

struct Nothing;

#[async_trait]
impl Behaviour for Nothing {
    async fn called(&self, _: &EngineCall) {}
}

/// A chain, and then the very batches that it wrote, one after another, into
/// an empty store.
async fn transition(bench: &Bench) -> anyhow::Result<Line> {
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for run in 0..=bench.runs(5) {
        let sled = SledStore::open(bench.folder("transition-")?, &SledOptions::default())?;
        let store = Arc::new(Watched::new(Arc::new(sled)));
        let engines = Arc::new(Plain(Arc::new(Nothing)));
        let host = start(store.clone(), engines, Limits::default()).await?;
        store.record();
        let took = deploy(&host, "bench", LONG_CHAIN).await?;
        host.shutdown(Duration::from_secs(5)).await;
        let batches = store.recorded();
        let transitions = u32::try_from(batches.len()).context("so many commits")?;
        let empty = SledStore::open(bench.folder("raw-")?, &SledOptions::default())?;
        let began = Instant::now();
        for batch in batches {
            empty.commit(batch).await?;
        }
        let written = began.elapsed();
        // The first warms up.
        if run > 0 {
            ours.push(took / transitions);
            raw.push(written / transitions);
        }
    }
    let (ours, raw) = (Samples::new(ours), Samples::new(raw));
    Ok(Line::ratio(
        format!("a transition of a run: {LONG_CHAIN} resources in a chain, per durable commit"),
        ours.text(),
        format!("the same batches written alone: {}", raw.text()),
        ours.median().as_secs_f64() / raw.median().as_secs_f64(),
        None,
    ))
}
