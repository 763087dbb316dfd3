//! The calls.

use std::ops::Deref;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{RequestBuilder, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{ClientError, Problem};
use crate::events::{EventOptions, EventStream, stream};
use crate::form;
use crate::model::{
    Accepted, DefinitionList, DefinitionVersions, Deployment, DeploymentPage, Drift, Engine,
    EngineList, Graph, Plan, Revision,
};

/// A server that does not answer a connection by then is not there.
const CONNECT: Duration = Duration::from_secs(5);
/// A little more than the server's own limit, so that its answer arrives.
pub(crate) const ANSWER: Duration = Duration::from_secs(35);
/// The same for calls that wait for engines.
const SLOW_ANSWER: Duration = Duration::from_secs(610);
/// Of a body that is not of the API, this much is shown.
const EXCERPT: usize = 200;

/// A client; a cheap handle.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    base: Url,
}

/// An answer: typed, and as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply<T> {
    /// What this version of the client knows of it.
    pub value: T,
    /// All of it.
    pub raw: Value,
}

impl<T> Deref for Reply<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Which deployments to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this composer.
    pub composer: Option<String>,
    /// In this environment.
    pub environment: Option<String>,
    /// With this status.
    pub status: Option<String>,
    /// With each of these labels, written `NAME=VALUE`.
    pub labels: Vec<String>,
}

/// Which resources of a deployment to work on; the default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Only these, and what they depend on.
    pub targets: Vec<String>,
    /// Only those that differ from what is deployed, and what depends on them.
    pub affected: bool,
}

impl Part {
    fn ask(&self, url: &mut Url) {
        for target in &self.targets {
            url.query_pairs_mut().append_pair("target", target);
        }
        if self.affected {
            url.query_pairs_mut().append_pair("affected", "true");
        }
    }
}

impl Client {
    /// A client of the server at an address such as `http://127.0.0.1:8080`.
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is not one, or is `https` and the machine has no
    /// certificates to check it against.
    pub fn new(base: &str) -> Result<Self, ClientError> {
        let invalid = |problem: String| ClientError::InvalidUrl {
            url: base.to_owned(),
            problem,
        };
        let mut url = Url::parse(base).map_err(|e| invalid(e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid(format!("{}: is not http or https", url.scheme())));
        }
        if url.host_str().is_none() || url.query().is_some() || url.fragment().is_some() {
            return Err(invalid(
                "it must be scheme, host and port, perhaps with a path".to_owned(),
            ));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        // Fails only when there is one already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("nestor-client/", env!("CARGO_PKG_VERSION")));
        if url.scheme() == "http" {
            // Plain text needs no certificates, and a small machine has none.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|e| {
            let mut cause: &dyn std::error::Error = &e;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            invalid(cause.to_string())
        })?;
        Ok(Self { http, base: url })
    }

    /// The address it was made with.
    #[must_use]
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Posts a deployment; durable when it answers.
    ///
    /// # Errors
    /// The server's problem with every violation, or the connection's.
    pub async fn submit(
        &self,
        body: impl Into<Bytes>,
        idempotency_key: Option<&str>,
    ) -> Result<Reply<Accepted>, ClientError> {
        let url = self.url(&["api", "v1", "deployments"]);
        let mut request = self
            .http
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body.into());
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        self.json(request, &url, ANSWER).await
    }

    /// Posts a part of a deployment, or one that shall be exactly a plan;
    /// durable when it answers.
    ///
    /// # Errors
    /// As [`Self::submit`]; `plan-moved` when something else would happen.
    pub async fn submit_part(
        &self,
        body: impl Into<Bytes>,
        idempotency_key: Option<&str>,
        part: &Part,
        plan: Option<&str>,
    ) -> Result<Reply<Accepted>, ClientError> {
        let mut url = self.url(&["api", "v1", "deployments"]);
        part.ask(&mut url);
        if let Some(plan) = plan {
            url.query_pairs_mut().append_pair("plan", plan);
        }
        let mut request = self
            .http
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body.into());
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        // With a plan the engines are asked once more.
        let limit = if plan.is_some() { SLOW_ANSWER } else { ANSWER };
        self.json(request, &url, limit).await
    }

    /// What posting a part of a deployment would change.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn plan_part(
        &self,
        body: impl Into<Bytes>,
        part: &Part,
    ) -> Result<Reply<Plan>, ClientError> {
        let mut url = self.url(&["api", "v1", "plans"]);
        part.ask(&mut url);
        let request = self
            .http
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body.into());
        self.json(request, &url, SLOW_ANSWER).await
    }

    /// The plan that waits for approval, or was approved last.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn waiting_plan(&self, id: &str) -> Result<Reply<Plan>, ClientError> {
        self.get(&["api", "v1", "deployments", id, "plan"]).await
    }

    /// Approves what waits; with a digest only that plan.
    ///
    /// # Errors
    /// The server's problem (`plan-moved` when another plan waits), or the
    /// connection's.
    pub async fn approve(
        &self,
        id: &str,
        plan: Option<&str>,
        comment: Option<&str>,
    ) -> Result<Reply<Accepted>, ClientError> {
        let body = serde_json::json!({ "plan": plan, "comment": comment });
        self.action(id, "approve", Some(body)).await
    }

    /// What posting a deployment would change.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn plan(&self, body: impl Into<Bytes>) -> Result<Reply<Plan>, ClientError> {
        let url = self.url(&["api", "v1", "plans"]);
        let request = self
            .http
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body.into());
        self.json(request, &url, SLOW_ANSWER).await
    }

    /// What applying the latest revision of a deployment again would change.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn plan_again(&self, id: &str) -> Result<Reply<Plan>, ClientError> {
        let url = self.url(&["api", "v1", "deployments", id, "plan"]);
        self.json(self.http.post(url.clone()), &url, SLOW_ANSWER)
            .await
    }

    /// One deployment.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn deployment(&self, id: &str) -> Result<Reply<Deployment>, ClientError> {
        self.get(&["api", "v1", "deployments", id]).await
    }

    /// A page of deployments, in order of id.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn deployments(
        &self,
        filter: &Filter,
        cursor: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Reply<DeploymentPage>, ClientError> {
        let mut url = self.url(&["api", "v1", "deployments"]);
        let limit = limit.map(|n| n.to_string());
        let labels = (!filter.labels.is_empty()).then(|| filter.labels.join(","));
        let pairs = [
            ("composer", filter.composer.as_deref()),
            ("environment", filter.environment.as_deref()),
            ("status", filter.status.as_deref()),
            ("label", labels.as_deref()),
            ("cursor", cursor),
            ("limit", limit.as_deref()),
        ];
        for (name, value) in pairs {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let request = self.http.get(url.clone());
        self.json(request, &url, ANSWER).await
    }

    /// In flight: cancels and unwinds. Settled: destroys in reverse order.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn delete(&self, id: &str) -> Result<Reply<Accepted>, ClientError> {
        let url = self.url(&["api", "v1", "deployments", id]);
        self.json(self.http.delete(url.clone()), &url, ANSWER).await
    }

    /// Goes on from the resources that failed.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn retry(&self, id: &str) -> Result<Reply<Accepted>, ClientError> {
        self.action(id, "retry", None).await
    }

    /// Stops what is under way.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn cancel(&self, id: &str) -> Result<Reply<Accepted>, ClientError> {
        self.action(id, "cancel", None).await
    }

    /// Goes back to a revision; none: the last one that was applied whole.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn rollback(
        &self,
        id: &str,
        revision: Option<u64>,
    ) -> Result<Reply<Accepted>, ClientError> {
        let body = revision.map(|revision| serde_json::json!({ "revision": revision }));
        self.action(id, "rollback", body).await
    }

    /// Every revision, the latest first.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn revisions(&self, id: &str) -> Result<Reply<Vec<Revision>>, ClientError> {
        self.get(&["api", "v1", "deployments", id, "revisions"])
            .await
    }

    /// The dependency graph of the current revision.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn graph(&self, id: &str) -> Result<Reply<Graph>, ClientError> {
        self.get(&["api", "v1", "deployments", id, "graph"]).await
    }

    /// Asks for a look for drift; with `remediate`, what is found is applied
    /// again. [`Self::drift`] shows `pending` until the look is over.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn check_drift(
        &self,
        id: &str,
        remediate: bool,
    ) -> Result<Reply<Accepted>, ClientError> {
        let body = remediate.then(|| serde_json::json!({ "remediate": true }));
        self.action(id, "drift", body).await
    }

    /// What the last look for drift saw.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn drift(&self, id: &str) -> Result<Reply<Drift>, ClientError> {
        self.get(&["api", "v1", "deployments", id, "drift"]).await
    }
    /// What a run did, as the API describes it; without a number the last.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn report(&self, id: &str, run: Option<u64>) -> Result<Reply<Value>, ClientError> {
        let mut url = self.url(&["api", "v1", "deployments", id, "report"]);
        if let Some(run) = run {
            url.query_pairs_mut().append_pair("run", &run.to_string());
        }
        self.json(self.http.get(url.clone()), &url, ANSWER).await
    }

    /// Events of a deployment. A connection that breaks is made again, and the
    /// stream goes on after the last durable event. Ends by itself when the
    /// deployment settled, unless `follow`.
    #[must_use]
    pub fn events(&self, id: &str, options: EventOptions) -> EventStream {
        stream(
            self.http.clone(),
            self.url(&["api", "v1", "deployments", id, "events"]),
            options,
        )
    }

    /// Every engine.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn engines(&self) -> Result<Reply<EngineList>, ClientError> {
        self.get(&["api", "v1", "engines"]).await
    }

    /// One engine.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn engine(&self, name: &str) -> Result<Reply<Engine>, ClientError> {
        self.get(&["api", "v1", "engines", name]).await
    }

    /// Puts a component in place of the engine of that name, or adds it.
    ///
    /// # Errors
    /// The server's problem, which says why it was refused, or the connection's.
    pub async fn put_engine(
        &self,
        name: &str,
        component: impl Into<Bytes>,
        manifest: Option<&str>,
    ) -> Result<Reply<Engine>, ClientError> {
        let url = self.url(&["api", "v1", "engines", name]);
        let component: Bytes = component.into();
        let (media, body) = match manifest {
            Some(manifest) => form::encode(&component, manifest),
            None => ("application/wasm".to_owned(), component),
        };
        let request = self
            .http
            .put(url.clone())
            .header(CONTENT_TYPE, media)
            .body(body);
        self.json(request, &url, SLOW_ANSWER).await
    }

    /// Takes a component away; answers the built-in that took its place, if any.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn delete_engine(&self, name: &str) -> Result<Option<Reply<Engine>>, ClientError> {
        let url = self.url(&["api", "v1", "engines", name]);
        match self
            .body(self.http.delete(url.clone()), &url, ANSWER)
            .await?
        {
            body if body.is_empty() => Ok(None),
            body => decode(&body, &url).map(Some),
        }
    }

    /// Every version of every definition.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn definitions(&self) -> Result<Reply<DefinitionList>, ClientError> {
        self.get(&["api", "v1", "catalog", "definitions"]).await
    }

    /// Every version of one definition.
    ///
    /// # Errors
    /// The server's problem, or the connection's.
    pub async fn definition(&self, name: &str) -> Result<Reply<DefinitionVersions>, ClientError> {
        self.get(&["api", "v1", "catalog", "definitions", name])
            .await
    }

    /// Whether the host takes requests.
    ///
    /// # Errors
    /// The server's problem that says why not, or the connection's.
    pub async fn ready(&self) -> Result<Reply<Value>, ClientError> {
        self.get(&["readyz"]).await
    }

    pub(crate) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("http addresses have a path")
            .pop_if_empty()
            .extend(path);
        url
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
    ) -> Result<Reply<T>, ClientError> {
        let url = self.url(path);
        self.json(self.http.get(url.clone()), &url, ANSWER).await
    }

    async fn action(
        &self,
        id: &str,
        action: &str,
        body: Option<Value>,
    ) -> Result<Reply<Accepted>, ClientError> {
        let url = self.url(&["api", "v1", "deployments", id, action]);
        let mut request = self.http.post(url.clone());
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.json(request, &url, ANSWER).await
    }

    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        url: &Url,
        limit: Duration,
    ) -> Result<Reply<T>, ClientError> {
        let body = self.body(request, url, limit).await?;
        decode(&body, url)
    }

    pub(crate) async fn body(
        &self,
        request: RequestBuilder,
        url: &Url,
        limit: Duration,
    ) -> Result<Bytes, ClientError> {
        let transport = |e: reqwest::Error| ClientError::of_transport(&e, &shown(url), limit);
        let response = request
            .timeout(limit)
            .header(ACCEPT, "application/json")
            .send()
            .await
            .map_err(transport)?;
        if response.status().is_success() {
            response.bytes().await.map_err(transport)
        } else {
            Err(refusal(response, url).await)
        }
    }
}

/// Without the path: what people recognise.
pub(crate) fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The error in an answer that is not a success.
pub(crate) async fn refusal(response: reqwest::Response, url: &Url) -> ClientError {
    let status = response.status().as_u16();
    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let retry_after = header(RETRY_AFTER)
        .and_then(|s| s.parse().ok())
        .map(Duration::from_secs);
    let is_problem =
        header(CONTENT_TYPE).is_some_and(|media| media.starts_with("application/problem+json"));
    let body = response.bytes().await.unwrap_or_default();
    match serde_json::from_slice::<Problem>(&body) {
        Ok(mut problem) if is_problem => {
            problem.retry_after = retry_after;
            ClientError::Problem(Box::new(problem))
        }
        _ => {
            let text = String::from_utf8_lossy(&body);
            let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c });
            let excerpt = visible.take(EXCERPT).collect();
            ClientError::Foreign {
                url: shown(url),
                status,
                excerpt,
            }
        }
    }
}

pub(crate) fn decode<T: DeserializeOwned>(body: &[u8], url: &Url) -> Result<Reply<T>, ClientError> {
    let unreadable = |e: serde_json::Error| ClientError::Unreadable {
        url: shown(url),
        reason: e.to_string(),
    };
    let raw: Value = serde_json::from_slice(body).map_err(unreadable)?;
    let value = T::deserialize(&raw).map_err(unreadable)?;
    Ok(Reply { value, raw })
}
