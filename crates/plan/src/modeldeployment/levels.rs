//! How often it may be wrong, and how that is shared out.
//!
//! ```text
//!   one in a hundred good canaries is taken back ── in equal parts ──> metric ──> the whole roll-out    1/2
//!                                                                            ├──> what begins late      1/5
//!                                                                            ├──> its steps, equally    1/5
//!                                                                            └──> a canary alone        1/10
//! ```

use windlass_api::{Analysis, AnalysisMetric};

use super::traffic::float;

/// The chance that a canary is called worse that is not, by any of the metrics.
pub const LEVEL_OF_HARM: f64 = 0.01;
/// The chance that one is called no worse that is, at the end of one.
pub const LEVEL_OF_PASS: f64 = 0.05;
const OF_ROLLOUT: f64 = 0.5;
const OF_LATE: f64 = 0.2;
const OF_STEPS: f64 = 0.2;
const OF_ALONE: f64 = 0.1;

/// The chances that one metric has to be wrong about a canary that is no worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// In all.
    pub metric: f64,
    /// By all of the roll-out.
    pub rollout: f64,
    /// By what begins in the course of it.
    pub late: f64,
    /// By one step alone.
    pub step: f64,
    /// By a canary that is compared with nothing.
    pub alone: f64,
    /// By the distance of distributions in one step, which is all that is known of them.
    pub distance: f64,
}

impl Levels {
    /// Those of a roll-out of so many steps. A reading against a limit has no part: it is no test.
    pub fn of(checks: &[Analysis], steps: usize) -> Self {
        let tests = checks
            .iter()
            .filter(|check| check.metric != AnalysisMetric::Prometheus);
        let metric = LEVEL_OF_HARM / float(tests.count().max(1) as u64);
        let steps = float(steps.max(1) as u64);
        Self {
            metric,
            rollout: metric * OF_ROLLOUT,
            late: metric * OF_LATE,
            step: metric * OF_STEPS / steps,
            alone: metric * OF_ALONE,
            distance: metric / steps,
        }
    }

    /// Those of one metric that is judged by itself.
    pub fn of_one() -> Self {
        Self::of(&[], 1)
    }
}

/// The logarithm of evidence from which on it decides at a level.
pub fn decides_at(level: f64) -> f64 {
    -level.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_all_metrics_and_steps_make_up_the_whole() {
        let check = Analysis::of;
        for (checks, tests) in [
            (vec![], 1.0),
            (vec![check(AnalysisMetric::Prometheus)], 1.0),
            (
                vec![
                    check(AnalysisMetric::ErrorRate),
                    check(AnalysisMetric::Prometheus),
                    check(AnalysisMetric::LatencyP99),
                ],
                2.0,
            ),
        ] {
            let levels = Levels::of(&checks, 4);
            let all = levels.rollout + levels.late + levels.step * 4.0 + levels.alone;
            assert!((all * tests - LEVEL_OF_HARM).abs() < 1e-12, "{levels:?}");
            assert!((levels.distance * 4.0 - levels.metric).abs() < 1e-12);
        }
        // No roll-out is without a step.
        assert_eq!(Levels::of(&[], 0), Levels::of(&[], 1));
    }
}
