//! What references stand for.

use nestor_core::ids::{OutputName, ResourceName};
use nestor_core::planner::{ExecutionPlan, Lookup};
use nestor_core::spec::{DeploymentSpec, Reference};

use crate::records::ResourceRecord;

/// What is known from the deployment itself; else the output that is meant.
pub(crate) fn of_deployment<'a>(
    spec: &DeploymentSpec,
    revision: u64,
    reference: &'a Reference,
) -> Result<Lookup, (&'a ResourceName, &'a OutputName)> {
    let plain = |value: &str| {
        Ok(Lookup::Value {
            value: value.into(),
            sensitive: false,
        })
    };
    match reference {
        Reference::Environment => plain(spec.environment.as_str()),
        Reference::DeploymentId => plain(spec.id.as_str()),
        Reference::Composer => plain(spec.composer.as_str()),
        Reference::Revision => Ok(Lookup::Value {
            value: revision.into(),
            sensitive: false,
        }),
        Reference::Output {
            resource, output, ..
        } => Err((resource, output)),
    }
}

/// Before anything runs: every output is unknown, and has its declared type.
pub(crate) fn outputs_unknown(
    spec: &DeploymentSpec,
    revision: u64,
    plan: &ExecutionPlan,
    reference: &Reference,
) -> Lookup {
    let (resource, output) = match of_deployment(spec, revision, reference) {
        Ok(known) => return known,
        Err(output) => output,
    };
    let declared = plan
        .resources
        .iter()
        .find(|r| &r.name == resource)
        .and_then(|r| r.declared_outputs.get(output));
    match declared {
        Some(declared) => Lookup::Unknown {
            json_type: declared.json_type,
            sensitive: declared.sensitive,
        },
        None => Lookup::Missing(format!("resource {resource} declares no {output}")),
    }
}

/// With what is recorded of other resources.
pub(crate) fn recorded<'a>(
    spec: &DeploymentSpec,
    revision: u64,
    reference: &Reference,
    record: impl FnOnce(&ResourceName) -> Option<&'a ResourceRecord>,
) -> Lookup {
    let (resource, output) = match of_deployment(spec, revision, reference) {
        Ok(known) => return known,
        Err(output) => output,
    };
    let outputs = record(resource).map_or(&[][..], |r| &r.outputs);
    match outputs.iter().find(|o| &o.name == output) {
        Some(found) => Lookup::Value {
            value: found.value.clone(),
            sensitive: found.sensitive,
        },
        None => Lookup::Missing(format!("resource {resource} has put out no {output}")),
    }
}
