//! How far the trainer says that it is, for the operator to ask: `GET /progress`.
//!
//! ```text
//!   progress.json (the trainer's) ──1 s──┐
//!   newest whole checkpoint (Last) ──────┴──> Progress ──> GET /progress
//! ```
//!
//! A courtesy: what goes wrong here is logged, and fails nothing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::warn;
use windlass_api::agent::Progress;

use super::work::Work;
use crate::checkpoint::Last;
use crate::http::serve_answers;

/// How often the trainer's file is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Follows the trainer and answers questions about it, until it is dropped.
pub(super) struct Reporter {
    _tasks: JoinSet<()>,
}

impl Reporter {
    /// Begins with what is known, for an attempt that has checkpoints in `last` where it has any.
    pub async fn start(
        listen: SocketAddr,
        work: &Work,
        known: Progress,
        last: Option<Last>,
    ) -> Option<Self> {
        let listener = match TcpListener::bind(listen).await {
            Ok(listener) => listener,
            Err(problem) => {
                warn!(
                    "nobody can ask how far the training is: listening at {listen} failed: {problem}"
                );
                return None;
            }
        };
        let seen = Arc::new(Mutex::new(known));
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(work.clone(), Arc::clone(&seen), last));
        tasks.spawn(serve_answers(listener, move |request| {
            answer(request, &seen)
        }));
        Some(Self { _tasks: tasks })
    }
}

/// Keeps what is seen up to date.
async fn follow(work: Work, seen: Arc<Mutex<Progress>>, last: Option<Last>) {
    let mut written: Option<SystemTime> = None;
    let mut speed = Pace::default();
    loop {
        let changed = work.progress_changed();
        if changed.is_some() && changed != written {
            written = changed;
            // One that is being written is read the next time.
            if let Some(said) = work.said() {
                let left = speed.left(said.done(), Instant::now());
                let mut seen = seen.lock().expect("no thread panics with it");
                (seen.step, seen.steps) = (said.step, said.steps);
                (seen.epoch, seen.epochs) = (said.epoch, said.epochs);
                seen.seconds_left = left;
                seen.metrics = said.metrics();
            } else {
                written = None;
            }
        }
        if let Some(last) = &last {
            let place = last.lock().expect("no thread panics with it").clone();
            let mut seen = seen.lock().expect("no thread panics with it");
            if let Some(place) = place.filter(|place| place.attempt == seen.attempt) {
                let name = place.to_string();
                if seen
                    .checkpoint
                    .as_ref()
                    .is_none_or(|(known, _)| *known != name)
                {
                    seen.checkpoint = Some((name, Timestamp::now()));
                }
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// How fast the trainer gets on.
#[derive(Default)]
struct Pace {
    /// Where it was when it was first seen, in this attempt.
    first: Option<(f64, Instant)>,
}

impl Pace {
    /// Seconds until `(done, all)` is all, at the speed since it was first seen; nothing where that cannot be known.
    fn left(&mut self, done: Option<(f64, f64)>, now: Instant) -> Option<i64> {
        let (done, all) = done?;
        let (first, since) = *self.first.get_or_insert((done, now));
        if done < first {
            // It began anew.
            self.first = Some((done, now));
            return None;
        }
        let speed = (done - first) / now.duration_since(since).as_secs_f64();
        let left = (all - done).max(0.0) / speed;
        #[allow(clippy::cast_possible_truncation)] // it saturates
        (left.is_finite()).then(|| left.ceil() as i64)
    }
}

fn answer(request: &Request<Incoming>, seen: &Mutex<Progress>) -> Response<Full<Bytes>> {
    if (request.method(), request.uri().path()) != (&Method::GET, "/progress") {
        let mut response = Response::new(Full::from("there is /progress\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    let seen = seen.lock().expect("no thread panics with it");
    let body = serde_json::to_string(&*seen).expect("progress is plain data");
    Response::new(Full::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_the_speed_of_this_attempt() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        // It went on from step 100, which says nothing about its speed.
        assert_eq!(pace.left(Some((100.0, 200.0)), at(0)), None);
        assert_eq!(pace.left(Some((110.0, 200.0)), at(20)), Some(180));
        assert_eq!(pace.left(Some((200.0, 200.0)), at(40)), Some(0));
        assert_eq!(pace.left(None, at(50)), None);
        assert_eq!(pace.left(Some((5.0, 200.0)), at(60)), None, "it began anew");
        assert_eq!(pace.left(Some((10.0, 200.0)), at(61)), Some(38));
    }
}
