//! The circuit to the model server: one that does not take connections is left alone for a while.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// How long it is left alone before one request tries again.
pub const PAUSE: Duration = Duration::from_secs(1);

/// A circuit.
#[derive(Debug)]
pub struct Circuit {
    /// After how many failures on end it opens; 0 for never.
    limit: u32,
    state: Mutex<State>,
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

/// A request that may be sent; how it went is told to the circuit.
#[derive(Debug)]
pub struct Attempt<'a> {
    circuit: &'a Circuit,
    is_trial: bool,
}

impl Circuit {
    /// One that is closed.
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            state: Mutex::new(State::Closed(0)),
        }
    }

    /// Whether a request may be sent now.
    pub fn attempt(&self, now: Instant) -> Option<Attempt<'_>> {
        let mut state = self.state();
        let is_trial = match *state {
            State::Closed(_) => false,
            State::Open(until) if until <= now => {
                *state = State::Trying;
                true
            }
            State::Open(_) | State::Trying => return None,
        };
        Some(Attempt {
            circuit: self,
            is_trial,
        })
    }

    /// Whether the server is asked.
    pub fn is_closed(&self) -> bool {
        matches!(*self.state(), State::Closed(_))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }
}

impl Attempt<'_> {
    /// Whether all others wait for how this one goes.
    pub fn is_trial(&self) -> bool {
        self.is_trial
    }

    /// The server took the connection.
    pub fn succeeded(mut self) {
        self.is_trial = false;
        let mut state = self.circuit.state();
        if *state != State::Closed(0) {
            *state = State::Closed(0);
        }
    }

    /// It did not.
    pub fn failed(mut self, now: Instant) {
        self.is_trial = false;
        let mut state = self.circuit.state();
        *state = match *state {
            State::Closed(failures)
                if self.circuit.limit == 0 || failures + 1 < self.circuit.limit =>
            {
                State::Closed((failures + 1).min(u32::MAX - 1))
            }
            State::Closed(_) | State::Trying => State::Open(now + PAUSE),
            // One that was sent before it opened.
            State::Open(until) => State::Open(until),
        };
    }
}

impl Drop for Attempt<'_> {
    /// A trial of which nobody knows how it went leaves the trying to the next.
    fn drop(&mut self) {
        if self.is_trial {
            *self.circuit.state() = State::Open(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(circuit: &Circuit, now: Instant) {
        circuit.attempt(now).expect("it is asked").failed(now);
    }

    #[test]
    fn it_opens_after_failures_on_end_and_one_tries_after_a_pause() {
        let (circuit, now) = (Circuit::new(3), Instant::now());
        fail(&circuit, now);
        fail(&circuit, now);
        circuit.attempt(now).expect("it is asked").succeeded();
        fail(&circuit, now);
        fail(&circuit, now);
        assert!(circuit.is_closed());
        fail(&circuit, now);
        assert!(circuit.attempt(now).is_none());
        let later = now + PAUSE;
        let trial = circuit.attempt(later).expect("one tries");
        assert!(circuit.attempt(later).is_none(), "only one tries");
        trial.failed(later);
        assert!(circuit.attempt(later).is_none());
        let trial = circuit.attempt(later + PAUSE).expect("one tries");
        trial.succeeded();
        assert!(circuit.attempt(later + PAUSE).is_some());
        assert!(circuit.is_closed());
    }

    #[test]
    fn a_trial_that_is_given_up_leaves_it_to_the_next() {
        let (circuit, now) = (Circuit::new(1), Instant::now());
        fail(&circuit, now);
        drop(circuit.attempt(now + PAUSE).expect("one tries"));
        assert!(circuit.attempt(now + PAUSE).is_some());
    }

    #[test]
    fn without_a_limit_it_never_opens() {
        let (circuit, now) = (Circuit::new(0), Instant::now());
        for _ in 0..100 {
            fail(&circuit, now);
        }
    }
}
