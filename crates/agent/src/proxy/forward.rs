//! Passes a request on to the model server and its answer back, measuring and looking on.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;
use tracing::debug;
use uuid::Uuid;

use super::capture::{Budget, Captured, End, Observer, Tee};
use super::log::{Entry, Inlet};
use super::measurements::{Measurements, Outcome};
use super::payload::guessed_rows;
use crate::report::chain;

/// How many bytes of bodies the proxy keeps for the log at once.
const KEPT_BYTES: usize = 64 << 20;

/// How long a connection to the server stays open without a request: shorter than model servers' own limits,
/// so that no request is sent on a connection that the server is about to close.
const IDLE: Duration = Duration::from_secs(1);

/// Headers that are about one connection, not about the message (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];

type RequestBody = Tee<Incoming, Watch>;
/// The body of an answer to a client.
pub type ResponseBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// What passes requests on.
pub struct Forwarder {
    upstream: Authority,
    client: Client<HttpConnector, RequestBody>,
    measurements: Arc<Measurements>,
    log: Option<Inlet>,
    sample: f64,
    budget: Budget,
}

impl Forwarder {
    /// Passes on to a server; hands a share of the requests, `sample` of 1, to the log.
    pub fn new(
        upstream: Authority,
        measurements: Arc<Measurements>,
        log: Option<Inlet>,
        sample: f64,
    ) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1024)
            .build(connector);
        Self {
            upstream,
            client,
            measurements,
            log,
            sample,
            budget: Budget::new(KEPT_BYTES),
        }
    }

    /// Answers a request.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let exchange = Exchange::new(self, &request);
        let request = self.rewritten(request, exchange.as_ref());
        Ok(match self.client.request(request).await {
            Ok(response) => {
                let (mut parts, body) = response.into_parts();
                remove_hop_by_hop(&mut parts.headers);
                parts.version = Version::HTTP_11;
                match exchange {
                    Some(exchange) => {
                        Response::from_parts(parts.clone(), exchange.watch(parts.status, body))
                    }
                    None => Response::from_parts(parts, body.boxed_unsync()),
                }
            }
            Err(problem) => {
                debug!("no answer from the model server: {}", chain(&problem));
                if let Some(exchange) = exchange {
                    exchange.finish(Outcome::Status(StatusCode::BAD_GATEWAY.as_u16()));
                }
                self.unreachable(&problem)
            }
        })
    }

    /// The request as the server gets it: its own path, headers and body, without what was about the connection.
    fn rewritten(
        &self,
        request: Request<Incoming>,
        exchange: Option<&Exchange>,
    ) -> Request<RequestBody> {
        let (mut parts, body) = request.into_parts();
        let mut uri = Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.upstream.clone());
        uri.path_and_query = Some(
            parts
                .uri
                .path_and_query()
                .cloned()
                .unwrap_or(PathAndQuery::from_static("/")),
        );
        parts.uri = Uri::from_parts(uri).expect("a scheme, an authority and a path are a URI");
        parts.version = Version::HTTP_11;
        remove_hop_by_hop(&mut parts.headers);
        // An answer that is to be logged has to be read: servers that would compress it are not asked to.
        if exchange.is_some_and(|exchange| exchange.log.is_some()) {
            parts.headers.remove(header::ACCEPT_ENCODING);
        }
        let watch = Watch(exchange.and_then(|exchange| exchange.request.clone()));
        Request::from_parts(parts, Tee::new(body, watch))
    }

    fn unreachable(&self, problem: &hyper_util::client::legacy::Error) -> Response<ResponseBody> {
        let message = format!(
            "windlass: the model server at {} did not answer: {}",
            self.upstream,
            chain(problem)
        );
        let body = serde_json::json!({ "error": message }).to_string();
        let mut response = Response::new(
            Full::new(Bytes::from(body))
                .map_err(|never| match never {})
                .boxed_unsync(),
        );
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        response
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Keeps a request's body where it is wanted.
struct Watch(Option<Arc<Mutex<Captured>>>);

impl Observer for Watch {
    fn data(&mut self, chunk: &Bytes) {
        if let Some(captured) = &mut self.0 {
            captured.data(chunk);
        }
    }

    fn end(&mut self, end: End) {
        if let Some(captured) = &mut self.0 {
            captured.end(end);
        }
    }
}

/// A request to the model, from its head to the end of its answer.
///
/// It is counted once, whatever becomes of it: dropped halfway, it is counted as not answered.
struct Exchange {
    started: Instant,
    received: Timestamp,
    measurements: Arc<Measurements>,
    log: Option<Inlet>,
    budget: Budget,
    request: Option<Arc<Mutex<Captured>>>,
    response: Option<Captured>,
    status: Option<StatusCode>,
    is_counted: bool,
}

impl Exchange {
    /// Absent for what is no request to the model: probes and questions about it.
    fn new(forwarder: &Forwarder, request: &Request<Incoming>) -> Option<Self> {
        if matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        ) {
            return None;
        }
        let is_logged = is_inference(request) && is_sampled(forwarder.sample);
        let log = forwarder.log.clone().filter(|_| is_logged);
        let request = log
            .as_ref()
            .map(|_| Arc::new(Mutex::new(Captured::new(&forwarder.budget))));
        Some(Self {
            started: Instant::now(),
            received: Timestamp::now(),
            measurements: Arc::clone(&forwarder.measurements),
            log,
            budget: forwarder.budget.clone(),
            request,
            response: None,
            status: None,
            is_counted: false,
        })
    }

    /// The answer's body with this looking on.
    fn watch(mut self, status: StatusCode, body: Incoming) -> ResponseBody {
        self.status = Some(status);
        if self.log.is_some() && status.is_success() {
            self.response = Some(Captured::new(&self.budget));
        }
        // A body without a byte is over before anyone reads it.
        if hyper::body::Body::is_end_stream(&body) {
            self.finish(Outcome::Status(status.as_u16()));
            return body.boxed_unsync();
        }
        Tee::new(body, self).boxed_unsync()
    }

    fn finish(mut self, outcome: Outcome) {
        self.conclude(outcome);
    }

    fn conclude(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_counted, true) {
            return;
        }
        self.measurements.count(outcome, self.started.elapsed());
        let (Some(log), Some(request)) = (self.log.take(), self.request.take()) else {
            return;
        };
        // The request's body is done with: whoever still holds it sees an empty one.
        let request = std::mem::replace(
            &mut *request.lock().expect("no thread panics with it"),
            Captured::new(&self.budget),
        );
        let response = self.response.take();
        let is_readable = request.is_whole() && response.as_ref().is_none_or(Captured::is_whole);
        if is_readable {
            log.hand_in(Entry {
                received: self.received,
                request,
                response,
            });
        } else {
            self.measurements.dropped(guessed_rows(request.beginning()));
        }
    }
}

impl Observer for Exchange {
    fn data(&mut self, chunk: &Bytes) {
        if let Some(response) = &mut self.response {
            response.data(chunk);
        }
    }

    fn end(&mut self, end: End) {
        let outcome = match (end, self.status) {
            (End::Whole | End::Dropped, Some(status)) => Outcome::Status(status.as_u16()),
            (End::Broken, _) | (_, None) => Outcome::Unanswered,
        };
        if end != End::Whole {
            self.response = None;
        }
        self.conclude(outcome);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.conclude(Outcome::Unanswered);
    }
}

/// `POST /v2/models/{model}[/versions/{version}]/infer`, in JSON alone.
fn is_inference(request: &Request<Incoming>) -> bool {
    let path = request.uri().path();
    request.method() == Method::POST && path.starts_with("/v2/models/") && path.ends_with("/infer")
}

/// True for a share of the requests, by chance.
fn is_sampled(share: f64) -> bool {
    if share >= 1.0 {
        return true;
    }
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
    let chance = Uuid::new_v4().as_u64_pair().1.wrapping_mul(4) as f64 / u64::MAX as f64;
    chance < share
}
