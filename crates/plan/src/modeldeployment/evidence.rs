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

use jiff::{SignedDuration, Timestamp};
use windlass_api::{
    Analysis, AnalysisMetric, BakeStatus, CanaryStatus, Decimal, ModelDeployment,
    ModelDeploymentStatus, Rollout, ShareSeen,
};
use windlass_statistics::proportion::Proportion;
use windlass_statistics::sequential::{Distance, Share};

use super::comparison::{Comparison, Recorded, Slow};
use super::levels::{LEVEL_OF_PASS, Levels};
use super::stages::stages;
use super::traffic::Traffic;

/// By how much more of the canary's requests may be slow, as a share: how near to the 99th percentile the comparison of
/// latencies is.
pub const MORE_SLOW: f64 = 0.005;
/// The metrics that are judged by how many requests are slow.
pub const OF_TIME: [AnalysisMetric; 3] = [
    AnalysisMetric::LatencyP99,
    AnalysisMetric::TimeToFirstToken,
    AnalysisMetric::TimePerOutputToken,
];
/// The least share that may be a limit: one below is no limit that a count could be held to.
pub const LEAST_LIMIT: f64 = 0.001;
/// No share lies above another by all, and by nearly all is not asked for by anybody.
pub const JUDGED_BELOW: f64 = 0.999;
/// How long what was written down stands at least, unless something is decided: what a restart of the operator loses at most.
const STANDS: SignedDuration = SignedDuration::from_mins(5);
/// The same as a part of the time that it goes on, where that is more.
const STANDS_FOR: i32 = 10;

/// Whether what was written down may be written again, of what goes on since then.
pub fn is_due(recorded: Option<Timestamp>, since: Timestamp, now: Timestamp) -> bool {
    has_stood(STANDS, recorded, since, now)
}

/// Whether what was written down has stood for as long as this, and for a tenth of the time since then.
pub fn has_stood(
    least: SignedDuration,
    recorded: Option<Timestamp>,
    since: Timestamp,
    now: Timestamp,
) -> bool {
    let stands = (now.duration_since(since) / STANDS_FOR).max(least);
    recorded.is_none_or(|at| now.duration_since(at) >= stands)
}

/// All that is compared in a roll-out.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    version: String,
    started: Timestamp,
    step: i32,
    checks: usize,
    levels: Levels,
    /// Requests that failed; where that is judged.
    pub errors: Option<Comparison>,
    /// Requests of which something was slow; of each metric of time that is judged.
    pub slow: Vec<Slow>,
    /// The canary's requests that failed while the stable version had none.
    pub alone: Option<Share>,
    /// How far apart the predictions of this step are; where that is judged. From step to step the weights change: what both
    /// sides had over all of them would be of other minutes.
    pub predictions: Option<Distance>,
    /// Rows that the candidate answers otherwise; where that is judged.
    pub disagreed: Option<Share>,
}

impl Evidence {
    /// Nothing seen yet, or what the canary's status has.
    pub fn resumed(rollout: &Rollout, canary: &CanaryStatus) -> Self {
        let checks = &rollout.analysis;
        let levels = Levels::of(checks, stages(rollout).len());
        let allowed = allowed_errors(checks);
        let slow = OF_TIME.into_iter().filter_map(|metric| {
            let shares = Comparison::new(limit(checks, metric)?, MORE_SLOW);
            let written = match metric {
                AnalysisMetric::TimeToFirstToken => &canary.slow_first_tokens,
                AnalysisMetric::TimePerOutputToken => &canary.slow_tokens,
                _ => &canary.slow,
            };
            Some(Slow::new(metric, &shares.resumed(written.as_ref())))
        });
        Self {
            version: canary.version.clone(),
            started: canary.started,
            step: judged_step(rollout, canary),
            checks: checks.len(),
            levels,
            errors: allowed
                .map(|allowed| Comparison::new(allowed, allowed).resumed(canary.errors.as_ref())),
            slow: slow.collect(),
            alone: allowed.map(|allowed| {
                let share = Share::new(allowed.max(LEAST_LIMIT));
                Recorded::resumed(share, canary.alone.as_ref())
            }),
            predictions: limit(checks, AnalysisMetric::PredictionDrift).map(|_| {
                let distance = Distance::new(levels.distance, LEVEL_OF_PASS);
                Recorded::resumed(distance, canary.predictions.as_ref())
            }),
            disagreed: disagreement(checks)
                .map(|most| Recorded::resumed(Share::new(most), canary.disagreed.as_ref())),
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
            levels: self.levels,
            ..known.clone()
        };
        if known.step != self.step {
            for comparison in now.comparisons() {
                comparison.next_step();
            }
            now.predictions = self.predictions;
        }
        now
    }

    fn comparisons(&mut self) -> impl Iterator<Item = &mut Comparison> {
        let slow = self.slow.iter_mut().map(|slow| &mut slow.shares);
        self.errors.iter_mut().chain(slow)
    }

    #[allow(clippy::float_cmp)] // both are of the same text
    fn is_of(&self, other: &Self) -> bool {
        let limits = |evidence: &Self| {
            let slow = evidence.slow.iter();
            (
                evidence.errors.map(|one| one.limit),
                slow.map(|one| (one.metric, one.shares.limit))
                    .collect::<Vec<_>>(),
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
        if let Some(alone) = self.alone.as_mut().filter(|_| stable.requests == 0) {
            alone.take(canary.failed());
        }
        for slow in &mut self.slow {
            slow.take(canary, stable);
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

    /// What is slow, of a metric of time.
    pub fn slow(&self, metric: AnalysisMetric) -> Option<&Slow> {
        self.slow.iter().find(|slow| slow.metric == metric)
    }

    /// Puts into a canary's status what is to be known of it after a restart. A step that only begins has none of its own.
    pub fn write(&self, rollout: &Rollout, canary: &mut CanaryStatus, now: Timestamp) {
        let mut begun = self.clone();
        if self.step != judged_step(rollout, canary) {
            begun.comparisons().for_each(Comparison::next_step);
            begun.predictions = None;
        }
        let slow = |metric| begun.slow(metric).map(|slow| slow.shares.written());
        canary.recorded = Some(now);
        canary.errors = begun.errors.as_ref().map(Recorded::written);
        canary.slow = slow(AnalysisMetric::LatencyP99);
        canary.slow_first_tokens = slow(AnalysisMetric::TimeToFirstToken);
        canary.slow_tokens = slow(AnalysisMetric::TimePerOutputToken);
        // Most canaries are never alone.
        let alone = begun.alone.filter(|alone| alone.seen.trials > 0);
        canary.alone = alone.as_ref().map(Recorded::written);
        canary.disagreed = begun.disagreed.as_ref().map(Recorded::written);
        canary.predictions = begun.predictions.as_ref().map(Recorded::written);
    }

    /// Takes out of a canary's status what [`Evidence::write`] puts there, and what labels said.
    pub fn forget(canary: &mut CanaryStatus) {
        canary.recorded = None;
        canary.errors = None;
        canary.slow = None;
        canary.slow_first_tokens = None;
        canary.slow_tokens = None;
        canary.alone = None;
        canary.disagreed = None;
        canary.predictions = None;
        canary.labelled = None;
    }

    /// Whether the evidence has moved by much since it was written down.
    pub fn has_moved(&self, canary: &CanaryStatus) -> bool {
        let slow = |metric| self.slow(metric).map(|slow| &slow.shares);
        let nothing = self.alone.map(|alone| Share::new(alone.limit).written());
        self.moved(self.errors.as_ref(), canary.errors.as_ref())
            || self.moved(slow(AnalysisMetric::LatencyP99), canary.slow.as_ref())
            || self.moved(
                slow(AnalysisMetric::TimeToFirstToken),
                canary.slow_first_tokens.as_ref(),
            )
            || self.moved(
                slow(AnalysisMetric::TimePerOutputToken),
                canary.slow_tokens.as_ref(),
            )
            || self.moved(
                self.alone.as_ref(),
                canary.alone.as_ref().or(nothing.as_ref()),
            )
            || self.moved(self.disagreed.as_ref(), canary.disagreed.as_ref())
            || self.moved(self.predictions.as_ref(), canary.predictions.as_ref())
    }

    fn moved<R: Recorded>(&self, now: Option<&R>, written: Option<&R::Form>) -> bool {
        now.zip(written)
            .is_some_and(|(now, written)| now.has_moved(written, &self.levels))
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
    let share = Share::new(bake.limit.as_ref()?.value().ok()?);
    Some(Recorded::resumed(share, seen(bake).as_ref()))
}

/// What the status of a version that bakes has of its errors.
fn seen(bake: &BakeStatus) -> Option<ShareSeen> {
    Some(ShareSeen {
        limit: bake.limit.clone()?,
        seen: bake.errors?,
        worse: bake.worse.clone()?,
        // That it is good is not asked while it bakes.
        within: Decimal::from("0"),
    })
}

/// Puts the errors of a version that bakes into its status, where they have moved by much and it is time.
pub fn record_bake(share: &Share, bake: &mut BakeStatus, now: Timestamp) {
    let nothing = || Share::new(share.limit).written();
    let written = seen(bake).unwrap_or_else(nothing);
    if share.has_moved(&written, &Levels::of_one())
        && is_due(Some(bake.recorded.unwrap_or(bake.since)), bake.since, now)
    {
        write_bake(share, bake, now);
    }
}

/// Puts the errors of a version that bakes into its status.
pub fn write_bake(share: &Share, bake: &mut BakeStatus, now: Timestamp) {
    let ShareSeen { seen, worse, .. } = share.written();
    (bake.recorded, bake.errors, bake.worse) = (Some(now), Some(seen), Some(worse));
}

/// By how much the canary's share of errors may lie above the stable version's, where that is judged.
pub fn allowed_errors(checks: &[Analysis]) -> Option<f64> {
    limit(checks, AnalysisMetric::ErrorRate).filter(|allowed| *allowed < JUDGED_BELOW)
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
        AnalysisMetric::ErrorRate | AnalysisMetric::LabelledErrorRate => &check.not_worse_than,
        AnalysisMetric::LatencyP99
        | AnalysisMetric::TimeToFirstToken
        | AnalysisMetric::TimePerOutputToken => &check.max_ratio,
        AnalysisMetric::PredictionDrift => &check.max,
        AnalysisMetric::Agreement => &check.min,
        // There may be several, each with two.
        AnalysisMetric::Prometheus => &None,
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

    fn now() -> Timestamp {
        Timestamp::from_second(99).expect("a time")
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
        next.write(&rollout, &mut status, now());
        let resumed = Evidence::resumed(&rollout, &status);
        assert_eq!(trials(&resumed), [50, 10]);
        assert!(!resumed.has_moved(&status));
        assert_eq!(trials(&Evidence::resumed(&stricter, &status)), [0, 0]);
        // A step that only begins has none of its own.
        let mut before = canary(7, 0);
        evidence.write(&rollout, &mut before, now());
        let mut begun = canary(7, 1);
        evidence.write(&rollout, &mut begun, now());
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
        let slow = &evidence.slow[0].shares;
        assert_eq!(slow.rollout.candidate.trials, 0, "not known yet");
        assert_eq!(evidence.slow[0].slow_from(), Some(3.0));
        evidence.take(&traffic(50, 0, 10), &traffic(150, 0, 3));
        let slow = &evidence.slow[0].shares;
        // 1.5 times 3 ms is a bound; what lies in the bucket that ends there is not slow.
        assert_eq!(slow.rollout.candidate.successes, 10);
        assert_eq!(slow.rollout.stable.successes, 3);
    }

    #[test]
    fn what_was_counted_of_every_metric_goes_on_after_a_restart() {
        let rollout: Rollout = serde_json::from_value(json!({
            "strategy": "Shadow",
            "analysis": [
                {"metric": "ErrorRate", "notWorseThan": "0.01"}, {"metric": "TimeToFirstToken", "maxRatio": "1.5"},
                {"metric": "TimePerOutputToken", "maxRatio": "2"}, {"metric": "PredictionDrift", "max": "0.2"},
                {"metric": "Agreement", "min": "0.95"},
            ],
        }))
        .expect("a roll-out");
        let mut status = canary(7, 0);
        let mut evidence = Evidence::resumed(&rollout, &status);
        let of = |slow: u64| Traffic {
            first_token: vec![100 - slow, 0, 0, slow],
            per_token: vec![100, 0, 0, 0],
            predictions: [(1, 60), (2, 40)].into(),
            compared: 50,
            agreed: 49,
            ..traffic(100, 1, 0)
        };
        evidence.take(&of(0), &Traffic::default());
        (0..6).for_each(|_| evidence.take(&of(20), &of(0)));
        evidence.write(&rollout, &mut status, now());
        assert!(status.slow.is_none(), "latency is not judged");
        let resumed = Evidence::resumed(&rollout, &status);
        let close = |a: [f64; 2], b: [f64; 2]| {
            let far = a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-3);
            assert!(!far, "{a:?} {b:?}");
        };
        for (a, b) in evidence.slow.iter().zip(&resumed.slow) {
            assert_eq!(a.shares.rollout.candidate, b.shares.rollout.candidate);
            close(a.shares.step.evidence(), b.shares.step.evidence());
            let late = [a, b].map(|one| one.shares.late.evidence());
            close([late[0], 0.0], [late[1], 0.0]);
        }
        assert!(resumed.slow[0].shares.late.evidence() > 1.0);
        for share in [|of: &Evidence| of.alone, |of: &Evidence| of.disagreed] {
            let [a, b] = [&evidence, &resumed].map(|of| share(of).expect("it is judged"));
            assert_eq!((a.limit, a.seen), (b.limit, b.seen));
            close(a.evidence(), b.evidence());
        }
        assert_eq!(resumed.alone.expect("it is judged").seen.trials, 100);
        let mut forgotten = status.clone();
        Evidence::forget(&mut forgotten);
        assert_eq!(forgotten, canary(7, 0), "nothing of it is left");
        let [a, b] = [&evidence, &resumed].map(|of| of.predictions.clone().expect("it is judged"));
        assert!(a.looks() > 0 && b.looks() > a.looks(), "{a:?} {b:?}");
        assert!((a.interval().upper - b.interval().upper).abs() < 1e-3);
        assert!(!resumed.has_moved(&status));
    }

    #[test]
    fn what_was_written_down_stands_for_a_time_that_grows_with_the_step() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        for (recorded, now, expected) in [
            (None, 0, true),
            (Some(0), 299, false),
            (Some(0), 300, true),
            (Some(36_000), 36_301, false),
            (Some(36_000), 40_001, true),
        ] {
            let due = is_due(recorded.map(at), at(0), at(now));
            assert_eq!(due, expected, "{recorded:?} {now}");
        }
    }
}
