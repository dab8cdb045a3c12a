use super::chosen::spans;
use super::*;
use crate::psi::Categories;

/// 2024-01-01 00:00 in UTC, a Monday.
const MONDAY: i64 = 1_704_067_200;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// A row a minute through so many weeks; what is counted is rows.
fn weeks(count: i64) -> Seasons<u64> {
    let mut all = Seasons::new(Cycle::HourOfWeek);
    for minute in 0..count * WEEK / 60 {
        all.add(MONDAY + minute * 60, 0, 1);
    }
    all
}

/// A row a minute from a time on, so many hours.
fn window(cycle: Cycle, from: i64, hours: i64) -> Shares {
    let mut shares = Shares::default();
    for minute in 0..hours * 60 {
        shares.add(cycle, from + minute * 60, 0);
    }
    shares
}

#[test]
fn a_monday_morning_is_compared_with_monday_mornings() {
    let all = weeks(5);
    let morning = window(Cycle::HourOfWeek, MONDAY + 9 * WEEK + 8 * HOUR, 3);
    let found = all.reference(&morning, Rule::default()).expect("rows");
    assert_eq!((found.rows, found.what), (5 * 180, 900));
    assert_eq!(
        found.chosen,
        Chosen::SameSeasons {
            seasons: vec![8, 9, 10],
            apart: 0.0
        }
    );
    assert_eq!(
        found.words(),
        "compared with the reference's rows of the same hours of the week (Monday 08:00 to Monday 11:00: 900 rows)"
    );
}

#[test]
fn the_whole_reference_is_used_where_the_seasons_do_not_do() {
    let morning = window(Cycle::HourOfWeek, MONDAY + 9 * WEEK + 8 * HOUR, 3);
    let strict = Rule {
        least_rows: 1000,
        ..Rule::default()
    };
    let night = window(Cycle::HourOfWeek, MONDAY, 24 * 7);
    let mut other_mix = morning.clone();
    for _ in 0..400 {
        other_mix.add(Cycle::HourOfWeek, MONDAY + 8 * HOUR, 0);
    }
    for (weeks_of, window, rule, said) in [
        (
            3,
            &morning,
            Rule::default(),
            "it has Monday 08:00 in 3 weeks, and takes 4",
        ),
        (
            5,
            &morning,
            strict,
            "it has only 900 of the same hours of the week",
        ),
        (
            5,
            &night,
            Rule::default(),
            "the window has all of its hours of the week",
        ),
        (
            5,
            &other_mix,
            Rule::default(),
            "46% of the window's would have to lie in other hours of the week for both to be spread alike",
        ),
        (
            5,
            &Shares::default(),
            Rule::default(),
            "the window has none",
        ),
    ] {
        let all = weeks(weeks_of);
        let found = all.reference(window, rule).expect("rows");
        let rows = u64::try_from(weeks_of * WEEK / 60).expect("positive");
        assert_eq!((found.rows, found.what), (rows, rows));
        let expected = format!("compared with all {rows} rows of the reference: {said}");
        assert_eq!(found.words(), expected);
    }
    let none = Seasons::<u64>::new(Cycle::HourOfWeek);
    assert_eq!(none.reference(&morning, Rule::default()), None);
}

#[test]
fn a_few_rows_of_another_hour_are_no_season_of_the_window() {
    let mut morning = window(Cycle::HourOfWeek, MONDAY + 8 * HOUR, 3);
    morning.add(Cycle::HourOfWeek, MONDAY + 20 * HOUR, 0);
    let found = weeks(4).reference(&morning, Rule::default()).expect("rows");
    assert!(matches!(found.chosen, Chosen::SameSeasons { seasons, .. } if seasons == [8, 9, 10]));
}

#[test]
fn a_december_is_compared_with_decembers_once_there_are_two() {
    let years = |from: i64, days: i64| {
        let mut all = Seasons::new(Cycle::MonthOfYear);
        for quarter in 0..days * 96 {
            all.add(from + quarter * 900, 0, 1_u64);
        }
        all
    };
    let december = window(Cycle::MonthOfYear, MONDAY + 335 * DAY, 24 * 31);
    let two = years(MONDAY - 730 * DAY, 730);
    let found = two.reference(&december, Rule::default()).expect("rows");
    assert_eq!(found.rows, 2 * 31 * 96);
    assert_eq!(
        found.words(),
        "compared with the reference's rows of the same months (December: 5952 rows)"
    );
    // From August on, of the year before: one December.
    let one = years(MONDAY - 150 * DAY, 150);
    let found = one.reference(&december, Rule::default()).expect("rows");
    assert_eq!(
        found.chosen,
        Chosen::All(Why::TooSeldom {
            season: 11,
            occasions: 1
        })
    );
}

#[test]
fn hours_are_those_of_the_clock_on_the_wall() {
    let mut all = Seasons::new(Cycle::HourOfWeek);
    // 23:00 on Sunday in UTC is Monday in Berlin.
    all.add(MONDAY - HOUR, 3600, 1_u64);
    all.add(MONDAY - HOUR, 0, 1);
    let shares = all.shares();
    assert_eq!(shares.rows, BTreeMap::from([(0, 1), (167, 1)]));
    let mut window = Shares::default();
    window.add(Cycle::HourOfWeek, MONDAY - HOUR, 3600);
    window.merge(&shares);
    assert_eq!(window.rows, BTreeMap::from([(0, 2), (167, 1)]));
}

#[test]
fn parts_add_up_to_the_whole_in_any_order() {
    let row = |hour: i64| (MONDAY + hour * HOUR * 5, 1_u64);
    let of = |rows: std::ops::Range<i64>| {
        let mut all = Seasons::new(Cycle::HourOfWeek);
        for (time, one) in rows.map(row) {
            *all.at(time, 0, || 0) += one;
        }
        all
    };
    // Each hour of the week comes back after five weeks: some thirty times in all.
    let mut parts = of(2900..5000);
    parts.merge(&of(0..2900));
    assert_eq!(parts, of(0..5000));
    assert_eq!((parts.rows(), parts.whole()), (5000, Some(5000)));
    // As if one by one, and back from text.
    let mut single = Seasons::new(Cycle::HourOfWeek);
    (0..5000)
        .map(row)
        .for_each(|(time, one)| single.add(time, 0, one));
    assert_eq!(single, parts);
    // Hour by hour, and of what was counted before.
    let mut by_hour = Seasons::new(Cycle::HourOfWeek);
    for (time, _) in (0..5000).map(row) {
        *by_hour.at_hour(time + 10, 0, 3, || 0) += 3;
    }
    assert_eq!((by_hour.rows(), by_hour.whole()), (15_000, Some(15_000)));
    let counted = parts.parts().map(|part| Counted {
        season: part.season,
        rows: part.rows,
        occasions: part.occasions,
        what: *part.what,
    });
    let again = Seasons::of_parts(Cycle::HourOfWeek, counted);
    assert_eq!(again, parts);
    let rows = parts.parts().map(|part| (part.season, part.rows));
    assert_eq!(Shares::of(rows), parts.shares());
    // Beside other columns of the same rows.
    let mut both = parts.clone();
    both.zip(again, |mine, theirs| *mine += 10 * theirs);
    assert_eq!((both.rows(), both.whole()), (5000, Some(55_000)));
    let text = serde_json::to_string(&parts).expect("JSON");
    assert_eq!(
        serde_json::from_str::<Seasons<u64>>(&text).expect("JSON"),
        parts
    );
}

/// An evening by itself: levels of evenings, not those of the day.
#[test]
fn what_is_merged_may_be_a_table_of_levels() {
    let of_row = |level: &str| Categories {
        levels: BTreeMap::from([(level.to_owned(), 1)]),
        nulls: 1,
    };
    let mut all = Seasons::new(Cycle::HourOfWeek);
    for hour in 0..5 * 168 {
        let level = if hour % 24 < 18 { "work" } else { "home" };
        all.add(MONDAY + hour * HOUR, 0, of_row(level));
    }
    let rule = Rule {
        least_rows: 10,
        ..Rule::default()
    };
    let evening = window(Cycle::HourOfWeek, MONDAY + 5 * WEEK + 18 * HOUR, 3);
    let found = all.reference(&evening, rule).expect("rows").what;
    assert_eq!(found.levels, BTreeMap::from([("home".to_owned(), 15)]));
    assert_eq!((found.nulls, found.rows()), (15, 30));
    let whole = all.whole().expect("rows");
    assert_eq!(whole.levels["work"], 5 * 7 * 18);
}

#[test]
fn short_windows_have_hours_and_long_ones_months() {
    assert_eq!(Cycle::of_window(HOUR), Cycle::HourOfWeek);
    assert_eq!(Cycle::of_window(3 * DAY), Cycle::MonthOfYear);
    assert_eq!(Cycle::HourOfWeek.name(167), "Sunday 23:00");
    assert_eq!(
        spans(Cycle::MonthOfYear, &[0, 1, 5]),
        "January to February, June"
    );
    let many = [1, 3, 5, 7, 9];
    assert!(spans(Cycle::HourOfWeek, &many).ends_with("Monday 05:00 to Monday 06:00 and 2 more"));
}
