use windlass_api::agent::{CategoryPart, ColumnTimes, TimePart, Times};
use windlass_statistics::drift::column::Worth;
use windlass_statistics::psi::Categories;

use super::*;
use crate::drift::sides::{Held, SideColumn};

/// So many days of four stretches, of two levels; each day has other shares of them.
fn reference(days: i64, rows: u64) -> Side {
    let stretches = (0..4 * days).map(|place| TimePart(place, rows, vec![]));
    let part = |place: i64| {
        let share = 20 + u64::try_from(place / 4 * 7 % 10).expect("small");
        CategoryPart(0, vec![rows * share / 100, rows - rows * share / 100])
    };
    let levels = ["a", "b"].map(str::to_owned);
    let by_time = ColumnTimes::Category {
        levels: levels.to_vec(),
        parts: (0..4 * days).map(part).collect(),
    };
    let whole = levels.into_iter().map(|level| (level, rows * 2));
    let column = SideColumn {
        name: "c".to_owned(),
        nulls: 0,
        other_type: 0,
        worth: Worth::INDEPENDENT,
        share_effect: 1.0,
        held: Held::Category(Categories {
            levels: whole.collect(),
            nulls: 0,
        }),
        by_time: Some(by_time),
    };
    Side {
        rows: 4 * rows * u64::try_from(days).expect("positive"),
        columns: vec![column],
        times: Some(Times {
            stretch_hours: 6,
            stretches: stretches.collect(),
            ..Times::default()
        }),
        ..Side::default()
    }
}

fn windows(days: i64, start: i64, hours: i64, least_rows: u64) -> Option<u64> {
    let reference = reference(days, 1000);
    let span = Span {
        start: start * 3600,
        length: hours * 3600,
    };
    OwnWindows::of(&reference, None, Some(span), least_rows).map(|own| own.count())
}

#[test]
fn windows_of_a_reference_are_as_long_as_the_one_that_is_judged_and_whole() {
    assert_eq!(windows(12, 24_000, 24, 500), Some(12));
    // They begin at the same time of the day, so that two of them are only half there.
    assert_eq!(windows(12, 24_012, 24, 500), Some(11));
    assert_eq!(windows(12, 24_000, 12, 500), Some(24));
    // A day but for some minutes is a day.
    assert_eq!(windows(12, 24_000, 23, 500), Some(12));
    for (days, hours, least, why) in [
        (7, 24, 500, "too few"),
        (12, 2, 500, "shorter than what is known"),
        (12, 24, 4001, "of too few rows each"),
        (12, 96, 500, "too long, so that they are too few"),
    ] {
        assert_eq!(windows(days, 24_000, hours, least), None, "{why}");
    }
}

#[test]
fn each_window_is_held_against_all_others() {
    let reference = reference(12, 1000);
    let span = Span {
        start: 0,
        length: 86_400,
    };
    let own = OwnWindows::of(&reference, None, Some(span), 500).expect("twelve days");
    for (day, window) in own.windows.iter().enumerate() {
        let expected: Vec<usize> = (4 * day..4 * day + 4).collect();
        assert_eq!((&window.own, window.rest.len()), (&expected, 44));
        assert!(window.own.iter().all(|own| !window.rest.contains(own)));
    }
    let spreads = own.spreads("c", Method::Psi);
    assert_eq!((spreads.effect.windows(), spreads.shift.windows()), (12, 0));
    assert_eq!(own.spreads("gone", Method::Psi).effect.windows(), 0);
    // One more day of the same kind is no evidence; by rows it is.
    let day = Parted::of(&reference.columns[0]).expect("by time");
    let (rest, one) = (
        day.only(&(4..48).collect::<Vec<_>>()),
        day.only(&[0, 1, 2, 3]),
    );
    let by_rows = measured(&rest, &one, Method::Psi).expect("names");
    let by_days = spreads.widened(by_rows.clone());
    assert!(by_rows.effect.p_value() < 1e-6, "{by_rows:?}");
    assert!(by_days.effect.p_value() > 0.05, "{by_days:?}");
}
