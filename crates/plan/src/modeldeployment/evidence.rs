//! What the comparison of a canary with the stable version has come to, look by look.
//!
//! ```text
//!   Look (both sides, since the last one) ──take──> Evidence ──> judged (analysis)
//!                                            ^          │
//!                       resumed (a status) ──┘          └──written──> a status
//! ```
//!
//! All that is compared was answered in the same minutes. What is kept here outlives a restart of the operator by what a
//! status has of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use windlass_api::{
    Analysis, AnalysisMetric, BakeStatus, CanaryStatus, Compared, Counted, Decimal,
    ModelDeployment, ModelDeploymentStatus, Rollout, SharesSeen,
};
use windlass_statistics::proportion::Proportion;
use windlass_statistics::sequential::{Distance, Share, Shares};

use super::analysis::{LEVEL_OF_HARM, LEVEL_OF_PASS};
use super::stages::stages;

/// By how much more of the canary's requests may be slow, as a share: how near to the 99th percentile the comparison of
/// latencies is.
pub const MORE_SLOW: f64 = 0.005;
/// The share of the stable version's requests that are slow.
const SLOW: f64 = 0.01;
/// Requests of the stable version before its latencies are known well enough to say which are slow.
const KNOWN: u64 = 200;
/// Requests after which older ones count half: what is slow follows the load.
const FORGETS: u64 = 20_000;
/// By how much the logarithm of the evidence moves until it is written down: what a restart of the operator loses at most.
const MOVED: f64 = 1.5;

/// What the proxies of one version have answered in a span of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Requests answered.
    pub requests: u64,
    /// Of these, with an error.
    pub errors: u64,
    /// Upper bounds of the latency buckets, milliseconds.
    pub bounds_ms: Vec<f64>,
    /// Requests in each bucket; one longer than the bounds.
    pub counts: Vec<u64>,
    /// Predictions by bin; none where they are not counted.
    pub predictions: BTreeMap<i32, u64>,
    /// Of copies that were sent to the candidate: rows that could be compared.
    pub compared: u64,
    /// Of these, rows with the same answer.
    pub agreed: u64,
}

impl Traffic {
    /// Takes what another proxy of the same version has answered, or the same one later.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        if !other.counts.is_empty() {
            // Of proxies of two kinds the later one's buckets are kept.
            if self.bounds_ms != other.bounds_ms {
                self.bounds_ms.clone_from(&other.bounds_ms);
                self.counts = vec![0; other.counts.len()];
            }
            for (count, more) in self.counts.iter_mut().zip(&other.counts) {
                *count += more;
            }
        }
        for (bin, count) in &other.predictions {
            *self.predictions.entry(*bin).or_default() += count;
        }
        self.compared += other.compared;
        self.agreed += other.agreed;
    }

    fn failed(&self) -> Proportion {
        Proportion {
            // More of them failed than there were is of a proxy that answers while it counts.
            successes: self.errors.min(self.requests),
            trials: self.requests,
        }
    }

    /// Requests that took longer than this; of a bucket that lies across it none.
    fn slower_than(&self, limit_ms: f64) -> Proportion {
        // The lower bound of a bucket is the upper one of the bucket before.
        let lower = std::iter::once(&0.0).chain(&self.bounds_ms);
        let slow = lower
            .zip(&self.counts)
            .filter(|(lower, _)| **lower >= limit_ms);
        Proportion {
            successes: slow.map(|(_, count)| count).sum(),
            trials: self.counts.iter().sum(),
        }
    }

    /// The upper bound of the bucket above which at most one in a hundred lies; none where that is the open one.
    fn slow_from(&self) -> Option<f64> {
        let all: u64 = self.counts.iter().sum();
        let mut above = all;
        let mut buckets = self.bounds_ms.iter().zip(&self.counts);
        let found = buckets.find(|(_, count)| {
            above -= **count;
            all > 0 && float(above) <= SLOW * float(all)
        });
        found.map(|(bound, _)| *bound)
    }
}

#[allow(clippy::cast_precision_loss)] // counts of requests are far below 2^53
pub(super) fn float(count: u64) -> f64 {
    count as f64
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
}

impl Comparison {
    /// Nothing seen yet.
    pub const fn new(limit: f64, allowed: f64) -> Self {
        Self {
            limit,
            rollout: Shares::new(allowed),
            step: Shares::new(allowed),
        }
    }

    /// Takes what the canary and the stable version have had since the last look.
    pub fn take(&mut self, canary: Proportion, stable: Proportion) {
        self.rollout.take(canary, stable);
        self.step.take(canary, stable);
    }

    fn next_step(&mut self) {
        self.step = Shares::new(self.step.allowed);
    }

    /// Goes on from what a status has, where that is of the same question.
    #[allow(clippy::float_cmp)] // both are of the same text
    fn resumed(self, written: Option<&SharesSeen>) -> Self {
        let of = |compared: &Compared| {
            let evidence = [compared.worse.value().ok()?, compared.within.value().ok()?];
            let (canary, stable) = (counts(compared.canary)?, counts(compared.stable)?);
            let allowed = self.rollout.allowed;
            Some(Shares::resumed(allowed, canary, stable, evidence))
        };
        written
            .filter(|written| written.limit.value().is_ok_and(|limit| limit == self.limit))
            .and_then(|written| {
                Some(Self {
                    limit: self.limit,
                    rollout: of(&written.rollout)?,
                    step: of(&written.step)?,
                })
            })
            .unwrap_or(self)
    }

    /// As a status has it.
    fn written(&self) -> SharesSeen {
        let of = |shares: &Shares| {
            let [worse, within] = shares.evidence();
            Compared {
                canary: counted(shares.candidate),
                stable: counted(shares.stable),
                worse: number(worse),
                within: number(within),
            }
        };
        SharesSeen {
            limit: Decimal::from(self.limit.to_string().as_str()),
            rollout: of(&self.rollout),
            step: of(&self.step),
        }
    }

    /// Whether it has moved by much since it was written down.
    fn has_moved(&self, written: &SharesSeen) -> bool {
        let by = |now: f64, before: &Decimal| (now - before.value().unwrap_or(0.0)).abs();
        let [worse, within] = self.step.evidence();
        by(worse, &written.step.worse).max(by(within, &written.step.within)) >= MOVED
    }
}

fn counts(counted: Counted) -> Option<Proportion> {
    let trials = u64::try_from(counted.requests).ok()?;
    let successes = u64::try_from(counted.hits).ok()?.min(trials);
    Some(Proportion { successes, trials })
}

fn counted(counts: Proportion) -> Counted {
    Counted {
        requests: i64::try_from(counts.trials).unwrap_or(i64::MAX),
        hits: i64::try_from(counts.successes).unwrap_or(i64::MAX),
    }
}

fn number(value: f64) -> Decimal {
    Decimal::from(format!("{value:.4}").as_str())
}

/// All that is compared in a roll-out.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    version: String,
    started: Timestamp,
    step: i32,
    checks: usize,
    /// Requests that failed; where that is judged.
    pub errors: Option<Comparison>,
    /// Requests that were slow; where that is judged.
    pub slow: Option<Comparison>,
    /// How far apart the predictions of this step are; where that is judged. From step to step the weights change: what both
    /// sides had over all of them would be of other minutes.
    pub predictions: Option<Distance>,
    /// Rows that the candidate answers otherwise; where that is judged.
    pub disagreed: Option<Share>,
    /// The stable version's latencies before this look: what is slow is told before it is counted.
    latencies: Traffic,
}

impl Evidence {
    /// Nothing seen yet, or what the canary's status has.
    pub fn resumed(rollout: &Rollout, canary: &CanaryStatus) -> Self {
        let checks = &rollout.analysis;
        let steps = stages(rollout).len().max(1);
        let level = LEVEL_OF_HARM / float((checks.len().max(1) * steps) as u64);
        Self {
            version: canary.version.clone(),
            started: canary.started,
            step: judged_step(rollout, canary),
            checks: checks.len(),
            errors: allowed_errors(checks)
                .map(|allowed| Comparison::new(allowed, allowed).resumed(canary.errors.as_ref())),
            slow: limit(checks, AnalysisMetric::LatencyP99)
                .map(|ratio| Comparison::new(ratio, MORE_SLOW).resumed(canary.slow.as_ref())),
            predictions: limit(checks, AnalysisMetric::PredictionDrift)
                .map(|_| Distance::new(level, LEVEL_OF_PASS)),
            disagreed: disagreement(checks).map(Share::new),
            latencies: Traffic::default(),
        }
    }

    /// What it is, with what is known of it: of another roll-out or another question nothing is, of another step what is of
    /// the whole.
    #[must_use]
    pub fn after(self, known: Option<&Self>) -> Self {
        let Some(known) = known.filter(|known| known.is_of(&self)) else {
            return self;
        };
        let mut now = Self {
            step: self.step,
            ..known.clone()
        };
        if known.step != self.step {
            for comparison in [&mut now.errors, &mut now.slow].into_iter().flatten() {
                comparison.next_step();
            }
            now.predictions = self.predictions;
        }
        now
    }

    #[allow(clippy::float_cmp)] // both are of the same text
    fn is_of(&self, other: &Self) -> bool {
        let limits = |evidence: &Self| {
            let of = |comparison: &Option<Comparison>| comparison.map(|one| one.limit);
            (
                [of(&evidence.errors), of(&evidence.slow)],
                evidence.predictions.is_some(),
                evidence.disagreed.map(|share| share.limit),
            )
        };
        self.started == other.started
            && self.version == other.version
            && self.checks == other.checks
            && limits(self) == limits(other)
    }

    /// Takes what both sides have had since the last look.
    pub fn take(&mut self, canary: &Traffic, stable: &Traffic) {
        if let Some(errors) = &mut self.errors {
            errors.take(canary.failed(), stable.failed());
        }
        if let Some(slow) = &mut self.slow {
            let known: u64 = self.latencies.counts.iter().sum();
            // What is slow is told by what was before this look: by what is in it, it would be told by what is to be judged.
            if let Some(limit) = self.latencies.slow_from().filter(|_| known >= KNOWN) {
                slow.take(
                    canary.slower_than(limit * slow.limit),
                    stable.slower_than(limit),
                );
            }
            self.latencies.merge(stable);
            if known > FORGETS {
                for count in &mut self.latencies.counts {
                    *count /= 2;
                }
            }
        }
        if let Some(predictions) = &mut self.predictions {
            predictions.take([&canary.predictions, &stable.predictions]);
        }
        if let Some(disagreed) = &mut self.disagreed {
            // The stable version's proxy is the one that compares.
            disagreed.take(Proportion {
                successes: stable.compared.saturating_sub(stable.agreed),
                trials: stable.compared,
            });
        }
    }

    /// The latency above which a request of the stable version's is slow, milliseconds.
    pub fn slow_from(&self) -> Option<f64> {
        self.latencies.slow_from()
    }

    /// Puts into a canary's status what is to be known of it after a restart. A step that only begins has none of its own.
    pub fn write(&self, rollout: &Rollout, canary: &mut CanaryStatus) {
        let is_same = self.step == judged_step(rollout, canary);
        let written = |comparison: &Option<Comparison>| {
            comparison.map(|mut comparison| {
                if !is_same {
                    comparison.next_step();
                }
                comparison.written()
            })
        };
        canary.errors = written(&self.errors);
        canary.slow = written(&self.slow);
    }

    /// Whether the evidence has moved by much since it was written down.
    pub fn has_moved(&self, canary: &CanaryStatus) -> bool {
        let pairs = [(&self.errors, &canary.errors), (&self.slow, &canary.slow)];
        pairs.into_iter().any(|(now, written)| {
            now.as_ref()
                .zip(written.as_ref())
                .is_some_and(|(now, written)| now.has_moved(written))
        })
    }
}

/// The step that is judged: the last one, also when all have passed.
fn judged_step(rollout: &Rollout, canary: &CanaryStatus) -> i32 {
    let last = stages(rollout).len().saturating_sub(1);
    canary.step.min(i32::try_from(last).unwrap_or(i32::MAX))
}

/// Whose traffic is compared in a roll-out, and what is known of it from the status alone.
pub struct Sides<'a> {
    /// Name of the ModelVersion that is tried.
    pub canary: &'a str,
    /// Name of the one that serves.
    pub stable: &'a str,
    /// Nothing yet, or what was written down.
    pub evidence: Evidence,
}

/// The sides of a ModelDeployment that rolls.
pub fn sides(deployment: &ModelDeployment) -> Option<Sides<'_>> {
    let status = deployment.status.as_ref()?;
    let (canary, stable) = (status.canary.as_ref()?, status.stable.as_ref()?);
    Some(Sides {
        canary: &canary.version,
        stable: &stable.version,
        evidence: Evidence::resumed(&deployment.spec.rollout, canary),
    })
}

/// The errors of a version that bakes, as far as its status knows; absent where they are not judged.
pub fn bake(status: &ModelDeploymentStatus) -> Option<Share> {
    let bake = status.bake.as_ref()?;
    let limit = bake.limit.as_ref()?.value().ok()?;
    let worse = bake.worse.as_ref().and_then(|worse| worse.value().ok());
    let seen = bake.errors.and_then(counts).unwrap_or_default();
    Some(Share::resumed(limit, seen, [worse.unwrap_or(0.0), 0.0]))
}

/// Whether the evidence has moved by much since it was written down.
pub fn has_share_moved(share: &Share, bake: &BakeStatus) -> bool {
    let written = bake.worse.as_ref().and_then(|worse| worse.value().ok());
    (share.evidence()[0] - written.unwrap_or(0.0)).abs() >= MOVED
}

/// Puts into a status what is to be known after a restart.
pub fn write_share(share: &Share, bake: &mut BakeStatus) {
    bake.errors = Some(counted(share.seen));
    bake.worse = Some(number(share.evidence()[0]));
}

/// By how much the canary's share of errors may lie above the stable version's, where that is judged.
pub fn allowed_errors(checks: &[Analysis]) -> Option<f64> {
    // No share lies above another by all.
    limit(checks, AnalysisMetric::ErrorRate).filter(|allowed| *allowed < 1.0)
}

/// The share of rows that the candidate may answer otherwise, where that is judged.
pub fn disagreement(checks: &[Analysis]) -> Option<f64> {
    limit(checks, AnalysisMetric::Agreement)
        .map(|least| 1.0 - least)
        .filter(|most| *most > 0.0 && *most < 1.0)
}

/// What a check asks for, where there is one.
pub fn limit(checks: &[Analysis], metric: AnalysisMetric) -> Option<f64> {
    let check = checks.iter().find(|check| check.metric == metric)?;
    let limit = match metric {
        AnalysisMetric::ErrorRate => &check.not_worse_than,
        AnalysisMetric::LatencyP99 => &check.max_ratio,
        AnalysisMetric::PredictionDrift => &check.max,
        AnalysisMetric::Agreement => &check.min,
    };
    limit.as_ref()?.value().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rollout(steps: usize) -> Rollout {
        let step = json!({"weight": 10, "hold": "60s"});
        serde_json::from_value(json!({"steps": vec![step; steps]})).expect("a roll-out")
    }

    fn canary(started: i64, step: i32) -> CanaryStatus {
        let at = Timestamp::from_second(started).expect("a time").to_string();
        serde_json::from_value(
            json!({"version": "m-2", "step": step, "weight": 10, "started": at, "since": at}),
        )
        .expect("a canary")
    }

    /// So many requests, of which so many failed and so many took 100 ms and not 3.
    fn traffic(requests: u64, errors: u64, slow: u64) -> Traffic {
        Traffic {
            requests,
            errors,
            bounds_ms: vec![3.0, 4.5, 100.0],
            counts: vec![requests - slow, 0, slow, 0],
            ..Traffic::default()
        }
    }

    fn trials(evidence: &Evidence) -> [u64; 2] {
        let errors = evidence.errors.expect("they are judged");
        [errors.rollout, errors.step].map(|shares| shares.candidate.trials)
    }

    #[test]
    fn evidence_is_of_a_roll_out_and_a_step_and_goes_on_from_what_was_written_down() {
        let rollout = rollout(2);
        let mut evidence = Evidence::resumed(&rollout, &canary(7, 0));
        (0..4).for_each(|_| evidence.take(&traffic(10, 2, 0), &traffic(10, 0, 0)));
        assert_eq!(trials(&evidence), [40, 40]);
        let mut next = Evidence::resumed(&rollout, &canary(7, 1)).after(Some(&evidence));
        assert_eq!(trials(&next), [40, 0]);
        next.take(&traffic(10, 0, 0), &traffic(10, 0, 0));
        // When all have passed, the last step goes on.
        let last = Evidence::resumed(&rollout, &canary(7, 2)).after(Some(&next));
        assert_eq!(trials(&last), [50, 10]);
        // Another roll-out begins with nothing, and so does another question.
        let other = Evidence::resumed(&rollout, &canary(8, 1)).after(Some(&next));
        assert_eq!(trials(&other), [0, 0]);
        let mut stricter = rollout.clone();
        stricter.analysis[0].not_worse_than = Some("0.001".into());
        let other = Evidence::resumed(&stricter, &canary(7, 1)).after(Some(&next));
        assert_eq!(trials(&other), [0, 0]);

        let mut status = canary(7, 1);
        next.write(&rollout, &mut status);
        let resumed = Evidence::resumed(&rollout, &status);
        assert_eq!(trials(&resumed), [50, 10]);
        assert!(!resumed.has_moved(&status));
        assert_eq!(trials(&Evidence::resumed(&stricter, &status)), [0, 0]);
        // A step that only begins has none of its own.
        let mut before = canary(7, 0);
        evidence.write(&rollout, &mut before);
        let mut begun = canary(7, 1);
        evidence.write(&rollout, &mut begun);
        let requests = |status: &CanaryStatus| {
            let errors = status.errors.as_ref().expect("written");
            [&errors.rollout, &errors.step].map(|one| one.canary.requests)
        };
        assert_eq!((requests(&before), requests(&begun)), ([40, 40], [40, 0]));
    }

    #[test]
    fn what_is_slow_is_told_by_the_stable_version_before_it_is_counted() {
        let rollout = rollout(1);
        let mut evidence = Evidence::resumed(&rollout, &canary(7, 0));
        evidence.take(&traffic(50, 0, 50), &traffic(150, 0, 0));
        evidence.take(&traffic(50, 0, 50), &traffic(150, 0, 0));
        let slow = evidence.slow.expect("it is judged");
        assert_eq!(slow.rollout.candidate.trials, 0, "not known yet");
        assert_eq!(evidence.slow_from(), Some(3.0));
        evidence.take(&traffic(50, 0, 10), &traffic(150, 0, 3));
        let slow = evidence.slow.expect("it is judged");
        // 1.5 times 3 ms is a bound; what lies in the bucket that ends there is not slow.
        assert_eq!(slow.rollout.candidate.successes, 10);
        assert_eq!(slow.rollout.stable.successes, 3);
    }

    #[test]
    fn what_lies_across_the_limit_is_not_slow() {
        let traffic = Traffic {
            counts: vec![1, 2, 4, 8],
            ..traffic(15, 0, 0)
        };
        for (limit, expected) in [
            (0.0, 15),
            (3.0, 14),
            (3.1, 12),
            (4.5, 12),
            (99.0, 8),
            (101.0, 0),
        ] {
            assert_eq!(traffic.slower_than(limit).successes, expected, "{limit} ms");
        }
    }
}
