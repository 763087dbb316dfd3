//! What is known of outputs while planning, and what that makes of a config.

use std::collections::HashMap;

use serde_json::Value;

use nestor_core::definition::{JsonType, OutputDeclaration};
use nestor_core::engine::{Action, EngineError, Output, PlannedOutput};
use nestor_core::ids::{OutputName, ResourceName};
use nestor_core::planner::{
    ExecutionPlan, Lookup, PlannedResource, Resolved, Unresolved, placeholder, placeholders,
    promised, resolve_config,
};
use nestor_core::schema::{ConfigSchema, Refusal, Wildcard};
use nestor_core::spec::{DeploymentSpec, Reference};

use crate::job::json_type_of;
use crate::lookup::of_deployment;
use crate::mask::Secrets;
use crate::records::ResourceRecord;
use crate::view::PlannedAction;

/// What is known of an output.
#[derive(Debug, Clone)]
enum Known {
    Value {
        value: Value,
        sensitive: bool,
    },
    Unknown {
        json_type: JsonType,
        sensitive: bool,
    },
}

/// What is known of the outputs of the resources that were planned so far.
#[derive(Debug, Default)]
pub(super) struct Outputs(HashMap<(ResourceName, OutputName), Known>);

/// A config with what is known in it.
pub(super) struct Config {
    pub(super) resolved: Resolved,
    /// The outputs that it waits for, `resource.output`, in the order in which
    /// they stand in it.
    pub(super) waits_for: Vec<String>,
}

impl Outputs {
    /// Puts what is known into a resource's config.
    pub(super) fn resolve(
        &self,
        spec: &DeploymentSpec,
        revision: u64,
        planned: &PlannedResource,
    ) -> Result<Config, Vec<Unresolved>> {
        let mut waits_for: Vec<String> = Vec::new();
        let mut lookup = |reference: &Reference| {
            let (resource, output) = match of_deployment(spec, revision, reference) {
                Ok(known) => return known,
                Err(output) => output,
            };
            let known = self.0.get(&(resource.clone(), output.clone()));
            let whole = match known {
                Some(Known::Value { value, .. }) => placeholder(value).is_none(),
                Some(Known::Unknown { .. }) | None => false,
            };
            let name = format!("{resource}.{output}");
            if !whole && !waits_for.contains(&name) {
                waits_for.push(name);
            }
            match known {
                Some(Known::Value { value, sensitive }) => Lookup::Value {
                    value: value.clone(),
                    sensitive: *sensitive,
                },
                Some(Known::Unknown {
                    json_type,
                    sensitive,
                }) => Lookup::Unknown {
                    json_type: *json_type,
                    sensitive: *sensitive,
                },
                None => Lookup::Missing(format!("resource {resource} declares no {output}")),
            }
        };
        let resolved = resolve_config(&planned.config, &mut lookup)?;
        Ok(Config {
            resolved,
            waits_for,
        })
    }

    /// Of a resource that stays as it is, or whose engine changes nothing.
    pub(super) fn stay(&mut self, planned: &PlannedResource, current: Option<&ResourceRecord>) {
        self.remember(planned, current, PlannedAction::Noop, &[]);
    }

    /// Of a resource that nothing is known of.
    pub(super) fn unknown(&mut self, planned: &PlannedResource, current: Option<&ResourceRecord>) {
        self.remember(planned, current, PlannedAction::Possible, &[]);
    }

    /// Of a resource to which this would happen, with what its engine told.
    pub(super) fn remember(
        &mut self,
        planned: &PlannedResource,
        current: Option<&ResourceRecord>,
        action: PlannedAction,
        told: &[PlannedOutput],
    ) {
        for (name, declared) in &planned.declared_outputs {
            let recorded = current.and_then(|r| r.outputs.iter().find(|o| &o.name == name));
            let told = told.iter().find(|o| &o.name == name);
            let known = known(declared, action, recorded, told);
            self.0.insert((planned.name.clone(), name.clone()), known);
        }
    }

    /// What is shown of a resource's output: its value, and whether it is
    /// sensitive; none while it is not known.
    pub(super) fn shown(
        &self,
        resource: &ResourceName,
        output: &OutputName,
    ) -> Option<(&Value, bool)> {
        match self.0.get(&(resource.clone(), output.clone()))? {
            Known::Value { value, sensitive } => Some((value, *sensitive)),
            Known::Unknown { .. } => None,
        }
    }

    /// Adds what is sensitive of all that is known of a resource.
    pub(super) fn tell(&self, planned: &PlannedResource, secrets: &mut Secrets) {
        for name in planned.declared_outputs.keys() {
            if let Some((value, true)) = self.shown(&planned.name, name) {
                secrets.add(value);
            }
        }
    }
}

/// An output is as sensitive as anybody says who knows it: the definition, the
/// engine now, or the engine when it was last applied.
fn known(
    declared: &OutputDeclaration,
    action: PlannedAction,
    recorded: Option<&Output>,
    told: Option<&PlannedOutput>,
) -> Known {
    let sensitive = declared.sensitive
        || told.is_some_and(|told| told.sensitive)
        || recorded.is_some_and(|recorded| recorded.sensitive);
    let value = match (told, recorded) {
        (Some(told), _) => told.known.clone(),
        (None, Some(recorded)) if action == PlannedAction::Noop => Some(recorded.value.clone()),
        (None, _) => None,
    };
    match value.filter(|value| placeholder(value).as_deref() != Some("")) {
        Some(value) => Known::Value { value, sensitive },
        None => Known::Unknown {
            json_type: declared.json_type,
            sensitive,
        },
    }
}

/// What an engine must not propose: outputs of other types than the definition
/// promises, or to take away what is wanted.
pub(super) fn check_answer(
    planned: &PlannedResource,
    action: Action,
    told: &[PlannedOutput],
) -> Result<(), EngineError> {
    if action == Action::Delete {
        return Err(EngineError::Failed(
            "it proposes to delete a resource that is wanted".into(),
        ));
    }
    for told in told {
        let Some(declared) = planned.declared_outputs.get(&told.name) else {
            continue;
        };
        let wants = declared.json_type;
        let promises = match &told.known {
            Some(value) if placeholder(value).as_deref() == Some("") => promised(value),
            Some(value) if !wants.accepts(value) => {
                return Err(other_type(planned, told, wants, json_type_of(value)));
            }
            Some(_) => None,
            None => serde_json::from_value(told.json_type.clone().into()).ok(),
        };
        if let Some(promises) = promises.filter(|promises| !may_be(*promises, wants)) {
            let what = format!("one that is {}", promises.as_str());
            return Err(other_type(planned, told, wants, &what));
        }
    }
    Ok(())
}

fn other_type(
    planned: &PlannedResource,
    told: &PlannedOutput,
    wants: JsonType,
    what: &str,
) -> EngineError {
    EngineError::Failed(format!(
        "output {:?} is declared as {} by {}, and the engine foresees {what}",
        told.name,
        wants.as_str(),
        planned.catalog_ref
    ))
}

/// Whether a value of the one type can turn out to be one of the other.
fn may_be(promised: JsonType, wanted: JsonType) -> bool {
    let number = |t| matches!(t, JsonType::Number | JsonType::Integer);
    promised == wanted || number(promised) && number(wanted)
}

/// What a config's schema refuses in it, as far as it is known. Before any
/// output was known only their types could be looked at.
pub(super) fn refused_by_schema(
    plan: &ExecutionPlan,
    planned: &PlannedResource,
    resolved: &Resolved,
) -> Result<Vec<Refusal>, String> {
    let Some(schema) = plan.schemas.get(&planned.definition_digest) else {
        return Ok(Vec::new());
    };
    let schema = ConfigSchema::compile(&std::sync::Arc::new(schema.clone()))?;
    let wildcards: Vec<Wildcard> = placeholders(&resolved.config)
        .into_iter()
        .map(|pointer| Wildcard {
            json_type: resolved.config.pointer(&pointer).and_then(promised),
            pointer,
        })
        .collect();
    Ok(schema.check_resolved(&resolved.config, &wildcards, &resolved.sensitive))
}
