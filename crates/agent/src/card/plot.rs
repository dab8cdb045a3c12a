//! A dot-and-whisker plot of one metric: a row for all rows and one for each segment.
//!
//! ```text
//!   all rows   ├────●────┤ ◇        ¦ limit
//!   plan = 'x'    ├───●───┤   ◇     ¦
//! ```
//!
//! A dot is the version, the whisker its interval, a hollow diamond the champion, a dashed line a gate's limit. Shapes and
//! not colours tell them apart.

use std::fmt::Write as _;

use super::html::escape;

/// Widths and heights, in the plot's own units; a browser scales it.
const WIDTH: f64 = 760.0;
const LABELS: f64 = 250.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const ROW: f64 = 24.0;
const BOTTOM: f64 = 30.0;
/// Letters of a label that there is room for.
const LABEL_LETTERS: usize = 36;
/// About how many numbers stand at the axis.
const TICKS: f64 = 5.0;

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
    /// The value, where it is defined.
    pub value: Option<f64>,
    /// Its interval.
    pub interval: Option<[f64; 2]>,
    /// The champion's value.
    pub champion: Option<f64>,
}

/// A limit of a gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// `min` or `max`.
    pub name: &'static str,
    /// Where it is.
    pub at: f64,
}

/// From numbers to places.
struct Axis {
    low: f64,
    high: f64,
}

impl Plot {
    /// The plot as an SVG element. Empty where no number is known.
    pub fn svg(&self) -> String {
        let Some(axis) = self.axis() else {
            return String::new();
        };
        let rows = count(self.rows.len());
        let height = TOP + ROW * rows + BOTTOM;
        let mut svg = String::new();
        let _ = writeln!(
            svg,
            "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{0}-title {0}-description\" xmlns=\"http://www.w3.org/2000/svg\">",
            self.id
        );
        let _ = writeln!(
            svg,
            "<title id=\"{}-title\">{}</title>",
            self.id,
            escape(&self.title)
        );
        let _ = writeln!(
            svg,
            "<desc id=\"{}-description\">{}</desc>",
            self.id,
            escape(&self.description)
        );
        self.write_axis(&mut svg, &axis, TOP + ROW * rows);
        for limit in &self.limits {
            write_limit(&mut svg, limit, &axis, TOP + ROW * rows);
        }
        for (at, row) in self.rows.iter().enumerate() {
            write_row(&mut svg, row, &axis, TOP + ROW * (count(at) + 0.5));
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// The axis that has room for all numbers.
    fn axis(&self) -> Option<Axis> {
        let of_rows = self.rows.iter().flat_map(|row| {
            let interval = row.interval.into_iter().flatten();
            row.value.into_iter().chain(row.champion).chain(interval)
        });
        let all = of_rows.chain(self.limits.iter().map(|limit| limit.at));
        let all: Vec<f64> = all.filter(|number| number.is_finite()).collect();
        let low = all.iter().copied().reduce(f64::min)?;
        let high = all.iter().copied().reduce(f64::max)?;
        // A single number has room about it, too.
        let room = if high > low {
            0.05 * (high - low)
        } else {
            0.1 * high.abs().max(0.1)
        };
        Some(Axis {
            low: low - room,
            high: high + room,
        })
    }

    fn write_axis(&self, svg: &mut String, axis: &Axis, bottom: f64) {
        let _ = writeln!(
            svg,
            "<text class=\"label\" x=\"0\" y=\"14\">{}</text>",
            escape(&self.title)
        );
        let step = axis.step();
        let mut tick = (axis.low / step).ceil() * step;
        while tick <= axis.high {
            let x = axis.place(tick);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                tick_text(tick, step)
            );
            tick += step;
        }
    }
}

impl Axis {
    fn place(&self, number: f64) -> f64 {
        LABELS + (number - self.low) / (self.high - self.low) * (WIDTH - LABELS - RIGHT)
    }

    /// A distance of 1, 2 or 5 times a power of ten.
    fn step(&self) -> f64 {
        let rough = (self.high - self.low) / TICKS;
        let power = 10_f64.powf(rough.log10().floor());
        let times = [1.0, 2.0, 5.0];
        let times = times.into_iter().find(|times| times * power >= rough);
        times.unwrap_or(10.0) * power
    }
}

fn write_limit(svg: &mut String, limit: &Limit, axis: &Axis, bottom: f64) {
    let x = axis.place(limit.at);
    let _ = writeln!(
        svg,
        "<g><title>{0} {1}</title><line class=\"limit\" x1=\"{x:.1}\" y1=\"{2}\" x2=\"{x:.1}\" y2=\"{bottom}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{3}\" text-anchor=\"middle\">{0} {1}</text></g>",
        limit.name,
        limit.at,
        TOP - 4.0,
        TOP - 8.0,
    );
}

fn write_row(svg: &mut String, row: &Row, axis: &Axis, y: f64) {
    let _ = writeln!(svg, "<g><title>{}</title>", escape(&row.words()));
    let _ = writeln!(
        svg,
        "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        LABELS - 12.0,
        y + 4.0,
        escape(&cut(&row.label))
    );
    if let Some([lower, upper]) = row.interval {
        let (from, to) = (axis.place(lower), axis.place(upper));
        let (top, bottom) = (y - 5.0, y + 5.0);
        let _ = writeln!(
            svg,
            "<path class=\"whisker\" d=\"M{from:.1} {top:.1}V{bottom:.1}M{from:.1} {y:.1}H{to:.1}M{to:.1} {top:.1}V{bottom:.1}\"/>"
        );
    }
    if let Some(champion) = row.champion {
        let x = axis.place(champion);
        let _ = writeln!(
            svg,
            "<path class=\"champion\" d=\"M{:.1} {y:.1}L{x:.1} {:.1}L{:.1} {y:.1}L{x:.1} {:.1}Z\"/>",
            x - 6.0,
            y - 6.0,
            x + 6.0,
            y + 6.0
        );
    }
    match row.value {
        Some(value) => {
            let x = axis.place(value);
            let _ = writeln!(
                svg,
                "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"
            );
        }
        None => {
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{LABELS}\" y=\"{:.1}\">not defined</text>",
                y + 4.0
            );
        }
    }
    svg.push_str("</g>\n");
}

impl Row {
    fn words(&self) -> String {
        let mut words = match self.value {
            Some(value) => format!("{}: {value:.4}", self.label),
            None => format!("{}: not defined", self.label),
        };
        if let Some([lower, upper]) = self.interval {
            let _ = write!(words, " [{lower:.4}, {upper:.4}]");
        }
        if let Some(champion) = self.champion {
            let _ = write!(words, ", champion {champion:.4}");
        }
        words
    }
}

fn cut(label: &str) -> String {
    if label.chars().count() <= LABEL_LETTERS {
        return label.to_owned();
    }
    let mut cut: String = label.chars().take(LABEL_LETTERS - 1).collect();
    cut.push('…');
    cut
}

/// A number at the axis, with as many decimals as the distance to the next needs.
fn tick_text(tick: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it lies between 0 and 9
    let decimals = decimals as usize;
    let text = format!("{tick:.decimals$}");
    if text.trim_start_matches(['-', '0', '.']).is_empty() {
        return text.trim_start_matches('-').to_owned();
    }
    text
}

/// A count of rows; a card has hundreds of them at most.
fn count(rows: usize) -> f64 {
    f64::from(u32::try_from(rows).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot() -> Plot {
        let row = |label: &str, value, interval, champion| Row {
            label: label.to_owned(),
            value,
            interval,
            champion,
        };
        Plot {
            id: "plot-a".to_owned(),
            title: "rocAuc".to_owned(),
            description: "rocAuc <by> segment".to_owned(),
            rows: vec![
                row("all rows", Some(0.75), Some([0.7, 0.8]), Some(0.72)),
                row("<script>", None, None, None),
            ],
            limits: vec![Limit {
                name: "min",
                at: 0.65,
            }],
        }
    }

    fn numbers(svg: &str, attribute: &str) -> Vec<f64> {
        svg.split(&format!(" {attribute}=\""))
            .skip(1)
            .filter_map(|rest| rest.split('"').next()?.parse().ok())
            .collect()
    }

    #[test]
    fn every_mark_is_there_in_its_place_and_says_what_it_is() {
        let svg = plot().svg();
        let dots = numbers(&svg, "cx");
        assert_eq!(dots.len(), 1);
        // From 0.6425 to 0.8075 on 490 units from 250.
        assert!(
            (dots[0] - (250.0 + (0.75 - 0.6425) / 0.165 * 490.0)).abs() < 0.1,
            "{dots:?}"
        );
        assert_eq!(svg.matches("class=\"whisker\"").count(), 1);
        assert_eq!(svg.matches("class=\"champion\"").count(), 1);
        assert_eq!(svg.matches("class=\"limit\"").count(), 1);
        assert!(svg.contains("<title>all rows: 0.7500 [0.7000, 0.8000], champion 0.7200</title>"));
        assert!(svg.contains(">not defined</text>"));
        assert!(
            svg.contains("&lt;script&gt;") && !svg.contains("<script>"),
            "{svg}"
        );
    }

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        for (low, high, expected) in [
            (0.0, 1.0, 0.2),
            (0.6425, 0.8075, 0.05),
            (-3.0, 17.0, 5.0),
            (1000.0, 1001.0, 0.2),
        ] {
            let step = Axis { low, high }.step();
            assert!((step - expected).abs() < 1e-9, "{low} {high}: {step}");
        }
        assert_eq!(tick_text(0.1 + 0.2, 0.1), "0.3");
        assert_eq!(tick_text(-1e-17, 0.2), "0.0");
        assert_eq!(tick_text(15.0, 5.0), "15");
    }

    #[test]
    fn one_number_has_an_axis_and_none_has_no_plot() {
        let mut one = plot();
        one.limits.clear();
        one.rows.truncate(1);
        one.rows[0].interval = None;
        one.rows[0].champion = None;
        assert!(one.svg().contains("class=\"dot\""));
        assert!(!one.svg().contains("NaN"));
        one.rows[0].value = None;
        assert_eq!(one.svg(), "");
    }
}
