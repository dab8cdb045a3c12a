//! The distances that a column can be asked for, by the names that users give.

use serde::{Deserialize, Serialize};

use super::table::Distance;

/// How the distance of a column is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Method {
    /// [`Distance::Psi`], of quantile bins of the reference or of levels.
    #[default]
    #[serde(rename = "PSI")]
    Psi,
    /// [`Distance::JensenShannon`].
    JensenShannon,
    /// [`Distance::Hellinger`].
    Hellinger,
    /// [`Distance::ChiSquare`].
    ChiSquare,
    /// [`Distance::CramersV`].
    CramersV,
    /// [`Distance::TotalVariation`].
    TotalVariation,
    /// [`super::steps::Steps::kolmogorov_smirnov`]; of numbers alone.
    KolmogorovSmirnov,
    /// [`super::steps::Steps::wasserstein`], in deviations of the reference; of numbers alone.
    Wasserstein,
    /// [`super::shift::mean_shift`], in deviations of the reference; of numbers alone.
    MeanShift,
    /// [`super::embedding::distance`], in total deviations of the reference; of vectors alone.
    MeanEmbedding,
    /// [`super::classifier`], 2 AUC - 1: of vectors, and of texts as [`super::text`] has them.
    DomainClassifier,
}

impl Method {
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

    /// Its name in arguments and manifests.
    pub const fn name(self) -> &'static str {
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

    /// Its name, as people write it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Psi => "PSI",
            Self::JensenShannon => "Jensen-Shannon",
            Self::Hellinger => "Hellinger",
            Self::ChiSquare => "chi-square effect",
            Self::CramersV => "Cramér's V",
            Self::TotalVariation => "total variation",
            Self::KolmogorovSmirnov => "Kolmogorov-Smirnov",
            Self::Wasserstein => "Wasserstein",
            Self::MeanShift => "shift of the mean",
            Self::MeanEmbedding => "distance of means",
            Self::DomainClassifier => "2 AUC - 1 of a classifier",
        }
    }

    /// The distance of tables that it is; absent where it is of numbers in their order, of vectors or of texts.
    pub const fn distance(self) -> Option<Distance> {
        match self {
            Self::Psi => Some(Distance::Psi),
            Self::JensenShannon => Some(Distance::JensenShannon),
            Self::Hellinger => Some(Distance::Hellinger),
            Self::ChiSquare => Some(Distance::ChiSquare),
            Self::CramersV => Some(Distance::CramersV),
            Self::TotalVariation => Some(Distance::TotalVariation),
            Self::KolmogorovSmirnov
            | Self::Wasserstein
            | Self::MeanShift
            | Self::MeanEmbedding
            | Self::DomainClassifier => None,
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

impl std::str::FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|method| method.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("'{text}' is not a distance; accepted are {names}")
        })
    }
}
