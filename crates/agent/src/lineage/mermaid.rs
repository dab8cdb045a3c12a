//! A graph as a Mermaid flow chart, which GitHub, GitLab and mdBook draw.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::graph::{Graph, Kind, NodeId, Presence, Relation};
use super::tree::title;
use super::visible;

/// The chart.
pub fn render(graph: &Graph<'_>) -> String {
    let names: BTreeMap<&NodeId, String> = graph
        .nodes
        .keys()
        .enumerate()
        .map(|(at, id)| (id, format!("n{at}")))
        .collect();
    let mut chart = "flowchart LR\n".to_owned();
    for (id, node) in &graph.nodes {
        let mut label = escape(&title(id.kind, node));
        for fact in &node.facts {
            label.push_str("<br/>");
            label.push_str(&escape(fact));
        }
        let (open, close) = shape(id.kind);
        let class = match node.presence {
            Presence::Gone => ":::gone",
            Presence::There if *id == graph.root => ":::root",
            Presence::There => "",
        };
        let _ = writeln!(chart, "  {}{open}\"{label}\"{close}{class}", names[id]);
    }
    for edge in graph.edges.keys() {
        let arrow = if is_against(edge.relation) {
            "-.->"
        } else {
            "-->"
        };
        let _ = writeln!(
            chart,
            "  {} {arrow}|\"{}\"| {}",
            names[&edge.from],
            edge.relation.downward(),
            names[&edge.to]
        );
    }
    chart.push_str("  classDef gone stroke-dasharray:4 4,opacity:0.6\n");
    chart.push_str("  classDef root stroke-width:3px\n");
    chart
}

/// Whether an edge speaks against the version.
fn is_against(relation: Relation) -> bool {
    matches!(
        relation,
        Relation::RolledBack | Relation::Quarantined | Relation::Drifted
    )
}

fn shape(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Code | Kind::Image => ("[/", "/]"),
        Kind::Data | Kind::Report | Kind::Baseline => ("[(", ")]"),
        Kind::Step | Kind::Attempt | Kind::TrainingJob | Kind::Validation => ("[", "]"),
        Kind::ModelVersion => ("([", "])"),
        Kind::ModelDeployment => ("[[", "]]"),
        Kind::DriftMonitor => ("{{", "}}"),
    }
}

/// Text that Mermaid takes as it is: all but plain characters become its entities, `#35;` for `#`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in visible(text).chars() {
        match letter {
            letter if letter.is_control() => escaped.push(' '),
            letter if letter.is_alphanumeric() || " .,:/@%+=()-_'".contains(letter) => {
                escaped.push(letter);
            }
            other => {
                let _ = write!(escaped, "#{};", u32::from(other));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_chart_of_a_version() {
        let objects = fixture::objects();
        let chart = render(&fixture::graph(&objects, "churn-3"));
        assert_eq!(chart, include_str!("../../tests/lineage/churn-3.mmd"));
    }

    #[test]
    fn nothing_that_a_user_wrote_ends_a_label() {
        assert_eq!(
            escape("a\"]:::x[\"<script>`#35;\n|ü"),
            "a#34;#93;:::x#91;#34;#60;script#62;#96;#35;35#59; #124;ü"
        );
        // It would turn the text around if it were its entity.
        assert_eq!(escape("a\u{202e}b"), "a#10216;U+202E#10217;b");
    }

    #[test]
    fn each_edge_joins_nodes_that_are_there() {
        let objects = fixture::objects();
        let graph = fixture::graph(&objects, "churn-3");
        let chart = render(&graph);
        let edges = chart.lines().filter(|line| line.contains("->|"));
        assert_eq!(edges.count(), graph.edges.len());
        let nodes = chart
            .lines()
            .filter(|line| line.starts_with("  n") && !line.contains("->|"));
        assert_eq!(nodes.count(), graph.nodes.len());
    }
}
