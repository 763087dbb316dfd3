//! What posting a deployment would change, as the engines see it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use nestor_core::definition::{JsonType, declared_outputs};
use nestor_core::engine::{
    Action, CallContext, Change, EngineError, ProposedChanges, Purpose, ResourceRequest,
};
use nestor_core::ids::{DeploymentId, OutputName, ResourceName};
use nestor_core::planner::{
    ExecutionPlan, Lookup, PlannedResource, Resolved, UNKNOWN_KEY, resolve_config,
};
use nestor_core::ports::{EngineCall, Function, NoObserver, Reply};
use nestor_core::spec::{DeploymentSpec, Reference};
use nestor_core::violation::{Violation, ViolationCode};

use crate::context::Context;
use crate::lookup::of_deployment;
use crate::present::MASK;
use crate::records::{DeploymentRecord, ResourceRecord, key};
use crate::service::{Rejection, RequestMeta};
use crate::submit::{Checked, check, internal};
use crate::view::{PlanView, PlannedChangeView};

/// What is known of an output while planning.
#[derive(Clone)]
enum Foreseen {
    Known {
        value: Value,
        sensitive: bool,
    },
    Unknown {
        json_type: JsonType,
        sensitive: bool,
    },
}

/// Plans a deployment without doing anything.
pub(crate) async fn preview(
    context: &Arc<Context>,
    body: &[u8],
    meta: &RequestMeta,
) -> Result<PlanView, Rejection> {
    let Checked { spec, plan } = check(context, body).await?;
    let existing = context
        .read::<DeploymentRecord>(&key::deployment(&spec.id))
        .await
        .map_err(internal)?;
    let revision = existing.map_or(0, |r| r.revision) + 1;
    let deployed = context
        .read_all::<ResourceRecord>(&key::resources(&spec.id))
        .await
        .map_err(internal)?;
    let deployed: BTreeMap<ResourceName, ResourceRecord> = deployed
        .into_iter()
        .map(|(_, r)| (r.name.clone(), r))
        .collect();

    let mut foreseen: HashMap<(ResourceName, OutputName), Foreseen> = HashMap::new();
    let mut resources = Vec::new();
    let mut violations = Vec::new();
    for planned in &plan.resources {
        let resolved = resolve(&spec, revision, planned, &foreseen).map_err(internal)?;
        let current = deployed.get(&planned.name);
        let asked = Asked {
            context,
            spec: &spec,
            revision,
            plan: &plan,
            meta,
        };
        match asked.one(planned, &resolved, current).await {
            Ok(proposed) => {
                remember(&mut foreseen, planned, current, &proposed);
                resources.push(view(&plan, planned, &resolved, current, proposed));
            }
            // Still being compiled: the same request will do in a moment.
            Err(EngineError::Unavailable {
                message,
                retry_after: Some(wait),
            }) => {
                let retry_after = wait.as_secs().max(1);
                return Err(Rejection::Busy {
                    message,
                    retry_after,
                });
            }
            Err(error) => violations.extend(refusals(&spec, planned, &error)),
        }
    }
    if !violations.is_empty() {
        return Err(Rejection::Invalid(violations));
    }
    let kept: BTreeSet<&ResourceName> = plan.resources.iter().map(|r| &r.name).collect();
    for gone in deployed.values().filter(|r| !kept.contains(&r.name)) {
        resources.push(PlannedChangeView {
            name: gone.name.to_string(),
            engine: gone.engine.to_string(),
            catalog_ref: gone.catalog_ref.clone(),
            action: "delete".into(),
            reason: "the resource is no longer in the deployment".into(),
            depends_on: Vec::new(),
            changes: Vec::new(),
            outputs: BTreeMap::new(),
        });
    }
    let mut summary = BTreeMap::new();
    for resource in &resources {
        *summary.entry(resource.action.clone()).or_insert(0) += 1;
    }
    Ok(PlanView {
        id: spec.id.to_string(),
        revision,
        resources,
        warnings: plan.warnings,
        summary,
    })
}

fn resolve(
    spec: &DeploymentSpec,
    revision: u64,
    planned: &PlannedResource,
    foreseen: &HashMap<(ResourceName, OutputName), Foreseen>,
) -> Result<Resolved, String> {
    let mut lookup = |reference: &Reference| match of_deployment(spec, revision, reference) {
        Ok(known) => known,
        Err((resource, output)) => match foreseen.get(&(resource.clone(), output.clone())) {
            Some(Foreseen::Known { value, sensitive }) => Lookup::Value {
                value: value.clone(),
                sensitive: *sensitive,
            },
            Some(Foreseen::Unknown {
                json_type,
                sensitive,
            }) => Lookup::Unknown {
                json_type: *json_type,
                sensitive: *sensitive,
            },
            // Its resource was refused; so will this plan be.
            None => Lookup::Unknown {
                json_type: JsonType::String,
                sensitive: false,
            },
        },
    };
    resolve_config(&planned.config, &mut lookup).map_err(|unresolved| {
        unresolved
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    })
}

struct Asked<'a> {
    context: &'a Context,
    spec: &'a DeploymentSpec,
    revision: u64,
    plan: &'a ExecutionPlan,
    meta: &'a RequestMeta,
}

impl Asked<'_> {
    async fn one(
        &self,
        planned: &PlannedResource,
        resolved: &Resolved,
        current: Option<&ResourceRecord>,
    ) -> Result<ProposedChanges, EngineError> {
        let wanted = ResourceRecord::planned(planned, self.plan, resolved.config.clone());
        if let Some(current) = current
            && resolved.unknown.is_empty()
            && current.open.is_none()
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
        let id: &DeploymentId = &self.spec.id;
        let call = EngineCall {
            engine: planned.engine.clone(),
            digest: None,
            function: Function::Plan,
            context: CallContext {
                operation_id: format!("{id}/plan/{}/{}", self.revision, planned.name),
                purpose: Purpose::Inspect,
                deployment: id.clone(),
                revision: self.revision,
                environment: self.spec.environment.clone(),
                composer: self.spec.composer.clone(),
                attempt: 1,
                traceparent: self.meta.traceparent.clone(),
            },
            request: ResourceRequest {
                name: planned.name.clone(),
                catalog_ref: planned.catalog_ref.clone(),
                definition: Arc::clone(&planned.section),
                config: resolved.config.clone(),
                declared_outputs: Arc::new(declared_outputs(&planned.declared_outputs)),
                prior: current.and_then(ResourceRecord::prior),
            },
            definition_folder: planned.definition_folder.clone(),
            observer: Arc::new(NoObserver),
        };
        match self.context.engines.call(call).await {
            Ok(Reply::Proposed(proposed)) => Ok(proposed),
            Ok(_) => Err(EngineError::Trapped(
                "plan was answered with something else".into(),
            )),
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
            Err(error) => Err(error),
        }
    }
}

/// What later resources may know of this one's outputs.
fn remember(
    foreseen: &mut HashMap<(ResourceName, OutputName), Foreseen>,
    planned: &PlannedResource,
    current: Option<&ResourceRecord>,
    proposed: &ProposedChanges,
) {
    for (name, declared) in &planned.declared_outputs {
        let recorded = current.and_then(|r| r.outputs.iter().find(|o| &o.name == name));
        let told = proposed.outputs.iter().find(|o| &o.name == name);
        let known = match (proposed.action, recorded, told) {
            (_, _, Some(told)) => told.known.clone().map(|value| (value, told.sensitive)),
            (Action::Noop, Some(recorded), None) => {
                Some((recorded.value.clone(), recorded.sensitive))
            }
            (
                Action::Noop | Action::Create | Action::Update | Action::Replace | Action::Delete,
                _,
                None,
            ) => None,
        };
        let entry = match known {
            Some((value, sensitive)) => Foreseen::Known {
                value,
                sensitive: sensitive || declared.sensitive,
            },
            None => Foreseen::Unknown {
                json_type: declared.json_type,
                sensitive: declared.sensitive,
            },
        };
        foreseen.insert((planned.name.clone(), name.clone()), entry);
    }
}

fn view(
    plan: &ExecutionPlan,
    planned: &PlannedResource,
    resolved: &Resolved,
    current: Option<&ResourceRecord>,
    proposed: ProposedChanges,
) -> PlannedChangeView {
    // An update that hangs on a value nobody knows yet may turn out to be none.
    let hangs = !resolved.unknown.is_empty() && current.is_some_and(|c| c.applied.is_some());
    let (action, reason) = match proposed.action {
        Action::Noop | Action::Update | Action::Replace if hangs => (
            "possible",
            format!(
                "depends on outputs that are known only after apply ({})",
                resolved.unknown.join(", ")
            ),
        ),
        Action::Noop => ("noop", proposed.summary.clone()),
        Action::Create => ("create", proposed.summary.clone()),
        Action::Update => ("update", proposed.summary.clone()),
        Action::Replace => ("replace", proposed.summary.clone()),
        Action::Delete => ("delete", proposed.summary.clone()),
    };
    let masked = |pointer: &str| {
        resolved
            .sensitive
            .iter()
            .any(|s| pointer.starts_with(s.as_str()))
    };
    let changes = proposed.changes.into_iter().map(|change| {
        let sensitive = change.sensitive || masked(&change.path);
        let shown = |value: Option<Value>| {
            if sensitive {
                value.map(|_| Value::from(MASK))
            } else {
                value
            }
        };
        Change {
            before: shown(change.before),
            after: shown(change.after),
            path: change.path,
            sensitive,
        }
    });
    let outputs = planned.declared_outputs.iter().map(|(name, declared)| {
        let recorded = current.and_then(|r| r.outputs.iter().find(|o| &o.name == name));
        let told = proposed.outputs.iter().find(|o| &o.name == name);
        let value = match (told.map(|t| &t.known), recorded) {
            (Some(Some(_)), _) if declared.sensitive => Value::from(MASK),
            (Some(Some(known)), _) => known.clone(),
            (None, Some(_)) if action == "noop" && declared.sensitive => Value::from(MASK),
            (None, Some(recorded)) if action == "noop" => recorded.value.clone(),
            (Some(None), _) | (None, _) => json!({ UNKNOWN_KEY: declared.json_type.as_str() }),
        };
        (name.to_string(), value)
    });
    PlannedChangeView {
        name: planned.name.to_string(),
        engine: planned.engine.to_string(),
        catalog_ref: planned.catalog_ref.clone(),
        action: action.into(),
        reason,
        depends_on: planned
            .depends_on
            .iter()
            .map(|i| plan.resources[*i as usize].name.to_string())
            .collect(),
        outputs: outputs.collect(),
        changes: changes.collect(),
    }
}

/// An engine's refusal as violations of the request.
fn refusals(
    spec: &DeploymentSpec,
    planned: &PlannedResource,
    error: &EngineError,
) -> Vec<Violation> {
    let place = spec
        .resources
        .iter()
        .position(|r| r.name == planned.name)
        .unwrap_or_default();
    let base = format!("/resources/{place}/config");
    match error {
        EngineError::Invalid(found) => found
            .iter()
            .map(|v| {
                Violation::new(
                    ViolationCode::EngineRefused,
                    format!("{base}{}", v.path),
                    format!(
                        "engine {} refuses resource {}: {}",
                        planned.engine, planned.name, v.message
                    ),
                )
            })
            .collect(),
        EngineError::Denied(_)
        | EngineError::Conflict(_)
        | EngineError::Missing(_)
        | EngineError::Transient { .. }
        | EngineError::Failed(_)
        | EngineError::Unsupported(_)
        | EngineError::Trapped(_)
        | EngineError::LimitExceeded { .. }
        | EngineError::Unavailable { .. } => vec![Violation::new(
            ViolationCode::EngineRefused,
            base,
            format!(
                "engine {} cannot plan resource {}: {error}",
                planned.engine, planned.name
            ),
        )],
    }
}
