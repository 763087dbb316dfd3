//! One call of an operation: what to ask of whom, and what came of it.

use std::sync::Arc;

use serde_json::Value;

use nestor_core::definition::declared_outputs;
use nestor_core::engine::{
    CallContext, EngineError, Home, Outcome, Output, Pending, Prior, Purpose, ResourceRequest,
};
use nestor_core::execution::mutation::{Mutation, active};
use nestor_core::execution::{Call, Direction, Failure};
use nestor_core::ids::{Digest, ResourceName};
use nestor_core::planner::placeholder;
use nestor_core::ports::{
    CallObserver, Delivered, DeliveryError, DeliveryRequest, EngineCall, Function, Reply, Standing,
    Withdrawal,
};
use nestor_core::queue::Ticket;
use nestor_core::spec::DeliveryMode;

use crate::ask::ask;
use crate::context::Context;
use crate::mask::Secrets;
use crate::records::ResourceRecord;

/// What an operation wants to reach, with all it needs.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// Bring the resource to this config.
    Apply(Box<ResourceRecord>),
    /// Take away what the record says is there.
    Destroy(Box<ResourceRecord>),
}

impl Target {
    pub(crate) fn record(&self) -> &ResourceRecord {
        match self {
            Self::Apply(record) | Self::Destroy(record) => record,
        }
    }

    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::Apply(_) => Purpose::Apply,
            Self::Destroy(_) => Purpose::Destroy,
        }
    }
}

/// One call.
pub(crate) struct Job {
    pub(crate) step: u32,
    /// Under whose lease: the number of the worker that took it.
    pub(crate) worker: u64,
    pub(crate) direction: Direction,
    pub(crate) call: Call,
    pub(crate) target: Target,
    pub(crate) prior: Option<Prior>,
    pub(crate) context: CallContext,
    /// For a turn.
    pub(crate) ticket: Ticket,
    /// The component that the operation began with.
    pub(crate) digest: Option<Digest>,
    /// What was handed to the engine and must not be told.
    pub(crate) secrets: Arc<Secrets>,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) enum Report {
    /// The operation is done.
    Settled(Settlement),
    /// It goes on outside.
    Pending(Pending),
    /// The call failed.
    Failed(EngineError),
    /// The call was not made: this worker goes down, or must not act any more.
    NotBegun,
}

/// What is known of a resource whose operation is done.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) outputs: Vec<Output>,
    pub(crate) state: Value,
    pub(crate) delivered: Option<Delivered>,
    pub(crate) notes: Option<String>,
}

impl Job {
    /// Does the call. Never panics for what an engine does.
    pub(crate) async fn run(&self, context: &Context, observer: Arc<dyn CallObserver>) -> Report {
        if let Some(report) = refuse_placeholder(&self.target) {
            return report;
        }
        let result = match (&self.target, self.target.record().delivery) {
            (Target::Apply(record), DeliveryMode::Gitops) => {
                self.deliver(context, record, observer).await
            }
            (Target::Destroy(record), DeliveryMode::Gitops) => self.withdraw(context, record).await,
            (Target::Apply(_) | Target::Destroy(_), DeliveryMode::Direct) => {
                let function = match (self.call, self.target.purpose()) {
                    (Call::Act, Purpose::Destroy) => Function::Destroy,
                    (Call::Act, Purpose::Apply | Purpose::Inspect) => Function::Apply,
                    (Call::Observe, _) => Function::Observe,
                };
                match self.engine(context, function, observer).await {
                    Ok(Reply::Outcome(Outcome::Ready(settled))) => {
                        Ok(Report::Settled(Settlement {
                            outputs: settled.outputs,
                            state: settled.state,
                            delivered: None,
                            notes: None,
                        }))
                    }
                    Ok(Reply::Outcome(Outcome::Pending(pending))) => Ok(Report::Pending(pending)),
                    Ok(other) => Err(mismatch(function, &other)),
                    // Gone already is what destroying is for. From `observe` it
                    // would mean that the destruction never took effect.
                    Err(EngineError::Missing(_))
                        if function == Function::Destroy
                            || active(Mutation::WorldMatchesStatus)
                                && self.target.purpose() == Purpose::Destroy =>
                    {
                        Ok(gone())
                    }
                    Err(error) => Err(error),
                }
            }
        };
        if matches!(result, Ok(Report::Settled(_))) && self.target.purpose() == Purpose::Destroy {
            self.leave(context).await;
        }
        let result = match result {
            Ok(Report::Settled(settlement)) if self.target.purpose() == Purpose::Apply => {
                self.check(settlement).map(Report::Settled)
            }
            result => result,
        };
        // Also what Git said.
        result.unwrap_or_else(|error| Report::Failed(self.secrets.hide_error(error)))
    }

    /// What is gone needs neither checkout nor map: a repeated call finds them
    /// empty, and destroying what is gone is a success. A worker whose leases ran
    /// out leaves them alone: somebody may have made the resource anew.
    async fn leave(&self, context: &Context) {
        if !context.worker.alive_as(self.worker, context.now()) {
            return;
        }
        let record = self.target.record();
        let own = || Home::of(&self.context.deployment, &record.name);
        let home = record.home.clone().unwrap_or_else(own);
        let environment = &self.context.environment;
        context
            .engines
            .forget(&record.engine, environment, &home)
            .await;
    }

    /// Outputs as declared, and notes without what is sensitive among them.
    fn check(&self, settlement: Settlement) -> Result<Settlement, EngineError> {
        let mut secrets = Secrets::clone(&self.secrets);
        secrets.extend(&settlement.outputs);
        let settlement = check_outputs(self.target.record(), settlement)?;
        secrets.extend(&settlement.outputs);
        let notes = settlement.notes.map(|n| secrets.hide(&n).into_owned());
        Ok(Settlement {
            notes,
            ..settlement
        })
    }

    async fn engine(
        &self,
        context: &Context,
        function: Function,
        observer: Arc<dyn CallObserver>,
    ) -> Result<Reply, EngineError> {
        let record = self.target.record();
        let request = ResourceRequest {
            name: record.name.clone(),
            catalog_ref: record.catalog_ref.clone(),
            definition: Arc::new(record.section.clone()),
            config: record.config.clone(),
            declared_outputs: Arc::new(declared_outputs(&record.declared_outputs)),
            prior: self.prior.clone(),
        };
        let call = EngineCall {
            engine: record.engine.clone(),
            digest: self.digest,
            function,
            context: self.context.clone(),
            request,
            definition_folder: record.definition_folder.clone(),
            home: record.home.clone(),
            standing: Standing::Work,
            observer,
        };
        ask(context, call, Arc::clone(&self.secrets)).await
    }

    /// Renders and commits. Repeating it after a crash finds the commit that is
    /// there already, so settling an open operation is doing it again.
    async fn deliver(
        &self,
        context: &Context,
        record: &ResourceRecord,
        observer: Arc<dyn CallObserver>,
    ) -> Result<Report, EngineError> {
        let rendered = match self.engine(context, Function::Render, observer).await? {
            Reply::Rendered(rendered) => rendered,
            other => return Err(mismatch(Function::Render, &other)),
        };
        let request = DeliveryRequest {
            deployment: self.context.deployment.clone(),
            revision: self.context.revision,
            environment: self.context.environment.clone(),
            resource: record.name.clone(),
            operation_id: self.context.operation_id.clone(),
            manifests: rendered.manifests,
        };
        let delivered = context
            .delivery
            .deliver(request)
            .await
            .map_err(|e| delivery_error(&record.name, e))?;
        Ok(Report::Settled(Settlement {
            outputs: rendered.outputs,
            state: rendered.state,
            delivered: Some(delivered),
            notes: rendered.notes,
        }))
    }

    async fn withdraw(
        &self,
        context: &Context,
        record: &ResourceRecord,
    ) -> Result<Report, EngineError> {
        let request = Withdrawal {
            deployment: self.context.deployment.clone(),
            revision: self.context.revision,
            environment: self.context.environment.clone(),
            resource: record.name.clone(),
            operation_id: self.context.operation_id.clone(),
        };
        context
            .delivery
            .withdraw(request)
            .await
            .map_err(|e| delivery_error(&record.name, e))?;
        Ok(gone())
    }
}

/// A value that nobody knew when the deployment was planned is known by now;
/// whatever went wrong, its placeholder is never applied.
fn refuse_placeholder(target: &Target) -> Option<Report> {
    let Target::Apply(record) = target else {
        return None;
    };
    let pointer = placeholder(&record.config)?;
    Some(Report::Failed(EngineError::Failed(format!(
        "the config of {} has no value at {pointer:?} yet; nothing was applied",
        record.name
    ))))
}

fn gone() -> Report {
    Report::Settled(Settlement {
        outputs: Vec::new(),
        state: Value::Null,
        delivered: None,
        notes: None,
    })
}

fn mismatch(function: Function, reply: &Reply) -> EngineError {
    let got = match reply {
        Reply::Validated(_) => "warnings",
        Reply::Proposed(_) => "proposed changes",
        Reply::Outcome(_) => "an outcome",
        Reply::Rendered(_) => "manifests",
    };
    EngineError::Trapped(format!("{} was answered with {got}", function.as_str()))
}

fn delivery_error(resource: &ResourceName, error: DeliveryError) -> EngineError {
    match error {
        DeliveryError::Transient(message) => EngineError::Transient {
            message,
            retry_after: None,
        },
        DeliveryError::Path { .. } | DeliveryError::Failed(_) => {
            EngineError::Failed(format!("delivering {resource} to Git: {error}"))
        }
    }
}

/// Holds what an engine returned against what the definition promises to
/// others. What is not declared is dropped: nobody could refer to it.
fn check_outputs(
    record: &ResourceRecord,
    settlement: Settlement,
) -> Result<Settlement, EngineError> {
    let mut outputs = Vec::with_capacity(record.declared_outputs.len());
    for (name, declared) in &record.declared_outputs {
        let Some(output) = settlement.outputs.iter().find(|o| &o.name == name) else {
            return Err(EngineError::Failed(format!(
                "engine {} returned no output {name:?}, which {} declares",
                record.engine, record.catalog_ref
            )));
        };
        if !declared.json_type.accepts(&output.value) {
            return Err(EngineError::Failed(format!(
                "output {name:?} is declared as {} by {}, but engine {} returned {}",
                declared.json_type.as_str(),
                record.catalog_ref,
                record.engine,
                json_type_of(&output.value),
            )));
        }
        let sensitive = output.sensitive || declared.sensitive;
        outputs.push(Output {
            name: name.clone(),
            value: output.value.clone(),
            sensitive,
        });
    }
    Ok(Settlement {
        outputs,
        ..settlement
    })
}

/// A value's type, for people.
pub(crate) fn json_type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// How the state machine sees a failed call.
pub(crate) fn failure_of(error: &EngineError, call: Call) -> Failure {
    let millis = |d: &std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    match (error, call) {
        (EngineError::Transient { retry_after, .. }, _) => Failure::Transient {
            retry_after_ms: retry_after.as_ref().map(millis),
        },
        // Somebody else changed it: looking again is the way to find out.
        (EngineError::Conflict(_), _) => Failure::Transient {
            retry_after_ms: None,
        },
        (
            EngineError::Unavailable {
                retry_after: Some(wait),
                ..
            },
            _,
        ) => Failure::NotNow {
            retry_after_ms: Some(millis(wait)),
        },
        // An engine that cannot observe does not have to: a repeated call with
        // the same operation id is a continuation by contract.
        (EngineError::Missing(_) | EngineError::Unsupported(_), Call::Observe) => {
            Failure::NeverHappened
        }
        (
            EngineError::Unavailable {
                retry_after: None, ..
            }
            | EngineError::Invalid(_)
            | EngineError::Denied(_)
            | EngineError::Missing(_)
            | EngineError::Failed(_)
            | EngineError::Unsupported(_)
            | EngineError::Trapped(_)
            | EngineError::LimitExceeded { .. },
            _,
        ) => Failure::Permanent,
    }
}
