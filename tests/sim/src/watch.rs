//! Somebody who looks at deployments all the time, at whichever host: what is
//! shown must say why everything is where it is, and progress only grows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use nestor_orchestrator::view::{DeploymentStatus as Is, DeploymentView, ResourceStatus as At};

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::people::{some_host, unless_dead};
use crate::scenario::Hosts;
use crate::store::Disk;
use crate::{Invariant, Violation};

/// Looks of one scenario: enough to see most of its turns.
const LOOKS: u32 = 60;
/// Milliseconds between two of them, mostly, and sometimes.
const SOON: u64 = 4_000;
const LATER: u64 = 180_000;

/// What was seen.
pub(crate) type Seen = Arc<Mutex<Vec<Violation>>>;

pub(crate) struct Watcher {
    pub(crate) dice: Dice,
    pub(crate) clock: SimClock,
    pub(crate) hosts: Hosts,
    pub(crate) disk: Arc<Disk>,
    pub(crate) seen: Seen,
}

impl Watcher {
    /// Looks at so many deployments, `d0` and so on.
    pub(crate) async fn look(mut self, deployments: u64) {
        let mut percents: BTreeMap<(String, u64), u64> = BTreeMap::new();
        for _ in 0..LOOKS {
            let longest = if self.dice.once_in(8) { LATER } else { SOON };
            self.clock.sleep(self.dice.below(longest)).await;
            let id = format!("d{}", self.dice.below(deployments));
            let host = some_host(&self.hosts, &mut self.dice, &self.clock).await;
            let orchestrator = host.orchestrator.clone();
            let run = self.disk.run_of(&id);
            let asked = {
                let id = id.clone();
                async move { orchestrator.get(&id).await }
            };
            // Nobody there, or not there yet.
            let Some(Ok(view)) = unless_dead(&host, &self.clock, asked).await else {
                continue;
            };
            for detail in unexplained(&view) {
                self.breach(Invariant::EverythingSaysWhy, format!("{id}: {detail}"));
            }
            // Only what was of the same run before and after it was looked at.
            let Some(run) = run.filter(|run| self.disk.run_of(&id) == Some(*run)) else {
                continue;
            };
            let percent = view.progress.trim_end_matches('%').parse().unwrap_or(0);
            let before = percents.insert((id.clone(), run), percent).unwrap_or(0);
            if percent < before {
                let detail = format!("{id}: run {run} is shown at {percent}%, after {before}%");
                self.breach(Invariant::ProgressOnlyGrows, detail);
            }
        }
    }

    fn breach(&self, invariant: Invariant, detail: String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(Violation { invariant, detail });
    }
}

/// What is somewhere without saying why.
fn unexplained(view: &DeploymentView) -> Vec<String> {
    let mut found = Vec::new();
    let silent = |reason: &Option<String>| reason.as_deref().is_none_or(str::is_empty);
    match view.status {
        Is::Failed | Is::RolledBack | Is::Cancelled | Is::Stuck | Is::AwaitingApproval
            if silent(&view.reason) =>
        {
            found.push(format!("it is {:?} and does not say why", view.status));
        }
        Is::Pending
        | Is::InProgress
        | Is::AwaitingApproval
        | Is::Ready
        | Is::Failed
        | Is::Cancelling
        | Is::RollingBack
        | Is::RolledBack
        | Is::Cancelled
        | Is::Deleting
        | Is::Deleted
        | Is::Stuck => {}
    }
    for resource in &view.resources {
        let (says, waits) = match resource.status {
            At::Ready | At::Deleted => (false, false),
            At::Blocked => (true, true),
            At::Pending
            | At::InProgress
            | At::Failed
            | At::Skipped
            | At::RollingBack
            | At::RolledBack
            | At::Deleting
            | At::Stuck => (true, false),
        };
        if says && silent(&resource.reason) {
            found.push(format!("{resource:?} does not say why"));
        }
        if waits && resource.blocked_by.is_empty() {
            found.push(format!("{resource:?} does not say for what it waits"));
        }
    }
    found
}
