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
    /// The heading of a section, where it can be led to.
    Link {
        /// The section's id.
        to: String,
        /// What stands for it.
        text: String,
    },
    /// The end of a line, within a paragraph or a cell.
    Break,
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

/// How the cells of a column are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text that may be broken into lines between words.
    Text,
    /// Sentences, which get what room there is.
    Prose,
    /// Numbers, set to the right and never broken.
    Number,
    /// A word or a time, never broken.
    Word,
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// How its cells are set.
    pub kind: Kind,
}

/// A column.
pub const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What it shows; read out before it.
    pub caption: String,
    /// The columns. Those of names and what they are have no heads.
    pub columns: Vec<Column>,
    /// The rows, each as wide as the columns. The first cell of a row is its name.
    pub rows: Vec<Vec<Line>>,
}

impl Table {
    /// A table; where a cell says nothing, it says that.
    pub fn new(caption: impl Into<String>, columns: &[Column], mut rows: Vec<Vec<Line>>) -> Self {
        let is_empty = |piece: &Inline| match piece {
            Inline::Text(text) | Inline::Code(text) | Inline::Strong(text) => {
                text.trim().is_empty()
            }
            Inline::Link { .. } => false,
            Inline::Break => true,
        };
        for cell in rows.iter_mut().flatten() {
            if cell.iter().all(is_empty) {
                *cell = text("(empty)");
            }
        }
        Self {
            caption: caption.into(),
            columns: columns.to_vec(),
            rows,
        }
    }

    /// Whether its columns have names.
    pub fn has_head(&self) -> bool {
        self.columns.iter().any(|column| !column.name.is_empty())
    }
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
    /// A paragraph that nobody may overlook.
    Warning(Line),
    /// A table.
    Table(Table),
    /// What the marks in plots are; nothing for whoever shows none.
    Legend(String),
    /// A plot; whoever cannot show it has the table that follows.
    Plot(Plot),
    /// A nested list.
    List(Vec<Item>),
    /// A Mermaid chart, for what draws one.
    Mermaid(String),
    /// What a person wrote, by paragraphs, each of which may have several lines.
    Written(Vec<String>),
    /// What a person has yet to write, under this key of the notes.
    Empty(String),
}

/// A section.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// 2 for a section, 3 for a part of one, 4 for a part of that.
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
