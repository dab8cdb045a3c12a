//! Tests of data: what must hold of an input before a training takes a GPU.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantities::where_decimal;
use crate::{Decimal, GoDuration};

/// A test of data. What it names beside `column` are its rules; each has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.column) || has(self.minRows) || has(self.maxRows) || has(self.predicate) || has(self.sameDistributionAs)").message("must have a column, or one of minRows, maxRows, predicate and sameDistributionAs, which speak of the whole input"),
    validation = Rule::new("has(self.column) || !(has(self.type) || (has(self.notNull) && self.notNull) || has(self.min) || has(self.max) || has(self.oneOf) || (has(self.unique) && self.unique) || has(self.__in__) || has(self.newestWithin))").message("column is required: type, notNull, min, max, oneOf, unique, in and newestWithin speak of a column").field_path(".column"),
    validation = Rule::new("!has(self.minRows) || !has(self.maxRows) || self.minRows <= self.maxRows").message("minRows must not be above maxRows").field_path(".minRows"),
    validation = Rule::new("!has(self.maxPsi) || has(self.sameDistributionAs)").message("maxPsi is a limit of sameDistributionAs, which is not given").field_path(".maxPsi")
)]
pub struct Check {
    /// A column that must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub column: Option<String>,
    /// The column's type: `Number` (of any kind), `Integer`, `Text`, `Boolean` or `Timestamp` (a date, too). In CSV and JSON it is what the values look like.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<ColumnType>,
    /// No value is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_null: bool,
    /// No value is below this; a missing one is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Decimal>,
    /// No value is above this; a missing one is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
    /// Every value is one of these; a missing one is not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 256)))]
    pub one_of: Vec<String>,
    /// No value is there twice; missing ones are not counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unique: bool,
    /// Every value is in a column of another input, as a foreign key is; a missing one is not looked at.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub in_: Option<ColumnOf>,
    /// The newest value of this column of times is at most so old when the check runs: `26h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_within: Option<GoDuration>,
    /// The input has at least so many rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_rows: Option<i64>,
    /// The input has at most so many rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_rows: Option<i64>,
    /// A predicate in SQL that is true of every row: `arrived >= departed`. Where it is null, it holds, as an SQL CHECK does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub predicate: Option<String>,
    /// `Champion`: the columns (or this one) are distributed as in the data that the version that serves was trained on. Holds where none serves, or where its data has no profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_distribution_as: Option<ReferenceData>,
    /// How far a column may have moved: the lower confidence bound of its Population Stability Index, its bias taken off, must not be above this. Default: 0.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) > 0.0")).message("must be above 0"))]
    pub max_psi: Option<Decimal>,
    /// The share of rows that may break notNull, min, max, oneOf, in, unique or the predicate: `"0.01"`. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) >= 0.0 && double(self) < 1.0")).message("must be at least 0 and below 1"))]
    pub max_share: Option<Decimal>,
}

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ColumnType {
    /// A number of any kind.
    Number,
    /// A whole number.
    Integer,
    /// Text.
    Text,
    /// True or false.
    Boolean,
    /// A time or a date.
    Timestamp,
}

/// A column of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ColumnOf {
    /// Name of an input of this job; it needs a format.
    #[schemars(length(min = 1, max = 40))]
    pub input: String,
    /// Name of its column.
    #[schemars(length(min = 1, max = 128))]
    pub column: String,
}

/// The data that an input is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReferenceData {
    /// The input of the same name that the version that serves was trained on.
    Champion,
}
