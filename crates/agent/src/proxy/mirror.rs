//! Sends copies of requests to another version, and compares the answers.
//!
//! ```text
//!   a request is over ──> a place is free? ──> the copy is sent ──> answers compared, row by row
//!                              │ no: count as dropped
//! ```
//!
//! Nobody waits for a copy. Absent on purpose: requests of gRPC, and copies of copies.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;
use windlass_api::agent::Mirrored;

use super::arguments::Protocol;
use super::capture::Captured;
use super::measurements::Measurements;
use super::payload::{self, Bodies, Form};
use super::signature::SignatureFile;
use super::upstream::{INFERENCE_HEADER_LENGTH, connector, length_of, remove_hop_by_hop, uri};
use crate::report::chain;

/// How many copies are under way at most.
const COPIES: usize = 64;
/// How long a copy may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long no copies are made once nobody was there to take one.
const SILENCE: Duration = Duration::from_secs(5);
/// What a copy says of itself.
const MIRRORED: HeaderName = HeaderName::from_static("x-windlass-mirrored");

/// What sends copies.
pub struct Mirror {
    to: Authority,
    share: f64,
    protocol: Protocol,
    signature: Arc<SignatureFile>,
    measurements: Arc<Measurements>,
    client: Client<HttpConnector, Full<Bytes>>,
    places: Arc<Semaphore>,
    /// Before then there is nobody to send copies to: where nothing is tried, nothing has the name.
    silent_until: Mutex<Option<Instant>>,
    body_limit: usize,
}

/// The head of a copy.
#[derive(Debug)]
pub struct Head {
    method: Method,
    path: Option<PathAndQuery>,
    headers: HeaderMap,
}

/// A request that is over.
#[derive(Debug)]
pub struct Original {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub request: Arc<Captured>,
    /// Its answer's body, where that was good.
    pub response: Option<Arc<Captured>>,
    /// How the bodies are written.
    pub form: Form,
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
    /// The largest answer that is read.
    pub body_limit: usize,
}

impl Mirror {
    /// Sends nothing yet.
    pub fn new(settings: Settings, measurements: Arc<Measurements>) -> Self {
        Self {
            to: settings.to,
            share: settings.share,
            protocol: settings.protocol,
            signature: settings.signature,
            measurements,
            client: Client::builder(TokioExecutor::new()).build(connector()),
            places: Arc::new(Semaphore::new(COPIES)),
            silent_until: Mutex::new(None),
            body_limit: settings.body_limit,
        }
    }

    /// The head of a request's copy; absent where it is not to be copied.
    pub fn head<B>(&self, request: &Request<B>, form: Form) -> Option<Head> {
        let is_wanted = form != Form::Grpc
            && !request.headers().contains_key(MIRRORED)
            && self
                .silent_until()
                .is_none_or(|until| until <= Instant::now());
        (is_wanted && rand::random::<f64>() < self.share).then(|| {
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

    /// Sends a copy of a request, unless too many are under way.
    pub fn send(self: &Arc<Self>, original: Original) {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let (Ok(place), Some(body), Ok(runtime)) = (
            place,
            original.request.content(),
            tokio::runtime::Handle::try_current(),
        ) else {
            self.drop_copy();
            return;
        };
        let mirror = Arc::clone(self);
        runtime.spawn(async move { mirror.compare(original, body, place).await });
    }

    async fn compare(&self, original: Original, body: Bytes, place: OwnedSemaphorePermit) {
        let answered = tokio::time::timeout(TIMEOUT, self.ask(&original.head, body)).await;
        let answered = answered.unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}")));
        let good = answered
            .inspect_err(|problem| debug!("a copy was not answered: {problem}"))
            .ok()
            .filter(|(status, _, _)| !status.is_server_error());
        let Some((_, length, answer)) = good else {
            return self.count(|counts| (counts.sent, counts.errors) = (1, 1));
        };
        self.count(|counts| counts.sent = 1);
        let (Some(answer), Some(first)) = (
            answer,
            original.response.as_deref().and_then(Captured::content),
        ) else {
            return;
        };
        let (protocol, signature) = (self.protocol, Arc::clone(&self.signature));
        // A large answer takes its time to be read: not in the way of requests.
        let agreed = tokio::task::spawn_blocking(move || {
            let request = original.request.content()?;
            let read = |response: &[u8], form| {
                let bodies = Bodies {
                    request: &request,
                    response: Some(response),
                    form,
                };
                payload::parse(protocol, bodies, signature.get())
            };
            let form = match original.form {
                Form::Json { request, .. } => Form::Json {
                    request,
                    response: length,
                },
                Form::Grpc => Form::Grpc,
            };
            let (one, other) = (read(&first, original.form)?, read(&answer, form)?);
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

    /// The status of an answer, the length of its JSON where it says one, and its body where that is not too large.
    async fn ask(
        &self,
        head: &Head,
        body: Bytes,
    ) -> Result<(StatusCode, Option<usize>, Option<Bytes>), String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri(&self.to, head.path.clone());
        request.headers_mut().clone_from(&head.headers);
        let answer = self.client.request(request).await;
        let is_nobody_there = matches!(&answer, Err(problem) if problem.is_connect());
        *self.silent_until() = is_nobody_there.then(|| Instant::now() + SILENCE);
        let answer = answer.map_err(|problem| chain(&problem))?;
        let status = answer.status();
        let length = length_of(answer.headers(), &INFERENCE_HEADER_LENGTH);
        let body = Limited::new(answer.into_body(), self.body_limit)
            .collect()
            .await;
        match body {
            Ok(body) => Ok((status, length, Some(body.to_bytes()))),
            Err(problem) if problem.is::<http_body_util::LengthLimitError>() => {
                Ok((status, length, None))
            }
            Err(problem) => Err(problem.to_string()),
        }
    }

    fn silent_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silent_until.lock().expect("no thread panics with it")
    }

    fn count(&self, set: impl FnOnce(&mut Mirrored)) {
        let mut counts = Mirrored::default();
        set(&mut counts);
        self.measurements.mirrored(counts);
    }
}
