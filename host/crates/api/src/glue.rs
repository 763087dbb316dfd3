//! The real orchestrator behind the API's trait.

use async_trait::async_trait;
use futures::stream::BoxStream;
use nestor_core::ids::WebhookName;
use nestor_orchestrator::report::ReportView;
use nestor_orchestrator::service::{Approving, ListFilter, Rejection, RequestMeta};
use nestor_orchestrator::view::{
    Accepted, DeploymentPage, DeploymentView, DriftView, EventView, GraphView, ImpactView,
    PlanView, RevisionView,
};
use nestor_orchestrator::webhooks::{
    DeadLetterPage, Redelivered, WebhookList, WebhookRejection, WebhookTest, WebhookView,
};
use nestor_orchestrator::{Offer, Orchestrator};

use crate::service::{Service, WebhookAdmin};

#[async_trait]
impl Service for Orchestrator {
    async fn submit(&self, body: &[u8], meta: RequestMeta) -> Result<Accepted, Rejection> {
        Orchestrator::submit(self, body, meta).await
    }
    async fn plan(&self, body: &[u8], meta: RequestMeta) -> Result<PlanView, Rejection> {
        Orchestrator::plan(self, body, meta).await
    }
    async fn plan_again(&self, id: &str, meta: RequestMeta) -> Result<PlanView, Rejection> {
        Orchestrator::plan_again(self, id, meta).await
    }
    async fn get(&self, id: &str) -> Result<DeploymentView, Rejection> {
        Orchestrator::get(self, id).await
    }
    async fn list(
        &self,
        filter: ListFilter,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<DeploymentPage, Rejection> {
        Orchestrator::list(self, filter, cursor, limit).await
    }
    async fn delete(&self, id: &str, meta: RequestMeta) -> Result<Accepted, Rejection> {
        Orchestrator::delete(self, id, meta).await
    }
    async fn approve(
        &self,
        id: &str,
        approving: Approving,
        meta: RequestMeta,
    ) -> Result<Accepted, Rejection> {
        Orchestrator::approve(self, id, approving, meta).await
    }
    async fn waiting_plan(&self, id: &str) -> Result<PlanView, Rejection> {
        Orchestrator::waiting_plan(self, id).await
    }
    async fn retry(&self, id: &str, meta: RequestMeta) -> Result<Accepted, Rejection> {
        Orchestrator::retry(self, id, meta).await
    }
    async fn cancel(&self, id: &str, meta: RequestMeta) -> Result<Accepted, Rejection> {
        Orchestrator::cancel(self, id, meta).await
    }
    async fn rollback(
        &self,
        id: &str,
        to_revision: Option<u64>,
        meta: RequestMeta,
    ) -> Result<Accepted, Rejection> {
        Orchestrator::rollback(self, id, to_revision, meta).await
    }
    async fn revisions(&self, id: &str) -> Result<Vec<RevisionView>, Rejection> {
        Orchestrator::revisions(self, id).await
    }
    async fn impact(&self, id: &str, resource: Option<&str>) -> Result<ImpactView, Rejection> {
        Orchestrator::impact(self, id, resource).await
    }
    async fn impact_of(&self, offer: &Offer) -> Result<ImpactView, Rejection> {
        Orchestrator::impact_of(self, offer).await
    }
    async fn report(&self, id: &str, run: Option<u64>) -> Result<ReportView, Rejection> {
        Orchestrator::report(self, id, run).await
    }
    async fn graph(&self, id: &str) -> Result<GraphView, Rejection> {
        Orchestrator::graph(self, id).await
    }
    async fn check_drift(
        &self,
        id: &str,
        remediate: bool,
        meta: RequestMeta,
    ) -> Result<Accepted, Rejection> {
        Orchestrator::check_drift(self, id, remediate, meta).await
    }
    async fn drift(&self, id: &str) -> Result<DriftView, Rejection> {
        Orchestrator::drift(self, id).await
    }
    async fn events(
        &self,
        id: &str,
        after: Option<u64>,
        follow: bool,
    ) -> Result<BoxStream<'static, EventView>, Rejection> {
        Orchestrator::events(self, id, after, follow).await
    }
    fn ready(&self) -> Result<(), String> {
        Orchestrator::ready(self)
    }
}

#[async_trait]
impl WebhookAdmin for Orchestrator {
    fn list(&self) -> WebhookList {
        Orchestrator::webhooks(self)
    }
    fn get(&self, name: &WebhookName) -> Result<WebhookView, WebhookRejection> {
        Orchestrator::webhook(self, name)
    }
    async fn put(
        &self,
        name: &WebhookName,
        body: &[u8],
    ) -> Result<(WebhookView, bool), WebhookRejection> {
        Orchestrator::put_webhook(self, name, body).await
    }
    async fn delete(&self, name: &WebhookName) -> Result<(), WebhookRejection> {
        Orchestrator::delete_webhook(self, name).await
    }
    async fn test(&self, name: &WebhookName) -> Result<WebhookTest, WebhookRejection> {
        Orchestrator::test_webhook(self, name).await
    }
    async fn dead_letters(
        &self,
        name: &WebhookName,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<DeadLetterPage, WebhookRejection> {
        Orchestrator::dead_letters(self, name, cursor, limit).await
    }
    async fn redeliver(
        &self,
        name: &WebhookName,
        ids: Option<&[String]>,
    ) -> Result<Redelivered, WebhookRejection> {
        Orchestrator::redeliver(self, name, ids).await
    }
}
