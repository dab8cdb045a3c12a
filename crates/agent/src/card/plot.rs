//! A dot-and-whisker plot of one metric: a row for all rows and one for each segment.
//!
//! ```text
//!   rocAuc, higher is better        min 0.6
//!   all rows                           ¦              6000 rows
//!                                      ¦  ├────●────┤ ◇
//!   plan = 'x'                         ¦                   Fail
//!                                   ├──¦●───┤   ◇
//! ```
//!
//! A dot is the version, the whisker its interval, a hollow diamond the champion, a dashed line a gate's limit. Shapes and
//! not colours tell them apart. Each label stands above its whisker, so that the plot is as narrow as a phone.
//!
//! The axis is that of the rows that were judged: what lies beyond it is an arrow at the edge, so that a segment of a few
//! rows, or a limit that is far off, does not press all others together.

mod axis;

use std::fmt::Write as _;

use windlass_api::agent::Verdict;

use self::axis::{Axis, LEFT, axis};
use crate::lineage::visible;
use crate::page::escape;
use crate::page::fit::{cut, width, width_of};
use crate::page::number::number;

/// Widths and heights, in the plot's own units; a browser scales it.
const WIDTH: f64 = 420.0;
const TITLE: f64 = 16.0;
const LIMITS: f64 = 38.0;
const TOP: f64 = 46.0;
const ROW: f64 = 42.0;
const BOTTOM: f64 = 26.0;
/// From the top of a row to its label and to its whisker.
const LABEL: f64 = 16.0;
const WHISKER: f64 = 29.0;
/// Rows that a sheet of paper has room for; what has more is drawn in parts, each with its axis.
const ROWS: usize = 20;

/// A plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// Unique in the document, and of plain letters.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// The same in a sentence, for whoever cannot see it.
    pub description: String,
    /// The rows, from the top.
    pub rows: Vec<Row>,
    /// Limits of gates.
    pub limits: Vec<Limit>,
}

/// A row of a plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What rows of data it is of.
    pub label: String,
    /// How many these are, in words.
    pub rows: String,
    /// Whether they are enough to be judged.
    pub is_judged: bool,
    /// The value, where it is defined.
    pub value: Option<f64>,
    /// Its interval.
    pub interval: Option<[f64; 2]>,
    /// The champion's value.
    pub champion: Option<f64>,
    /// Whether its gates hold, where it has any.
    pub verdict: Option<Verdict>,
}

/// On which side of a limit it is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Above.
    Min,
    /// Below.
    Max,
}

/// A limit of a gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Which.
    pub bound: Bound,
    /// Where it is.
    pub at: f64,
    /// The number as it was written.
    pub written: String,
}

impl Limit {
    /// `min 0.7`.
    pub fn words(&self) -> String {
        let bound = match self.bound {
            Bound::Min => "min",
            Bound::Max => "max",
        };
        format!("{bound} {}", self.written)
    }
}

impl Plot {
    /// The plot as SVG elements, one for each twenty rows. Empty where no number is known.
    pub fn svg(&self) -> String {
        let Some(axis) = axis(&self.rows, &self.limits) else {
            return String::new();
        };
        let parts = self.rows.chunks(ROWS).enumerate();
        parts.map(|(at, rows)| self.part(at, rows, &axis)).collect()
    }

    fn part(&self, at: usize, rows: &[Row], axis: &Axis) -> String {
        let bottom = TOP + ROW * count(rows.len());
        let (first, all) = (at * ROWS, self.rows.len());
        let title = if all > ROWS {
            let (from, to) = (first + 1, first + rows.len());
            format!("{} (rows {from} to {to} of {all})", self.title)
        } else {
            self.title.clone()
        };
        let id = format!("{}-{at}", self.id);
        let mut drawing = Drawing {
            svg: String::new(),
            axis,
            bottom,
        };
        let _ = writeln!(
            drawing.svg,
            "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-labelledby=\"{id}-title\" aria-describedby=\"{id}-description\" xmlns=\"http://www.w3.org/2000/svg\">",
            bottom + BOTTOM
        );
        let _ = writeln!(
            drawing.svg,
            "<title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-description\">{}</desc>",
            escape(&title),
            escape(&self.description)
        );
        drawing.text("title", (0.0, TITLE), Anchor::Start, &title);
        drawing.ticks();
        for limit in &self.limits {
            drawing.limit(limit);
        }
        for (at, row) in rows.iter().enumerate() {
            drawing.row(row, TOP + ROW * count(at));
        }
        drawing.svg.push_str("</svg>\n");
        drawing.svg
    }
}

/// An SVG element that is being written.
struct Drawing<'a> {
    svg: String,
    axis: &'a Axis,
    /// Where the rows end.
    bottom: f64,
}

#[derive(Clone, Copy)]
enum Mark {
    /// This version.
    Dot,
    /// The champion.
    Diamond,
}

impl Drawing<'_> {
    fn ticks(&mut self) {
        let bottom = self.bottom;
        for (tick, words) in self.axis.ticks() {
            let x = self.axis.place(tick);
            let _ = writeln!(
                self.svg,
                "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>"
            );
            self.text("tick", (x, bottom + 18.0), Anchor::about(x), &words);
        }
    }

    /// A line; one that is beyond the axis is named at its edge.
    fn limit(&mut self, limit: &Limit) {
        let (x, words) = (self.axis.place(limit.at), limit.words());
        let (anchor, words) = if self.axis.holds(limit.at) {
            let bottom = self.bottom;
            let _ = writeln!(
                self.svg,
                "<line class=\"limit\" x1=\"{x:.1}\" y1=\"{LIMITS}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>"
            );
            // Two that are close to each other do not cover each other's names.
            let room = width_of(&words) + 4.0;
            match limit.bound {
                Bound::Min if x < room => (Anchor::Start, words),
                Bound::Max if x > WIDTH - room => (Anchor::End, words),
                Bound::Min => (Anchor::End, words),
                Bound::Max => (Anchor::Start, words),
            }
        } else if x <= LEFT {
            (Anchor::Start, format!("← {words}"))
        } else {
            (Anchor::End, format!("{words} →"))
        };
        let x = match anchor {
            Anchor::Start => x + 4.0,
            Anchor::Middle => x,
            Anchor::End => x - 4.0,
        };
        self.text("limit-name", (x, LIMITS), anchor, &words);
    }

    fn row(&mut self, row: &Row, top: f64) {
        let _ = writeln!(self.svg, "<g><title>{}</title>", escape(&row.words()));
        let (note, class) = row.note();
        let room = WIDTH - width_of(note) - width('m');
        let (label, y) = (cut(&visible(&row.label), room), top + WHISKER);
        self.text("label", (0.0, top + LABEL), Anchor::Start, &label);
        self.text(class, (WIDTH, top + LABEL), Anchor::End, note);
        if let Some(interval) = row.interval {
            self.whisker(interval, y);
        }
        if let Some(champion) = row.champion {
            self.mark(Mark::Diamond, champion, y);
        }
        if let Some(value) = row.value {
            self.mark(Mark::Dot, value, y);
        }
        self.svg.push_str("</g>\n");
    }

    /// An end that is beyond the axis is not drawn as one.
    fn whisker(&mut self, interval: [f64; 2], y: f64) {
        let [from, to] = interval.map(|end| self.axis.place(end));
        let _ = write!(
            self.svg,
            "<path class=\"whisker\" d=\"M{from:.1} {y:.1}H{to:.1}"
        );
        for end in interval {
            if self.axis.holds(end) {
                let (x, top, bottom) = (self.axis.place(end), y - 5.0, y + 5.0);
                let _ = write!(self.svg, "M{x:.1} {top:.1}V{bottom:.1}");
            }
        }
        self.svg.push_str("\"/>\n");
    }

    /// What is beyond the axis is an arrow at its edge.
    fn mark(&mut self, mark: Mark, value: f64, y: f64) {
        let x = self.axis.place(value);
        let (left, right, top, bottom) = (x - 6.0, x + 6.0, y - 6.0, y + 6.0);
        let class = match mark {
            Mark::Dot => "dot",
            Mark::Diamond => "champion",
        };
        let _ = match (self.axis.holds(value), mark) {
            (false, _) => {
                let base = if x <= LEFT { right } else { left };
                writeln!(
                    self.svg,
                    "<path class=\"{class}\" d=\"M{x:.1} {y:.1}L{base:.1} {top:.1}V{bottom:.1}Z\"/>"
                )
            }
            (true, Mark::Dot) => writeln!(
                self.svg,
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"
            ),
            (true, Mark::Diamond) => writeln!(
                self.svg,
                "<path class=\"{class}\" d=\"M{left:.1} {y:.1}L{x:.1} {top:.1}L{right:.1} {y:.1}L{x:.1} {bottom:.1}Z\"/>"
            ),
        };
    }

    fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.svg,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        );
    }
}

#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    /// Of a number that stands about a place, but not beyond the plot.
    fn about(x: f64) -> Self {
        const HALF: f64 = 40.0;
        if x < HALF {
            Self::Start
        } else if x > WIDTH - HALF {
            Self::End
        } else {
            Self::Middle
        }
    }
}

impl Row {
    /// What stands at the right of a label, and as what: what is not as it should be, or else how many rows there are.
    fn note(&self) -> (&str, &'static str) {
        match (self.verdict, self.value) {
            (Some(Verdict::Fail), _) => ("Fail", "bad"),
            (Some(Verdict::Inconclusive), _) => ("Inconclusive", "bad"),
            (Some(Verdict::Pass) | None, None) => ("not defined", "tick"),
            (Some(Verdict::Pass) | None, Some(_)) => (&self.rows, "tick"),
        }
    }

    fn words(&self) -> String {
        let mut words = match self.value {
            Some(value) => format!("{} ({}): {}", self.label, self.rows, number(value)),
            None => format!("{} ({}): not defined", self.label, self.rows),
        };
        if let Some([lower, upper]) = self.interval {
            let _ = write!(words, " [{}, {}]", number(lower), number(upper));
        }
        if let Some(champion) = self.champion {
            let _ = write!(words, ", champion {}", number(champion));
        }
        words
    }
}

/// A count of rows; a card has hundreds of them at most.
fn count(rows: usize) -> f64 {
    f64::from(u32::try_from(rows).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
