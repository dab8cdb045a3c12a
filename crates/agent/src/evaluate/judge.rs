//! The verdict over all metrics and segments.

use windlass_api::agent::{FailureReason, FailureReport, MetricResult, Verdict};
use windlass_statistics::StatisticsError;
use windlass_statistics::gate::{Decision, non_inferior, rows_to_compare};
use windlass_statistics::influence::Estimate;
use windlass_statistics::paired::Advantage;
use windlass_statistics::sample::Sample;

use super::Arguments;
use super::gate::{self, Gate, words, worse};
use super::segments::Segment;
use crate::report::failure;

/// How many results a message names.
const NAMED: usize = 3;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Over all.
    pub verdict: Verdict,
    /// Why.
    pub message: String,
    /// Overall first, then by segment.
    pub metrics: Vec<MetricResult>,
}

/// One metric on one set of rows.
struct Found {
    result: MetricResult,
    /// Why it has no value.
    undefined: Option<String>,
    /// Against the champion, where that is asked for and the rows suffice.
    against: Against,
    /// About how many rows would decide what these do not.
    rows_needed: Option<u64>,
}

/// A comparison with the champion.
#[derive(Clone, Copy)]
enum Against {
    /// Not asked for, or too few rows to judge.
    Nothing,
    /// Asked for, but not defined on these rows.
    Undefined,
    /// Made.
    Advantage(Advantage),
}

impl Against {
    fn advantage(self) -> Option<Advantage> {
        match self {
            Self::Advantage(advantage) => Some(advantage),
            Self::Nothing | Self::Undefined => None,
        }
    }
}

/// Judges answers, all rows first, then each segment.
///
/// # Errors
/// [`FailureReason::DatasetUnreadable`] for a label and [`FailureReason::ServerFailed`] for an answer that the metric
/// is not defined on.
pub fn judge(
    arguments: &Arguments,
    labels: &[f64],
    candidate: &[f64],
    champion: Option<&[f64]>,
    segments: &[Segment],
) -> Result<Judged, FailureReport> {
    let mut found = Vec::new();
    let rows = Rows {
        labels: labels.to_vec(),
        candidate: candidate.to_vec(),
        champion: champion.map(<[f64]>::to_vec),
    };
    for gate in &arguments.metrics {
        found.push(one(arguments, gate, None, &rows)?);
    }
    for segment in segments {
        let rows = rows.of(&segment.rows);
        for gate in &arguments.metrics {
            found.push(one(arguments, gate, Some(&segment.predicate), &rows)?);
        }
    }
    let compared: Vec<usize> = (0..found.len())
        .filter(|at| !matches!(found[*at].against, Against::Nothing))
        .collect();
    let advantages: Vec<Option<Advantage>> = compared
        .iter()
        .map(|at| found[*at].against.advantage())
        .collect();
    let decisions = non_inferior(&advantages, arguments.margin, arguments.confidence);
    for (at, decision) in compared.into_iter().zip(decisions) {
        let verdict = gate::verdict(decision);
        if decision == Decision::Inconclusive
            && let Some(advantage) = found[at].against.advantage()
        {
            let (margin, confidence) = (arguments.margin, arguments.confidence);
            let wanted = rows_to_compare(&advantage, margin, confidence, found[at].result.rows);
            found[at].rows_needed = found[at].rows_needed.max(wanted);
        }
        let before = found[at].result.verdict;
        found[at].result.verdict = Some(before.map_or(verdict, |before| worse(before, verdict)));
    }
    let mut verdict = found
        .iter()
        .filter_map(|found| found.result.verdict)
        .fold(Verdict::Pass, worse);
    let too_few = (labels.len() as u64) < arguments.min_samples;
    if too_few {
        verdict = worse(verdict, Verdict::Inconclusive);
    }
    let message = message(arguments, verdict, too_few, labels.len(), &found);
    Ok(Judged {
        verdict,
        message,
        metrics: found.into_iter().map(|found| found.result).collect(),
    })
}

struct Rows {
    labels: Vec<f64>,
    candidate: Vec<f64>,
    champion: Option<Vec<f64>>,
}

impl Rows {
    fn of(&self, rows: &[usize]) -> Self {
        let take = |values: &[f64]| rows.iter().map(|row| values[*row]).collect::<Vec<f64>>();
        Self {
            labels: take(&self.labels),
            candidate: take(&self.candidate),
            champion: self.champion.as_deref().map(take),
        }
    }
}

fn one(
    arguments: &Arguments,
    gate: &Gate,
    segment: Option<&String>,
    rows: &Rows,
) -> Result<Found, FailureReport> {
    let count = rows.labels.len() as u64;
    let estimate = |answers: &[f64]| {
        defined(
            gate.metric
                .estimate(&Sample::new(&rows.labels, answers), arguments.confidence),
            gate,
        )
    };
    let (estimated, undefined): (Option<Estimate>, _) = match estimate(&rows.candidate)? {
        Ok(estimate) => (Some(estimate), None),
        Err(why) => (None, Some(why)),
    };
    let is_judged = count >= arguments.min_samples;
    let champion = match &rows.champion {
        Some(answers) => estimate(answers)?.ok().map(|estimate| estimate.value),
        None => None,
    };
    let against = match &rows.champion {
        Some(answers) if is_judged => {
            let advantage = Advantage::new(
                gate.metric,
                &Sample::new(&rows.labels, &rows.candidate),
                &Sample::new(&rows.labels, answers),
            );
            advantage.map_or(Against::Undefined, Against::Advantage)
        }
        Some(_) | None => Against::Nothing,
    };
    let result = MetricResult {
        name: gate.metric.to_string(),
        segment: segment.cloned(),
        rows: count,
        value: estimated.map(|estimate| estimate.value),
        interval: estimated
            .and_then(|estimate| estimate.interval)
            .map(|interval| [interval.lower, interval.upper]),
        champion,
        verdict: if is_judged {
            gate.limits.judge(estimated.as_ref()).map(gate::verdict)
        } else {
            None
        },
    };
    Ok(Found {
        result,
        undefined,
        against,
        rows_needed: estimated
            .filter(|_| is_judged)
            .and_then(|estimate| gate.limits.rows_needed(&estimate, count)),
    })
}

/// Rows that the metric cannot take are a failure; rows on which it has no value are not.
#[allow(clippy::type_complexity)] // a failure, else a value or the reason that there is none
fn defined(
    estimate: Result<Estimate, StatisticsError>,
    gate: &Gate,
) -> Result<Result<Estimate, String>, FailureReport> {
    let name = gate.metric;
    match estimate {
        Ok(estimate) => Ok(Ok(estimate)),
        Err(problem @ StatisticsError::Label { .. }) => {
            let message = format!("{name} cannot be computed on the held-out data: {problem}");
            Err(failure(FailureReason::DatasetUnreadable, message))
        }
        Err(problem @ StatisticsError::Prediction { .. }) => {
            let message =
                format!("{name} cannot be computed on what the model server answers: {problem}");
            Err(failure(FailureReason::ServerFailed, message))
        }
        Err(
            problem @ (StatisticsError::Empty
            | StatisticsError::Length { .. }
            | StatisticsError::Weights { .. }
            | StatisticsError::Weight { .. }
            | StatisticsError::OneClass { .. }
            | StatisticsError::Undefined { .. }),
        ) => Ok(Err(problem.to_string())),
    }
}

fn message(
    arguments: &Arguments,
    verdict: Verdict,
    too_few: bool,
    rows: usize,
    found: &[Found],
) -> String {
    if too_few && verdict == Verdict::Inconclusive {
        return format!(
            "the held-out data has {rows} rows in the window, and at least {} are asked for",
            arguments.min_samples
        );
    }
    let of_verdict: Vec<&Found> = found
        .iter()
        .filter(|found| found.result.verdict == Some(verdict))
        .collect();
    let mut named: Vec<String> = of_verdict
        .iter()
        .take(NAMED)
        .map(|found| sentence(arguments, found))
        .collect();
    if of_verdict.len() > NAMED {
        named.push(format!("and {} more", of_verdict.len() - NAMED));
    }
    let named = named.join("; ");
    match verdict {
        Verdict::Pass if named.is_empty() => {
            format!("no gate was asked for; {rows} rows were judged")
        }
        Verdict::Pass => format!("every gate holds: {named}"),
        Verdict::Fail => format!("not good enough: {named}"),
        Verdict::Inconclusive => format!("not decided, more rows are needed: {named}"),
    }
}

fn sentence(arguments: &Arguments, found: &Found) -> String {
    let mut parts = vec![words(&found.result)];
    if let Some(gate) = arguments
        .metrics
        .iter()
        .find(|gate| gate.metric.to_string() == found.result.name)
    {
        for (limit, value) in [("min", gate.limits.min), ("max", gate.limits.max)] {
            if let Some(value) = value {
                parts.push(format!("{limit} {value}"));
            }
        }
    }
    if let Some(why) = &found.undefined {
        parts.push(why.clone());
    }
    if let (Some(champion), Some(advantage)) = (found.result.champion, found.against.advantage()) {
        let interval = advantage.interval(arguments.confidence);
        parts.push(format!(
            "champion {champion:.4} (better by {:.4} [{:.4}, {:.4}], margin {})",
            advantage.value, interval.lower, interval.upper, arguments.margin
        ));
    }
    if let (Some(Verdict::Inconclusive), Some(wanted)) = (found.result.verdict, found.rows_needed) {
        parts.push(format!(
            "about {wanted} rows would decide, if what is seen stays as it is"
        ));
    }
    parts.join(", ")
}
