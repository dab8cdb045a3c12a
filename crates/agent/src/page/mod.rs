//! What the pages that people read have in common: their beginning, their looks, and text that stays text.
//!
//! Absent on purpose: scripts, and anything that a page would fetch.

pub mod fit;
pub mod number;

use crate::lineage::visible;

/// Kept small: what a browser does by itself is good enough for the rest. Where a table is wider than the page, it is
/// scrolled by itself: its words and numbers stay whole.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --faint: #5f6368; --rule: #c9ccd1; --mark: #0b57d0; --other: #9a4a00; --limit: #b3261e; --empty: #fff3cd; --empty-ink: #5c4300; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #17181a; --faint: #a5a9af; --rule: #45484d; --mark: #8ab4f8; --other: #f0b35f; --limit: #ff8a80; --empty: #40350f; --empty-ink: #ffe08a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 60rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
h1, h2, h3, h4 { line-height: 1.25; }
h1, h2, h3, h4, p, li { overflow-wrap: anywhere; }
h1, p, li, td { unicode-bidi: plaintext; }
th, code { unicode-bidi: isolate; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--rule); }
h3 { margin-top: 2rem; }
li ul { padding-left: 1.25rem; }
a { color: var(--mark); }
code { font-family: ui-monospace, monospace; font-size: 0.9em; overflow-wrap: anywhere; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--faint); padding-bottom: 0.25rem; max-width: calc(100vw - 2rem); }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.6rem; border-top: 1px solid var(--rule); overflow-wrap: break-word; }
thead th { border-top: 0; border-bottom: 2px solid var(--rule); }
tbody th { font-weight: 600; max-width: 24rem; }
td { overflow-wrap: anywhere; }
.number, .word { white-space: nowrap; }
.number { text-align: right; }
.warning { background: var(--empty); color: var(--empty-ink); border: 0.15rem solid var(--limit); border-left-width: 0.5rem; padding: 0.4rem 0.8rem; }
.legend { color: var(--faint); }
footer { margin-top: 3rem; border-top: 1px solid var(--rule); color: var(--faint); }
@media (max-width: 40rem) { body { padding: 1rem; } ul { padding-left: 1.25rem; } th, td { padding: 0.3rem 0.4rem; } }
@page { margin: 15mm; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; } h2, h3, h4, thead, caption { break-after: avoid; } tr, .warning { break-inside: avoid; } .table { overflow: visible; } }
";

/// The beginning of a page with this title, up to its body, with a page's own style after that of all. It is HTML that can
/// be read as XML, and no part of it may run or be fetched.
pub fn head(title: &str, style: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<meta name=\"color-scheme\" content=\"light dark\"/>\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n<title>{title}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
    )
}

/// Text as it is, in an element or in an attribute's quotes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in visible(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter if letter.is_control() && letter != '\n' && letter != '\t' => escaped.push(' '),
            // No characters of XML, so that a page can be read as that too.
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_in_elements_and_in_attributes() {
        assert_eq!(
            escape("<script>alert('x')</script> & \"y\"\u{1b}`|"),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;y&quot; `|"
        );
        assert_eq!(escape("a\u{202e}b\u{ffff}"), "a⟨U+202E⟩b\u{fffd}");
    }
}
