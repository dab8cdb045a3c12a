//! What is counted of a data set: its columns, and what rows have in common.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use serde::{Deserialize, Serialize};

use super::column::{Column, Kind};
use super::room::Room;
use super::sampled::{Which, key};
use super::times::ByTime;
use super::units::{Kept, UnitSample, hash};
use crate::data::column;

/// How many different ids are kept to tell how many rows are there twice.
const MOST_IDS: usize = 50_000;

/// A column that is counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// As what.
    pub kind: Kind,
    /// Where the cells of the number that it is compared with begin; empty where it is compared with none.
    pub starts: Vec<f64>,
}

/// Columns that say something of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Roles {
    /// The one with the time.
    pub time: Option<String>,
    /// The one whose rows of one value are not independent.
    pub unit: Option<String>,
    /// The one that no two rows should have the same value in.
    pub id: Option<String>,
    /// Whether columns are counted by the time too, as a reference's are; else rows alone are.
    pub is_by_time: bool,
}

impl Roles {
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let all = [&self.time, &self.unit, &self.id];
        all.into_iter().flatten().map(String::as_str)
    }
}

/// What was counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sketch {
    /// Rows.
    pub rows: u64,
    /// The columns, in the order in which they were asked for.
    pub columns: Vec<Column>,
    /// Rows by unit, where one is named.
    pub units: Option<UnitSample>,
    /// The newest row's time, microseconds since 1970, where a column has it.
    pub newest: Option<i64>,
    /// Ids, where a column has them.
    pub ids: Option<Ids>,
    /// Rows by their time, where a column has it.
    pub by_time: Option<ByTime>,
}

impl Sketch {
    /// Nothing counted.
    pub fn new(asked: &[Asked], roles: &Roles, room: Room) -> Self {
        let column = |asked: &Asked| {
            if asked.starts.is_empty() {
                Column::new(asked.kind, room)
            } else {
                Column::beside(asked.starts.clone())
            }
        };
        Self {
            rows: 0,
            columns: asked.iter().map(column).collect(),
            units: roles
                .unit
                .as_ref()
                .map(|_| UnitSample::new(asked.len(), room.unit_rows)),
            newest: None,
            ids: roles.id.as_ref().map(|_| Ids::default()),
            by_time: roles.time.as_ref().map(|_| {
                let cells = if roles.is_by_time { room.time_cells } else { 0 };
                ByTime::new(cells)
            }),
        }
    }

    /// Takes what others have counted of other rows, all at once.
    pub fn merge(&mut self, others: &[Self]) {
        for (place, column) in self.columns.iter_mut().enumerate() {
            column.merge(others.iter().map(|other| &other.columns[place]));
        }
        for other in others {
            self.rows += other.rows;
            self.newest = self.newest.max(other.newest);
            if let (Some(mine), Some(theirs)) = (&mut self.units, &other.units) {
                mine.merge(theirs);
            }
            if let (Some(mine), Some(theirs)) = (&mut self.ids, &other.ids) {
                mine.merge(theirs);
            }
            if let (Some(mine), Some(theirs)) = (&mut self.by_time, &other.by_time) {
                mine.merge(theirs);
            }
        }
    }
}

impl Sketch {
    /// Takes what was counted of other columns of the same rows.
    pub(super) fn append(&mut self, other: Self) {
        self.columns.extend(other.columns);
        if let (Some(mine), Some(theirs)) = (&mut self.units, other.units) {
            mine.append(theirs);
        }
        if let (Some(mine), Some(theirs)) = (&mut self.by_time, other.by_time) {
            mine.append(theirs);
        }
    }
}

/// Counts batches of one schema.
pub struct Counter {
    /// Where each column is, if it is there.
    places: Vec<Option<usize>>,
    kinds: Vec<Kind>,
    names: Vec<String>,
    time: Option<usize>,
    unit: Option<usize>,
    id: Option<usize>,
}

impl Counter {
    /// Of batches of this schema.
    pub fn new(asked: &[Asked], roles: &Roles, schema: &SchemaRef) -> Self {
        let places: HashMap<&str, usize> = schema
            .fields()
            .iter()
            .enumerate()
            .map(|(place, field)| (field.name().as_str(), place))
            .collect();
        let place = |name: &str| places.get(name).copied();
        let role = |name: &Option<String>| name.as_deref().and_then(place);
        Self {
            places: asked.iter().map(|asked| place(&asked.name)).collect(),
            kinds: asked.iter().map(|asked| asked.kind).collect(),
            names: asked.iter().map(|asked| asked.name.clone()).collect(),
            time: role(&roles.time),
            unit: role(&roles.unit),
            id: role(&roles.id),
        }
    }

    /// Whether rows themselves are kept.
    pub fn is_sampled(&self) -> bool {
        self.kinds.iter().any(|kind| kind.is_sampled())
    }

    /// Takes rows; where rows themselves are kept, with the place of each among all rows of the data set.
    ///
    /// # Errors
    /// The column whose values cannot be counted, and why.
    pub fn add(
        &self,
        sketch: &mut Sketch,
        batch: &RecordBatch,
        places: &[u64],
    ) -> Result<(), String> {
        let rows = batch.num_rows();
        sketch.rows += rows as u64;
        let keys: Vec<u64> = places.iter().map(|place| key(*place)).collect();
        let units = match self.unit.filter(|_| !keys.is_empty()) {
            Some(unit) => Some(units_or(batch.column(unit), &keys)?),
            None => None,
        };
        let which = Which {
            keys: &keys,
            units: units.as_deref().unwrap_or(&keys),
        };
        for (at, (column, place)) in sketch.columns.iter_mut().zip(&self.places).enumerate() {
            match place {
                Some(place) => column
                    .add(batch.column(*place), which)
                    .map_err(|problem| format!("column '{}': {problem}", self.names[at]))?,
                None => column.add_nulls(rows),
            }
        }
        if let (Some(units), Some(place)) = (&mut sketch.units, self.unit) {
            let columns: Vec<(Option<&ArrayRef>, Kept)> = self
                .places
                .iter()
                .zip(&self.kinds)
                .map(|(place, kind)| {
                    let kept = match kind {
                        Kind::Number => Kept::Number,
                        Kind::Category => Kept::Name,
                        // What else rows of these are worth is told by those that are kept.
                        Kind::Text | Kind::Embedding(_) => Kept::Presence,
                    };
                    (place.map(|place| batch.column(place)), kept)
                })
                .collect();
            units.add(batch.column(place), &columns)?;
        }
        if let (Some(ids), Some(place)) = (&mut sketch.ids, self.id) {
            ids.add(batch.column(place))?;
        }
        if let Some(place) = self.time {
            let times = column::times(batch.column(place))?;
            sketch.newest = sketch.newest.max(times.iter().flatten().copied().max());
            if let Some(by_time) = &mut sketch.by_time {
                let columns = self.places.iter().zip(&self.kinds);
                let columns =
                    columns.map(|(place, kind)| (*kind, place.map(|place| batch.column(place))));
                by_time.add(&times, &columns.collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }
}

/// The hashes of units; where there is none, the row's key: it is of no unit but its own.
fn units_or(units: &ArrayRef, keys: &[u64]) -> Result<Vec<u64>, String> {
    let texts = cast(units, &DataType::Utf8).map_err(|problem| problem.to_string())?;
    let texts = texts.as_string::<i32>().iter().zip(keys);
    Ok(texts.map(|(text, key)| text.map_or(*key, hash)).collect())
}

/// How often ids are there: of a sample of them by their hash, each with all of its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ids {
    most: u64,
    rows: HashMap<u64, u64>,
}

impl Default for Ids {
    fn default() -> Self {
        Self {
            most: u64::MAX,
            rows: HashMap::new(),
        }
    }
}

impl Ids {
    fn add(&mut self, values: &ArrayRef) -> Result<(), String> {
        let texts = cast(values, &DataType::Utf8).map_err(|problem| problem.to_string())?;
        for text in texts.as_string::<i32>().iter().flatten() {
            let id = hash(text);
            if id <= self.most {
                *self.rows.entry(id).or_default() += 1;
                self.shrink();
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: &Self) {
        self.most = self.most.min(other.most);
        for (id, rows) in &other.rows {
            *self.rows.entry(*id).or_default() += rows;
        }
        let most = self.most;
        self.rows.retain(|id, _| *id <= most);
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.rows.len() > MOST_IDS {
            self.most /= 2;
            let most = self.most;
            self.rows.retain(|id, _| *id <= most);
        }
    }

    /// Of the rows of the sample, those that are there once more.
    pub fn duplicates(&self) -> (u64, u64) {
        let rows: u64 = self.rows.values().sum();
        (rows - self.rows.len() as u64, rows)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    fn asked() -> (Vec<Asked>, Roles) {
        let column = |name: &str, kind| Asked {
            name: name.to_owned(),
            kind,
            starts: Vec::new(),
        };
        let roles = Roles {
            time: Some("at".to_owned()),
            unit: Some("user".to_owned()),
            id: Some("id".to_owned()),
            is_by_time: true,
        };
        (
            vec![
                column("x", Kind::Number),
                column("c", Kind::Category),
                column("gone", Kind::Number),
            ],
            roles,
        )
    }

    fn batch(first: u32) -> RecordBatch {
        let texts = |of: &dyn Fn(u32) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values((first..first + 10).map(of)))
        };
        let numbers = (first..first + 10).map(f64::from);
        let times = (first..first + 10).map(i64::from);
        RecordBatch::try_from_iter([
            (
                "x",
                Arc::new(Float64Array::from_iter_values(numbers)) as ArrayRef,
            ),
            ("c", texts(&|row| format!("c{}", row % 2))),
            (
                "at",
                Arc::new(TimestampMicrosecondArray::from_iter_values(times)),
            ),
            ("user", texts(&|row| format!("u{}", row / 5))),
            ("id", texts(&|row| format!("{}", row.min(17)))),
        ])
        .expect("columns of one length")
    }

    #[test]
    fn parts_make_what_the_whole_does() {
        let (asked, roles) = asked();
        let counted = |firsts: &[u32]| {
            let mut sketch = Sketch::new(&asked, &roles, Room::of(&asked, 0));
            for first in firsts {
                let batch = batch(*first);
                let counter = Counter::new(&asked, &roles, &batch.schema());
                counter.add(&mut sketch, &batch, &[]).expect("counted");
            }
            sketch
        };
        let mut parts = Sketch::new(&asked, &roles, Room::of(&asked, 0).together());
        parts.merge(&[counted(&[0]), counted(&[10])]);
        let whole = counted(&[0, 10]);
        for sketch in [&parts, &whole] {
            assert_eq!((sketch.rows, sketch.newest), (20, Some(19)));
            assert_eq!(sketch.columns[2].nulls(), 20);
            // Ids 17, 18 and 19 are all 17.
            let ids = sketch.ids.as_ref().expect("asked for");
            assert_eq!(ids.duplicates(), (2, 20));
            let by_time = sketch.by_time.as_ref().expect("asked for");
            assert_eq!(
                (by_time.span(), by_time.hours()[0].rows),
                (Some((0, 19)), 20)
            );
        }
    }
}
