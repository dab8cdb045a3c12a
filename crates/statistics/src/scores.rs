//! Metrics of scores alone, whatever threshold they are cut at.

use crate::cells::{Cells, Merge};
use crate::influence::Spread;
use crate::looks::{Parts, standard_error};
use crate::paired::is_plain;
use crate::proportion::wilson;
use crate::sample::Row;
use crate::sum::{Sum, sum};
use crate::{Interval, StatisticsError, float, normal};

/// What is asked of scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Under the ROC curve.
    Roc,
    /// Under the precision-recall curve.
    PrecisionRecall,
}

/// An area of class 1 against class 0, or the mean of those of each class against the others.
#[derive(Clone, Debug)]
pub(crate) struct Areas {
    area: Area,
    curves: Vec<Curve>,
    /// Whether there are two classes, and all rows count the same.
    is_plain: bool,
}

impl Areas {
    /// Of answers of so many numbers; scores are told apart in at most so many steps.
    pub(crate) fn new(area: Area, width: usize, most: usize) -> Self {
        let of = |class| Curve::new(class, most);
        Self {
            area,
            curves: match width {
                0..=2 => vec![of(1)],
                more => (0..more).map(of).collect(),
            },
            is_plain: true,
        }
    }
}

impl Parts for Areas {
    fn add(&mut self, row: &Row<'_>) {
        self.is_plain &= is_plain(row);
        self.curves.iter_mut().for_each(|curve| curve.add(row));
    }

    fn value(&mut self) -> Result<f64, StatisticsError> {
        let area = self.area;
        let values = self.curves.iter_mut().map(|curve| curve.value(area));
        let values: Vec<f64> = values.collect::<Result<_, _>>()?;
        Ok(sum(values) / float(self.curves.len()))
    }

    fn influence(&mut self, row: &Row<'_>) -> Option<f64> {
        let all = self.curves.iter().map(|curve| curve.derivative(row));
        Some(row.weight * all.sum::<f64>() / float(self.curves.len()))
    }

    fn is_delong(&self) -> bool {
        self.area == Area::Roc && self.is_plain
    }

    fn interval(&self, value: f64, spread: &Spread, confidence: f64) -> Option<Interval> {
        let error = standard_error(spread, self.is_delong())?;
        let z = normal::two_sided(confidence);
        let sides = self.curves.iter().map(Curve::sides);
        let fewest = sides.min_by(|one, other| one.fewer().total_cmp(&other.fewer()))?;
        let of = |law: fn(&Sides, f64) -> f64| fewest.ratio(error * error, law(&fewest, value));
        Some(match self.area {
            Area::Roc => fewest.area(value, of(Sides::area_variance), z),
            Area::PrecisionRecall => {
                let ratio = of(Sides::precision_variance);
                wilson(value, fewest.positive / ratio, z)
            }
        })
    }
}

/// As how many rows those of either class count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sides {
    pub(crate) positive: f64,
    pub(crate) negative: f64,
}

/// As how many rows of the rarer class a law of the variance counts beside what was measured.
const ROWS_OF_LAW: f64 = 15.0;

impl Sides {
    fn fewer(&self) -> f64 {
        self.positive.min(self.negative)
    }

    /// How many times as large a variance is as its law has it, of which little is known where few rows are of a class.
    pub(crate) fn ratio(&self, measured: f64, law: f64) -> f64 {
        let seen = if law > 0.0 { measured / law } else { 1.0 };
        (seen * self.fewer() + ROWS_OF_LAW) / (self.fewer() + ROWS_OF_LAW)
    }

    /// The variance of an area under the ROC curve, of scores that are about exponential (Hanley & McNeil 1982, as Newcombe
    /// 2006, method 5, has it).
    pub(crate) fn area_variance(&self, area: f64) -> f64 {
        let (m, n) = (self.positive, self.negative);
        let more = f64::midpoint(m, n) - 1.0;
        let shape = 1.0 + more * (1.0 - area) / (2.0 - area) + more * area / (1.0 + area);
        area * (1.0 - area) * shape / (m * n)
    }

    /// The variance of an average precision, as of a share of the positive rows (Boyd, Eng & Page 2013).
    fn precision_variance(&self, precision: f64) -> f64 {
        precision * (1.0 - precision) / self.positive
    }

    /// All areas to which the one that was measured is no surprise, |measured - area| <= z · s, with s as the law has it for
    /// that area, times the root of the ratio.
    fn area(&self, measured: f64, ratio: f64, z: f64) -> Interval {
        let is_within =
            |area: f64| (measured - area).abs() <= z * (ratio * self.area_variance(area)).sqrt();
        let end = |beyond: f64| {
            let (mut within, mut beyond) = (measured, beyond);
            for _ in 0..60 {
                let middle = f64::midpoint(within, beyond);
                if is_within(middle) {
                    within = middle;
                } else {
                    beyond = middle;
                }
            }
            within
        };
        Interval {
            lower: end(0.0),
            upper: end(1.0),
        }
    }
}

/// Rows of one class against all others, in the order of their scores.
#[derive(Clone, Debug)]
struct Curve {
    class: usize,
    /// How many rows are of the class, and how many there are.
    positives: usize,
    rows: usize,
    /// The sums of the squares of their weights.
    squares: Heap,
    /// What they weigh.
    total: Weights,
    cells: Cells<Heap>,
    /// ∂/∂w of the area of a positive and of a negative row, in each cell.
    derivatives: Vec<Weights>,
}

/// Of positive and of negative rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Weights {
    positive: f64,
    negative: f64,
}

/// What many rows add to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Heap {
    positive: Sum,
    negative: Sum,
}

impl Merge for Heap {
    fn merge(&mut self, other: &Self) {
        self.positive.merge(other.positive);
        self.negative.merge(other.negative);
    }
}

impl Heap {
    fn add(&mut self, is_positive: bool, weight: f64) {
        if is_positive {
            self.positive.add(weight);
        } else {
            self.negative.add(weight);
        }
    }

    fn weights(&self) -> Weights {
        Weights {
            positive: self.positive.value(),
            negative: self.negative.value(),
        }
    }
}

impl Curve {
    fn new(class: usize, most: usize) -> Self {
        Self {
            class,
            positives: 0,
            rows: 0,
            squares: Heap::default(),
            total: Weights::default(),
            cells: Cells::new(most),
            derivatives: Vec::new(),
        }
    }

    fn add(&mut self, row: &Row<'_>) {
        let is_positive = row.class() == self.class;
        let mut heap = Heap::default();
        heap.add(is_positive, row.weight);
        self.rows += 1;
        self.squares.add(is_positive, row.weight.powi(2));
        self.positives += usize::from(is_positive);
        self.cells.add(row.score(self.class), heap);
    }

    fn value(&mut self, area: Area) -> Result<f64, StatisticsError> {
        let one_class = StatisticsError::OneClass { rows: self.rows };
        if self.positives == 0 || self.positives == self.rows {
            return Err(one_class);
        }
        self.cells.settle();
        let total = Weights {
            positive: sum(self.cells.all().map(|cell| cell.positive.value())),
            negative: sum(self.cells.all().map(|cell| cell.negative.value())),
        };
        if total.positive <= 0.0 || total.negative <= 0.0 {
            return Err(one_class);
        }
        let (value, derivatives) = match area {
            Area::Roc => self.roc(total),
            Area::PrecisionRecall => self.precision_recall(total.positive),
        };
        self.derivatives = derivatives;
        self.total = total;
        Ok(value)
    }

    /// Kish's (1965) effective numbers of rows; their numbers, where all weigh the same.
    fn sides(&self) -> Sides {
        Sides {
            positive: self.total.positive.powi(2) / self.squares.positive.value(),
            negative: self.total.negative.powi(2) / self.squares.negative.value(),
        }
    }

    fn derivative(&self, row: &Row<'_>) -> f64 {
        let place = self.cells.place(row.score(self.class));
        let of = place.and_then(|place| self.derivatives.get(place));
        let of = of.copied().unwrap_or_default();
        if row.class() == self.class {
            of.positive
        } else {
            of.negative
        }
    }

    fn roc(&self, total: Weights) -> (f64, Vec<Weights>) {
        // Of a row the share of the other class that it stands right to, ties counted half.
        let mut below = Heap::default();
        let placement = |cell: &Heap| {
            let (under, at) = (below.weights(), cell.weights());
            below.merge(cell);
            Weights {
                positive: (under.negative + at.negative / 2.0) / total.negative,
                negative: 1.0 - (under.positive + at.positive / 2.0) / total.positive,
            }
        };
        let mut placements: Vec<Weights> = self.cells.all().map(placement).collect();
        let both = self.cells.all().zip(&placements);
        let area = sum(both.map(|(cell, of)| cell.positive.value() * of.positive)) / total.positive;
        for of in &mut placements {
            of.positive = (of.positive - area) / total.positive;
            of.negative = (of.negative - area) / total.negative;
        }
        (area, placements)
    }

    fn precision_recall(&self, positive: f64) -> (f64, Vec<Weights>) {
        // From the highest score: what stands at least as high, and of it the positive.
        let mut above = Heap::default();
        let mut steps = Vec::with_capacity(self.cells.count());
        for (cell, is_tied) in self.cells.all_told().rev() {
            above.merge(cell);
            let (cell, above) = (cell.weights(), above.weights());
            let (hits, all) = (above.positive, above.positive + above.negative);
            // Rows of a range of scores are not tied: the middle one of them has half of them above it.
            let below = if is_tied { 0.0 } else { 0.5 };
            let (hits, all) = (
                hits - below * cell.positive,
                all - below * (cell.positive + cell.negative),
            );
            steps.push((cell.positive, hits, all));
        }
        steps.reverse();
        let precision =
            |(_, hits, all): &(f64, f64, f64)| if *all > 0.0 { hits / all } else { 0.0 };
        let value = sum(steps.iter().map(|step| step.0 * precision(step))) / positive;
        // From the lowest: one more row counts at every positive that stands no higher.
        let (mut gained, mut lost) = (0.0, 0.0);
        let derivative = |step: &(f64, f64, f64)| {
            let (of_positive, hits, all) = *step;
            if all > 0.0 {
                gained += of_positive / all;
                lost += of_positive * hits / (all * all);
            }
            Weights {
                positive: (precision(step) - value + gained - lost) / positive,
                negative: -lost / positive,
            }
        };
        (value, steps.iter().map(derivative).collect())
    }
}

/// The gain of each query, the mean over the queries. Interval: of a mean, cut to [0, 1].
#[derive(Clone, Debug)]
pub(crate) struct Gains {
    /// How many places count.
    first: u32,
    /// The query whose rows come now, and their gains and scores.
    query: Option<usize>,
    rows: Vec<(f64, f64)>,
    /// Whether a row is of no query.
    is_loose: bool,
    queries: usize,
    total: Sum,
    mean: f64,
}

impl Gains {
    pub(crate) fn new(first: u32) -> Self {
        Self {
            first,
            query: None,
            rows: Vec::new(),
            is_loose: false,
            queries: 0,
            total: Sum::default(),
            mean: 0.0,
        }
    }

    /// The gain of the query that ended before this row.
    fn take(&mut self, row: &Row<'_>) -> Option<f64> {
        self.is_loose |= row.query.is_none();
        let ended = if self.query == row.query {
            None
        } else {
            self.last()
        };
        self.query = row.query;
        self.rows.push((row.label, row.answers[0]));
        ended
    }

    fn last(&mut self) -> Option<f64> {
        let rows = std::mem::take(&mut self.rows);
        let of = |by: fn(&(f64, f64)) -> f64| discounted(&rows, by, self.first);
        let ideal = of(|(gain, _)| *gain);
        (!rows.is_empty()).then(|| {
            if ideal > 0.0 {
                of(|(_, score)| *score) / ideal
            } else {
                0.0
            }
        })
    }

    fn count(&mut self, gain: Option<f64>) {
        if let Some(gain) = gain {
            self.queries += 1;
            self.total.add(gain);
        }
    }

    fn influence_of(&self, gain: Option<f64>) -> Option<f64> {
        gain.map(|gain| (gain - self.mean) / float(self.queries))
    }
}

impl Parts for Gains {
    fn add(&mut self, row: &Row<'_>) {
        let ended = self.take(row);
        self.count(ended);
    }

    fn value(&mut self) -> Result<f64, StatisticsError> {
        if self.is_loose {
            return Err(StatisticsError::Undefined {
                what: "rows are of no query",
            });
        }
        let last = self.last();
        self.count(last);
        self.query = None;
        self.mean = self.total.value() / float(self.queries);
        Ok(self.mean)
    }

    fn influence(&mut self, row: &Row<'_>) -> Option<f64> {
        let ended = self.take(row);
        self.influence_of(ended)
    }

    fn last_influence(&mut self) -> Option<f64> {
        let last = self.last();
        self.influence_of(last)
    }

    fn interval(&self, value: f64, spread: &Spread, confidence: f64) -> Option<Interval> {
        let interval = Interval::of_normal(value, spread.standard_error()?, confidence);
        Some(interval.clamped(0.0, 1.0))
    }
}

/// The discounted gain of the first places of rows (gain, score), in the order from the highest.
fn discounted(rows: &[(f64, f64)], by: fn(&(f64, f64)) -> f64, first: u32) -> f64 {
    let mut order = rows.to_vec();
    order.sort_by(|a, b| by(b).total_cmp(&by(a)));
    let discount = |place: usize| {
        if place < first as usize {
            1.0 / float(place + 2).log2()
        } else {
            0.0
        }
    };
    let (mut place, mut total) = (0, 0.0);
    for tied in order.chunk_by(|a, b| by(a) - by(b) == 0.0) {
        let gain = sum(tied.iter().map(|(gain, _)| *gain)) / float(tied.len());
        let discounts = sum((place..place + tied.len()).map(discount));
        total += gain * discounts;
        place += tied.len();
    }
    total
}
