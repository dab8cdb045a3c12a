//! Sends copies of requests to another version, and compares the answers.
//!
//! ```text
//!   a request is over ──> a place is free? ──> the copy is sent ──> answers compared, row by row
//!                         room for its bodies?
//!                              │ no: count as dropped
//! ```
//!
//! Nobody waits for a copy, and what copies keep is apart from what the log keeps: a version that hangs costs the other one
//! no row. Absent on purpose: streams of gRPC and its other services, and copies of copies.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::debug;
use windlass_api::agent::Mirrored;

use super::arguments::Protocol;
use super::capture::{Budget, Captured, End, Observer};
use super::circuit::{Attempt, Circuit, Refused};
use super::measurements::Measurements;
use super::outcome::Outcome;
use super::payload::{self, Bodies, Form};
use super::refusal::grpc_status;
use super::signature::SignatureFile;
use super::upstream::{INFERENCE_HEADER_LENGTH, client, length_of, remove_hop_by_hop, uri};
use crate::report::chain;

/// How many copies are under way at most.
const COPIES: usize = 64;
/// How long a copy may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long no copies are made once nobody was there to take one: where nothing is tried, nothing has the name.
const SILENCE: Duration = Duration::from_secs(5);
/// What a copy says of itself.
const MIRRORED: HeaderName = HeaderName::from_static("x-windlass-mirrored");

/// What sends copies.
pub struct Mirror {
    settings: Settings,
    measurements: Arc<Measurements>,
    http: Client<HttpConnector, Full<Bytes>>,
    grpc: Client<HttpConnector, Full<Bytes>>,
    places: Arc<Semaphore>,
    circuit: Circuit,
}

/// The head of a copy.
#[derive(Debug)]
pub struct Head {
    method: Method,
    path: Option<PathAndQuery>,
    headers: HeaderMap,
}

/// A request that is over; its bodies are out of the mirror's own budget.
#[derive(Debug)]
struct Original {
    head: Head,
    request: Arc<Captured>,
    /// Its answer's body, where that was good.
    response: Option<Captured>,
    form: Form,
}

/// The answer to a copy.
struct Answer {
    outcome: Outcome,
    /// The length of its JSON, where it says one.
    length: Option<usize>,
    body: Captured,
}

/// A body that is sent as it is kept, and not copied once more.
struct Kept(Arc<Captured>);

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        self.0.content().unwrap_or_default()
    }
}

/// Where copies go, and of which requests there are any.
#[derive(Debug)]
pub struct Settings {
    /// The other version.
    pub to: Authority,
    /// The share of requests.
    pub share: f64,
    /// The protocol of both.
    pub protocol: Protocol,
    /// The model's signature.
    pub signature: Arc<SignatureFile>,
    /// What may be kept of copies and of the answers to them.
    pub budget: Budget,
}

impl Mirror {
    /// Sends nothing yet.
    pub fn new(settings: Settings, measurements: Arc<Measurements>) -> Self {
        Self {
            settings,
            measurements,
            http: client(false),
            grpc: client(true),
            places: Arc::new(Semaphore::new(COPIES)),
            circuit: Circuit::new(1, SILENCE),
        }
    }

    /// The head of a request's copy; absent where it is not to be copied.
    pub fn head<B>(&self, request: &Request<B>, form: Form) -> Option<Head> {
        // Of services of gRPC that are not known, calls may be streams.
        let is_known = form != Form::Grpc || self.settings.protocol == Protocol::OpenInference;
        let is_wanted = is_known
            && !request.headers().contains_key(MIRRORED)
            && self.circuit.may_ask(Instant::now());
        (is_wanted && rand::random::<f64>() < self.settings.share).then(|| {
            let mut headers = request.headers().clone();
            remove_hop_by_hop(&mut headers);
            for name in [
                header::CONTENT_LENGTH,
                header::ACCEPT_ENCODING,
                header::HOST,
            ] {
                headers.remove(name);
            }
            headers.insert(MIRRORED, HeaderValue::from_static("true"));
            Head {
                method: request.method().clone(),
                path: request.uri().path_and_query().cloned(),
                headers,
            }
        })
    }

    /// Counts a copy that is not made.
    pub fn drop_copy(&self) {
        self.count(|counts| counts.dropped = 1);
    }

    /// Sends a copy of a request, with the body of its answer where that was good, unless too much is under way.
    pub fn send(
        self: &Arc<Self>,
        head: Head,
        form: Form,
        request: &Captured,
        response: Option<&Captured>,
    ) {
        let budget = &self.settings.budget;
        let place = Arc::clone(&self.places).try_acquire_owned();
        let (Ok(place), Some(request), Ok(runtime)) = (
            place,
            request.copy(budget),
            tokio::runtime::Handle::try_current(),
        ) else {
            self.drop_copy();
            return;
        };
        let original = Original {
            head,
            request: Arc::new(request),
            response: response.and_then(|response| response.copy(budget)),
            form,
        };
        let mirror = Arc::clone(self);
        runtime.spawn(async move { mirror.compare(original, place).await });
    }

    async fn compare(&self, original: Original, place: OwnedSemaphorePermit) {
        let answered = match self.circuit.attempt(&self.settings.to).await {
            Ok(attempt) => {
                let asked = self.ask(&original, attempt);
                let answered = tokio::time::timeout(TIMEOUT, asked).await;
                answered.unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}")))
            }
            // Another one has found nobody there meanwhile.
            Err(Refused::IsOpen) => return,
            Err(Refused::TakesNone(why)) => Err(why),
        };
        let good = answered
            .inspect_err(|problem| debug!("a copy was not answered: {problem}"))
            .ok()
            .filter(|answer| !answer.outcome.is_error());
        let Some(answer) = good else {
            return self.count(|counts| (counts.sent, counts.errors) = (1, 1));
        };
        self.count(|counts| counts.sent = 1);
        let (protocol, signature) = (self.settings.protocol, Arc::clone(&self.settings.signature));
        // A large answer takes its time to be read: not in the way of requests.
        let agreed = tokio::task::spawn_blocking(move || {
            let request = original.request.content()?;
            let first = original.response.as_ref()?.content()?;
            let read = |response, form| {
                let bodies = Bodies {
                    request,
                    response: Some(response),
                    form,
                };
                payload::parse(protocol, bodies, signature.get())
            };
            let form = match original.form {
                Form::Json { request, .. } => Form::Json {
                    request,
                    response: answer.length,
                },
                Form::Grpc => Form::Grpc,
            };
            let one = read(first, original.form)?;
            let other = read(answer.body.content()?, form)?;
            let classes = payload::classes(signature.get());
            let pairs = one.predictions.iter().zip(&other.predictions);
            let same: Vec<bool> = pairs
                .filter_map(|(one, other)| payload::agree(one, other, classes))
                .collect();
            Some(same)
        });
        let Ok(Some(same)) = agreed.await else { return };
        self.count(|counts| {
            counts.compared = same.len() as u64;
            counts.agreed = same.iter().filter(|same| **same).count() as u64;
        });
        drop(place);
    }

    async fn ask(&self, original: &Original, attempt: Attempt<'_>) -> Result<Answer, String> {
        let Head {
            method,
            path,
            headers,
        } = &original.head;
        let body = Bytes::from_owner(Kept(Arc::clone(&original.request)));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri(&self.settings.to, path.clone());
        request.headers_mut().clone_from(headers);
        let is_grpc = original.form == Form::Grpc;
        let client = if is_grpc {
            *request.version_mut() = Version::HTTP_2;
            let trailers = HeaderValue::from_static("trailers");
            request.headers_mut().insert(header::TE, trailers);
            &self.grpc
        } else {
            &self.http
        };
        let answer = client.request(request).await;
        match &answer {
            Err(problem) if problem.is_connect() => attempt.failed(Instant::now()),
            Ok(_) | Err(_) => attempt.succeeded(),
        }
        let (head, mut body) = answer.map_err(|problem| chain(&problem))?.into_parts();
        let mut said = grpc_status(&head.headers);
        let mut kept = Captured::new(&self.settings.budget);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|problem| chain(&problem))?;
            if let Some(chunk) = frame.data_ref() {
                kept.data(chunk);
                // Too large to be compared. The status of a call comes last.
                if kept.loss().is_some() && !is_grpc {
                    break;
                }
            } else if let Some(trailers) = frame.trailers_ref() {
                said = said.or_else(|| grpc_status(trailers));
            }
        }
        kept.end(End::Whole);
        let outcome = if is_grpc && head.status.is_success() {
            said.unwrap_or(Outcome::Unanswered)
        } else {
            Outcome::Status(head.status.as_u16())
        };
        Ok(Answer {
            outcome,
            length: length_of(&head.headers, &INFERENCE_HEADER_LENGTH),
            body: kept,
        })
    }

    fn count(&self, set: impl FnOnce(&mut Mirrored)) {
        let mut counts = Mirrored::default();
        set(&mut counts);
        self.measurements.mirrored(counts);
    }
}
