//! A card as Markdown (CommonMark with tables, as GitHub and GitLab have it).

use std::fmt::Write as _;

use super::document::{Block, Document, Inline, Item, Kind, Section, Table};
use crate::lineage::visible;

/// The document.
pub fn render(document: &Document) -> String {
    let mut text = format!(
        "# {}\n\n{}\n",
        escape(&document.title),
        inline(&document.summary)
    );
    for one in &document.sections {
        section(&mut text, one);
    }
    let _ = write!(text, "\n---\n\n{}\n", inline(&document.footer));
    text
}

fn section(text: &mut String, section: &Section) {
    let marks = "#".repeat(usize::from(section.depth));
    let _ = write!(text, "\n{marks} {}\n", escape(&section.heading));
    for one in &section.blocks {
        block(text, one);
    }
}

fn block(text: &mut String, block: &Block) {
    match block {
        Block::Paragraph(line) => {
            let _ = write!(text, "\n{}\n", inline(line));
        }
        Block::Warning(line) => {
            let _ = write!(text, "\n> **Warning:** {}\n", pieces(line));
        }
        Block::Table(one) => table(text, one),
        // The table after a plot has the same numbers.
        Block::Legend(_) | Block::Plot(_) => {}
        Block::List(items) => {
            text.push('\n');
            list(text, items, 0);
        }
        Block::Mermaid(chart) => {
            let _ = write!(text, "\n```mermaid\n{chart}```\n");
        }
        Block::Written(paragraphs) => {
            for paragraph in paragraphs {
                let lines = paragraph.lines().map(|line| at_line_start(&escape(line)));
                let lines: Vec<String> = lines.collect();
                let _ = write!(text, "\n> {}\n", lines.join("  \n> "));
            }
        }
        Block::Empty(key) => {
            let _ = write!(
                text,
                "\n**To be written by a person** (key `{key}` of the notes).\n"
            );
        }
    }
}

fn table(text: &mut String, table: &Table) {
    let _ = write!(text, "\n*{}*\n\n", escape(&table.caption));
    let heads = table.columns.iter().map(|column| escape(column.name));
    let rules = table.columns.iter().map(|column| match column.kind {
        Kind::Number => "---:",
        Kind::Text | Kind::Prose | Kind::Word => "---",
    });
    let (heads, rules): (Vec<String>, Vec<&str>) = heads.zip(rules).unzip();
    let _ = writeln!(text, "| {} |", heads.join(" | "));
    let _ = writeln!(text, "| {} |", rules.join(" | "));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(|cell| pieces(cell)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

fn list(text: &mut String, items: &[Item], depth: usize) {
    for item in items {
        let indent = "  ".repeat(depth);
        let _ = writeln!(text, "{indent}- {}", at_line_start(&escape(&item.line)));
        list(text, &item.items, depth + 1);
    }
}

/// A line of its own.
fn inline(line: &[Inline]) -> String {
    at_line_start(pieces(line).trim())
}

fn pieces(line: &[Inline]) -> String {
    line.iter()
        .map(|piece| match piece {
            // Whoever draws Markdown makes the ids of headings in his own way: a link would lead nowhere.
            Inline::Text(text) | Inline::Link { text, .. } => escape(text),
            Inline::Code(text) => code(text),
            Inline::Strong(text) => format!("**{}**", escape(text)),
            Inline::Break => "<br>".to_owned(),
        })
        .collect()
}

/// A code span; what holds a sign that ends one, or a cell, is plain text.
fn code(text: &str) -> String {
    let shown = visible(text);
    let is_plain = shown
        .chars()
        .all(|letter| !letter.is_control() && letter != '`' && letter != '|');
    if is_plain && !shown.trim().is_empty() {
        format!("`{shown}`")
    } else {
        escape(text)
    }
}

/// Text as it is: nothing in it is a mark, a tag, a link or a cell's end.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in visible(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// What begins a line and would make a heading, a list or a rule of it is marked as text.
fn at_line_start(text: &str) -> String {
    let digits = text.len()
        - text
            .trim_start_matches(|letter: char| letter.is_ascii_digit())
            .len();
    let mut rest = text[digits..].chars();
    match (rest.next(), rest.next()) {
        (Some('.' | ')'), None | Some(' ')) if digits > 0 => {
            format!("{}\\{}", &text[..digits], &text[digits..])
        }
        (Some('#' | '+' | '-' | '='), _) if digits == 0 => format!("\\{text}"),
        (Some(_) | None, _) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text() {
        assert_eq!(
            escape("<script> | `x` *a* _b_ [c](d) \\ & ~~e~~\nf"),
            "&lt;script&gt; \\| \\`x\\` \\*a\\* \\_b\\_ \\[c\\](d) \\\\ &amp; \\~\\~e\\~\\~ f"
        );
        assert_eq!(code("sha256:ab"), "`sha256:ab`");
        assert_eq!(code("a`b|c"), "a\\`b\\|c");
        assert_eq!(escape("a\u{202e}b"), "a⟨U+202E⟩b");
        assert_eq!(code("a\u{202e}b"), "`a⟨U+202E⟩b`");
    }

    #[test]
    fn a_line_begins_no_heading_and_no_list() {
        for (text, expected) in [
            ("# a", "\\# a"),
            ("- a", "\\- a"),
            ("12. a", "12\\. a"),
            ("1) a", "1\\) a"),
            ("12 a", "12 a"),
            ("0.75 to 1", "0.75 to 1"),
            ("1.", "1\\."),
            ("a - b", "a - b"),
            ("", ""),
        ] {
            assert_eq!(at_line_start(text), expected);
        }
    }
}
