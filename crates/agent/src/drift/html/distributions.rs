//! Both distributions of a column side by side: a pair of bars for each bin or level.
//!
//! ```text
//!        [0, 10)  ▭▭▭▭▭▭▭▭▭▭▭▭▭   30% → 5.0%      the reference is hollow, the window filled
//!                 ■■
//!       no value  ▭               1.0% → 40%
//!                 ■■■■■■■■■■■■■
//! ```

use std::borrow::Cow;
use std::fmt::Write as _;

use super::super::results::{Cell, ColumnResult};
use super::super::saying::{self, Shares};
use super::{DRAWN, NAME, OTHERS_DRAWN, cut, distance, named, written};
use crate::lineage::visible;
use crate::page::escape;
use crate::page::fit;

/// Bins that are drawn, at most; of more, neighbours are drawn as one.
const BINS: usize = 24;
/// Levels that are drawn, at most: those that moved most.
const LEVELS: usize = 12;
/// Widths and heights, in the plot's own units; a browser scales it.
const WIDTH: f64 = 420.0;
const LABEL: f64 = 150.0;
const BARS: f64 = 158.0;
const LONGEST: f64 = 160.0;
const ROW: f64 = 25.0;
/// Labels are smaller than those that [`fit`] reckons with.
const ROOM: f64 = LABEL * 14.0 / 12.0;

/// The places of the columns that are drawn: those that drifted, and the first of the others.
pub fn drawn(columns: &[ColumnResult]) -> Vec<usize> {
    let places = |drifted: bool| {
        let all = columns.iter().enumerate();
        all.filter(move |(_, column)| column.drifted == drifted && !column.cells.is_empty())
            .map(|(at, _)| at)
    };
    let mut drawn: Vec<usize> = places(true).take(DRAWN).collect();
    drawn.extend(places(false).take(OTHERS_DRAWN));
    drawn
}

/// The plots of these columns.
pub fn section(columns: &[ColumnResult], drawn: &[usize]) -> String {
    if drawn.is_empty() {
        return "<p>There are none to draw.</p>\n".to_owned();
    }
    let drifted = columns.iter().filter(|column| column.drifted).count();
    let shown = drawn
        .iter()
        .filter_map(|at| columns.get(*at))
        .filter(|column| column.drifted)
        .count();
    let which = if shown < drifted {
        format!(
            "Of {drifted} columns that drifted the first {shown} that have distributions are drawn"
        )
    } else {
        "All columns that drifted are drawn".to_owned()
    };
    let mut page = format!(
        "<p>{which}, and of the others the first {}.</p>\n{LEGEND}<div class=\"pairs\">\n",
        drawn.len() - shown
    );
    for at in drawn {
        if let Some(column) = columns.get(*at) {
            plot(&mut page, *at, column);
        }
    }
    page.push_str("</div>\n");
    page
}

const LEGEND: &str = "<p class=\"legend\"><svg class=\"key\" viewBox=\"0 0 34 14\" aria-hidden=\"true\"><path class=\"hollow\" d=\"M2 3h30v8h-30z\"/></svg> hollow: the reference. <svg class=\"key\" viewBox=\"0 0 34 14\" aria-hidden=\"true\"><path class=\"solid\" d=\"M2 3h30v8h-30z\"/></svg> filled: the window. The numbers are shares of all rows, reference → window.</p>\n";

/// A pair of bars.
struct Pair<'a> {
    label: Cow<'a, str>,
    /// Whether the label is of the data, or a word of this page's.
    is_own: bool,
    shares: [f64; 2],
}

fn plot(page: &mut String, at: usize, column: &ColumnResult) {
    let pairs = pairs(&column.cells);
    let longest = pairs.iter().flat_map(|pair| pair.shares);
    let longest = longest.fold(f64::MIN_POSITIVE, f64::max);
    let height = ROW * pairs.iter().map(|_| 1.0).sum::<f64>();
    let drifted = if column.drifted {
        "<strong>drifted</strong>: "
    } else {
        ""
    };
    let _ = write!(
        page,
        "<section aria-labelledby=\"c{at}\">\n<h3 id=\"c{at}\">{}</h3>\n<p>{drifted}{}; {}{}</p>\n<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Shares of rows of both\">\n<desc>{}</desc>\n",
        named(column),
        written(&column.moved),
        distance(column),
        related(column),
        described(&pairs)
    );
    let mut bars = [String::new(), String::new()];
    let mut top = 0.0;
    for pair in &pairs {
        let own = if pair.is_own { " own" } else { "" };
        let label = escape(&fit::cut(&visible(&pair.label), ROOM));
        let [reference, window] = pair.shares.map(saying::percent);
        let (label_y, share_x) = (top + 16.0, BARS + LONGEST + 8.0);
        let _ = writeln!(
            page,
            "<text class=\"end{own}\" x=\"{LABEL}\" y=\"{label_y}\">{label}</text><text x=\"{share_x}\" y=\"{label_y}\">{reference} → {window}</text>"
        );
        for (bar, (share, y)) in bars
            .iter_mut()
            .zip(pair.shares.into_iter().zip([top + 3.0, top + 13.0]))
        {
            let long = share / longest * LONGEST;
            let _ = write!(bar, "M{BARS} {y}h{long:.1}v8h-{long:.1}z");
        }
        top += ROW;
    }
    let [reference, window] = bars;
    let _ = write!(
        page,
        "<path class=\"hollow\" d=\"{reference}\"/><path class=\"solid\" d=\"{window}\"/>\n</svg>\n</section>\n"
    );
}

/// What rows that are not independent make of the evidence, where that is notable.
fn related(column: &ColumnResult) -> String {
    let [_, window] = column.design_effects;
    if window.is_finite() && window > 1.1 {
        format!("; rows are related: {window:.1} count as one")
    } else {
        String::new()
    }
}

/// The pairs that moved most, for whoever cannot see them.
fn described(pairs: &[Pair]) -> String {
    let moved = |pair: &Pair| (pair.shares[1] - pair.shares[0]).abs();
    let mut most: Vec<&Pair> = pairs.iter().collect();
    most.sort_by(|one, other| moved(other).total_cmp(&moved(one)));
    let words: Vec<String> = most
        .into_iter()
        .take(3)
        .map(|pair| {
            let [reference, window] = pair.shares.map(saying::percent);
            let label = escape(&cut(&pair.label, NAME));
            format!("{label} {reference} → {window}")
        })
        .collect();
    format!("What changed most: {}.", words.join("; "))
}

fn pairs(cells: &[Cell]) -> Vec<Pair<'_>> {
    let (values, none) = saying::parted(cells);
    let shares = Shares::of(cells);
    let is_bins = values
        .iter()
        .any(|cell| cell.from.is_some() || cell.to.is_some());
    let mut pairs = if is_bins {
        bins(values, shares)
    } else {
        levels(values, shares)
    };
    pairs.extend(none.map(|cell| Pair {
        label: Cow::Borrowed("no value"),
        is_own: true,
        shares: shares.each(cell),
    }));
    pairs
}

/// The bins in their order, neighbours together where there are many.
fn bins(values: &[Cell], shares: Shares) -> Vec<Pair<'_>> {
    let together = values.len().div_ceil(BINS).max(1);
    let pair = |cells: &[Cell]| -> Option<Pair<'static>> {
        let (first, last) = (cells.first()?, cells.last()?);
        let label = match (first.from, last.to) {
            _ if cells.len() == 1 => first.name.clone(),
            (Some(from), Some(to)) => {
                format!("[{}, {})", saying::distance(from), saying::distance(to))
            }
            (Some(from), None) => format!("≥ {}", saying::distance(from)),
            (None, Some(to)) => format!("< {}", saying::distance(to)),
            (None, None) => "all".to_owned(),
        };
        Some(Pair {
            label: Cow::Owned(label),
            is_own: false,
            shares: sum(cells, shares),
        })
    };
    values.chunks(together).filter_map(pair).collect()
}

/// The levels that moved most, in the order that they came in, and all others as one.
fn levels(values: &[Cell], shares: Shares) -> Vec<Pair<'_>> {
    let moved = |cell: &Cell| {
        let [reference, window] = shares.each(cell);
        (window - reference).abs()
    };
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|one, other| moved(&values[*other]).total_cmp(&moved(&values[*one])));
    let rest = order.split_off(order.len().min(LEVELS));
    order.sort_unstable();
    let mut pairs: Vec<Pair> = order
        .into_iter()
        .map(|at| Pair {
            label: match values[at].name.trim() {
                "" => Cow::Borrowed("(empty)"),
                _ => Cow::Borrowed(values[at].name.as_str()),
            },
            is_own: false,
            shares: shares.each(&values[at]),
        })
        .collect();
    if !rest.is_empty() {
        let others: Vec<Cell> = rest.iter().map(|at| values[*at].clone()).collect();
        pairs.push(Pair {
            label: Cow::Owned(format!("{} others", others.len())),
            is_own: true,
            shares: sum(&others, shares),
        });
    }
    pairs
}

fn sum(cells: &[Cell], shares: Shares) -> [f64; 2] {
    cells.iter().fold([0.0; 2], |all, cell| {
        let [reference, window] = shares.each(cell);
        [all[0] + reference, all[1] + window]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(name: &str, from: Option<f64>, to: Option<f64>, rows: [u64; 2]) -> Cell {
        Cell {
            name: name.to_owned(),
            from,
            to,
            reference: rows[0],
            window: rows[1],
        }
    }

    #[test]
    fn of_many_levels_those_are_drawn_that_moved_most_and_the_rest_as_one() {
        let mut cells: Vec<Cell> = (0..40)
            .map(|at| cell(&format!("l{at}"), None, None, [10, 10]))
            .collect();
        cells[3].window = 40;
        cells[30].window = 0;
        cells.push(cell("no value", None, None, [0, 20]));
        let pairs = pairs(&cells);
        let labels: Vec<&str> = pairs.iter().map(|pair| pair.label.as_ref()).collect();
        assert_eq!(pairs.len(), LEVELS + 2);
        assert!(
            labels.contains(&"l3") && labels.contains(&"l30"),
            "{labels:?}"
        );
        assert_eq!(&labels[LEVELS..], ["28 others", "no value"]);
        for side in 0..2 {
            let all: f64 = pairs.iter().map(|pair| pair.shares[side]).sum();
            assert!((all - 1.0).abs() < 1e-12, "{all}");
        }
    }

    #[test]
    fn many_bins_are_drawn_as_fewer_with_their_ends() {
        let edge = |at: u32| f64::from(at);
        let cells: Vec<Cell> = (0..60)
            .map(|at| {
                let (from, to) = ((at > 0).then(|| edge(at)), (at < 59).then(|| edge(at + 1)));
                cell("a bin", from, to, [1, 2])
            })
            .collect();
        let pairs = pairs(&cells);
        let labels: Vec<&str> = pairs.iter().map(|pair| pair.label.as_ref()).collect();
        assert_eq!(labels.len(), 20);
        assert_eq!(
            (labels[0], labels[1], labels[19]),
            ("< 3.0", "[3.0, 6.0)", "≥ 57.0")
        );
        assert!((pairs[0].shares[1] - 0.05).abs() < 1e-12);
    }

    #[test]
    fn all_that_drifted_are_drawn_and_twenty_others() {
        let column = |drifted| ColumnResult {
            drifted,
            ..super::super::tests::column("a")
        };
        let mut columns: Vec<ColumnResult> = (0..130).map(|_| column(true)).collect();
        columns.extend((0..50).map(|_| column(false)));
        let drawn = drawn(&columns);
        assert_eq!(drawn.len(), DRAWN + OTHERS_DRAWN);
        assert_eq!(drawn[DRAWN..][..2], [130, 131]);
        let page = section(&columns, &drawn);
        assert!(page.contains("Of 130 columns that drifted the first 100 that"));
    }
}
