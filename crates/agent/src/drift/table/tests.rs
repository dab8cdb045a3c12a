use super::super::html::tests::{column, results};
use super::*;

#[test]
fn a_table_of_80_places_is_as_it_was_looked_at() {
    insta::assert_snapshot!(table(&results(), 80, false));
}

#[test]
fn a_table_of_140_places_is_as_it_was_looked_at() {
    insta::assert_snapshot!(table(&results(), 140, false));
}

/// Letters that take two places, and none.
#[test]
fn no_line_is_wider_than_the_terminal_but_for_a_word_that_is() {
    let mut results = results();
    results.columns[0].column = "気温".repeat(40);
    results.columns[1].column = "e\u{301}".repeat(90);
    results.columns[2].moved = "moved ".repeat(60);
    results.message = "why ".repeat(90);
    results.window.name = "name ".repeat(60);
    results.segments[0].segment = "origin = 'JFK' AND ".repeat(20);
    for width in [60, 80, 100, 140, 200] {
        for line in table(&results, width, false).lines() {
            assert!(line.width() <= width, "{width}: {} {line}", line.width());
        }
    }
    assert_eq!(table(&results, 3, false), table(&results, 60, false));
}

#[test]
fn columns_of_a_table_stand_below_each_other() {
    let mut results = results();
    results.columns[0].column = "気温".to_owned();
    let text = table(&results, 140, false);
    let (_, rows) = text.split_once("columns drifted\n").expect("there");
    let place = |part: &str| {
        let line = rows.lines().find(|line| line.contains(part));
        let (before, _) = line.and_then(|line| line.split_once(part)).expect("there");
        before.width()
    };
    assert_eq!(place("moved"), place("mean 9.9"));
    assert_eq!(place("holds"), place("category"));
}

#[test]
fn no_name_does_anything_to_the_terminal() {
    let mut results = results();
    results.message = "\u{1b}[2Jall\ngone\u{7}".to_owned();
    results.columns[0].column = "\u{1b}]0;title\u{7}\u{202e}\r\n".to_owned();
    results.findings[0].words = "\u{9b}31m".to_owned();
    results.segments[0].segment = "\u{8}\u{8}".to_owned();
    let text = table(&results, 140, false);
    let obeyed = |letter: char| letter.is_control() && letter != '\n';
    assert!(!text.contains(obeyed), "{text:?}");
    assert!(text.contains("⟨U+202E⟩"));
    // In colours there are those, and no others.
    let mut coloured = table(&results, 140, true);
    for tone in [Tone::Good, Tone::Warning, Tone::Bad, Tone::Heading] {
        coloured = coloured.replace(tone.code(), "");
    }
    assert_eq!(coloured.replace("\u{1b}[0m", ""), text);
}

#[test]
fn all_that_drifted_are_listed_and_of_the_others_ten() {
    let mut results = results();
    let drifted = ColumnResult {
        drifted: true,
        ..column("a")
    };
    results.columns = vec![drifted; 60];
    results.columns.extend(vec![column("b"); 940]);
    let text = table(&results, 100, false);
    assert!(text.contains("60 of 1000 columns drifted\n"));
    assert!(text.contains("\n  and 10 more that drifted\n  and 930 more that did not drift\n"));
    assert_eq!(text.matches("\n!  a ").count(), 50);
    let lines = text.lines().filter(|line| line.starts_with("   b "));
    assert_eq!(lines.count(), 10);
}

#[test]
fn a_window_of_which_nothing_is_known_is_a_few_lines() {
    let results = Results {
        verdict: WindowVerdict::NotEnoughData,
        message: "3 rows, and at least 500 are asked for".to_owned(),
        window: Judged {
            name: "today.csv".to_owned(),
            rows: 3,
            effective_rows: 3.0,
            ..Judged::default()
        },
        columns: Vec::new(),
        findings: Vec::new(),
        performance: None,
        expected: Vec::new(),
        segments: Vec::new(),
        ..results()
    };
    let mut expected = "NotEnoughData: 3 rows, and at least 500 are asked for\n\n".to_owned();
    let _ = writeln!(expected, "window    today.csv, 3 rows");
    let _ = writeln!(expected, "reference flights-1's baseline, 1000 rows");
    assert_eq!(table(&results, 100, false), expected);
}

#[test]
fn only_a_healthy_window_ends_well_and_no_two_kinds_of_end_are_one() {
    let code = |verdict| exit_code(verdict);
    assert_eq!(code(WindowVerdict::Healthy), 0);
    assert_eq!(code(WindowVerdict::Failed), 1);
    assert_eq!(code(WindowVerdict::Drifted), code(WindowVerdict::Drifting));
    let mut codes = vec![
        code(WindowVerdict::Healthy),
        code(WindowVerdict::Failed),
        code(WindowVerdict::Drifted),
        code(WindowVerdict::DataBroken),
        code(WindowVerdict::NotEnoughData),
    ];
    // Nor is one that of a failure, or of a signal.
    codes.extend([2, 64, 65, 66, 127, 128]);
    codes.sort_unstable();
    let all = codes.len();
    codes.dedup();
    assert_eq!(codes.len(), all);
}
