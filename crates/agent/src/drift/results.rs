//! The full results of a window, `report.json`: what was found of every column, in every segment, of the data and of the
//! model. The HTML report is made of it, and so are the terminal's table and the short report.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use windlass_api::agent::{ColumnDrift, DriftReport, Performance, WindowVerdict};
use windlass_statistics::drift::method::Method;
use windlass_statistics::drift::quality::Finding;

use super::verdict::shortened;

/// The version of this format.
pub const FORMAT: u32 = 1;

/// How many columns the short report names.
const TOP: usize = 10;

/// All that was found of a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    /// [`FORMAT`].
    pub format: u32,
    /// The verdict.
    pub verdict: WindowVerdict,
    /// Why, in one or two sentences.
    pub message: String,
    /// What was judged.
    pub window: Judged,
    /// What it was compared with.
    pub reference: Judged,
    /// By what rule.
    pub settings: Settings,
    /// All columns that were compared, ranked: those that drifted first.
    pub columns: Vec<ColumnResult>,
    /// Names of those that both sides have and that could not be compared; a finding says of each why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<String>,
    /// Which rows of the reference these are of, where it is known when the window's rows were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<ComparedWith>,
    /// What is wrong with the data, or worth telling of them; what breaks them first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Found>,
    /// The metric on rows whose label is known, where labels are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<Performance>,
    /// What the model's own scores let one expect of it, of each metric, where the reference says what scores mean.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected: Vec<Expected>,
    /// Parts of the rows by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Segment>,
}

/// A data set that is compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// What it is, for people: a model version's name, or a file's.
    pub name: String,
    /// Its digest, where it is one file that was recorded by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Start of its time, inclusive, where it has bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// End of its time, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Its rows.
    pub rows: u64,
    /// How many independent rows they are worth: rows by the largest design effect of a column.
    pub effective_rows: f64,
}

/// By what rule a window is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// That of the one-sided bound which has to pass a column's threshold.
    pub confidence: f64,
    /// Of the columns that evidence is found for, what share may be wrong on average.
    pub false_discovery_rate: f64,
    /// The share of columns that make a window drifted.
    pub drifted_share: f64,
    /// The least independent rows, as they were asked for or as many as it takes at all.
    pub min_samples: u64,
    /// The column whose values rows are not independent within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// What was found of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnResult {
    /// Its name; `prediction` for the model's answer.
    pub column: String,
    /// What it holds.
    pub kind: Kind,
    /// By what distance.
    pub method: Method,
    /// The distance, less what chance adds at these sizes.
    pub value: f64,
    /// Its one-sided lower bound.
    pub lower: f64,
    /// What that has to pass.
    pub threshold: f64,
    /// The p-value of a test of both samples, corrected for the number of columns.
    pub p_value: f64,
    /// Whether it drifted: by its bound and by its p-value.
    pub drifted: bool,
    /// What moved, in words: `mean 3.1 → 24.8`.
    pub moved: String,
    /// How far the mean has moved, in deviations of the reference, with its sign; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_shift: Option<f64>,
    /// By how much rows that are not independent make variances larger, in the reference and in the window.
    pub design_effects: [f64; 2],
    /// Both distributions side by side: bins in their order, or levels, the most frequent of the reference first; rows
    /// without a value are the last cell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Numbers, or times as numbers.
    Number,
    /// Names.
    Category,
    /// Texts that are hardly ever the same.
    Text,
    /// Lists of numbers of one length.
    Embedding,
}

/// Rows of the reference and of the window in one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// Which, for people: `[10, 20)`, a level's name, `no value`.
    pub name: String,
    /// Where a bin begins, inclusive; absent of the first, and of levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// Where a bin ends, exclusive; absent of the last, and of levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
    /// Rows of the reference.
    pub reference: u64,
    /// Rows of the window.
    pub window: u64,
}

/// Something about the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// Whether a person is called: the verdict is DataBroken then.
    pub breaks: bool,
    /// What it is, in words.
    pub words: String,
    /// The numbers; absent where the columns themselves are others than the reference's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
}

/// A metric as it is to be expected without labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expected {
    /// Its name.
    pub metric: String,
    /// Its value.
    pub value: f64,
    /// The interval that what labels will show lies in.
    pub interval: [f64; 2],
    /// The same metric on the reference's own rows; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
    /// The share of the window's rows whose scores the reference has none of.
    pub uncovered: f64,
}

/// A part of the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    /// The predicate that its rows meet.
    pub segment: String,
    /// The verdict on it, as on a window.
    pub verdict: WindowVerdict,
    /// Why, in words.
    pub message: String,
    /// Its rows in the reference and in the window.
    pub rows: [u64; 2],
    /// Its columns, ranked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnResult>,
    /// Names of those that could not be compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<String>,
    /// Which rows of the reference these are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<ComparedWith>,
    /// The metric on its labelled rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<Performance>,
}

/// Which rows of a reference a window is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComparedWith {
    /// How many.
    pub rows: u64,
    /// Which and why, as a sentence: those of the same hours of the week, or of the same months, or all.
    pub words: String,
    /// How many windows of the reference, as long as the one that is judged, tell how far windows lie from each other without
    /// drift; 0 where that is told by rows alone.
    #[serde(default)]
    pub own_windows: u64,
}

impl Results {
    /// How many columns drifted.
    pub fn drifted(&self) -> usize {
        self.columns.iter().filter(|column| column.drifted).count()
    }

    /// What of it goes into the status.
    pub fn short(&self) -> DriftReport {
        let top = self.columns.iter().take(TOP);
        DriftReport {
            verdict: self.verdict,
            message: self.message.clone(),
            start: self.window.start.unwrap_or_default(),
            end: self.window.end.unwrap_or_default(),
            rows: self.window.rows,
            columns: self.columns.len() as u64,
            drifted: self.drifted() as u64,
            top: top.map(ColumnResult::short).collect(),
            performance: self.performance.clone(),
            report: None,
        }
    }
}

impl ColumnResult {
    fn short(&self) -> ColumnDrift {
        ColumnDrift {
            column: shortened(&self.column),
            method: self.method.name().to_owned(),
            value: self.value,
            lower: self.lower,
            threshold: self.threshold,
            drifted: self.drifted,
            moved: shortened(&self.moved),
        }
    }
}
