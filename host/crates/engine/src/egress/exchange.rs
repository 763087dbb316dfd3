//! One request and its answer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use nestor_core::grant::{HttpRule, Scheme};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, WasiBody};

use super::target::Target;
use super::{Io, Refusal, address};

/// A resolver that takes longer is broken.
const RESOLVE: Duration = Duration::from_secs(10);
/// Of one address.
const CONNECT: Duration = Duration::from_secs(10);
/// Tried one after the other.
const MAX_ADDRESSES: usize = 8;
/// Headers of a response, in bytes.
const MAX_HEADERS: usize = 64 << 10;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Sends a granted request. The connection is this request's alone: another
/// engine, or the same with another grant, never gets it.
pub(super) async fn exchange(
    request: Request<WasiBody>,
    target: Target,
    rule: HttpRule,
    until: Instant,
) -> Result<(Response<WasiBody>, Io), Refusal> {
    let deadline = until.min(Instant::now() + rule.deadline);
    timeout_at(deadline, async move {
        let addresses = resolve(&target, &rule).await?;
        let stream = connect(&addresses).await.map_err(Refusal::Failed)?;
        let stream: Box<dyn Stream> = match target.scheme {
            Scheme::Http => Box::new(stream),
            Scheme::Https => Box::new(secure(stream, &target).await.map_err(Refusal::Failed)?),
        };
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| Refusal::Failed(e.into()))?;
        // Ends with the exchange: the sender is dropped with the response.
        let connection = tokio::spawn(connection);
        let request = outgoing(request, &target, &rule, deadline).map_err(Refusal::Failed)?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| Refusal::Failed(e.into()))?;
        let response = response.map(|body| {
            let body = body.map_err(Error::from).boxed_unsync();
            Bounded::new(body, rule.max_body, deadline, Side::Response).boxed_unsync()
        });
        let abort = AbortOnDrop(connection.abort_handle());
        let io: Io = Box::new(async move {
            let _abort = abort;
            match timeout_at(deadline, connection).await {
                Ok(Ok(Err(e))) => Err(e.into()),
                _ => Ok(()),
            }
        });
        Ok((response, io))
    })
    .await
    .unwrap_or(Err(Refusal::Failed(Error::HttpResponseTimeout)))
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// All addresses of the host, if all of them are allowed: one bad among them
/// is an attack or a mistake.
async fn resolve(target: &Target, rule: &HttpRule) -> Result<Vec<SocketAddr>, Refusal> {
    let found: Vec<SocketAddr> = match target.address {
        Some(address) => vec![SocketAddr::new(address, target.port)],
        None => {
            let lookup = tokio::net::lookup_host((target.host.as_str(), target.port));
            match timeout(RESOLVE, lookup).await {
                Ok(Ok(found)) => found.take(MAX_ADDRESSES + 1).collect(),
                Ok(Err(_)) => {
                    return Err(Refusal::Failed(Error::DnsError {
                        rcode: None,
                        info_code: None,
                    }));
                }
                Err(_) => return Err(Refusal::Failed(Error::DnsTimeout)),
            }
        }
    };
    if found.is_empty() {
        return Err(Refusal::Failed(Error::DestinationNotFound));
    }
    for resolved in &found {
        address::check(resolved.ip(), rule.addresses)
            .map_err(|why| Refusal::Denied(format!("{} leads to {why}", target.host)))?;
    }
    Ok(found)
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut last = Error::DestinationUnavailable;
    for address in addresses.iter().take(MAX_ADDRESSES) {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => {
                last = Error::ConnectionRefused
            }
            Ok(Err(e)) => last = Error::Connect(e),
            Err(_) => last = Error::ConnectionTimeout,
        }
    }
    Err(last)
}

async fn secure(stream: TcpStream, target: &Target) -> Result<impl Stream + use<>, Error> {
    let name = match target.address {
        Some(address) => ServerName::from(address),
        None => {
            ServerName::try_from(target.host.clone()).map_err(|_| Error::HttpRequestUriInvalid)?
        }
    };
    let config = tls().ok_or(Error::ConfigurationError)?;
    TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|e| {
            let certificate = e
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                .is_some_and(|e| matches!(e, rustls::Error::InvalidCertificate(_)));
            if certificate {
                Error::TlsCertificateError
            } else {
                Error::Tls(e)
            }
        })
}

/// With the machine's own certificates, read when first needed.
fn tls() -> Option<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
    CONFIG
        .get_or_init(|| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .and_then(BuilderVerifierExt::with_platform_verifier);
            match config {
                Ok(config) => Some(Arc::new(config.with_no_client_auth())),
                Err(error) => {
                    tracing::error!(%error, "the machine's certificates cannot be read; HTTPS from engines fails");
                    None
                }
            }
        })
        .clone()
}

/// What goes onto the wire: path and query only, and `Host` from the granted
/// target, whatever the guest said.
fn outgoing(
    request: Request<WasiBody>,
    target: &Target,
    rule: &HttpRule,
    deadline: Instant,
) -> Result<Request<WasiBody>, Error> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path
        .parse::<Uri>()
        .map_err(|_| Error::HttpRequestUriInvalid)?;
    let host =
        HeaderValue::try_from(target.authority()).map_err(|_| Error::HttpRequestUriInvalid)?;
    parts.headers.insert(header::HOST, host);
    let body = Bounded::new(body, rule.max_body, deadline, Side::Request).boxed_unsync();
    Ok(Request::from_parts(parts, body))
}

#[derive(Clone, Copy)]
enum Side {
    Request,
    Response,
}

/// A body that ends with an error when it is too large or too late.
struct Bounded {
    inner: WasiBody,
    limit: u64,
    left: u64,
    deadline: Pin<Box<Sleep>>,
    side: Side,
}

impl Bounded {
    fn new(inner: WasiBody, limit: u64, deadline: Instant, side: Side) -> Self {
        Self {
            inner,
            limit,
            left: limit,
            deadline: Box::pin(tokio::time::sleep_until(deadline)),
            side,
        }
    }

    fn too_large(&self) -> Error {
        match self.side {
            Side::Request => Error::HttpRequestBodySize(Some(self.limit)),
            Side::Response => Error::HttpResponseBodySize(Some(self.limit)),
        }
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Error::HttpResponseTimeout)));
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err(self.too_large()))),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
