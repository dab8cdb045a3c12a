//! The verdict over all metrics, segments and groups.

use windlass_api::agent::{FailureReason, FailureReport, MetricResult, Verdict};
use windlass_statistics::StatisticsError;
use windlass_statistics::gate::{Decision, Limits, judge_all, non_inferior, rows_to_compare};
use windlass_statistics::influence::Estimate;
use windlass_statistics::paired::Advantage;

use super::Arguments;
use super::gate::{self, DisparityGate, Gate, words, worse};
use super::rows::{Known, Rows};
use super::segments::{Groups, Segment};
use crate::data::answers::Answers;
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
    /// Overall first, then by segment, then the differences between groups.
    pub metrics: Vec<MetricResult>,
}

/// What is judged.
pub struct Case<'a> {
    /// Labels, weights and queries.
    pub known: &'a Known,
    /// The candidate's answers.
    pub candidate: &'a Answers,
    /// The champion's, where there is one.
    pub champion: Option<&'a Answers>,
    /// Rows that are judged by themselves.
    pub segments: &'a [Segment],
    /// The groups of each disparity that is asked for, in their order.
    pub groups: &'a [Groups],
}

/// What is asked of some rows.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Metric(&'a Gate, Option<&'a Segment>),
    Disparity(&'a DisparityGate, &'a Groups),
}

impl Asked<'_> {
    fn limits(&self) -> Limits {
        match self {
            Self::Metric(gate, _) => gate.limits,
            Self::Disparity(gate, _) => gate.limits(),
        }
    }
}

/// One metric on one set of rows, or one difference.
struct Found<'a> {
    asked: Asked<'a>,
    result: MetricResult,
    estimate: Option<Estimate>,
    /// Whether there are rows enough to judge.
    is_judged: bool,
    /// Why it has no value; of a difference, the groups that are furthest apart.
    remark: Option<String>,
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

/// Judges answers, all rows first, then each segment, then the groups.
///
/// # Errors
/// [`FailureReason::DatasetUnreadable`] for a label and [`FailureReason::ServerFailed`] for an answer that a metric is not
/// defined on.
pub fn judge(arguments: &Arguments, case: &Case<'_>) -> Result<Judged, FailureReport> {
    let mut found = Vec::new();
    for segment in std::iter::once(None).chain(case.segments.iter().map(Some)) {
        let rows = case.rows(segment.map(|segment| segment.rows.as_slice()));
        for gate in &arguments.metrics {
            found.push(one(arguments, Asked::Metric(gate, segment), gate, &rows)?);
        }
    }
    for (gate, groups) in arguments.disparities.iter().zip(case.groups) {
        found.push(difference(arguments, gate, groups, case)?);
    }
    hold_to_limits(arguments, case, &mut found);
    compare(arguments, &mut found);

    let rows = case.known.labels.len();
    let verdicts = found.iter().filter_map(|found| found.result.verdict);
    let mut verdict = verdicts.fold(Verdict::Pass, worse);
    let too_few = (rows as u64) < arguments.min_samples;
    if too_few {
        verdict = worse(verdict, Verdict::Inconclusive);
    }
    let message = message(arguments, verdict, too_few, rows, &found);
    Ok(Judged {
        verdict,
        message,
        metrics: found.into_iter().map(|found| found.result).collect(),
    })
}

impl Case<'_> {
    fn rows(&self, rows: Option<&[usize]>) -> Rows {
        self.known.rows(rows, self.candidate, self.champion)
    }

    /// What is asked, at another confidence.
    fn again(&self, asked: Asked<'_>, confidence: f64) -> Option<Estimate> {
        match asked {
            Asked::Metric(gate, segment) => {
                let rows = self.rows(segment.map(|segment| segment.rows.as_slice()));
                gate.metric.estimate(&rows.candidate(), confidence).ok()
            }
            Asked::Disparity(gate, groups) => {
                let rows = self.rows(Some(&groups.rows));
                let sample = rows.candidate();
                let estimate = gate
                    .disparity
                    .estimate(&sample, &groups.of_rows, confidence);
                estimate.ok()
            }
        }
    }
}

/// Every limit on its own passes; that one is broken is held to Holm's correction over all.
fn hold_to_limits(arguments: &Arguments, case: &Case<'_>, found: &mut [Found<'_>]) {
    let asked: Vec<Asked<'_>> = found.iter().map(|found| found.asked).collect();
    let limits = found.iter().map(|found| {
        if found.is_judged {
            found.asked.limits()
        } else {
            Limits::default()
        }
    });
    let limits: Vec<Limits> = limits.collect();
    let estimates: Vec<Option<Estimate>> = found.iter().map(|found| found.estimate).collect();
    let again = |at: usize, confidence| case.again(asked[at], confidence);
    let decisions = judge_all(&limits, &estimates, arguments.confidence, again);
    for (found, decision) in found.iter_mut().zip(decisions) {
        // A segment that nobody is in is more likely misspelt than small.
        let is_empty = found.result.segment.is_some() && found.result.rows == 0;
        let empty = is_empty.then_some(Verdict::Inconclusive);
        found.result.verdict = decision.map(gate::verdict).or(empty);
    }
}

fn compare(arguments: &Arguments, found: &mut [Found<'_>]) {
    let compared: Vec<usize> = (0..found.len())
        .filter(|at| !matches!(found[*at].against, Against::Nothing))
        .collect();
    let advantages: Vec<Option<Advantage>> = compared
        .iter()
        .map(|at| found[*at].against.advantage())
        .collect();
    let decisions = non_inferior(&advantages, arguments.margin, arguments.confidence);
    for (at, decision) in compared.into_iter().zip(decisions) {
        let found = &mut found[at];
        let verdict = gate::verdict(decision);
        if decision == Decision::Inconclusive
            && let Some(advantage) = found.against.advantage()
        {
            let (margin, confidence) = (arguments.margin, arguments.confidence);
            let wanted = rows_to_compare(&advantage, margin, confidence, found.result.rows);
            found.rows_needed = found.rows_needed.max(wanted);
        }
        let before = found.result.verdict;
        found.result.verdict = Some(before.map_or(verdict, |before| worse(before, verdict)));
    }
}

fn one<'a>(
    arguments: &Arguments,
    asked: Asked<'a>,
    gate: &Gate,
    rows: &Rows,
) -> Result<Found<'a>, FailureReport> {
    let count = rows.count() as u64;
    let segment = match asked {
        Asked::Metric(_, Some(segment)) => Some(segment.predicate.clone()),
        Asked::Metric(_, None) | Asked::Disparity(..) => None,
    };
    let of = |sample| {
        defined(
            gate.metric.estimate(&sample, arguments.confidence),
            gate.metric,
        )
    };
    let (estimate, remark) = parted(of(rows.candidate())?);
    let is_judged = count >= arguments.min_samples;
    let champion = match rows.champion() {
        Some(sample) => of(sample)?.ok().map(|estimate| estimate.value),
        None => None,
    };
    let against = match rows.champion() {
        Some(champion) if is_judged => Advantage::new(gate.metric, &rows.candidate(), &champion)
            .map_or(Against::Undefined, Against::Advantage),
        Some(_) | None => Against::Nothing,
    };
    Ok(Found {
        asked,
        result: result(gate.metric.to_string(), segment, count, estimate, champion),
        estimate,
        is_judged,
        remark,
        against,
        rows_needed: estimate
            .filter(|_| is_judged)
            .and_then(|estimate| gate.limits.rows_needed(&estimate, count)),
    })
}

fn difference<'a>(
    arguments: &Arguments,
    gate: &'a DisparityGate,
    groups: &'a Groups,
    case: &Case<'_>,
) -> Result<Found<'a>, FailureReport> {
    let rows = case.rows(Some(&groups.rows));
    let count = rows.count() as u64;
    let (of, confidence) = (gate.disparity, arguments.confidence);
    let estimate = |sample| defined(of.estimate(&sample, &groups.of_rows, confidence), of);
    let (estimated, undefined) = parted(estimate(rows.candidate())?);
    let champion = match rows.champion() {
        Some(sample) => estimate(sample)?.ok().map(|estimate| estimate.value),
        None => None,
    };
    let furthest = || {
        let [low, high] = of.furthest(&rows.candidate(), &groups.of_rows).ok()?;
        let name = |group: usize| groups.names[group].as_deref().unwrap_or("no value");
        Some(format!(
            "lowest for {}, highest for {}",
            name(low),
            name(high)
        ))
    };
    let remark = undefined.or_else(|| estimated.and_then(|_| furthest()));
    Ok(Found {
        asked: Asked::Disparity(gate, groups),
        result: result(gate.name(), None, count, estimated, champion),
        estimate: estimated,
        // Without two groups it is asked for all the same, and not shown.
        is_judged: true,
        remark,
        against: Against::Nothing,
        rows_needed: estimated.and_then(|estimate| gate.limits().rows_needed(&estimate, count)),
    })
}

fn result(
    name: String,
    segment: Option<String>,
    rows: u64,
    estimate: Option<Estimate>,
    champion: Option<f64>,
) -> MetricResult {
    let interval = estimate.and_then(|estimate| estimate.interval);
    MetricResult {
        name,
        segment,
        rows,
        value: estimate.map(|estimate| estimate.value),
        interval: interval.map(|interval| [interval.lower, interval.upper]),
        champion,
        verdict: None,
    }
}

fn parted(estimate: Result<Estimate, String>) -> (Option<Estimate>, Option<String>) {
    match estimate {
        Ok(estimate) => (Some(estimate), None),
        Err(why) => (None, Some(why)),
    }
}

/// Rows that a metric cannot take are a failure; rows on which it has no value are not.
#[allow(clippy::type_complexity)] // a failure, else a value or the reason that there is none
fn defined(
    estimate: Result<Estimate, StatisticsError>,
    name: impl std::fmt::Display,
) -> Result<Result<Estimate, String>, FailureReport> {
    match estimate {
        Ok(estimate) => Ok(Ok(estimate)),
        Err(problem @ (StatisticsError::Label { .. } | StatisticsError::Weight { .. })) => {
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
    found: &[Found<'_>],
) -> String {
    if too_few && verdict == Verdict::Inconclusive {
        return format!(
            "the held-out data has {rows} rows in the window, and at least {} are asked for",
            arguments.min_samples
        );
    }
    let of_verdict: Vec<&Found<'_>> = found
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

fn sentence(arguments: &Arguments, found: &Found<'_>) -> String {
    let mut parts = vec![words(&found.result)];
    let limits = found.asked.limits();
    for (limit, value) in [("min", limits.min), ("max", limits.max)] {
        if let Some(value) = value {
            parts.push(format!("{limit} {value}"));
        }
    }
    parts.extend(found.remark.clone());
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
