//! What is measured of a window: distances of columns, and the quality of its data.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantities::{where_decimal, where_decimals, where_duration};
use crate::{Decimal, GoDuration};

/// A distance from 0 to 1 that nothing passes is a mistake.
const BELOW_ONE: &str = "must be below 1, such as \"0.1\": this distance lies between 0 and 1";

fn below_one(condition: &str) -> String {
    where_decimals(
        &format!("has(self.threshold) && {condition}"),
        &["self.threshold"],
        "double(self.threshold) < 1.0",
    )
}

/// What a column without a method of its own has is the distance of all.
fn inherited_below_one() -> String {
    let below = where_decimal("double(self) < 1.0").replace("self", "one.threshold");
    format!(
        "self.default.method in ['PSI', 'Wasserstein', 'MeanShift', 'MeanEmbedding'] || !has(self.overrides) || self.overrides.all(one, has(one.method) || !has(one.threshold) || {below})"
    )
}

/// Which columns are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new(inherited_below_one()).message("a threshold of a column without a method must be below 1, such as \"0.1\": the distance of features.default lies between 0 and 1").field_path(".overrides"))]
pub struct Features {
    /// For all columns that are not named below.
    #[serde(default)]
    pub default: DriftThreshold,
    /// For single columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["column".to_string()]))]
    pub overrides: Vec<ColumnThreshold>,
}

/// When a column has drifted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new(below_one("!(self.method in ['PSI', 'Wasserstein', 'MeanShift', 'MeanEmbedding'])")).message(BELOW_ONE).field_path(".threshold"))]
pub struct DriftThreshold {
    /// The distance, less what chance adds to it at the window's size. `PSI`: the Population Stability Index, from 0; a number also drifts when its mean moved by more deviations than the threshold. From 0 to 1 are `JensenShannon`, `Hellinger`, `ChiSquare` (the effect, whatever the sizes), `CramersV`, `TotalVariation`, and of numbers `KolmogorovSmirnov`. Of numbers, in deviations of the reference: `Wasserstein`, how far values moved, and `MeanShift`, how far their mean did. Of vectors: `MeanEmbedding`, how far the mean vector moved, in deviations. Of vectors and texts: `DomainClassifier`, how well a classifier tells both apart, 2 AUC - 1 from 0 to 1. What cannot be measured so has the nearest that can: names `TotalVariation`, numbers `KolmogorovSmirnov`, vectors `MeanEmbedding`, texts `DomainClassifier`, each with its own default threshold.
    #[serde(default)]
    pub method: DriftMethod,
    /// The lower confidence bound of the distance has to pass this. Default: "0.1" of distances from 0 to 1, "0.2" of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) > 0.0")).message("must be above 0, such as \"0.2\""))]
    pub threshold: Option<Decimal>,
}

impl DriftThreshold {
    /// The threshold: its own, or that of its method.
    pub fn threshold(&self) -> Decimal {
        let own = self.threshold.clone();
        own.unwrap_or_else(|| self.method.default_threshold())
    }
}

/// When a single column has drifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.method) || has(self.threshold)").message("give method, threshold or both").field_path(".threshold"),
    validation = Rule::new(below_one("has(self.method) && !(self.method in ['PSI', 'Wasserstein', 'MeanShift', 'MeanEmbedding'])")).message(BELOW_ONE).field_path(".threshold")
)]
pub struct ColumnThreshold {
    /// Name of the column.
    #[schemars(length(min = 1, max = 128))]
    pub column: String,
    /// The distance, as in `features.default`, which has it where this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<DriftMethod>,
    /// The lower confidence bound of the distance has to pass this. Default: that of `features.default` where the method is the same, else that of the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) > 0.0")).message("must be above 0, such as \"0.2\""))]
    pub threshold: Option<Decimal>,
}

impl ColumnThreshold {
    /// Its method and its threshold, where others have this.
    pub fn resolved(&self, default: &DriftThreshold) -> (DriftMethod, Decimal) {
        let method = self.method.unwrap_or(default.method);
        let threshold = self.threshold.clone().unwrap_or_else(|| {
            if method == default.method {
                default.threshold()
            } else {
                method.default_threshold()
            }
        });
        (method, threshold)
    }
}

/// A distance between distributions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftMethod {
    /// The Population Stability Index.
    #[default]
    #[serde(rename = "PSI")]
    Psi,
    /// The Jensen-Shannon distance.
    JensenShannon,
    /// The Hellinger distance.
    Hellinger,
    /// The effect of a chi-square test.
    ChiSquare,
    /// Cramér's V.
    CramersV,
    /// Total variation.
    TotalVariation,
    /// The largest difference of distribution functions.
    KolmogorovSmirnov,
    /// The first Wasserstein distance, in deviations of the reference.
    Wasserstein,
    /// The shift of the mean, in deviations of the reference.
    MeanShift,
    /// The distance of mean vectors, in deviations of the reference.
    MeanEmbedding,
    /// 2 AUC - 1 of a classifier that tells both apart.
    DomainClassifier,
}

impl DriftMethod {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Psi,
        Self::JensenShannon,
        Self::Hellinger,
        Self::ChiSquare,
        Self::CramersV,
        Self::TotalVariation,
        Self::KolmogorovSmirnov,
        Self::Wasserstein,
        Self::MeanShift,
        Self::MeanEmbedding,
        Self::DomainClassifier,
    ];

    /// Its name in manifests, and in the agent's arguments.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Psi => "PSI",
            Self::JensenShannon => "JensenShannon",
            Self::Hellinger => "Hellinger",
            Self::ChiSquare => "ChiSquare",
            Self::CramersV => "CramersV",
            Self::TotalVariation => "TotalVariation",
            Self::KolmogorovSmirnov => "KolmogorovSmirnov",
            Self::Wasserstein => "Wasserstein",
            Self::MeanShift => "MeanShift",
            Self::MeanEmbedding => "MeanEmbedding",
            Self::DomainClassifier => "DomainClassifier",
        }
    }

    /// What its lower bound has to pass where nothing else is said: of each about as large a change.
    pub fn default_threshold(self) -> Decimal {
        match self {
            Self::Psi | Self::Wasserstein | Self::MeanShift | Self::MeanEmbedding => "0.2".into(),
            Self::JensenShannon
            | Self::Hellinger
            | Self::ChiSquare
            | Self::CramersV
            | Self::TotalVariation
            | Self::KolmogorovSmirnov
            | Self::DomainClassifier => "0.1".into(),
        }
    }
}

/// What is wrong with data. What breaks them makes the verdict `DataBroken`: a person is called, and nothing is trained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quality {
    /// The share of a column's rows that may be without a value, whatever it is in the reference, from 0 to 1. More breaks the data. Without it, only `maxNullIncrease` counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) >= 0.0 && double(self) <= 1.0")).message("must lie between 0 and 1, such as \"0.05\""))]
    pub max_null_fraction: Option<Decimal>,
    /// By how much the share of rows without a value may be larger than in the reference, from 0 to 1. More breaks the data. Default: "0.05".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) >= 0.0 && double(self) <= 1.0")).message("must lie between 0 and 1, such as \"0.05\""))]
    pub max_null_increase: Option<Decimal>,
    /// Of names that the reference has not: `Warn` (they are told of, the default), `Break` (the data are broken), `Ignore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_categories: Option<OnFinding>,
    /// Of values below or above all of the reference: `Warn` (the default), `Break`, `Ignore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<OnFinding>,
    /// Of requests that come twice: `Warn` (the default), `Break`, `Ignore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<OnFinding>,
    /// Of far more or fewer rows than windows usually have: `Warn` (the default), `Break`, `Ignore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<OnFinding>,
    /// How old the newest row may be at the window's end: older breaks the data. Without it, it may be of any age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_duration("self", "duration(self) >= duration('1s')")).message("must be at least 1s"))]
    pub max_age: Option<GoDuration>,
}

/// What is done about something in the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFinding {
    /// It is told of.
    Warn,
    /// The data are broken by it.
    Break,
    /// Nothing.
    Ignore,
}

impl OnFinding {
    /// Its name in manifests, and in the agent's arguments.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "Warn",
            Self::Break => "Break",
            Self::Ignore => "Ignore",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn a_method_is_called_in_arguments_as_in_manifests() {
        for method in DriftMethod::ALL {
            assert_eq!(serde_json::to_value(method).expect("JSON"), method.as_str());
        }
    }

    #[test]
    fn a_column_has_the_threshold_that_is_nearest_to_it() {
        let rows = [
            (
                json!({}),
                json!({"column": "a", "threshold": "0.5"}),
                "PSI 0.5",
            ),
            (
                json!({"threshold": "0.3"}),
                json!({"column": "a", "method": "PSI"}),
                "PSI 0.3",
            ),
            (
                json!({"threshold": "0.3"}),
                json!({"column": "a", "method": "Hellinger"}),
                "Hellinger 0.1",
            ),
            (
                json!({"method": "Wasserstein"}),
                json!({"column": "a", "threshold": "1"}),
                "Wasserstein 1",
            ),
            (
                json!({"method": "CramersV"}),
                json!({"column": "a", "method": "PSI"}),
                "PSI 0.2",
            ),
        ];
        for (default, column, expected) in rows {
            let default: DriftThreshold = from_value(default).expect("a threshold");
            let column: ColumnThreshold = from_value(column).expect("a column");
            let (method, threshold) = column.resolved(&default);
            assert_eq!(format!("{} {threshold}", method.as_str()), expected);
        }
    }
}
