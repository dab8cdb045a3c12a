//! Arguments of `windlass-agent drift`.

use jiff::Timestamp;
use windlass_api::agent::{FailureReason, FailureReport};
use windlass_statistics::drift::decide::Rule;
use windlass_statistics::drift::method::Method;
use windlass_statistics::metric::Metric;

use super::compare::Limit;
use super::findings::Quality;
use super::results::Kind;
use crate::arguments::{DataFormat, EngineArguments, Pair, of_column, time};
use crate::profile::PREDICTION;
use crate::report::failure;

/// Of fewer rows on either side nothing follows, whatever is asked for: cells would be of all rows, and a window could hardly
/// be anything but Healthy.
pub const LEAST_ROWS: u64 = 30;

/// Arguments of `windlass-agent drift`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Two data sets, or profiles (`.json`) that were made of them: a file or a folder each, here or at an address.
    #[arg(value_names = ["REFERENCE", "CURRENT"], num_args = 0..=2)]
    pub data: Vec<String>,
    /// Their format; without it, by their names.
    #[arg(long, value_enum)]
    pub format: Option<DataFormat>,
    /// A column that is compared; without any, all that can be.
    #[arg(long = "column", value_name = "COLUMN")]
    pub columns: Vec<String>,
    /// What a column of texts is taken for, where its rows say otherwise: `Text`, or `Category`.
    #[arg(
        long = "column-kind",
        value_name = "COLUMN=KIND",
        value_parser = of_column,
        allow_hyphen_values = true,
        conflicts_with = "reference"
    )]
    pub kinds: Vec<Pair>,
    /// A column that is not compared, such as one that is redacted.
    #[arg(long = "ignore", value_name = "COLUMN", allow_hyphen_values = true)]
    pub ignored: Vec<String>,
    /// The column with the time of a row.
    #[arg(long, value_name = "COLUMN")]
    pub time: Option<String>,
    /// The column that no two rows have the same value in.
    #[arg(long, value_name = "COLUMN")]
    pub id: Option<String>,
    /// Address of the profile that a window is compared with.
    #[arg(long, value_name = "URI", conflicts_with = "data")]
    pub reference: Option<String>,
    /// Its digest, as it was recorded.
    #[arg(long, value_name = "sha256:HEX")]
    pub reference_digest: Option<String>,
    /// Address of the payload log.
    #[arg(long, value_name = "URI", conflicts_with = "data")]
    pub payloads: Option<String>,
    /// The model version whose payloads are read.
    #[arg(long, conflicts_with = "data")]
    pub version: Option<String>,
    /// Start of the window, inclusive.
    #[arg(long, value_parser = time, conflicts_with = "data")]
    pub window_start: Option<Timestamp>,
    /// End of the window, exclusive.
    #[arg(long, value_parser = time, conflicts_with = "data")]
    pub window_end: Option<Timestamp>,
    /// With fewer rows nothing is said, nor with rows that are worth fewer; nor, whatever this is, with fewer than 30.
    #[arg(long, default_value_t = 500)]
    pub min_samples: u64,
    /// The column whose rows of one value are not independent, such as `user_id`: evidence counts units then.
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    pub unit: Option<String>,
    /// A predicate in SQL whose rows are judged by themselves too.
    #[arg(long = "segment", value_name = "PREDICATE", allow_hyphen_values = true)]
    pub segments: Vec<String>,
    /// By what distance columns are judged.
    #[arg(long, default_value_t = Method::Psi)]
    pub method: Method,
    /// By what distance one column is.
    #[arg(long = "column-method", value_name = "COLUMN=METHOD", value_parser = of_column, allow_hyphen_values = true)]
    pub column_methods: Vec<Pair>,
    /// A column has drifted when the lower bound of its distance lies above this. Without it: 0.1 of distances from 0 to 1, 0.2
    /// of the others. With PSI, a number has also drifted when its mean moved by more deviations than this.
    #[arg(long)]
    pub threshold: Option<f64>,
    /// The threshold of one column.
    #[arg(long = "column-threshold", value_name = "COLUMN=X", value_parser = of_column, allow_hyphen_values = true)]
    pub column_thresholds: Vec<Pair>,
    /// The window has drifted when at least this share of its columns has.
    #[arg(long, default_value_t = 0.3)]
    pub drifted_share: f64,
    /// The window has drifted when the predictions have, by this threshold; without it they count as a column.
    #[arg(long, value_name = "X")]
    pub prediction_threshold: Option<f64>,
    /// By what distance the predictions are judged.
    #[arg(long, value_name = "METHOD")]
    pub prediction_method: Option<Method>,
    /// What is allowed of the data themselves.
    #[command(flatten)]
    pub quality: Quality,
    /// Address of the labels.
    #[arg(long, value_name = "URI", conflicts_with = "data")]
    pub labels: Option<String>,
    /// Their format.
    #[arg(long, value_enum, default_value = "CSV")]
    pub labels_format: DataFormat,
    /// The column with the label.
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// The column of the labels that holds the request's id.
    #[arg(long, value_name = "COLUMN", default_value = "request_id")]
    pub join_on: String,
    /// The metric of performance.
    #[arg(long)]
    pub metric: Option<Metric>,
    /// The performance has fallen when its whole interval lies below this, and would in fifty windows together.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub metric_min: Option<f64>,
    /// Confidence of bounds and intervals.
    #[arg(long, default_value_t = 0.95)]
    pub confidence: f64,
    /// Of the columns that evidence is found for, what share may be wrong on average.
    #[arg(long, default_value_t = 0.05)]
    pub false_discovery_rate: f64,
    /// The folder that the full report goes to: `report.json`, and `report.html` for people.
    #[arg(long, value_name = "URI", conflicts_with = "data")]
    pub output: Option<String>,
    /// The file that a page for people goes to, of two data sets.
    #[arg(long, value_name = "FILE", requires = "data")]
    pub html: Option<String>,
    /// What counts Parquet data.
    #[command(flatten)]
    pub engine: EngineArguments,
}

/// A window of a payload log.
#[derive(Clone, Debug)]
pub struct Window {
    /// Address of the profile that it is compared with.
    pub reference: String,
    /// Address of the payload log.
    pub payloads: String,
    /// The model version.
    pub version: String,
    /// Its start, inclusive.
    pub start: Timestamp,
    /// Its end, exclusive.
    pub end: Timestamp,
}

/// By what a column is measured that holds this, where somebody asked for a method: by the nearest that is of such columns.
const fn applied(method: Method, kind: Kind) -> Method {
    let is_of_tables = method.distance().is_some();
    match (kind, method) {
        (Kind::Number, Method::MeanEmbedding | Method::DomainClassifier) => {
            Method::KolmogorovSmirnov
        }
        (Kind::Number, _) | (Kind::Embedding, Method::DomainClassifier) => method,
        (Kind::Category, _) if is_of_tables => method,
        (Kind::Category, _) => Method::TotalVariation,
        (Kind::Text, _) => Method::DomainClassifier,
        (Kind::Embedding, _) => Method::MeanEmbedding,
    }
}

/// Whether a threshold of one method says of the other what it says of it: the largest difference of shares is one of numbers
/// in their order, and one of names.
const fn is_alike(asked: Method, applied: Method) -> bool {
    matches!(
        (asked, applied),
        (Method::KolmogorovSmirnov, Method::TotalVariation)
    )
}

/// A threshold where none is given.
const fn usual(method: Method) -> f64 {
    match method {
        Method::Psi | Method::Wasserstein | Method::MeanShift | Method::MeanEmbedding => 0.2,
        Method::JensenShannon
        | Method::Hellinger
        | Method::ChiSquare
        | Method::CramersV
        | Method::TotalVariation
        | Method::KolmogorovSmirnov
        | Method::DomainClassifier => 0.1,
    }
}

impl Arguments {
    /// Whether a person has named two data sets.
    pub fn is_by_hand(&self) -> bool {
        !self.data.is_empty()
    }

    /// The window that is asked about.
    ///
    /// # Errors
    /// [`FailureReason::InvalidArguments`], where something is missing or makes no sense.
    pub fn window(&self) -> Result<Window, FailureReport> {
        self.validate()?;
        let needed = |name: &str, value: &Option<String>| {
            value.clone().ok_or_else(|| {
                let message = format!("--{name} is missing; or name two data sets");
                failure(FailureReason::InvalidArguments, message)
            })
        };
        let (Some(start), Some(end)) = (self.window_start, self.window_end) else {
            let message = "--window-start and --window-end are missing; or name two data sets";
            return Err(failure(FailureReason::InvalidArguments, message));
        };
        if start >= end {
            let message = "--window-start lies before --window-end";
            return Err(failure(FailureReason::InvalidArguments, message));
        }
        Ok(Window {
            reference: needed("reference", &self.reference)?,
            payloads: needed("payloads", &self.payloads)?,
            version: needed("version", &self.version)?,
            start,
            end,
        })
    }

    /// Says what makes no sense.
    ///
    /// # Errors
    /// [`FailureReason::InvalidArguments`].
    pub fn validate(&self) -> Result<(), FailureReport> {
        let invalid = |message: String| Err(failure(FailureReason::InvalidArguments, message));
        if !(self.confidence > 0.5 && self.confidence < 1.0) {
            return invalid("--confidence lies between 0.5 and 1".to_owned());
        }
        if !(self.false_discovery_rate > 0.0 && self.false_discovery_rate < 1.0) {
            return invalid("--false-discovery-rate lies between 0 and 1".to_owned());
        }
        let thresholds = [self.threshold, self.prediction_threshold];
        let is_threshold = |threshold: f64| threshold > 0.0 && threshold.is_finite();
        if !thresholds.into_iter().flatten().all(is_threshold) {
            return invalid("a threshold lies above 0".to_owned());
        }
        if !(self.drifted_share > 0.0 && self.drifted_share <= 1.0) {
            return invalid("--drifted-share lies above 0 and not above 1".to_owned());
        }
        let quality = &self.quality;
        let shares = [quality.max_null_fraction, Some(quality.max_null_increase)];
        if !shares
            .into_iter()
            .flatten()
            .all(|share| (0.0..=1.0).contains(&share))
        {
            return invalid(
                "--max-null-fraction and --max-null-increase lie between 0 and 1".to_owned(),
            );
        }
        if self.min_samples == 0 {
            return invalid("--min-samples is 1 at least".to_owned());
        }
        if self.labels.is_some() && (self.label.is_none() || self.metric.is_none()) {
            return invalid("--labels needs --label and --metric".to_owned());
        }
        for pair in &self.column_thresholds {
            if !pair.value.parse().is_ok_and(is_threshold) {
                return invalid(format!(
                    "--column-threshold {}={}: '{}' is no number above 0",
                    pair.name, pair.value, pair.value
                ));
            }
        }
        for pair in &self.column_methods {
            if let Err(problem) = pair.value.parse::<Method>() {
                return invalid(format!(
                    "--column-method {}={}: {problem}",
                    pair.name, pair.value
                ));
            }
        }
        match self.metric {
            Some(metric) if self.metric_min.is_some() && !metric.is_higher_better() => {
                invalid(format!(
                    "--metric-min says nothing about {metric}, which is better when it is lower"
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// By what a column is judged that holds this. The arguments are valid.
    pub fn limit(&self, column: &str, kind: Kind) -> Limit {
        // Of several for one column the last holds.
        let of = |pairs: &'_ [Pair]| {
            let pair = pairs.iter().rfind(|pair| pair.name == column);
            pair.map(|pair| pair.value.clone())
        };
        let own = of(&self.column_methods).and_then(|method| method.parse().ok());
        let is_prediction = column == PREDICTION;
        let asked: Method = own
            .or(self.prediction_method.filter(|_| is_prediction))
            .unwrap_or(self.method);
        let method = applied(asked, kind);
        let is_as_asked = method == asked || is_alike(asked, method);
        let own = of(&self.column_thresholds).and_then(|threshold| threshold.parse().ok());
        // The prediction's is given by a monitor also where it is only what is usual: of another method that says nothing.
        let says_something = |own: &f64| is_as_asked || own.to_bits() != usual(asked).to_bits();
        let of_prediction = self.prediction_threshold.filter(|_| is_prediction);
        let own = of_prediction.filter(says_something).or(own);
        let of_all = self
            .threshold
            .filter(|_| asked == self.method && is_as_asked);
        let threshold = own.or(of_all).unwrap_or_else(|| usual(method));
        Limit { method, threshold }
    }

    /// How many independent rows a window has to have: as many as are asked for, and never fewer than tell anything at all.
    pub fn least_rows(&self) -> u64 {
        self.min_samples.max(LEAST_ROWS)
    }

    /// When columns have drifted.
    pub fn rule(&self) -> Rule {
        Rule {
            confidence: self.confidence,
            false_discovery_rate: self.false_discovery_rate,
            ..Rule::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// As a monitor hands them over: a name and its value are two arguments.
    #[test]
    fn a_column_may_be_called_anything() {
        for name in ["a=b", "-x", "--method", "age = 3", "="] {
            let threshold = format!("{name}=0.5");
            let method = format!("{name}=Hellinger");
            let given = [
                "drift",
                "--column-threshold",
                &threshold,
                "--column-method",
                &method,
                "--ignore",
                name,
                "a.csv",
                "b.csv",
            ];
            let arguments = Line::try_parse_from(given).map(|line| line.arguments);
            let arguments = arguments.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(arguments.validate().is_ok(), "{name}");
            let Limit { method, threshold } = arguments.limit(name, Kind::Number);
            assert_eq!(format!("{method} {threshold}"), "Hellinger 0.5", "{name}");
            assert_eq!(arguments.ignored, [name]);
        }
    }

    #[test]
    fn a_column_is_measured_by_what_is_of_it_and_has_the_threshold_of_that() {
        let of = |line: &[&str], column: &str, kind| {
            let line = ["drift", "a", "b"].into_iter().chain(line.iter().copied());
            let limit = Line::parse_from(line).arguments.limit(column, kind);
            format!("{} {}", limit.method, limit.threshold)
        };
        let wasserstein = ["--method", "Wasserstein"];
        let by_monitor = ["--method", "Wasserstein", "--threshold", "0.2"];
        let overridden = [
            "--column-method",
            "c=Wasserstein",
            "--column-threshold",
            "c=0.2",
        ];
        let chosen = [
            "--column-method",
            "c=Wasserstein",
            "--column-threshold",
            "c=0.3",
        ];
        let kolmogorov = ["--method", "KolmogorovSmirnov", "--threshold", "0.15"];
        let predictions = [
            "--prediction-method",
            "Wasserstein",
            "--prediction-threshold",
            "0.2",
        ];
        let classifier = ["--method", "DomainClassifier", "--threshold", "0.3"];
        for (line, column, kind, expected) in [
            (&[][..], "c", Kind::Number, "PSI 0.2"),
            (&[], "c", Kind::Text, "DomainClassifier 0.1"),
            (&[], "c", Kind::Embedding, "MeanEmbedding 0.2"),
            (&wasserstein, "c", Kind::Number, "Wasserstein 0.2"),
            (&wasserstein, "c", Kind::Category, "TotalVariation 0.1"),
            (&by_monitor, "c", Kind::Number, "Wasserstein 0.2"),
            (&by_monitor, "c", Kind::Category, "TotalVariation 0.1"),
            (&overridden, "c", Kind::Category, "TotalVariation 0.2"),
            (&overridden, "c", Kind::Number, "Wasserstein 0.2"),
            (&chosen, "c", Kind::Category, "TotalVariation 0.3"),
            (&kolmogorov, "c", Kind::Number, "KolmogorovSmirnov 0.15"),
            (&kolmogorov, "c", Kind::Category, "TotalVariation 0.15"),
            (
                &predictions,
                PREDICTION,
                Kind::Category,
                "TotalVariation 0.1",
            ),
            (&predictions, PREDICTION, Kind::Number, "Wasserstein 0.2"),
            (&classifier, "c", Kind::Embedding, "DomainClassifier 0.3"),
            (&classifier, "c", Kind::Text, "DomainClassifier 0.3"),
            (&classifier, "c", Kind::Number, "KolmogorovSmirnov 0.1"),
        ] {
            assert_eq!(of(line, column, kind), expected, "{line:?} {kind:?}");
        }
    }
}
