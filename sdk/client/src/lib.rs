//! A typed client of the Nestor API.
//!
//! ```no_run
//! # async fn f() -> Result<(), nestor_client::ClientError> {
//! use futures::TryStreamExt;
//! let client = nestor_client::Client::new("http://127.0.0.1:8080")?;
//! let accepted = client.submit(std::fs::read("web-app.json").unwrap(), None).await?;
//! let mut events = client.events(&accepted.id, Default::default());
//! while let Some(event) = events.try_next().await? {
//!     println!("{} {}", event.kind, event.message);
//! }
//! # Ok(()) }
//! ```
//!
//! Answers of newer hosts are read too: unknown fields are kept in
//! [`Reply::raw`] and unknown statuses become `Unknown`.

mod client;
mod error;
mod events;
mod form;
mod impact;
mod model;
mod sse;
mod webhook;

pub use client::{Client, Filter, Part, Reply};
pub use error::{ClientError, Problem, Violation};
pub use events::{EventOptions, EventStream};
pub use impact::{Impact, Touched};
pub use model::{
    Accepted, Approval, Change, Definition, DefinitionList, DefinitionVersions, Delivery,
    Deployment, DeploymentPage, DeploymentStatus, DeploymentSummary, Drift, Engine, EngineList,
    Event, Graph, GraphEdge, GraphNode, OutputDeclaration, Plan, PlannedChange, Resource,
    ResourceDrift, ResourceStatus, Revision,
};
pub use webhook::{
    DeadLetter, DeadLetters, Redelivered, Webhook, WebhookFailure, WebhookFilter, WebhookTest,
    Webhooks,
};
