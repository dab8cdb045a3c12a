//! Columns of a window against those of a reference: how far each is, and which have drifted.

use std::collections::BTreeSet;

use windlass_statistics::drift::bounded::Bounded;
use windlass_statistics::drift::classifier::{self, MIN_UNITS, Told};
use windlass_statistics::drift::column::{Category, Measured, kept, of_category, of_number};
use windlass_statistics::drift::decide::{Asked, Rule, judge};
use windlass_statistics::drift::embedding::{self, Embeddings};
use windlass_statistics::drift::method::Method;
use windlass_statistics::drift::{Effect, text, words};
use windlass_statistics::mean::Mean;
use windlass_statistics::psi::Categories;

use super::own::{OwnWindows, Spreads};
use super::results::{Cell, ColumnResult, Kind};
use super::sides::{Held, Side, SideColumn, pooled};
use crate::profile::PREDICTION;
use crate::profile::document::finite;

/// How many levels are shown side by side; those that are rarer in the reference are one.
const SHOWN_LEVELS: usize = 30;

/// By what distance a column is judged, and what it has to pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// The distance.
    pub method: Method,
    /// What its bound has to pass.
    pub threshold: f64,
}

/// A column that was measured.
struct Compared {
    name: String,
    kind: Kind,
    measured: Measured,
    threshold: f64,
    moved: String,
    cells: Vec<Cell>,
    design_effects: [f64; 2],
}

/// What was found of columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Those that were compared, ranked.
    pub columns: Vec<ColumnResult>,
    /// Those that could not be.
    pub left_out: Vec<LeftOut>,
}

/// A column that both have and that could not be compared.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftOut {
    /// Its name.
    pub column: String,
    /// Why, in words.
    pub why: String,
}

/// Compares all columns that both have, each by its limit, and where windows of the reference are known, as these lie from each
/// other. One that is a number in one and a category in the other is left out: that is a finding.
pub fn compare(
    [reference, window]: [&Side; 2],
    own: Option<&OwnWindows<'_>>,
    limit: impl Fn(&str, Kind) -> Limit,
    rule: Rule,
) -> Found {
    let mut compared = Vec::new();
    let mut left_out = Vec::new();
    for old in &reference.columns {
        let Some(new) = window.column(&old.name) else {
            continue;
        };
        if old.held.kind() == new.held.kind() {
            let limit = limit(&old.name, old.held.kind());
            match one(old, new, limit) {
                Ok(mut one) => {
                    let spreads = own
                        .map_or_else(Spreads::default, |own| own.spreads(&old.name, limit.method));
                    one.measured = spreads.widened(one.measured);
                    compared.push(one);
                }
                Err(why) => left_out.push(LeftOut {
                    column: old.name.clone(),
                    why,
                }),
            }
        }
    }
    let asked: Vec<Asked> = compared
        .iter()
        .map(|one| one.measured.asked(&one.name, one.threshold))
        .collect();
    let judged = judge(&asked, rule);
    let ranked = judged.into_iter().filter_map(|judged| {
        let place = compared.iter().position(|one| one.name == judged.column)?;
        let of = compared.swap_remove(place);
        Some(ColumnResult {
            column: of.name,
            kind: of.kind,
            method: if judged.is_beside {
                Method::MeanShift
            } else {
                of.measured.method
            },
            value: finite(judged.value),
            lower: finite(judged.lower),
            threshold: judged.threshold,
            p_value: finite(judged.p_value),
            drifted: judged.has_drifted,
            moved: of.moved,
            mean_shift: of.measured.mean_shift.map(finite),
            design_effects: of.design_effects,
            cells: of.cells,
        })
    });
    Found {
        columns: ranked.collect(),
        left_out,
    }
}

/// A column of both. It holds the same in either.
///
/// # Errors
/// Why nothing can be said of it.
fn one(old: &SideColumn, new: &SideColumn, limit: Limit) -> Result<Compared, String> {
    let design_effects = [old, new].map(|side| side.worth.shares.of_shares);
    let with = |kind, measured: Measured, moved, cells| Compared {
        name: old.name.clone(),
        kind,
        measured,
        threshold: limit.threshold,
        moved,
        cells,
        design_effects,
    };
    let of_tables = measured(old, new, limit.method);
    match (&old.held, &new.held, of_tables) {
        (Held::Number { edges, mean, .. }, Held::Number { mean: new_mean, .. }, Some(measured)) => {
            let said = |mean: &Mean, side| words::Numbers {
                values: *mean,
                nulls: nulls(side),
            };
            let moved = words::of_number(&said(mean, old), &said(new_mean, new));
            let cells = bins(edges, &measured);
            Ok(with(Kind::Number, measured, moved, cells))
        }
        (Held::Category(levels), Held::Category(new_levels), Some(measured)) => {
            let [levels, new_levels] = levels_of([old, new], [levels, new_levels]);
            let moved = words::of_category(&levels, &new_levels);
            let kept = kept_of([old, new], [&levels, &new_levels]);
            let names: Vec<&str> = kept.into_iter().collect();
            let cells = of_levels(&names, &measured);
            Ok(with(Kind::Category, measured, moved, cells))
        }
        (Held::Text(sample), Held::Text(new_sample), _) => {
            let of = of_texts(sample, new_sample)?;
            Ok(of.column(&old.name, Kind::Text, limit))
        }
        (
            Held::Embedding { sums, sample },
            Held::Embedding {
                sums: new_sums,
                sample: new_sample,
            },
            _,
        ) => {
            let of = of_vectors([sums, new_sums], [sample, new_sample], limit.method)?;
            Ok(of.column(&old.name, Kind::Embedding, limit))
        }
        _ => Err("it does not hold what it held".to_owned()),
    }
}

/// Rows without a value, as they are compared. A request that failed has no answer: the roll-out's business, not drift.
fn nulls(side: &SideColumn) -> u64 {
    if side.name == PREDICTION {
        0
    } else {
        side.nulls
    }
}

/// Levels of the reference, and of the window under its names.
fn levels_of(sides: [&SideColumn; 2], [old, new]: [&Categories; 2]) -> [Categories; 2] {
    let mut levels = [old.clone(), pooled(old, new)];
    for (levels, side) in levels.iter_mut().zip(sides) {
        if side.name == PREDICTION {
            levels.nulls = 0;
        }
    }
    levels
}

fn categories<'a>(
    [old, new]: [&SideColumn; 2],
    [levels, new_levels]: [&'a Categories; 2],
) -> [Category<'a>; 2] {
    [(old, levels), (new, new_levels)].map(|(side, levels)| Category {
        levels,
        worth: side.design_effect(),
    })
}

fn kept_of<'a>(sides: [&SideColumn; 2], levels: [&'a Categories; 2]) -> BTreeSet<&'a str> {
    let [old, new] = categories(sides, levels);
    kept(&old, &new)
}

/// How far numbers or names are from those of a reference; absent of other columns.
pub fn measured(old: &SideColumn, new: &SideColumn, method: Method) -> Option<Measured> {
    match (&old.held, &new.held) {
        (
            Held::Number { edges, ranks, mean },
            Held::Number {
                ranks: new_ranks,
                mean: new_mean,
                ..
            },
        ) => Some(of_number(
            &old.number(ranks, mean, nulls(old)),
            &new.number(new_ranks, new_mean, nulls(new)),
            edges,
            method,
        )),
        (Held::Category(levels), Held::Category(new_levels)) => {
            let levels = levels_of([old, new], [levels, new_levels]);
            let levels = [&levels[0], &levels[1]];
            let kept = kept_of([old, new], levels);
            let [old, new] = categories([old, new], levels);
            Some(of_category(&old, &new, &kept, method))
        }
        (Held::Number { .. } | Held::Category(_) | Held::Text(_) | Held::Embedding { .. }, _) => {
            None
        }
    }
}

/// What was found of rows that are in no cells.
struct OfRows {
    method: Method,
    effect: Effect,
    moved: String,
    design_effects: [f64; 2],
}

impl OfRows {
    /// What a classifier told.
    fn told(told: &Told, moved: String) -> Self {
        Self {
            method: Method::DomainClassifier,
            effect: told.effect,
            moved,
            design_effects: [told.design_effect; 2],
        }
    }

    fn column(self, name: &str, kind: Kind, limit: Limit) -> Compared {
        Compared {
            name: name.to_owned(),
            kind,
            measured: Measured {
                method: self.method,
                effect: self.effect,
                shift: None,
                mean_shift: None,
                cells: Vec::new(),
            },
            threshold: limit.threshold,
            moved: self.moved,
            cells: Vec::new(),
            design_effects: self.design_effects,
        }
    }
}

fn of_texts(old: &Bounded<String>, new: &Bounded<String>) -> Result<OfRows, String> {
    let moved = text::compare(old, new).ok_or_else(|| too_few(old, new))?;
    let said = format!("{}: {}", moved.told.words(), moved.words());
    Ok(OfRows::told(&moved.told, said))
}

fn of_vectors(
    [old, new]: [&Embeddings; 2],
    [old_rows, new_rows]: [&Bounded<Vec<f32>>; 2],
    method: Method,
) -> Result<OfRows, String> {
    if old.width() != new.width() {
        let (new, old) = (new.width(), old.width());
        return Err(format!("its vectors have {new} numbers, and had {old}"));
    }
    let by_mean = embedding::distance(old, new);
    if method == Method::DomainClassifier {
        let told = classifier::of_vectors(old_rows, new_rows);
        let told = told.ok_or_else(|| too_few(old_rows, new_rows))?;
        let said = by_mean.map_or_else(String::new, |moved| format!(": {}", moved.words()));
        return Ok(OfRows::told(&told, format!("{}{said}", told.words())));
    }
    let moved = by_mean.ok_or(
        "its vectors are all the same in the reference, or of too few units on either side",
    )?;
    Ok(OfRows {
        method: Method::MeanEmbedding,
        effect: moved.effect,
        moved: moved.words(),
        design_effects: moved.design_effects,
    })
}

fn too_few<T>(old: &Bounded<T>, new: &Bounded<T>) -> String {
    let (old, new) = (old.rows().len(), new.rows().len());
    if old.min(new) >= MIN_UNITS {
        return format!(
            "{old} rows of the reference and {new} of the window are of fewer than {MIN_UNITS} independent units on either side, or the same on both"
        );
    }
    format!(
        "{old} rows of the reference and {new} of the window are kept for a classifier, and it takes {MIN_UNITS} independent ones of either; fewer segments or columns leave room for more"
    )
}

fn bins(edges: &[f64], measured: &Measured) -> Vec<Cell> {
    let from = std::iter::once(None).chain(edges.iter().copied().map(Some));
    let to = edges.iter().copied().map(Some).chain([None]);
    let mut ends = from.zip(to);
    let cells = measured.cells.iter();
    let cell = |[reference, window]: &[u64; 2]| {
        let (from, to, name) = match ends.next() {
            Some((None, None)) => (None, None, "all".to_owned()),
            Some((None, Some(to))) => (None, Some(to), format!("< {}", words::short(to))),
            Some((Some(from), None)) => (Some(from), None, format!("≥ {}", words::short(from))),
            Some((Some(from), Some(to))) => {
                let name = format!("[{}, {})", words::short(from), words::short(to));
                (Some(from), Some(to), name)
            }
            None => (None, None, NO_VALUE.to_owned()),
        };
        Cell {
            name,
            from,
            to,
            reference: *reference,
            window: *window,
        }
    };
    cells.map(cell).collect()
}

const NO_VALUE: &str = "no value";

fn of_levels(kept: &[&str], measured: &Measured) -> Vec<Cell> {
    let cell = |name: &str, [reference, window]: [u64; 2]| Cell {
        name: name.to_owned(),
        from: None,
        to: None,
        reference,
        window,
    };
    let mut cells = measured.cells.iter().copied();
    let named = kept.iter().zip(cells.by_ref());
    let mut levels: Vec<Cell> = named.map(|(name, rows)| cell(name, rows)).collect();
    levels.sort_by(|one, other| {
        let by_count = other.reference.cmp(&one.reference);
        by_count.then_with(|| one.name.cmp(&other.name))
    });
    let mut others = cells.next().unwrap_or_default();
    for rare in levels.drain(SHOWN_LEVELS.min(levels.len())..) {
        others = [others[0] + rare.reference, others[1] + rare.window];
    }
    levels.push(cell("all others", others));
    levels.push(cell(NO_VALUE, cells.next().unwrap_or_default()));
    levels
}
