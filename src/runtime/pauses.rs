//! How long is waited after a failure: each time twice as long, up to a bound, and never just as long as others wait.
//!
//! Who failed for the same reason at the same moment would otherwise come back at the same moment, every time.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Mutex;
use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

use super::calm::Calm;

/// The first pause.
const FIRST: Duration = Duration::from_millis(500);
/// The longest after a fault that is the object's own, or that has lasted for long.
const LONGEST: Duration = Duration::from_mins(1);
/// The longest after a fault of the API server's, for as long as that is young: it is over within seconds as a rule, and what
/// was under way is to go on within ten of them.
const LONGEST_OF_SERVER: Duration = Duration::from_secs(4);
/// For how long such a fault is young.
const YOUNG: Duration = Duration::from_mins(1);
/// The longest of a watch. A list that is not answered takes six seconds before.
const LONGEST_OF_WATCH: Duration = Duration::from_secs(3);
/// Who has not failed for so long begins anew.
const ANEW: Duration = Duration::from_mins(1);
/// How often something is tried again, of all together, after a fault of the API server's; and how many may come at once.
const EACH: Duration = Duration::from_millis(50);
const AT_ONCE: u32 = 100;

/// A pause of half to all of this.
pub fn jittered(pause: Duration) -> Duration {
    // The keys of each are random.
    let random = RandomState::new().hash_one(0) >> 32;
    let share = u32::try_from(random).unwrap_or(u32::MAX);
    pause / 2 + (pause / 2).mul_f64(f64::from(share) / f64::from(u32::MAX))
}

/// The pauses of one who tries the same again and again.
#[derive(Debug)]
pub struct Pauses {
    /// When the first failure was of those that follow upon each other.
    since: Instant,
    last: Instant,
    next: Duration,
}

impl Pauses {
    /// Before the first failure.
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            last: now,
            next: FIRST,
        }
    }

    /// Whether the last failure is so long ago that the next has nothing to do with it.
    pub fn are_over(&self, now: Instant) -> bool {
        now.duration_since(self.last) > ANEW + self.next
    }

    /// The pause after a failure, before it is made uneven.
    fn next(&mut self, now: Instant, longest: Duration) -> Duration {
        if self.are_over(now) {
            *self = Self::new(now);
        }
        self.last = now;
        let pause = self.next.min(longest);
        self.next = (pause * 2).min(longest);
        pause
    }

    /// The same, by whose fault it failed.
    pub fn after(&mut self, fault: Fault, now: Instant) -> Duration {
        let is_young = now.duration_since(self.since) < YOUNG;
        let longest = match fault {
            Fault::Server if is_young => LONGEST_OF_SERVER,
            Fault::Server | Fault::Other => LONGEST,
        };
        self.next(now, longest)
    }

    /// The pause before a watch is opened that was open a moment ago.
    pub fn before_watch(&mut self, now: Instant) -> Duration {
        self.next(now, LONGEST_OF_WATCH)
    }
}

/// Whose fault it was that something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The API server's: others fail for the same reason, and all of them when it is back.
    Server,
    /// The object's, or ours.
    Other,
}

/// The pauses of a watch that failed. An event does not make them short again: a watch that cannot list says each time that
/// it begins, and would come back every second for ever.
pub struct OfWatch {
    pauses: Pauses,
    calm: Calm,
}

impl OfWatch {
    /// For a watch of who is to be spared for as long as it asks to be.
    pub fn new(calm: Calm) -> Self {
        Self {
            pauses: Pauses::new(Instant::now()),
            calm,
        }
    }
}

impl Iterator for OfWatch {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.pauses.next(Instant::now(), LONGEST_OF_WATCH);
        Some(jittered(pause) + self.calm.asked_for())
    }
}

impl Backoff for OfWatch {
    fn reset(&mut self) {}
}

/// What is tried again after faults of the API server's, all objects together: ten thousand that failed at once do not come
/// back at once.
#[derive(Default)]
pub struct Queue(Mutex<Option<Instant>>);

impl Queue {
    /// How long the next has to wait for its turn.
    pub fn turn(&self, now: Instant) -> Duration {
        let mut last = self.0.lock().expect("no holder panics");
        // Who comes after a while finds the queue empty.
        let earliest = now.checked_sub(EACH * AT_ONCE).unwrap_or(now);
        let turn = last.map_or(earliest, |last| (last + EACH).max(earliest));
        *last = Some(turn);
        turn.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(pauses: impl IntoIterator<Item = Duration>) -> Vec<f64> {
        let all = pauses.into_iter();
        all.map(|pause| pause.as_secs_f64()).collect()
    }

    #[test]
    fn pauses_double_up_to_a_bound_that_is_near_for_as_long_as_the_server_may_be_back_any_moment() {
        let begun = Instant::now();
        let of = |fault| {
            let (mut pauses, mut now) = (Pauses::new(begun), begun);
            let all = (0..25).map(|_| {
                let pause = pauses.after(fault, now);
                now += pause;
                pause
            });
            seconds(all)
        };
        let others = of(Fault::Other);
        assert_eq!(others[..6], [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]);
        assert_eq!(others.last(), Some(&60.0));
        let servers = of(Fault::Server);
        assert_eq!(servers[..6], [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]);
        assert_eq!(servers.last(), Some(&60.0), "{servers:?}");
    }

    #[test]
    fn who_has_not_failed_for_a_while_begins_anew() {
        let begun = Instant::now();
        let mut pauses = Pauses::new(begun);
        for _ in 0..4 {
            pauses.before_watch(begun);
        }
        assert_eq!(pauses.before_watch(begun), LONGEST_OF_WATCH);
        assert_eq!(pauses.before_watch(begun + ANEW * 2), FIRST);
    }

    #[test]
    fn a_pause_is_half_to_all_of_what_it_is_and_not_always_the_same() {
        let pause = Duration::from_secs(4);
        let all: Vec<_> = (0..100).map(|_| jittered(pause)).collect();
        assert!(all.iter().all(|one| (pause / 2..=pause).contains(one)));
        assert!(all.iter().any(|one| *one != all[0]));
    }

    #[test]
    fn many_who_failed_at_once_come_back_one_after_the_other() {
        let (queue, now) = (Queue::default(), Instant::now() + EACH * AT_ONCE);
        let turns: Vec<_> = (0..=AT_ONCE + 20).map(|_| queue.turn(now)).collect();
        let at_once = turns.iter().filter(|turn| turn.is_zero()).count();
        assert_eq!(at_once, 101);
        assert_eq!(turns.last(), Some(&(EACH * 20)));
        // After a while the queue is empty again.
        assert!(queue.turn(now + EACH * 400).is_zero());
    }

    #[test]
    fn an_event_between_two_failures_of_a_watch_does_not_make_its_pauses_short() {
        let mut pauses = OfWatch::new(Calm::default());
        for _ in 0..4 {
            pauses.next();
            pauses.reset();
        }
        let pause = pauses.next().expect("a watch is never given up");
        assert!(pause >= LONGEST_OF_WATCH / 2, "{pause:?}");
    }
}
