//! What is compared, and what a status has of it.
//!
//! ```text
//!   compared ──written──> status ──resumed──> compared       (has_moved: whether it is worth writing again)
//! ```
//!
//! What was counted between the last write and a restart of the operator is lost. What goes on is the bet as it was
//! written, on requests that come later: as if those in between had not been asked for, whose number does not hang on how
//! they ended. Had they decided anything, it would have been written. So a restart delays, and adds to the chance to be
//! wrong no more than what the lost ones could have decided by themselves.

use windlass_api::{
    AnalysisMetric, Compared, Counted, Decimal, DistanceSeen, ShareSeen, SharesSeen,
};
use windlass_statistics::Interval;
use windlass_statistics::proportion::Proportion;
use windlass_statistics::sequential::{Distance, Late, Share, Shares};

use super::levels::{LEVEL_OF_PASS, Levels, decides_at};
use super::traffic::{Times, Traffic};

/// Requests of the stable version before its latencies are known well enough to say which are slow.
pub const KNOWN: u64 = 200;
/// Requests after which older ones count half: what is slow follows the load.
const FORGETS: u64 = 20_000;
/// Looks at a distance that a restart of the operator takes to be lost. Each takes half more values than the one before:
/// this many would be 17,000 times as many as were written down.
const LOST_LOOKS: u32 = 24;

/// What outlives a restart of the operator by what a status has of it.
pub trait Recorded: Sized {
    /// As a status has it.
    type Form;
    /// Goes on from what was written down, where that is of the same question.
    #[must_use]
    fn resumed(self, written: Option<&Self::Form>) -> Self;
    /// As it is to be written down.
    fn written(&self) -> Self::Form;
    /// Whether it has moved by so much since that it is worth writing again.
    fn has_moved(&self, written: &Self::Form, levels: &Levels) -> bool;
}

/// One share of both sides, compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// What was asked for in the spec, by which it is told whether it is still the same question.
    pub limit: f64,
    /// Over the whole roll-out: harm that is small shows itself in time.
    pub rollout: Shares,
    /// In this step alone: what a step does harm by is not hidden behind the good steps before it.
    pub step: Shares,
    /// Whenever it began: harm that begins late in a long step is not hidden behind the good time before it.
    pub late: Late,
}

impl Comparison {
    /// Nothing seen yet.
    pub const fn new(limit: f64, allowed: f64) -> Self {
        Self {
            limit,
            rollout: Shares::new(allowed),
            step: Shares::new(allowed),
            late: Late::new(allowed),
        }
    }

    /// Takes what the canary and the stable version have had since the last look.
    pub fn take(&mut self, canary: Proportion, stable: Proportion) {
        self.rollout.take(canary, stable);
        self.step.take(canary, stable);
        self.late.take(canary, stable);
    }

    /// A step begins, of which nothing is seen yet.
    pub fn next_step(&mut self) {
        self.step = Shares::new(self.step.allowed);
    }
}

impl Recorded for Comparison {
    type Form = SharesSeen;

    #[allow(clippy::float_cmp)] // both are of the same text
    fn resumed(self, written: Option<&SharesSeen>) -> Self {
        let allowed = self.rollout.allowed;
        let of = |compared: &Compared| shares(allowed, compared);
        written
            .filter(|written| written.limit.value().is_ok_and(|limit| limit == self.limit))
            .and_then(|written| {
                let rollout = of(&written.rollout)?;
                let late = written.late.as_ref().and_then(|late| late.value().ok());
                Some(Self {
                    limit: self.limit,
                    rollout,
                    step: of(&written.step)?,
                    late: late.map_or(self.late, |late| {
                        Late::resumed(allowed, rollout.candidate.trials, late)
                    }),
                })
            })
            .unwrap_or(self)
    }

    fn written(&self) -> SharesSeen {
        SharesSeen {
            limit: exactly(self.limit),
            rollout: compared(&self.rollout),
            step: compared(&self.step),
            late: Some(number(self.late.evidence())),
        }
    }

    fn has_moved(&self, written: &SharesSeen, levels: &Levels) -> bool {
        let [in_all, _] = self.rollout.evidence();
        let [in_step, within] = self.step.evidence();
        moved(in_all, &written.rollout.worse, levels.rollout)
            || moved(in_step, &written.step.worse, levels.step)
            || moved(within, &written.step.within, LEVEL_OF_PASS)
            || (written.late.as_ref())
                .is_none_or(|late| moved(self.late.evidence(), late, levels.late))
    }
}

impl Recorded for Share {
    type Form = ShareSeen;

    #[allow(clippy::float_cmp)] // both are of the same text
    fn resumed(self, written: Option<&ShareSeen>) -> Self {
        let of = |written: &ShareSeen| {
            let evidence = [written.worse.value().ok()?, written.within.value().ok()?];
            Some(Self::resumed(self.limit, counts(written.seen)?, evidence))
        };
        written
            .filter(|written| written.limit.value().is_ok_and(|limit| limit == self.limit))
            .and_then(of)
            .unwrap_or(self)
    }

    fn written(&self) -> ShareSeen {
        let [worse, within] = self.evidence();
        ShareSeen {
            limit: exactly(self.limit),
            seen: counted(self.seen),
            worse: number(worse),
            within: number(within),
        }
    }

    fn has_moved(&self, written: &ShareSeen, levels: &Levels) -> bool {
        let [worse, within] = self.evidence();
        moved(worse, &written.worse, levels.metric) || moved(within, &written.within, LEVEL_OF_PASS)
    }
}

impl Recorded for Distance {
    type Form = DistanceSeen;

    fn resumed(self, written: Option<&DistanceSeen>) -> Self {
        let of = |written: &DistanceSeen| {
            let interval = Interval {
                lower: written.lower.value().ok()?,
                upper: written.upper.value().ok()?,
            };
            let looks = u32::try_from(written.looks).ok()?;
            let looks = if looks == 0 { 0 } else { looks + LOST_LOOKS };
            Some(self.clone().resumed(looks, interval))
        };
        written
            .filter(|written| written.level == level(&self))
            .and_then(of)
            .unwrap_or(self)
    }

    fn written(&self) -> DistanceSeen {
        let interval = self.interval();
        DistanceSeen {
            level: level(self),
            looks: i32::try_from(self.looks()).unwrap_or(i32::MAX),
            lower: number(interval.lower),
            upper: number(interval.upper),
        }
    }

    fn has_moved(&self, written: &DistanceSeen, _: &Levels) -> bool {
        let of = |end: &Decimal, other: f64| end.value().unwrap_or(other);
        let width = of(&written.upper, 1.0) - of(&written.lower, 0.0);
        let now = self.interval();
        // Within as many looks as a restart takes to be lost it has become much narrower than by a tenth.
        now.upper - now.lower < 0.9 * width
    }
}

/// Requests of which something was slow: of the canary's as many times as is allowed what is slow of the stable version's.
#[derive(Clone, Debug, PartialEq)]
pub struct Slow {
    /// What was slow.
    pub metric: AnalysisMetric,
    /// The shares of them.
    pub shares: Comparison,
    /// The stable version's times before this look: what is slow is told before it is counted.
    known: Times,
}

impl Slow {
    /// Nothing seen yet.
    pub fn new(metric: AnalysisMetric, shares: &Comparison) -> Self {
        Self {
            metric,
            shares: *shares,
            known: Times::default(),
        }
    }

    /// Takes what both sides have had since the last look.
    pub fn take(&mut self, canary: &Traffic, stable: &Traffic) {
        let [canary, stable] = [canary, stable].map(|side| side.times(self.metric));
        let known = self.known.all();
        // What is slow is told by what was before this look: by what is in it, it would be told by what is to be judged.
        if let Some(limit) = self.slow_from().filter(|_| known >= KNOWN) {
            let allowed = limit * self.shares.limit;
            self.shares
                .take(canary.slower_than(allowed), stable.slower_than(limit));
        }
        self.known.merge(&stable);
        if known > FORGETS {
            for count in &mut self.known.counts {
                *count /= 2;
            }
        }
    }

    /// The time above which a request of the stable version's is slow, milliseconds.
    pub fn slow_from(&self) -> Option<f64> {
        self.known.slow_from()
    }
}

/// Whether a logarithm of evidence has moved by half of what decides since it was written down. Past what decides, nothing
/// more is of interest; nor is it far below, from where it does not come back.
fn moved(now: f64, written: &Decimal, level: f64) -> bool {
    let decides = decides_at(level);
    let of = |evidence: f64| evidence.clamp(-decides, decides);
    (of(now) - of(written.value().unwrap_or(0.0))).abs() >= decides / 2.0
}

fn level(distance: &Distance) -> Decimal {
    Decimal::from(format!("{:.6}", distance.levels()[0]).as_str())
}

/// What was written down of two shares; nothing where it is none of ours.
pub(super) fn shares(allowed: f64, compared: &Compared) -> Option<Shares> {
    let evidence = [compared.worse.value().ok()?, compared.within.value().ok()?];
    let (canary, stable) = (counts(compared.canary)?, counts(compared.stable)?);
    Some(Shares::resumed(allowed, canary, stable, evidence))
}

/// Two shares as a status has them.
pub(super) fn compared(shares: &Shares) -> Compared {
    let [worse, within] = shares.evidence();
    Compared {
        canary: counted(shares.candidate),
        stable: counted(shares.stable),
        worse: number(worse),
        within: number(within),
    }
}

/// Counts as a status has them.
pub(super) fn counts(counted: Counted) -> Option<Proportion> {
    let trials = u64::try_from(counted.requests).ok()?;
    let successes = u64::try_from(counted.hits).ok()?.min(trials);
    Some(Proportion { successes, trials })
}

pub(super) fn counted(counts: Proportion) -> Counted {
    Counted {
        requests: i64::try_from(counts.trials).unwrap_or(i64::MAX),
        hits: i64::try_from(counts.successes).unwrap_or(i64::MAX),
    }
}

fn number(value: f64) -> Decimal {
    Decimal::from(format!("{value:.4}").as_str())
}

/// A number as a text that is read as the very same.
fn exactly(value: f64) -> Decimal {
    Decimal::from(value.to_string().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_moved_where_it_matters_and_not_past_what_decides() {
        // Three nats decide at this level.
        let level = (-3.0_f64).exp();
        for (written, now, expected) in [
            (0.0, 1.4, false),
            (0.0, 1.5, true),
            (0.0, -1.5, true),
            (2.9, 40.0, false),
            (-2.9, -40.0, false),
            (-40.0, -2.0, false),
            (-40.0, 0.0, true),
        ] {
            let moved = moved(now, &number(written), level);
            assert_eq!(moved, expected, "{written} {now}");
        }
    }

    #[test]
    fn a_limit_is_the_same_after_it_was_written_down() {
        for limit in [0.01, 1.0 - 0.95, 1.5, 0.1 + 0.2] {
            let share = Share::new(limit);
            let resumed = Recorded::resumed(share, Some(&share.written()));
            assert_eq!(resumed, share);
            assert_eq!(share.written().limit.value(), Ok(limit));
        }
    }
}
