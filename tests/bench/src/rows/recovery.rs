//! How soon a host that was killed has taken up everything again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nestor_core::ports::{EngineCall, Function, Store};
use nestor_orchestrator::Limits;
use nestor_orchestrator::service::RequestMeta;
use nestor_store::{SledOptions, SledStore};
use tokio::sync::Notify;

use crate::coordinator::{Behaviour, Plain, chain, start};
use crate::copies;
use crate::row::{Bench, Line, Row, time};
use crate::stats::Samples;

const DEPLOYMENTS: usize = 10_000;
const LIMIT: Duration = Duration::from_secs(2);
/// Something is broken if it takes longer than this.
const PATIENCE: Duration = Duration::from_secs(120);
const TEMPLATE: &str = "killed-000000";

pub(crate) struct Recovery;

#[async_trait]
impl Row for Recovery {
    fn name(&self) -> &'static str {
        "recovery"
    }

    fn about(&self) -> &'static str {
        "10,000 deployments with an operation under way"
    }

    async fn measure(&self, bench: &Bench) -> anyhow::Result<Vec<Line>> {
        let documents = under_way(bench).await?;
        let (mut taken_up, mut settled) = (Vec::new(), Vec::new());
        for _ in 0..bench.runs(3) {
            let folder = bench.folder("recovery-")?;
            let store = SledStore::open(&folder, &SledOptions::default())?;
            let ids = (0..DEPLOYMENTS).map(|number| format!("killed-{number:06}"));
            let shared: Arc<dyn Store> = Arc::new(store);
            copies::write(&shared, &documents, TEMPLATE, ids).await?;
            let observed = Arc::new(Observed::default());
            let began = Instant::now();
            let engines = Arc::new(Plain(observed.clone()));
            let host = start(shared.clone(), engines, Limits::default()).await?;
            tokio::time::timeout(PATIENCE, observed.all.notified()).await?;
            taken_up.push(began.elapsed());
            all_settled(shared.as_ref()).await?;
            settled.push(began.elapsed());
            host.shutdown(Duration::from_secs(5)).await;
            std::fs::remove_dir_all(folder)?;
        }
        let (taken_up, settled) = (Samples::new(taken_up), Samples::new(settled));
        Ok(vec![
            Line::limit(
                format!(
                    "{}, host killed: started to all of them observed",
                    self.about()
                ),
                taken_up.text(),
                taken_up.median().as_secs_f64(),
                (LIMIT.as_secs_f64(), &time(LIMIT)),
            ),
            Line::limit(
                "the same, to all of them settled and nothing left to do",
                settled.text(),
                settled.median().as_secs_f64(),
                (LIMIT.as_secs_f64(), &time(LIMIT)),
            )
            .without_target(),
        ])
    }
}

/// What the store holds of a deployment whose engine is working.
async fn under_way(bench: &Bench) -> anyhow::Result<Vec<(String, String)>> {
    let store = SledStore::open(bench.folder("template-")?, &SledOptions::default())?;
    let store: Arc<dyn Store> = Arc::new(store);
    let working = Arc::new(Working::default());
    let engines = Arc::new(Plain(working.clone()));
    let host = start(store.clone(), engines, Limits::default()).await?;
    host.submit(chain(TEMPLATE, 1).as_bytes(), RequestMeta::default())
        .await
        .map_err(|r| anyhow::anyhow!("{r:?}"))?;
    tokio::time::timeout(PATIENCE, working.0.notified()).await?;
    let documents = copies::documents(store.as_ref(), TEMPLATE).await?;
    host.shutdown(Duration::ZERO).await;
    Ok(documents)
}

/// Until no deployment has anything to do.
async fn all_settled(store: &dyn Store) -> anyhow::Result<()> {
    let patience = Instant::now() + PATIENCE;
    while !store.scan("todo/", None, 1).await?.is_empty() {
        anyhow::ensure!(Instant::now() < patience, "not everything was settled");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Never answers.
#[derive(Default)]
struct Working(Notify);

#[async_trait]
impl Behaviour for Working {
    async fn called(&self, _: &EngineCall) {
        self.0.notify_one();
        std::future::pending::<()>().await;
    }
}

/// Counts the deployments that were looked at.
#[derive(Default)]
struct Observed {
    seen: Mutex<HashSet<String>>,
    all: Notify,
}

#[async_trait]
impl Behaviour for Observed {
    async fn called(&self, call: &EngineCall) {
        if call.function != Function::Observe {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(call.context.deployment.to_string()) && seen.len() == DEPLOYMENTS {
            self.all.notify_one();
        }
    }
}
