//! A small page to look at, a large one to weigh, and pages of whatever may be in data.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use roxmltree::{Document, ParsingOptions};
use windlass_api::agent::{Performance, WindowVerdict};
use windlass_statistics::Interval;
use windlass_statistics::drift::method::Method;
use windlass_statistics::drift::quality::{Finding, Problem};

use super::super::results::{Cell, Expected, FORMAT, Found, Kind, Segment, Settings};
use super::*;

fn cells(named: &[(&str, u64, u64)]) -> Vec<Cell> {
    let cell = |(name, reference, window): &(&str, u64, u64)| Cell {
        name: (*name).to_owned(),
        from: None,
        to: None,
        reference: *reference,
        window: *window,
    };
    named.iter().map(cell).collect()
}

/// A category that has not drifted.
pub fn column(name: &str) -> ColumnResult {
    ColumnResult {
        column: name.to_owned(),
        kind: Kind::Category,
        method: Method::Psi,
        value: 0.013,
        lower: -0.002,
        threshold: 0.2,
        p_value: 0.41,
        drifted: false,
        moved: "'EWR' 34% → 36%".to_owned(),
        mean_shift: None,
        design_effects: [1.0, 1.0],
        cells: cells(&[("EWR", 340, 180), ("JFK", 660, 320), ("no value", 0, 0)]),
    }
}

fn number(name: &str, value: f64, lower: f64) -> ColumnResult {
    let mut bins = cells(&[
        ("[-∞, 5)", 250, 10),
        ("[5, 10)", 250, 20),
        ("[10, 15)", 250, 170),
        ("[15, ∞)", 240, 290),
        ("no value", 10, 10),
    ]);
    for (bin, edge) in bins.iter_mut().zip([5.0, 10.0, 15.0]) {
        bin.to = Some(edge);
    }
    for (bin, edge) in bins[1..].iter_mut().zip([5.0, 10.0, 15.0]) {
        bin.from = Some(edge);
    }
    ColumnResult {
        kind: Kind::Number,
        value,
        lower,
        p_value: 1e-12,
        drifted: lower > 0.2,
        moved: "mean 9.9 → 16.2".to_owned(),
        mean_shift: Some(1.57),
        design_effects: [1.0, 8.4],
        cells: bins,
        ..column(name)
    }
}

/// A window in which two of four columns have drifted, with one of everything else.
pub fn results() -> Results {
    let finding = Finding {
        column: Some("age".to_owned()),
        problem: Problem::Missing,
        value: 0.2,
        interval: Interval {
            lower: 0.16,
            upper: 0.24,
        },
        before: 0.03,
        p_value: 1e-9,
    };
    let found = |breaks, words: &str, finding| Found {
        breaks,
        words: words.to_owned(),
        finding,
    };
    let performance = Performance {
        rows: 210,
        metric: "rocAuc".to_owned(),
        value: Some(0.7411),
        interval: Some([0.702, 0.777]),
        fallen: true,
    };
    let segment = |segment: &str, verdict, columns| Segment {
        segment: segment.to_owned(),
        verdict,
        message: "1 of 4 columns have drifted".to_owned(),
        rows: [340, 180],
        columns,
        not_compared: Vec::new(),
        compared_with: None,
        performance: None,
    };
    let text = ColumnResult {
        kind: Kind::Text,
        method: Method::JensenShannon,
        moved: "words".to_owned(),
        cells: Vec::new(),
        ..column("remark")
    };
    Results {
        format: FORMAT,
        verdict: WindowVerdict::Drifted,
        message: "2 of 4 columns have drifted: wind (mean 9.9 → 16.2, PSI 1.4)".to_owned(),
        window: Judged {
            name: "flights-1".to_owned(),
            digest: None,
            start: Some("2026-11-01T05:00:00Z".parse().expect("a time")),
            end: Some("2026-11-01T06:00:00Z".parse().expect("a time")),
            rows: 500,
            effective_rows: 59.5,
        },
        reference: Judged {
            name: "flights-1's baseline".to_owned(),
            digest: Some(format!("sha256:{}", "0a".repeat(32))),
            rows: 1000,
            effective_rows: 1000.0,
            ..Judged::default()
        },
        settings: Settings {
            confidence: 0.95,
            false_discovery_rate: 0.05,
            drifted_share: 0.3,
            min_samples: 50,
            unit: Some("user_id".to_owned()),
        },
        columns: vec![
            number("wind", 1.4, 1.1),
            number("prediction", 0.52, 0.31),
            text,
            column("origin"),
        ],
        not_compared: Vec::new(),
        compared_with: None,
        findings: vec![
            found(false, "origin: new levels 'LGA' in 1.0% of rows", None),
            found(
                true,
                "age: no value in 3.0% → 20% of rows (16% to 24%)",
                Some(finding),
            ),
        ],
        performance: Some(performance),
        expected: vec![Expected {
            metric: "rocAuc".to_owned(),
            value: 0.8,
            interval: [0.78, 0.82],
            reference: Some(0.81),
            uncovered: 0.08,
        }],
        segments: vec![
            segment("origin = 'JFK'", WindowVerdict::Healthy, Vec::new()),
            segment(
                "origin = 'EWR'",
                WindowVerdict::Drifted,
                vec![number("wind", 1.4, 1.1), column("origin")],
            ),
        ],
    }
}

/// The windows before, the newest just before that of [`results`].
fn history(windows: i64) -> Vec<Results> {
    let window = |back: i64| {
        let mut one = results();
        let hours = jiff::SignedDuration::from_hours(back);
        one.window.end = one.window.end.map(|end| end - hours);
        if back % 7 == 3 {
            one.verdict = WindowVerdict::NotEnoughData;
            one.columns.clear();
            one.performance = None;
        } else if back > 4 {
            one.verdict = WindowVerdict::Healthy;
            one.columns.rotate_right(1);
            for column in &mut one.columns {
                column.drifted = false;
                column.value = 0.02;
                column.lower = 0.0;
            }
        }
        one
    };
    (1..=windows).rev().map(window).collect()
}

fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    match Document::parse_with_options(page, options) {
        Ok(document) => document,
        Err(problem) => {
            let at = problem.pos();
            let line = page.lines().nth(at.row as usize - 1).unwrap_or_default();
            panic!("{problem}: {line}");
        }
    }
}

#[test]
fn a_small_page_is_as_it_was_looked_at() {
    insta::assert_snapshot!(html(&results(), &history(9)));
}

#[test]
fn a_page_of_a_thousand_columns_is_at_most_two_megabytes_whatever_they_are_called() {
    let mut results = results();
    let long = "x".repeat(5000);
    results.columns = (0..1000)
        .map(|at| ColumnResult {
            moved: "'Minneapolis' 10% → 50%, new: 'Sankt Pölten', 'Graz'".to_owned(),
            cells: (0..21_u32)
                .map(|cell| Cell {
                    name: format!("[{cell}00.25, {cell}99.75)"),
                    from: Some(f64::from(cell)),
                    to: Some(f64::from(cell + 1)),
                    reference: 100 + u64::from(cell),
                    window: 300,
                })
                .collect(),
            ..number(&format!("measurement_{at}_{long}"), 1.4, 1.1)
        })
        .collect();
    let history = vec![results.clone(); 60];
    let page = html(&results, &history);
    assert!(page.len() < 2_000_000, "{}", page.len());
    assert_eq!(
        page.matches("<tr><th scope=\"row\"><a href=\"#c").count(),
        DRAWN
    );
    assert_eq!(page.matches("measurement_999_").count(), 1);
    let document = parsed(&page);
    let rows = |id: &str| {
        let heading = document
            .descendants()
            .find(|one| one.attribute("id") == Some(id));
        let section = heading.and_then(|heading| heading.parent()).expect("there");
        section
            .descendants()
            .filter(|one| one.has_tag_name("tr"))
            .count()
            - 1
    };
    assert_eq!((rows("columns"), rows("rest")), (RANKED, 1000 - RANKED));
}

#[test]
fn every_verdict_has_a_page_and_so_does_a_window_without_anything() {
    for verdict in [
        WindowVerdict::Healthy,
        WindowVerdict::Drifting,
        WindowVerdict::Drifted,
        WindowVerdict::NotEnoughData,
        WindowVerdict::DataBroken,
        WindowVerdict::Failed,
    ] {
        let results = Results {
            verdict,
            window: Judged::default(),
            columns: Vec::new(),
            findings: Vec::new(),
            performance: None,
            expected: Vec::new(),
            segments: Vec::new(),
            ..results()
        };
        let page = html(&results, &[]);
        parsed(&page);
        let word = saying::verdict(verdict);
        assert!(page.contains(&format!("<p class=\"verdict {word}\">{word}</p>")));
        assert!(page.contains("<title>"), "{word}");
        assert!(page.contains("<bdi>(empty)</bdi>"), "{word}");
    }
}

#[test]
fn a_metric_by_labels_is_held_against_the_one_that_was_expected() {
    let page = html(&results(), &[]);
    assert!(page.contains("What labels show lies below all that the scores let one expect"));
    assert!(page.contains("Up to 8.0% of the rows have scores that the reference has none of"));
    let mut agreeing = results();
    agreeing.expected[0].interval = [0.74, 0.82];
    agreeing.expected[0].uncovered = 0.01;
    let page = html(&agreeing, &[]);
    assert!(!page.contains("What labels show lies"));
    assert!(!page.contains("the reference has none of:"));
}

#[test]
fn each_thing_that_is_pointed_at_is_there_once() {
    let page = html(&results(), &history(9));
    let document = parsed(&page);
    let ids: Vec<&str> = document
        .descendants()
        .filter_map(|element| element.attribute("id"))
        .collect();
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len());
    let mut pointers = 0;
    for element in document.descendants() {
        let to = element.attribute("href").map(|href| &href[1..]);
        for to in to.into_iter().chain(element.attribute("aria-labelledby")) {
            assert!(unique.contains(to), "{to}");
            pointers += 1;
        }
    }
    assert!(pointers > 20, "{pointers}");
}

/// All that a page may be made of; what could run or be fetched is none of it.
const ELEMENTS: &str = "html head meta title style body header nav main section footer h1 h2 h3 p ul li a bdi code small strong div table caption thead tbody tr th td dl dt dd svg g desc path rect circle text";
const ATTRIBUTES: &str = "lang charset name content http-equiv id class href role aria-label aria-labelledby aria-hidden tabindex scope viewBox d x y cx cy r width height";

/// What a page is made of without its texts; everything in it is what may be there.
fn skeleton(page: &str) -> Vec<String> {
    let document = parsed(page);
    let elements: BTreeSet<&str> = ELEMENTS.split(' ').collect();
    let attributes: BTreeSet<&str> = ATTRIBUTES.split(' ').collect();
    let mut skeleton = Vec::new();
    for node in document.descendants() {
        assert!(!node.is_comment() && !node.is_pi());
        if !node.is_element() {
            continue;
        }
        let name = node.tag_name().name();
        assert!(elements.contains(name), "<{name}>");
        let mut words = name.to_owned();
        for attribute in node.attributes() {
            let (key, value) = (attribute.name(), attribute.value());
            assert!(attributes.contains(key), "{key} of {name}");
            assert!(key != "href" || value.starts_with('#'), "{value}");
            assert!(!value.contains("NaN") && !value.contains("inf"), "{value}");
            let _ = write!(words, " {key}={value}");
        }
        skeleton.push(words);
    }
    skeleton
}

/// The results with other texts.
fn with_texts(results: &Results, text: &mut dyn FnMut(&str) -> String) -> Results {
    let mut other = results.clone();
    let mut each = |place: &mut String| *place = text(place);
    let columns = |columns: &mut Vec<ColumnResult>, each: &mut dyn FnMut(&mut String)| {
        for column in columns {
            each(&mut column.column);
            each(&mut column.moved);
            for cell in column
                .cells
                .iter_mut()
                .filter(|cell| cell.name != "no value")
            {
                each(&mut cell.name);
            }
        }
    };
    each(&mut other.message);
    for side in [&mut other.window, &mut other.reference] {
        each(&mut side.name);
        side.digest.iter_mut().for_each(&mut each);
    }
    other.settings.unit.iter_mut().for_each(&mut each);
    columns(&mut other.columns, &mut each);
    other
        .findings
        .iter_mut()
        .for_each(|found| each(&mut found.words));
    for expected in &mut other.expected {
        each(&mut expected.metric);
    }
    for segment in &mut other.segments {
        each(&mut segment.segment);
        each(&mut segment.message);
        columns(&mut segment.columns, &mut each);
    }
    let of_segments = other.segments.iter_mut().map(|one| &mut one.performance);
    for performance in of_segments.chain([&mut other.performance]).flatten() {
        each(&mut performance.metric);
    }
    other
}

const HOSTILE: [&str; 12] = [
    "<script>alert(1)</script>",
    "</title></style></svg><img src=http://example.org/x onerror=alert(1)>",
    "\" onload=\"alert(1)\" x=\"",
    "' onfocus='alert(1)",
    "]]> --> <!-- <![CDATA[ &lt; &#x0; &nbsp;",
    "two\nlines\r\n\tand a tab",
    "",
    "   ",
    "\u{202e}right to left\u{200f} \u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{645}\u{631}\u{62d}\u{628}\u{627}",
    "\u{0}\u{1}\u{1b}[31m\u{85}\u{9b}\u{fffe}\u{ffff}\u{feff}",
    "no value",
    "👩‍👩‍👧‍👦é\u{301}\u{301}\u{301}",
];

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(&HOSTILE[..]).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[<>&\"'/=a-z]{0,40}",
        1 => (1000..3000_usize).prop_map(|many| "<b>".repeat(many)),
    ]
}

fn numbers() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => -0.1..2.0_f64,
        1 => prop::num::f64::ANY,
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 0.0, -0.0, 5e-324]),
    ]
}

prop_compose! {
    /// A column of any kind and numbers, with any cells.
    fn any_column()(
        name in texts(),
        moved in texts(),
        n in prop::array::uniform8(numbers()),
        mean_shift in prop::option::of(numbers()),
        method in prop::sample::select(&Method::ALL[..]),
        kind in prop::sample::select(vec![Kind::Number, Kind::Category, Kind::Text, Kind::Embedding]),
        drifted in any::<bool>(),
        cells in prop::collection::vec((texts(), prop::option::of(numbers()), prop::option::of(numbers()), prop_oneof![0..100_u64, any::<u64>()], 0..100_u64), 0..40),
    ) -> ColumnResult {
        let cell = |(name, from, to, reference, window)| Cell { name, from, to, reference, window };
        ColumnResult {
            column: name,
            kind,
            method,
            value: n[0],
            lower: n[1],
            threshold: n[2],
            p_value: n[3],
            drifted,
            moved,
            mean_shift,
            design_effects: [n[4], n[5]],
            cells: cells.into_iter().map(cell).collect(),
        }
    }
}

prop_compose! {
    fn any_results()(
        words in prop::collection::vec(texts(), 9),
        n in prop::collection::vec(numbers(), 16),
        columns in prop::collection::vec(any_column(), 0..6),
        of_segment in prop::collection::vec(any_column(), 0..3),
        end in prop::option::of(0..4_000_000_000_i64),
        rows in any::<u64>(),
        has in prop::array::uniform4(any::<bool>()),
        verdict in prop::sample::select(vec![WindowVerdict::Healthy, WindowVerdict::Drifted, WindowVerdict::DataBroken, WindowVerdict::NotEnoughData, WindowVerdict::Failed]),
    ) -> Results {
        let mut results = results();
        results.verdict = verdict;
        results.message.clone_from(&words[0]);
        results.window.name.clone_from(&words[1]);
        results.window.end = end.and_then(|end| jiff::Timestamp::from_second(end).ok());
        results.window.rows = rows;
        results.window.effective_rows = n[0];
        results.reference.name.clone_from(&words[2]);
        results.reference.digest = has[0].then(|| words[3].clone());
        results.settings.unit = has[1].then(|| words[4].clone());
        results.settings.confidence = n[1];
        results.settings.drifted_share = n[2];
        results.findings[0].words.clone_from(&words[5]);
        results.performance = has[2].then(|| Performance {
            rows,
            metric: words[6].clone(),
            value: has[3].then_some(n[3]),
            interval: has[0].then_some([n[4], n[5]]),
            fallen: has[1],
        });
        results.expected[0] = Expected {
            metric: words[6].clone(),
            value: n[6],
            interval: [n[7], n[8]],
            reference: has[3].then_some(n[9]),
            uncovered: n[10],
        };
        results.segments[0].segment.clone_from(&words[7]);
        results.segments[0].message.clone_from(&words[8]);
        results.segments[0].performance = results.performance.clone();
        results.segments[0].columns = of_segment;
        results.columns = columns;
        results
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the data say, the page is made of the same as if they said `s1`, `s2` and so on.
    #[test]
    fn no_text_of_the_data_is_anything_but_text(
        now in any_results(),
        before in prop::collection::vec(any_results(), 0..4),
    ) {
        let mut texts = BTreeSet::new();
        for results in before.iter().chain([&now]) {
            with_texts(results, &mut |text| {
                texts.insert(text.to_owned());
                text.to_owned()
            });
        }
        // In the same order, and the same where they were.
        let tame: BTreeMap<String, String> = texts
            .into_iter()
            .enumerate()
            .map(|(at, text)| (text, format!("s{at:06}")))
            .collect();
        let tamed = |results: &Results| with_texts(results, &mut |text| tame[text].clone());
        let tame_before: Vec<Results> = before.iter().map(&tamed).collect();
        let page = html(&now, &before);
        prop_assert_eq!(skeleton(&page), skeleton(&html(&tamed(&now), &tame_before)));
        prop_assert!(!page.contains("<script") && !page.contains("<img"));
    }
}

#[test]
fn names_are_seen_as_they_are_and_what_is_hidden_in_them_is_named() {
    let mut hostile = results();
    for (column, name) in hostile.columns.iter_mut().zip(HOSTILE) {
        name.clone_into(&mut column.column);
    }
    HOSTILE[8].clone_into(&mut hostile.columns[3].column);
    let page = html(&hostile, &[]);
    let document = parsed(&page);
    let all: Vec<String> = document
        .descendants()
        .filter(|element| element.has_tag_name("bdi"))
        .filter_map(|element| element.text().map(str::to_owned))
        .collect();
    for name in &HOSTILE[..3] {
        assert!(all.iter().any(|text| text == name), "{name}: {all:?}");
    }
    assert!(
        all.iter()
            .any(|text| text.starts_with("⟨U+202E⟩right to left⟨U+200F⟩"))
    );
}
