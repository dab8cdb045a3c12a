//! An input before its rules are checked: which columns they speak of, and what these hold.
//!
//! ```text
//!   rules ──columns that are not there──> findings
//!         ──columns that they speak of──declared type, or what all values look like──> kinds
//! ```
//!
//! In CSV and JSON the kind of a column is, in this order: the type that a check declares; a number where a check has
//! `min` or `max`, a time where it has `newestWithin`; what all its values look like, which takes a reading of its own.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::ScalarValue;
use datafusion::error::Result;
use windlass_api::agent::Profile;

use super::plan::Input;
use super::predicate::{self, Refused};
use super::rows::{Query, common_looks};
use super::rules::{Rule, What};
use super::source::Source;
use super::values::{Column, Kind};
use super::wording::Finding;
use crate::data::engine::Engine;

/// An input with a format.
pub(super) struct Prepared<'a> {
    /// Its files.
    pub source: Source,
    /// What has to hold.
    pub rules: &'a [Rule],
    /// All its columns.
    pub columns: Vec<Column>,
    /// What its distributions are compared with.
    pub reference: Option<Profile>,
}

impl<'a> Prepared<'a> {
    /// The columns of an input; the kinds of those in CSV and JSON are not known yet.
    pub(super) fn new(input: &'a Input, source: Source, reference: Option<Profile>) -> Self {
        let columns = source
            .columns()
            .into_iter()
            .map(|(name, data_type)| Column {
                name,
                kind: Kind::of(&data_type),
                data_type,
            })
            .collect();
        Self {
            source,
            rules: &input.rules,
            columns,
            reference,
        }
    }

    /// The column of a name that is there.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// What a rule misses, if it speaks of a column that is not there. What `in` names of another input is not
    /// looked at here.
    pub(super) fn missing(&self, engine: &Engine, rule: &Rule) -> Option<Finding> {
        let column = rule.column.as_ref();
        if let Some(finding) = column.and_then(|column| self.source.without(column)) {
            return Some(finding);
        }
        let What::Predicate(text) = &rule.what else {
            return None;
        };
        match predicate::parse(&engine.parallel, &self.columns, text) {
            Err(Refused::NoColumn(column)) => self.source.without(&column),
            Ok(predicate) => predicate
                .columns
                .iter()
                .find_map(|column| self.source.without(column)),
            // Whether it is one can be told when the kinds are known.
            Err(Refused::Invalid(_)) => None,
        }
    }

    /// Finds out the kinds of the columns that are text, where a rule or the profile needs them.
    pub(super) async fn find_kinds(
        &mut self,
        engine: &Engine,
        named_elsewhere: &BTreeSet<String>,
        all: bool,
    ) -> Result<()> {
        if !self.source.is_text() {
            return Ok(());
        }
        let declared = declared(self.rules);
        let mut wanted = named_elsewhere.clone();
        for rule in self.rules {
            match &rule.what {
                What::NotNull | What::OneOf(_) | What::Unique | What::In(_) => {
                    wanted.extend(rule.column.clone());
                }
                What::Predicate(text) => {
                    let session = &engine.parallel;
                    wanted.extend(predicate::columns_of(session, &self.columns, text));
                }
                What::Present
                | What::Type(_)
                | What::Min(_)
                | What::Max(_)
                | What::NewestWithin { .. }
                | What::MinRows(_)
                | What::MaxRows(_)
                | What::SameDistribution { .. } => {}
            }
        }
        let is_asked = |column: &Column| {
            !declared.contains_key(column.name.as_str()) && (all || wanted.contains(&column.name))
        };
        let mut query = Query::default();
        let asked: Vec<(usize, usize)> = self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| is_asked(column))
            .map(|(place, column)| (place, query.add(common_looks(column))))
            .collect();
        for column in &mut self.columns {
            if let Some(kind) = declared.get(column.name.as_str()) {
                column.kind = *kind;
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let answer = query.run(self.source.frame(&engine.parallel)?).await?;
        for (place, asked) in asked {
            let looks = match &answer[asked] {
                ScalarValue::Int32(looks) => *looks,
                _ => None,
            };
            self.columns[place].kind = Kind::of_looks(looks);
        }
        Ok(())
    }
}

/// The kinds that rules give to columns.
fn declared(rules: &[Rule]) -> BTreeMap<&str, Kind> {
    let mut kinds = BTreeMap::new();
    let kind_of = |what: &What, is_first: bool| match what {
        What::Type(of) if is_first => Some(Kind::declared(*of)),
        What::Min(_) | What::Max(_) if !is_first => Some(Kind::Number),
        What::NewestWithin { .. } if !is_first => Some(Kind::Timestamp),
        _ => None,
    };
    for is_first in [true, false] {
        for rule in rules {
            if let (Some(column), Some(kind)) = (&rule.column, kind_of(&rule.what, is_first)) {
                kinds.entry(column.as_str()).or_insert(kind);
            }
        }
    }
    kinds
}
