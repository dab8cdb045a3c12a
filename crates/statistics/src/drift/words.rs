//! What moved, in words: "temp: mean 3.1 → 24.8, PSI 7.9".

use super::decide::Column;
use super::quality::{Finding, Problem};
use crate::float;
use crate::mean::Mean;
use crate::psi::Categories;

/// A mean that has moved by fewer deviations than this is not what moved.
const NOTABLE_SHIFT: f64 = 0.1;
/// By what factor a deviation has to change to be what moved.
const NOTABLE_FACTOR: f64 = 1.1;
/// A share of rows without a value that has changed by this much is what moved.
const NOTABLE_NULLS: f64 = 0.1;
/// How many levels are named.
const NAMED: usize = 3;

/// A number's values, and rows without one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Numbers {
    /// Of its values.
    pub values: Mean,
    /// Rows without a value.
    pub nulls: u64,
}

impl Numbers {
    fn null_share(&self) -> f64 {
        share(self.nulls, self.values.count + self.nulls)
    }
}

/// How a number has moved: rows without a value where these have, else the mean where it has, else the deviation; "shape"
/// where neither has.
pub fn of_number(reference: &Numbers, window: &Numbers) -> String {
    let (before, after) = (reference.null_share(), window.null_share());
    if (after - before).abs() >= NOTABLE_NULLS {
        return format!("no value {} → {}", percent(before), percent(after));
    }
    let (Some(old), Some(new)) = (reference.values.value(), window.values.value()) else {
        return "no value".to_owned();
    };
    let (spread, new_spread) = (
        reference.values.standard_deviation(),
        window.values.standard_deviation(),
    );
    let factor = (new_spread / spread).max(spread / new_spread);
    if (new - old).abs() > NOTABLE_SHIFT * spread {
        format!("mean {} → {}", short(old), short(new))
    } else if factor >= NOTABLE_FACTOR {
        format!(
            "standard deviation {} → {}",
            short(spread),
            short(new_spread)
        )
    } else {
        format!("shape (mean {} → {})", short(old), short(new))
    }
}

/// How a category has moved: the level (or no value) whose share has changed most, and up to three that are new.
pub fn of_category(reference: &Categories, window: &Categories) -> String {
    let of = |side: &Categories, level: &str| {
        share(side.levels.get(level).copied().unwrap_or(0), side.rows())
    };
    let nulls = (
        share(reference.nulls, reference.rows()),
        share(window.nulls, window.rows()),
    );
    let levels = reference.levels.keys().chain(window.levels.keys());
    let all = levels
        .map(|level| {
            (
                of(reference, level),
                of(window, level),
                format!("'{level}'"),
            )
        })
        .chain([(nulls.0, nulls.1, "no value".to_owned())]);
    let most = all.max_by(|one, other| (one.1 - one.0).abs().total_cmp(&(other.1 - other.0).abs()));
    let most = most.map_or_else(String::new, |(before, after, level)| {
        format!("{level} {} → {}", percent(before), percent(after))
    });
    let mut new: Vec<(&String, &u64)> = window
        .levels
        .iter()
        .filter(|(level, rows)| **rows > 0 && !reference.levels.contains_key(*level))
        .collect();
    new.sort_by(|one, other| other.1.cmp(one.1).then_with(|| one.0.cmp(other.0)));
    let names: Vec<&str> = new.into_iter().map(|(level, _)| level.as_str()).collect();
    if names.is_empty() {
        most
    } else {
        format!("{most}, new: {}", named(&names))
    }
}

/// A column's line: its name, what moved, and how far by what distance.
pub fn line(column: &Column, moved: &str, distance: &str) -> String {
    format!(
        "{}: {moved}, {distance} {}",
        column.column,
        short(column.value)
    )
}

/// A finding about the data.
pub fn of_finding(finding: &Finding) -> String {
    let column = finding.column.as_deref();
    let before_and_after = || {
        let interval = finding.interval;
        format!(
            "{} → {} of rows ({} to {})",
            percent(finding.before),
            percent(finding.value),
            percent(interval.lower),
            percent(interval.upper)
        )
    };
    let expected = || {
        let Finding {
            before, interval, ..
        } = finding;
        format!(
            "usual {}, expected {} to {}",
            short(*before),
            short(interval.lower),
            short(interval.upper)
        )
    };
    let names = |levels: &[String]| named(&levels.iter().map(String::as_str).collect::<Vec<_>>());
    let said = match &finding.problem {
        Problem::Missing => format!("no value in {}", before_and_after()),
        Problem::OtherType => format!("not of its type: {}", before_and_after()),
        Problem::NewLevels(levels) => {
            format!(
                "new levels {} in {} of rows",
                names(levels),
                percent(finding.value)
            )
        }
        Problem::LostLevels(levels) => format!(
            "levels {} are gone, which were {} of rows",
            names(levels),
            percent(finding.before)
        ),
        Problem::BelowRange => format!("below all of the reference: {}", before_and_after()),
        Problem::AboveRange => format!("above all of the reference: {}", before_and_after()),
        Problem::UnitChanged { conversion, .. } => format!(
            "looks like another unit, {conversion}, in {} of rows ({} to {})",
            percent(finding.value),
            percent(finding.interval.lower),
            percent(finding.interval.upper)
        ),
        Problem::Constant => format!(
            "one value in all rows; the most frequent was {} of them",
            percent(finding.before)
        ),
        Problem::Duplicates => format!("duplicates: {}", before_and_after()),
        Problem::Stale => format!("newest row {} s old ({})", short(finding.value), expected()),
        Problem::Volume => format!("{} rows ({})", short(finding.value), expected()),
    };
    column.map_or(said.clone(), |column| format!("{column}: {said}"))
}

fn named(levels: &[&str]) -> String {
    let first: Vec<String> = levels
        .iter()
        .take(NAMED)
        .map(|level| format!("'{level}'"))
        .collect();
    let more = levels.len().saturating_sub(NAMED);
    if more > 0 {
        format!("{} and {more} more", first.join(", "))
    } else {
        first.join(", ")
    }
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 {
        0.0
    } else {
        float(part) / float(all)
    }
}

/// A share, to as many digits as tell it from none and from all.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let from_an_end = percent.min(100.0 - percent);
    if from_an_end <= 0.0 || from_an_end >= 10.0 {
        format!("{percent:.0}%")
    } else if from_an_end >= 0.05 {
        format!("{percent:.1}%")
    } else {
        format!("{percent:.3}%")
    }
}

/// A number to about three digits, for people.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || (100.0..1e6).contains(&size) => format!("{value:.0}"),
        size if (0.95..100.0).contains(&size) => format!("{value:.1}"),
        size if (0.001..0.95).contains(&size) => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Interval;
    use crate::drift::method::Method;

    fn numbers(values: &[f64], nulls: u64) -> Numbers {
        Numbers {
            values: values.iter().copied().collect(),
            nulls,
        }
    }

    fn categories(levels: &[(&str, u64)], nulls: u64) -> Categories {
        let levels = levels.iter();
        Categories {
            levels: levels
                .map(|(level, rows)| ((*level).to_owned(), *rows))
                .collect(),
            nulls,
        }
    }

    #[test]
    fn a_number_says_what_of_it_moved() {
        let old = numbers(&[2.1, 3.1, 4.1], 0);
        for (what, window, expected) in [
            ("mean", numbers(&[24.0, 24.8, 25.6], 0), "mean 3.1 → 24.8"),
            (
                "spread",
                numbers(&[0.1, 3.1, 6.1], 0),
                "standard deviation 1.0 → 3.0",
            ),
            ("nulls", numbers(&[2.1, 4.1], 2), "no value 0% → 50%"),
            ("all null", numbers(&[], 2), "no value 0% → 100%"),
            (
                "neither",
                numbers(&[2.1, 3.1, 4.1], 0),
                "shape (mean 3.1 → 3.1)",
            ),
        ] {
            assert_eq!(of_number(&old, &window), expected, "{what}");
        }
        assert_eq!(of_number(&numbers(&[], 0), &numbers(&[1.0], 0)), "no value");
        let constant = numbers(&[5.0; 4], 0);
        assert_eq!(
            of_number(&constant, &numbers(&[6.0; 4], 0)),
            "mean 5.0 → 6.0"
        );
    }

    #[test]
    fn a_category_names_the_level_that_moved_and_those_that_are_new() {
        let old = categories(&[("a", 90), ("b", 10)], 0);
        for (window, expected) in [
            (categories(&[("a", 50), ("b", 50)], 0), "'b' 10% → 50%"),
            (
                categories(&[("a", 90), ("b", 10)], 100),
                "no value 0% → 50%",
            ),
            (
                categories(
                    &[("a", 40), ("v", 1), ("w", 2), ("x", 50), ("y", 3), ("z", 4)],
                    0,
                ),
                "'x' 0% → 50%, new: 'x', 'z', 'y' and 2 more",
            ),
        ] {
            let found = of_category(&old, &window);
            // Both of two levels have moved as far: either is right.
            assert!(found == expected || found == "'a' 90% → 50%", "{found}");
        }
    }

    #[test]
    fn a_line_has_the_column_what_moved_and_how_far() {
        let column = Column {
            column: "temp".to_owned(),
            value: 7.93,
            lower: 7.1,
            threshold: 0.2,
            p_value: 0.0,
            has_drifted: true,
            is_beside: false,
        };
        let said = line(&column, "mean 3.1 → 24.8", Method::Psi.title());
        assert_eq!(said, "temp: mean 3.1 → 24.8, PSI 7.9");
    }

    #[test]
    fn a_finding_says_what_is_wrong_and_how_sure_that_is() {
        let finding = |column: Option<&str>, problem, value, (lower, upper), before| {
            of_finding(&Finding {
                column: column.map(str::to_owned),
                problem,
                value,
                interval: Interval { lower, upper },
                before,
                p_value: 0.0,
            })
        };
        assert_eq!(
            finding(Some("age"), Problem::Missing, 0.2, (0.161, 0.245), 0.03),
            "age: no value in 3.0% → 20% of rows (16% to 24%)"
        );
        let unit = Problem::UnitChanged {
            conversion: "°C to °F".to_owned(),
            scale: 1.8,
            offset: 32.0,
        };
        assert_eq!(
            finding(Some("temp"), unit, 1.0, (0.983, 1.0), 0.0),
            "temp: looks like another unit, °C to °F, in 100% of rows (98.3% to 100%)"
        );
        assert_eq!(
            finding(None, Problem::Volume, 120.0, (870.0, 1170.0), 1011.6),
            "120 rows (usual 1012, expected 870 to 1170)"
        );
        let gone = Problem::LostLevels(["b", "c", "d", "e"].map(str::to_owned).to_vec());
        assert_eq!(
            finding(Some("city"), gone, 0.0, (0.0, 0.01), 0.3),
            "city: levels 'b', 'c', 'd' and 1 more are gone, which were 30% of rows"
        );
    }

    #[test]
    fn shares_near_an_end_are_told_from_it() {
        let all = [0.0, 0.0002, 0.004, 0.12, 0.5, 0.96, 0.9996, 1.0].map(percent);
        assert_eq!(
            all,
            [
                "0%", "0.020%", "0.4%", "12%", "50%", "96.0%", "99.960%", "100%"
            ]
        );
    }
}
