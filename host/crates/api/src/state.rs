//! What every handler shares.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use nestor_core::ports::Catalog;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::limits::{BODY_BUDGET, Limits};
use crate::metrics::MetricsHandle;
use crate::origin::Hosts;
use crate::problem::Problem;
use crate::service::{EngineAdmin, Service, WebhookAdmin};

/// What an API is made of.
pub struct Parts {
    /// Deployments.
    pub service: Arc<dyn Service>,
    /// Webhooks.
    pub webhooks: Arc<dyn WebhookAdmin>,
    /// Engines.
    pub engines: Arc<dyn EngineAdmin>,
    /// Definitions.
    pub catalog: Arc<dyn Catalog>,
    /// What `/metrics` renders.
    pub metrics: MetricsHandle,
    /// How much and how long.
    pub limits: Limits,
    /// Under which names it is asked for.
    pub hosts: Hosts,
    /// Cancelled when the host is to stop: event streams end, new requests are
    /// refused, those under way finish.
    pub shutdown: CancellationToken,
}

/// The API; a cheap handle.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    parts: Parts,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// In kibibytes, because permits count in 32 bits.
    bodies: Arc<Semaphore>,
    /// Compiling a component takes all processors: one at a time.
    uploads: Arc<Semaphore>,
}

impl Api {
    /// Puts an API together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let limits = parts.limits;
        Self(Arc::new(Inner {
            parts,
            requests: Arc::new(Semaphore::new(limits.requests)),
            streams: Arc::new(Semaphore::new(limits.streams)),
            bodies: Arc::new(Semaphore::new(BODY_BUDGET >> 10)),
            uploads: Arc::new(Semaphore::new(1)),
        }))
    }

    pub(crate) fn service(&self) -> &Arc<dyn Service> {
        &self.0.parts.service
    }

    pub(crate) fn webhooks(&self) -> &Arc<dyn WebhookAdmin> {
        &self.0.parts.webhooks
    }

    pub(crate) fn engines(&self) -> &Arc<dyn EngineAdmin> {
        &self.0.parts.engines
    }

    pub(crate) fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.0.parts.catalog
    }

    pub(crate) fn metrics(&self) -> &MetricsHandle {
        &self.0.parts.metrics
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.parts.limits
    }

    pub(crate) fn hosts(&self) -> &Hosts {
        &self.0.parts.hosts
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.0.parts.shutdown
    }

    pub(crate) fn stopping(&self) -> bool {
        self.0.parts.shutdown.is_cancelled()
    }

    /// A place among the requests under way, if there is one.
    pub(crate) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.requests).try_acquire_owned().ok()
    }

    /// A place among the event streams, if there is one.
    pub(crate) fn admit_stream(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.streams).try_acquire_owned().ok()
    }

    /// The one place for an upload, if it is free.
    pub(crate) fn admit_upload(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.uploads).try_acquire_owned().ok()
    }

    /// Room for a body of that many bytes; waits for it.
    pub(crate) async fn room_for(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10).max(1)).ok()?;
        Arc::clone(&self.0.bodies)
            .acquire_many_owned(kib)
            .await
            .ok()
    }

    /// Runs a write in a task of its own: once begun it ends, whether or not
    /// the client stays to hear the answer, and a panic in it is an answer too.
    pub(crate) async fn detached<T, F>(&self, work: F) -> Result<T, Response>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        use tracing::Instrument;
        match tokio::spawn(work.in_current_span()).await {
            Ok(result) => result.map_err(IntoResponse::into_response),
            Err(error) => {
                let message = match error.try_into_panic() {
                    Ok(panic) => crate::frame::panic_text(panic.as_ref()).to_owned(),
                    Err(error) => error.to_string(),
                };
                tracing::error!(panic = message, "a request handler panicked");
                Err(Problem::internal().into_response())
            }
        }
    }
}
