//! Engines look at their resources before a run begins.

use std::sync::Arc;

use futures::StreamExt as _;

use nestor_core::definition::declared_outputs;
use nestor_core::engine::{CallContext, EngineError, Purpose, ResourceRequest};
use nestor_core::ids::DeploymentId;
use nestor_core::planner::{PlannedResource, resolve_config};
use nestor_core::ports::{EngineCall, Function, NoObserver, Standing};
use nestor_core::queue::{Class, Ticket};
use nestor_core::spec::Reference;

use crate::ask::ask;
use crate::context::Context;
use crate::gate::Intent;
use crate::lookup::outputs_unknown;
use crate::mask::Secrets;
use crate::ownership::Homes;
use crate::records::{ResourceRecord, RevisionRecord};

/// Validations at once: they take a fraction of a millisecond each.
const AT_ONCE: usize = 16;
/// How long to wait for engines that are still being compiled. The largest
/// takes half a minute on two cores.
const ENGINES_WAIT_MS: u64 = 600_000;
/// Refusals that one reason names; the rest are counted.
const SHOWN: usize = 5;

/// Asks every engine about its resources. The error names each resource that
/// was refused and why.
pub(crate) async fn all(
    context: &Arc<Context>,
    id: &DeploymentId,
    intent: &Intent,
    homes: &Homes,
) -> Result<(), String> {
    let (revision, deployed) = (intent.revision.as_ref(), &intent.resources);
    let part = intent.part.as_ref();
    let places: Vec<usize> = (0..revision.plan.resources.len())
        .filter(|i| part.is_none_or(|part| part.contains(&revision.plan.resources[*i].name)))
        .collect();
    let give_up = context.now().plus_millis(ENGINES_WAIT_MS);
    let refusals: Vec<String> = futures::stream::iter(places)
        .map(|place| async move {
            let resource = &revision.plan.resources[place];
            loop {
                match one(context, id, revision, resource, deployed, homes).await {
                    Ok(()) | Err(EngineError::Unsupported(_)) => return None,
                    Err(EngineError::Unavailable { retry_after: Some(wait), .. }) if context.now() < give_up => {
                        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                        context.surroundings.sleep_until(context.now().plus_millis(millis)).await;
                    }
                    // Worth a try when the run gets there: validation is a
                    // courtesy, and what it talks to may be back by then.
                    Err(EngineError::Transient { message, .. }) => {
                        tracing::warn!(resource = %resource.name, %message, "validation was skipped");
                        return None;
                    }
                    Err(error) => return Some(format!("{}: {error}", resource.name)),
                }
            }
        })
        .buffered(AT_ONCE)
        .filter_map(|refusal| async { refusal })
        .collect()
        .await;
    if refusals.is_empty() {
        return Ok(());
    }
    let mut reason = refusals
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("; ");
    if refusals.len() > SHOWN {
        reason.push_str(&format!(" (and {} more)", refusals.len() - SHOWN));
    }
    Err(reason)
}

async fn one(
    context: &Context,
    id: &DeploymentId,
    revision: &RevisionRecord,
    resource: &PlannedResource,
    deployed: &[ResourceRecord],
    homes: &Homes,
) -> Result<(), EngineError> {
    let current = deployed.iter().find(|d| d.name == resource.name);
    // The resource is validated as far as it is known: what other resources
    // will put out stands as an unknown of its type.
    let mut lookup = |reference: &Reference| {
        outputs_unknown(&revision.spec, revision.revision, &revision.plan, reference)
    };
    let Ok(resolved) = resolve_config(&resource.config, &mut lookup) else {
        return Ok(());
    };
    let request = ResourceRequest {
        name: resource.name.clone(),
        catalog_ref: resource.catalog_ref.clone(),
        definition: Arc::clone(&resource.section),
        config: resolved.config,
        declared_outputs: Arc::new(declared_outputs(&resource.declared_outputs)),
        prior: current.and_then(ResourceRecord::prior),
    };
    let call = EngineCall {
        engine: resource.engine.clone(),
        digest: None,
        function: Function::Validate,
        context: CallContext {
            operation_id: format!("{id}/validate/{}/{}", revision.revision, resource.name),
            purpose: Purpose::Inspect,
            deployment: id.clone(),
            revision: revision.revision,
            environment: revision.spec.environment.clone(),
            composer: revision.spec.composer.clone(),
            attempt: 1,
            traceparent: revision.traceparent.clone(),
        },
        request,
        definition_folder: resource.definition_folder.clone(),
        home: homes.of(id, &resource.name, current),
        standing: Standing::Work,
        observer: Arc::new(NoObserver),
    };
    let ticket = Ticket {
        composer: revision.spec.composer.clone(),
        environment: revision.spec.environment.clone(),
        engine: Some(resource.engine.clone()),
        priority: revision.spec.priority,
        class: Class::Work,
    };
    let _slot = context.slots.acquire(&ticket).await;
    // Outputs are unknown to it, but for what it has of its own.
    let secrets = Secrets::of(current.iter().flat_map(|c| &c.outputs));
    ask(context, call, Arc::new(secrets)).await.map(|_| ())
}
