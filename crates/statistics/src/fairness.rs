//! How differently groups are treated.
//!
//! Labels and answers are of two classes; an answer of 1 is what everyone wants.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::classification::TwoByTwo;
use crate::influence::Estimate;
use crate::proportion::{Proportion, difference};
use crate::sample::{Accepts, Sample};
use crate::{Interval, StatisticsError, float};

/// A difference between groups, in [0, 1]; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Disparity {
    /// Of the share that is answered with 1 (Dwork et al. 2012).
    DemographicParity,
    /// Of the true positive rate (Hardt, Price & Srebro 2016).
    EqualOpportunity,
    /// The larger of those of the true and the false positive rate (Hardt, Price & Srebro 2016).
    EqualisedOdds,
}

impl Disparity {
    /// The largest difference between two of the groups, by group of each row from 0.
    ///
    /// Interval: Newcombe's (1998, method 10) for each two groups, as the difference's size, at Bonferroni's correction
    /// over them; of these the largest of the lower and of the upper ends. With two groups it covers as often as is
    /// asked for; with more, at least as often.
    ///
    /// # Errors
    /// A row that has no class; that a group has no row that the rate is of.
    pub fn estimate(
        self,
        sample: &Sample<'_>,
        groups: &[usize],
        confidence: f64,
    ) -> Result<Estimate, StatisticsError> {
        self.of_counts(&by_group(sample, groups)?, confidence)
    }

    /// The same, from the rows of each group by label and answer.
    ///
    /// # Errors
    /// That there are fewer than two groups, or that one has no row that the rate is of.
    pub fn of_counts(
        self,
        counts: &[TwoByTwo],
        confidence: f64,
    ) -> Result<Estimate, StatisticsError> {
        if counts.len() < 2 {
            return Err(StatisticsError::Undefined {
                what: "there are fewer than two groups",
            });
        }
        let rates = self.rates();
        let pairs = float(rates.len() * counts.len() * (counts.len() - 1) / 2);
        let corrected = 1.0 - (1.0 - confidence) / pairs;
        let mut found = Estimate {
            value: 0.0,
            interval: None,
        };
        let mut widest: Option<Interval> = None;
        for rate in rates {
            for (at, one) in counts.iter().enumerate() {
                for other in &counts[..at] {
                    let undefined = StatisticsError::Undefined {
                        what: "a group has no row that the rate is of",
                    };
                    let apart = difference(rate(*one), rate(*other), corrected).ok_or(undefined)?;
                    found.value = found.value.max(apart.value.abs());
                    let Interval { lower, upper } = apart.interval;
                    let size = Interval {
                        lower: lower.max(-upper).max(0.0),
                        upper: upper.abs().max(lower.abs()),
                    };
                    widest = Some(widest.map_or(size, |widest| Interval {
                        lower: widest.lower.max(size.lower),
                        upper: widest.upper.max(size.upper),
                    }));
                }
            }
        }
        found.interval = widest;
        Ok(found)
    }

    /// The two groups whose rates are furthest apart: the one with the lower rate, and the one with the higher.
    pub fn furthest(self, counts: &[TwoByTwo]) -> [usize; 2] {
        let mut furthest = ([0, 1], f64::NEG_INFINITY);
        for rate in self.rates() {
            let share = |(group, of): (usize, &TwoByTwo)| Some((group, rate(*of).value()?));
            let shares: Vec<(usize, f64)> = counts.iter().enumerate().filter_map(share).collect();
            let by_share = |one: &&(usize, f64), other: &&(usize, f64)| one.1.total_cmp(&other.1);
            let ends = (
                shares.iter().min_by(by_share),
                shares.iter().max_by(by_share),
            );
            let (Some((low, least)), Some((high, most))) = ends else {
                continue;
            };
            if most - least > furthest.1 {
                furthest = ([*low, *high], most - least);
            }
        }
        furthest.0
    }

    fn rates(self) -> &'static [fn(TwoByTwo) -> Proportion] {
        match self {
            Self::DemographicParity => &[TwoByTwo::selected],
            Self::EqualOpportunity => &[TwoByTwo::true_positive_rate],
            Self::EqualisedOdds => &[TwoByTwo::true_positive_rate, TwoByTwo::false_positive_rate],
        }
    }
}

/// `demographicParity`, `equalOpportunity`, `equalisedOdds`.
impl Display for Disparity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::DemographicParity => "demographicParity",
            Self::EqualOpportunity => "equalOpportunity",
            Self::EqualisedOdds => "equalisedOdds",
        })
    }
}

impl FromStr for Disparity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [
            Self::DemographicParity,
            Self::EqualOpportunity,
            Self::EqualisedOdds,
        ];
        let found = all.into_iter().find(|one| one.to_string() == text);
        found.ok_or_else(|| {
            format!(
                "'{text}' is not a difference between groups; accepted are {}",
                all.map(|one| one.to_string()).join(", ")
            )
        })
    }
}

fn by_group(sample: &Sample<'_>, groups: &[usize]) -> Result<Vec<TwoByTwo>, StatisticsError> {
    if groups.len() != sample.rows() {
        return Err(StatisticsError::Length {
            labels: sample.rows(),
            predictions: groups.len(),
        });
    }
    sample.check(Accepts::Scores)?;
    let mut counts = vec![TwoByTwo::default(); groups.iter().max().map_or(0, |most| most + 1)];
    for (row, group) in sample.all().zip(groups) {
        counts[*group].add(&row);
    }
    Ok(counts)
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact by construction
mod tests {
    use super::*;

    #[test]
    fn groups_that_are_treated_alike_do_not_differ() {
        let labels = [1.0, 0.0, 1.0, 0.0];
        let sample = Sample::new(&labels, &[0.9, 0.1, 0.9, 0.1]);
        for disparity in [
            Disparity::DemographicParity,
            Disparity::EqualOpportunity,
            Disparity::EqualisedOdds,
        ] {
            let found = disparity
                .estimate(&sample, &[0, 0, 1, 1], 0.95)
                .expect("a value");
            assert_eq!(found.value, 0.0);
            assert_eq!(found.interval.expect("one").lower, 0.0);
        }
        assert_eq!("equalOpportunity".parse(), Ok(Disparity::EqualOpportunity));
        assert!("parity".parse::<Disparity>().is_err());
        let one_group = Disparity::EqualOpportunity.estimate(&sample, &[0; 4], 0.95);
        assert!(matches!(one_group, Err(StatisticsError::Undefined { .. })));
        let apart = Sample::new(&labels, &[0.1, 0.1, 0.9, 0.1]);
        let counts = by_group(&apart, &[1, 1, 0, 0]).expect("counts");
        assert_eq!(Disparity::EqualOpportunity.furthest(&counts), [1, 0]);
        let without_positives = Disparity::EqualOpportunity.estimate(&sample, &[0, 1, 0, 1], 0.95);
        assert!(matches!(
            without_positives,
            Err(StatisticsError::Undefined { .. })
        ));
    }
}
