//! The headings of Annex IV of Regulation (EU) 2024/1689, the technical documentation of a high-risk AI system: our words
//! for each of its points, what the record has to say under it, and what only people can.
//!
//! Absent on purpose: any claim that a system is of high risk, or that what is said is enough.

mod says;

use super::{Record, paragraph, part};
use crate::card::document::{Block, Inline, Line, Section, text};
use crate::card::notes::paragraphs;

/// The keys of notes: the numbers of the points.
pub const KEYS: [&str; 23] = [
    "1a", "1b", "1c", "1d", "1e", "1f", "1g", "1h", "2a", "2b", "2c", "2d", "2e", "2f", "2g", "2h",
    "3", "4", "5", "6", "7", "8", "9",
];

/// A point of the annex. What the record says of it is never all there is to say.
struct Point {
    key: &'static str,
    heading: &'static str,
    /// What the record says of it.
    says: fn(&Record<'_>) -> Vec<String>,
}

const fn point(
    key: &'static str,
    heading: &'static str,
    says: fn(&Record<'_>) -> Vec<String>,
) -> Point {
    Point { key, heading, says }
}

/// The points, in their order.
const POINTS: [Point; 23] = [
    point("1a", "Purpose, provider and version", says::version),
    point("1b", "What it works together with", says::works_with),
    point("1c", "Versions of software", says::software),
    point("1d", "Forms in which it is offered", says::forms),
    point("1e", "Hardware that it is to run on", says::nothing),
    point(
        "1f",
        "Pictures of the product that it is part of",
        says::nothing,
    ),
    point(
        "1g",
        "What those who deploy it see and operate",
        says::nothing,
    ),
    point("1h", "Instructions for those who deploy it", says::nothing),
    point("2a", "How it was developed", says::development),
    point(
        "2b",
        "Design: logic, choices and what it optimises",
        says::design,
    ),
    point(
        "2c",
        "Architecture and computing resources",
        says::resources,
    ),
    point(
        "2d",
        "Data: where it is from, how it was chosen, labelled and cleaned",
        says::data,
    ),
    point("2e", "Oversight by people", says::oversight),
    point("2f", "Pre-determined changes", says::foreseen),
    point("2g", "Validation and tests", says::tests),
    point("2h", "Cybersecurity measures", says::security),
    point(
        "3",
        "Monitoring, functioning and control: what it can and cannot do",
        says::limits,
    ),
    point("4", "Why these metrics suit it", says::metrics),
    point("5", "Risk management", says::nothing),
    point("6", "Changes over its lifetime", says::changes),
    point("7", "Standards that were applied", says::nothing),
    point("8", "EU declaration of conformity", says::nothing),
    point("9", "Post-market monitoring", says::in_use),
];

/// Headings of the points that have parts, by their numbers.
const GROUPS: [(&str, &str); 2] = [
    ("1", "General description"),
    (
        "2",
        "Detailed description of the elements and of how it was developed",
    ),
];

impl Point {
    /// `2(g)`, as the annex has it.
    fn number(&self) -> String {
        match self.key.split_at(1) {
            (number, "") => number.to_owned(),
            (number, letter) => format!("{number}({letter})"),
        }
    }

    /// Its section's id.
    fn id(&self) -> String {
        format!("annex-iv-{}", self.key)
    }

    /// What a person wrote about it.
    fn written(&self, record: &Record<'_>) -> Option<Vec<String>> {
        let written = paragraphs(record.notes.get(self.key)?);
        (!written.is_empty()).then_some(written)
    }
}

/// The sections: an introduction, then one a point, under the heading of its group where it has one.
pub fn sections(record: &Record<'_>) -> Vec<Section> {
    let introduction = "The points of Annex IV of Regulation (EU) 2024/1689 (the AI Act) as it was published in 2024, in our own words. What the record knows stands under each; what it cannot know is left visibly empty until somebody writes it. Whether the annex applies to this model, and whether what is written is enough, is for people to judge.";
    let mut sections = vec![Section::new(
        "annex-iv",
        "Technical documentation (Annex IV)",
        vec![
            paragraph(introduction),
            Block::Paragraph(still_empty(record)),
        ],
    )];
    for point in &POINTS {
        for (number, heading) in GROUPS {
            if point.key == format!("{number}a") {
                let id = format!("annex-iv-{number}");
                sections.push(part(&id, &format!("{number} {heading}"), Vec::new()));
            }
        }
        sections.push(section(record, point));
    }
    sections
}

/// How many points nobody has written about yet, and which.
fn still_empty(record: &Record<'_>) -> Line {
    let empty = POINTS
        .iter()
        .filter(|point| point.written(record).is_none());
    let empty: Vec<&Point> = empty.collect();
    if empty.is_empty() {
        return text("A person has written about every point.");
    }
    let mut line = text(format!(
        "A person has yet to write about {} of the {} points:",
        empty.len(),
        POINTS.len()
    ));
    for (at, point) in empty.iter().enumerate() {
        line.extend(text(if at == 0 { " " } else { ", " }));
        line.push(Inline::Link {
            to: point.id(),
            text: point.number(),
        });
    }
    line.extend(text("."));
    line
}

fn section(record: &Record<'_>, point: &Point) -> Section {
    let said = (point.says)(record).into_iter();
    let mut blocks: Vec<Block> = said.map(paragraph).collect();
    blocks.push(match point.written(record) {
        Some(written) => Block::Written(written),
        None => Block::Empty(point.key.to_owned()),
    });
    let heading = format!("{} {}", point.number(), point.heading);
    let section = part(&point.id(), &heading, blocks);
    match point.key.len() {
        1 => section,
        _ => Section {
            depth: section.depth + 1,
            ..section
        },
    }
}

#[cfg(test)]
mod tests_of_points {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_point_has_its_own_key_and_all_nine_are_there() {
        let keys: Vec<&str> = POINTS.iter().map(|point| point.key).collect();
        assert_eq!(keys, KEYS);
        let numbers: BTreeSet<char> = keys.iter().filter_map(|key| key.chars().next()).collect();
        assert_eq!(numbers, "123456789".chars().collect());
        for point in &POINTS {
            let plain: String = point
                .number()
                .chars()
                .filter(|letter| letter.is_alphanumeric())
                .collect();
            assert_eq!(plain, point.key);
        }
    }
}
