//! A service that answers by the deployment's id, and what tests need around it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use futures::StreamExt;
use futures::stream::BoxStream;
use http_body_util::BodyExt;
use nestor_api::{
    Api, EngineAdmin, EngineRejection, EngineSource, EngineStatusView, EngineUpload, EngineView,
    Hosts, Limits, MetricsHandle, Parts, Put, Service, ViolationView,
};
use nestor_core::definition::Definition;
use nestor_core::ids::{Digest, EngineId};
use nestor_core::ports::{Catalog, CatalogError};
use nestor_core::spec::CatalogRef;
use nestor_core::violation::{Violation, ViolationCode};
use nestor_orchestrator::Offer;
use nestor_orchestrator::service::{Approving, ListFilter, Rejection, RequestMeta};
use nestor_orchestrator::view::*;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Remembers what it was asked.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) asked: Mutex<Vec<String>>,
    pub(crate) metas: Mutex<Vec<RequestMeta>>,
    pub(crate) not_ready: Mutex<Option<String>>,
    /// Durable events of every deployment; the stream hangs after them unless
    /// the id is `settled`.
    pub(crate) events: Mutex<Vec<EventView>>,
}

pub(crate) fn event(id: u64) -> EventView {
    EventView {
        id: Some(id),
        kind: "ready".into(),
        at: "2026-01-01T00:00:00.000Z".into(),
        revision: 1,
        resource: Some("database".into()),
        status: Some(DeploymentStatus::InProgress),
        message: format!("event {id}\nwith a second line"),
        data: Value::Null,
    }
}

fn accepted(id: &str) -> Accepted {
    Accepted {
        id: id.into(),
        revision: 1,
        status: DeploymentStatus::Pending,
        warnings: vec![],
    }
}

impl Fake {
    fn note(&self, what: String, meta: &RequestMeta) {
        self.asked.lock().unwrap().push(what);
        self.metas.lock().unwrap().push(meta.clone());
    }

    /// What an id stands for.
    async fn fate(&self, id: &str) -> Result<(), Rejection> {
        match id {
            "panic" => panic!("a secret detail"),
            "hang" => std::future::pending().await,
            "slow" => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok(())
            }
            "busy" => Err(Rejection::Busy {
                message: "10000 deployments wait already".into(),
                retry_after: 7,
            }),
            "reused" => Err(Rejection::IdempotencyMismatch),
            "conflict" => Err(Rejection::Conflict(
                "web-app is ready: there is nothing to retry".into(),
            )),
            "internal" => Err(Rejection::Internal),
            "missing" => Err(Rejection::NotFound("missing".into())),
            _ => Ok(()),
        }
    }

    fn id_of(body: &[u8]) -> Result<String, Rejection> {
        let value: Value = serde_json::from_slice(body).map_err(|e| {
            Rejection::Invalid(vec![Violation::new(
                ViolationCode::MalformedJson,
                "",
                format!("not JSON: {e}"),
            )])
        })?;
        match value["id"].as_str() {
            Some(id) => Ok(id.to_owned()),
            None => Err(Rejection::Invalid(vec![
                Violation::new(
                    ViolationCode::MissingField,
                    "/id",
                    "is missing; give the deployment an id",
                ),
                Violation::new(ViolationCode::DependencyCycle, "/dependencies", "a → b → a"),
            ])),
        }
    }
}

#[async_trait]
impl Service for Fake {
    async fn submit(&self, body: &[u8], meta: RequestMeta) -> Result<Accepted, Rejection> {
        let id = Self::id_of(body)?;
        self.note(format!("submit {id}"), &meta);
        self.fate(&id).await?;
        Ok(accepted(&id))
    }
    async fn plan(&self, body: &[u8], meta: RequestMeta) -> Result<PlanView, Rejection> {
        let id = Self::id_of(body)?;
        self.note(format!("plan {id}"), &meta);
        Ok(PlanView {
            id,
            revision: 2,
            digest: Digest::of(b"plan").to_string(),
            resources: vec![],
            warnings: vec![],
            summary: Default::default(),
            impact: None,
        })
    }
    async fn plan_again(&self, id: &str, meta: RequestMeta) -> Result<PlanView, Rejection> {
        self.note(format!("plan {id} again"), &meta);
        self.fate(id).await?;
        self.plan(format!(r#"{{"id": "{id}"}}"#).as_bytes(), meta)
            .await
    }
    async fn get(&self, id: &str) -> Result<DeploymentView, Rejection> {
        self.fate(id).await?;
        Ok(DeploymentView {
            id: id.into(),
            status: DeploymentStatus::Ready,
            phase: Phase::Done,
            revision: 1,
            composer: "team-web".into(),
            environment: "production".into(),
            reason: None,
            progress: "100%".into(),
            resources: vec![],
            warnings: vec![],
            labels: Default::default(),
            approval: None,
            queued_revision: None,
            expires_at: None,
            drift: None,
            created_at: "2026-01-01T00:00:00.000Z".into(),
            updated_at: "2026-01-01T00:00:00.000Z".into(),
        })
    }
    async fn list(
        &self,
        filter: ListFilter,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<DeploymentPage, Rejection> {
        self.asked
            .lock()
            .unwrap()
            .push(format!("list {filter:?} {cursor:?} {limit}"));
        Ok(DeploymentPage {
            items: vec![],
            next: Some("c".into()),
        })
    }
    async fn delete(&self, id: &str, meta: RequestMeta) -> Result<Accepted, Rejection> {
        self.note(format!("delete {id}"), &meta);
        self.fate(id).await?;
        Ok(accepted(id))
    }
    async fn approve(
        &self,
        id: &str,
        approving: Approving,
        meta: RequestMeta,
    ) -> Result<Accepted, Rejection> {
        self.note(format!("approve {id} {approving:?}"), &meta);
        self.fate(id).await?;
        if approving.plan.is_some() {
            return Err(Rejection::PlanMoved("another plan waits".into()));
        }
        Ok(accepted(id))
    }
    async fn waiting_plan(&self, id: &str) -> Result<PlanView, Rejection> {
        self.fate(id).await?;
        Ok(PlanView {
            id: id.into(),
            revision: 2,
            digest: Digest::of(b"plan").to_string(),
            resources: vec![],
            warnings: vec![],
            summary: Default::default(),
            impact: None,
        })
    }
    async fn retry(&self, id: &str, meta: RequestMeta) -> Result<Accepted, Rejection> {
        self.note(format!("retry {id}"), &meta);
        self.fate(id).await?;
        Ok(accepted(id))
    }
    async fn cancel(&self, id: &str, meta: RequestMeta) -> Result<Accepted, Rejection> {
        self.note(format!("cancel {id}"), &meta);
        self.fate(id).await?;
        Ok(accepted(id))
    }
    async fn rollback(
        &self,
        id: &str,
        to: Option<u64>,
        meta: RequestMeta,
    ) -> Result<Accepted, Rejection> {
        self.note(format!("rollback {id} {to:?}"), &meta);
        self.fate(id).await?;
        Ok(accepted(id))
    }
    async fn revisions(&self, id: &str) -> Result<Vec<RevisionView>, Rejection> {
        self.fate(id).await?;
        Ok(vec![])
    }
    async fn check_drift(
        &self,
        id: &str,
        remediate: bool,
        meta: RequestMeta,
    ) -> Result<Accepted, Rejection> {
        self.note(format!("drift {id} {remediate}"), &meta);
        self.fate(id).await?;
        Ok(accepted(id))
    }
    async fn drift(&self, id: &str) -> Result<DriftView, Rejection> {
        self.fate(id).await?;
        Ok(DriftView {
            id: id.into(),
            status: DeploymentDriftStatus::NotChecked,
            pending: false,
            checked_at: None,
            revision: None,
            outdated: false,
            next_check_at: None,
            resources: vec![],
        })
    }
    async fn impact(&self, id: &str, resource: Option<&str>) -> Result<ImpactView, Rejection> {
        self.fate(id).await?;
        Ok(ImpactView {
            deployment: Some(id.to_owned()),
            change: resource.unwrap_or("deletion").to_owned(),
            resources: vec![],
            summary: Default::default(),
            truncated: false,
        })
    }
    async fn impact_of(&self, offer: &Offer) -> Result<ImpactView, Rejection> {
        Ok(ImpactView {
            deployment: None,
            change: format!("{offer:?}"),
            resources: vec![],
            summary: Default::default(),
            truncated: false,
        })
    }
    async fn report(
        &self,
        id: &str,
        run: Option<u64>,
    ) -> Result<nestor_orchestrator::report::ReportView, Rejection> {
        self.fate(id).await?;
        Err(Rejection::NoRun(format!(
            "deployment {id} has no run {}",
            run.unwrap_or_default()
        )))
    }
    async fn graph(&self, id: &str) -> Result<GraphView, Rejection> {
        self.fate(id).await?;
        Ok(GraphView {
            nodes: vec![],
            edges: vec![],
        })
    }
    async fn events(
        &self,
        id: &str,
        after: Option<u64>,
        follow: bool,
    ) -> Result<BoxStream<'static, EventView>, Rejection> {
        self.fate(id).await?;
        let events = self.events.lock().unwrap().clone();
        let events = events
            .into_iter()
            .filter(move |e| e.id.is_none_or(|id| id > after.unwrap_or(0)));
        let known = futures::stream::iter(events);
        Ok(if id == "settled" && !follow {
            known.boxed()
        } else {
            known.chain(futures::stream::pending()).boxed()
        })
    }
    fn ready(&self) -> Result<(), String> {
        self.not_ready.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

/// Engines that are put are kept; their bytes say what becomes of them.
#[derive(Default)]
pub(crate) struct FakeEngines {
    pub(crate) put: Mutex<Vec<(EngineView, Option<String>)>>,
}

pub(crate) fn engine(name: &str, bytes: &[u8]) -> EngineView {
    EngineView {
        name: name.into(),
        status: EngineStatusView::Ready,
        reason: None,
        version: "1.0.0".into(),
        summary: "For tests".into(),
        digest: Digest::of(bytes).to_string(),
        size: bytes.len() as u64,
        source: EngineSource::Api,
        loaded_at: "2026-01-01T00:00:00.000Z".into(),
        features: vec!["render".into()],
        requested: json!({}),
        granted: json!({}),
        definition_schema: Value::Null,
    }
}

#[async_trait]
impl EngineAdmin for FakeEngines {
    fn list(&self) -> Vec<EngineView> {
        self.put
            .lock()
            .unwrap()
            .iter()
            .map(|(view, _)| view.clone())
            .collect()
    }
    fn get(&self, name: &EngineId) -> Option<EngineView> {
        self.list()
            .into_iter()
            .find(|engine| engine.name == name.as_str())
    }
    async fn put(&self, name: &EngineId, upload: EngineUpload) -> Result<Put, EngineRejection> {
        match upload.component.as_ref() {
            b"nonsense" => {
                return Err(EngineRejection::NotAComponent(
                    "the first bytes are not those of a component".into(),
                ));
            }
            b"greedy" => {
                return Err(EngineRejection::MissingGrants(vec![ViolationView {
                    code: "missing-grant".into(),
                    pointer: "tool".into(),
                    message: "terraform is requested, nothing is granted".into(),
                }]));
            }
            b"slow" => tokio::time::sleep(Duration::from_millis(500)).await,
            _ => {}
        }
        let engine = engine(name.as_str(), &upload.component);
        let mut all = self.put.lock().unwrap();
        let created = !all.iter().any(|(other, _)| other.name == engine.name);
        all.retain(|(other, _)| other.name != engine.name);
        all.push((engine.clone(), upload.manifest));
        Ok(Put { engine, created })
    }
    async fn delete(&self, name: &EngineId) -> Result<Option<EngineView>, EngineRejection> {
        if name.as_str() == "helm" {
            return Err(EngineRejection::Conflict(
                "helm is built in; disable it in the config".into(),
            ));
        }
        self.put
            .lock()
            .unwrap()
            .retain(|(other, _)| other.name != name.as_str());
        Ok(None)
    }
}

struct FakeCatalog;

#[async_trait]
impl Catalog for FakeCatalog {
    async fn lookup(&self, reference: &CatalogRef) -> Result<Arc<Definition>, CatalogError> {
        Err(CatalogError::UnknownName {
            name: reference.name.clone(),
            similar: None,
        })
    }
    async fn list(&self) -> Result<Vec<Arc<Definition>>, CatalogError> {
        Ok(vec![Arc::new(Definition {
            name: "aws-rds-mysql".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            description: "A database".into(),
            engines: vec![(
                "terraform".parse().unwrap(),
                Arc::new(json!({"module": "secret"})),
            )],
            config_schema: Arc::new(json!({"type": "object"})),
            outputs: Default::default(),
            delivery: None,
            relations: Default::default(),
            folder: Some("/somewhere/inside".into()),
            digest: Digest::of(b""),
        })])
    }
}

/// An API over fakes.
pub(crate) struct Host {
    pub(crate) service: Arc<Fake>,
    pub(crate) engines: Arc<FakeEngines>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) limits: Limits,
    api: Api,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self::made(limits, Hosts::default())
    }

    pub(crate) fn known_as(names: &[&str], strict: bool) -> Self {
        let names = names.iter().map(ToString::to_string).collect();
        Self::made(Limits::default(), Hosts { names, strict })
    }

    fn made(limits: Limits, hosts: Hosts) -> Self {
        let (service, engines) = (Arc::new(Fake::default()), Arc::new(FakeEngines::default()));
        let shutdown = CancellationToken::new();
        let api = Api::new(Parts {
            service: service.clone(),
            webhooks: Arc::new(crate::webhooks::FakeWebhooks::default()),
            engines: engines.clone(),
            catalog: Arc::new(FakeCatalog),
            metrics: MetricsHandle::detached().unwrap(),
            limits,
            hosts,
            shutdown: shutdown.clone(),
        });
        Self {
            service,
            engines,
            shutdown,
            limits,
            api,
        }
    }

    pub(crate) fn router(&self) -> axum::Router {
        nestor_api::router(self.api.clone())
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        self.router().oneshot(request).await.unwrap()
    }

    /// `METHOD path`, perhaps with headers and a body behind it:
    /// `POST /x\nheader: value\n\nbody`.
    pub(crate) async fn ask(&self, text: &str) -> Answer {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("x-correlation-id", "test");
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        if !body.is_empty() {
            request = request.header("content-length", body.len());
        }
        Answer::of(
            self.send(request.body(Body::from(body.to_owned())).unwrap())
                .await,
        )
        .await
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// Status, the headers that matter, and the body, as a text to compare.
    pub(crate) fn shown(&self) -> String {
        let mut text = format!("{}\n", self.status.as_u16());
        for name in ["content-type", "location", "retry-after", "allow"] {
            if !self.header(name).is_empty() {
                text.push_str(&format!("{name}: {}\n", self.header(name)));
            }
        }
        match serde_json::from_str::<Value>(&self.body) {
            Ok(json) => text.push_str(&serde_json::to_string_pretty(&json).unwrap()),
            Err(_) => text.push_str(&self.body),
        }
        text.push('\n');
        text
    }
}
