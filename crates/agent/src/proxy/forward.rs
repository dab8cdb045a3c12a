//! Passes a request on to the model server and its answer back.
//!
//! ```text
//!   request ──> id, trace, deadline ──> admission ──> circuit ──> HTTP/1.1, or HTTP/2 for gRPC ──> answer
//!                                          │ 429, 503    │ 503         │ 502, 504
//! ```
//!
//! Probes and questions about the model are not held up by the limit, nor by the circuit. Absent on purpose: upgrades of a
//! connection.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Request, Response, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::admission::{Admission, Refused};
use super::arguments::Protocol;
use super::capture::{Budget, Captured, End, Observer, Tee};
use super::circuit::{self, Attempt, Circuit};
use super::deadline::Deadline;
use super::exchange::{Exchange, Sending};
use super::line::{Line, Unanswered, pooled};
use super::log::{Inlet, Wanted};
use super::measurements::{Measurements, Now};
use super::mirror::Mirror;
use super::outcome::Outcome;
use super::payload::Form;
use super::refusal::{Refusal, ResponseBody};
use super::request::{REQUEST_ID, inference, is_grpc, is_question, request_id};
use super::trace::Trace;
use super::upstream::{as_http1, client, remove_hop_by_hop, uri};
use crate::report::chain;

type RequestBody = Tee<Incoming, Watch>;
/// The connection to the server of a client's connection.
pub type Upstream = Line<RequestBody>;

/// How requests are passed on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The model server.
    pub upstream: Authority,
    /// Its port for gRPC.
    pub grpc_upstream: Authority,
    /// What it is asked in.
    pub protocol: Protocol,
    /// How long an answer may take to begin.
    pub timeout: Option<Duration>,
    /// The share of requests that is logged.
    pub sample: f64,
    /// The share of requests whose predictions are counted.
    pub count_predictions: f64,
}

/// What all threads share.
pub struct Shared {
    /// How requests are passed on.
    pub settings: Settings,
    /// What counts them.
    pub measurements: Arc<Measurements>,
    /// Where their rows go.
    pub log: Option<Inlet>,
    /// Where their copies go.
    pub mirror: Option<Arc<Mirror>>,
    /// What lets them in.
    pub admission: Admission,
    /// The circuit to the server.
    pub circuit: Circuit,
    /// The circuit to its port for gRPC.
    pub grpc_circuit: Circuit,
    /// What may be kept of bodies.
    pub budget: Budget,
}

impl Shared {
    /// What is so at the moment.
    pub fn now(&self, spool_bytes: u64) -> Now {
        Now {
            waiting: self.admission.waiting() as u64,
            is_open: !(self.circuit.is_closed() && self.grpc_circuit.is_closed()),
            spool_bytes,
        }
    }
}

/// What passes requests on, of one thread.
pub struct Forwarder {
    shared: Arc<Shared>,
    http: Client<HttpConnector, RequestBody>,
    grpc: Client<HttpConnector, RequestBody>,
}

/// What is known of a request with its head.
struct Arrival {
    started: Instant,
    id: HeaderValue,
    trace: Trace,
    deadline: Deadline,
    is_grpc: bool,
}

impl Forwarder {
    /// Has connections of its own.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            http: client(false),
            grpc: client(true),
        }
    }

    /// Answers a request of the client that has this line to the server.
    pub async fn answer(
        &self,
        mut request: Request<Incoming>,
        line: &Upstream,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let started = Instant::now();
        let is_grpc = is_grpc(request.headers());
        let arrival = Arrival {
            started,
            id: request_id(request.headers_mut()),
            trace: Trace::pass_on(request.headers_mut()),
            deadline: Deadline::new(request.headers(), self.shared.settings.timeout, started),
            is_grpc,
        };
        let exchange = (!is_question(&request, is_grpc)).then(|| self.exchange(&request, &arrival));
        let id = arrival.id.clone();
        let mut response = match self.pass_on(request, &arrival, exchange, line).await {
            Ok(response) => response,
            Err((refusal, why)) => refusal.answer(is_grpc, &why),
        };
        response.headers_mut().insert(REQUEST_ID, id);
        Ok(response)
    }

    /// The server's answer, or why there is none.
    async fn pass_on(
        &self,
        request: Request<Incoming>,
        arrival: &Arrival,
        mut exchange: Option<Exchange>,
        line: &Upstream,
    ) -> Result<Response<ResponseBody>, (Refusal, String)> {
        let mut attempt = None;
        if let Some(open) = &mut exchange {
            match self.turn(arrival).await {
                Ok(permit) => open.permit = permit,
                Err(refusal) => return Err(unasked(exchange, refusal)),
            }
            // The server does not work on an answer that nobody waits for.
            if arrival.deadline.at.is_some_and(|at| at <= Instant::now()) {
                let refusal = (Refusal::DeadlineIsOver, too_late(arrival));
                return Err(unasked(exchange, refusal));
            }
            // It may have to connect first.
            let attempted = match arrival.deadline.at {
                Some(at) => timeout_at(at, self.attempt(arrival))
                    .await
                    .unwrap_or_else(|_| Err((Refusal::DeadlineIsOver, too_late(arrival)))),
                None => self.attempt(arrival).await,
            };
            match attempted {
                Ok(may_ask) => attempt = Some(may_ask),
                Err(refusal) => return Err(unasked(exchange, refusal)),
            }
        }
        self.ask(request, arrival, exchange, attempt, line).await
    }

    /// The server that a request is for.
    fn server(&self, arrival: &Arrival) -> &Authority {
        let settings = &self.shared.settings;
        if arrival.is_grpc {
            &settings.grpc_upstream
        } else {
            &settings.upstream
        }
    }

    /// Whether the server is to be asked.
    async fn attempt(&self, arrival: &Arrival) -> Result<Attempt<'_>, (Refusal, String)> {
        let server = self.server(arrival);
        let circuit = if arrival.is_grpc {
            &self.shared.grpc_circuit
        } else {
            &self.shared.circuit
        };
        circuit.attempt(server).await.map_err(|refused| match refused {
            circuit::Refused::IsOpen => {
                let why = format!(
                    "the model server at {server} is not answering: it took no connections a moment ago, and is asked again in a second"
                );
                (Refusal::CircuitIsOpen, why)
            }
            circuit::Refused::TakesNone(why) => {
                let why =
                    format!("the model server at {server} does not take connections: {why}");
                (Refusal::NoAnswer, why)
            }
        })
    }

    /// A request's turn at the server.
    async fn turn(
        &self,
        arrival: &Arrival,
    ) -> Result<Option<OwnedSemaphorePermit>, (Refusal, String)> {
        let entered = self.shared.admission.enter(arrival.deadline.at).await;
        entered.map_err(|refused| match refused {
            Refused::QueueIsFull => {
                let why = "too many requests: as many as --queue allows are waiting for the model server already";
                (Refusal::TooMany, why.to_owned())
            }
            Refused::WaitIsOver => {
                let waited = arrival.started.elapsed().as_millis();
                let why = format!("the model server is busy: the request has waited for {waited} ms, as long as --queue-wait allows");
                (Refusal::WaitIsOver, why)
            }
            Refused::DeadlineIsOver => (Refusal::DeadlineIsOver, too_late(arrival)),
        })
    }

    async fn ask(
        &self,
        request: Request<Incoming>,
        arrival: &Arrival,
        exchange: Option<Exchange>,
        attempt: Option<Attempt<'_>>,
        line: &Upstream,
    ) -> Result<Response<ResponseBody>, (Refusal, String)> {
        let server = self.server(arrival);
        let request = Self::rewritten(request, arrival, exchange.as_ref(), server);
        let asked = async {
            if arrival.is_grpc {
                Ok(self.grpc.request(request).await?)
            } else if self.shared.admission.limit().is_some() {
                pooled(request, server, &self.http).await
            } else {
                line.request(request, server, &self.http).await
            }
        };
        let answered = match arrival.deadline.at {
            Some(at) => timeout_at(at, asked).await,
            None => Ok(asked.await),
        };
        let refusal = match answered {
            Ok(Ok(response)) => {
                if let Some(attempt) = attempt {
                    attempt.succeeded();
                }
                let (mut head, body) = response.into_parts();
                remove_hop_by_hop(&mut head.headers);
                head.version = Version::HTTP_11;
                let body = match exchange {
                    Some(exchange) => exchange.watch(&head, body),
                    None => body.boxed_unsync(),
                };
                return Ok(Response::from_parts(head, body));
            }
            Ok(Err(problem)) => {
                debug!("no answer from the model server: {}", chain(&problem));
                if let Some(attempt) = attempt {
                    if problem.is_connect() {
                        attempt.failed(Instant::now());
                    } else {
                        attempt.succeeded();
                    }
                }
                (Refusal::NoAnswer, unreachable(server, &problem))
            }
            Err(_) => (Refusal::DeadlineIsOver, too_late(arrival)),
        };
        if let Some(exchange) = exchange {
            exchange.finish(Outcome::Status(refusal.0.status().as_u16()));
        }
        Err(refusal)
    }

    /// The request as the server gets it: its own path, headers and body, without what was about the connection.
    fn rewritten(
        request: Request<Incoming>,
        arrival: &Arrival,
        exchange: Option<&Exchange>,
        server: &Authority,
    ) -> Request<RequestBody> {
        let (mut head, body) = request.into_parts();
        remove_hop_by_hop(&mut head.headers);
        if head.version == Version::HTTP_2 && !arrival.is_grpc {
            as_http1(&mut head.headers, head.uri.authority());
        }
        head.version = Version::HTTP_11;
        if head.uri.authority().is_some() || arrival.is_grpc {
            let path = head.uri.path_and_query().cloned();
            head.uri = Uri::from(path.unwrap_or(PathAndQuery::from_static("/")));
        }
        if arrival.is_grpc {
            head.uri = uri(server, head.uri.into_parts().path_and_query);
            head.version = Version::HTTP_2;
            head.headers.remove(header::HOST);
            // Without it a server of gRPC believes that there is something in between that takes trailers away.
            head.headers
                .insert(header::TE, HeaderValue::from_static("trailers"));
        }
        arrival.deadline.pass_on(&mut head.headers, Instant::now());
        // An answer that is to be read has to be readable: servers that would compress it are not asked to.
        if exchange.is_some_and(|exchange| exchange.request.is_some() || exchange.may_stream) {
            head.headers.remove(header::ACCEPT_ENCODING);
        }
        let mut watch = Watch {
            kept: exchange.and_then(|exchange| exchange.request.clone()),
            sending: exchange.map(|exchange| Arc::clone(&exchange.sending)),
        };
        // Of a body without a byte nobody asks for the end.
        if body.is_end_stream() {
            watch.end(End::Whole);
        }
        Request::from_parts(head, Tee::new(body, watch))
    }

    fn exchange(&self, request: &Request<Incoming>, arrival: &Arrival) -> Exchange {
        let Shared {
            settings,
            measurements,
            log,
            mirror,
            budget,
            ..
        } = &*self.shared;
        let form = inference(settings.protocol, request, arrival.is_grpc);
        let wanted = Wanted {
            rows: form.is_some() && is_chosen(settings.sample),
            predictions: form.is_some() && is_chosen(settings.count_predictions),
        };
        let log = log.clone().filter(|_| wanted != Wanted::default());
        let mirror = match (form, mirror) {
            (Some(form), Some(mirror)) => mirror
                .head(request, form)
                .map(|head| (Arc::clone(mirror), head)),
            _ => None,
        };
        let captured = (log.is_some() || mirror.is_some()).then(|| {
            let is_read = settings.protocol != Protocol::Raw || mirror.is_some();
            let captured = if is_read {
                Captured::new(budget)
            } else {
                Captured::counting(budget)
            };
            Arc::new(Mutex::new(captured))
        });
        Exchange {
            started: arrival.started.into_std(),
            received: Timestamp::now(),
            id: arrival.id.clone(),
            trace: arrival.trace,
            is_grpc: arrival.is_grpc,
            measurements: Arc::clone(measurements),
            log,
            wanted,
            mirror,
            form: form.unwrap_or(Form::JSON),
            may_stream: settings.protocol == Protocol::OpenAI && form.is_some(),
            budget: budget.clone(),
            sending: Arc::default(),
            request: captured,
            permit: None,
            response: None,
            stream: None,
            outcome: None,
            is_counted: false,
        }
    }
}

/// Counts a request that the server is not asked.
fn unasked(exchange: Option<Exchange>, refusal: (Refusal, String)) -> (Refusal, String) {
    if let Some(exchange) = exchange {
        match refusal.0 {
            Refusal::TooMany => exchange.refuse(),
            refusal => exchange.finish_unasked(Outcome::Status(refusal.status().as_u16())),
        }
    }
    refusal
}

fn unreachable(server: &Authority, problem: &Unanswered) -> String {
    format!(
        "the model server at {server} did not answer: {}",
        chain(problem)
    )
}

fn too_late(arrival: &Arrival) -> String {
    let spent = arrival.started.elapsed().as_millis();
    format!(
        "the model server's answer has not begun after {spent} ms, which is as long as the client or --timeout allows"
    )
}

/// Sees how far a request's body comes, and keeps it where it is wanted.
pub struct Watch {
    kept: Option<Arc<Mutex<Captured>>>,
    sending: Option<Arc<Sending>>,
}

impl Observer for Watch {
    fn waits(&mut self, waits: bool) {
        if let Some(sending) = &self.sending {
            sending.waits(waits);
        }
    }

    fn data(&mut self, chunk: &Bytes) {
        if let Some(kept) = &mut self.kept {
            kept.data(chunk);
        }
    }

    fn trailers(&mut self, _: &HeaderMap) {}

    fn end(&mut self, end: End) {
        if let Some(sending) = &self.sending {
            sending.end(end);
        }
        if let Some(kept) = &mut self.kept {
            kept.end(end);
        }
    }
}

/// True for a share of the requests, by chance.
fn is_chosen(share: f64) -> bool {
    share >= 1.0 || (share > 0.0 && rand::random::<f64>() < share)
}
