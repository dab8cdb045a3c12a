//! What an API server that is not well is spared, and how long its answers are waited for.
//!
//! ```text
//!   watches, Lease, discovery ──> Spared ──> API server      an answer in time, or none; a watch not at once again
//!   writes ──> gate ───────────> Spared ──> API server      who is asked to come back later does
//! ```
//!
//! kube's own watcher waits for an answer for ever, and opens a watch that was closed at once again: with a server that
//! closes each, a thousand times a second.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode, header};
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, Layer, Service};

use super::pauses::{Pauses, jittered};

/// How long the beginning of an answer to a read is waited for. A page of a list takes less than a second.
pub const ANSWER: Duration = Duration::from_secs(6);
/// Where none came in time this often, it is waited for so many times as long: a server that is slow, and not gone, is to be
/// heard in the end.
const LATE: (u32, u32) = (5, 5);
/// The longest that is waited because the API server asks for it: it says one second as a rule.
const LONGEST: Duration = Duration::from_secs(30);

/// Until when the API server asked to be left alone, and how it answered last; one for the whole process.
#[derive(Clone, Default)]
pub struct Calm(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    until: Option<Instant>,
    /// By the path that is read.
    reads: HashMap<String, Reads>,
}

/// How a path was read until now.
#[derive(Default)]
struct Reads {
    /// How often no answer came in time, one time after the other.
    unanswered: u32,
    /// Once a watch was opened: the pauses before it is opened again.
    watches: Option<Pauses>,
}

impl Calm {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no holder panics")
    }

    /// How long the API server asked to be left alone for, from now on.
    pub fn asked_for(&self) -> Duration {
        let until = self.inner().until;
        until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(Instant::now())
        })
    }

    /// Takes down what an answer asks for.
    fn hear(&self, status: StatusCode, headers: &HeaderMap) {
        let is_asked =
            status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE;
        let after = headers.get(header::RETRY_AFTER).filter(|_| is_asked);
        // The API server says it in seconds.
        let after = after.and_then(|after| after.to_str().ok()?.trim().parse().ok());
        if let Some(seconds) = after {
            let until = Instant::now() + Duration::from_secs(seconds).min(LONGEST);
            let mut inner = self.inner();
            inner.until = inner.until.max(Some(until));
        }
    }

    /// How long a watch waits before it is opened: not at all the first time, and where it was open for long.
    fn before_watch(&self, path: &str, now: Instant) -> Duration {
        let mut inner = self.inner();
        let reads = inner.reads.entry(path.to_owned()).or_default();
        match &mut reads.watches {
            None => {
                reads.watches = Some(Pauses::new(now));
                Duration::ZERO
            }
            Some(watches) if watches.are_over(now) => {
                *watches = Pauses::new(now);
                Duration::ZERO
            }
            Some(watches) => jittered(watches.before_watch(now)),
        }
    }

    /// How many times as long as usual an answer is waited for.
    fn times(&self, path: &str) -> u32 {
        let unanswered = self.inner().reads.get(path).map(|reads| reads.unanswered);
        if unanswered.is_some_and(|often| often >= LATE.0) {
            LATE.1
        } else {
            1
        }
    }

    fn was_answered(&self, path: &str, is_answered: bool) {
        let mut inner = self.inner();
        if is_answered {
            if let Some(reads) = inner.reads.get_mut(path) {
                reads.unanswered = 0;
            }
        } else {
            let reads = inner.reads.entry(path.to_owned()).or_default();
            reads.unanswered += 1;
        }
    }
}

/// What goes by this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Reads: an answer begins within so long or there is none, and no watch is opened at once again.
    Reads(Duration),
    /// Writes: who sends them has a time for each.
    Writes,
}

/// Puts [`Spared`] around a service.
#[derive(Clone)]
pub struct SparedLayer(pub Calm, pub Way);

impl<S> Layer<S> for SparedLayer {
    type Service = Spared<S>;

    fn layer(&self, inner: S) -> Spared<S> {
        Spared {
            inner,
            calm: self.0.clone(),
            way: self.1,
        }
    }
}

/// A way to the API server that spares it.
#[derive(Clone)]
pub struct Spared<S> {
    inner: S,
    calm: Calm,
    way: Way,
}

type Answer<B> = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

impl<S, A, B> Service<Request<A>> for Spared<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Answer<B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<A>) -> Answer<B> {
        let (calm, way) = (self.calm.clone(), self.way);
        let path = request.uri().path().to_owned();
        let is_watch = request.uri().query().is_some_and(asks_to_watch);
        // It is sent when it is asked for its answer.
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = match way {
                Way::Writes => answer.await.map_err(Into::into)?,
                Way::Reads(patience) => {
                    if is_watch {
                        sleep(calm.before_watch(&path, Instant::now())).await;
                    }
                    let patience = patience * calm.times(&path);
                    let answer = timeout(patience, answer).await;
                    calm.was_answered(&path, answer.is_ok());
                    let late = || {
                        let why = format!("no answer within {patience:?}");
                        io::Error::new(io::ErrorKind::TimedOut, why)
                    };
                    answer.map_err(|_| late())?.map_err(Into::into)?
                }
            };
            calm.hear(answer.status(), answer.headers());
            Ok(answer)
        })
    }
}

fn asks_to_watch(query: &str) -> bool {
    query.split('&').any(|part| part == "watch=true")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::ServiceExt as _;

    use super::*;

    fn answer(code: u16, after: Option<&str>) -> Response<()> {
        let mut answer = Response::builder().status(code);
        if let Some(after) = after {
            answer = answer.header(header::RETRY_AFTER, after);
        }
        answer.body(()).expect("an answer")
    }

    #[tokio::test]
    async fn who_is_asked_to_come_back_later_does() {
        let rows = [
            ("not asked", 429, None, 0),
            ("asked by a server with too much to do", 429, Some("2"), 2),
            ("asked by one that starts", 503, Some("7"), 7),
            ("a word that is no number", 429, Some("soon"), 0),
            ("asked for longer than anyone waits", 429, Some("86400"), 30),
            ("a redirection's", 301, Some("5"), 0),
        ];
        for (name, code, after, expected) in rows {
            let calm = Calm::default();
            let service = tower::service_fn(move |_: Request<()>| {
                std::future::ready(Ok::<_, Infallible>(answer(code, after)))
            });
            let spared = SparedLayer(calm.clone(), Way::Writes).layer(service);
            spared.oneshot(Request::new(())).await.expect("an answer");
            let asked_for = calm.asked_for().as_secs_f64().ceil();
            assert!((asked_for - f64::from(expected)).abs() < 0.5, "{name}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_not_waited_for_for_ever_and_a_slow_one_is_heard() {
        const PATIENCE: Duration = Duration::from_millis(100);
        let service = tower::service_fn(async |_: Request<()>| {
            sleep(PATIENCE * 2).await;
            Ok::<_, Infallible>(answer(200, None))
        });
        let spared = SparedLayer(Calm::default(), Way::Reads(PATIENCE)).layer(service);
        let read = || Request::get("/api/v1/pods").body(()).expect("a request");
        for _ in 0..LATE.0 {
            assert!(spared.clone().oneshot(read()).await.is_err());
        }
        assert!(spared.oneshot(read()).await.is_ok());
    }

    #[test]
    fn a_watch_that_is_closed_at_once_is_opened_less_and_less_often() {
        let (calm, begun) = (Calm::default(), Instant::now());
        let path = "/api/v1/pods";
        let mut now = begun;
        let mut pauses = Vec::new();
        while now < begun + Duration::from_secs(15) {
            let pause = calm.before_watch(path, now);
            now += pause;
            pauses.push(pause);
        }
        assert_eq!(pauses[0], Duration::ZERO);
        assert!((5..=15).contains(&pauses.len()), "{pauses:?}");
        // Another waits for nothing; nor does one that was open for long.
        assert_eq!(calm.before_watch("/api/v1/services", now), Duration::ZERO);
        let later = now + Duration::from_mins(5);
        assert_eq!(calm.before_watch(path, later), Duration::ZERO);
    }

    #[test]
    fn a_watch_is_told_from_a_list() {
        assert!(asks_to_watch(
            "labelSelector=a&watch=true&timeoutSeconds=290"
        ));
        assert!(!asks_to_watch("labelSelector=watch%3Dtrue&limit=50"));
    }
}
