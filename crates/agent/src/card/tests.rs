//! Whole cards of the fixture's objects.

use super::document::Document;
use super::notes::Notes;
use super::report::Report;
use super::*;
use crate::lineage::fixture;
use crate::objects::Objects;

const REPORT: &[u8] = include_bytes!("../../tests/lineage/report.json");

fn report() -> Report {
    Report::Read {
        content: serde_json::from_slice(REPORT).expect("a report"),
        is_recorded: true,
    }
}

fn made(objects: &Objects, name: &str, report: &Report, notes: &Notes) -> Document {
    let version = objects.version(name).expect("a version");
    let graph = trace(objects, version);
    content::document(&Record {
        objects,
        version,
        graph: &graph,
        report,
        notes,
    })
}

fn pages(objects: &Objects, name: &str, report: &Report, notes: &Notes) -> [String; 2] {
    let document = made(objects, name, report, notes);
    [html::render(&document), markdown::render(&document)]
}

#[test]
fn a_card_is_the_one_that_is_kept() {
    let [html, markdown] = pages(&fixture::objects(), "churn-3", &report(), &Notes::new());
    assert_eq!(markdown, include_str!("../../tests/lineage/churn-3.md"));
    assert_eq!(html, include_str!("../../tests/lineage/churn-3.html"));
}

#[test]
fn a_card_says_what_is_recorded() {
    for page in pages(&fixture::objects(), "churn-3", &report(), &Notes::new()) {
        for said in [
            "Model card: churn, version 3",
            "rita approved it",
            "It serves in churn.",
            "1.2 MiB (1234567 bytes)",
            "0.7812",
            "0.7695 to 0.7925",
            "customer: has no missing value, has no value twice",
            "learning",
            "registry.example.com/windlass-agent@sha256:9999",
            "Each record has the digest that it names",
            "demographicParity",
            "0.0631 to 0.1157",
            "in attempt 1: TrainerFailed",
        ] {
            assert!(page.contains(said), "{said} is not in\n{page}");
        }
    }
}

#[test]
fn nothing_in_a_page_is_fetched_or_run() {
    let [html, _] = pages(&fixture::objects(), "churn-3", &report(), &Notes::new());
    for no in [
        "<script", "<link", "<img", "<iframe", " src=", "@import", "url(", " onload", " onclick",
    ] {
        assert!(!html.contains(no), "{no}");
    }
    // The one address that is in it names the language of the plots.
    let addresses = html.matches("http://").count();
    assert_eq!(
        addresses,
        html.matches("http://www.w3.org/2000/svg").count()
    );
    assert_eq!(html.matches("<svg").count(), 2);
    assert_eq!(
        html.matches("<svg").count(),
        html.matches("<desc id=").count()
    );
    assert_eq!(
        html.matches("<table>").count(),
        html.matches("<caption>").count()
    );
}

/// Tags that are opened are closed, in their order.
#[test]
fn a_page_is_well_formed() {
    const ALONE: [&str; 3] = ["meta", "!DOCTYPE", "br"];
    let [html, _] = pages(&fixture::objects(), "churn-3", &report(), &Notes::new());
    let mut open: Vec<String> = Vec::new();
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().expect("a tag ends");
        let name = tag
            .trim_start_matches('/')
            .split(' ')
            .next()
            .expect("a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{tag}");
        } else if !tag.ends_with('/') && !ALONE.contains(&name) {
            open.push(name.to_owned());
        }
    }
    assert_eq!(open, Vec::<String>::new());
    let ids: Vec<&str> = html
        .split(" id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let different: std::collections::BTreeSet<&&str> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "an id is there twice");
    for target in html.split("aria-labelledby=\"").skip(1) {
        for id in target.split('"').next().expect("ids").split(' ') {
            assert!(ids.contains(&id), "{id}");
        }
    }
}

/// What a user can write anywhere stays text.
#[test]
fn all_text_of_users_is_text() {
    const EVIL: &str = "<script>alert(1)</script> | `x` *y* [z](javascript:a)\n# h";
    let mut objects = fixture::objects();
    let version = objects.versions.get_mut("churn-3").expect("there");
    version.spec.model = EVIL.to_owned();
    version.spec.artifact.format = EVIL.to_owned();
    version
        .spec
        .parameters
        .insert(EVIL.to_owned(), EVIL.to_owned());
    version.spec.images = vec![EVIL.to_owned()];
    version.spec.inputs[0].name = EVIL.to_owned();
    version.spec.inputs[0].uri = EVIL.to_owned();
    let review = version.spec.review.as_mut().expect("a review");
    (review.by, review.reason) = (EVIL.to_owned(), EVIL.to_owned());
    let status = version.status.as_mut().expect("a status");
    status.decisions[2].reason = EVIL.to_owned();
    let found = status.validation.as_mut().expect("a validation");
    found.message = EVIL.to_owned();
    found.metrics[2].segment = Some(EVIL.to_owned());
    let notes = Notes::from([("1a".to_owned(), EVIL.to_owned())]);
    let mut evil_report: serde_json::Value = serde_json::from_slice(REPORT).expect("JSON");
    evil_report["metrics"][2]["segment"] = EVIL.into();
    evil_report["worstSlices"][0]["predicate"] = EVIL.into();
    evil_report["fairness"][0]["name"] = EVIL.into();
    let evil_report = Report::Read {
        content: serde_json::from_value(evil_report).expect("a report"),
        is_recorded: true,
    };
    for report in [&Report::None, &evil_report] {
        let [html, markdown] = pages(&objects, "churn-3", report, &notes);
        assert!(!html.contains("<script"), "{html}");
        assert!(html.matches("&lt;script&gt;").count() >= 12);
        assert!(
            markdown.contains("not as it was written"),
            "a changed record is named"
        );
        assert!(!markdown.contains("<script"), "{markdown}");
        assert!(!markdown.contains("\n# h"), "{markdown}");
        assert!(!markdown.contains("[z](javascript"), "{markdown}");
        // Each row of a table has as many cells as its head.
        let mut width = 0;
        for line in markdown.lines() {
            let cells = line.replace("\\|", "").matches('|').count();
            if line.starts_with("| ") {
                width = if width == 0 { cells } else { width };
                assert_eq!(cells, width, "{line}");
            } else if !line.starts_with('|') {
                width = 0;
            }
        }
    }
}

#[test]
fn what_nobody_wrote_is_visibly_empty_and_what_somebody_wrote_is_there() {
    let objects = fixture::objects();
    let empty = "To be written by a person";
    let [html, markdown] = pages(&objects, "churn-3", &Report::None, &Notes::new());
    // All of the 23 points but the tests and the changes, which the record tells.
    assert_eq!(
        (html.matches(empty).count(), markdown.matches(empty).count()),
        (21, 21)
    );
    let notes = Notes::from([
        (
            "5".to_owned(),
            "The risks are in our register.\n\nIt is kept.".to_owned(),
        ),
        ("8".to_owned(), "  ".to_owned()),
    ]);
    for page in pages(&objects, "churn-3", &Report::None, &notes) {
        assert_eq!(page.matches(empty).count(), 20);
        assert!(page.contains("The risks are in our register."));
    }
}

#[test]
fn a_version_that_was_registered_and_one_that_was_taken_back_have_cards_too() {
    let objects = fixture::objects();
    let [registered, _] = pages(&objects, "churn-5", &Report::None, &Notes::new());
    assert!(registered.contains("It was not judged by a validation"));
    assert!(registered.contains("No hyperparameters are recorded."));
    let [taken_back, _] = pages(&objects, "churn-4", &Report::None, &Notes::new());
    assert!(taken_back.contains("It did harm and is kept out of churn."));
}

#[test]
fn a_report_that_cannot_be_read_is_said() {
    let objects = fixture::objects();
    let stored = |version: &windlass_api::ModelVersion| {
        let status = version.status.as_ref()?;
        status.validation.as_ref()?.report.clone()
    };
    let stored = stored(objects.version("churn-3").expect("there")).expect("a report");
    let unreadable = Report::Unreadable(stored);
    for page in pages(&objects, "churn-3", &unreadable, &Notes::new()) {
        assert!(page.contains("Give it with --report"));
        // The metrics are then those of the record.
        assert!(page.contains("0.7812") && !page.contains("country = &#39;LU&#39;"));
    }
}

#[test]
fn the_ending_of_the_output_says_the_format() {
    for (path, format) in [
        ("a.html", Some(Format::Html)),
        ("a.HTM", Some(Format::Html)),
        ("b/a.md", Some(Format::Markdown)),
        ("a", None),
        ("a.pdf", None),
    ] {
        assert_eq!(Format::of(Path::new(path)).ok(), format, "{path}");
    }
}
