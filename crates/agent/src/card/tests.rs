//! Whole cards of the fixture's objects.

use serde_json::json;

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
            "1.2 MiB (1\u{202f}234\u{202f}567 bytes)",
            "0.7812",
            "0.7695 to 0.7925",
            "customer: has no missing value, has no value twice",
            "learning",
            "registry.example.com/windlass-agent@sha256:9999",
            "Each record has the digest that it names",
            "demographicParity",
            "0.06310 to 0.1157",
            "in attempt 1: TrainerFailed",
            "550.54.15",
            "32 % of the columns drifted",
            "It rests on",
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
    assert_eq!(html.matches("<svg").count(), 2, "differences have no plot");
    assert_eq!(
        html.matches("<svg").count(),
        html.matches("<desc id=").count()
    );
    assert_eq!(
        html.matches("<table").count(),
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
    for attribute in ["aria-labelledby=\"", "aria-describedby=\"", "href=\"#"] {
        assert!(html.contains(attribute));
        for target in html.split(attribute).skip(1) {
            let id = target.split('"').next().expect("an id");
            assert!(ids.contains(&id), "{id}");
        }
    }
}

/// What a user can write anywhere stays text.
#[test]
fn all_text_of_users_is_text() {
    const EVIL: &str = "<script>alert(1)</script> | `x` *y* [z](javascript:a)\n# h\u{202e}";
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
    evil_report["metrics"][7]["name"] = format!("equalOpportunity by {EVIL}").into();
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
        for page in [&html, &markdown] {
            assert!(!page.contains('\u{202e}') && !page.contains("#8238;"));
            assert!(page.matches("⟨U+202E⟩").count() >= 12);
        }
        assert!(
            markdown.contains("#10216;U+202E#10217;"),
            "in the chart, too"
        );
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
    assert_eq!(
        (html.matches(empty).count(), markdown.matches(empty).count()),
        (23, 23)
    );
    let notes = Notes::from([
        (
            "5".to_owned(),
            "The risks are in our register:\n- it is kept\n\nBy ann.".to_owned(),
        ),
        ("8".to_owned(), "  ".to_owned()),
    ]);
    let [html, markdown] = pages(&objects, "churn-3", &Report::None, &notes);
    for page in [&html, &markdown] {
        assert_eq!(page.matches(empty).count(), 22);
        assert!(page.contains("yet to write about 22 of the 23 points: "));
    }
    assert!(html.contains("<a href=\"#annex-iv-2g\">2(g)</a>"));
    assert!(!html.contains("<a href=\"#annex-iv-5\">5</a>"));
    assert!(html.contains("<p>The risks are in our register:\n- it is kept</p>"));
    let lines = "> The risks are in our register:  \n> \\- it is kept\n\n> By ann.\n";
    assert!(markdown.contains(lines), "{markdown}");
}

#[test]
fn points_stand_under_the_heading_of_their_group() {
    let document = made(&fixture::objects(), "churn-3", &Report::None, &Notes::new());
    let annex = document.sections.iter();
    let annex = annex.skip_while(|section| section.id != "annex-iv");
    let outline: Vec<(u8, &str)> = annex
        .map(|section| {
            let number = section.heading.split(' ').next().expect("a number");
            (section.depth, number)
        })
        .collect();
    assert_eq!(outline[1..4], [(3, "1"), (4, "1(a)"), (4, "1(b)")]);
    assert_eq!(outline[9..11], [(4, "1(h)"), (3, "2")]);
    assert_eq!(outline[18..21], [(4, "2(h)"), (3, "3"), (3, "4")]);
}

/// What a version's validation asks for, in place of what the fixture's asks for.
fn asking(objects: &mut Objects, name: &str, asked: &serde_json::Value) {
    let version = objects.versions.get_mut(name).expect("there");
    let mut validation = json!({"dataset": {"uri": "s3://h/", "label": "y"}});
    let fields = validation.as_object_mut().expect("an object");
    fields.extend(asked.as_object().cloned().expect("an object"));
    version.spec.validation = Some(serde_json::from_value(validation).expect("a validation"));
}

fn reported(report: serde_json::Value) -> Report {
    Report::Read {
        content: serde_json::from_value(report).expect("a report"),
        is_recorded: false,
    }
}

#[test]
fn a_limit_is_found_by_the_name_that_reports_give_it() {
    let mut objects = fixture::objects();
    let asked = json!({
        "metrics": [{"name": "pinball", "quantile": "0.90", "max": "30000"}, {"name": "ndcg", "places": 10, "min": "0.5"}],
        "disparities": [{"name": "equalOpportunity", "by": "gender", "max": "0.07"}],
    });
    asking(&mut objects, "churn-3", &asked);
    let report = reported(json!({"metrics": [
        {"name": "pinball@0.9", "rows": 9120, "value": 21044.2, "interval": [20000.1, 22000.9], "verdict": "Pass"},
        {"name": "ndcg@10", "rows": 9120, "value": 0.61, "verdict": "Pass"},
        {"name": "equalOpportunity by gender", "rows": 46001, "value": 0.0312, "interval": [0.0121, 0.0503], "verdict": "Pass"},
    ]}));
    let [html, markdown] = pages(&objects, "churn-3", &report, &Notes::new());
    for said in [
        "pinball@0.9, lower is better; over all rows and by segment; asked for: max 30000",
        "ndcg@10, higher is better; over all rows and by segment; asked for: min 0.5",
        "21\u{202f}044",
    ] {
        assert!(
            html.contains(said) && markdown.contains(said),
            "{said} is not in\n{markdown}"
        );
    }
    assert_eq!(html.matches("class=\"limit-name\"").count(), 2);
    let row = "| equalOpportunity | gender | 46\u{202f}001 | 0.03120 | 0.01210 to 0.05030 | none | 0.07 | **Pass** |";
    assert!(markdown.contains(row), "{markdown}");
    assert!(markdown.contains(
        "pinball@0.9 at most 30000, ndcg@10 at least 0.5, equalOpportunity by gender at most 0.07"
    ));
}

#[test]
fn fairness_is_told_of_also_where_nothing_is_known_of_it() {
    let objects = fixture::objects();
    let [_, markdown] = pages(&objects, "churn-3", &report(), &Notes::new());
    for row in [
        "| demographicParity | age\\_group | 6000 | 0.04120 | 0.01170 to 0.07080 | 0.04550 | 0.1 | **Pass** |",
        "| equalOpportunity | age\\_group | 6000 | 0.09210 | 0.04040 to 0.1438 | 0.08730 | none | no limit |",
    ] {
        assert!(markdown.contains(row), "{row} is not in\n{markdown}");
    }
    assert!(!markdown.contains("### demographicParity"));
    let [_, not_asked] = pages(&objects, "churn-4", &Report::None, &Notes::new());
    assert!(not_asked.contains("No differences between groups were asked for"));
}

#[test]
fn what_is_not_so_is_not_said_of_a_version_that_was_registered() {
    let mut objects = fixture::objects();
    let status =
        json!({"validation": {"verdict": "Fail", "message": "not good enough", "rows": 48231}});
    let version = objects.versions.get_mut("churn-5").expect("there");
    version.status = Some(serde_json::from_value(status).expect("a status"));
    version.spec.approval = windlass_api::Approval::FourEyes;
    for page in pages(&objects, "churn-5", &Report::None, &Notes::new()) {
        for said in [
            "does not say Pass but",
            "; nobody has reviewed it. It serves nowhere.",
            "A validation judged it, and no metrics of that are recorded.",
            "It was registered, not trained here; no checks of its data are known.",
            "what served before it is not recorded",
            "48\u{202f}231",
        ] {
            assert!(page.contains(said), "{said} is not in\n{page}");
        }
        for not in [
            "awaits approval",
            "Nothing was measured",
            "is no longer there",
            "champion it may",
        ] {
            assert!(!page.contains(not), "{not} is in\n{page}");
        }
    }
}

#[test]
fn only_what_serves_answers_requests_and_is_watched() {
    let objects = fixture::objects();
    let of = |name| {
        let [_, markdown] = pages(&objects, name, &Report::None, &Notes::new());
        markdown
    };
    let serves = of("churn-3");
    for said in [
        "It answers requests of the Open Inference Protocol (version 2, HTTP) in the ModelDeployment churn.",
        "It served in the ModelDeployment churn-batch.",
        "The DriftMonitor churn-drift compares windows",
        "On drift the DriftMonitor churn-drift has a new version trained",
    ] {
        assert!(serves.contains(said), "{said} is not in\n{serves}");
    }
    let kept_out = of("churn-4");
    for not in [
        "It answers requests",
        "compares windows of",
        "On drift",
        "takes traffic in steps",
    ] {
        assert!(!kept_out.contains(not), "{not} is in\n{kept_out}");
    }
}

#[test]
fn the_champion_is_named_only_where_there_is_one() {
    let objects = fixture::objects();
    let metrics = json!([{"name": "rocAuc", "rows": 5, "value": 0.8}]);
    let alone =
        reported(json!({"confidence": 0.9, "margin": 0.01, "minSamples": 200, "metrics": metrics}));
    let [html, markdown] = pages(&objects, "churn-3", &alone, &Notes::new());
    assert!(html.contains("at a confidence of 0.9."), "{html}");
    assert!(!html.contains("Against the champion") && !html.contains("hollow diamond"));
    // Whoever shows no plots is not told of marks in them.
    assert!(!markdown.contains("In each plot"));
    let [of_record, _] = pages(&objects, "churn-3", &Report::None, &Notes::new());
    for said in [
        "Intervals are at a confidence of 0.95.",
        "Segments of fewer than 200 rows are not judged.",
        "Against the champion each metric may be worse by 0.01.",
        "a hollow diamond the champion",
    ] {
        assert!(of_record.contains(said), "{said} is not in\n{of_record}");
    }
}

#[test]
fn decisions_that_do_not_hold_together_are_a_warning_and_in_the_summary() {
    let mut objects = fixture::objects();
    let summary = |objects: &Objects| {
        let document = made(objects, "churn-3", &Report::None, &Notes::new());
        html::render(&Document {
            sections: Vec::new(),
            ..document
        })
    };
    let words = "<strong>What is recorded of its decisions does not hold together.</strong>";
    assert!(!summary(&objects).contains(words));
    let version = objects.versions.get_mut("churn-3").expect("there");
    let status = version.status.as_mut().expect("a status");
    let found = status.validation.as_mut().expect("a validation");
    found.report.as_mut().expect("a report").digest = "sha256:0".to_owned();
    assert!(summary(&objects).contains(words));
    let [html, markdown] = pages(&objects, "churn-3", &Report::None, &Notes::new());
    assert!(html.contains("<p class=\"warning\"><strong>Warning:</strong> The verdict of record 2 rests on another report"));
    assert!(markdown.contains("> **Warning:** The verdict of record 2 rests"));
}

#[test]
fn a_cell_without_a_word_says_so() {
    let mut objects = fixture::objects();
    let version = objects.versions.get_mut("churn-3").expect("there");
    version
        .spec
        .parameters
        .insert(String::new(), " ".to_owned());
    let [html, markdown] = pages(&objects, "churn-3", &Report::None, &Notes::new());
    assert!(html.contains("<th scope=\"row\">(empty)</th>\n<td>(empty)</td>"));
    assert!(markdown.contains("| (empty) | (empty) |"));
}

#[test]
fn a_version_that_was_registered_and_one_that_was_taken_back_have_cards_too() {
    let objects = fixture::objects();
    let [registered, _] = pages(&objects, "churn-5", &Report::None, &Notes::new());
    assert!(registered.contains("It was not judged by a validation"));
    assert!(registered.contains("No hyperparameters are recorded."));
    let [taken_back, _] = pages(&objects, "churn-4", &Report::None, &Notes::new());
    assert!(taken_back.contains("<header>\n<h1>Model card: churn, version 4</h1>\n<p><strong>It did harm and is kept out of churn.</strong> "));
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
