//! What a revision would change, as the engines see it: for who asks, and for
//! who approves.

mod known;
mod refusals;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use nestor_core::definition::declared_outputs;
use nestor_core::engine::{
    Action, CallContext, EngineError, ProposedChanges, Purpose, ResourceRequest,
};
use nestor_core::ids::{DeploymentId, Digest, EngineId, ResourceName};
use nestor_core::planner::{PlannedResource, Resolved, UNKNOWN_KEY};
use nestor_core::ports::{EngineCall, Function, NoObserver, Reply, Standing};
use nestor_core::queue::{Class, Ticket};
use nestor_core::spec::DeploymentSpec;
use nestor_core::violation::{Violation, ViolationCode};

use crate::ask::ask;
use crate::context::Context;
use crate::mask::{self, Secrets};
use crate::ownership::{Adoption, Homes};
use crate::present::MASK;
use crate::records::{ResourceRecord, encode};
use crate::scope::Compared;
use crate::slots::Slot;
use crate::view::{PlanView, PlannedAction, PlannedChangeView};
use known::{Config, Outputs, check_answer, refused_by_schema};
use refusals::refusals;
use verdict::{Verdict, verdict};

/// How long somebody who asks for a plan waits for a turn: a person, or a
/// pipeline, at the other end of a request.
const PREVIEW_TURN_WAIT_MS: u64 = 30_000;
/// When to ask again after that.
const PREVIEW_RETRY: Duration = Duration::from_secs(10);

/// What a plan was made from: by the name of each thing, which one of it.
/// Nothing in it is secret.
pub(crate) type Basis = BTreeMap<String, String>;

/// A plan, and what it was made from.
pub(crate) struct Foreseen {
    pub(crate) view: PlanView,
    pub(crate) digest: Digest,
    pub(crate) basis: Basis,
}

impl Foreseen {
    /// Whether anything would change, or might.
    pub(crate) fn changes(&self) -> bool {
        let changes = |r: &PlannedChangeView| r.action != PlannedAction::Noop || r.adopts.is_some();
        self.view.resources.iter().any(changes)
    }
}

/// Why there is no plan.
#[derive(Debug)]
pub(crate) enum Unforeseen {
    /// An engine is still being prepared, or does not answer just now.
    NotNow {
        message: String,
        /// Seconds.
        retry_after: u64,
    },
    /// Engines refuse resources; never empty.
    Refused(Vec<Violation>),
    /// A bug, or a damaged document.
    Internal(String),
    /// The worker that asks must not act for the deployment any more.
    Stale,
}

/// Why one resource has no plan.
pub(crate) enum Unasked {
    /// The worker that asks must not act for the deployment any more.
    Stale,
    Engine(EngineError),
}

impl From<EngineError> for Unasked {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// What is asked of the engines.
pub(crate) struct Question<'a> {
    pub(crate) context: &'a Context,
    pub(crate) compared: Compared<'a>,
    /// None: all.
    pub(crate) part: Option<&'a BTreeSet<ResourceName>>,
    /// Resources among those that are deployed which are somebody else's still.
    pub(crate) taking: &'a [Adoption],
    pub(crate) homes: &'a Homes,
    pub(crate) traceparent: Option<&'a str>,
    /// The worker that asks under the deployment's lease; none: somebody who
    /// changes nothing.
    pub(crate) worker: Option<u64>,
}

impl Question<'_> {
    /// Asks every engine about its resources, in the order of the plan.
    pub(crate) async fn ask(&self) -> Result<Foreseen, Unforeseen> {
        let Compared {
            spec,
            revision,
            plan,
            deployed,
        } = self.compared;
        let deployed: BTreeMap<&ResourceName, &ResourceRecord> =
            deployed.iter().map(|r| (&r.name, r)).collect();
        let wanted = |name: &ResourceName| self.part.is_none_or(|part| part.contains(name));
        let mut outputs = Outputs::default();
        let outputs_before = deployed.values().flat_map(|r| &r.outputs);
        let mut secrets = Arc::new(Secrets::of(outputs_before));
        let (mut resources, mut violations) = (Vec::new(), Vec::new());
        let mut digested = Vec::new();
        let mut basis = Basis::new();
        for planned in &plan.resources {
            let current = deployed.get(&planned.name).copied();
            if !wanted(&planned.name) {
                // It stays as it is, and so do its outputs.
                outputs.stay(planned, current);
                continue;
            }
            let taking = self.taking.iter().find(|a| a.resource == planned.name);
            let config = match self.config(planned, &outputs) {
                Ok(config) => config,
                Err(Unforeseen::Refused(found)) => {
                    violations.extend(found);
                    outputs.unknown(planned, current);
                    continue;
                }
                Err(why) => return Err(why),
            };
            match self.one(planned, &config.resolved, current, &secrets).await {
                Ok(proposed) => {
                    let target =
                        ResourceRecord::planned(planned, plan, config.resolved.config.clone());
                    let verdict = verdict(&proposed, &config, current, &target);
                    outputs.remember(planned, current, verdict.action, &proposed.outputs);
                    outputs.tell(planned, Arc::make_mut(&mut secrets));
                    let mut view = self.view(
                        planned,
                        &config.resolved,
                        &outputs,
                        &secrets,
                        proposed,
                        verdict,
                    );
                    if let Some(adoption) = taking {
                        let from = adoption.origin();
                        view.reason = format!("taken over from {from}; {}", view.reason);
                        basis.insert(
                            format!("taking {} over from {from}", planned.name),
                            String::new(),
                        );
                        view.adopts = Some(from);
                    }
                    digested.push(Digest::of(&encode(&(
                        &view.name,
                        masked(&config.resolved),
                        (view.action, &view.changes, &view.outputs),
                    ))));
                    resources.push(view);
                }
                Err(Unasked::Stale) => return Err(Unforeseen::Stale),
                Err(Unasked::Engine(
                    EngineError::Unavailable {
                        message,
                        retry_after: Some(wait),
                    }
                    | EngineError::Transient {
                        message,
                        retry_after: Some(wait),
                    },
                )) => {
                    let retry_after = wait.as_secs().max(1);
                    return Err(Unforeseen::NotNow {
                        message,
                        retry_after,
                    });
                }
                Err(Unasked::Engine(EngineError::Transient { message, .. })) => {
                    return Err(Unforeseen::NotNow {
                        message,
                        retry_after: 1,
                    });
                }
                Err(Unasked::Engine(error)) => {
                    violations.extend(refusals(spec, planned, &error));
                    outputs.unknown(planned, current);
                }
            }
            self.planned_basis(planned, &mut basis);
            let needed = planned.depends_on.iter();
            let needed = needed.filter_map(|i| deployed.get(&plan.resources[*i as usize].name));
            for record in needed.copied().chain(current) {
                recorded_basis(record, &mut basis);
            }
        }
        if !violations.is_empty() {
            return Err(Unforeseen::Refused(violations));
        }
        let kept: BTreeSet<&ResourceName> = plan.resources.iter().map(|r| &r.name).collect();
        let gone = deployed
            .values()
            .filter(|r| !kept.contains(&r.name) && wanted(&r.name));
        for gone in gone {
            self.engine_basis(&gone.engine, &mut basis);
            recorded_basis(gone, &mut basis);
            resources.push(deletion(
                gone,
                "the resource is no longer in the deployment",
            ));
        }
        let mut warnings = plan.warnings.clone();
        warnings.extend(self.taking.iter().map(Adoption::warning));
        Ok(finish(
            spec.id.to_string(),
            revision,
            resources,
            warnings,
            digested,
            basis,
        ))
    }

    /// A worker whose leases ran out must begin nothing: others may have.
    fn may_ask(&self) -> bool {
        let context = self.context;
        self.worker
            .is_none_or(|number| context.worker.alive_as(number, context.now()))
    }

    fn planned_basis(&self, planned: &PlannedResource, basis: &mut Basis) {
        let definition = format!("definition {}", planned.catalog_ref);
        basis.insert(definition, planned.definition_digest.to_string());
        self.engine_basis(&planned.engine, basis);
    }

    fn engine_basis(&self, engine: &EngineId, basis: &mut Basis) {
        engine_basis(self.context, engine, basis);
    }

    /// A resource's config with what is known in it.
    fn config(&self, planned: &PlannedResource, outputs: &Outputs) -> Result<Config, Unforeseen> {
        let Compared {
            spec,
            revision,
            plan,
            ..
        } = self.compared;
        let base = config_pointer(spec, planned);
        let config = outputs.resolve(spec, revision, planned).map_err(|found| {
            let violations = found.into_iter().map(|unresolved| {
                let message = format!("${{{}}}: {}", unresolved.reference, unresolved.problem);
                let pointer = format!("{base}{}", unresolved.pointer);
                Violation::new(ViolationCode::ReferenceType, pointer, message)
            });
            Unforeseen::Refused(violations.collect())
        })?;
        let refused = refused_by_schema(plan, planned, &config.resolved)
            .map_err(Unforeseen::Internal)?
            .into_iter()
            .map(|refusal| {
                let code = if refusal.reference_type {
                    ViolationCode::ReferenceType
                } else {
                    ViolationCode::ConfigSchema
                };
                let message = format!(
                    "with the outputs that are known put in: {}",
                    refusal.message
                );
                Violation::new(code, format!("{base}{}", refusal.pointer), message)
            });
        let refused: Vec<Violation> = refused.collect();
        if refused.is_empty() {
            Ok(config)
        } else {
            Err(Unforeseen::Refused(refused))
        }
    }

    /// What the engine would do to one resource.
    pub(crate) async fn one(
        &self,
        planned: &PlannedResource,
        resolved: &Resolved,
        current: Option<&ResourceRecord>,
        secrets: &Arc<Secrets>,
    ) -> Result<ProposedChanges, Unasked> {
        let Compared {
            spec,
            revision,
            plan,
            ..
        } = self.compared;
        let wanted = ResourceRecord::planned(planned, plan, resolved.config.clone());
        if let Some(current) = current
            && resolved.unknown.is_empty()
            && current.open.is_none()
            && !current.drifted
            && current.applied == Some(wanted.target())
        {
            let summary = "already as wanted".into();
            return Ok(ProposedChanges {
                action: Action::Noop,
                changes: Vec::new(),
                outputs: Vec::new(),
                summary,
            });
        }
        let _slot = self.turn(planned).await?;
        // An engine never sees what another one has.
        let theirs = current.filter(|r| r.engine == planned.engine);
        let id: &DeploymentId = &spec.id;
        let call = EngineCall {
            engine: planned.engine.clone(),
            digest: None,
            function: Function::Plan,
            context: CallContext {
                operation_id: format!("{id}/plan/{revision}/{}", planned.name),
                purpose: Purpose::Inspect,
                deployment: id.clone(),
                revision,
                environment: spec.environment.clone(),
                composer: spec.composer.clone(),
                attempt: 1,
                traceparent: self.traceparent.map(str::to_owned),
            },
            request: ResourceRequest {
                name: planned.name.clone(),
                catalog_ref: planned.catalog_ref.clone(),
                definition: Arc::clone(&planned.section),
                config: resolved.config.clone(),
                declared_outputs: Arc::new(declared_outputs(&planned.declared_outputs)),
                prior: theirs.and_then(ResourceRecord::prior),
            },
            definition_folder: planned.definition_folder.clone(),
            home: self.homes.of(id, &planned.name, theirs),
            standing: match self.worker {
                Some(_) => Standing::Work,
                None => Standing::Preview,
            },
            observer: Arc::new(NoObserver),
        };
        // Waiting may have taken longer than the lease holds.
        if !self.may_ask() {
            return Err(Unasked::Stale);
        }
        match ask(self.context, call, Arc::clone(secrets)).await {
            Ok(Reply::Proposed(proposed)) => {
                check_answer(planned, proposed.action, &proposed.outputs)?;
                Ok(proposed)
            }
            Ok(_) => Err(Unasked::Engine(EngineError::Trapped(
                "plan was answered with something else".into(),
            ))),
            // Without a dry run it is still known whether the resource is there.
            Err(EngineError::Unsupported(_)) => Ok(ProposedChanges {
                action: if current.is_some() {
                    Action::Update
                } else {
                    Action::Create
                },
                changes: Vec::new(),
                outputs: Vec::new(),
                summary: "the engine has no dry run".into(),
            }),
            Err(error) => Err(Unasked::Engine(error)),
        }
    }

    /// Plans take turns with all other work, or one composer's previews would
    /// be in the way of everybody's runs.
    async fn turn(&self, planned: &PlannedResource) -> Result<Slot, EngineError> {
        let spec = self.compared.spec;
        let ticket = Ticket {
            composer: spec.composer.clone(),
            environment: spec.environment.clone(),
            engine: Some(planned.engine.clone()),
            priority: spec.priority,
            class: Class::Work,
        };
        let slot = self.context.slots.acquire(&ticket);
        if self.worker.is_some() {
            return Ok(slot.await);
        }
        let until = self.context.now().plus_millis(PREVIEW_TURN_WAIT_MS);
        tokio::select! {
            biased;
            slot = slot => Ok(slot),
            () = self.context.surroundings.sleep_until(until) => Err(EngineError::Unavailable {
                message: format!(
                    "everything that may run at once has been running for {} s, so the plan had no turn",
                    PREVIEW_TURN_WAIT_MS / 1000
                ),
                retry_after: Some(PREVIEW_RETRY),
            }),
        }
    }

    /// What is shown of it.
    fn view(
        &self,
        planned: &PlannedResource,
        resolved: &Resolved,
        outputs: &Outputs,
        secrets: &Secrets,
        proposed: ProposedChanges,
        verdict: Verdict,
    ) -> PlannedChangeView {
        let changes = proposed.changes.into_iter();
        let changes = changes.map(|change| mask::masked(change, &resolved.sensitive, secrets));
        let outputs = planned.declared_outputs.iter().map(|(name, declared)| {
            let value = match outputs.shown(&planned.name, name) {
                Some((_, true)) => Value::from(MASK),
                Some((known, false)) => known.clone(),
                None => json!({ UNKNOWN_KEY: declared.json_type.as_str() }),
            };
            (name.to_string(), value)
        });
        let names = |i: &u32| self.compared.plan.resources[*i as usize].name.to_string();
        PlannedChangeView {
            name: planned.name.to_string(),
            engine: planned.engine.to_string(),
            catalog_ref: planned.catalog_ref.clone(),
            action: verdict.action,
            reason: secrets.hide(&verdict.reason).into_owned(),
            depends_on: planned.depends_on.iter().map(names).collect(),
            outputs: outputs.collect(),
            changes: changes.collect(),
            adopts: None,
        }
    }
}

/// What destroying all of a deployment would change. No engine is asked.
pub(crate) fn destruction(
    context: &Context,
    id: &DeploymentId,
    revision: u64,
    order: &[ResourceName],
    deployed: &[ResourceRecord],
) -> Foreseen {
    let mut basis = Basis::new();
    let records: BTreeMap<&ResourceName, &ResourceRecord> =
        deployed.iter().map(|r| (&r.name, r)).collect();
    let mut resources = Vec::new();
    for record in order.iter().filter_map(|name| records.get(name)) {
        engine_basis(context, &record.engine, &mut basis);
        recorded_basis(record, &mut basis);
        resources.push(deletion(record, "the deployment is deleted"));
    }
    finish(
        id.to_string(),
        revision,
        resources,
        Vec::new(),
        Vec::new(),
        basis,
    )
}

/// What is different between what two plans were made from, for people.
pub(crate) fn moved(before: &Basis, now: &Basis) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| match (before.get(name), now.get(name)) {
            (Some(was), Some(is)) if was == is => None,
            (Some(_), Some(_)) => Some(format!("{name} is another one now")),
            (None, _) => Some(format!("{name} is new")),
            (Some(_), None) => Some(format!("{name} is gone")),
        })
        .collect()
}

const ENGINE: &str = "engine ";

/// The engines that a plan was made with.
pub(crate) fn engines(basis: &Basis) -> BTreeMap<EngineId, Digest> {
    let of = |(what, which): (&String, &String)| {
        let name = what.strip_prefix(ENGINE)?;
        Some((name.parse().ok()?, which.parse().ok()?))
    };
    basis.iter().filter_map(of).collect()
}

fn engine_basis(context: &Context, engine: &EngineId, basis: &mut Basis) {
    let which = match context.engines.head(engine) {
        Ok(head) => head.digest.to_string(),
        Err(_) => "none".to_owned(),
    };
    basis.insert(format!("{ENGINE}{engine}"), which);
}

/// Which operation changed it last says all of a resource: its config, outputs
/// and state change in no other way.
fn recorded_basis(record: &ResourceRecord, basis: &mut Basis) {
    let open = record.open.as_ref().map(|open| &open.id);
    let which = format!("{:?} {open:?}", record.settled_by);
    basis.insert(format!("resource {}", record.name), which);
}

fn finish(
    id: String,
    revision: u64,
    resources: Vec<PlannedChangeView>,
    warnings: Vec<String>,
    digested: Vec<Digest>,
    basis: Basis,
) -> Foreseen {
    let mut summary = BTreeMap::new();
    for resource in &resources {
        *summary.entry(resource.action.as_str().into()).or_insert(0) += 1;
    }
    let order: Vec<(&str, &str)> = resources
        .iter()
        .map(|r| (r.name.as_str(), r.action.as_str()))
        .collect();
    // Not the number of the revision: another that was refused meanwhile
    // changes nothing of what would happen.
    let digest = Digest::of(&encode(&(&id, &order, &digested, &basis)));
    let view = PlanView {
        id,
        revision,
        digest: digest.to_string(),
        resources,
        warnings,
        summary,
        impact: None,
    };
    Foreseen {
        view,
        digest,
        basis,
    }
}

fn deletion(gone: &ResourceRecord, reason: &str) -> PlannedChangeView {
    PlannedChangeView {
        name: gone.name.to_string(),
        engine: gone.engine.to_string(),
        catalog_ref: gone.catalog_ref.clone(),
        action: PlannedAction::Delete,
        reason: reason.into(),
        depends_on: Vec::new(),
        changes: Vec::new(),
        outputs: BTreeMap::new(),
        adopts: None,
    }
}

/// A config without what must not be known of it, not even by guessing what
/// its digest was made of.
fn masked(resolved: &Resolved) -> Value {
    let mut config = resolved.config.clone();
    for pointer in &resolved.sensitive {
        if let Some(value) = config.pointer_mut(pointer) {
            *value = Value::from(MASK);
        }
    }
    config
}

/// Where a resource's config is in the request.
fn config_pointer(spec: &DeploymentSpec, planned: &PlannedResource) -> String {
    let place = spec.resources.iter().position(|r| r.name == planned.name);
    format!("/resources/{}/config", place.unwrap_or_default())
}
