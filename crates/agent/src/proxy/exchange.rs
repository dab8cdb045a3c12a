//! A request to the model, from its head to the end of its answer: what is measured, logged and mirrored of it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::response;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::capture::{Budget, Captured, End, Observer, Tee};
use super::log::{Entry, Inlet, Wanted};
use super::measurements::Measurements;
use super::mirror::{Head, Mirror};
use super::outcome::Outcome;
use super::payload::Form;
use super::refusal::{ResponseBody, UNKNOWN, grpc_status};
use super::rows::Facts;
use super::tokens::Stream;
use super::trace::Trace;
use super::upstream::{INFERENCE_HEADER_LENGTH, length_of};

/// How far a request's body has come.
#[derive(Debug, Default)]
pub struct Sending {
    waits: AtomicBool,
    is_whole: AtomicBool,
    is_broken: AtomicBool,
}

impl Sending {
    /// The server asked for more of it: whether that has still to come from the client. A server that does not read asks
    /// for no more than its connection takes.
    pub fn waits(&self, waits: bool) {
        self.waits.store(waits, Relaxed);
    }

    /// It ended so.
    pub fn end(&self, end: End) {
        match end {
            End::Whole => self.is_whole.store(true, Relaxed),
            End::Broken => self.is_broken.store(true, Relaxed),
            End::Dropped => {}
        }
    }

    /// Whether the client broke it off.
    fn is_broken(&self) -> bool {
        self.is_broken.load(Relaxed)
    }

    /// Whether the client is to blame for what is missing: it broke it off, or the server waited for the rest.
    fn is_part(&self) -> bool {
        self.is_broken() || self.waits.load(Relaxed) && !self.is_whole.load(Relaxed)
    }
}

/// A request to the model.
///
/// It is counted once, whatever becomes of it. Dropped halfway, because its client is gone: where the server waited for the
/// client to send more of it, that broke its own request off; where the client waited for the answer, or for the server to
/// read on, the server was too slow for it, and that is counted as not answered.
pub struct Exchange {
    /// When its head came.
    pub started: Instant,
    /// The same by the clock.
    pub received: Timestamp,
    /// Its id.
    pub id: HeaderValue,
    /// Its trace.
    pub trace: Trace,
    /// Whether it is of gRPC.
    pub is_grpc: bool,
    /// What counts it.
    pub measurements: Arc<Measurements>,
    /// Where its rows go.
    pub log: Option<Inlet>,
    /// What they are wanted for.
    pub wanted: Wanted,
    /// Where its copy goes, with the copy's head.
    pub mirror: Option<(Arc<Mirror>, Head)>,
    /// How its bodies are written.
    pub form: Form,
    /// Whether its answer may be a stream of tokens.
    pub may_stream: bool,
    /// What may be kept of bodies.
    pub budget: Budget,
    /// How far its own body has come.
    pub sending: Arc<Sending>,
    /// What was kept of that.
    pub request: Option<Arc<Mutex<Captured>>>,
    /// Its turn at the server.
    pub permit: Option<OwnedSemaphorePermit>,
    /// What is kept of the answer's body.
    pub response: Option<Captured>,
    /// The tokens of the answer.
    pub stream: Option<Stream>,
    /// How it ended, as far as that is known.
    pub outcome: Option<Outcome>,
    /// Whether it is counted.
    pub is_counted: bool,
}

impl Exchange {
    /// The answer's body with this looking on.
    pub fn watch(mut self, head: &response::Parts, body: Incoming) -> ResponseBody {
        self.outcome = if self.is_grpc && head.status.is_success() {
            // An answer without a body says its status in the head.
            grpc_status(&head.headers)
        } else {
            Some(Outcome::Status(head.status.as_u16()))
        };
        if head.status.is_success() {
            let is_read = self.log.is_some() || self.mirror.is_some();
            let is_counted = self.request.as_ref().is_some_and(|request| {
                let request = request.lock().expect("no thread panics with it");
                request.is_counting()
            });
            self.response = is_read.then(|| {
                if is_counted {
                    Captured::counting(&self.budget)
                } else {
                    Captured::new(&self.budget)
                }
            });
            let kind = head.headers.get(header::CONTENT_TYPE);
            let is_stream =
                kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
            self.stream = (self.may_stream && is_stream).then(Stream::default);
        }
        if let Form::Json { response, .. } = &mut self.form {
            *response = length_of(&head.headers, &INFERENCE_HEADER_LENGTH);
        }
        // A body without a byte is over before anyone reads it.
        if body.is_end_stream() {
            self.end(End::Whole);
            return body.boxed_unsync();
        }
        Tee::new(body, self).boxed_unsync()
    }

    /// It ended so, unless it was its client that broke it off.
    pub fn finish(mut self, outcome: Outcome) {
        let is_broken = self.sending.is_broken();
        self.conclude(if is_broken {
            Outcome::Cancelled
        } else {
            outcome
        });
    }

    /// It ended so, before the server was asked: there is nothing to log.
    pub fn finish_unasked(mut self, outcome: Outcome) {
        (self.log, self.mirror) = (None, None);
        self.conclude(outcome);
    }

    /// It was one too many, and no request of the model's.
    pub fn refuse(mut self) {
        self.is_counted = true;
        self.measurements.refused();
    }

    fn conclude(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_counted, true) {
            return;
        }
        let latency = self.started.elapsed();
        self.measurements.count(outcome, latency, Some(self.trace));
        let streamed = self.stream.as_ref().and_then(Stream::streamed);
        let first_token = streamed.map(|streamed| streamed.first - self.started);
        if let (Some(streamed), Some(first)) = (streamed, first_token) {
            let over = streamed.last - streamed.first;
            self.measurements
                .streamed(first, streamed.tokens, over, Some(self.trace));
        }
        // The next request may have its turn, whatever is still to be done with this one.
        self.permit = None;
        let Some(request) = self.request.take() else {
            return;
        };
        // The request's body is done with: whoever still holds it sees an empty one.
        let request = std::mem::replace(
            &mut *request.lock().expect("no thread panics with it"),
            Captured::counting(&self.budget),
        );
        // An answer of gRPC may turn out to be none at its end.
        let is_good = matches!(outcome, Outcome::Status(200..300));
        let response = self.response.take();
        let loss = response.as_ref().and_then(Captured::loss);
        if let Some((mirror, head)) = self.mirror.take() {
            if request.loss_of_whole().is_some() {
                mirror.drop_copy();
            } else {
                let response = response.as_ref().filter(|_| is_good && loss.is_none());
                mirror.send(head, self.form, &request, response);
            }
        }
        let Some(log) = self.log.take() else { return };
        if let Some(why) = request.loss_of_whole().or(loss) {
            log.lose(&request, self.wanted, why);
            return;
        }
        log.hand_in(Entry {
            facts: Facts {
                id: self.id.to_str().unwrap_or_default().to_owned(),
                received: self.received,
                status: outcome.status(),
                latency,
                first_token,
                request_bytes: request.passed(),
                response_bytes: response.as_ref().map_or(0, Captured::passed),
            },
            form: self.form,
            request,
            response: response.filter(|_| is_good),
            wanted: self.wanted,
        });
    }
}

impl Observer for Exchange {
    fn data(&mut self, chunk: &Bytes) {
        if let Some(response) = &mut self.response {
            response.data(chunk);
        }
        if let Some(stream) = &mut self.stream {
            stream.data(chunk, Instant::now());
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if self.is_grpc && self.outcome.is_none() {
            self.outcome = grpc_status(trailers);
        }
    }

    fn end(&mut self, end: End) {
        let outcome = match (end, self.outcome) {
            (End::Broken, _) if self.sending.is_broken() => Outcome::Cancelled,
            (End::Broken, _) => Outcome::Unanswered,
            (End::Whole | End::Dropped, Some(outcome)) => outcome,
            (End::Whole, None) => Outcome::of_grpc(UNKNOWN),
            (End::Dropped, None) => Outcome::Cancelled,
        };
        if end != End::Whole {
            self.response = None;
        }
        self.conclude(outcome);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let is_part = self.sending.is_part();
        self.conclude(if is_part {
            Outcome::Cancelled
        } else {
            Outcome::Unanswered
        });
    }
}
