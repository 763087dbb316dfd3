//! Plans that wait for a person: before the run of a revision that changes
//! something, and before a deployment is destroyed.
//!
//! Waiting is a state in the store and nothing else: no task, no timer, no
//! entry of what is to do. An approval is of one plan. Right before the run
//! begins the plan is made again, and unless it is the same, the new one waits.

use std::collections::BTreeSet;
use std::sync::Arc;

use nestor_core::environment::Approval;
use nestor_core::execution::RunPlan;
use nestor_core::execution::mutation::{Mutation, active};
use nestor_core::ids::{Digest, ResourceName, Timestamp};
use nestor_core::ports::Batch;
use nestor_core::spec::DeploymentSpec;

use crate::driver::{Driver, Stop, deployed};
use crate::foresee::{Basis, Foreseen, Question, Unforeseen, destruction, moved};
use crate::neighbours;
use crate::ownership::{Adoption, Untaken};
use crate::records::{
    DecisionRecord, GateRecord, Request, ResourceRecord, RevisionRecord, RunKind, StatusRecord,
    encode, key,
};
use crate::scope::Compared;
use crate::unbegun::called_off;
use crate::view::{DeploymentStatus, Phase, PlanView};

/// How long to ask engines that are being prepared or fail for now, before
/// the revision fails.
const PLAN_WAIT_MS: u64 = 600_000;
/// Things that moved which a reason names; the rest are counted.
const SHOWN: usize = 5;
/// A plan with more is kept without the single changes: a person reads no
/// more, and the digest is of all of them.
const MAX_PLAN_BYTES: usize = 16 << 20;

/// What is to be begun.
pub(crate) struct Intent {
    pub(crate) kind: RunKind,
    pub(crate) revision: Arc<RevisionRecord>,
    pub(crate) resources: Vec<ResourceRecord>,
    /// None: all.
    pub(crate) part: Option<BTreeSet<ResourceName>>,
    /// Resources among these that are somebody else's still.
    pub(crate) taking: Vec<Adoption>,
    /// What its plan was made from, where that plan was named or approved.
    pub(crate) basis: Basis,
}

impl Intent {
    pub(crate) fn apply(revision: Arc<RevisionRecord>, resources: Vec<ResourceRecord>) -> Self {
        let part = compared(&revision, &resources).part(&revision.scope);
        Self {
            kind: RunKind::Apply,
            revision,
            resources,
            part,
            taking: Vec::new(),
            basis: Basis::new(),
        }
    }

    /// The same with what is to be taken over, as if it were deployed here.
    pub(crate) fn taking(mut self, adoptions: Vec<Adoption>) -> Self {
        if adoptions.is_empty() {
            return self;
        }
        let records = adoptions.iter().map(|a| a.record.clone());
        self.resources.extend(records);
        Self {
            taking: adoptions,
            ..Self::apply(self.revision, self.resources)
        }
    }

    pub(crate) fn destroy(revision: Arc<RevisionRecord>, resources: Vec<ResourceRecord>) -> Self {
        Self {
            kind: RunKind::Destroy,
            revision,
            resources,
            part: None,
            taking: Vec::new(),
            basis: Basis::new(),
        }
    }

    /// Destroys a deployment whose time is over.
    pub(crate) fn expire(revision: Arc<RevisionRecord>, resources: Vec<ResourceRecord>) -> Self {
        Self {
            kind: RunKind::Expire,
            ..Self::destroy(revision, resources)
        }
    }

    pub(crate) fn run_plan(&self) -> RunPlan {
        let deployed = deployed(&self.resources);
        match (self.kind, &self.part) {
            (RunKind::Destroy | RunKind::Expire, _) => RunPlan::destroy(&deployed),
            (RunKind::Apply, None) => RunPlan::apply(&self.revision.plan, &deployed),
            (RunKind::Apply, Some(part)) => {
                RunPlan::apply_part(&self.revision.plan, &deployed, part)
            }
        }
    }

    pub(crate) fn left_out(&self) -> Vec<String> {
        match self.kind {
            RunKind::Apply => {
                compared(&self.revision, &self.resources).left_out(self.part.as_ref())
            }
            RunKind::Destroy | RunKind::Expire => Vec::new(),
        }
    }
}

fn compared<'a>(revision: &'a RevisionRecord, resources: &'a [ResourceRecord]) -> Compared<'a> {
    Compared {
        spec: &revision.spec,
        revision: revision.revision,
        plan: &revision.plan,
        deployed: resources,
    }
}

/// What stands between an intent and its run.
pub(crate) enum Passage {
    /// Nothing.
    Free,
    /// Somebody has to look at this first.
    Waits(Box<Foreseen>),
    /// It cannot begin.
    Refused(String),
}

/// What can be dealt with now. While something waits for approval, later
/// revisions wait behind it, unless one of them wants those before it skipped,
/// or nobody wants them any more.
pub(crate) fn next_request(status: &StatusRecord, inbox: &[Request]) -> Option<Request> {
    let skips = |request: &&Request| matches!(request, Request::Apply { latest: true, .. });
    let held = match status.gate {
        None => false,
        Some(RunKind::Apply) => !inbox.iter().any(|request| skips(&request)),
        Some(RunKind::Destroy | RunKind::Expire) => true,
    };
    let waits = |request: &Request| {
        held && matches!(request, Request::Apply { .. }) && !called_off(status, inbox, *request)
    };
    inbox.iter().copied().find(|request| !waits(request))
}

impl Driver {
    /// Makes the plan, if anything hangs on it.
    pub(crate) async fn passage(&self, intent: &mut Intent) -> Result<Passage, Stop> {
        let required = self.approval(&intent.revision.spec) == Approval::Required;
        let pinned = match intent.kind {
            RunKind::Apply => intent.revision.pinned,
            RunKind::Destroy | RunKind::Expire => None,
        };
        if !required && pinned.is_none() {
            return Ok(Passage::Free);
        }
        let foreseen = match self.foresee(intent).await? {
            Ok(foreseen) => foreseen,
            Err(reason) => return Ok(Passage::Refused(reason)),
        };
        if let Some(reason) = pinned.and_then(|pinned| other_plan(pinned, &foreseen)) {
            return Ok(Passage::Refused(reason));
        }
        if required && foreseen.changes() {
            return Ok(Passage::Waits(Box::new(foreseen)));
        }
        intent.basis = foreseen.basis;
        Ok(Passage::Free)
    }

    pub(crate) fn approval(&self, spec: &DeploymentSpec) -> Approval {
        if active(Mutation::NothingUnapproved) {
            return Approval::Automatic;
        }
        let environment = self.context.environments.get(&spec.environment);
        environment.approval.or(spec.strategy.approval)
    }

    /// What the intent would change; an error is for people.
    async fn foresee(&self, intent: &Intent) -> Result<Result<Foreseen, String>, Stop> {
        let (revision, context) = (&intent.revision, &self.context);
        if intent.kind != RunKind::Apply {
            let order = intent.run_plan().steps.into_iter().map(|step| step.name);
            let order: Vec<ResourceName> = order.collect();
            let of = revision.revision;
            return Ok(Ok(destruction(
                context,
                &self.id,
                of,
                &order,
                &intent.resources,
            )));
        }
        let question = Question {
            context,
            compared: compared(revision, &intent.resources),
            part: intent.part.as_ref(),
            taking: &intent.taking,
            homes: &self.homes,
            traceparent: revision.traceparent.as_deref(),
            worker: Some(self.lease.worker()),
        };
        let give_up = context.now().plus_millis(PLAN_WAIT_MS);
        loop {
            let asked = tokio::select! {
                asked = question.ask() => asked,
                () = context.shutdown.cancelled() => return Err(Stop::Shutdown),
            };
            match asked {
                Ok(foreseen) => return Ok(Ok(foreseen)),
                Err(Unforeseen::NotNow { retry_after, .. }) if context.now() < give_up => {
                    let at = context.now().plus_millis(retry_after.saturating_mul(1_000));
                    tokio::select! {
                        () = context.surroundings.sleep_until(at) => {}
                        () = context.shutdown.cancelled() => return Err(Stop::Shutdown),
                    }
                }
                Err(Unforeseen::NotNow { message, .. } | Unforeseen::Internal(message)) => {
                    return Ok(Err(format!("it cannot be planned: {message}")));
                }
                Err(Unforeseen::Stale) => return Err(Stop::Fenced),
                Err(Unforeseen::Refused(violations)) => {
                    let all = violations.into_iter().map(|v| v.message);
                    return Ok(Err(shortened(all.collect())));
                }
            }
        }
    }

    /// From here on nothing happens until somebody says so. Takes the request
    /// out of the inbox.
    pub(crate) async fn wait_for_approval(
        &mut self,
        request: Request,
        intent: &Intent,
        foreseen: Foreseen,
        why: Option<String>,
    ) -> Result<Option<Timestamp>, Stop> {
        let Foreseen {
            view,
            digest,
            basis,
        } = foreseen;
        let gate = GateRecord {
            revision: intent.revision.revision,
            kind: intent.kind,
            digest,
            basis,
            summary: view.summary.clone(),
            requested_at: self.context.now(),
            approved: None,
        };
        let mut batch = Batch::new();
        batch.put(key::gate(&self.id), encode(&gate));
        batch.put(key::gate_plan(&self.id), bounded(view));
        self.status.keep_before();
        self.status.gate = Some(intent.kind);
        let what = match intent.kind {
            RunKind::Apply => format!("revision {}", gate.revision),
            RunKind::Destroy | RunKind::Expire => "the deletion".to_owned(),
        };
        let message = match &why {
            Some(why) => why.clone(),
            None => format!("{what} waits for approval of its plan"),
        };
        let mut event = self.event("awaiting_approval", gate.revision, None, message.clone());
        event.status = Some(DeploymentStatus::AwaitingApproval);
        event.data = serde_json::json!({ "plan": digest.to_string(), "summary": gate.summary });
        self.status.progress = 0;
        self.set_status(
            &mut batch,
            DeploymentStatus::AwaitingApproval,
            Phase::Planning,
            gate.revision,
            Some(message),
        );
        self.record_event(&mut batch, event.clone());
        self.commit_taking(batch, &[request]).await?;
        tracing::info!(revision = gate.revision, plan = %digest, "waits for approval");
        self.context.publish(&self.id, event);
        Ok(None)
    }

    /// What waits was approved. It begins if it would still do what it says.
    pub(crate) async fn approve(&mut self, request: Request) -> Result<Option<Timestamp>, Stop> {
        let waits = self.status.gate.is_some();
        let gate = self
            .context
            .read::<GateRecord>(&key::gate(&self.id))
            .await?
            .filter(|_| waits);
        let decision = self
            .context
            .read::<DecisionRecord>(&key::approval(&self.id))
            .await?;
        let (Some(gate), Some(decision)) = (gate, decision) else {
            return self.finish_request(request, Vec::new()).await;
        };
        // Of a plan that another one took the place of meanwhile.
        if (decision.plan, decision.revision) != (gate.digest, gate.revision) {
            return self.finish_request(request, Vec::new()).await;
        }
        let Some(revision) = self
            .context
            .read::<RevisionRecord>(&key::revision(&self.id, gate.revision))
            .await?
        else {
            return self.finish_request(request, Vec::new()).await;
        };
        if gate.kind == RunKind::Apply
            && let Some(reason) = neighbours::misfit(&self.context, &revision).await?
        {
            return self.refuse_run(request, gate.revision, reason).await;
        }
        let (revision, resources) = (Arc::new(revision), self.resources().await?);
        let mut intent = match gate.kind {
            RunKind::Apply => match self
                .still_taking(Intent::apply(revision, resources))
                .await?
            {
                Ok(intent) => intent,
                Err(reason) => return self.still_waits(request, &gate, reason).await,
            },
            RunKind::Destroy => Intent::destroy(revision, resources),
            RunKind::Expire => Intent::expire(revision, resources),
        };
        let foreseen = match self.foresee(&intent).await? {
            Ok(foreseen) => foreseen,
            Err(reason) => return self.still_waits(request, &gate, reason).await,
        };
        let pinned = intent
            .revision
            .pinned
            .filter(|_| gate.kind == RunKind::Apply);
        if let Some(reason) = pinned.and_then(|pinned| other_plan(pinned, &foreseen)) {
            return self.refuse_run(request, gate.revision, reason).await;
        }
        if foreseen.digest != gate.digest && foreseen.changes() {
            let why = what_moved(&gate, &foreseen);
            return self
                .wait_for_approval(request, &intent, foreseen, Some(why))
                .await;
        }
        match self.take_all(&intent).await? {
            Ok(()) => {}
            Err(Untaken::Moved) => return Ok(None),
            Err(Untaken::Refused(reason)) => {
                return self.still_waits(request, &gate, reason).await;
            }
        }
        intent.basis = foreseen.basis;
        let by = decision.by.clone();
        let mut batch = Batch::new();
        let message = match &decision.comment {
            Some(comment) => format!("approved by {by}: {comment}"),
            None => format!("approved by {by}"),
        };
        let approved = GateRecord {
            approved: Some(decision),
            ..gate
        };
        batch.put(key::gate(&self.id), encode(&approved));
        let mut event = self.event("approved", approved.revision, None, message);
        event.status = Some(match intent.kind {
            RunKind::Apply => DeploymentStatus::InProgress,
            RunKind::Destroy | RunKind::Expire => DeploymentStatus::Deleting,
        });
        // Listeners find it in the store when they hear of the run's first.
        self.record_event(&mut batch, event);
        tracing::info!(revision = approved.revision, %by, "approved");
        self.start_run(request, intent, batch).await
    }

    /// It was approved, and whether it still holds cannot be told now.
    async fn still_waits(
        &mut self,
        request: Request,
        gate: &GateRecord,
        reason: String,
    ) -> Result<Option<Timestamp>, Stop> {
        let message = format!(
            "it was approved, but whether the plan still holds cannot be told: {reason}; approve it again"
        );
        let mut batch = Batch::new();
        let event = self.event("awaiting_approval", gate.revision, None, message.clone());
        self.set_status(
            &mut batch,
            DeploymentStatus::AwaitingApproval,
            Phase::Planning,
            gate.revision,
            Some(message),
        );
        self.record_event(&mut batch, event.clone());
        self.commit_taking(batch, &[request]).await?;
        self.context.publish(&self.id, event);
        Ok(None)
    }

    /// What waits is not begun: everything is as it was before. The request
    /// stays in the inbox unless it asked for just this.
    pub(crate) async fn leave_gate(
        &mut self,
        end: GateEnd,
        taking: Option<Request>,
    ) -> Result<Option<Timestamp>, Stop> {
        let gate = self
            .context
            .read::<GateRecord>(&key::gate(&self.id))
            .await?;
        let (revision, kind) = gate.map_or((self.status.revision, RunKind::Apply), |gate| {
            (gate.revision, gate.kind)
        });
        let what = match kind {
            RunKind::Apply => format!("revision {revision}"),
            RunKind::Destroy | RunKind::Expire => "the deletion".to_owned(),
        };
        let (event_kind, outcome, message) = match end {
            GateEnd::Refused => {
                let by = self
                    .context
                    .read::<DecisionRecord>(&key::refusal(&self.id))
                    .await?
                    .filter(|refusal| refusal.revision == revision);
                let by = by.map_or_else(|| "somebody".to_owned(), |refusal| refusal.by);
                ("refused", "refused", format!("{what} was refused by {by}"))
            }
            GateEnd::SkippedFor(later) => (
                "superseded",
                "skipped",
                format!("{what} was skipped for revision {later}"),
            ),
            GateEnd::Expired => (
                "refused",
                "expired",
                format!("{what} was not approved before the deployment's time was over"),
            ),
            GateEnd::Deleted => (
                "refused",
                "refused",
                format!("{what} was not approved when the deployment was deleted"),
            ),
        };
        let mut batch = Batch::new();
        if kind == RunKind::Apply {
            batch.put(key::outcome(&self.id, revision), encode(&outcome));
        }
        batch.delete(key::gate(&self.id));
        batch.delete(key::gate_plan(&self.id));
        restore(&mut self.status, revision, &message);
        let told = self.event(event_kind, revision, None, message);
        self.record_event(&mut batch, told.clone());
        let (status, phase) = (self.status.status, self.status.phase);
        let (now, reason) = (self.status.revision, self.status.reason.clone());
        let mut event = self.event("status", now, None, reason.clone().unwrap_or_default());
        event.status = Some(status);
        self.set_status(&mut batch, status, phase, now, reason);
        self.record_event(&mut batch, event.clone());
        match taking {
            Some(request) => self.commit_taking(batch, &[request]).await?,
            None => self.commit(batch).await?,
        }
        self.context.publish(&self.id, told);
        self.context.publish(&self.id, event);
        Ok(None)
    }
}

/// Why something that waited is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GateEnd {
    /// Somebody said no.
    Refused,
    /// This revision goes before it.
    SkippedFor(u64),
    /// The whole deployment is to go.
    Deleted,
    /// Its time is over.
    Expired,
}

/// As it was before; a deployment that was nothing before is cancelled.
pub(crate) fn restore(status: &mut StatusRecord, revision: u64, message: &str) {
    let before = status
        .before
        .take()
        .filter(|before| before.phase == Phase::Done);
    status.gate = None;
    match before {
        Some(before) => {
            status.status = before.status;
            status.phase = before.phase;
            status.revision = before.revision;
            status.reason = before.reason;
            status.run = before.run;
            status.progress = before.progress;
        }
        None => {
            status.status = DeploymentStatus::Cancelled;
            status.phase = Phase::Done;
            status.revision = revision;
            status.reason = Some(message.to_owned());
            status.run = None;
            status.progress = 0;
        }
    }
}

/// Why what would happen is not the plan that was named.
pub(crate) fn other_plan(named: Digest, foreseen: &Foreseen) -> Option<String> {
    (named != foreseen.digest).then(|| {
        format!(
            "what would happen now is not the plan {named}, but {}: ask for the plan again, and look at what is different",
            foreseen.digest
        )
    })
}

fn what_moved(gate: &GateRecord, now: &Foreseen) -> String {
    let moved = moved(&gate.basis, &now.basis);
    let moved = if moved.is_empty() {
        "the engines propose something else now".to_owned()
    } else {
        shortened(moved)
    };
    format!("the plan that was approved no longer holds, and a new one waits: {moved}")
}

fn shortened(all: Vec<String>) -> String {
    let mut text = all
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    if all.len() > SHOWN {
        text.push_str(&format!(" (and {} more)", all.len() - SHOWN));
    }
    text
}

fn bounded(mut view: PlanView) -> nestor_core::ports::Bytes {
    let whole = encode(&view);
    if whole.len() <= MAX_PLAN_BYTES {
        return whole;
    }
    for resource in &mut view.resources {
        resource.changes.clear();
    }
    view.warnings
        .push("the single changes are too many to be kept; ask for the plan of the same deployment to see them".into());
    encode(&view)
}
