use std::sync::Arc;

use arrow::array::{Float64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::*;

/// 2024-01-01 00:00 in UTC, a Monday, in hours.
const MONDAY: i64 = 1_704_067_200 / HOUR;

/// A number and a name every ten minutes: the number is the hour of the day, the name tells day from night, and each hour one row
/// has neither.
fn counted(hours: std::ops::Range<i64>, cells: usize) -> ByTime {
    let mut by_time = ByTime::new(cells);
    add(&mut by_time, hours);
    by_time
}

fn add(by_time: &mut ByTime, hours: std::ops::Range<i64>) {
    let rows: Vec<i64> = hours
        .flat_map(|hour| (0..6).map(move |tenth| hour * 6 + tenth))
        .collect();
    // The last comes first.
    let rows: Vec<i64> = rows.into_iter().rev().collect();
    let times: Vec<Option<i64>> = rows
        .iter()
        .map(|row| Some((MONDAY * HOUR + row * HOUR / 6) * MICROSECONDS))
        .collect();
    let hour = |row: &i64| row.div_euclid(6).rem_euclid(24);
    let is_there = |row: &i64| row.rem_euclid(6) > 0;
    #[allow(clippy::cast_precision_loss)] // small
    let number = |row: &i64| is_there(row).then_some(hour(row) as f64);
    let numbers: Float64Array = rows.iter().map(number).collect();
    let name = |row: &i64| is_there(row).then_some(if hour(row) < 8 { "night" } else { "day" });
    let names: StringArray = rows.iter().map(name).collect();
    let keys = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let names: ArrayRef = Arc::new(names);
    let names = cast(&names, &keys).expect("keys");
    let numbers: ArrayRef = Arc::new(numbers);
    let columns = [
        (Kind::Number, Some(&numbers)),
        (Kind::Category, Some(&names)),
        (Kind::Number, None),
        (Kind::Text, Some(&names)),
    ];
    by_time.add(&times, &columns).expect("counted");
}

#[test]
fn each_hour_of_the_week_has_its_rows_and_their_values() {
    let by_time = counted(0..5 * 168, 64);
    let hours = by_time.hours();
    assert_eq!(hours.len(), 168);
    for (place, hour) in hours.iter().enumerate() {
        assert_eq!(usize::try_from(hour.place), Ok(place));
        assert_eq!(hour.rows, 30);
        assert_eq!(hour.occasions.len(), 5);
        let (Part::Number(numbers), Part::Category(names), Part::Number(gone)) =
            (hour.column(0), hour.column(1), hour.column(2))
        else {
            panic!("not as it was asked for: {hour:?}")
        };
        let of_day = f64::from(u32::try_from(place % 24).expect("small"));
        assert_eq!((numbers.mean.value(), numbers.nulls), (Some(of_day), 5));
        assert_eq!(numbers.ranks().most_frequent(), Some((of_day, 25)));
        let expected = if place % 24 < 8 { "night" } else { "day" };
        assert_eq!(names.levels, BTreeMap::from([(expected.to_owned(), 25)]));
        assert_eq!((names.nulls, names.too_many), (5, false));
        assert_eq!((gone.nulls, gone.ranks().rows()), (30, 0));
        assert_eq!(hour.column(3), &Part::Nothing);
    }
    let months: Vec<(i64, u64)> = by_time
        .months()
        .iter()
        .map(|month| (month.place, month.rows))
        .collect();
    // January has 31 days of 35.
    assert_eq!(months, [(0, 31 * 144), (1, 4 * 144)]);
    let first = MONDAY * HOUR * MICROSECONDS;
    let last = first + (35 * 86_400 - 600) * MICROSECONDS;
    assert_eq!(by_time.span(), Some((first, last)));
}

#[test]
fn stretches_become_longer_so_that_there_are_few_and_begin_at_the_same_times() {
    for (weeks, hours, stretches) in [(1, 1, 168), (2, 3, 112), (5, 6, 140), (30, 168, 30)] {
        let by_time = counted(0..weeks * 168, 16);
        let (found, parts) = by_time.stretches();
        // A week of 168 hours begins on a Thursday, as 1970 did: there is one more.
        let more = usize::from(hours == 168);
        assert_eq!((found, parts.len()), (hours, stretches + more), "{weeks}");
        let rows: u64 = parts.iter().map(|part| part.rows).sum();
        assert_eq!(rows, u64::try_from(weeks).expect("small") * 168 * 6);
        let begins = parts[0].place * hours;
        assert!((begins..begins + hours).contains(&MONDAY), "{weeks}");
    }
}

#[test]
fn parts_are_the_whole_in_any_order_and_columns_may_be_counted_apart() {
    let whole = counted(0..400, 64);
    let mut parts = counted(0..0, 64);
    // Of the first there are few hours, of the second more than there may be.
    for range in [390..400, 0..250, 250..390] {
        parts.merge(&counted(range, 64));
    }
    assert_eq!(parts.stretches().0, 3);
    let said = |by_time: &ByTime| {
        let (_, stretches) = by_time.stretches();
        let all = by_time.hours().into_iter().chain(by_time.months());
        let all = all.chain(stretches);
        let column = |part: &Part| match part {
            Part::Number(numbers) => format!("{:?} {}", numbers.ranks().bins(4), numbers.nulls),
            other => format!("{other:?}"),
        };
        let said = all.map(|part| {
            let columns = [0, 1, 2].map(|at| column(part.column(at)));
            format!(
                "{} {} {:?} {columns:?}",
                part.place, part.rows, part.occasions
            )
        });
        said.collect::<Vec<String>>()
    };
    assert_eq!(said(&parts), said(&whole));
    assert_eq!(parts.span(), whole.span());
    // Beside others of the same rows.
    let mut both = whole.clone();
    both.append(parts);
    let hours = both.hours();
    assert_eq!(hours[0].what.0.len(), 8);
    let rows: Vec<u64> = hours.iter().map(|hour| hour.rows).collect();
    let before = whole.hours();
    let before = before.iter().map(|hour| hour.rows);
    assert_eq!(rows, before.collect::<Vec<u64>>());
    // And back from what is sent.
    let sent = postcard::to_allocvec(&whole).expect("written");
    assert_eq!(postcard::from_bytes::<ByTime>(&sent), Ok(whole));
}

#[test]
fn of_rows_alone_nothing_is_kept_of_columns_and_a_row_without_a_time_is_of_no_part() {
    let rows = counted(0..10, 0);
    assert_eq!(rows.hours().len(), 10);
    assert_eq!(rows.hours()[0].column(0), &Part::Nothing);
    let mut none = ByTime::new(64);
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0]));
    let columns = [(Kind::Number, Some(&numbers))];
    none.add(&[None, None], &columns).expect("counted");
    assert_eq!((none.span(), none.hours().len()), (None, 0));
    none.add(&[None, Some(0)], &columns).expect("counted");
    let hours = none.hours();
    let Part::Number(one) = hours[0].column(0) else {
        panic!("it is a number: {hours:?}")
    };
    assert_eq!((hours[0].rows, one.mean.value()), (1, Some(2.0)));
}

#[test]
fn of_too_many_names_none_are_counted_however_they_come() {
    let of = |names: std::ops::Range<u32>| {
        let mut by_time = ByTime::new(64);
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(
            names.map(|name| format!("n{name}")),
        ));
        let times = vec![Some(0); names.len()];
        by_time
            .add(&times, &[(Kind::Category, Some(&names))])
            .expect("counted");
        by_time
    };
    let too_many = |by_time: &ByTime| match by_time.hours()[0].column(0) {
        Part::Category(names) => names.too_many,
        other => panic!("it is a category: {other:?}"),
    };
    assert!(!too_many(&of(0..64)) && too_many(&of(0..65)));
    let mut both = of(0..40);
    both.merge(&of(20..60));
    assert!(!too_many(&both));
    both.merge(&of(60..70));
    assert!(too_many(&both));
    let mut back = of(0..5);
    back.merge(&both);
    assert!(too_many(&back));
}
