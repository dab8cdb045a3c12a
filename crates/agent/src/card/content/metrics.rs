//! How good it is: metrics over all rows and by segment, how differently groups are treated, and where it does worst.

use std::collections::BTreeMap;

use windlass_statistics::metric::Metric;

use super::measured::{Measured, Terms, limits, limits_words, measured};
use super::words::{counted, interval, number_or};
use super::{Record, paragraph, part};
use crate::card::document::{Block, Column, Kind, Section, Table, code, column, text};
use crate::card::plot::{Plot, Row};
use crate::card::report::{Content, Report};
use crate::page::number::{count, number};

const METRIC: [Column; 6] = [
    column("Rows of", Kind::Text),
    column("Number", Kind::Number),
    column("Value", Kind::Number),
    column("Interval", Kind::Number),
    column("Champion", Kind::Number),
    column("Verdict", Kind::Word),
];
const DIFFERENCE: [Column; 8] = [
    column("Difference", Kind::Text),
    column("By", Kind::Word),
    column("Rows", Kind::Number),
    column("Value", Kind::Number),
    column("Interval", Kind::Number),
    column("Champion", Kind::Number),
    column("At most", Kind::Number),
    column("Verdict", Kind::Word),
];
const SLICE: [Column; 6] = [
    column("Slice", Kind::Text),
    column("Rows", Kind::Number),
    column("Loss", Kind::Word),
    column("Mean on it", Kind::Number),
    column("Mean elsewhere", Kind::Number),
    column("Worse by", Kind::Number),
];

/// Metrics, each in a part of its own, fairness, and worst slices.
pub fn sections(record: &Record<'_>) -> Vec<Section> {
    let measured = measured(record);
    let (differences, of_metrics): (Vec<&Measured>, Vec<&Measured>) =
        measured.iter().partition(|one| one.difference().is_some());
    let terms = Terms::of(record);
    let mut sections = metrics(record, &terms, &of_metrics);
    sections.push(fairness(record, &terms, &differences));
    sections.push(slices(record));
    sections
}

fn metrics(record: &Record<'_>, terms: &Terms, measured: &[&Measured]) -> Vec<Section> {
    if measured.is_empty() {
        let nothing = match record.found() {
            Some(_) => "A validation judged it, and no metrics of that are recorded.",
            None => "Nothing was measured: no validation has judged it.",
        };
        let nothing = vec![paragraph(nothing)];
        return vec![Section::new("metrics", "Metrics", nothing)];
    }
    let mut by_name: BTreeMap<&str, Vec<&Measured>> = BTreeMap::new();
    let mut names = Vec::new();
    for one in measured {
        let of_name = by_name.entry(&one.name).or_default();
        if of_name.is_empty() {
            names.push(one.name.as_str());
        }
        of_name.push(one);
    }
    let has_champion = measured.iter().any(|one| one.champion.is_some());
    let blocks = vec![
        paragraph(source_words(record, terms, has_champion)),
        Block::Legend(legend(has_champion)),
    ];
    let parts = names.into_iter().enumerate().map(|(at, name)| {
        let all = &by_name[name];
        let id = format!("metric-{at}");
        let plot = plot(record, terms, (&id, name), all);
        let table = table(record, terms, name, all);
        part(&id, name, vec![Block::Plot(plot), table])
    });
    let first = Section::new("metrics", "Metrics", blocks);
    std::iter::once(first).chain(parts).collect()
}

/// Where the numbers are from and how they were judged.
fn source_words(record: &Record<'_>, terms: &Terms, has_champion: bool) -> String {
    let mut said = vec![match record.report {
        Report::Read { is_recorded, .. } if *is_recorded => "From the validation's full report, whose digest is the one that the version records.".to_owned(),
        Report::Read { .. } => "From the validation's full report, which the version does not name, so that nothing could be held against it.".to_owned(),
        Report::Unreadable(_) | Report::None => "From the version's record.".to_owned(),
    }];
    if let Some(confidence) = &terms.confidence {
        said.push(format!("Intervals are at a confidence of {confidence}."));
    }
    if terms.min_samples > 1 {
        let few = count(terms.min_samples);
        said.push(format!("Segments of fewer than {few} rows are not judged."));
    }
    if let (Some(margin), true) = (&terms.margin, has_champion) {
        said.push(format!(
            "Against the champion each metric may be worse by {margin}."
        ));
    }
    said.join(" ")
}

fn legend(has_champion: bool) -> String {
    let champion = if has_champion {
        ", a hollow diamond the champion on the same rows"
    } else {
        ""
    };
    format!(
        "In each plot a dot is this version with its interval as a whisker{champion}, and a dashed line a limit that is asked for. What lies beyond the edge is an arrow, or a whisker without an end. The table after it has the numbers."
    )
}

fn label(one: &Measured) -> &str {
    one.segment.as_deref().unwrap_or("all rows")
}

/// A metric's name and, where it is known, which values are better.
fn title(name: &str) -> String {
    let metric: Result<Metric, _> = name.parse();
    match metric.map(Metric::is_higher_better) {
        Ok(true) => format!("{name}, higher is better"),
        Ok(false) => format!("{name}, lower is better"),
        Err(_) => name.to_owned(),
    }
}

fn plot(record: &Record<'_>, terms: &Terms, (id, name): (&str, &str), all: &[&Measured]) -> Plot {
    Plot {
        id: format!("plot-{id}"),
        title: title(name),
        description: format!(
            "{name} on {}, with its interval and the champion's value where there is one; the table after it has the numbers",
            counted(all.len(), "set of rows", "sets of rows")
        ),
        rows: all
            .iter()
            .map(|one| Row {
                label: label(one).to_owned(),
                rows: counted(one.rows, "row", "rows"),
                is_judged: one.rows >= terms.min_samples,
                value: one.value,
                interval: one.interval,
                champion: one.champion,
                verdict: one.verdict,
            })
            .collect(),
        limits: limits(record, name),
    }
}

fn table(record: &Record<'_>, terms: &Terms, name: &str, all: &[&Measured]) -> Block {
    let limits = limits(record, name);
    let asked = match limits_words(&limits) {
        Some(limits) => format!("asked for: {limits}"),
        None => "no limit is asked for".to_owned(),
    };
    let rows = all.iter().map(|one| {
        vec![
            text(label(one)),
            text(count(one.rows)),
            text(number_or(one.value, "not defined")),
            text(interval(one.interval)),
            text(number_or(one.champion, "none")),
            one.verdict_cell(&limits, terms),
        ]
    });
    let caption = format!("{}; over all rows and by segment; {asked}", title(name));
    Block::Table(Table::new(caption, &METRIC, rows.collect()))
}

/// How differently groups of rows are treated.
fn fairness(record: &Record<'_>, terms: &Terms, measured: &[&Measured]) -> Section {
    let is_asked = record
        .asked()
        .is_some_and(|asked| !asked.disparities.is_empty());
    let block = match (measured.is_empty(), is_asked) {
        (true, false) => paragraph(
            "No differences between groups were asked for: how differently groups of people are treated is not known.",
        ),
        (true, true) => {
            paragraph("Differences between groups are asked for, and none is on record.")
        }
        (false, _) => differences(record, terms, measured),
    };
    Section::new("fairness", "Fairness", vec![block])
}

fn differences(record: &Record<'_>, terms: &Terms, measured: &[&Measured]) -> Block {
    let rows = measured.iter().filter_map(|one| {
        let (name, by) = one.difference()?;
        let limits = limits(record, &one.name);
        Some(vec![
            text(name),
            text(by),
            text(count(one.rows)),
            text(number_or(one.value, "not defined")),
            text(interval(one.interval)),
            text(number_or(one.champion, "none")),
            text(
                limits
                    .first()
                    .map_or("none", |limit| limit.written.as_str()),
            ),
            one.verdict_cell(&limits, terms),
        ])
    });
    let caption = "The largest difference between two groups: 0 is none";
    Block::Table(Table::new(caption, &DIFFERENCE, rows.collect()))
}

fn slices(record: &Record<'_>) -> Section {
    let blocks = match record.report {
        Report::Read { content, .. } => worst(content),
        Report::Unreadable(stored) => vec![
            paragraph(
                "The validation's full report names them; it could not be read from where this card was made. Give it with --report:",
            ),
            Block::Paragraph(code(stored.uri.0.as_str())),
        ],
        Report::None => vec![paragraph(
            "Nothing is known of it: the version names no full report of a validation.",
        )],
    };
    Section::new("worst-slices", "Where it does worst", blocks)
}

fn worst(content: &Content) -> Vec<Block> {
    if content.worst_slices.is_empty() {
        return vec![paragraph(
            "No value of a column, and no quarter of a column of numbers, was found on which it does worse than on the other rows.",
        )];
    }
    let rows = content.worst_slices.iter().map(|slice| {
        vec![
            code(slice.predicate.as_str()),
            text(count(slice.rows)),
            text(slice.of.as_str()),
            text(number(slice.loss)),
            text(number(slice.elsewhere)),
            text(interval(Some([slice.worse_by.lower, slice.worse_by.upper]))),
        ]
    });
    let caption = "Slices of the held-out rows on which the mean loss is higher than elsewhere";
    vec![
        paragraph(
            "Found unasked among the values of all columns, with a correction for how many were looked at. They decide nothing; they are where to look.",
        ),
        Block::Table(Table::new(caption, &SLICE, rows.collect())),
    ]
}
