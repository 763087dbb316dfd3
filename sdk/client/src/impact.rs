//! What a change would touch: questions and answers.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::client::{ANSWER, Client, Reply};
use crate::error::ClientError;

impl Client {
    /// What a change of one resource would touch, in this deployment and in
    /// others; without a resource, what the deletion of all of it would.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn impact(
        &self,
        id: &str,
        resource: Option<&str>,
    ) -> Result<Reply<Impact>, ClientError> {
        let mut url = self.url(&["api", "v1", "deployments", id, "impact"]);
        if let Some(resource) = resource {
            url.query_pairs_mut().append_pair("resource", resource);
        }
        self.json(self.http.get(url.clone()), &url, ANSWER).await
    }

    /// What a change of a definition would touch: of this version, or of all.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn definition_impact(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Reply<Impact>, ClientError> {
        let mut url = self.url(&["api", "v1", "catalog", "definitions", name, "impact"]);
        if let Some(version) = version {
            url.query_pairs_mut().append_pair("version", version);
        }
        self.json(self.http.get(url.clone()), &url, ANSWER).await
    }

    /// What another version of an engine might touch.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn engine_impact(&self, name: &str) -> Result<Reply<Impact>, ClientError> {
        self.get(&["api", "v1", "engines", name, "impact"]).await
    }
}

/// What a change would touch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Impact {
    /// Where the change is; absent when it is in the catalog or an engine.
    #[serde(default)]
    pub deployment: Option<String>,
    /// `deletion`, `resource NAME`, `revision N`, `definition NAME[:VERSION]` or
    /// `engine NAME`.
    pub change: String,
    /// Every resource of this deployment, and those of others that it would
    /// or might touch.
    #[serde(default)]
    pub resources: Vec<Touched>,
    /// Counts by `certainly`, `possibly` and `not`.
    #[serde(default)]
    pub summary: BTreeMap<String, u32>,
    /// More deployments may be touched than were looked at.
    #[serde(default)]
    pub truncated: bool,
}

/// One resource that a change touches, or not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Touched {
    /// Whose it is.
    pub deployment: String,
    /// Its name there.
    pub resource: String,
    /// `certainly`, `possibly` or `not`.
    pub affected: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// From where the change begins, each `deployment/resource`.
    #[serde(default)]
    pub path: Vec<String>,
}
