//! The documents in the store and where they are. Every key starts with two or
//! three letters for its kind and is ordered so that a scan reads a
//! deployment's documents in sequence.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use nestor_core::definition::OutputDeclaration;
use nestor_core::engine::{Home, Output, Prior};
use nestor_core::environment::DriftAction;
use nestor_core::execution::{Deployed, Event, RunPlan};
use nestor_core::ids::{
    ComposerId, DeploymentId, Digest, EngineId, EnvironmentName, OutputName, ResourceName,
    Timestamp,
};
use nestor_core::planner::{ExecutionPlan, PlannedResource};
use nestor_core::ports::{Bytes, Delivered, StoreError};
use nestor_core::queue::{Class, Ticket};
use nestor_core::relation::Relations;
use nestor_core::spec::{DeliveryMode, DeploymentSpec, Policy};

use crate::foresee::Basis;
use crate::live::Progress;
use crate::service::Scope;
use crate::view::{DeploymentStatus, Phase};

/// What people asked of a deployment. Written by the API under a guard on its
/// last value; the driver only takes requests out of the inbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeploymentRecord {
    pub(crate) id: DeploymentId,
    pub(crate) composer: ComposerId,
    pub(crate) environment: EnvironmentName,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
    /// The highest revision accepted so far.
    pub(crate) revision: u64,
    /// Of that revision.
    #[serde(default)]
    pub(crate) priority: i32,
    /// When its time is over, if it has one: of that revision.
    #[serde(default)]
    pub(crate) expires_at: Option<Timestamp>,
    /// Requests that were ever put into the inbox.
    #[serde(default)]
    pub(crate) asked: u64,
    /// Some real things were reserved when a revision was accepted; never goes
    /// back, as it only says where to look.
    #[serde(default)]
    pub(crate) reserved: bool,
    /// Not dealt with yet, oldest first.
    pub(crate) inbox: Vec<Request>,
}

impl DeploymentRecord {
    /// Puts a request into the inbox.
    pub(crate) fn ask(&mut self, request: Request) {
        self.asked += 1;
        self.inbox.push(request);
    }

    /// What stands in the store for as long as there is something to do.
    pub(crate) fn todo(&self) -> TodoRecord {
        TodoRecord {
            composer: self.composer.clone(),
            environment: self.environment.clone(),
            priority: self.priority,
            asked: self.asked,
        }
    }

    /// For a turn to be worked on.
    pub(crate) fn ticket(&self) -> Ticket {
        self.todo().ticket()
    }
}

/// A deployment that has something to do: all that is needed for its turn.
/// Written by who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TodoRecord {
    pub(crate) composer: ComposerId,
    pub(crate) environment: EnvironmentName,
    pub(crate) priority: i32,
    /// As in the deployment's record when this was written.
    pub(crate) asked: u64,
}

impl TodoRecord {
    /// For a turn to be worked on.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket {
            composer: self.composer.clone(),
            environment: self.environment.clone(),
            engine: None,
            priority: self.priority,
            class: Class::Work,
        }
    }
}

/// Something asked of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Of the plan that waits; the decision says which.
    Approve,
    Apply {
        revision: u64,
        /// Those that wait before it are skipped.
        #[serde(default)]
        latest: bool,
    },
    Delete,
    Cancel,
    Retry,
    /// The time of that revision is nearly over.
    Expiring {
        revision: u64,
    },
    /// The time of that revision is over: the deployment is to be destroyed.
    Expire {
        revision: u64,
    },
    /// Somebody, or the schedule, wants to know whether it is as it was applied.
    CheckDrift {
        asked: bool,
        action: DriftAction,
    },
}

/// Where a deployment is. Written by its driver alone, under its fence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatusRecord {
    pub(crate) status: DeploymentStatus,
    pub(crate) phase: Phase,
    pub(crate) revision: u64,
    pub(crate) reason: Option<String>,
    /// The last run, if there was one.
    pub(crate) run: Option<u64>,
    /// What holds again when that which waits is not begun; there while
    /// something is validated or waits for approval.
    #[serde(default)]
    pub(crate) before: Option<Box<Before>>,
    /// What waits for approval, while something does.
    #[serde(default)]
    pub(crate) gate: Option<RunKind>,
    /// Resources that the last run left as they were although its revision
    /// says otherwise.
    #[serde(default)]
    pub(crate) left_out: Vec<String>,
    /// Some real things are this deployment's.
    #[serde(default)]
    pub(crate) holds: bool,
    /// It waits until another deployment lets go of a thing.
    #[serde(default)]
    pub(crate) blocked: bool,
    /// Another deployment took some of its real things over, at some time.
    #[serde(default)]
    pub(crate) handed_over: bool,
    /// Whether that run is still going.
    pub(crate) active: bool,
    /// Percent of the run; only grows within one.
    pub(crate) progress: u8,
    /// The last durable event.
    pub(crate) events: u64,
    pub(crate) updated_at: Timestamp,
}

/// Where a deployment was before somebody wanted something of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    pub(crate) status: DeploymentStatus,
    pub(crate) phase: Phase,
    pub(crate) revision: u64,
    pub(crate) reason: Option<String>,
    pub(crate) run: Option<u64>,
    pub(crate) progress: u8,
}

impl StatusRecord {
    /// Remembers where the deployment is, unless it is on its way already.
    pub(crate) fn keep_before(&mut self) {
        if self.before.is_none() {
            self.before = Some(Box::new(Before {
                status: self.status,
                phase: self.phase,
                revision: self.revision,
                reason: self.reason.clone(),
                run: self.run,
                progress: self.progress,
            }));
        }
    }

    pub(crate) fn accepted(revision: u64, now: Timestamp) -> Self {
        Self {
            status: DeploymentStatus::Pending,
            phase: Phase::Queued,
            revision,
            reason: None,
            run: None,
            before: None,
            gate: None,
            left_out: Vec::new(),
            holds: false,
            blocked: false,
            handed_over: false,
            active: false,
            progress: 0,
            events: 0,
            updated_at: now,
        }
    }
}

/// A revision as it was accepted. Never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RevisionRecord {
    pub(crate) revision: u64,
    pub(crate) by: String,
    pub(crate) created_at: Timestamp,
    pub(crate) correlation_id: String,
    pub(crate) traceparent: Option<String>,
    /// The request's body, for posting it again.
    pub(crate) body: String,
    pub(crate) spec: DeploymentSpec,
    pub(crate) plan: ExecutionPlan,
    pub(crate) added: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) removed: Vec<String>,
    /// Which resources it is about.
    #[serde(default)]
    pub(crate) scope: Scope,
    /// The plan that it shall be, and nothing else.
    #[serde(default)]
    pub(crate) pinned: Option<Digest>,
}

/// What waits, or waited last, for approval; the plan itself is a document of
/// its own. Written by the driver alone, under its fence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GateRecord {
    pub(crate) revision: u64,
    pub(crate) kind: RunKind,
    pub(crate) digest: Digest,
    /// What the plan was made from.
    pub(crate) basis: Basis,
    pub(crate) summary: BTreeMap<String, u32>,
    pub(crate) requested_at: Timestamp,
    pub(crate) approved: Option<DecisionRecord>,
}

/// What somebody said to a plan. Written by the API together with the request
/// that acts on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DecisionRecord {
    pub(crate) revision: u64,
    pub(crate) plan: Digest,
    pub(crate) by: String,
    pub(crate) at: Timestamp,
    pub(crate) comment: Option<String>,
}

/// A run as it was planned. Never changes; its journal says how it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub(crate) number: u64,
    pub(crate) revision: u64,
    pub(crate) kind: RunKind,
    pub(crate) plan: RunPlan,
    /// The components that a named or approved plan was made with: nothing is
    /// applied with another one.
    #[serde(default)]
    pub(crate) engines: BTreeMap<EngineId, Digest>,
}

/// One commit of a run's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalEntry {
    pub(crate) at: Timestamp,
    pub(crate) events: Vec<Event>,
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunKind {
    Apply,
    Destroy,
    /// Destroys a deployment whose time is over.
    Expire,
}

/// A resource as it is deployed, with all that destroying it needs: the
/// catalog entry may be gone by then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ResourceRecord {
    pub(crate) name: ResourceName,
    pub(crate) engine: EngineId,
    pub(crate) catalog_ref: String,
    pub(crate) definition_digest: Digest,
    pub(crate) definition_folder: Option<PathBuf>,
    pub(crate) section: Value,
    pub(crate) declared_outputs: BTreeMap<OutputName, OutputDeclaration>,
    pub(crate) delivery: DeliveryMode,
    pub(crate) policy: Policy,
    pub(crate) depends_on: Vec<ResourceName>,
    /// References resolved; what the engine was last given.
    pub(crate) config: Value,
    pub(crate) outputs: Vec<Output>,
    pub(crate) state: Value,
    /// What the engine said of an operation that goes on outside.
    #[serde(default)]
    pub(crate) progress: Option<Progress>,
    /// The operation that changed this record last, once it was done.
    #[serde(default)]
    pub(crate) settled_by: Option<String>,
    /// Of what was last applied with success; none while it never was.
    pub(crate) applied: Option<Digest>,
    /// The component that last worked on it.
    pub(crate) engine_digest: Option<Digest>,
    pub(crate) delivered: Option<Delivered>,
    pub(crate) notes: Option<String>,
    /// It was found changed or gone: it is applied again although nothing else
    /// would be new.
    #[serde(default)]
    pub(crate) drifted: bool,
    /// The operation begun last, until it is done.
    pub(crate) open: Option<OpenOperation>,
    /// What its definition says of others and of the real thing.
    #[serde(default)]
    pub(crate) relations: Relations,
    /// Where its engine has it, unless that is under its own name.
    #[serde(default)]
    pub(crate) home: Option<Home>,
}

/// The intent to work on a resource, durable before the engine is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenOperation {
    pub(crate) id: String,
    /// The component it began with, and stays with.
    pub(crate) engine_digest: Option<Digest>,
    /// Of what it is to bring about; none when it takes the resource away.
    pub(crate) target: Option<Digest>,
}

impl ResourceRecord {
    /// A resource that is planned and was never worked on.
    pub(crate) fn planned(planned: &PlannedResource, plan: &ExecutionPlan, config: Value) -> Self {
        Self {
            name: planned.name.clone(),
            engine: planned.engine.clone(),
            catalog_ref: planned.catalog_ref.clone(),
            definition_digest: planned.definition_digest,
            definition_folder: planned.definition_folder.clone(),
            section: planned.section.as_ref().clone(),
            declared_outputs: planned.declared_outputs.clone(),
            delivery: planned.delivery,
            policy: planned.policy.clone(),
            depends_on: planned
                .depends_on
                .iter()
                .map(|i| plan.resources[*i as usize].name.clone())
                .collect(),
            config,
            outputs: Vec::new(),
            state: Value::Null,
            progress: None,
            settled_by: None,
            applied: None,
            engine_digest: None,
            delivered: None,
            notes: None,
            drifted: false,
            open: None,
            relations: planned.relations.clone(),
            home: None,
        }
    }

    /// Digest of all that the engine's work depends on: the same again needs no operation.
    pub(crate) fn target(&self) -> Digest {
        let parts = (
            &self.config,
            self.definition_digest,
            &self.engine,
            self.delivery,
        );
        Digest::of(&encode(&parts))
    }

    /// What the engine gets back; none before it ever recorded anything.
    pub(crate) fn prior(&self) -> Option<Prior> {
        (self.applied.is_some() || !self.state.is_null()).then(|| Prior {
            config: self.config.clone(),
            outputs: self.outputs.clone(),
            state: self.state.clone(),
        })
    }

    pub(crate) fn deployed(&self) -> Deployed {
        Deployed {
            name: self.name.clone(),
            depends_on: self.depends_on.clone(),
            policy: self.policy.clone(),
        }
    }
}

/// Where the documents are.
pub(crate) mod key {
    use nestor_core::identity;
    use nestor_core::ids::{DefinitionName, DeploymentId, Digest, ResourceName};

    pub(crate) const DEPLOYMENTS: &str = "dep/";
    pub(crate) const TODO: &str = "todo/";
    pub(crate) const WAITS: &str = "wait/";
    pub(crate) const WORKER_COUNTER: &str = "worker";
    pub(crate) const IDEMPOTENCY: &str = "idm/";

    pub(crate) fn deployment(id: &DeploymentId) -> String {
        format!("dep/{id}")
    }
    pub(crate) fn status(id: &DeploymentId) -> String {
        format!("sta/{id}")
    }
    pub(crate) fn lease(id: &DeploymentId) -> String {
        format!("fen/{id}")
    }
    pub(crate) fn worker(number: u64) -> String {
        format!("wrk/{number:012}")
    }
    pub(crate) fn wait(id: &DeploymentId) -> String {
        format!("{WAITS}{id}")
    }
    pub(crate) fn todo(id: &DeploymentId) -> String {
        format!("{TODO}{id}")
    }
    pub(crate) fn revisions(id: &DeploymentId) -> String {
        format!("rev/{id}/")
    }
    pub(crate) fn revision(id: &DeploymentId, revision: u64) -> String {
        format!("rev/{id}/{revision:08}")
    }
    /// Summaries of revisions that nobody can go back to any more.
    pub(crate) fn past_revisions(id: &DeploymentId) -> String {
        format!("rvs/{id}/")
    }
    pub(crate) fn past_revision(id: &DeploymentId, revision: u64) -> String {
        format!("rvs/{id}/{revision:08}")
    }
    /// What became of a revision that was not applied whole.
    pub(crate) fn outcome(id: &DeploymentId, revision: u64) -> String {
        format!("out/{id}/{revision:08}")
    }
    pub(crate) fn gate(id: &DeploymentId) -> String {
        format!("gat/{id}")
    }
    pub(crate) fn gate_plan(id: &DeploymentId) -> String {
        format!("gpl/{id}")
    }
    /// Who approved what waits.
    pub(crate) fn approval(id: &DeploymentId) -> String {
        format!("apr/{id}")
    }
    /// Who refused what waits.
    pub(crate) fn refusal(id: &DeploymentId) -> String {
        format!("ref/{id}")
    }
    pub(crate) fn outcomes(id: &DeploymentId) -> String {
        format!("out/{id}/")
    }
    pub(crate) fn runs(id: &DeploymentId) -> String {
        format!("run/{id}/")
    }
    pub(crate) fn run(id: &DeploymentId, run: u64) -> String {
        format!("run/{id}/{run:08}")
    }
    pub(crate) fn run_counter(id: &DeploymentId) -> String {
        format!("cnt/{id}")
    }
    pub(crate) fn journal(id: &DeploymentId, run: u64) -> String {
        format!("jrn/{id}/{run:08}/")
    }
    pub(crate) fn journal_entry(id: &DeploymentId, run: u64, entry: u64) -> String {
        format!("jrn/{id}/{run:08}/{entry:010}")
    }
    pub(crate) fn resources(id: &DeploymentId) -> String {
        format!("res/{id}/")
    }
    pub(crate) fn resource(id: &DeploymentId, name: &ResourceName) -> String {
        format!("res/{id}/{name}")
    }
    pub(crate) fn all_befores(id: &DeploymentId) -> String {
        format!("bef/{id}/")
    }
    pub(crate) fn befores(id: &DeploymentId, run: u64) -> String {
        format!("bef/{id}/{run:08}/")
    }
    pub(crate) fn before(id: &DeploymentId, run: u64, name: &ResourceName) -> String {
        format!("bef/{id}/{run:08}/{name}")
    }
    pub(crate) fn events(id: &DeploymentId) -> String {
        format!("evt/{id}/")
    }
    pub(crate) fn event(id: &DeploymentId, event: u64) -> String {
        format!("evt/{id}/{event:012}")
    }
    /// Alarms of one kind, by deployment.
    pub(crate) fn alarms(kind: &str) -> String {
        format!("alm/{kind}/")
    }
    /// What the last look for drift saw.
    pub(crate) fn drift(id: &DeploymentId) -> String {
        format!("drf/{id}")
    }
    pub(crate) fn alarm(kind: &str, id: &DeploymentId) -> String {
        format!("alm/{kind}/{id}")
    }
    /// Who has a real thing.
    pub(crate) fn owner(identity: &str) -> String {
        format!("own/{}", identity::digest(identity).hex())
    }
    pub(crate) fn holds(id: &DeploymentId) -> String {
        format!("hld/{id}/")
    }
    pub(crate) fn hold(id: &DeploymentId, identity: &str) -> String {
        format!("hld/{id}/{}", identity::digest(identity).hex())
    }
    /// Where resources went that others took over.
    pub(crate) fn handovers(id: &DeploymentId) -> String {
        format!("hov/{id}/")
    }
    pub(crate) fn handover(id: &DeploymentId, name: &ResourceName) -> String {
        format!("hov/{id}/{name}")
    }
    /// What a deployment waits for.
    pub(crate) fn blocked(id: &DeploymentId) -> String {
        format!("blk/{id}")
    }
    /// What is ready: definition/environment/deployment/resource.
    pub(crate) const USES: &str = "use/";
    /// What is ready of a definition: environment/deployment/resource.
    pub(crate) fn uses(definition: &DefinitionName) -> String {
        format!("{USES}{definition}/")
    }
    /// What looks beyond its deployment for a definition:
    /// environment/deployment/resource.
    pub(crate) fn related(definition: &DefinitionName) -> String {
        format!("rel/{definition}/")
    }
    /// What a deployment has many of; its resources and what it holds are gone
    /// when it is deleted.
    pub(crate) fn of_deployment(id: &DeploymentId) -> [String; 7] {
        [
            revisions(id),
            past_revisions(id),
            outcomes(id),
            runs(id),
            format!("jrn/{id}/"),
            all_befores(id),
            events(id),
        ]
    }
    /// What it has one of, beside its own document and the number of its last
    /// run.
    pub(crate) fn alone_of_deployment(id: &DeploymentId) -> [String; 9] {
        [
            "sta", "fen", "wait", "gat", "gpl", "apr", "ref", "drf", "blk",
        ]
        .map(|kind| format!("{kind}/{id}"))
    }
    pub(crate) fn idempotency(key: &str) -> String {
        // Hashed: a client's key may hold anything.
        format!("{IDEMPOTENCY}{}", Digest::of(key.as_bytes()).hex())
    }
}

/// Writes a document.
pub(crate) fn encode<T: Serialize>(document: &T) -> Bytes {
    serde_json::to_vec(document)
        .expect("records have text keys and finite numbers")
        .into()
}

/// Reads a document.
pub(crate) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes)
        .map_err(|e| StoreError::Failed(format!("the document at {key} is damaged: {e}")))
}
