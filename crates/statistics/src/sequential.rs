//! Tests that stay valid however often they are looked at.
//!
//! ```text
//!   counts since the last look ──take──> two bets ──decision──> Fail, Pass, Inconclusive   (at any look)
//!     of two sides: Shares, and Late for what begins in the midst of them; of one, against a limit: Share;
//!     of values in bins: Distance, which has an interval
//! ```
//!
//! Each hypothesis is bet against, by what was seen before: what the bet makes of 1 is an e-process. It exceeds 1/α with a
//! probability of at most α if the hypothesis is so, at whatever time one looks or stops (Ville 1939, "Étude critique de la
//! notion de collectif"; Grünwald, de Heide & Koolen 2024, "Safe testing").

mod distance;
mod late;
mod share;

use serde::{Deserialize, Serialize};

use crate::float;
use crate::gate::Decision;
use crate::proportion::Proportion;

pub use distance::Distance;
pub use late::Late;
pub use share::Share;

/// Before anything is seen a share is taken to be one in thirty, which thirty trials outweigh.
const PRIOR: [f64; 2] = [1.0, 30.0];
/// How close to 0 and 1 a share of a hypothesis is taken to come.
const EDGE: f64 = 1e-12;
/// Steps of the bisection, each of which halves the span.
const BISECTIONS: usize = 60;

/// Whether a candidate's share (of errors, say) lies above the stable one's by more than is allowed.
///
/// Two hypotheses are bet against: that it does not (p ≤ q + allowed), which makes [`Decision::Fail`], and that it does
/// (p ≥ q + allowed), which makes [`Decision::Pass`].
///
/// Source: Turner, Ly & Grünwald (2024), "Generic E-variables for exact sequential k-sample tests that allow for optional
/// stopping", and Turner & Grünwald (2023), "Exact anytime-valid confidence intervals for contingency tables and beyond":
/// of the trials between two looks, the likelihood of an alternative that what was seen before makes likely, over that of
/// the point of the hypothesis that is nearest to it (in Kullback and Leibler's divergence, at the numbers of trials of
/// these looks). Assumes that the trials between two looks are independent of each other and of one probability for each
/// side, and that how many there are does not depend on how they end; from look to look both may change, as long as the
/// hypothesis holds. Errors that come in clusters (one request that is tried ten times over) are worth as much less.
///
/// What is bet is learnt from all that was seen: a candidate that was good for long and then is not is found late, and
/// [`Late`] finds it sooner.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// By how much the candidate's may lie above the stable one's, in [0, 1).
    pub allowed: f64,
    /// All of the candidate so far.
    pub candidate: Proportion,
    /// All of the stable one so far.
    pub stable: Proportion,
    /// What the stable one had before the candidate had anything: it is not of the same time.
    before: Proportion,
    /// What one side has had since while the other had nothing.
    waiting: [Proportion; 2],
    /// Logarithms of what the bets have made of 1: against that it is no worse than is allowed, and against that it is.
    worse: f64,
    within: f64,
}

const NONE: Proportion = Proportion {
    successes: 0,
    trials: 0,
};

impl Shares {
    /// Nothing seen yet.
    pub const fn new(allowed: f64) -> Self {
        Self {
            allowed,
            candidate: NONE,
            stable: NONE,
            before: NONE,
            waiting: [NONE; 2],
            worse: 0.0,
            within: 0.0,
        }
    }

    /// Goes on from what was written down of [`Shares::evidence`].
    pub const fn resumed(
        allowed: f64,
        candidate: Proportion,
        stable: Proportion,
        [worse, within]: [f64; 2],
    ) -> Self {
        Self {
            candidate,
            stable,
            worse,
            within,
            ..Self::new(allowed)
        }
    }

    /// The natural logarithms of the two e-values: that the candidate is worse, and that it is not.
    pub const fn evidence(&self) -> [f64; 2] {
        [self.worse, self.within]
    }

    /// All of the stable one so far, also what is not compared yet since the candidate has had nothing.
    pub fn stable_so_far(&self) -> Proportion {
        let mut all = self.stable;
        all.merge(self.waiting[1]);
        all.merge(self.before);
        all
    }

    /// Takes what was counted since the last look.
    pub fn take(&mut self, candidate: Proportion, stable: Proportion) {
        if candidate.trials == 0 && self.candidate.trials == 0 && self.waiting[0].trials == 0 {
            self.before.merge(stable);
            return;
        }
        let Some(both) = compared(&mut self.waiting, self.allowed, [candidate, stable]) else {
            return;
        };
        let [p, q] = [self.candidate, self.stable].map(guess);
        if p > q + self.allowed {
            self.worse += gain(self.allowed, both, [p, q]);
        }
        let mut all = self.candidate;
        all.merge(self.stable);
        let same = guess(all);
        // Where nothing is allowed, only fewer of them show anything.
        let alternative = if self.allowed > 0.0 {
            [same; 2]
        } else {
            [p.min(q), q]
        };
        self.within += gain(self.allowed, both, alternative);
        self.candidate.merge(both[0]);
        self.stable.merge(both[1]);
    }

    /// What is decided: that it is worse, at one level, or that it is not, at another.
    pub fn decision(&self, level_of_harm: f64, level_of_pass: f64) -> Decision {
        decision(self.evidence(), level_of_harm, level_of_pass)
    }

    /// About how many more trials of the candidate it takes until [`Decision::Pass`], if both go on as they did; absent where
    /// they never would.
    pub fn trials_to_pass(&self, level: f64) -> Option<f64> {
        let missing = -level.ln() - self.within;
        let trials = float(self.candidate.trials.max(1));
        let per_trial = float(self.stable.trials.max(1)) / trials;
        let mut all = self.candidate;
        all.merge(self.stable);
        let same = guess(all);
        let [p, q] = [self.candidate, self.stable].map(|seen| seen.value().unwrap_or(same));
        let null = nearest(self.allowed, [1.0, per_trial], [same; 2]);
        let of = |share: f64, null: f64| {
            share * (same / null).ln() + (1.0 - share) * ((1.0 - same) / (1.0 - null)).ln()
        };
        let rate = of(p, null[0]) + per_trial * of(q, null[1]);
        (rate > 0.0).then(|| (missing / rate).max(0.0))
    }
}

/// What both sides have had since they were compared last, with what is new; nothing where one has had none, or nothing can
/// be compared.
fn compared(
    waiting: &mut [Proportion; 2],
    allowed: f64,
    counted: [Proportion; 2],
) -> Option<[Proportion; 2]> {
    for (waiting, counted) in waiting.iter_mut().zip(counted) {
        waiting.merge(counted);
    }
    // One side alone says nothing of a difference; nor is there a share that lies above another by all.
    if waiting.iter().any(|side| side.trials == 0) || allowed >= 1.0 {
        return None;
    }
    Some(std::mem::replace(waiting, [NONE; 2]))
}

/// What a bet on an alternative to p ≤ q + allowed gains of trials.
fn gain(allowed: f64, [candidate, stable]: [Proportion; 2], alternative: [f64; 2]) -> f64 {
    let trials = [float(candidate.trials), float(stable.trials)];
    let null = nearest(allowed, trials, alternative);
    let of = |counts: Proportion, share: f64, null: f64| {
        let (hits, misses) = (
            float(counts.successes),
            float(counts.trials - counts.successes),
        );
        hits * (share / null).ln() + misses * ((1.0 - share) / (1.0 - null)).ln()
    };
    of(candidate, alternative[0], null[0]) + of(stable, alternative[1], null[1])
}

/// The point of p = q + allowed that is nearest to an alternative, at these numbers of trials.
fn nearest(allowed: f64, trials: [f64; 2], [p, q]: [f64; 2]) -> [f64; 2] {
    // The divergence is convex in q: its slope has one root.
    let slope = |at: f64| {
        let above = at + allowed;
        trials[0] * (above - p) / (above * (1.0 - above)) + trials[1] * (at - q) / (at * (1.0 - at))
    };
    let (mut low, mut high) = (EDGE, 1.0 - allowed - EDGE);
    for _ in 0..BISECTIONS {
        let middle = f64::midpoint(low, high);
        if slope(middle) > 0.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    let at = f64::midpoint(low, high);
    [at + allowed, at]
}

/// What the logarithms of two e-values decide: of harm first.
fn decision([worse, within]: [f64; 2], level_of_harm: f64, level_of_pass: f64) -> Decision {
    if worse >= -level_of_harm.ln() {
        Decision::Fail
    } else if within >= -level_of_pass.ln() {
        Decision::Pass
    } else {
        Decision::Inconclusive
    }
}

/// A share as what was seen makes it likely.
fn guess(seen: Proportion) -> f64 {
    likely([float(seen.successes), float(seen.trials)])
}

/// The same of hits and trials that need not be whole.
fn likely([hits, all]: [f64; 2]) -> f64 {
    (hits + PRIOR[0]) / (all + PRIOR[0] + PRIOR[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn of(successes: u64, trials: u64) -> Proportion {
        Proportion { successes, trials }
    }

    fn after(looks: usize, candidate: Proportion, stable: Proportion) -> Shares {
        let mut shares = Shares::new(0.01);
        (0..looks).for_each(|_| shares.take(candidate, stable));
        shares
    }

    #[test]
    fn a_look_is_worth_what_the_formula_says() {
        // One look, by hand: nothing is bet on harm yet, and on no difference with 1/31 on both sides. The nearest point
        // of p = q + 0.01 at equal numbers solves (a - s)/(a(1 - a)) = (s - b)/(b(1 - b)), a = b + 0.01, s = 1/31.
        let shares = after(1, of(0, 10), of(1, 10));
        let (a, b, s) = (0.037_990_578, 0.027_990_578, 1.0 / 31.0_f64);
        let slope = (a - s) / (a * (1.0 - a)) + (b - s) / (b * (1.0 - b));
        assert!(slope.abs() < 1e-6, "{slope}");
        let expected =
            10.0 * ((1.0 - s) / (1.0 - a)).ln() + (s / b).ln() + 9.0 * ((1.0 - s) / (1.0 - b)).ln();
        let [worse, within] = shares.evidence();
        assert!(worse.abs() < 1e-15);
        assert!((within - expected).abs() < 1e-6, "{within} {expected}");
    }

    #[test]
    fn what_is_plain_is_decided_and_what_is_not_is_not() {
        use Decision::{Fail, Inconclusive, Pass};
        for (what, looks, candidate, stable, expected) in [
            ("nothing", 0, of(0, 0), of(0, 0), Inconclusive),
            ("a few", 2, of(0, 10), of(0, 10), Inconclusive),
            ("many without any", 50, of(0, 10), of(0, 10), Pass),
            ("every second", 4, of(5, 10), of(0, 10), Fail),
            ("all of them", 2, of(10, 10), of(0, 90), Fail),
            ("as many on both sides", 40, of(1, 100), of(9, 900), Pass),
            ("the candidate alone", 50, of(5, 10), of(0, 0), Inconclusive),
            (
                "the stable one alone",
                50,
                of(0, 0),
                of(5, 10),
                Inconclusive,
            ),
        ] {
            let shares = after(looks, candidate, stable);
            assert_eq!(shares.decision(0.01, 0.05), expected, "{what}: {shares:?}");
        }
    }

    #[test]
    fn what_one_side_has_had_alone_is_kept_until_the_other_has_some() {
        let mut apart = Shares::new(0.01);
        apart.take(of(1, 10), of(0, 0));
        apart.take(of(0, 0), of(2, 20));
        let together = after(1, of(1, 10), of(2, 20));
        assert_eq!(apart, together);
    }

    #[test]
    fn what_was_written_down_goes_on_as_if_nothing_had_been() {
        let mut whole = after(7, of(1, 20), of(1, 40));
        let mut resumed = Shares::resumed(0.01, whole.candidate, whole.stable, whole.evidence());
        whole.take(of(3, 20), of(0, 40));
        resumed.take(of(3, 20), of(0, 40));
        assert_eq!(whole, resumed);
    }

    #[test]
    fn how_many_more_it_takes_is_about_so_many() {
        let mut shares = after(10, of(0, 10), of(0, 30));
        let wanted = shares.trials_to_pass(0.05).expect("a number");
        let mut looks = 0;
        while shares.decision(0.01, 0.05) != Decision::Pass {
            shares.take(of(0, 10), of(0, 30));
            looks += 1;
        }
        let took = 10.0 * f64::from(looks);
        assert!((0.7..1.4).contains(&(wanted / took)), "{wanted} {took}");
        // One that is worse by what is allowed will never pass.
        assert_eq!(
            after(100, of(2, 100), of(1, 100)).trials_to_pass(0.05),
            None
        );
        assert_eq!(shares.trials_to_pass(0.05), Some(0.0));
    }
}
