//! From core to the guest.

use nestor_core::engine::{CallContext, Output, Purpose, ResourceRequest};

use crate::bindings::nestor::engine::types as wit;

pub(crate) fn context(context: &CallContext) -> wit::Context {
    wit::Context {
        operation_id: context.operation_id.clone(),
        purpose: match context.purpose {
            Purpose::Inspect => wit::Purpose::Inspect,
            Purpose::Apply => wit::Purpose::Apply,
            Purpose::Destroy => wit::Purpose::Destroy,
        },
        deployment: context.deployment.to_string(),
        revision: context.revision,
        environment: context.environment.to_string(),
        composer: context.composer.to_string(),
        attempt: context.attempt,
        traceparent: context.traceparent.clone(),
    }
}

/// `settings` is JSON text already.
pub(crate) fn request(request: &ResourceRequest, settings: &str) -> wit::Request {
    wit::Request {
        name: request.name.to_string(),
        catalog_ref: request.catalog_ref.clone(),
        definition: request.definition.to_string(),
        config: request.config.to_string(),
        declared_outputs: request.declared_outputs.to_string(),
        settings: settings.to_owned(),
        prior: request.prior.as_ref().map(|prior| wit::Prior {
            config: prior.config.to_string(),
            outputs: prior.outputs.iter().map(output).collect(),
            state: prior.state.to_string(),
        }),
    }
}

fn output(output: &Output) -> wit::Output {
    wit::Output {
        name: output.name.to_string(),
        value: output.value.to_string(),
        sensitive: output.sensitive,
    }
}
