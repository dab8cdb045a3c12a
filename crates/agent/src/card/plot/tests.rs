//! Whole plots.

use super::*;

fn row(label: &str, value: Option<f64>, interval: Option<[f64; 2]>, champion: Option<f64>) -> Row {
    Row {
        label: label.to_owned(),
        rows: "300 rows".to_owned(),
        is_judged: true,
        value,
        interval,
        champion,
        verdict: None,
    }
}

fn plot() -> Plot {
    Plot {
        id: "plot-a".to_owned(),
        title: "rocAuc".to_owned(),
        description: "rocAuc <by> segment".to_owned(),
        rows: vec![
            row("all rows", Some(0.75), Some([0.7, 0.8]), Some(0.72)),
            row("<script>", None, None, Some(0.75)),
        ],
        limits: vec![Limit {
            bound: Bound::Min,
            at: 0.65,
            written: "0.65".to_owned(),
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
    // From 0.6425 to 0.8075 on 404 units from 8.
    let expected = 8.0 + (0.75 - 0.6425) / 0.165 * 404.0;
    assert!((dots[0] - expected).abs() < 0.1, "{dots:?}");
    assert_eq!(svg.matches("class=\"whisker\"").count(), 1);
    assert_eq!(svg.matches("class=\"champion\"").count(), 2);
    assert_eq!(svg.matches("class=\"limit\"").count(), 1);
    assert!(
        svg.contains(
            "<title>all rows (300 rows): 0.7500 [0.7000, 0.8000], champion 0.7200</title>"
        )
    );
    assert!(svg.contains(">not defined</text>"));
    assert!(
        svg.contains("&lt;script&gt;") && !svg.contains("<script>"),
        "{svg}"
    );
}

#[test]
fn what_lies_beyond_the_axis_is_an_arrow_at_its_edge() {
    let mut plot = plot();
    plot.limits = vec![Limit {
        bound: Bound::Max,
        at: 1.5e9,
        written: "1500000000".to_owned(),
    }];
    plot.rows[1] = Row {
        is_judged: false,
        ..row("few", Some(-8.5), Some([-20.0, 0.75]), None)
    };
    let svg = plot.svg();
    assert!(
        svg.contains("text-anchor=\"end\">max 1500000000 →</text>"),
        "{svg}"
    );
    assert!(!svg.contains("class=\"limit\""));
    assert!(svg.contains("<path class=\"dot\" d=\"M8.0 "), "{svg}");
    assert_eq!(numbers(&svg, "cx").len(), 1);
}

#[test]
fn one_number_has_an_axis_and_none_has_no_plot() {
    let mut one = plot();
    one.limits.clear();
    one.rows = vec![row("all rows", Some(0.75), None, None)];
    assert!(one.svg().contains("class=\"dot\""));
    assert!(!one.svg().contains("NaN"));
    one.rows[0].value = None;
    assert_eq!(one.svg(), "");
}

#[test]
fn many_rows_are_drawn_in_parts_that_a_page_has_room_for() {
    let mut many = plot();
    many.rows = vec![row("a", Some(0.75), None, None); 2 * ROWS + 1];
    let svg = many.svg();
    assert_eq!(svg.matches("<svg").count(), 3);
    assert_eq!(svg.matches("class=\"dot\"").count(), 2 * ROWS + 1);
    assert!(svg.contains(">rocAuc (rows 41 to 41 of 41)</title>"));
    assert_eq!(svg.matches(" id=\"plot-a-1-title\"").count(), 1);
}
