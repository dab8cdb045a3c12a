//! What begins late.

use super::{NONE, compared, gain, likely};
use crate::float;
use crate::proportion::Proportion;

/// Trials of the candidate after which older ones count half in what is bet.
const FORGETS: f64 = 200.0;
/// Trials after which half of what is bet has begun; the rest is spread over all that may come.
const HALF: f64 = 100.0;

/// Whether a candidate's share has come to lie above the stable one's by more than is allowed, whenever that began.
///
/// A bet as that of [`super::Shares`] begins at every look, each with its part of 1, and their sum is what is looked at. What
/// is good for long weighs against the bets that began then, and not against those that begin later. The parts add up to 1,
/// so that the sum is an e-process: it exceeds 1/α with a probability of at most α if the candidate is never worse, over all
/// looks and all beginnings together. A bet learns from what was counted lately alone: then all those that have begun go
/// on alike, and one number stands for them.
///
/// Source: Shin, Ramdas & Rinaldo (2023), "E-detectors: a nonparametric framework for sequential change detection", whose
/// sum of e-processes that begin at every look (after Shiryaev and Roberts) has parts of 1 each and keeps the mean time
/// between false alarms. With parts that add up to 1 (as Shiryaev 1963, "On optimum methods in quickest detection
/// problems", weighs beginnings) it keeps the chance that there ever is one. After n trials 1/(1 + log₂(1 + n/100)) of it
/// has not begun yet: a change after n trials costs some ln(n/200) + 2 ln log₂(n/100) nats more than one that was awaited.
/// Assumptions as of [`super::Shares`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Late {
    allowed: f64,
    /// Hits and trials of each side, the older the less.
    recent: [[f64; 2]; 2],
    waiting: [Proportion; 2],
    /// Of the candidate.
    trials: u64,
    /// Natural logarithm of what those bets that have begun have made of their parts.
    begun: f64,
}

impl Late {
    /// Nothing seen yet.
    pub const fn new(allowed: f64) -> Self {
        Self {
            allowed,
            recent: [[0.0; 2]; 2],
            waiting: [NONE; 2],
            trials: 0,
            begun: f64::NEG_INFINITY,
        }
    }

    /// Goes on from what was written down of [`Late::evidence`] after so many trials of the candidate. What was counted
    /// lately is not known then: the next bets learn it anew.
    pub fn resumed(allowed: f64, trials: u64, evidence: f64) -> Self {
        Self {
            trials,
            // What was rounded may lie below what has not begun.
            begun: (evidence.exp() - left(trials)).max(0.0).ln(),
            ..Self::new(allowed)
        }
    }

    /// The natural logarithm of the e-value that the candidate has become worse.
    pub fn evidence(&self) -> f64 {
        sum(self.begun, left(self.trials).ln())
    }

    /// Takes what was counted since the last look.
    pub fn take(&mut self, candidate: Proportion, stable: Proportion) {
        // As in `Shares`.
        if candidate.trials == 0 && self.trials == 0 && self.waiting[0].trials == 0 {
            return;
        }
        let Some(both) = compared(&mut self.waiting, self.allowed, [candidate, stable]) else {
            return;
        };
        let before = self.trials;
        self.trials += both[0].trials;
        let begins = left(before) - left(self.trials);
        let [p, q] = self.recent.map(likely);
        let gained = if p > q + self.allowed {
            gain(self.allowed, both, [p, q])
        } else {
            0.0
        };
        self.begun = sum(self.begun, begins.ln()) + gained;
        let kept = (-float(both[0].trials) / FORGETS).exp2();
        for (recent, counted) in self.recent.iter_mut().zip(both) {
            let more = [counted.successes, counted.trials].map(float);
            *recent = [0, 1].map(|at: usize| recent[at] * kept + more[at]);
        }
    }
}

/// The part of what is bet that has not begun after so many trials.
fn left(trials: u64) -> f64 {
    1.0 / (1.0 + (1.0 + float(trials) / HALF).log2())
}

/// The logarithm of a sum, of those of its two parts.
fn sum(a: f64, b: f64) -> f64 {
    let (low, high) = (a.min(b), a.max(b));
    if low == f64::NEG_INFINITY {
        return high;
    }
    high + (low - high).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::sequential::Shares;

    const ALLOWED: f64 = 0.005;

    fn draw(random: &mut Random, trials: u64, share: f64) -> Proportion {
        let successes = (0..trials).filter(|_| random.uniform() < share).count();
        Proportion {
            successes: successes as u64,
            trials,
        }
    }

    /// After how many requests a canary that becomes bad after so many is found, by each.
    fn delays(good: u64, seed: u64) -> [u64; 2] {
        let mut random = Random::new(seed);
        let (mut late, mut shares) = (Late::new(ALLOWED), Shares::new(ALLOWED));
        let mut found = [None; 2];
        let mut requests = 0;
        while found.contains(&None) {
            let of_canary = if requests < good { 0.01 } else { 0.04 };
            let both = [
                draw(&mut random, 20, of_canary),
                draw(&mut random, 80, 0.01),
            ];
            requests += 20;
            late.take(both[0], both[1]);
            shares.take(both[0], both[1]);
            let evidence = [late.evidence(), shares.evidence()[0]];
            for (found, evidence) in found.iter_mut().zip(evidence) {
                if evidence >= -0.0025_f64.ln() {
                    found.get_or_insert(requests.saturating_sub(good));
                }
            }
        }
        found.map(|found| found.expect("both are found"))
    }

    #[test]
    fn what_begins_late_is_found_sooner_than_by_all_that_was_seen() {
        let mut all: Vec<[u64; 2]> = (0..15).map(|run| delays(20_000, 70 + run)).collect();
        let middle = |all: &mut Vec<[u64; 2]>, of: usize| {
            all.sort_by_key(|delays| delays[of]);
            all[all.len() / 2][of]
        };
        let [late, shares] = [0, 1].map(|of| middle(&mut all, of));
        println!(
            "4% against 1% after 20,000: {late} requests later, {shares} by all that was seen"
        );
        assert!(late <= 1600, "{late}");
        assert!(shares >= 2 * late, "{late} {shares}");
    }

    #[test]
    fn a_canary_that_never_gets_worse_is_seldom_called_so_however_often_one_looks() {
        let mut random = Random::new(8);
        let mut wrong = 0;
        for _ in 0..400 {
            let mut late = Late::new(ALLOWED);
            let ever = (0..500).any(|_| {
                // Worse by just what is allowed.
                let both = [draw(&mut random, 20, 0.015), draw(&mut random, 40, 0.01)];
                late.take(both[0], both[1]);
                late.evidence() >= -0.05_f64.ln()
            });
            wrong += u32::from(ever);
        }
        println!("{wrong} of 400");
        assert!(
            wrong <= 33,
            "{wrong}: more than 5%, and three standard errors"
        );
    }

    #[test]
    fn it_is_one_before_anything_is_bet_and_after_bets_that_were_none() {
        let mut late = Late::new(ALLOWED);
        assert!(late.evidence().abs() < 1e-12);
        let none = Proportion {
            successes: 0,
            trials: 500,
        };
        (0..50).for_each(|_| late.take(none, none));
        assert!(late.evidence().abs() < 1e-12, "{}", late.evidence());
    }

    #[test]
    fn what_was_written_down_goes_on_with_what_had_begun_and_what_had_not() {
        let mut late = Late::new(ALLOWED);
        let of = |successes| Proportion {
            successes,
            trials: 100,
        };
        (0..5).for_each(|_| late.take(of(4), of(1)));
        assert!(late.evidence() > 1.0, "{}", late.evidence());
        let resumed = Late::resumed(ALLOWED, late.trials, late.evidence());
        assert!((resumed.begun - late.begun).abs() < 1e-9);
        assert!((resumed.evidence() - late.evidence()).abs() < 1e-9);
        // Of what was lost to rounding, nothing is made.
        let none = Late::resumed(ALLOWED, 1000, -3.0);
        assert!(none.begun.is_infinite() && none.evidence() < 0.0);
    }
}
