//! The calls port.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use nestor_core::engine::{EngineError, Home, Outcome, Purpose};
use nestor_core::grant::FsMode;
use nestor_core::ids::{DeploymentId, EngineId, EnvironmentName};
use nestor_core::ports::{EngineCall, EngineHead, Engines, Function, Reply, Standing};
use tracing::Instrument;
use wasmtime_wasi::FsPerms;

use super::EngineHost;
use super::checkouts::{Checkout, in_use};
use crate::call::{self, Answer, Bounds, Question, Surroundings};
use crate::convert;
use crate::egress::Egress;
use crate::imports::KeyValues;
use crate::info::Source;
use crate::metrics::{CALL_SECONDS, CALLS, QUEUE_SECONDS, TRAPS};
use crate::registry::Version;
use crate::tools::Toolbox;

/// Settings of an engine that has none.
const NO_SETTINGS: &str = "{}";

#[async_trait]
impl Engines for EngineHost {
    fn head(&self, engine: &EngineId) -> Result<EngineHead, EngineError> {
        Ok(self.registry.version(engine, None)?.head())
    }

    fn names(&self) -> Vec<EngineId> {
        self.registry.names()
    }

    async fn call(&self, call: EngineCall) -> Result<Reply, EngineError> {
        let span = tracing::info_span!(
            "engine_call",
            engine = %call.engine,
            function = call.function.as_str(),
            operation = call.context.operation_id,
            deployment = %call.context.deployment,
            revision = call.context.revision,
            resource = %call.request.name,
            attempt = call.context.attempt,
            traceparent = call.context.traceparent,
        );
        self.call_within(call).instrument(span).await
    }

    async fn forget(&self, engine: &EngineId, environment: &EnvironmentName, home: &Home) {
        self.forget_home(engine, environment, home).await;
    }

    async fn forget_deployment(&self, deployment: &DeploymentId, kept: &[Home]) {
        self.forget_rest(deployment, kept).await;
    }
}

impl EngineHost {
    async fn call_within(&self, call: EngineCall) -> Result<Reply, EngineError> {
        let version = self.registry.version(&call.engine, call.digest.as_ref())?;
        let function = call.function;
        let destroying = function == Function::Destroy
            || (function == Function::Observe && call.context.purpose == Purpose::Destroy);
        let (home, standing) = (call.home(), call.standing);
        // Each a name that cannot be a path.
        let at = Path::new(call.context.environment.as_str())
            .join(home.deployment.as_str())
            .join(home.folder());
        let checkout = Arc::new(self.checkouts.enter(&at, standing).await?);
        let new = checkout.make().map_err(|e| {
            let path = checkout.path().display();
            EngineError::Failed(format!("the checkout {path} cannot be made: {e}"))
        })?;
        let asked = self.ask(&version, call, &checkout);
        let answered = match standing {
            Standing::Work => asked.await,
            Standing::Look | Standing::Preview => tokio::select! {
                biased;
                answered = asked => answered,
                () = checkout.wanted() => Err(in_use()),
            },
        };
        self.account(&version, function, &answered);
        let destroyed = destroying && matches!(answered, Ok(Reply::Outcome(Outcome::Ready(_))));
        // What is destroyed needs no checkout; a repeated call finds an empty
        // one, and destroying what is gone is a success.
        if destroyed || (new && standing == Standing::Preview) {
            checkout.remove().await;
        }
        answered
    }

    fn account(
        &self,
        version: &Arc<Version>,
        function: Function,
        answered: &Result<Reply, EngineError>,
    ) {
        let outcome = answered.as_ref().map_or_else(EngineError::kind, |_| "ok");
        let engine = version.id.to_string();
        metrics::counter!(CALLS, "engine" => engine.clone(), "function" => function.as_str(), "outcome" => outcome)
            .increment(1);
        match answered {
            Err(EngineError::Trapped(_)) => {
                metrics::counter!(TRAPS, "engine" => engine).increment(1);
                self.trapped(version);
            }
            Err(EngineError::Unavailable { .. }) => {}
            _ => version.answered(),
        }
    }

    async fn ask(
        &self,
        version: &Arc<Version>,
        call: EngineCall,
        checkout: &Arc<Checkout>,
    ) -> Result<Reply, EngineError> {
        let ready = version
            .ready()
            .inspect_err(|_| self.prepare_in_background(version))?;
        let queued = Instant::now();
        let turn = call::turn(&self.runtime, &version.slots).await?;
        let turn = turn.at(Arc::clone(checkout));
        let began = Instant::now();
        let engine = version.id.to_string();
        metrics::histogram!(QUEUE_SECONDS, "engine" => engine.clone()).record(began - queued);

        let home = call.home();
        let limits = ready.grant.limits();
        let bounds = Bounds {
            cpu: limits.cpu,
            wall: limits.wall,
        };
        let until = tokio::time::Instant::now() + bounds.wall;
        let settings = self.settings.get(&version.id).map_or(NO_SETTINGS, |s| s);
        let question = Question::About(
            call.function,
            convert::context(&call.context),
            Box::new(convert::request(&call.request, settings)),
        );
        let around = Surroundings {
            may_block: version.source == Source::BuiltIn,
            engine: version.id.clone(),
            grant: Arc::clone(&ready.grant),
            observer: Arc::clone(&call.observer),
            definition: call
                .definition_folder
                .unwrap_or_else(|| self.folders.empty.clone()),
            work: checkout.path().to_owned(),
            work_perms: match ready.grant.capabilities().checkout().mode {
                FsMode::ReadOnly => FsPerms::ReadOnly,
                FsMode::ReadWrite => FsPerms::ReadWrite,
            },
            key_values: KeyValues::new(
                Arc::clone(&self.kv),
                ready.grant.capabilities().kv_quota,
                &version.id,
                &home,
            ),
            toolbox: Toolbox::new(Arc::clone(&self.tools), checkout.path().to_owned(), until),
            egress: Egress::new(
                version.id.clone(),
                Arc::clone(&ready.grant),
                call.observer,
                until,
            ),
        };
        let answered = call::ask(
            &self.runtime,
            ready.pre.clone(),
            around,
            bounds,
            question,
            Some(turn),
        )
        .await;
        metrics::histogram!(CALL_SECONDS, "engine" => engine, "function" => call.function.as_str())
            .record(began.elapsed());
        match answered? {
            Answer::Reply(reply) => Ok(reply),
            Answer::Description(_) | Answer::Healthy => {
                Err(EngineError::Trapped("it answered another question".into()))
            }
        }
    }
}
