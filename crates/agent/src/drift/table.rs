//! The results of a window for a terminal, and the exit code by its verdict.
//!
//! Absent on purpose: what a terminal would obey. A control character in a name is a space here.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};
use windlass_api::agent::WindowVerdict;

use super::results::{ColumnResult, Found, Judged, Results, Segment};
use super::saying;
use crate::lineage::visible;
use crate::page::number::count;

/// How many columns are listed that drifted, at most.
const DRIFTED: usize = 50;
/// How many others.
const OTHERS: usize = 10;
/// How many findings and segments.
const TOLD: usize = 20;
/// How many columns of a segment are named.
const NAMED: usize = 3;
/// Where there is no terminal; and what is narrower than a table can be.
const WIDTH: usize = 100;
const NARROWEST: usize = 60;
/// Between two columns of the table.
const GAP: &str = "  ";
/// Names and what moved are not cut to less than this.
const LEAST: usize = 8;

/// How the program ends for whom asks it by hand: 0 for Healthy alone. 1 is a failure of the agent, as elsewhere.
pub const fn exit_code(verdict: WindowVerdict) -> u8 {
    match verdict {
        WindowVerdict::Healthy => 0,
        WindowVerdict::Failed => 1,
        WindowVerdict::Drifted | WindowVerdict::Drifting => 10,
        WindowVerdict::DataBroken => 11,
        WindowVerdict::NotEnoughData => 12,
    }
}

/// The table as standard output is to have it: as wide as the terminal, and in colours where that shows them and `NO_COLOR`
/// does not forbid it.
pub fn for_standard_output(results: &Results) -> String {
    let size = console::Term::stdout().size_checked();
    let width = size.map_or(WIDTH, |(_, columns)| usize::from(columns));
    table(results, width, console::colors_enabled())
}

/// The results, no line wider than this (but 60 at least) unless a word is.
pub fn table(results: &Results, width: usize, colour: bool) -> String {
    let mut screen = Screen {
        text: String::new(),
        width: width.max(NARROWEST),
        colour,
    };
    screen.verdict(results);
    screen.item("window   ", &side(&results.window));
    screen.item("reference", &side(&results.reference));
    if let Some(with) = &results.compared_with {
        screen.item("         ", &safe(&saying::compared_with(with)));
    }
    screen.columns(&results.columns);
    screen.findings(results);
    screen.performance(results);
    screen.segments(&results.segments);
    screen.text
}

/// What is being written.
struct Screen {
    text: String,
    width: usize,
    colour: bool,
}

/// How a piece of text stands out.
#[derive(Clone, Copy)]
enum Tone {
    Good,
    Warning,
    Bad,
    Heading,
}

impl Tone {
    const fn of(verdict: WindowVerdict) -> Self {
        match verdict {
            WindowVerdict::Healthy => Self::Good,
            WindowVerdict::Drifting | WindowVerdict::NotEnoughData => Self::Warning,
            WindowVerdict::Drifted | WindowVerdict::DataBroken | WindowVerdict::Failed => Self::Bad,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Good => "\u{1b}[1;32m",
            Self::Warning => "\u{1b}[1;33m",
            Self::Bad => "\u{1b}[1;31m",
            Self::Heading => "\u{1b}[1m",
        }
    }
}

impl Screen {
    fn toned(&self, tone: Tone, text: &str) -> String {
        if self.colour {
            format!("{}{text}\u{1b}[0m", tone.code())
        } else {
            text.to_owned()
        }
    }

    fn verdict(&mut self, results: &Results) {
        let verdict = saying::verdict(results.verdict);
        let mut lines =
            wrapped(&safe(&results.message), verdict.width() + 2, self.width).into_iter();
        let first = lines.next().unwrap_or_default();
        let verdict = self.toned(Tone::of(results.verdict), verdict);
        let _ = writeln!(self.text, "{verdict}: {first}");
        for line in lines {
            self.text.push_str(&line);
            self.text.push('\n');
        }
        self.text.push('\n');
    }

    fn heading(&mut self, heading: &str) {
        let heading = self.toned(Tone::Heading, heading);
        let _ = writeln!(self.text, "\n{heading}");
    }

    /// A line, cut where it is too wide.
    fn line(&mut self, line: &str) {
        self.text.push_str(cut(line, self.width).trim_end());
        self.text.push('\n');
    }

    /// A paragraph that begins with a mark.
    fn item(&mut self, mark: &str, words: &str) {
        let indent = mark.width() + 1;
        let lines = wrapped(words, indent, self.width);
        for (at, line) in lines.iter().enumerate() {
            let before = if at == 0 { mark } else { "" };
            let pad = " ".repeat(indent - before.width());
            let _ = writeln!(self.text, "{before}{pad}{line}");
        }
    }

    fn columns(&mut self, columns: &[ColumnResult]) {
        if columns.is_empty() {
            return;
        }
        self.heading(&saying::drifted(columns));
        let of = |drifted: bool, most: usize| {
            let all = columns
                .iter()
                .filter(move |column| column.drifted == drifted);
            all.take(most)
        };
        let listed: Vec<&ColumnResult> = of(true, DRIFTED).chain(of(false, OTHERS)).collect();
        let method = saying::one_method(columns);
        let distance = method.map_or("distance", |method| method.title());
        let mut cells = vec![
            [
                "",
                "column",
                "holds",
                "moved",
                distance,
                "at least",
                "threshold",
                "p-value",
            ]
            .map(str::to_owned),
        ];
        cells.extend(listed.iter().map(|column| row(column, method.is_some())));
        let widths = fitted(&cells, self.width);
        for (at, row) in cells.iter().enumerate() {
            let line = laid_out(row, &widths);
            let drifted = at.checked_sub(1).is_some_and(|at| listed[at].drifted);
            let line = match at {
                0 => self.toned(Tone::Heading, &line),
                _ if drifted => self.toned(Tone::Bad, &line),
                _ => line,
            };
            self.text.push_str(&line);
            self.text.push('\n');
        }
        let all = columns.iter().filter(|column| column.drifted).count();
        let more = [
            (all.saturating_sub(DRIFTED), "drifted"),
            (
                (columns.len() - all).saturating_sub(OTHERS),
                "did not drift",
            ),
        ];
        for (many, did) in more {
            if many > 0 {
                self.line(&format!("  and {} more that {did}", count(many as u64)));
            }
        }
    }

    fn findings(&mut self, results: &Results) {
        if results.findings.is_empty() {
            return;
        }
        self.heading("the data");
        let mut findings: Vec<&Found> = results.findings.iter().collect();
        findings.sort_by_key(|found| !found.breaks);
        for found in findings.into_iter().take(TOLD) {
            let mark = if found.breaks { "!" } else { "-" };
            self.item(mark, &safe(&found.words));
        }
        self.more(results.findings.len());
    }

    fn performance(&mut self, results: &Results) {
        if results.performance.is_none() && results.expected.is_empty() {
            return;
        }
        self.heading("performance");
        if let Some(measured) = &results.performance {
            let mark = if measured.fallen { "!" } else { "-" };
            let words = format!(
                "{} {} on {}. {}",
                safe(&measured.metric),
                saying::metric(measured.value, measured.interval),
                saying::counted(measured.rows, "labelled row"),
                saying::fallen(measured)
            );
            self.item(mark, &words);
        }
        for expected in &results.expected {
            let reference = match expected.reference {
                Some(value) => format!("; {value:.3} on the reference"),
                None => String::new(),
            };
            let words = format!(
                "{} {} is to be expected of the scores, without labels{reference}",
                safe(&expected.metric),
                saying::metric(Some(expected.value), Some(expected.interval)),
            );
            self.item("-", &words);
        }
        if let Some(words) = saying::contradiction(results) {
            self.item("!", &words);
        }
    }

    fn segments(&mut self, segments: &[Segment]) {
        if segments.is_empty() {
            return;
        }
        self.heading("segments");
        for segment in segments.iter().take(TOLD) {
            let mark = match Tone::of(segment.verdict) {
                Tone::Bad => "!",
                Tone::Good | Tone::Warning | Tone::Heading => "-",
            };
            self.item(mark, &of_segment(segment));
        }
        self.more(segments.len());
    }

    fn more(&mut self, all: usize) {
        let more = all.saturating_sub(TOLD);
        if more > 0 {
            self.line(&format!("  and {} more", count(more as u64)));
        }
    }
}

fn side(judged: &Judged) -> String {
    let span = saying::span(judged).map_or_else(String::new, |span| format!(", {span}"));
    format!("{}{span}, {}", safe(&judged.name), saying::rows(judged))
}

fn of_segment(segment: &Segment) -> String {
    let [reference, window] = segment.rows;
    let mut words = format!(
        "{}: {}, {} → {} rows",
        safe(&segment.segment),
        saying::verdict(segment.verdict),
        count(reference),
        count(window)
    );
    if !segment.columns.is_empty() {
        let drifted = segment.columns.iter().filter(|column| column.drifted);
        let names: Vec<String> = drifted
            .take(NAMED)
            .map(|column| format!("{} ({})", safe(&column.column), safe(&column.moved)))
            .collect();
        let _ = write!(words, ", {}", saying::drifted(&segment.columns));
        if !names.is_empty() {
            let _ = write!(words, ": {}", names.join(", "));
        }
    }
    if let Some(measured) = &segment.performance {
        let value = saying::metric(measured.value, measured.interval);
        let fallen = if measured.fallen { ", fallen" } else { "" };
        let _ = write!(words, "; {} {value}{fallen}", safe(&measured.metric));
    }
    words
}

/// How many cells a row has, and which of them may be cut.
const CELLS: usize = 8;
const NAME: usize = 1;
const HOLDS: usize = 2;
const MOVED: usize = 3;
/// From here on they are numbers, and stand at the right.
const NUMBERS: usize = 4;
const LOWER: usize = 5;
const THRESHOLD: usize = 6;
const P_VALUE: usize = 7;

fn row(column: &ColumnResult, is_one_method: bool) -> [String; CELLS] {
    let distance = saying::distance(column.value);
    let name = safe(&column.column);
    [
        if column.drifted { "!" } else { "" }.to_owned(),
        if name.trim().is_empty() {
            "(empty)".to_owned()
        } else {
            name
        },
        saying::kind(column.kind).to_owned(),
        safe(&column.moved),
        if is_one_method {
            distance
        } else {
            format!("{} {distance}", column.method.title())
        },
        saying::distance(column.lower),
        saying::chosen(column.threshold),
        saying::p_value(column.p_value),
    ]
}

/// How wide each cell is: as wide as it has to be, where that fits. Else names and what moved are cut, and if they would
/// hardly be seen, numbers and what a column holds are left out, what matters least first.
fn fitted(rows: &[[String; CELLS]], width: usize) -> [usize; CELLS] {
    let mut widths = [0; CELLS];
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(cell.width());
        }
    }
    let least = [NAME, MOVED].map(|at| widths[at].min(2 * LEAST));
    for left_out in [P_VALUE, HOLDS, LOWER, THRESHOLD] {
        let fixed = whole(&widths) - widths[NAME] - widths[MOVED];
        if fixed + least[0] + least[1] > width {
            widths[left_out] = 0;
        }
    }
    while whole(&widths) > width {
        let at = if widths[NAME] > widths[MOVED] {
            NAME
        } else {
            MOVED
        };
        if widths[at] <= LEAST {
            break;
        }
        widths[at] -= 1;
    }
    widths
}

/// How wide a line is; what has no width has no gap either.
fn whole(widths: &[usize; CELLS]) -> usize {
    let seen = widths.iter().filter(|width| **width > 0);
    let gaps = seen.clone().count().saturating_sub(1) * GAP.len();
    seen.sum::<usize>() + gaps
}

fn laid_out(row: &[String; CELLS], widths: &[usize; CELLS]) -> String {
    let mut cells = Vec::new();
    for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
        if *width == 0 {
            continue;
        }
        let cell = cut(cell, *width);
        let pad = " ".repeat(width.saturating_sub(cell.width()));
        cells.push(if at < NUMBERS {
            format!("{cell}{pad}")
        } else {
            format!("{pad}{cell}")
        });
    }
    cells.join(GAP).trim_end().to_owned()
}

/// Text that no terminal obeys, on one line.
fn safe(text: &str) -> String {
    let letter = |letter: char| if letter.is_control() { ' ' } else { letter };
    visible(text).chars().map(letter).collect()
}

/// Text that is so wide at most; of one that is wider, both ends.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let taken = |letters: &mut dyn Iterator<Item = char>, room: usize| -> String {
        let mut left = room;
        letters
            .map_while(|letter| {
                left = left.checked_sub(letter.width().unwrap_or(0))?;
                Some(letter)
            })
            .collect()
    };
    let room = width.saturating_sub(1);
    let start = taken(&mut text.chars(), room.div_ceil(2));
    let end = taken(&mut text.chars().rev(), room / 2);
    let end: String = end.chars().rev().collect();
    format!("{start}…{end}")
}

/// The lines of a text, the first of which begins after so many places. A word that is wider than a line has one of its
/// own.
fn wrapped(text: &str, indent: usize, width: usize) -> Vec<String> {
    let room = width.saturating_sub(indent).max(LEAST);
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let last = lines.len() - 1;
        if lines[last].is_empty() {
            lines[last].push_str(word);
        } else if lines[last].width() + 1 + word.width() <= room {
            lines[last].push(' ');
            lines[last].push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests;
