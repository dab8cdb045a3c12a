//! Populations whose true metrics are known, samples of them, and how often an interval holds the truth.

#![allow(
    dead_code,
    reason = "not every program that includes this uses all of it"
)]

pub mod drift;
pub mod rollouts;

use windlass_statistics::fairness::Disparity;
use windlass_statistics::gate::{Asked, Decided, Decision, Limits, decide, non_inferior, overall};
use windlass_statistics::metric::Metric;
use windlass_statistics::normal;
use windlass_statistics::paired::Advantage;
use windlass_statistics::random::Random;
use windlass_statistics::sample::Sample;

/// Rows in a query.
const QUERY: usize = 8;
/// How many rows the truth is taken from.
const TRUTH: usize = 2_000_000;

/// Rows of a population.
pub struct Rows {
    pub labels: Vec<f64>,
    pub answers: Vec<f64>,
    pub groups: Vec<usize>,
    pub queries: Vec<usize>,
    pub width: usize,
}

impl Rows {
    pub fn sample(&self) -> Sample<'_> {
        Sample::of_classes(&self.labels, &self.answers, self.width).in_queries(&self.queries)
    }
}

/// What rows are drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Population {
    /// Two classes, a third of them positive; the answer is a distorted probability.
    Two,
    /// Three classes.
    Three,
    /// A number, with errors that have a longer tail than normal ones.
    Number,
    /// Queries of eight rows with gains from 0 to 3.
    Queries,
}

impl Population {
    /// Of which a metric is measured here.
    pub fn of(metric: Metric) -> Self {
        match metric {
            Metric::Rmse | Metric::Mae | Metric::Mape | Metric::RSquared | Metric::Pinball(_) => {
                Self::Number
            }
            Metric::Ndcg(_) => Self::Queries,
            Metric::PrecisionMacro
            | Metric::RecallMacro
            | Metric::F1Macro
            | Metric::F1Micro
            | Metric::BalancedAccuracy => Self::Three,
            _ => Self::Two,
        }
    }

    pub fn draw(self, random: &mut Random, count: usize) -> Rows {
        let mut rows = Rows {
            labels: Vec::with_capacity(count),
            answers: Vec::with_capacity(count),
            groups: Vec::with_capacity(count),
            queries: (0..=count / QUERY).map(|query| query * QUERY).collect(),
            width: if self == Self::Three { 3 } else { 1 },
        };
        if rows.queries.last() != Some(&count) {
            rows.queries.push(count);
        }
        for _ in 0..count {
            let group = usize::from(random.uniform() < 0.4);
            rows.groups.push(group);
            match self {
                Self::Two => {
                    let shift = if group == 1 { 0.3 } else { -0.2 };
                    let logit = -0.9 + shift + 1.3 * random.normal();
                    let truth = 1.0 / (1.0 + (-logit).exp());
                    rows.labels
                        .push(f64::from(u8::from(random.uniform() < truth)));
                    rows.answers.push(1.0 / (1.0 + (-1.3 * logit - 0.4).exp()));
                }
                Self::Three => {
                    let scores: Vec<f64> = [0.4, 0.0, -0.5]
                        .iter()
                        .map(|base| base + 1.2 * random.normal())
                        .collect();
                    let all: f64 = scores.iter().map(|score| score.exp()).sum();
                    let mut left = random.uniform() * all;
                    let class = scores.iter().position(|score| {
                        left -= score.exp();
                        left < 0.0
                    });
                    rows.labels.push([0.0, 1.0, 2.0][class.unwrap_or(2)]);
                    rows.answers
                        .extend(scores.iter().map(|score| score.exp() / all));
                }
                Self::Number => {
                    let label = 5.0 + 2.0 * random.normal();
                    let spread = if random.uniform() < 0.1 { 2.0 } else { 0.8 };
                    rows.labels.push(label.abs().max(0.5));
                    rows.answers.push(label + 0.1 + spread * random.normal());
                }
                Self::Queries => {
                    let gain = (random.uniform() * 4.0).floor();
                    rows.labels.push(gain);
                    rows.answers.push(gain * 0.5 + random.normal());
                }
            }
        }
        rows
    }
}

/// What the metric is in the population.
pub fn truth(metric: Metric, random: &mut Random) -> f64 {
    let rows = Population::of(metric).draw(random, TRUTH);
    metric.known(&rows.sample()).expect("a value").value()
}

/// The share of samples of this size of which the 95% interval holds the truth.
pub fn coverage(metric: Metric, runs: u32, count: usize, seed: u64) -> f64 {
    let mut random = Random::new(seed);
    let truth = truth(metric, &mut random);
    let holds = (0..runs).filter(|_| {
        let rows = Population::of(metric).draw(&mut random, count);
        let found = metric.estimate(&rows.sample(), 0.95).expect("a value");
        let interval = found.interval.expect("an interval");
        interval.lower <= truth && truth <= interval.upper
    });
    share(holds.count(), runs)
}

/// The same of a difference between two groups.
pub fn coverage_of(disparity: Disparity, runs: u32, count: usize, seed: u64) -> f64 {
    let mut random = Random::new(seed);
    let all = Population::Two.draw(&mut random, TRUTH);
    let of = |rows: &Rows| {
        disparity
            .estimate(&rows.sample(), &rows.groups, 0.95)
            .expect("a value")
    };
    let truth = of(&all).value;
    let holds = (0..runs).filter(|_| {
        let interval = of(&Population::Two.draw(&mut random, count)).interval;
        interval.is_some_and(|interval| interval.lower <= truth && truth <= interval.upper)
    });
    share(holds.count(), runs)
}

/// The same of a candidate's advantage over a champion that answers the same rows with other noise.
pub fn coverage_paired(metric: Metric, runs: u32, count: usize, seed: u64) -> f64 {
    let mut random = Random::new(seed);
    let pair = |random: &mut Random, count: usize| {
        let rows = Population::of(metric).draw(random, count);
        let noisy = |answer: &f64| {
            let noise = 0.3 * random.normal();
            if rows.width == 1 && metric.accepts() == Population::of(metric).numbers() {
                answer + noise
            } else {
                // Between 0 and 1 it stays.
                let odds =
                    (answer.clamp(1e-6, 1.0 - 1e-6) / (1.0 - answer.clamp(1e-6, 1.0 - 1e-6))).ln();
                1.0 / (1.0 + (-odds - noise).exp())
            }
        };
        let mut other: Vec<f64> = rows.answers.iter().map(noisy).collect();
        if rows.width > 1 {
            for row in other.chunks_mut(rows.width) {
                let all: f64 = row.iter().sum();
                for one in row {
                    *one /= all;
                }
            }
        }
        (rows, other)
    };
    let advantage = |rows: &Rows, other: &[f64]| {
        let champion =
            Sample::of_classes(&rows.labels, other, rows.width).in_queries(&rows.queries);
        Advantage::new(metric, &rows.sample(), &champion).expect("a difference")
    };
    let (rows, other) = pair(&mut random, TRUTH);
    let truth = advantage(&rows, &other).value;
    let holds = (0..runs).filter(|_| {
        let (rows, other) = pair(&mut random, count);
        let interval = advantage(&rows, &other).interval(0.95);
        interval.lower <= truth && truth <= interval.upper
    });
    share(holds.count(), runs)
}

impl Population {
    fn numbers(self) -> windlass_statistics::sample::Accepts {
        match self {
            Self::Queries => windlass_statistics::sample::Accepts::Relevances,
            _ => windlass_statistics::sample::Accepts::Numbers,
        }
    }
}

fn share(count: usize, runs: u32) -> f64 {
    f64::from(u32::try_from(count).expect("small")) / f64::from(runs)
}

/// All metrics that are measured.
pub fn metrics() -> Vec<Metric> {
    let mut all = Metric::PLAIN.to_vec();
    all.extend([Metric::Pinball(900), Metric::Ndcg(5)]);
    all
}

/// The share of validations that pass, of a candidate whose Brier score is worse than the champion's by so much on one
/// of three segments, and the same on the others. Asked for: a Brier score of at most 0.3, and that it and the mean
/// error are no worse than the champion's by 0.01, overall and on each segment. It is decided by what the agent decides by.
pub fn passes(worse_by: f64, runs: u32, count: usize, seed: u64) -> f64 {
    const MARGIN: f64 = 0.01;
    // Both answer beside the probability by this much, up or down by their own coin: it adds its square to the score.
    const BESIDE: f64 = 0.1;
    const ASKED: [(Metric, Option<f64>); 2] = [(Metric::Brier, Some(0.3)), (Metric::Mae, None)];
    let mut random = Random::new(seed);
    let passed = (0..runs).filter(|_| {
        let mut segments: [(Vec<f64>, Vec<f64>, Vec<f64>); 4] = Default::default();
        for row in 0..count {
            let segment = 1 + row % 3;
            let probability = 0.2 + 0.6 * random.uniform();
            let label = f64::from(u8::from(random.uniform() < probability));
            let mut beside = |by: f64| probability + if random.bits() & 1 == 0 { by } else { -by };
            let champion = beside(BESIDE);
            let candidate = beside(if segment == 1 {
                (BESIDE * BESIDE + worse_by).sqrt()
            } else {
                BESIDE
            });
            for at in [0, segment] {
                segments[at].0.push(label);
                segments[at].1.push(candidate);
                segments[at].2.push(champion);
            }
        }
        let estimate = |at: usize, confidence| {
            let (labels, candidate, _) = &segments[at / ASKED.len()];
            let sample = Sample::new(labels, candidate);
            ASKED[at % ASKED.len()].0.estimate(&sample, confidence).ok()
        };
        let mut asked = Vec::new();
        for (labels, candidate, champion) in &segments {
            let of = |answers| Sample::new(labels, answers);
            for (metric, max) in ASKED {
                asked.push(Asked {
                    limits: Limits { min: None, max },
                    estimate: estimate(asked.len(), 0.95),
                    against: Advantage::new(metric, &of(candidate), &of(champion))
                        .ok()
                        .into(),
                });
            }
        }
        let decided = decide(&asked, MARGIN, 0.95, estimate);
        overall(decided.into_iter().map(Decided::decision), true) == Decision::Pass
    });
    share(passed.count(), runs)
}

/// How often areas under the ROC curve are wrong, of scores that are normal in either class.
pub struct Areas {
    /// Intervals of 95% that hold the truth.
    pub cover: f64,
    /// Gates that ask for exactly the truth and pass: half of 5% is meant.
    pub pass_at_truth: f64,
    /// Candidates that are worse than the champion by exactly the margin and pass: 5% at most is meant.
    pub pass_at_margin: f64,
}

/// Of a champion of this area and a candidate that is worse by 0.01, whose scores are alike (correlation 0.9), on so many
/// rows with so many positive ones.
pub fn areas(champion: f64, positives: usize, count: usize, runs: u32, seed: u64) -> Areas {
    const MARGIN: f64 = 0.01;
    let mut random = Random::new(seed);
    let candidate = champion - MARGIN;
    let shift = |area: f64| normal::quantile(area) * std::f64::consts::SQRT_2;
    let labels: Vec<f64> = (0..count)
        .map(|row| f64::from(u8::from(row < positives)))
        .collect();
    let (mut cover, mut at_truth, mut at_margin) = (0, 0, 0);
    for _ in 0..runs {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for label in &labels {
            let shared = 0.9_f64.sqrt() * random.normal();
            let mut score = |area| label * shift(area) + shared + 0.1_f64.sqrt() * random.normal();
            one.push(score(candidate));
            two.push(score(champion));
        }
        let (one, two) = (Sample::new(&labels, &one), Sample::new(&labels, &two));
        let estimate = Metric::RocAuc.estimate(&one, 0.95).expect("a value");
        let interval = estimate.interval.expect("an interval");
        cover += usize::from((interval.lower..=interval.upper).contains(&candidate));
        let limits = Limits {
            min: Some(candidate),
            max: None,
        };
        at_truth += usize::from(limits.judge(Some(&estimate)) == Some(Decision::Pass));
        let advantage = Advantage::new(Metric::RocAuc, &one, &two).ok();
        let decided = non_inferior(&[advantage], MARGIN, 0.95);
        at_margin += usize::from(decided == [Decision::Pass]);
    }
    Areas {
        cover: share(cover, runs),
        pass_at_truth: share(at_truth, runs),
        pass_at_margin: share(at_margin, runs),
    }
}
