//! Gates on metrics: bounds of their intervals against what is asked, candidate against champion.
//!
//! Against the champion there are two one-sided tests for each gated metric and segment. *Fail*: the candidate is
//! worse by more than the margin, at Holm's correction over all of them, so that the chance of any wrong failure is
//! at most 1 - confidence. *Pass*: each shows non-inferiority at that level by itself. No correction is due there:
//! passing needs all of them (an intersection-union test, Berger 1982), so the chance of passing a model that is worse by
//! the margin anywhere is at most 1 - confidence already.

use std::str::FromStr;

use windlass_api::agent::{MetricResult, Verdict};
use windlass_statistics::metric::{Estimate, Metric};
use windlass_statistics::paired::{Advantage, holm};

/// `rocAuc,min=0.65`: a metric and what it has to reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// The metric.
    pub metric: Metric,
    /// It has to be at least this.
    pub min: Option<f64>,
    /// It has to be at most this.
    pub max: Option<f64>,
}

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(',').map(str::trim);
        let mut gate = Self {
            metric: parts.next().unwrap_or_default().parse()?,
            min: None,
            max: None,
        };
        for part in parts {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("'{part}' in '{text}' is not min=… or max=…"))?;
            let value: f64 = value
                .parse()
                .map_err(|_| format!("'{value}' in '{text}' is no number"))?;
            match name {
                "min" => gate.min = Some(value),
                "max" => gate.max = Some(value),
                other => return Err(format!("'{other}' in '{text}' is neither min nor max")),
            }
        }
        Ok(gate)
    }
}

impl Gate {
    /// Whether the bounds of the interval hold; absent when the gate asks nothing.
    pub fn judge(&self, estimate: Option<&Estimate>) -> Option<Verdict> {
        if self.min.is_none() && self.max.is_none() {
            return None;
        }
        let Some(interval) = estimate.and_then(|estimate| estimate.interval) else {
            return Some(Verdict::Inconclusive);
        };
        let below = |verdict: Verdict, is_broken: bool, is_held: bool| match (is_broken, is_held) {
            (true, _) => Verdict::Fail,
            (false, true) => verdict,
            (false, false) => worse(verdict, Verdict::Inconclusive),
        };
        let mut verdict = Verdict::Pass;
        if let Some(min) = self.min {
            verdict = below(verdict, interval.upper < min, interval.lower >= min);
        }
        if let Some(max) = self.max {
            let of_max = below(Verdict::Pass, interval.lower > max, interval.upper <= max);
            verdict = worse(verdict, of_max);
        }
        Some(verdict)
    }
}

/// The worse of two verdicts: Fail, then Inconclusive, then Pass.
pub fn worse(one: Verdict, two: Verdict) -> Verdict {
    match (one, two) {
        (Verdict::Fail, _) | (_, Verdict::Fail) => Verdict::Fail,
        (Verdict::Inconclusive, _) | (_, Verdict::Inconclusive) => Verdict::Inconclusive,
        (Verdict::Pass, Verdict::Pass) => Verdict::Pass,
    }
}

/// The verdicts of comparisons with a champion, in their order; one that could not be made is Inconclusive.
pub fn compare(advantages: &[Option<Advantage>], margin: f64, confidence: f64) -> Vec<Verdict> {
    let alpha = 1.0 - confidence;
    let p_values: Vec<f64> = advantages
        .iter()
        .map(|advantage| advantage.map_or(1.0, |advantage| advantage.p_within(margin)))
        .collect();
    let verdict = |(advantage, adjusted): (&Option<Advantage>, f64)| match advantage {
        Some(_) if adjusted <= alpha => Verdict::Fail,
        Some(advantage) if advantage.p_inferior(margin) <= alpha => Verdict::Pass,
        Some(_) | None => Verdict::Inconclusive,
    };
    advantages
        .iter()
        .zip(holm(&p_values))
        .map(verdict)
        .collect()
}

/// The metric in words: `rocAuc 0.764 [0.751, 0.777] on origin = 'JFK'`.
pub fn words(result: &MetricResult) -> String {
    let value = result.value.map_or_else(
        || " is not defined".to_owned(),
        |value| format!(" {value:.4}"),
    );
    let interval = result
        .interval
        .map(|[lower, upper]| format!(" [{lower:.4}, {upper:.4}]"))
        .unwrap_or_default();
    let segment = result
        .segment
        .as_ref()
        .map(|segment| format!(" on {segment}"))
        .unwrap_or_default();
    format!(
        "{}{value}{interval}{segment} ({} rows)",
        result.name, result.rows
    )
}

#[cfg(test)]
mod tests {
    use windlass_statistics::Interval;

    use super::*;

    #[test]
    fn a_gate_is_decided_by_the_bounds() {
        let estimate = |lower, upper| Estimate {
            value: 0.7,
            interval: Some(Interval { lower, upper }),
        };
        let judge = |gate: &str, lower, upper| {
            gate.parse::<Gate>()
                .expect("a gate")
                .judge(Some(&estimate(lower, upper)))
        };
        for (name, gate, lower, upper, expected) in [
            (
                "the interval lies above",
                "rocAuc,min=0.65",
                0.66,
                0.74,
                Some(Verdict::Pass),
            ),
            (
                "the lower bound is what is asked",
                "rocAuc,min=0.65",
                0.65,
                0.74,
                Some(Verdict::Pass),
            ),
            (
                "the point alone lies above",
                "rocAuc,min=0.65",
                0.64,
                0.74,
                Some(Verdict::Inconclusive),
            ),
            (
                "the interval lies below",
                "rocAuc,min=0.75",
                0.64,
                0.74,
                Some(Verdict::Fail),
            ),
            (
                "a loss below its most",
                "logLoss,max=0.75",
                0.64,
                0.74,
                Some(Verdict::Pass),
            ),
            (
                "a loss about its most",
                "logLoss,max=0.7",
                0.64,
                0.74,
                Some(Verdict::Inconclusive),
            ),
            (
                "a loss above its most",
                "logLoss,max=0.6",
                0.64,
                0.74,
                Some(Verdict::Fail),
            ),
            (
                "between both",
                "mae,min=0.1,max=0.8",
                0.64,
                0.74,
                Some(Verdict::Pass),
            ),
            (
                "undecided below, broken above",
                "mae,min=0.7,max=0.6",
                0.64,
                0.74,
                Some(Verdict::Fail),
            ),
            ("nothing asked", "rocAuc", 0.64, 0.74, None),
        ] {
            assert_eq!(judge(gate, lower, upper), expected, "{name}");
        }
        assert_eq!(
            "rocAuc,min=0.5"
                .parse::<Gate>()
                .expect("a gate")
                .judge(None),
            Some(Verdict::Inconclusive)
        );
        assert!("auc".parse::<Gate>().is_err());
        assert!("rocAuc,most=1".parse::<Gate>().is_err());
    }

    #[test]
    fn a_champion_is_beaten_matched_or_not_decided() {
        let of = |value, standard_error| {
            Some(Advantage {
                value,
                centre: value,
                standard_error,
            })
        };
        let verdicts = compare(
            &[of(0.0, 0.001), of(-0.1, 0.001), of(0.0, 0.5), None],
            0.01,
            0.95,
        );
        assert_eq!(
            verdicts,
            [
                Verdict::Pass,
                Verdict::Fail,
                Verdict::Inconclusive,
                Verdict::Inconclusive
            ]
        );
    }

    #[test]
    fn one_of_many_that_looks_worse_by_chance_does_not_fail() {
        let of = |value| {
            Some(Advantage {
                value,
                centre: value,
                standard_error: 1.0,
            })
        };
        let mut many = vec![of(0.0); 20];
        many.push(of(-2.0));
        assert_eq!(compare(&[of(-2.0)], 0.01, 0.95), [Verdict::Fail]);
        assert!(!compare(&many, 0.01, 0.95).contains(&Verdict::Fail));
    }
}
