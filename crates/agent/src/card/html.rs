//! A card as one HTML page: no script, nothing that is fetched, readable in the dark, on paper and aloud.

use std::fmt::Write as _;

use super::document::{Block, Column, Document, Inline, Item, Kind, Section, Table};
use crate::page::{escape, head};

/// What of a card no other page has.
const STYLE: &str = "
th code { overflow-wrap: break-word; }
td { min-width: 8rem; }
td:has(> code) { min-width: 14rem; }
.facts th { width: 14rem; }
.prose { width: 40%; min-width: 16rem; }
.number, .word { min-width: 0; }
.empty { background: var(--empty); color: var(--empty-ink); border-left: 0.3rem solid var(--empty-ink); padding: 0.4rem 0.8rem; }
.written { border-left: 0.3rem solid var(--rule); padding-left: 0.8rem; }
.written p { white-space: pre-line; }
.plot { display: block; width: 100%; max-width: 30rem; height: auto; margin: 1rem 0; font: 14px system-ui, sans-serif; fill: var(--ink); }
.plot text { stroke: var(--paper); stroke-width: 4; stroke-linejoin: round; paint-order: stroke; }
.plot .bad { font-weight: 600; }
.plot .title, .plot .tick { fill: var(--faint); font-size: 13px; }
.plot .bad, .plot .limit-name { fill: var(--limit); font-size: 13px; }
.plot .grid { stroke: var(--rule); stroke-width: 0.5; }
.plot .whisker { stroke: var(--mark); stroke-width: 1.5; fill: none; }
.plot .dot { fill: var(--mark); }
.plot .champion { stroke: var(--other); stroke-width: 1.5; fill: none; }
.plot .limit { stroke: var(--limit); stroke-width: 1.5; stroke-dasharray: 5 3; }
@media (max-width: 40rem) { .facts th { width: auto; } }
@media print { .plot, .empty { break-inside: avoid; } .plot { max-width: 13cm; } td:has(> code) { min-width: 0; } }
";

/// The page.
pub fn render(document: &Document) -> String {
    let title = escape(&document.title);
    let mut page = head(&document.title, STYLE);
    let _ = write!(
        page,
        "<header>\n<h1>{title}</h1>\n<p>{}</p>\n</header>\n",
        inline(&document.summary)
    );
    contents(&mut page, &document.sections);
    page.push_str("<main>\n");
    for one in &document.sections {
        section(&mut page, one);
    }
    let _ = write!(
        page,
        "</main>\n<footer>\n<p>{}</p>\n</footer>\n</body>\n</html>\n",
        inline(&document.footer)
    );
    page
}

/// The sections, and the parts of each in a list below it.
fn contents(page: &mut String, sections: &[Section]) {
    page.push_str("<nav aria-label=\"Contents\">\n<ul>\n");
    let mut rest = sections;
    while let Some((section, after)) = rest.split_first() {
        let is_own = |part: &&Section| part.depth > section.depth;
        let parts = after.iter().take_while(is_own).count();
        let (parts, after) = after.split_at(parts);
        rest = after;
        let _ = write!(page, "<li>{}", link(&section.id, &section.heading));
        let mut parts = parts.iter().filter(|part| part.depth == 3).peekable();
        if parts.peek().is_some() {
            page.push_str("\n<ul>\n");
            for part in parts {
                let _ = writeln!(page, "<li>{}</li>", link(&part.id, &part.heading));
            }
            page.push_str("</ul>\n");
        }
        page.push_str("</li>\n");
    }
    page.push_str("</ul>\n</nav>\n");
}

fn link(to: &str, text: &str) -> String {
    format!("<a href=\"#{to}\">{}</a>", escape(text))
}

fn section(page: &mut String, section: &Section) {
    let Section {
        depth, id, heading, ..
    } = section;
    // Only the sections are landmarks: a list of all their parts leads nowhere faster.
    let label = match depth {
        2 => format!(" aria-labelledby=\"{id}\""),
        _ => String::new(),
    };
    let _ = writeln!(
        page,
        "<section{label}>\n<h{depth} id=\"{id}\">{}</h{depth}>",
        escape(heading)
    );
    for one in &section.blocks {
        block(page, one);
    }
    page.push_str("</section>\n");
}

fn block(page: &mut String, block: &Block) {
    match block {
        Block::Paragraph(line) => {
            let _ = writeln!(page, "<p>{}</p>", inline(line));
        }
        Block::Warning(line) => {
            let _ = writeln!(
                page,
                "<p class=\"warning\"><strong>Warning:</strong> {}</p>",
                inline(line)
            );
        }
        Block::Table(one) => table(page, one),
        Block::Legend(words) => {
            let _ = writeln!(page, "<p class=\"legend\">{}</p>", escape(words));
        }
        Block::Plot(plot) => page.push_str(&plot.svg()),
        Block::List(items) => list(page, items),
        // The list before it says the same, and a page without a script draws no chart.
        Block::Mermaid(_) => {}
        Block::Written(paragraphs) => {
            page.push_str("<div class=\"written\">\n");
            for paragraph in paragraphs {
                let _ = writeln!(page, "<p>{}</p>", escape(paragraph));
            }
            page.push_str("</div>\n");
        }
        Block::Empty(key) => {
            let _ = writeln!(
                page,
                "<p class=\"empty\">To be written by a person (key <code>{}</code> of the notes).</p>",
                escape(key)
            );
        }
    }
}

/// A table that can be scrolled by itself, also with the keyboard, where it is wider than the page.
fn table(page: &mut String, table: &Table) {
    let caption = escape(&table.caption);
    let _ = writeln!(
        page,
        "<div class=\"table\" role=\"group\" aria-label=\"{caption}\" tabindex=\"0\">\n<table{}>\n<caption>{caption}</caption>",
        if table.has_head() {
            ""
        } else {
            " class=\"facts\""
        }
    );
    if table.has_head() {
        page.push_str("<thead>\n<tr>");
        for column in &table.columns {
            let (class, name) = (class(column), escape(column.name));
            let _ = writeln!(page, "<th scope=\"col\"{class}>{name}</th>");
        }
        page.push_str("</tr>\n</thead>\n");
    }
    page.push_str("<tbody>\n");
    for row in &table.rows {
        page.push_str("<tr>\n");
        for (at, (column, cell)) in table.columns.iter().zip(row).enumerate() {
            let (tag, scope) = match at {
                0 => ("th", " scope=\"row\""),
                _ => ("td", ""),
            };
            let (class, cell) = (class(column), inline(cell));
            let _ = writeln!(page, "<{tag}{scope}{class}>{cell}</{tag}>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
}

fn class(column: &Column) -> &'static str {
    match column.kind {
        Kind::Text => "",
        Kind::Prose => " class=\"prose\"",
        Kind::Number => " class=\"number\"",
        Kind::Word => " class=\"word\"",
    }
}

fn list(page: &mut String, items: &[Item]) {
    page.push_str("<ul>\n");
    for item in items {
        let _ = write!(page, "<li>{}", escape(&item.line));
        if !item.items.is_empty() {
            page.push('\n');
            list(page, &item.items);
        }
        page.push_str("</li>\n");
    }
    page.push_str("</ul>\n");
}

fn inline(line: &[Inline]) -> String {
    line.iter()
        .map(|piece| match piece {
            Inline::Text(text) => escape(text),
            Inline::Code(text) => format!("<code>{}</code>", escape(text)),
            Inline::Strong(text) => format!("<strong>{}</strong>", escape(text)),
            Inline::Link { to, text } => link(to, text),
            Inline::Break => "<br>".to_owned(),
        })
        .collect()
}
