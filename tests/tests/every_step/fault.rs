//! What can go wrong, and the engines and Git that it goes wrong with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use nestor_core::engine::{EngineError, Outcome, Pending};
use nestor_core::ids::EngineId;
use nestor_core::ports::{
    Delivered, Delivery, DeliveryError, DeliveryRequest, EngineCall, EngineHead, Engines, Function,
    Reply, Withdrawal,
};
use nestor_testkit::{FakeEngines, MemoryDelivery};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::example::Resource;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Twice,
    TransientOnce,
    TransientOnceAfter,
    UnavailableForAMinute,
    DiesBefore,
    DiesAfter,
    TransientForEver,
    Unavailable,
    Permanent,
    PermanentAfter,
    Trap,
    Limit,
    WallTime,
    NeverEnds,
    OutputMissing,
    OutputOfWrongType,
    Denies,
}

impl Kind {
    pub(crate) const ALL: [Self; 17] = [
        Self::Twice,
        Self::TransientOnce,
        Self::TransientOnceAfter,
        Self::UnavailableForAMinute,
        Self::DiesBefore,
        Self::DiesAfter,
        Self::TransientForEver,
        Self::Unavailable,
        Self::Permanent,
        Self::PermanentAfter,
        Self::Trap,
        Self::Limit,
        Self::WallTime,
        Self::NeverEnds,
        Self::OutputMissing,
        Self::OutputOfWrongType,
        Self::Denies,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Twice => "delivered twice",
            Self::TransientOnce => "transient once",
            Self::TransientOnceAfter => "transient once, after the effect",
            Self::UnavailableForAMinute => "engine unavailable for a minute",
            Self::DiesBefore => "host dies before the effect",
            Self::DiesAfter => "host dies after the effect",
            Self::TransientForEver => "transient for ever",
            Self::Unavailable => "engine unavailable",
            Self::Permanent => "fails",
            Self::PermanentAfter => "fails after the effect",
            Self::Trap => "traps",
            Self::Limit => "exceeds memory",
            Self::WallTime => "exceeds its time",
            Self::NeverEnds => "pending for ever",
            Self::OutputMissing => "an output missing",
            Self::OutputOfWrongType => "an output of the wrong type",
            Self::Denies => "denies what it did",
        }
    }

    /// How often; none: for ever.
    fn times(self) -> Option<u32> {
        match self {
            Self::Twice
            | Self::TransientOnce
            | Self::TransientOnceAfter
            | Self::DiesBefore
            | Self::DiesAfter
            | Self::Denies => Some(1),
            // Each time for six seconds.
            Self::UnavailableForAMinute => Some(10),
            Self::TransientForEver
            | Self::Unavailable
            | Self::Permanent
            | Self::PermanentAfter
            | Self::Trap
            | Self::Limit
            | Self::WallTime
            | Self::NeverEnds
            | Self::OutputMissing
            | Self::OutputOfWrongType => None,
        }
    }

    /// Whether it can happen there.
    pub(crate) fn fits(self, at: At) -> bool {
        match at {
            At::Apply => self != Self::Denies,
            At::Observe => true,
            At::Destroy => !matches!(
                self,
                Self::OutputMissing | Self::OutputOfWrongType | Self::Denies
            ),
            // Nothing has an effect yet.
            At::Validate | At::Render => {
                !matches!(
                    self,
                    Self::TransientOnceAfter
                        | Self::PermanentAfter
                        | Self::DiesAfter
                        | Self::NeverEnds
                        | Self::Denies
                ) && (at == At::Render
                    || !matches!(self, Self::OutputMissing | Self::OutputOfWrongType))
            }
            // Git is no engine.
            At::Deliver | At::Withdraw => matches!(
                self,
                Self::Twice
                    | Self::TransientOnce
                    | Self::TransientOnceAfter
                    | Self::DiesBefore
                    | Self::DiesAfter
                    | Self::TransientForEver
                    | Self::Permanent
                    | Self::PermanentAfter
            ),
        }
    }

    /// Whether the world changes although it fails.
    fn after_effect(self) -> bool {
        matches!(
            self,
            Self::TransientOnceAfter | Self::PermanentAfter | Self::DiesAfter
        )
    }

    fn engine_error(self) -> Option<EngineError> {
        let unavailable = |retry_after| EngineError::Unavailable {
            message: "the engine is not there".into(),
            retry_after,
        };
        match self {
            Self::TransientOnce | Self::TransientOnceAfter | Self::TransientForEver => {
                Some(EngineError::Transient {
                    message: "the other side is busy".into(),
                    retry_after: None,
                })
            }
            Self::UnavailableForAMinute => Some(unavailable(Some(Duration::from_secs(6)))),
            Self::Unavailable => Some(unavailable(None)),
            Self::Permanent | Self::PermanentAfter => {
                Some(EngineError::Failed("it does not work".into()))
            }
            Self::Trap => Some(EngineError::Trapped("wasm trap: unreachable".into())),
            Self::Limit => Some(EngineError::LimitExceeded {
                limit: "memory",
                message: "64 MiB".into(),
            }),
            Self::WallTime => Some(EngineError::LimitExceeded {
                limit: "wall",
                message: "the call took more than 1 m".into(),
            }),
            Self::Denies => Some(EngineError::Missing("never heard of it".into())),
            Self::Twice
            | Self::DiesBefore
            | Self::DiesAfter
            | Self::NeverEnds
            | Self::OutputMissing
            | Self::OutputOfWrongType => None,
        }
    }
}

/// Where something can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Validate,
    Apply,
    Observe,
    Destroy,
    Render,
    Deliver,
    Withdraw,
}

/// A step's call: where, of which resource, in which direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) at: At,
    pub(crate) resource: String,
    pub(crate) undo: bool,
}

impl Point {
    pub(crate) fn forward(at: At, resource: &Resource) -> Self {
        Self {
            at,
            resource: resource.name.clone(),
            undo: false,
        }
    }

    pub(crate) fn undoing(self) -> Self {
        Self { undo: true, ..self }
    }

    pub(crate) fn name(&self) -> String {
        let what = match self.at {
            At::Validate => "validate",
            At::Apply => "apply",
            At::Observe => "observe",
            At::Destroy => "destroy",
            At::Render => "render",
            At::Deliver => "commit the manifests of",
            At::Withdraw => "withdraw the manifests of",
        };
        format!("{what} {}", self.resource)
    }
}

/// What is to go wrong, shared by everything that calls go through.
#[derive(Default)]
pub(crate) struct Script {
    faults: Mutex<Vec<(Point, Kind, u32)>>,
    /// How often each operation was asked for, since counting began.
    asked: Mutex<Option<BTreeMap<String, u32>>>,
    /// Rung when the host is to die; what was being called never answers.
    pub(crate) dying: Notify,
}

impl Script {
    pub(crate) fn add(&self, point: Point, kind: Kind) {
        self.lock().push((point, kind, 0));
    }

    /// All is well again.
    pub(crate) fn heal(&self) {
        self.lock().clear();
    }

    /// Begins to count how often operations are asked for.
    pub(crate) fn count(&self) {
        *self.asked.lock().expect("not poisoned") = Some(BTreeMap::new());
    }

    /// The most often that one operation was asked for.
    pub(crate) fn asked(&self) -> u32 {
        let asked = self.asked.lock().expect("not poisoned");
        asked
            .iter()
            .flat_map(BTreeMap::values)
            .copied()
            .max()
            .unwrap_or(0)
    }

    fn hit(&self, at: At, resource: &str, operation: &str) -> Option<Kind> {
        if matches!(at, At::Apply | At::Destroy | At::Deliver | At::Withdraw)
            && let Some(asked) = self.asked.lock().expect("not poisoned").as_mut()
        {
            *asked.entry(operation.to_owned()).or_default() += 1;
        }
        let point = Point {
            at,
            resource: resource.to_owned(),
            undo: operation.ends_with("/undo"),
        };
        let mut faults = self.lock();
        let place = faults.iter().position(|(there, ..)| *there == point)?;
        let (_, kind, hits) = &mut faults[place];
        let kind = *kind;
        *hits += 1;
        if kind.times() == Some(*hits) {
            faults.remove(place);
        }
        Some(kind)
    }

    async fn die<T>(&self) -> T {
        self.dying.notify_one();
        std::future::pending().await
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Point, Kind, u32)>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The testkit's engines, with things that go wrong.
pub(crate) struct Faulty<T> {
    pub(crate) inner: Arc<T>,
    pub(crate) script: Arc<Script>,
}

#[async_trait]
impl Engines for Faulty<FakeEngines> {
    fn head(&self, engine: &EngineId) -> Result<EngineHead, EngineError> {
        self.inner.head(engine)
    }

    fn names(&self) -> Vec<EngineId> {
        self.inner.names()
    }

    async fn call(&self, call: EngineCall) -> Result<Reply, EngineError> {
        let at = match call.function {
            Function::Validate => At::Validate,
            Function::Apply => At::Apply,
            Function::Observe => At::Observe,
            Function::Destroy => At::Destroy,
            Function::Render => At::Render,
            Function::Plan | Function::Drift => return self.inner.call(call).await,
        };
        let kind = self
            .script
            .hit(at, call.request.name.as_str(), &call.context.operation_id);
        let Some(kind) = kind else {
            return self.inner.call(call).await;
        };
        if kind == Kind::DiesBefore {
            return self.script.die().await;
        }
        if kind == Kind::NeverEnds {
            return Ok(Reply::Outcome(Outcome::Pending(Pending {
                poll_after: Duration::from_secs(600),
                percent: None,
                message: "still at it".into(),
                state: json!({}),
            })));
        }
        if let Some(error) = kind.engine_error().filter(|_| !kind.after_effect()) {
            return Err(error);
        }
        if kind == Kind::Twice {
            let again = EngineCall {
                engine: call.engine.clone(),
                digest: call.digest,
                function: call.function,
                context: call.context.clone(),
                request: call.request.clone(),
                definition_folder: call.definition_folder.clone(),
                home: call.home.clone(),
                standing: call.standing,
                observer: Arc::clone(&call.observer),
            };
            // Whoever carries calls may carry one twice; the last answer counts.
            let _ = self.inner.call(again).await;
        }
        let answer = self.inner.call(call).await?;
        if kind == Kind::DiesAfter {
            return self.script.die().await;
        }
        match kind.engine_error() {
            Some(error) => Err(error),
            None => Ok(lying(kind, answer)),
        }
    }
}

/// An answer with outputs that are not as declared.
fn lying(kind: Kind, mut answer: Reply) -> Reply {
    let outputs = match &mut answer {
        Reply::Outcome(Outcome::Ready(settled)) => &mut settled.outputs,
        Reply::Rendered(rendered) => &mut rendered.outputs,
        Reply::Outcome(Outcome::Pending(_)) | Reply::Validated(_) | Reply::Proposed(_) => {
            return answer;
        }
    };
    match kind {
        Kind::OutputMissing => drop(outputs.pop()),
        Kind::OutputOfWrongType => outputs.iter_mut().for_each(|o| o.value = Value::Null),
        _ => {}
    }
    answer
}

#[async_trait]
impl Delivery for Faulty<MemoryDelivery> {
    async fn deliver(&self, request: DeliveryRequest) -> Result<Delivered, DeliveryError> {
        let kind = self.script.hit(
            At::Deliver,
            request.resource.as_str(),
            &request.operation_id,
        );
        self.around(kind, || self.inner.deliver(request.clone()))
            .await
    }

    async fn withdraw(&self, request: Withdrawal) -> Result<Delivered, DeliveryError> {
        let kind = self.script.hit(
            At::Withdraw,
            request.resource.as_str(),
            &request.operation_id,
        );
        self.around(kind, || self.inner.withdraw(request.clone()))
            .await
    }
}

impl Faulty<MemoryDelivery> {
    async fn around<F: Future<Output = Result<Delivered, DeliveryError>>>(
        &self,
        kind: Option<Kind>,
        work: impl Fn() -> F,
    ) -> Result<Delivered, DeliveryError> {
        let Some(kind) = kind else {
            return work().await;
        };
        if kind == Kind::DiesBefore {
            return self.script.die().await;
        }
        let error = match kind {
            Kind::TransientOnce | Kind::TransientOnceAfter | Kind::TransientForEver => {
                Some(DeliveryError::Transient("the repository is locked".into()))
            }
            Kind::Permanent | Kind::PermanentAfter => {
                Some(DeliveryError::Failed("the branch is protected".into()))
            }
            _ => None,
        };
        if let Some(error) = error.clone().filter(|_| !kind.after_effect()) {
            return Err(error);
        }
        if kind == Kind::Twice {
            work().await?;
        }
        let delivered = work().await?;
        if kind == Kind::DiesAfter {
            return self.script.die().await;
        }
        error.map_or(Ok(delivered), Err)
    }
}
