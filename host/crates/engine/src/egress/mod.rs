//! Outgoing HTTP: the only network that a guest has.
//!
//! In this order: parse strictly, match the grant, resolve, look at every
//! address, connect to one of those, TLS for the name that was granted.
//! Redirects are handed to the engine as they are; what it asks for next comes
//! through here again. A denial reaches the guest as `HTTP-request-denied`, and
//! the deployment's log and the audit with its reason.

mod address;
mod exchange;
mod target;

use std::sync::Arc;

use nestor_core::grant::Grant;
use nestor_core::ids::EngineId;
use nestor_core::ports::{CallObserver, LogLevel};
use serde_json::json;
use tokio::time::Instant;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::metrics::REQUESTS;
use exchange::exchange;
use target::Target;

/// The way out of one call.
pub(crate) struct Egress {
    engine: EngineId,
    grant: Arc<Grant>,
    observer: Arc<dyn CallObserver>,
    /// The end of the call.
    until: Instant,
}

impl Egress {
    pub(crate) fn new(
        engine: EngineId,
        grant: Arc<Grant>,
        observer: Arc<dyn CallObserver>,
        until: Instant,
    ) -> Self {
        Self {
            engine,
            grant,
            observer,
            until,
        }
    }

    fn count(engine: &EngineId, result: &'static str) {
        metrics::counter!(REQUESTS, "engine" => engine.to_string(), "result" => result)
            .increment(1);
    }
}

/// Why a request was not sent, or failed.
pub(crate) enum Refusal {
    /// By the grant or the address filter; the reason is for people.
    Denied(String),
    Failed(Error),
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send>;

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Sent {
        let engine = self.engine.clone();
        let observer = Arc::clone(&self.observer);
        let until = self.until;
        let allowed = Target::parse(request.method(), request.uri()).and_then(|target| {
            let rule = self.grant.allows_request(
                target.scheme,
                &target.host,
                target.port,
                request.method().as_str(),
                &target.path,
            )?;
            match &rule.auth {
                None => Ok((target, rule.clone())),
                Some(auth) => Err(format!(
                    "{} needs the secret {:?}, but this host has no source of secrets",
                    rule.origin, auth.secret
                )),
            }
        });
        Box::new(async move {
            let answered = match allowed {
                Ok((target, rule)) => exchange(request, target, rule, until).await,
                Err(reason) => Err(Refusal::Denied(reason)),
            };
            match answered {
                Ok(answer) => {
                    Self::count(&engine, "sent");
                    Ok(answer)
                }
                Err(Refusal::Failed(error)) => {
                    Self::count(&engine, "failed");
                    Err(error)
                }
                Err(Refusal::Denied(reason)) => {
                    Self::count(&engine, "denied");
                    tracing::warn!(target: "nestor::audit", %engine, reason, "request denied");
                    observer.log(
                        LogLevel::Warn,
                        &format!("request denied: {reason}"),
                        &json!({}),
                    );
                    Err(Error::HttpRequestDenied)
                }
            }
        })
    }
}
