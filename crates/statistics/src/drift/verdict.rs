//! What a window is, of what was found of it; and whether windows together are reason to act.

use serde::{Deserialize, Serialize};

use super::decide::Column;
use crate::float;

/// What a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// No column has drifted, and there were rows enough to tell.
    Healthy,
    /// Columns have drifted, and fewer than it takes.
    Drifting,
    /// As many columns have drifted as it takes, or more.
    Drifted,
    /// Too few independent rows to tell: not the same as no drift.
    NotEnoughData,
    /// What came in is not what the columns are: a person is asked, and no training helps.
    DataBroken,
}

/// What was found of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen<'a> {
    /// Its columns, as [`super::decide::judge`] has them.
    pub columns: &'a [Column],
    /// Whether the data are broken.
    pub is_broken: bool,
    /// How many independent rows it is worth: rows by the largest design effect of its columns.
    pub effective_rows: f64,
}

/// When columns together are drift, and windows together are reason to act.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trigger {
    /// The least independent rows of a window that can be told from.
    pub min_rows: f64,
    /// The least share of the columns, above 0.
    pub drifted_share: f64,
    /// k: this many windows that have drifted.
    pub windows: usize,
    /// m: of so many of the newest that could be told from; at least k.
    pub out_of: usize,
}

impl Trigger {
    /// What a window is.
    ///
    /// Broken data come first: how far a column has moved whose unit has changed says nothing of the world. A column that
    /// has drifted in too few rows has not been shown to.
    pub fn verdict(&self, seen: Seen<'_>) -> Verdict {
        let drifted = seen.columns.iter().filter(|one| one.has_drifted).count();
        if seen.is_broken {
            Verdict::DataBroken
        } else if seen.columns.is_empty() || seen.effective_rows < self.min_rows {
            Verdict::NotEnoughData
        } else if drifted == 0 {
            Verdict::Healthy
        // A share of 0.3 of 10 columns is 3 of them, whatever 0.3 * 10 is in binary.
        } else if float(drifted) + 1e-9 < self.drifted_share * float(seen.columns.len()) {
            Verdict::Drifting
        } else {
            Verdict::Drifted
        }
    }

    /// Whether there is reason to act: the newest window that could be told from has drifted, and so have k of the m newest
    /// of these. Windows of broken or too few data speak neither for nor against.
    pub fn is_met(&self, newest_first: impl IntoIterator<Item = Verdict>) -> bool {
        let mut told = newest_first
            .into_iter()
            .filter(|verdict| verdict.is_told())
            .map(|verdict| verdict == Verdict::Drifted)
            .take(self.out_of.max(self.windows))
            .peekable();
        told.peek() == Some(&true)
            && told.filter(|has_drifted| *has_drifted).count() >= self.windows
    }
}

impl Verdict {
    /// Whether there were data that one could tell from.
    pub fn is_told(self) -> bool {
        match self {
            Self::Healthy | Self::Drifting | Self::Drifted => true,
            Self::NotEnoughData | Self::DataBroken => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{DataBroken, Drifted, Drifting, Healthy, NotEnoughData};
    use super::*;

    const TRIGGER: Trigger = Trigger {
        min_rows: 500.0,
        drifted_share: 0.3,
        windows: 2,
        out_of: 3,
    };

    fn columns(drifted: usize, all: usize) -> Vec<Column> {
        let column = |at| Column {
            column: format!("c{at}"),
            value: 0.0,
            lower: 0.0,
            threshold: 0.2,
            p_value: 1.0,
            has_drifted: at < drifted,
            is_beside: false,
        };
        (0..all).map(column).collect()
    }

    #[test]
    fn a_window_is_what_its_columns_make_of_it() {
        for (what, drifted, all, is_broken, effective_rows, expected) in [
            ("nothing drifted", 0, 10, false, 500.0, Healthy),
            ("one of ten", 1, 10, false, 500.0, Drifting),
            ("three of ten", 3, 10, false, 500.0, Drifted),
            ("29 of a hundred", 29, 100, false, 500.0, Drifting),
            ("thirty of a hundred", 30, 100, false, 500.0, Drifted),
            ("one of one", 1, 1, false, 500.0, Drifted),
            ("too few rows, quiet", 0, 10, false, 499.0, NotEnoughData),
            ("too few rows, loud", 9, 10, false, 499.0, NotEnoughData),
            ("no columns", 0, 0, false, 1e6, NotEnoughData),
            ("broken and drifted", 9, 10, true, 1e6, DataBroken),
            ("broken and few", 0, 10, true, 0.0, DataBroken),
            ("no number of rows", 0, 10, false, 0.0, NotEnoughData),
        ] {
            let columns = columns(drifted, all);
            let seen = Seen {
                columns: &columns,
                is_broken,
                effective_rows,
            };
            assert_eq!(TRIGGER.verdict(seen), expected, "{what}");
        }
    }

    #[test]
    fn windows_persist_by_k_of_the_m_newest_that_could_be_told_from() {
        for (what, newest_first, expected) in [
            ("none", &[][..], false),
            ("once", &[Drifted], false),
            ("twice", &[Drifted, Drifted], true),
            (
                "with a quiet one between",
                &[Drifted, Healthy, Drifted],
                true,
            ),
            (
                "with two between",
                &[Drifted, Healthy, Healthy, Drifted],
                false,
            ),
            (
                "too long ago",
                &[Drifted, Healthy, Drifting, Drifted],
                false,
            ),
            ("it is over", &[Healthy, Drifted, Drifted], false),
            ("fewer columns now", &[Drifting, Drifted, Drifted], false),
            (
                "without data between",
                &[Drifted, NotEnoughData, DataBroken, NotEnoughData, Drifted],
                true,
            ),
            ("without data now", &[NotEnoughData, Drifted, Drifted], true),
            ("never enough", &[NotEnoughData, DataBroken], false),
            ("columns only", &[Drifting, Drifting, Drifting], false),
        ] {
            assert_eq!(
                TRIGGER.is_met(newest_first.iter().copied()),
                expected,
                "{what}"
            );
        }
        let alone = Trigger {
            windows: 1,
            out_of: 1,
            ..TRIGGER
        };
        assert!(alone.is_met([Drifted, Healthy]) && !alone.is_met([Healthy, Drifted]));
    }
}
