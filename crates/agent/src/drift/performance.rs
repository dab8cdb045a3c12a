//! Performance of a window with labels that came later: of all rows, and of those of each segment.
//!
//! ```text
//!   labels: id ──> label ─────────────┐
//!   payload log: id, answer, unit ────┴──joined──> Joined ──of all, of segments──> metric with interval
//! ```
//!
//! A label counts once, however often a request's id is logged. Answers are numbers, or names of classes; then labels are
//! names too.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::DataType;
use windlass_api::agent::{FailureReason, FailureReport, Performance};
use windlass_statistics::influence::Estimate;
use windlass_statistics::metric::Metric;
use windlass_statistics::related::{self, MIN_UNITS, OfUnits};
use windlass_statistics::sample::{Accepts, Sample};
use windlass_statistics::{Interval, StatisticsError};

use super::arguments::{Arguments, Window};
use super::sides::count;
use super::verdict::shortened;
use super::{REQUEST_ID, TIME};
use crate::address::{Address, AddressError};
use crate::data::{Dataset, Reasons, column};
use crate::profile::PREDICTION;
use crate::profile::reading::Reading;
use crate::profile::units::hash;
use crate::report::{OrFail, failure};

/// With fewer labelled rows, or rows that are worth fewer, an interval by normal approximation says too much: of these there
/// is no fall, however few rows a window may have.
pub const MIN_ROWS: u64 = 100;
/// In so many windows of a model that is just as good as it has to be, all together, a fall is as likely to be seen by chance
/// as its interval is to lie below in a single one: with a confidence of 0.95 in one window of two thousand, and not of forty.
///
/// Of drift the planner waits for a second window, of a fall for none, and it trains for it before all else: so the level is
/// settled here. Fifty windows are what a monitor shows, two days of hours or seven weeks of days, and Bonferroni's bound over
/// them holds however they overlap. A real fall takes some more rows to be seen: its bound lies 3.3 deviations away rather than 2.
const WINDOWS: f64 = 50.0;
/// Of more classes than this, answers are texts rather than classes.
const MOST_CLASSES: usize = 1000;
/// Numbers that answers of several classes take.
const MOST_NUMBERS: usize = 64 << 20;

const REASONS: Reasons = Reasons {
    what: "the labels",
    not_found: FailureReason::LabelsUnreadable,
    unreadable: FailureReason::LabelsUnreadable,
    column: FailureReason::LabelsUnreadable,
};

/// The metric on labelled rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Of all of them.
    pub whole: Performance,
    /// Of those of each segment, in their order.
    pub segments: Vec<Performance>,
}

/// What is asked for.
struct Asked<'a> {
    arguments: &'a Arguments,
    uri: &'a str,
    label: &'a str,
    metric: Metric,
}

/// The metric on the rows of the window whose label is known; absent when no labels are asked for. Without a reading there are no
/// rows.
///
/// While there is no label file, no label has come yet: 0 rows. Of several labels for one request the last holds, and of
/// several rows of one request the first.
///
/// # Errors
/// [`FailureReason::LabelsUnreadable`] with the file or column; that a segment is no predicate.
pub async fn measure(
    arguments: &Arguments,
    reading: Option<&Reading>,
    window: &Window,
) -> Result<Option<Measured>, FailureReport> {
    let (Some(uri), Some(label), Some(metric)) =
        (&arguments.labels, &arguments.label, arguments.metric)
    else {
        return Ok(None);
    };
    let asked = Asked {
        arguments,
        uri,
        label,
        metric,
    };
    let address = Address::parse(uri).or_fail(FailureReason::InvalidArguments)?;
    let is_none = matches!(address.files().await, Err(AddressError::NotFound { .. }));
    let Some(reading) = reading.filter(|_| !is_none) else {
        return Ok(Some(asked.nothing()));
    };
    let labels = Dataset::read(&address, arguments.labels_format, REASONS).await?;
    let measured = if are_names(reading, metric) {
        let joined = asked.joined(reading, window, labels_of(&labels, &asked, Dataset::texts)?);
        asked.of_names(&joined.await?)?
    } else {
        let joined = asked.joined(
            reading,
            window,
            labels_of(&labels, &asked, Dataset::numbers)?,
        );
        asked.of_numbers(&joined.await?)?
    };
    Ok(Some(measured))
}

/// Whether answers are names of classes.
fn are_names(reading: &Reading, metric: Metric) -> bool {
    let field = reading.schema().field_with_name(PREDICTION);
    let is_text = field.is_ok_and(|field| {
        matches!(
            field.data_type(),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        )
    });
    let is_of_classes = match metric.accepts() {
        Accepts::Scores | Accepts::Probabilities => true,
        Accepts::Numbers | Accepts::Relevances => false,
    };
    is_text && is_of_classes
}

/// Reads a column of the labels.
type Read<T> = fn(&Dataset, &str) -> Result<Vec<Option<T>>, FailureReport>;

/// Labels by the id of their request.
fn labels_of<T>(
    data: &Dataset,
    asked: &Asked<'_>,
    read: Read<T>,
) -> Result<HashMap<String, T>, FailureReport> {
    if data.columns().is_empty() {
        return Ok(HashMap::new());
    }
    let ids = data.texts(&asked.arguments.join_on)?;
    let values = read(data, asked.label)?;
    let both = ids.into_iter().zip(values);
    Ok(both.filter_map(|(id, value)| Some((id?, value?))).collect())
}

/// What an answer is read as.
trait Answer: Sized + Clone {
    /// All of a column.
    fn all(values: &arrow::array::ArrayRef) -> Result<Vec<Option<Self>>, String>;
}

impl Answer for f64 {
    fn all(values: &arrow::array::ArrayRef) -> Result<Vec<Option<Self>>, String> {
        column::numbers(values)
    }
}

impl Answer for String {
    fn all(values: &arrow::array::ArrayRef) -> Result<Vec<Option<Self>>, String> {
        column::texts(values)
    }
}

/// Labelled rows.
struct Joined<T> {
    labels: Vec<T>,
    answers: Vec<T>,
    /// Their units, where one is named.
    units: Option<Vec<u64>>,
    /// Which rows are of each segment.
    segments: Vec<Vec<usize>>,
}

impl<T: Clone> Joined<T> {
    /// Those of some rows.
    fn of(&self, rows: &[usize]) -> Self {
        let only = |all: &[T]| rows.iter().map(|row| all[*row].clone()).collect();
        let units = self.units.as_ref();
        Self {
            labels: only(&self.labels),
            answers: only(&self.answers),
            units: units.map(|units| rows.iter().map(|row| units[*row]).collect()),
            segments: Vec::new(),
        }
    }
}

impl Asked<'_> {
    fn nothing(&self) -> Measured {
        let none = Performance {
            rows: 0,
            metric: self.metric.to_string(),
            value: None,
            interval: None,
            fallen: false,
        };
        Measured {
            segments: vec![none.clone(); self.arguments.segments.len()],
            whole: none,
        }
    }

    async fn joined<T: Answer>(
        &self,
        reading: &Reading,
        window: &Window,
        mut known: HashMap<String, T>,
    ) -> Result<Joined<T>, FailureReport> {
        let predicates = &self.arguments.segments;
        let unit = self.arguments.unit.as_deref();
        let mut names: Vec<&str> = vec![REQUEST_ID, PREDICTION];
        let of_segments = reading.columns_of(predicates);
        for name in unit
            .into_iter()
            .chain(of_segments.iter().map(String::as_str))
        {
            // The time is there anyway.
            if !names.contains(&name) && name != TIME {
                names.push(name);
            }
        }
        let mut joined = Joined {
            labels: Vec::new(),
            answers: Vec::new(),
            units: unit.map(|_| Vec::new()),
            segments: vec![Vec::new(); predicates.len()],
        };
        let mut planned = Vec::new();
        let take = |batch: &RecordBatch| {
            if planned.len() < predicates.len() {
                let plan = |text: &String| reading.predicate(&batch.schema(), text);
                let all: Result<Vec<_>, FailureReport> = predicates.iter().map(plan).collect();
                planned = all.map_err(|problem| problem.message)?;
            }
            let of = |name: &str| batch.column_by_name(name).expect("it was asked for");
            let ids = column::texts(of(REQUEST_ID))?;
            let given = T::all(of(PREDICTION))?;
            let units = match unit {
                Some(unit) => column::texts(of(unit))?,
                None => Vec::new(),
            };
            let masks: Result<Vec<BooleanArray>, String> =
                planned.iter().map(|of| mask(of.as_ref(), batch)).collect();
            let masks = masks?;
            for (row, (id, answer)) in ids.into_iter().zip(given).enumerate() {
                let (Some(id), Some(answer)) = (id, answer) else {
                    continue;
                };
                let Some(label) = known.remove(&id) else {
                    continue;
                };
                let place = joined.labels.len();
                joined.labels.push(label);
                joined.answers.push(answer);
                if let Some(all) = &mut joined.units {
                    // Of no unit but its own.
                    let unit = units.get(row).and_then(Option::as_deref);
                    all.push(hash(unit.unwrap_or(&id)));
                }
                for (rows, mask) in joined.segments.iter_mut().zip(&masks) {
                    if mask.is_valid(row) && mask.value(row) {
                        rows.push(place);
                    }
                }
            }
            Ok(())
        };
        let within = Some((TIME, window.start, window.end));
        reading.each(&names, within, take).await?;
        Ok(joined)
    }

    fn of_numbers(&self, joined: &Joined<f64>) -> Result<Measured, FailureReport> {
        each(joined, |joined| {
            let sample = Sample::new(&joined.labels, &joined.answers);
            self.performance(&sample, joined.units.as_deref())
        })
    }

    /// Names of classes, as their places in the alphabet: the most probable class of an answer has the probability 1.
    fn of_names(&self, joined: &Joined<String>) -> Result<Measured, FailureReport> {
        let all = joined.labels.iter().chain(&joined.answers);
        let names: BTreeMap<&str, usize> = all.map(|name| (name.as_str(), 0)).collect();
        let classes: BTreeMap<String, usize> = names
            .into_keys()
            .enumerate()
            .map(|(place, name)| (name.to_owned(), place))
            .collect();
        let width = classes.len().max(2);
        let given: BTreeSet<&str> = joined.answers.iter().map(String::as_str).collect();
        let is_hit = (joined.labels.iter()).any(|label| given.contains(label.as_str()));
        let are_numbers = joined
            .labels
            .iter()
            .all(|label| label.parse::<f64>().is_ok());
        let (uri, label) = (self.uri, self.label);
        if !joined.labels.is_empty() && !is_hit && are_numbers {
            let message = format!(
                "the labels at {uri}: column '{label}' has numbers, and the model answers with names of classes, such as '{}': write the names of the classes there",
                joined.answers[0]
            );
            return Err(failure(FailureReason::LabelsUnreadable, message));
        }
        // Not one right answer is no fall: they speak of other things, or write them otherwise.
        if !joined.labels.is_empty() && !is_hit {
            let message = format!(
                "the labels at {uri}: no class in column '{label}' is one that the model answers with: '{}' there, '{}' here. Write classes as the model does",
                shortened(&joined.labels[0]),
                shortened(&joined.answers[0])
            );
            return Err(failure(FailureReason::LabelsUnreadable, message));
        }
        if width > MOST_CLASSES || width * joined.labels.len() > MOST_NUMBERS {
            let message = format!(
                "the labels at {uri}: there are {width} classes in column '{label}' and among the answers, on {} rows: so many cannot be judged",
                joined.labels.len()
            );
            return Err(failure(FailureReason::LabelsUnreadable, message));
        }
        each(joined, |joined| {
            let place = |name: &String| classes[name];
            let mut answers = vec![0.0; joined.labels.len() * width];
            for (answer, row) in joined.answers.iter().zip(answers.chunks_exact_mut(width)) {
                row[place(answer)] = 1.0;
            }
            let labels: Vec<f64> = joined
                .labels
                .iter()
                .map(|name| count(place(name) as u64))
                .collect();
            let sample = Sample::of_classes(&labels, &answers, width);
            self.performance(&sample, joined.units.as_deref())
        })
    }

    fn performance(
        &self,
        sample: &Sample<'_>,
        units: Option<&[u64]>,
    ) -> Result<Performance, FailureReport> {
        let (arguments, metric) = (self.arguments, self.metric);
        let independent = |estimate: Estimate| OfUnits {
            estimate,
            units: sample.rows(),
            design_effect: 1.0,
        };
        let at = |confidence: f64| match units {
            Some(units) => related::estimate(metric, sample, units, confidence),
            None => metric.estimate(sample, confidence).map(independent),
        };
        let found = at(arguments.confidence);
        let mut performance = Performance {
            rows: sample.rows() as u64,
            metric: metric.to_string(),
            value: None,
            interval: None,
            fallen: false,
        };
        let found = match found {
            Ok(found) => found,
            Err(problem @ (StatisticsError::Label { .. } | StatisticsError::Prediction { .. })) => {
                let (uri, label) = (self.uri, self.label);
                let message = format!(
                    "the labels at {uri}: {metric} cannot be computed from column '{label}': {problem}"
                );
                return Err(failure(FailureReason::LabelsUnreadable, message));
            }
            Err(_) => return Ok(performance),
        };
        performance.value = Some(found.estimate.value);
        let interval = found.estimate.interval;
        performance.interval = interval.map(|interval| [interval.lower, interval.upper]);
        let is_enough = count(performance.rows) / found.design_effect >= count(MIN_ROWS)
            && (units.is_none() || found.units >= MIN_UNITS);
        let is_below = |interval: Option<Interval>| match (interval, arguments.metric_min) {
            (Some(interval), Some(min)) => interval.upper < min,
            _ => false,
        };
        // The wider interval lies below only where the narrower does, and is asked for only there.
        performance.fallen = is_enough
            && is_below(interval)
            && at(1.0 - (1.0 - arguments.confidence) / WINDOWS)
                .is_ok_and(|found| is_below(found.estimate.interval));
        Ok(performance)
    }
}

/// The same of all rows, and of those of each segment.
fn each<T: Clone>(
    joined: &Joined<T>,
    of: impl Fn(&Joined<T>) -> Result<Performance, FailureReport>,
) -> Result<Measured, FailureReport> {
    let parts = joined.segments.iter().map(|rows| of(&joined.of(rows)));
    Ok(Measured {
        segments: parts.collect::<Result<_, _>>()?,
        whole: of(joined)?,
    })
}

/// The rows for which a predicate is true.
fn mask(
    predicate: &dyn datafusion::physical_expr::PhysicalExpr,
    batch: &RecordBatch,
) -> Result<BooleanArray, String> {
    let values = predicate
        .evaluate(batch)
        .and_then(|values| values.into_array(batch.num_rows()))
        .map_err(|problem| problem.strip_backtrace())?;
    // What is null whatever the row is true for none.
    let none = || BooleanArray::from(vec![false; batch.num_rows()]);
    Ok(values.as_boolean_opt().cloned().unwrap_or_else(none))
}

#[cfg(test)]
mod tests;
