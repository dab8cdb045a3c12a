//! The verdict over all metrics, segments and groups.
//!
//! ```text
//!   rows ──First──> what each metric is on each segment ──the same rows──> Second ──> Judged
//! ```

use windlass_api::agent::{FailureReason, FailureReport, MetricResult, Verdict};
use windlass_statistics::StatisticsError;
use windlass_statistics::gate::{self, Against, Decision, Limits, rows_to_compare};
use windlass_statistics::influence::Estimate;
use windlass_statistics::looks::{Finding, Known, Pair, Spreading, Tally};
use windlass_statistics::metric::Metric;

use super::Arguments;
use super::gate::{DisparityGate, Gate, verdict, words};
use super::rows::Rows;
use super::segments::{Compared, Groups, Segments};
use crate::data::Dataset;
use crate::report::failure;

/// How many cells there are for scores, in all tables together, and in one: some 150 MB. With thousands of tables it is
/// more, since each has some.
const ALL_SCORES: usize = 1 << 21;
const MOST_SCORES: usize = 1 << 14;
const LEAST_SCORES: usize = 1 << 10;

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

/// A first look at rows.
pub struct First<'a> {
    arguments: &'a Arguments,
    /// How many segments there may be at most.
    most_segments: usize,
    rows: usize,
    all: Option<Tallies>,
    /// By their numbers.
    segments: Vec<Tallies>,
    groups: Vec<Groups>,
    /// How many numbers an answer has.
    width: usize,
}

/// The metrics of some rows.
struct Tallies {
    rows: u64,
    gates: Vec<Tallied>,
}

/// A metric of the candidate, and of the champion where there is one.
struct Tallied {
    candidate: Tally,
    champion: Option<Tally>,
}

impl<'a> First<'a> {
    /// No rows yet; there will be so many segments at most.
    pub fn new(arguments: &'a Arguments, most_segments: usize, groups: Vec<Groups>) -> Self {
        Self {
            arguments,
            most_segments,
            rows: 0,
            all: None,
            segments: Vec::new(),
            groups,
            width: 1,
        }
    }

    /// Takes rows, and the data that they are of.
    ///
    /// # Errors
    /// [`FailureReason::DatasetUnreadable`] for a label and [`FailureReason::ServerFailed`] for an answer that a metric is
    /// not defined on.
    pub fn add(
        &mut self,
        rows: &Rows,
        data: &Dataset,
        segments: &Segments,
    ) -> Result<(), FailureReport> {
        let widths = [&Some(&rows.candidate), &rows.champion.as_ref()];
        let [candidate, champion] = widths.map(|answers| answers.map(|answers| answers.width));
        self.width = candidate.unwrap_or(1);
        let gates = &self.arguments.metrics;
        let most = self.most_scores();
        let tallies = || Tallies {
            rows: 0,
            gates: gates
                .iter()
                .map(|gate| Tallied::new(gate.metric, self.width, champion, most))
                .collect(),
        };
        let all = self.all.get_or_insert_with(tallies);
        self.segments.resize_with(segments.count(), tallies);
        // All rows first: a row that cannot be taken is named by its place among all.
        for row in 0..rows.known.labels.len() {
            all.add(gates, rows, row)?;
        }
        for (segment, members) in rows.members.all() {
            for row in members {
                self.segments[segment].add(gates, rows, *row as usize)?;
            }
        }
        for (gate, groups) in self.arguments.disparities.iter().zip(&mut self.groups) {
            let values = data.texts(groups.column())?;
            let added = groups.add(values, self.rows, rows);
            added.map_err(|problem| undefined(gate.disparity, &problem))?;
            groups.check()?;
        }
        self.rows += rows.known.labels.len();
        Ok(())
    }

    fn most_scores(&self) -> usize {
        let is_of_scores = |gate: &&Gate| matches!(gate.metric, Metric::RocAuc | Metric::PrAuc);
        let metrics = self.arguments.metrics.iter().filter(is_of_scores).count();
        let classes = if self.width > 2 { self.width } else { 1 };
        let tables = 2 * metrics * classes * (self.most_segments + 1);
        (ALL_SCORES / tables.max(1)).clamp(LEAST_SCORES, MOST_SCORES)
    }

    /// The second look, once all rows were taken.
    pub fn second(self, segments: &Segments) -> Second<'a> {
        let gates = &self.arguments.metrics;
        let none = || Tallies {
            rows: 0,
            gates: gates
                .iter()
                .map(|gate| Tallied::new(gate.metric, self.width, None, LEAST_SCORES))
                .collect(),
        };
        let mut by_number: Vec<Tallies> = self.segments;
        by_number.resize_with(segments.count(), none);
        let all = Looks::new(gates, self.all.unwrap_or_else(none));
        let by_number = by_number.into_iter().map(|of| Looks::new(gates, of));
        Second {
            arguments: self.arguments,
            names: segments.named(),
            all,
            segments: by_number.collect(),
            groups: self.groups,
            width: self.width,
        }
    }
}

impl Tallied {
    fn new(metric: Metric, width: usize, champion: Option<usize>, most: usize) -> Self {
        Self {
            candidate: Tally::new(metric, width, most),
            champion: champion.map(|width| Tally::new(metric, width, most)),
        }
    }
}

impl Tallies {
    fn add(&mut self, gates: &[Gate], rows: &Rows, row: usize) -> Result<(), FailureReport> {
        self.rows += 1;
        let (candidate, champion) = (rows.candidate(row), rows.champion(row));
        for (gate, tallied) in gates.iter().zip(&mut self.gates) {
            let mut added = tallied.candidate.add(&candidate);
            if let (Some(tally), Some(champion)) = (&mut tallied.champion, &champion) {
                added = added.and_then(|()| tally.add(champion));
            }
            added.map_err(|problem| undefined(gate.metric, &problem))?;
        }
        Ok(())
    }
}

/// Rows that a metric cannot take are a failure; rows on which it has no value are not.
fn undefined(name: impl std::fmt::Display, problem: &StatisticsError) -> FailureReport {
    let (reason, of_what) = match problem {
        StatisticsError::Prediction { .. } => {
            (FailureReason::ServerFailed, "what the model server answers")
        }
        _ => (FailureReason::DatasetUnreadable, "the held-out data"),
    };
    failure(
        reason,
        format!("{name} cannot be computed on {of_what}: {problem}"),
    )
}

/// A second look at the same rows.
pub struct Second<'a> {
    arguments: &'a Arguments,
    /// Numbers and names of the segments, in the order of the report.
    names: Vec<(usize, String)>,
    all: Looks,
    segments: Vec<Looks>,
    groups: Vec<Groups>,
    width: usize,
}

struct Looks {
    rows: u64,
    gates: Vec<Look>,
}

/// A second look for one metric.
struct Look {
    of: Of,
    /// The champion's value.
    champion: Option<f64>,
    /// Whether there is a champion.
    is_against: bool,
}

enum Of {
    /// It has no value, and why.
    Nothing(String),
    /// The champion has none, or there is none.
    Alone(Box<Spreading>),
    Both(Box<Pair>),
}

impl Looks {
    fn new(gates: &[Gate], tallies: Tallies) -> Self {
        let both = gates.iter().zip(tallies.gates);
        Self {
            rows: tallies.rows,
            gates: both
                .map(|(gate, tallied)| Look::new(gate.metric, tallied))
                .collect(),
        }
    }

    fn add(&mut self, rows: &Rows, row: usize) {
        let (candidate, champion) = (rows.candidate(row), rows.champion(row));
        for look in &mut self.gates {
            match (&mut look.of, &champion) {
                (Of::Alone(of), _) => of.add(&candidate),
                (Of::Both(of), Some(champion)) => of.add(&candidate, champion),
                (Of::Both(_), None) | (Of::Nothing(_), _) => {}
            }
        }
    }
}

impl Look {
    fn new(metric: Metric, tallied: Tallied) -> Self {
        let is_against = tallied.champion.is_some();
        let champion = tallied.champion.and_then(|tally| tally.known().ok());
        let value = champion.as_ref().map(Known::value);
        let of = match (tallied.candidate.known(), champion) {
            (Err(problem), _) => Of::Nothing(problem.to_string()),
            (Ok(candidate), None) => Of::Alone(Box::new(Spreading::new(candidate))),
            (Ok(candidate), Some(champion)) => {
                Of::Both(Box::new(Pair::new(metric, candidate, champion)))
            }
        };
        Self {
            of,
            champion: value,
            is_against,
        }
    }
}

impl Second<'_> {
    /// Takes rows that were taken before, in the same order.
    pub fn add(&mut self, rows: &Rows) {
        for row in 0..rows.known.labels.len() {
            self.all.add(rows, row);
        }
        for (segment, members) in rows.members.all() {
            for row in members {
                self.segments[segment].add(rows, *row as usize);
            }
        }
    }

    /// The verdict: on all rows first, then on each segment, then between the groups.
    pub fn judged(self) -> Judged {
        let arguments = self.arguments;
        let rows = self.all.rows;
        let mut found = Vec::new();
        let mut of = |looks: Looks, segment: Option<&String>| {
            for (gate, look) in arguments.metrics.iter().zip(looks.gates) {
                found.push(one(arguments, gate, segment, looks.rows, look));
            }
        };
        of(self.all, None);
        let mut by_number: Vec<Option<Looks>> = self.segments.into_iter().map(Some).collect();
        for (number, name) in &self.names {
            if let Some(looks) = by_number[*number].take() {
                of(looks, Some(name));
            }
        }
        for (gate, groups) in arguments.disparities.iter().zip(self.groups) {
            let groups = groups.of_at_least(arguments.min_samples);
            found.push(difference(arguments, gate, groups, self.width));
        }
        let too_few = rows < arguments.min_samples.max(1);
        let verdict = decide(arguments, &mut found, !too_few);
        let message = message(arguments, verdict, too_few, rows, &found);
        Judged {
            verdict,
            message,
            metrics: found.into_iter().map(|found| found.result).collect(),
        }
    }
}

/// One metric on one set of rows, or one difference.
struct Found<'a> {
    what: What<'a>,
    result: MetricResult,
    estimate: Option<Estimate>,
    /// Whether there are rows enough to judge.
    is_judged: bool,
    /// Why it has no value; of a difference, the groups that are furthest apart.
    remark: Option<String>,
    /// Against the champion; nothing where the rows do not suffice.
    against: Against,
    /// About how many rows would decide what these do not.
    rows_needed: Option<u64>,
}

/// What is asked of some rows, and what is known of them.
enum What<'a> {
    Metric(&'a Gate, Option<Finding>),
    Disparity(&'a DisparityGate, Compared),
}

impl Found<'_> {
    fn asked(&self) -> gate::Asked {
        let limits = self.is_judged.then(|| self.what.limits());
        gate::Asked {
            limits: limits.unwrap_or_default(),
            estimate: self.estimate,
            against: self.against,
        }
    }
}

impl What<'_> {
    fn limits(&self) -> Limits {
        match self {
            Self::Metric(gate, _) => gate.limits,
            Self::Disparity(gate, _) => gate.limits(),
        }
    }

    /// The value with its interval at a confidence.
    fn estimate(&self, confidence: f64) -> Option<Estimate> {
        match self {
            Self::Metric(_, finding) => Some(finding.as_ref()?.estimate(confidence)),
            Self::Disparity(gate, groups) => {
                let estimate = gate.disparity.of_counts(&groups.candidate, confidence);
                estimate.ok()
            }
        }
    }
}

/// The verdict on each, and on all.
fn decide(arguments: &Arguments, found: &mut [Found<'_>], are_enough: bool) -> Verdict {
    let (margin, confidence) = (arguments.margin, arguments.confidence);
    let asked: Vec<gate::Asked> = found.iter().map(Found::asked).collect();
    let again = |at: usize, confidence| found[at].what.estimate(confidence);
    let decided = gate::decide(&asked, margin, confidence, again);
    let mut all = Vec::with_capacity(found.len());
    for (found, decided) in found.iter_mut().zip(decided) {
        if decided.against == Some(Decision::Inconclusive)
            && let Some(advantage) = found.against.advantage()
        {
            let wanted = rows_to_compare(&advantage, margin, confidence, found.result.rows);
            found.rows_needed = found.rows_needed.max(wanted);
        }
        // A segment that nobody is in is more likely misspelt than small.
        let is_empty = found.result.segment.is_some() && found.result.rows == 0;
        let empty = is_empty.then_some(Decision::Inconclusive);
        let decision = decided.decision().or(empty);
        found.result.verdict = decision.map(verdict);
        all.push(decision);
    }
    verdict(gate::overall(all, are_enough))
}

fn one<'a>(
    arguments: &Arguments,
    gate: &'a Gate,
    segment: Option<&String>,
    rows: u64,
    look: Look,
) -> Found<'a> {
    let is_judged = rows >= arguments.min_samples;
    let (finding, advantage, remark) = match look.of {
        Of::Nothing(why) => (None, None, Some(why)),
        Of::Alone(of) => (Some(of.finding()), None, None),
        Of::Both(of) => {
            let (finding, advantage) = of.finding();
            (Some(finding), advantage.ok(), None)
        }
    };
    let against = if look.is_against && is_judged {
        advantage.into()
    } else {
        Against::Nothing
    };
    let what = What::Metric(gate, finding);
    let estimate = what.estimate(arguments.confidence);
    let name = gate.metric.to_string();
    Found {
        result: result(name, segment.cloned(), rows, estimate, look.champion),
        estimate,
        is_judged,
        remark,
        against,
        rows_needed: estimate
            .filter(|_| is_judged)
            .and_then(|estimate| gate.limits.rows_needed(&estimate, rows)),
        what,
    }
}

fn difference<'a>(
    arguments: &Arguments,
    gate: &'a DisparityGate,
    groups: Compared,
    width: usize,
) -> Found<'a> {
    let rows: u64 = groups.candidate.iter().map(|counts| counts.rows()).sum();
    let of = |counts| {
        if width > 2 {
            return Err("there are more than two classes".to_owned());
        }
        let estimate = gate.disparity.of_counts(counts, arguments.confidence);
        estimate.map_err(|problem| problem.to_string())
    };
    let (estimate, remark) = match of(&groups.candidate) {
        Ok(estimate) => {
            let [low, high] = gate.disparity.furthest(&groups.candidate);
            let name = |group: usize| groups.names[group].as_deref().unwrap_or("no value");
            let (low, high) = (name(low), name(high));
            let furthest = format!("lowest for {low}, highest for {high}");
            (Some(estimate), furthest)
        }
        Err(why) => (None, why),
    };
    let champion = of(&groups.champion).ok().map(|estimate| estimate.value);
    Found {
        what: What::Disparity(gate, groups),
        result: result(gate.name(), None, rows, estimate, champion),
        estimate,
        // Without two groups it is asked for all the same, and not shown.
        is_judged: true,
        remark: Some(remark),
        against: Against::Nothing,
        rows_needed: estimate.and_then(|estimate| gate.limits().rows_needed(&estimate, rows)),
    }
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

fn message(
    arguments: &Arguments,
    verdict: Verdict,
    too_few: bool,
    rows: u64,
    found: &[Found<'_>],
) -> String {
    if too_few && verdict == Verdict::Inconclusive {
        return format!(
            "the held-out data has {rows} rows in the window, and at least {} are asked for",
            arguments.min_samples.max(1)
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
    let limits = found.what.limits();
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
