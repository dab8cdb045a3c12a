use windlass_api::agent::{ColumnTimes, NumberPart};
use windlass_statistics::drift::column::Worth;
use windlass_statistics::mean::Mean;
use windlass_statistics::ranks::Ranks;

use super::*;
use crate::drift::sides::Held;

/// 2024-01-01, a Monday.
const MONDAY: i64 = 1_704_067_200;

fn times(hours: &[(i64, u64)], weeks: i64) -> Times {
    let occasions: Vec<i64> = (0..weeks).collect();
    let part = |(place, rows): &(i64, u64)| TimePart(*place, *rows, occasions.clone());
    Times {
        column: "at".to_owned(),
        first: 0,
        last: 1,
        hours: hours.iter().map(part).collect(),
        months: vec![TimePart(
            0,
            hours.iter().map(|hour| hour.1).sum(),
            vec![1970],
        )],
        stretch_hours: 1,
        stretches: Vec::new(),
    }
}

/// Each number once an hour, and another number in each hour; and a column that is not counted by time.
fn reference(weeks: i64, rows: u64) -> Side {
    let numbers: Vec<f64> = (0..168).map(f64::from).collect();
    let mut ranks = Ranks::new(1024);
    for number in &numbers {
        ranks.add(&[*number; 10]);
    }
    let edges: Vec<f64> = numbers[1..].to_vec();
    let part = |hour: usize| {
        let counts = (0..168).map(|at| if at == hour { rows - 1 } else { 0 });
        let mean = f64::from(u32::try_from(hour).expect("small"));
        NumberPart(1, mean, 0.0, counts.collect())
    };
    let by_time = ColumnTimes::Number {
        edges,
        parts: (0..168).map(part).collect(),
    };
    let column = |name: &str, by_time| SideColumn {
        name: name.to_owned(),
        nulls: 168,
        other_type: 0,
        worth: Worth::INDEPENDENT,
        share_effect: 1.0,
        held: Held::Number {
            edges: Vec::new(),
            ranks: Box::new(ranks.clone()),
            mean: Mean::of(&numbers),
        },
        by_time,
    };
    let hours: Vec<(i64, u64)> = (0..168).map(|hour| (hour, rows)).collect();
    Side {
        rows: 168 * rows,
        columns: vec![column("x", Some(by_time)), column("y", None)],
        times: Some(times(&hours, weeks)),
        ..Side::default()
    }
}

fn window(hours: std::ops::Range<i64>) -> Side {
    let hours: Vec<(i64, u64)> = hours.map(|hour| (hour, 50)).collect();
    Side {
        rows: 50,
        times: Some(times(&hours, 1)),
        ..Side::default()
    }
}

const DAY: Option<Span> = Some(Span {
    start: MONDAY,
    length: 86_400,
});

#[test]
fn a_day_is_compared_with_the_hours_of_its_day_and_it_is_said_what_is_not() {
    let reference = reference(4, 300);
    let season = Season::of(&reference, &window(24..48), DAY).expect("times");
    let side = season.side(&reference);
    assert!(season.is_own() && side.rows == 24 * 300, "{}", season.words);
    let (column, rows) = season.column("x").expect("it is counted by time");
    assert_eq!((rows, column.nulls), (7200, 24));
    let Held::Number { ranks, mean, .. } = &column.held else {
        panic!("it is a number")
    };
    assert_eq!((ranks.least(), ranks.greatest()), (Some(24.0), Some(47.0)));
    assert!((mean.value().expect("some") - 35.5).abs() < 1e-9);
    assert!(season.column("y").is_none() && side.columns.len() == 2);
    assert!(
        season.words.starts_with("compared with the reference's rows of the same hours of the week (Tuesday 00:00 to Wednesday 00:00: 7200 rows)")
            && season.words.contains("; with all of its rows, y: texts"),
        "{}",
        season.words
    );
}

#[test]
fn where_the_reference_has_seen_too_little_all_of_it_is_compared_and_that_is_said() {
    let few = reference(3, 300);
    let season = Season::of(&few, &window(24..48), DAY).expect("times");
    assert!(!season.is_own() && season.side(&few).rows == few.rows);
    assert!(season.column("x").is_none());
    assert!(
        season.words.contains("in 3 weeks, and takes 4"),
        "{}",
        season.words
    );
    // Of a week, months tell.
    let week = Span {
        start: MONDAY,
        length: 7 * 86_400,
    };
    let many = reference(4, 300);
    let season = Season::of(&many, &window(0..168), Some(week)).expect("times");
    assert!(!season.is_own() && season.cycle == Cycle::MonthOfYear);
    let silent = Side {
        times: None,
        ..reference(4, 300)
    };
    let season = Season::of(&silent, &window(24..48), DAY).expect("times");
    assert!(season.words.ends_with("which does not say when they were"));
    let without = Side {
        times: None,
        ..window(24..48)
    };
    assert!(Season::of(&many, &without, DAY).is_none());
}

#[test]
fn a_window_is_as_long_as_was_said_or_as_its_rows_are() {
    let at = |text: &str| Some(text.parse().expect("a time"));
    let judged = Judged {
        start: at("2024-01-01T00:00:00Z"),
        end: at("2024-01-02T00:00:00Z"),
        ..Judged::default()
    };
    let mut rows = window(0..24);
    let own = rows.times.as_mut().expect("they are there");
    (own.first, own.last) = (MONDAY * SECOND, (MONDAY + 3600) * SECOND);
    assert_eq!(Span::of(&judged, &rows), DAY);
    let by_rows = Span::of(&Judged::default(), &rows).expect("its rows");
    assert_eq!((by_rows.start, by_rows.length), (MONDAY, 3600));
    assert_eq!(Span::of(&Judged::default(), &Side::default()), None);
}

#[test]
fn stretches_are_alike_that_are_of_the_same_hours_or_months() {
    let stretches = |hours: i64, places: &[i64]| Times {
        stretch_hours: hours,
        stretches: places
            .iter()
            .map(|place| TimePart(*place, 1, vec![]))
            .collect(),
        ..times(&[], 1)
    };
    let days = stretches(24, &[0, 1, 7, 14]);
    let of_hours = alike(&days, Some(Cycle::HourOfWeek));
    assert_eq!(of_hours, BTreeMap::from([(0, 0), (1, 24), (7, 0), (14, 0)]));
    assert!(alike(&days, None).values().all(|key| *key == 0));
    // Of 1970: January, February, and January of the next year.
    let months = stretches(168, &[1, 6, 53]);
    let of_months = alike(&months, Some(Cycle::MonthOfYear));
    assert_eq!(of_months, BTreeMap::from([(1, 0), (6, 1), (53, 0)]));
}
