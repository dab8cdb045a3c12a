//! One line over windows.

use std::fmt::Write as _;

use super::super::super::results::Results;
use super::super::super::saying;
use super::super::{NAME, cut, shown};
use crate::page::escape;

/// Widths and heights, in the plot's own units; a browser scales it.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 118.0;
const LEFT: f64 = 8.0;
const RIGHT: f64 = 316.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 92.0;

/// What was found in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The value.
    pub value: f64,
    /// From where to where it may lie.
    pub range: [f64; 2],
    /// Whether it is beyond what is allowed.
    pub filled: bool,
}

/// A line over windows.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Of which column or metric.
    pub name: String,
    /// What is measured of it.
    pub what: String,
    /// A point a window, where it knows one.
    pub points: Vec<Option<Point>>,
    /// What the value has to pass.
    pub limit: Option<f64>,
}

impl Panel {
    /// The plot with its heading, whose id is given; empty where no number is known.
    pub fn figure(&self, id: &str, windows: &[&Results]) -> String {
        let Some(scale) = self.scale() else {
            return String::new();
        };
        let mut svg = format!(
            "<section aria-labelledby=\"{id}\">\n<h3 id=\"{id}\"><bdi>{}</bdi></h3>\n<p>{}</p>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Window by window\">\n<desc>{}</desc>\n",
            shown(&self.name),
            escape(&format!(
                "{}; from {} to {}",
                self.what,
                self.number(scale.low),
                self.number(scale.high)
            )),
            self.described(windows)
        );
        if let Some(limit) = self.limit.filter(|limit| limit.is_finite()) {
            let y = scale.y(limit);
            let _ = writeln!(
                svg,
                "<path class=\"threshold\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text x=\"{:.0}\" y=\"{:.1}\">threshold {}</text>",
                RIGHT + 6.0,
                y + 4.0,
                saying::chosen(limit)
            );
        }
        self.line(&mut svg, scale);
        self.last(&mut svg, scale);
        let (first, last) = super::ends(windows);
        let _ = write!(
            svg,
            "<text class=\"faint\" x=\"{LEFT}\" y=\"{0}\">{first}</text><text class=\"faint end\" x=\"{RIGHT}\" y=\"{0}\">{last}</text>\n</svg>\n</section>\n",
            HEIGHT - 6.0
        );
        svg
    }

    fn known(&self) -> impl Iterator<Item = (usize, Point)> {
        let points = self.points.iter().enumerate();
        points.filter_map(|(at, point)| {
            point
                .filter(|point| point.value.is_finite())
                .map(|point| (at, point))
        })
    }

    fn scale(&self) -> Option<Scale> {
        let of_points = self
            .known()
            .flat_map(|(_, point)| [point.value, point.range[0], point.range[1]]);
        let numbers = of_points
            .chain(self.limit)
            .filter(|number| number.is_finite());
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for number in numbers {
            (low, high) = (low.min(number), high.max(number));
        }
        self.known().next()?;
        // A distance is seen from none on; a metric is not.
        if self.limit.is_some() {
            low = low.min(0.0);
        }
        // Halves, so that what lies between the largest numbers is a number too.
        let span = high / 2.0 - low / 2.0;
        let span = if span > 0.0 { span } else { 0.5 };
        Some(Scale {
            low,
            high,
            span,
            places: self.points.len().saturating_sub(1).max(1),
        })
    }

    /// The line, broken where a window knows nothing, with its points and how far each may reach.
    fn line(&self, svg: &mut String, scale: Scale) {
        let (mut line, mut ranges) = (String::new(), String::new());
        let mut marks = [String::new(), String::new()];
        let mut before = None;
        for (at, point) in self.known() {
            let (x, y) = (scale.x(at), scale.y(point.value));
            let is_next = before.is_some_and(|before| before + 1 == at);
            let _ = write!(line, "{}{x:.1} {y:.1}", if is_next { 'L' } else { 'M' });
            before = Some(at);
            if point.range.iter().all(|end| end.is_finite()) {
                let [from, to] = point.range.map(|end| scale.y(end));
                let _ = write!(ranges, "M{x:.1} {from:.1}V{to:.1}");
            }
            let _ = write!(
                marks[usize::from(point.filled)],
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
            );
        }
        let [hollow, filled] = marks;
        let _ = writeln!(
            svg,
            "<path class=\"line\" d=\"{line}{ranges}\"/><g class=\"hollow\">{hollow}</g><g class=\"solid\">{filled}</g>"
        );
    }

    /// The newest value, beside its point.
    fn last(&self, svg: &mut String, scale: Scale) {
        let Some((at, point)) = self.known().last() else {
            return;
        };
        let (x, y) = (scale.x(at), scale.y(point.value));
        let value = self.number(point.value);
        // Beside the threshold's name neither could be read.
        let meets = self
            .limit
            .is_some_and(|limit| (scale.y(limit) - y).abs() < 13.0);
        let (class, x, y) = if meets || at + 1 < self.points.len() {
            ("end", x - 6.0, (y - 5.0).max(TOP))
        } else {
            ("", RIGHT + 6.0, y + 4.0)
        };
        let _ = writeln!(
            svg,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{value}</text>"
        );
    }

    /// A distance is written as in messages, a metric as it is elsewhere on the page.
    fn number(&self, value: f64) -> String {
        match self.limit {
            Some(_) => saying::distance(value),
            None => saying::metric(Some(value), None),
        }
    }

    /// The first and the newest value, for whoever cannot see them.
    fn described(&self, windows: &[&Results]) -> String {
        let words = |(at, point): (usize, Point)| {
            let when = windows.get(at).map(|window| super::when(window));
            let when = when.unwrap_or_default();
            format!("{} at {when}", self.number(point.value))
        };
        let (first, last) = (self.known().next(), self.known().last());
        let [first, last] = [first, last].map(|point| point.map(words).unwrap_or_default());
        format!("{}: {first}, {last}.", escape(&cut(&self.name, NAME)))
    }
}

/// From windows and numbers to places.
#[derive(Clone, Copy, Debug)]
struct Scale {
    low: f64,
    high: f64,
    /// Half of what lies between the lowest and the highest.
    span: f64,
    /// How many windows come after the first.
    places: usize,
}

impl Scale {
    fn x(self, at: usize) -> f64 {
        let share = saying::float(at as u64) / saying::float(self.places as u64);
        LEFT + share * (RIGHT - LEFT)
    }

    fn y(self, number: f64) -> f64 {
        let share = (number / 2.0 - self.low / 2.0) / self.span;
        BOTTOM - share.clamp(0.0, 1.0) * (BOTTOM - TOP)
    }
}
