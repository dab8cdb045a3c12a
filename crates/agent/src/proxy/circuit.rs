//! The circuit to a server: one that does not take connections is left alone for a while.
//!
//! ```text
//!   closed ──failures on end──> open ──after a pause──> one connection tries ──> closed, or open again
//! ```

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::uri::Authority;
use tokio::time::Instant;

use super::upstream::connect;

/// How long the model server is left alone before one request tries again.
pub const PAUSE: Duration = Duration::from_secs(1);

/// How long a server may take to take a connection, where it is asked whether it does.
const CONNECTS: Duration = Duration::from_secs(1);

/// A circuit.
#[derive(Debug)]
pub struct Circuit {
    /// After how many failures on end it opens; 0 for never.
    limit: u32,
    /// How long it stays open.
    pause: Duration,
    state: Mutex<State>,
    /// Whether the state is another than no failure at all: while there was none, requests do not wait for each other.
    has_failures: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The server is asked; so many connections have failed on end.
    Closed(u32),
    /// The server is not asked before then.
    Open(Instant),
    /// One request tries.
    Trying,
}

/// Why a request may not be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The server is left alone.
    IsOpen,
    /// It was the one that tried, and the server takes no connections.
    TakesNone(String),
}

/// A request that may be sent; how it went is told to the circuit.
#[derive(Debug)]
pub struct Attempt<'a>(&'a Circuit);

/// The one that tries. Dropped halfway, it leaves the trying to the next.
struct Trial<'a> {
    circuit: &'a Circuit,
    is_over: bool,
}

impl Circuit {
    /// One that is closed.
    pub fn new(limit: u32, pause: Duration) -> Self {
        Self {
            limit,
            pause,
            state: Mutex::new(State::Closed(0)),
            has_failures: AtomicBool::new(false),
        }
    }

    /// A request that may be sent to the server now. After a pause it first tries whether the server takes connections:
    /// all others are refused until that is known, and a connection says it at once, while an answer may take long.
    ///
    /// # Errors
    /// When it may not.
    pub async fn attempt(&self, server: &Authority) -> Result<Attempt<'_>, Refused> {
        let Some(trial) = self.trial(Instant::now())? else {
            return Ok(Attempt(self));
        };
        match connect(server, CONNECTS).await {
            Ok(_) => {
                trial.succeeded();
                Ok(Attempt(self))
            }
            Err(why) => {
                trial.failed(Instant::now());
                Err(Refused::TakesNone(why.to_string()))
            }
        }
    }

    /// Whether a request has to try first.
    fn trial(&self, now: Instant) -> Result<Option<Trial<'_>>, Refused> {
        if !self.has_failures.load(Relaxed) {
            return Ok(None);
        }
        let mut state = self.state();
        match *state {
            State::Closed(_) => Ok(None),
            State::Open(until) if until <= now => {
                *state = State::Trying;
                Ok(Some(Trial {
                    circuit: self,
                    is_over: false,
                }))
            }
            State::Open(_) | State::Trying => Err(Refused::IsOpen),
        }
    }

    /// Whether the server is asked.
    pub fn is_closed(&self) -> bool {
        matches!(*self.state(), State::Closed(_))
    }

    /// Whether a request that came now would be sent, or be the one that tries.
    pub fn may_ask(&self, now: Instant) -> bool {
        !self.has_failures.load(Relaxed)
            || match *self.state() {
                State::Closed(_) => true,
                State::Open(until) => until <= now,
                State::Trying => false,
            }
    }

    fn failed(&self, now: Instant) {
        let mut state = self.state();
        *state = match *state {
            State::Closed(failures) if self.limit == 0 || failures + 1 < self.limit => {
                State::Closed((failures + 1).min(u32::MAX - 1))
            }
            State::Closed(_) | State::Trying => State::Open(now + self.pause),
            // One that was sent before it opened.
            State::Open(until) => State::Open(until),
        };
        self.has_failures.store(true, Relaxed);
    }

    fn succeeded(&self) {
        if !self.has_failures.load(Relaxed) {
            return;
        }
        let mut state = self.state();
        *state = State::Closed(0);
        // Below the lock, so that no failure in between is forgotten.
        self.has_failures.store(false, Relaxed);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }
}

impl Attempt<'_> {
    /// The server took the connection.
    pub fn succeeded(self) {
        self.0.succeeded();
    }

    /// It did not.
    pub fn failed(self, now: Instant) {
        self.0.failed(now);
    }
}

impl Trial<'_> {
    fn succeeded(mut self) {
        self.is_over = true;
        self.circuit.succeeded();
    }

    fn failed(mut self, now: Instant) {
        self.is_over = true;
        self.circuit.failed(now);
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut state = self.circuit.state();
        // A request of before may have closed it meanwhile.
        if *state == State::Trying {
            *state = State::Open(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_asked(circuit: &Circuit, now: Instant) -> bool {
        matches!(circuit.trial(now), Ok(None))
    }

    fn trial(circuit: &Circuit, now: Instant) -> Trial<'_> {
        circuit.trial(now).ok().flatten().expect("one tries")
    }

    #[test]
    fn it_opens_after_failures_on_end_and_one_tries_after_a_pause() {
        let (circuit, now) = (Circuit::new(3, PAUSE), Instant::now());
        circuit.failed(now);
        circuit.failed(now);
        assert!(is_asked(&circuit, now));
        circuit.succeeded();
        circuit.failed(now);
        circuit.failed(now);
        assert!(circuit.is_closed() && circuit.may_ask(now));
        circuit.failed(now);
        assert!(!is_asked(&circuit, now) && !circuit.may_ask(now));
        let later = now + PAUSE;
        assert!(circuit.may_ask(later));
        let first = trial(&circuit, later);
        assert!(circuit.trial(later).is_err(), "only one tries");
        assert!(!circuit.may_ask(later));
        first.failed(later);
        assert!(circuit.trial(later).is_err());
        trial(&circuit, later + PAUSE).succeeded();
        assert!(is_asked(&circuit, later + PAUSE));
        assert!(circuit.is_closed());
    }

    #[test]
    fn a_trial_that_is_given_up_leaves_it_to_the_next() {
        let (circuit, now) = (Circuit::new(1, PAUSE), Instant::now());
        circuit.failed(now);
        drop(trial(&circuit, now + PAUSE));
        trial(&circuit, now + PAUSE).succeeded();
    }

    #[test]
    fn a_trial_that_is_given_up_leaves_what_another_request_has_closed() {
        let (circuit, now) = (Circuit::new(1, PAUSE), Instant::now());
        circuit.failed(now);
        let given_up = trial(&circuit, now + PAUSE);
        circuit.succeeded();
        drop(given_up);
        assert!(circuit.is_closed() && is_asked(&circuit, now + PAUSE));
    }

    #[test]
    fn without_a_limit_it_never_opens() {
        let (circuit, now) = (Circuit::new(0, PAUSE), Instant::now());
        for _ in 0..100 {
            circuit.failed(now);
            assert!(is_asked(&circuit, now));
        }
    }

    #[tokio::test]
    async fn the_one_that_tries_asks_for_a_connection_and_says_why_there_is_none() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = listener.local_addr().expect("an address").to_string();
        let server: Authority = server.parse().expect("an authority");
        let circuit = Circuit::new(1, Duration::ZERO);
        circuit.failed(Instant::now());
        assert!(circuit.attempt(&server).await.is_ok());
        assert!(circuit.is_closed());
        drop(listener);
        // While it is closed, nobody is asked first.
        assert!(circuit.attempt(&server).await.is_ok());
        circuit.failed(Instant::now());
        let refused = circuit.attempt(&server).await.map(|_| ());
        assert!(matches!(refused, Err(Refused::TakesNone(_))), "{refused:?}");
        assert!(!circuit.is_closed());
    }
}
