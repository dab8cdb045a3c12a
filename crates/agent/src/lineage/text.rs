//! A graph as a tree for a terminal.

use super::graph::Graph;
use super::tree::{Branch, title, tree};
use super::visible;

/// The tree, a line a node:
///
/// ```text
/// ModelVersion churn-3: ONNX, sha256:aaaaaaaaaaaa
/// ├─ came from
/// │  └─ made by TrainingJob churn-train: 2 attempts
/// └─ led to
///    └─ serves in ModelDeployment churn: since 2026-11-02T10:00:00Z
/// ```
pub fn render(graph: &Graph<'_>) -> String {
    let tree = tree(graph);
    let root = title(graph.root.kind, tree.root);
    let root = format!("{root}: {}", tree.root.facts.join(", "));
    let mut lines = vec![one_line(&root)];
    let parts = [("came from", &tree.came_from), ("led to", &tree.led_to)];
    for (at, (words, branches)) in parts.into_iter().enumerate() {
        let is_last = at == 1;
        let (fork, below) = strokes(is_last);
        let nothing = if branches.is_empty() {
            ": nothing that the objects tell"
        } else {
            ""
        };
        lines.push(format!("{fork}{words}{nothing}"));
        write(branches, below, &mut lines);
    }
    lines.push(String::new());
    lines.join("\n")
}

fn write(branches: &[Branch<'_>], indent: &str, lines: &mut Vec<String>) {
    for (at, branch) in branches.iter().enumerate() {
        let (fork, below) = strokes(at + 1 == branches.len());
        lines.push(format!("{indent}{fork}{}", one_line(&branch.line())));
        write(&branch.branches, &format!("{indent}{below}"), lines);
    }
}

fn strokes(is_last: bool) -> (&'static str, &'static str) {
    if is_last {
        ("└─ ", "   ")
    } else {
        ("├─ ", "│  ")
    }
}

/// Without line breaks and other control characters, which a terminal would obey.
fn one_line(text: &str) -> String {
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    visible(text).chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_tree_of_a_version_that_drift_asked_for() {
        let objects = fixture::objects();
        let text = render(&fixture::graph(&objects, "churn-3"));
        assert_eq!(text, include_str!("../../tests/lineage/churn-3.txt"));
    }

    #[test]
    fn the_tree_of_a_version_that_was_taken_back() {
        let objects = fixture::objects();
        let text = render(&fixture::graph(&objects, "churn-4"));
        assert_eq!(text, include_str!("../../tests/lineage/churn-4.txt"));
    }

    #[test]
    fn what_a_user_wrote_cannot_command_a_terminal() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc\u{7}"), "a [2Jb c ");
        assert_eq!(one_line("a\u{202e}b"), "a⟨U+202E⟩b");
        let mut objects = fixture::objects();
        let version = objects.versions.get_mut("churn-3").expect("there");
        let evil = "\u{1b}[2J\n".to_owned();
        version
            .spec
            .review
            .as_mut()
            .expect("a review")
            .by
            .clone_from(&evil);
        version.spec.inputs[0].uri = evil;
        let text = render(&fixture::graph(&objects, "churn-3"));
        assert!(text.lines().all(|line| !line.contains(char::is_control)));
        let whole = render(&fixture::graph(&fixture::objects(), "churn-3"));
        assert_eq!(text.lines().count(), whole.lines().count());
    }
}
