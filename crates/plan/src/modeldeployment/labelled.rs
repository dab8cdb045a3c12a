//! What labels say of both versions' predictions while a roll-out goes on.
//!
//! ```text
//!   Job, now and then ──LabelsReport──> counts of each span ──what is new of both──> Shares ──> judged (analysis)
//!                                               └─────────── as the status has it ───────┘
//! ```
//!
//! A label comes at any time after its prediction, in any order, and which come first may hang on what they say: wrong
//! predictions may be found out sooner. So predictions are compared with those of the same span, over which the traffic is
//! divided alike: theirs are as old, and as many of them have had the time to get a label. That is enough for versions that
//! are alike. Of versions that are not, what is wrong sooner with one of them would be taken for the whole of it: so, where it
//! is said how long labels take, predictions that are younger are not counted at all. What is counted of a span only grows, and
//! what it has grown by since the last look is taken. All that is known is in the status: of a restart nothing is lost, and
//! no label is taken twice.
//!
//! Absent on purpose: what begins in the midst of a roll-out by itself. Labels that come in a step are of predictions before
//! it as well: they are judged over the whole roll-out.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use windlass_api::agent::LabelCounts;
use windlass_api::{
    Analysis, AnalysisMetric, Counted, LabelledSeen, LabelledSpan, ModelDeployment,
    PredictionLabels,
};
use windlass_statistics::proportion::Proportion;
use windlass_statistics::sequential::Shares;

use super::comparison::{Comparison, compared, counted, counts, shares};
use super::evidence::{JUDGED_BELOW, limit};
use super::stages::span;
use crate::digest;

/// What the Job is for, as its label says.
pub const ROLE: &str = "labels";
/// How often labels are read where the check does not say.
const INTERVAL: SignedDuration = SignedDuration::from_secs(60);
/// The longest that a step's length, or failures, make the pause between two looks.
const MOST_PAUSE: SignedDuration = SignedDuration::from_hours(1);
/// The pause is at least this part of the time that a step goes on: each look reads all of it.
const PART_OF_STEP: i32 = 10;
/// Spans that are told apart: as many as there may be steps, and a few whose pods were lost.
const MOST_SPANS: usize = 24;

/// The check of a roll-out that takes labels.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// Its place in the analysis.
    pub number: usize,
    /// Where the labels lie.
    pub asked: &'a PredictionLabels,
    /// By how much the canary's share of wrong predictions may lie above the stable version's.
    pub allowed: f64,
    /// How often they are read at most.
    every: SignedDuration,
    /// How old a prediction is when its label has come, if it comes.
    pub mature: SignedDuration,
}

impl<'a> Labels<'a> {
    /// The check of these that takes labels; none where nothing is judged by it.
    pub fn of(checks: &'a [Analysis]) -> Option<Self> {
        let metric = AnalysisMetric::LabelledErrorRate;
        let (number, check) = (checks.iter().enumerate()).find(|(_, one)| one.metric == metric)?;
        let labels = check.labels.as_ref()?;
        let mature = labels.mature_after.as_ref();
        Some(Self {
            number,
            asked: labels,
            allowed: limit(checks, metric).filter(|allowed| *allowed < JUDGED_BELOW)?,
            every: check.interval.as_ref().map_or(INTERVAL, span),
            mature: mature.map_or(SignedDuration::ZERO, span),
        })
    }

    /// What is asked of them, by which it is told whether what is known is still of it.
    pub fn question(&self, canary: &str, started: Timestamp, stable: &str) -> String {
        let PredictionLabels {
            uri,
            format,
            column,
            join_on,
            mature_after: _,
            min_samples: _,
        } = self.asked;
        let (allowed, mature) = (self.allowed.to_string(), self.mature.to_string());
        digest::short(&(
            (canary, started, stable, allowed),
            (uri, format, column, join_on, mature),
        ))
    }

    /// When they are to be read next, in a step that began then; absent where no prediction has been made yet.
    pub fn due(&self, seen: &LabelledSeen, began: Timestamp) -> Option<Timestamp> {
        let first = seen.spans.first()?.start;
        let last = seen.looked.unwrap_or(first);
        let of_step = last.duration_since(began) / PART_OF_STEP;
        let most = MOST_PAUSE.max(self.every);
        let doublings = seen.failures.unwrap_or(0).clamp(0, 12);
        let pause = of_step.max(self.every).min(most);
        let pause = pause.saturating_mul(1 << doublings).min(most);
        let mature = first.checked_add(self.mature).ok()?;
        Some(last.checked_add(pause).ok()?.max(mature))
    }

    /// How both versions compare.
    pub fn comparison(&self, seen: &LabelledSeen) -> Comparison {
        let known = self.shares(seen);
        Comparison {
            rollout: known,
            step: known,
            ..Comparison::new(self.allowed, self.allowed)
        }
    }

    fn shares(&self, seen: &LabelledSeen) -> Shares {
        shares(self.allowed, &seen.compared).unwrap_or_else(|| Shares::new(self.allowed))
    }

    /// Takes what the labels say that have come since the last look, of the canary's predictions and the stable version's,
    /// span by span. Whether there are none that said something else then, or are gone: of such a span nothing is taken, until
    /// it has as much again.
    ///
    /// Of a span of which one side has had nothing new, nothing is taken yet.
    pub fn take(
        &self,
        seen: &mut LabelledSeen,
        canary: &[LabelCounts],
        stable: &[LabelCounts],
    ) -> bool {
        let mut known = self.shares(seen);
        let mut only_grew = true;
        for (span, (canary, stable)) in seen.spans.iter_mut().zip(canary.iter().zip(stable)) {
            let new = [(span.canary, *canary), (span.stable, *stable)]
                .map(|(before, now)| since(before, now));
            let [Some(of_canary), Some(of_stable)] = new else {
                only_grew = false;
                continue;
            };
            if of_canary.trials > 0 && of_stable.trials > 0 {
                known.take(of_canary, of_stable);
                span.canary = counted(all(*canary));
                span.stable = counted(all(*stable));
            }
        }
        seen.compared = compared(&known);
        let predictions: u64 = canary.iter().map(|counts| counts.0).sum();
        seen.predictions = i64::try_from(predictions).unwrap_or(i64::MAX);
        only_grew
    }
}

/// Nothing known yet.
pub fn unseen(question: String) -> LabelledSeen {
    LabelledSeen {
        question,
        looks: 0,
        looked: None,
        failures: None,
        problem: None,
        labels: 0,
        predictions: 0,
        compared: compared(&Shares::new(0.0)),
        spans: Vec::new(),
    }
}

/// A step begins: from now on traffic is divided otherwise. Where there are too many, the last span goes on.
pub fn begin(seen: &mut LabelledSeen, start: Timestamp) {
    let is_new = seen.spans.last().is_none_or(|last| last.start < start);
    if is_new && seen.spans.len() < MOST_SPANS {
        seen.spans.push(LabelledSpan {
            start,
            canary: Counted::default(),
            stable: Counted::default(),
        });
    }
}

/// Name of the Job of the next look.
pub fn job_name(deployment: &ModelDeployment, seen: &LabelledSeen) -> String {
    let (name, next) = (deployment.name_any(), seen.looks.saturating_add(1));
    format!("{name}-{}-{next}", seen.question)
}

fn all(counts: LabelCounts) -> Proportion {
    let LabelCounts(_, labelled, wrong) = counts;
    Proportion {
        successes: wrong.min(labelled),
        trials: labelled,
    }
}

/// What is new; nothing where wrong ones or right ones are fewer than they were.
fn since(before: Counted, now: LabelCounts) -> Option<Proportion> {
    let (before, now) = (counts(before)?, all(now));
    let right = |counts: Proportion| counts.trials - counts.successes;
    let successes = now.successes.checked_sub(before.successes)?;
    let more_right = right(now).checked_sub(right(before))?;
    Some(Proportion {
        successes,
        trials: successes + more_right,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modeldeployment::levels::{LEVEL_OF_HARM, decides_at};
    use serde_json::json;

    const ALLOWED: f64 = 0.05;

    fn checks(more: &str) -> Vec<Analysis> {
        let check = json!([
            {"metric": "ErrorRate", "notWorseThan": "0.01"},
            {"metric": "LabelledErrorRate", "notWorseThan": more, "interval": "90s",
             "labels": {"uri": "s3://labels/churn", "column": "churned"}},
        ]);
        serde_json::from_value(check).expect("an analysis")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// Spans that began a thousand seconds after each other.
    fn of_spans(count: i64) -> LabelledSeen {
        let mut seen = unseen("q".to_owned());
        (0..count).for_each(|span| begin(&mut seen, at(1000 * span)));
        seen
    }

    fn take(seen: &mut LabelledSeen, spans: &[[[u64; 2]; 2]]) -> bool {
        let checks = checks("0.05");
        let labels = Labels::of(&checks).expect("it is judged");
        let of = |side: usize| -> Vec<LabelCounts> {
            let counts = |span: &[[u64; 2]; 2]| LabelCounts(9000, span[side][0], span[side][1]);
            spans.iter().map(counts).collect()
        };
        labels.take(seen, &of(0), &of(1))
    }

    /// Labelled and wrong ones that were taken: the canary's, and the stable version's.
    fn taken(seen: &LabelledSeen) -> [[i64; 2]; 2] {
        let of = |side: Counted| [side.requests, side.hits];
        [of(seen.compared.canary), of(seen.compared.stable)]
    }

    #[test]
    fn of_each_look_what_is_new_is_taken_once_and_of_both_sides() {
        let mut seen = of_spans(2);
        for (what, spans, only_grew, expected) in [
            ("nothing", vec![[[0, 0], [0, 0]]], true, [[0, 0], [0, 0]]),
            ("both", vec![[[10, 1], [30, 2]]], true, [[10, 1], [30, 2]]),
            (
                "no more",
                vec![[[10, 1], [30, 2]]],
                true,
                [[10, 1], [30, 2]],
            ),
            (
                "one side alone",
                vec![[[14, 2], [30, 2]]],
                true,
                [[10, 1], [30, 2]],
            ),
            (
                "then the other",
                vec![[[14, 2], [31, 2]]],
                true,
                [[14, 2], [31, 2]],
            ),
            (
                "late ones of the first span, and the second",
                vec![[[20, 2], [40, 3]], [[5, 5], [5, 0]]],
                true,
                [[25, 7], [45, 3]],
            ),
            (
                "fewer labels",
                vec![[[12, 2], [50, 3]], [[6, 5], [6, 0]]],
                false,
                [[26, 7], [46, 3]],
            ),
            (
                "as many, and one that was right is wrong now",
                vec![[[20, 3], [50, 3]], [[6, 5], [6, 0]]],
                false,
                [[26, 7], [46, 3]],
            ),
            (
                "more again than there were",
                vec![[[22, 3], [50, 3]], [[6, 5], [6, 0]]],
                true,
                [[28, 8], [56, 3]],
            ),
        ] {
            assert_eq!(take(&mut seen, &spans), only_grew, "{what}");
            assert_eq!(taken(&seen), expected, "{what}");
        }
        assert_eq!(seen.predictions, 18_000);
    }

    #[test]
    fn wrong_predictions_that_are_found_out_sooner_are_not_held_against_the_version_whose_are_younger()
     {
        // Both are wrong in one of 25. That one is wrong is known at once, that it is right a day later, when the canary has
        // most of its predictions from its second step, and the stable version from before.
        let first = |canary: u64| [[canary, canary / 25], [canary * 19, canary * 19 / 25]];
        let looks: Vec<Vec<[[u64; 2]; 2]>> = (1..=10)
            .map(|look| vec![first(10 * look), [[8 * look; 2], [8 * look; 2]]])
            .collect();
        let worse = |seen: &LabelledSeen| seen.compared.worse.value().expect("a number");
        let decides = decides_at(LEVEL_OF_HARM);
        let mut by_span = of_spans(2);
        let mut as_one = of_spans(1);
        for look in &looks {
            take(&mut by_span, look);
            let [one, two] = [look[0], look[1]];
            let sum =
                [0, 1].map(|side: usize| [0, 1].map(|of: usize| one[side][of] + two[side][of]));
            take(&mut as_one, &[sum]);
        }
        assert!(worse(&by_span) < 1.0, "{:?}", by_span.compared);
        assert!(
            worse(&as_one) > decides,
            "else it would not matter: {:?}",
            as_one.compared
        );
    }

    #[test]
    fn a_span_begins_with_a_step_once_and_there_are_not_more_than_a_report_can_hold() {
        let mut seen = of_spans(3);
        begin(&mut seen, at(2000));
        assert_eq!(seen.spans.len(), 3, "the same step");
        (3..100).for_each(|span| begin(&mut seen, at(1000 * span)));
        assert_eq!(seen.spans.len(), MOST_SPANS);
        let counts = vec![LabelCounts(u64::MAX / 1000, 999_999_999, 999_999_999); MOST_SPANS];
        let long = "v".repeat(60);
        let report = windlass_api::agent::Report::Labels(windlass_api::agent::LabelsReport {
            labels: u64::MAX,
            versions: [(long.clone() + "-1", counts.clone()), (long + "-2", counts)].into(),
        });
        let size = serde_json::to_vec(&report).expect("JSON").len();
        assert!(size < windlass_api::agent::MAX_REPORT_BYTES, "{size}");
    }

    #[test]
    fn labels_are_read_the_more_seldom_the_longer_a_step_goes_on_and_the_oftener_they_could_not_be()
    {
        let checks = checks("0.05");
        let labels = Labels::of(&checks).expect("it is judged");
        for (looked, began, failures, expected) in [
            (None, 0, None, 90),
            (Some(200), 0, None, 290),
            (Some(5000), 0, None, 5500),
            (Some(5000), 4990, None, 5090),
            (Some(100_000), 0, None, 103_600),
            (Some(200), 0, Some(1), 380),
            (Some(200), 0, Some(3), 920),
            (Some(200), 0, Some(40), 3800),
            // A step that has begun since.
            (Some(200), 250, None, 290),
        ] {
            let mut seen = of_spans(1);
            (seen.looked, seen.failures) = (looked.map(at), failures);
            let due = labels.due(&seen, at(began)).expect("a time");
            assert_eq!(due, at(expected), "{looked:?} {began} {failures:?}");
        }
        assert_eq!(
            labels.due(&of_spans(0), at(0)),
            None,
            "nothing is predicted yet"
        );
        let mature = Labels {
            mature: SignedDuration::from_hours(2),
            ..labels
        };
        assert_eq!(mature.due(&of_spans(1), at(0)), Some(at(7200)));
    }

    #[test]
    fn a_limit_that_nothing_can_pass_is_not_judged() {
        assert!(Labels::of(&checks("1")).is_none());
        assert!(Labels::of(&checks("0.05")[..1]).is_none());
        let checks = checks("0.05");
        let labels = Labels::of(&checks).expect("it is judged");
        assert_eq!(labels.number, 1);
        assert!((labels.allowed - ALLOWED).abs() < 1e-12);
    }
}
