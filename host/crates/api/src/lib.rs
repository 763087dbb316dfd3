//! The HTTP API: routes, problem+json errors, OpenAPI.
//!
//! [`Api`] is put together from a [`Service`], an [`EngineAdmin`] and a
//! catalog; [`router`] makes it a service and [`serve`] puts that on a
//! listener. Every error leaves as RFC 9457 problem+json, written in one
//! place, with the correlation id under which the log has more; what the host
//! knows inside never leaves.

mod correlation;
mod extract;
mod frame;
mod glue;
pub mod limits;
pub mod metrics;
mod openapi;
mod origin;
mod pages;
mod problem;
mod request;
mod router;
mod routes;
mod server;
mod service;
mod state;
mod view;

pub use correlation::{CORRELATION_ID, REQUEST_ID};
pub use limits::{Limits, MAX_COMPONENT_BYTES, MAX_MANIFEST_BYTES, MAX_PAGE};
pub use metrics::{MetricsError, MetricsHandle};
pub use openapi::json as openapi_json;
pub use origin::Hosts;
pub use pages::page as error_page;
pub use problem::{Problem, ProblemCode, ProblemView, ViolationView};
pub use request::{
    ApproveRequest, DeliveryRequest, DependencyRequest, DeploymentRequest, DriftRequest,
    EngineUploadForm, OnFailureRequest, PolicyRequest, RedeliverRequest, ResourceRequest,
    RollbackRequest, WebhookFilterRequest, WebhookRequest,
};
pub use router::router;
pub use routes::events::END as END_EVENT;
pub use server::serve;
pub use service::{EngineAdmin, EngineRejection, EngineUpload, Put, Service, WebhookAdmin};
pub use state::{Api, Parts};
pub use view::{
    DefinitionList, DefinitionSummary, DefinitionVersions, DefinitionView, EngineList,
    EngineSource, EngineStatusView, EngineView, OutputView,
};
