//! What a card says, before it is HTML or Markdown. All text in it is as it was written; each rendering escapes it in its
//! own way.

use super::plot::Plot;

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inline {
    /// Plain text.
    Text(String),
    /// A name, an address or a digest, to be read letter by letter.
    Code(String),
    /// A word that matters.
    Strong(String),
}

/// A line of text.
pub type Line = Vec<Inline>;

/// Plain text.
pub fn text(text: impl Into<String>) -> Line {
    vec![Inline::Text(text.into())]
}

/// A name, an address or a digest.
pub fn code(text: impl Into<String>) -> Line {
    vec![Inline::Code(text.into())]
}

/// A word that matters.
pub fn strong(text: impl Into<String>) -> Line {
    vec![Inline::Strong(text.into())]
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What it shows; read out before it.
    pub caption: String,
    /// The columns' names.
    pub head: Vec<String>,
    /// The rows, each as wide as the head. The first cell of a row is its name.
    pub rows: Vec<Vec<Line>>,
}

/// An item of a nested list.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What it says.
    pub line: String,
    /// What lies below it.
    pub items: Vec<Item>,
}

/// A part of a section.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// A paragraph of the record.
    Paragraph(Line),
    /// A table.
    Table(Table),
    /// A plot; whoever cannot show it has the table that follows.
    Plot(Plot),
    /// A nested list.
    List(Vec<Item>),
    /// A Mermaid chart, for what draws one.
    Mermaid(String),
    /// What a person wrote, by paragraphs.
    Written(Vec<String>),
    /// What a person has yet to write, under this key of the notes.
    Empty(String),
}

/// A section.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// 2 for a section, 3 for a part of one.
    pub depth: u8,
    /// Unique in the document, and of plain letters.
    pub id: String,
    /// Its heading.
    pub heading: String,
    /// What it says.
    pub blocks: Vec<Block>,
}

impl Section {
    /// A section.
    pub fn new(id: &str, heading: &str, blocks: Vec<Block>) -> Self {
        Self {
            depth: 2,
            id: id.to_owned(),
            heading: heading.to_owned(),
            blocks,
        }
    }
}

/// A card.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its title.
    pub title: String,
    /// What it comes to, in a line.
    pub summary: Line,
    /// The sections.
    pub sections: Vec<Section>,
    /// What it was made from.
    pub footer: Line,
}
