//! The two data sets that are compared: what was counted of each, whether just now or in a profile that was written before.

use std::collections::BTreeMap;

use windlass_api::agent::{
    ColumnProfile, ColumnTimes, Distribution, Profile, Scores, SegmentProfile, Times,
};
use windlass_statistics::drift::bounded::Bounded;
use windlass_statistics::drift::column::{Category, Number, Worth, kept};
use windlass_statistics::drift::embedding::Embeddings;
use windlass_statistics::drift::units::DesignEffect;
use windlass_statistics::mean::Mean;
use windlass_statistics::psi::Categories;
use windlass_statistics::ranks::Ranks;

use crate::profile::column::{Column, Kind};
use crate::profile::reading::Asking;
use crate::profile::sketch::{Asked, Sketch};
use crate::profile::units::UnitSample;
use crate::profile::{PREDICTION, document};

/// What was counted of a data set.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Its rows.
    pub rows: u64,
    /// Its columns, in their order.
    pub columns: Vec<SideColumn>,
    /// The newest row's time, microseconds since 1970, where that is known.
    pub newest: Option<i64>,
    /// Of rows whose ids were looked at, those that are there once more.
    pub duplicates: Option<(u64, u64)>,
    /// Its rows by their time, where that is known.
    pub times: Option<Times>,
}

/// What was counted of a column.
#[derive(Clone, Debug)]
pub struct SideColumn {
    /// Its name.
    pub name: String,
    /// Rows without a value.
    pub nulls: u64,
    /// Rows with what is not of the column's type, or infinite.
    pub other_type: u64,
    /// What rows are worth; of texts and vectors the rows tell that are kept.
    pub worth: Worth,
    /// By how much variances of shares are larger than those of independent rows; of texts and vectors, of the share without a
    /// value.
    pub share_effect: f64,
    /// Its values.
    pub held: Held,
    /// Its values by time, of a reference.
    pub by_time: Option<ColumnTimes>,
}

/// Values of a column.
#[derive(Clone, Debug)]
pub enum Held {
    /// Numbers.
    Number {
        /// Inner edges of bins.
        edges: Vec<f64>,
        /// By rank.
        ranks: Box<Ranks>,
        /// Mean and spread.
        mean: Mean,
    },
    /// Names, with rows without one.
    Category(Categories),
    /// Some of its texts.
    Text(Bounded<String>),
    /// Vectors.
    Embedding {
        /// Sums over all of them.
        sums: Box<Embeddings>,
        /// Some of them.
        sample: Bounded<Vec<f32>>,
    },
}

impl Held {
    /// What it is.
    pub fn kind(&self) -> super::results::Kind {
        match self {
            Self::Number { .. } => super::results::Kind::Number,
            Self::Category(_) => super::results::Kind::Category,
            Self::Text(_) => super::results::Kind::Text,
            Self::Embedding { .. } => super::results::Kind::Embedding,
        }
    }
}

impl Side {
    /// Of a profile.
    pub fn of_profile(profile: &Profile) -> Self {
        Self::of_columns(profile.rows, &profile.columns, profile.times.as_ref())
    }

    /// Of a segment in a profile.
    pub fn of_segment(segment: &SegmentProfile) -> Self {
        Self::of_columns(segment.rows, &segment.columns, segment.times.as_ref())
    }

    fn of_columns(rows: u64, columns: &[ColumnProfile], times: Option<&Times>) -> Self {
        Self {
            rows,
            columns: columns.iter().map(SideColumn::of_profile).collect(),
            times: times.cloned(),
            ..Self::default()
        }
    }

    /// Of what was counted for these columns, beside a reference.
    pub fn of_sketch(reference: &Self, asking: &Asking, sketch: &Sketch) -> Self {
        let asked = &asking.columns;
        let numbered = asked.iter().zip(&sketch.columns).enumerate();
        let columns = numbered.filter_map(|(place, (asked, column))| {
            let reference = reference.column(&asked.name)?;
            let units = sketch.units.as_ref();
            Some(SideColumn::of_counted(reference, column, place, units))
        });
        Self {
            rows: sketch.rows,
            columns: columns.collect(),
            newest: sketch.newest,
            duplicates: sketch
                .ids
                .as_ref()
                .map(crate::profile::sketch::Ids::duplicates),
            times: document::of_times(&asking.roles, sketch),
        }
    }

    /// Takes what rows are worth from another data set of the same kind.
    pub fn take_worth(&mut self, other: &Self) {
        for column in &mut self.columns {
            if let Some(other) = other.column(&column.name) {
                column.worth = other.worth;
                column.share_effect = other.share_effect;
            }
        }
    }

    /// A column by its name.
    pub fn column(&self, name: &str) -> Option<&SideColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// What has to be counted of what is compared with it; predictions also by bins of scores, where there are any.
    pub fn asked(&self, scores: Option<&Scores>) -> Vec<Asked> {
        let asked = |column: &SideColumn| {
            let (kind, mut starts) = match &column.held {
                Held::Number { ranks, .. } => (Kind::Number, ranks.starts()),
                Held::Category(_) => (Kind::Category, Vec::new()),
                Held::Text(_) => (Kind::Text, Vec::new()),
                Held::Embedding { sums, .. } => (Kind::Embedding(sums.width()), Vec::new()),
            };
            if let Some(scores) = scores.filter(|_| column.name == PREDICTION) {
                starts.extend(&scores.edges);
            }
            Asked {
                name: column.name.clone(),
                kind,
                starts,
            }
        };
        self.columns.iter().map(asked).collect()
    }

    /// How many independent rows they are worth: by the column whose rows are worth least.
    pub fn effective_rows(&self) -> f64 {
        let effects = self
            .columns
            .iter()
            .map(|column| column.worth.shares.of_shares);
        count(self.rows) / effects.fold(1.0, f64::max)
    }
}

/// A count as a number.
#[allow(clippy::cast_precision_loss)] // counts of rows
pub fn count(rows: u64) -> f64 {
    rows as f64
}

impl SideColumn {
    fn of_profile(profile: &ColumnProfile) -> Self {
        let held = match &profile.distribution {
            Distribution::Number {
                edges,
                counts,
                mean,
                standard_deviation,
                cells,
            } => Held::Number {
                edges: edges.clone(),
                ranks: Box::new(document::ranks(edges, counts, cells)),
                mean: document::mean(counts, *mean, *standard_deviation),
            },
            Distribution::Category { counts } => Held::Category(Categories {
                levels: counts.clone(),
                nulls: profile.nulls,
            }),
            Distribution::Text { sample, .. } => Held::Text(document::texts(sample)),
            Distribution::Embedding {
                width,
                sums,
                keys,
                vectors,
            } => {
                let read = document::vectors(*width, sums, keys, vectors);
                let (sums, sample) = read.expect("a profile is looked at when it is read");
                let sums = Box::new(sums);
                Held::Embedding { sums, sample }
            }
        };
        let effects = document::effects(profile.worth.as_ref());
        let is_sampled = matches!(held, Held::Text(_) | Held::Embedding { .. });
        Self {
            name: profile.name.clone(),
            nulls: profile.nulls,
            other_type: profile.other_type,
            worth: if is_sampled {
                Worth::INDEPENDENT
            } else {
                effects
            },
            share_effect: effects.shares.of_shares,
            held,
            by_time: profile.by_time.clone(),
        }
    }

    fn of_counted(
        reference: &Self,
        column: &Column,
        place: usize,
        units: Option<&UnitSample>,
    ) -> Self {
        let held = match column {
            Column::Number(numbers) => Held::Number {
                edges: Vec::new(),
                ranks: Box::new(numbers.ranks.clone()),
                mean: numbers.mean,
            },
            Column::Category(names) => Held::Category(Categories {
                levels: document::levels(names),
                nulls: names.nulls,
            }),
            Column::Text(texts) => Held::Text(texts.sample.clone()),
            Column::Embedding(vectors) => Held::Embedding {
                sums: Box::new(vectors.sums.clone()),
                sample: vectors.sample.clone(),
            },
        };
        let mut all = Self {
            name: reference.name.clone(),
            nulls: column.nulls(),
            other_type: column.other_type(),
            worth: Worth::INDEPENDENT,
            share_effect: 1.0,
            held,
            by_time: None,
        };
        if let Some(units) = units {
            all.worth = worth(units, place, reference, &all);
            all.share_effect = match &all.held {
                Held::Number { .. } | Held::Category(_) => all.worth.shares.of_shares,
                Held::Text(_) | Held::Embedding { .. } => units.of_presence(place).of_shares,
            };
        }
        all
    }

    /// A number, as it is compared.
    pub fn number<'a>(&'a self, ranks: &'a Ranks, mean: &'a Mean, nulls: u64) -> Number<'a> {
        Number {
            ranks,
            mean,
            nulls,
            worth: self.worth,
        }
    }

    /// What its rows are worth.
    pub fn design_effect(&self) -> DesignEffect {
        self.worth.shares
    }
}

/// What rows of the window are worth, by the cells of the reference.
fn worth(units: &UnitSample, place: usize, reference: &SideColumn, window: &SideColumn) -> Worth {
    match (&reference.held, &window.held) {
        (Held::Number { edges, mean, .. }, _) => {
            let centre = mean.value().unwrap_or(0.0);
            units.of_number(place, edges, centre, mean.standard_deviation())
        }
        (Held::Category(levels), Held::Category(of_window)) => {
            let old = Category {
                levels,
                worth: reference.worth.shares,
            };
            let of = |worth| {
                let new = Category {
                    levels: of_window,
                    worth,
                };
                units.of_category(place, kept(&old, &new).into_iter())
            };
            let shares = DesignEffect::of_levels(of);
            Worth { shares, mean: 1.0 }
        }
        // Of texts and vectors it is told by the rows that are compared.
        (Held::Category(_) | Held::Text(_) | Held::Embedding { .. }, _) => Worth::INDEPENDENT,
    }
}

/// Whether a payload log has nothing in a column where these are redacted: a chat's prompt goes by the name that the model
/// has for it, and is redacted by that of its messages too.
pub fn is_blanked(column: &SideColumn, redacted: &[String]) -> bool {
    let is_prompt = |name: &String| ["prompt", "messages"].contains(&name.as_str());
    matches!(column.held, Held::Text(_)) && redacted.iter().any(is_prompt)
}

/// Levels of a window under the names that a reference has.
pub fn pooled(reference: &Categories, window: &Categories) -> Categories {
    let levels: BTreeMap<String, u64> = document::pooled_as(&reference.levels, &window.levels);
    Categories {
        levels,
        nulls: window.nulls,
    }
}
