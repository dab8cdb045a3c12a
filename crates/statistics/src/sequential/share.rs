//! One share against a limit, however often it is looked at.

use serde::{Deserialize, Serialize};

use super::guess;
use crate::float;
use crate::gate::Decision;
use crate::proportion::Proportion;

/// Whether a share (of answers that disagree, say) lies above a limit.
///
/// Two hypotheses are bet against: that it does not (p ≤ limit), which makes [`Decision::Fail`], and that it does
/// (p ≥ limit), which makes [`Decision::Pass`]. What was counted since the last look is worth its likelihood at the share
/// that what was seen before makes likely, over that at the limit.
///
/// Source: Waudby-Smith & Ramdas (2024), "Estimating means of bounded random variables by betting", section 3, for trials
/// that end in one of two ways. Assumes that the trials between two looks are independent of each other; from look to look
/// the share may change, as long as the hypothesis holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The limit, in (0, 1).
    pub limit: f64,
    /// All so far.
    pub seen: Proportion,
    worse: f64,
    within: f64,
}

impl Share {
    /// Nothing seen yet.
    pub const fn new(limit: f64) -> Self {
        Self {
            limit,
            seen: Proportion {
                successes: 0,
                trials: 0,
            },
            worse: 0.0,
            within: 0.0,
        }
    }

    /// Goes on from what was written down of [`Share::evidence`].
    pub const fn resumed(limit: f64, seen: Proportion, [worse, within]: [f64; 2]) -> Self {
        Self {
            seen,
            worse,
            within,
            ..Self::new(limit)
        }
    }

    /// The natural logarithms of the two e-values: that the share lies above the limit, and that it does not.
    pub const fn evidence(&self) -> [f64; 2] {
        [self.worse, self.within]
    }

    /// Takes what was counted since the last look.
    pub fn take(&mut self, counted: Proportion) {
        let (hits, misses) = (
            float(counted.successes),
            float(counted.trials - counted.successes),
        );
        let likely = guess(self.seen);
        let gain =
            hits * (likely / self.limit).ln() + misses * ((1.0 - likely) / (1.0 - self.limit)).ln();
        if likely > self.limit {
            self.worse += gain;
        } else {
            self.within += gain;
        }
        self.seen.merge(counted);
    }

    /// What is decided: that the share lies above the limit, at one level, or that it does not, at another.
    pub fn decision(&self, level_of_harm: f64, level_of_pass: f64) -> Decision {
        super::decision(self.evidence(), level_of_harm, level_of_pass)
    }

    /// About how many more trials it takes until [`Decision::Pass`], if they go on as they did; absent where they never would.
    pub fn trials_to_pass(&self, level: f64) -> Option<f64> {
        let missing = -level.ln() - self.within;
        let share = guess(self.seen);
        if share >= self.limit {
            return None;
        }
        let rate = share * (share / self.limit).ln()
            + (1.0 - share) * ((1.0 - share) / (1.0 - self.limit)).ln();
        Some((missing / rate).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn after(limit: f64, looks: usize, successes: u64, trials: u64) -> Share {
        let mut share = Share::new(limit);
        (0..looks).for_each(|_| share.take(Proportion { successes, trials }));
        share
    }

    #[test]
    fn what_is_plain_is_decided_and_what_is_not_is_not() {
        use Decision::{Fail, Inconclusive, Pass};
        for (what, share, expected) in [
            ("nothing", after(0.05, 0, 0, 0), Inconclusive),
            ("a few", after(0.05, 1, 0, 10), Inconclusive),
            ("none of many", after(0.05, 30, 0, 10), Pass),
            ("every second", after(0.05, 4, 5, 10), Fail),
            ("as many as the limit", after(0.05, 40, 1, 20), Inconclusive),
        ] {
            assert_eq!(share.decision(0.01, 0.05), expected, "{what}: {share:?}");
        }
    }

    #[test]
    fn how_many_more_it_takes_is_about_so_many() {
        let mut share = after(0.05, 10, 0, 10);
        let wanted = share.trials_to_pass(0.001).expect("a number");
        let mut more = 0.0;
        while share.decision(0.01, 0.001) != Decision::Pass {
            share.take(Proportion {
                successes: 0,
                trials: 10,
            });
            more += 10.0;
        }
        // What is likely before anything is seen still weighs in: rather too many than too few.
        assert!((0.9..1.6).contains(&(wanted / more)), "{wanted} {more}");
        assert_eq!(share.trials_to_pass(0.001), Some(0.0));
        assert_eq!(after(0.05, 50, 1, 10).trials_to_pass(0.05), None);
    }

    #[test]
    fn a_look_is_worth_what_the_formula_says() {
        let share = after(0.05, 1, 1, 10);
        let likely = 1.0_f64 / 31.0;
        let expected = (likely / 0.05).ln() + 9.0 * ((1.0 - likely) / 0.95).ln();
        assert!((share.evidence()[1] - expected).abs() < 1e-12);
    }

    #[test]
    fn bets_against_the_truth_seldom_win_however_often_one_looks() {
        let mut random = Random::new(7);
        let mut wrong = [0; 2];
        for _ in 0..2000 {
            let mut share = Share::new(0.05);
            let mut ever = [false; 2];
            for _ in 0..200 {
                let successes = (0..10).filter(|_| random.uniform() < 0.05).count();
                share.take(Proportion {
                    successes: successes as u64,
                    trials: 10,
                });
                for (ever, (evidence, level)) in ever
                    .iter_mut()
                    .zip(share.evidence().iter().zip([0.01_f64, 0.05]))
                {
                    *ever |= *evidence >= -level.ln();
                }
            }
            wrong[0] += usize::from(ever[0]);
            wrong[1] += usize::from(ever[1]);
        }
        assert!(wrong[0] <= 34 && wrong[1] <= 130, "{wrong:?} of 2000");
    }
}
