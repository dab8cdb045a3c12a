//! What befalls the requests of an operator on their way, and what it is told of changes.

use std::convert::Infallible;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Response, StatusCode, header};
use kube::client::Body;
use rand::Rng as _;
use serde_json::json;
use tokio::sync::watch;
use tower::BoxError;

/// How long a slow API server takes.
const SLOW: Duration = Duration::from_secs(5);
/// For how long news is held back at most.
const LATE: u64 = 3000;
/// For how long a watch is open that is cut.
const OPEN: u64 = 300;

/// The event by which a watch is told to begin anew.
const TOO_OLD: &[u8] = b"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"too old\",\"reason\":\"Expired\",\"code\":410}}\n";

/// What is sent to the operator.
pub type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The API server has too much to do, and asks to come back in a second.
    TooManyRequests,
    /// It fails: half of the writes before, and half after they were made.
    InternalError,
    /// Each write is a conflict.
    Conflict,
    /// It no longer has the state that a list or a watch asks for.
    Gone,
    /// It never answers: half of the writes are made.
    Silence,
    /// Watches are closed as soon as they are open, by half in the midst of what they say.
    Cut,
    /// Everything takes five seconds.
    Slow,
    /// News comes late, and not in the order of what happened.
    Late,
    /// News is lost.
    Lost,
    /// News comes twice.
    Twice,
}

/// What a request is, as far as anything may befall it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It changes something.
    Write,
    /// It asks for news.
    Watch,
    /// Any other.
    Read,
}

/// What befalls one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Passes,
    /// It is not passed on, and this is answered.
    Answered(u16),
    /// It is passed on, and this is answered.
    AnsweredAfter(u16),
    /// It is not passed on, and nothing is answered.
    Silent,
    /// It is passed on, and nothing is answered.
    SilentAfter,
    /// It is passed on later.
    Later,
    /// It is a watch, which is cut.
    Cut,
    /// It is a watch, of which the news is changed.
    Changed(Fault),
}

impl Fault {
    /// What befalls a request, where so many of a hundred are befallen.
    pub fn befalls(self, what: What, percent: u32) -> Fate {
        let mut random = rand::rng();
        let is_news = matches!(self, Self::Late | Self::Lost | Self::Twice);
        // News is changed in every watch, and there so much of it.
        if !is_news && random.random_range(0..100) >= percent {
            return Fate::Passes;
        }
        let is_made = what == What::Write && random.random_bool(0.5);
        match (self, what) {
            (Self::TooManyRequests, _) => Fate::Answered(429),
            (Self::InternalError, _) if is_made => Fate::AnsweredAfter(500),
            (Self::InternalError, _) => Fate::Answered(500),
            (Self::Conflict, What::Write) => Fate::Answered(409),
            (Self::Gone, What::Read | What::Watch) => Fate::Answered(410),
            (Self::Silence, _) if is_made => Fate::SilentAfter,
            (Self::Silence, _) => Fate::Silent,
            (Self::Cut, What::Watch) => Fate::Cut,
            (Self::Slow, _) => Fate::Later,
            (Self::Late | Self::Lost | Self::Twice, What::Watch) => Fate::Changed(self),
            (
                Self::Conflict | Self::Gone | Self::Cut | Self::Late | Self::Lost | Self::Twice,
                _,
            ) => Fate::Passes,
        }
    }
}

/// Waits as a slow API server makes one wait.
pub async fn wait_as_if_slow() {
    tokio::time::sleep(SLOW).await;
}

/// An answer of Kubernetes' that says no.
pub fn refusal(code: u16) -> Answer {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "a fault of the test's", "reason": reason, "code": code,
    });
    let body = Full::new(Bytes::from(body.to_string()));
    let mut answer = Response::new(
        body.map_err(|never: Infallible| match never {})
            .boxed_unsync(),
    );
    *answer.status_mut() = StatusCode::from_u16(code).expect("a code");
    let json = header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    if code == 429 {
        let after = header::HeaderValue::from_static("1");
        answer.headers_mut().insert(header::RETRY_AFTER, after);
    }
    answer
}

/// An answer as it is.
pub fn whole(answer: Response<Body>) -> Answer {
    answer.map(|body| body.map_err(BoxError::from).boxed_unsync())
}

/// The answer to a watch, which ends when `cut` says so; by what befalls it.
pub fn news(
    answer: Response<Body>,
    fate: Fate,
    percent: u32,
    mut cut: watch::Receiver<u64>,
) -> Answer {
    answer.map(|body| {
        let bytes = body.into_data_stream();
        let bytes = bytes.map(|bytes| bytes.map_err(BoxError::from)).boxed();
        let changed = match fate {
            Fate::Cut => cut_soon(bytes),
            Fate::Changed(fault) => changed(lines(bytes), fault, percent).boxed(),
            _ => bytes,
        };
        cut.mark_unchanged();
        let is_cut = async move {
            let _ = cut.changed().await;
        };
        let changed = changed.take_until(Box::pin(is_cut));
        // What was lost is seen only by looking at everything anew.
        let is_lost = fate == Fate::Changed(Fault::Lost);
        let anew = is_lost.then(|| Ok(Bytes::from_static(TOO_OLD)));
        let changed = changed.chain(stream::iter(anew));
        StreamBody::new(changed.map(|bytes| bytes.map(Frame::data))).boxed_unsync()
    })
}

type Said = BoxStream<'static, Result<Bytes, BoxError>>;

/// A watch that is closed soon: by half, in the midst.
fn cut_soon(bytes: Said) -> Said {
    let mut random = rand::rng();
    let open = Duration::from_millis(random.random_range(0..OPEN));
    let open = bytes.take_until(Box::pin(tokio::time::sleep(open)));
    if random.random_bool(0.5) {
        return open.boxed();
    }
    let broken = Err(BoxError::from("the connection is cut"));
    open.chain(stream::iter([broken])).boxed()
}

/// What is said, line by line: each is one event.
fn lines(bytes: Said) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    let begun = (bytes, Vec::<u8>::new());
    stream::unfold(begun, |(mut bytes, mut read)| async move {
        loop {
            if let Some(end) = read.iter().position(|byte| *byte == b'\n') {
                let rest = read.split_off(end + 1);
                return Some((Ok(Bytes::from(read)), (bytes, rest)));
            }
            match bytes.next().await? {
                Ok(more) => read.extend_from_slice(&more),
                Err(error) => return Some((Err(error), (bytes, read))),
            }
        }
    })
}

/// Events that come late, are lost or come twice. Each watch has pauses of its own: what is told of two kinds does not come
/// in the order in which it happened.
fn changed(
    lines: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    fault: Fault,
    percent: u32,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    lines
        .then(move |line| async move {
            let is_befallen = rand::rng().random_range(0..100) < percent;
            let Ok(line) = line else {
                return stream::iter(vec![line]);
            };
            let said = match fault {
                _ if !is_befallen => vec![line],
                Fault::Late => {
                    let late = rand::rng().random_range(0..LATE);
                    tokio::time::sleep(Duration::from_millis(late)).await;
                    vec![line]
                }
                Fault::Twice => vec![line.clone(), line],
                _ => Vec::new(),
            };
            stream::iter(said.into_iter().map(Ok).collect::<Vec<_>>())
        })
        .flatten()
}
