//! The port itself.

use async_trait::async_trait;
use nestor_core::engine::{
    Action, Change, EngineError, Home, Manifest, Outcome, Pending, PlannedOutput, ProposedChanges,
    Purpose, Rendered, Settled,
};
use nestor_core::ids::{DeploymentId, EngineId, EnvironmentName};
use nestor_core::ports::{
    EngineCall, EngineHead, EngineStatus, Engines, Function, LogLevel, Reply,
};
use serde_json::{Value, json};

use super::{Answer, Behaviour, Call, Existing, FakeEngines, Hang, Progress, State};

/// What one call needs again and again.
struct Now<'a> {
    call: &'a EngineCall,
    key: (DeploymentId, String),
    behaviour: Behaviour,
}

#[async_trait]
impl Engines for FakeEngines {
    fn head(&self, engine: &EngineId) -> Result<EngineHead, EngineError> {
        let head = self.state().engines.get(engine).cloned();
        head.ok_or_else(|| EngineError::Unavailable {
            message: format!("there is no engine {engine}"),
            retry_after: None,
        })
    }

    fn names(&self) -> Vec<EngineId> {
        self.state().engines.keys().cloned().collect()
    }

    async fn forget(&self, _engine: &EngineId, _environment: &EnvironmentName, home: &Home) {
        let what = format!("{}/{}", home.deployment, home.folder());
        self.state().forgotten.push(what);
    }

    async fn forget_deployment(&self, deployment: &DeploymentId, kept: &[Home]) {
        let kept: Vec<String> = kept.iter().map(Home::folder).collect();
        let what = format!("{deployment} but {kept:?}");
        self.state().forgotten.push(what);
    }

    async fn call(&self, call: EngineCall) -> Result<Reply, EngineError> {
        let head = self.head(&call.engine)?;
        if head.status != EngineStatus::Ready {
            return Err(unavailable(format!("{} is {:?}", call.engine, head.status)));
        }
        let home = call.home();
        let key = (home.deployment.clone(), home.folder());
        let behaviour = {
            let state = self.state();
            state
                .scripts
                .get(call.request.name.as_str())
                .unwrap_or(&state.default)
                .clone()
        };
        let now = Now {
            call: &call,
            key,
            behaviour,
        };
        let running = Running::begin(self, &now);
        let answer = self.answer(&now, &head).await;
        running.end(match &answer {
            Ok(Reply::Outcome(Outcome::Pending(_))) => Answer::Pending,
            Ok(_) => Answer::Done,
            Err(_) => Answer::Error,
        });
        answer
    }
}

impl FakeEngines {
    async fn answer(&self, now: &Now<'_>, head: &EngineHead) -> Result<Reply, EngineError> {
        let observer = &now.call.observer;
        let function = now.call.function;
        observer.log(
            LogLevel::Info,
            function.as_str(),
            &json!({ "attempt": now.call.context.attempt }),
        );
        if let Some(text) = &now.behaviour.says
            && function != Function::Validate
        {
            observer.log(LogLevel::Warn, text, &json!({ "said": [text] }));
            observer.progress(None, text);
        }
        match function {
            Function::Validate => match &now.behaviour.invalid {
                Some(error) => Err(error.clone()),
                None => Ok(Reply::Validated(Vec::new())),
            },
            Function::Plan => match &now.behaviour.plan {
                Some(scripted) => scripted.clone().map(Reply::Proposed),
                None => Ok(Reply::Proposed(self.state().proposal(now))),
            },
            Function::Drift if !head.features.drift => {
                Err(EngineError::Unsupported("drift".into()))
            }
            Function::Drift => {
                if now.behaviour.hang == Some(Hang::Looking) {
                    self.hang(now.call.request.name.as_str()).await;
                }
                Ok(Reply::Proposed(self.state().proposal(now)))
            }
            Function::Render if !head.features.render => {
                Err(EngineError::Unsupported("render".into()))
            }
            Function::Render => Ok(Reply::Rendered(rendered(now))),
            Function::Observe => {
                if now.behaviour.hang == Some(Hang::Looking) {
                    self.hang(now.call.request.name.as_str()).await;
                }
                self.state().observe(now).map(Reply::Outcome)
            }
            Function::Apply | Function::Destroy => {
                observer.progress(Some(0), function.as_str());
                let outcome = self.change(now).await?;
                observer.progress(Some(100), function.as_str());
                Ok(Reply::Outcome(outcome))
            }
        }
    }

    /// `apply` and `destroy`.
    async fn change(&self, now: &Now<'_>) -> Result<Outcome, EngineError> {
        if !now.behaviour.delay.is_zero() {
            tokio::time::sleep(now.behaviour.delay).await;
        }
        if now.behaviour.hang == Some(Hang::BeforeEffect) {
            self.hang(now.call.request.name.as_str()).await;
        }
        self.state().begin_change(now)?;
        if now.behaviour.hang == Some(Hang::AfterEffect) {
            self.hang(now.call.request.name.as_str()).await;
        }
        let state = self.state();
        match state.pending(now) {
            Some(pending) => Ok(Outcome::Pending(pending)),
            None => Ok(Outcome::Ready(settled(now))),
        }
    }

    async fn hang(&self, resource: &str) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if self.state().released.iter().any(|r| r == resource) {
                return;
            }
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl State {
    /// Errors that are scripted, else the effect on the world.
    fn begin_change(&mut self, now: &Now<'_>) -> Result<(), EngineError> {
        let context = &now.call.context;
        let progress = self.progress.entry(now.key.clone()).or_default();
        if progress.operation_id != context.operation_id {
            *progress = Progress {
                operation_id: context.operation_id.clone(),
                transient_left: now.behaviour.transient,
                pending_left: now.behaviour.pending,
            };
        }
        if progress.transient_left > 0 {
            progress.transient_left -= 1;
            let message = format!("attempt {} was scripted to fail", context.attempt);
            return Err(EngineError::Transient {
                message,
                retry_after: now.behaviour.retry_after,
            });
        }
        let destroy = now.call.function == Function::Destroy;
        let error = if destroy {
            &now.behaviour.fail_destroy
        } else {
            &now.behaviour.fail
        };
        if let Some(error) = error {
            return Err(error.clone());
        }
        if destroy {
            self.world.remove(&now.key);
            return Ok(());
        }
        let before = self.world.get(&now.key);
        let again = before.is_some_and(|e| e.operation_id == context.operation_id);
        let effects = before.map_or(0, |e| e.effects) + u32::from(!again);
        let existing = Existing {
            config: now.call.request.config.clone(),
            engine: now.call.engine.clone(),
            effects,
            operation_id: context.operation_id.clone(),
        };
        self.world.insert(now.key.clone(), existing);
        Ok(())
    }

    /// Honest: it looks at the world, not at what was answered before.
    fn observe(&mut self, now: &Now<'_>) -> Result<Outcome, EngineError> {
        let destroying = now.call.context.purpose == Purpose::Destroy;
        let exists = self.world.contains_key(&now.key);
        let took_effect = match now.call.context.purpose {
            Purpose::Destroy => !exists,
            Purpose::Inspect => exists,
            Purpose::Apply => {
                let operation = &now.call.context.operation_id;
                self.world
                    .get(&now.key)
                    .is_some_and(|e| &e.operation_id == operation)
            }
        };
        if !took_effect && destroying {
            return Err(EngineError::Missing("the destroy never took effect".into()));
        }
        if !took_effect {
            return Err(EngineError::Missing(
                "the operation never took effect".into(),
            ));
        }
        if let Some(progress) = self.progress.get_mut(&now.key) {
            progress.pending_left = progress.pending_left.saturating_sub(1);
        }
        match self.pending(now) {
            Some(pending) => Ok(Outcome::Pending(pending)),
            None => Ok(Outcome::Ready(settled(now))),
        }
    }

    /// What is pending, if the current operation is.
    fn pending(&self, now: &Now<'_>) -> Option<Pending> {
        let progress = self.progress.get(&now.key)?;
        let left = progress.pending_left;
        let ours = progress.operation_id == now.call.context.operation_id;
        if !ours || left == 0 {
            return None;
        }
        let total = now.behaviour.pending.max(left);
        let percent = u8::try_from(100 * (total - left) / total).unwrap_or(99);
        Some(Pending {
            poll_after: now.behaviour.poll_after,
            percent: Some(percent),
            message: said(now, format!("{left} polls to go")),
            state: json!({ "polls_left": left }),
        })
    }

    fn proposal(&self, now: &Now<'_>) -> ProposedChanges {
        let after = &now.call.request.config;
        let before = self.world.get(&now.key).map(|e| e.config.clone());
        let destroy = now.call.context.purpose == Purpose::Destroy;
        let action = match &before {
            None if destroy => Action::Noop,
            None => Action::Create,
            Some(_) if destroy => Action::Delete,
            Some(before) if before == after => Action::Noop,
            Some(_) => Action::Update,
        };
        let changes = match action {
            Action::Noop => Vec::new(),
            _ => vec![Change {
                path: String::new(),
                before,
                after: (!destroy).then(|| after.clone()),
                sensitive: false,
            }],
        };
        let outputs = now.behaviour.outputs.iter().map(|o| PlannedOutput {
            name: o.name.clone(),
            known: (action == Action::Noop).then(|| o.value.clone()),
            json_type: json_type(&o.value).into(),
            sensitive: o.sensitive,
        });
        ProposedChanges {
            action,
            changes,
            outputs: outputs.collect(),
            summary: said(now, format!("{action:?} {}", now.call.request.name)),
        }
    }
}

/// Counts a call while it runs, also when the caller drops it.
struct Running<'a> {
    engines: &'a FakeEngines,
    key: (DeploymentId, String),
    index: usize,
    changes: bool,
}

impl<'a> Running<'a> {
    fn begin(engines: &'a FakeEngines, now: &Now<'_>) -> Self {
        let context = &now.call.context;
        let mut state = engines.state();
        let index = state.calls.len();
        state.calls.push(Call {
            engine: now.call.engine.clone(),
            function: now.call.function,
            deployment: context.deployment.clone(),
            revision: context.revision,
            resource: now.call.request.name.clone(),
            operation_id: context.operation_id.clone(),
            attempt: context.attempt,
            purpose: context.purpose,
            standing: now.call.standing,
            config: now.call.request.config.clone(),
            prior_state: now.call.request.prior.as_ref().map(|p| p.state.clone()),
            answer: None,
        });
        // Looking (validate, plan) may overlap; changing may not.
        let changes = !matches!(now.call.function, Function::Validate | Function::Plan);
        if changes {
            let running = state.running.entry(now.key.clone()).or_default();
            *running += 1;
            if *running > 1 {
                let breach = format!(
                    "{} of {} while another call runs",
                    now.call.function.as_str(),
                    now.key.1
                );
                state.overlaps.push(breach);
            }
        }
        let at_once = state.running.values().sum();
        state.most_at_once = state.most_at_once.max(at_once);
        drop(state);
        engines.changed.send_replace(());
        Self {
            engines,
            key: now.key.clone(),
            index,
            changes,
        }
    }

    fn end(self, answer: Answer) {
        self.engines.state().calls[self.index].answer = Some(answer);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.changes {
            return;
        }
        let mut state = self.engines.state();
        if let Some(running) = state.running.get_mut(&self.key) {
            *running -= 1;
        }
    }
}

fn settled(now: &Now<'_>) -> Settled {
    let destroy = now.call.context.purpose == Purpose::Destroy;
    let outputs = if destroy {
        Vec::new()
    } else {
        now.behaviour.outputs.clone()
    };
    Settled {
        outputs,
        state: now
            .behaviour
            .state
            .clone()
            .unwrap_or_else(|| json!({ "operation": now.call.context.operation_id })),
    }
}

fn rendered(now: &Now<'_>) -> Rendered {
    let manifests = now.behaviour.manifests.clone().unwrap_or_else(|| {
        vec![Manifest {
            path: "resource.yaml".into(),
            content: format!("{:#}\n", now.call.request.config),
        }]
    });
    Rendered {
        manifests,
        outputs: now.behaviour.outputs.clone(),
        notes: Some(said(now, format!("Notes of {}", now.call.request.name))),
        state: Value::Null,
    }
}

/// With what the script says.
fn said(now: &Now<'_>, text: String) -> String {
    match &now.behaviour.says {
        Some(said) => format!("{text}: {said}"),
        None => text,
    }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::String(_) | Value::Null => "string",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn unavailable(message: String) -> EngineError {
    EngineError::Unavailable {
        message,
        retry_after: Some(std::time::Duration::from_secs(1)),
    }
}
