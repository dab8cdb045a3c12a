//! When windows end: every so often, or by a cron schedule in a time zone.
//!
//! What a host knows of time zones is not asked: the table is part of the program, so that a decision is the same everywhere.

use std::sync::LazyLock;

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions, parse_crontab_with};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use windlass_api::MonitorWindow;

use super::duration;
use crate::Problem;

/// The time zones.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
/// Fields of a schedule.
const FIELDS: usize = 5;
/// How far back an end is looked for at first, and at most: a schedule that fires at all does so within four years.
const BACK: (SignedDuration, SignedDuration) = (
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(5 * 366 * 24),
);
/// So many ends are counted of those that are passed over.
const COUNTED: usize = 10_000;

/// When windows end.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// At every multiple of this, since 1970.
    Every(SignedDuration),
    /// By a cron schedule.
    Cron(Box<Cron>),
}

/// A cron schedule in a time zone.
#[derive(Clone, Debug)]
pub struct Cron {
    /// Of times as clocks show them, wherever.
    crontab: Crontab,
    zone: TimeZone,
}

impl Schedule {
    /// The schedule that a monitor asks for.
    pub fn of(window: &MonitorWindow, now: Timestamp) -> Result<Self, Problem> {
        let Some(text) = &window.schedule else {
            let every = window.every.as_ref().map(duration);
            let every = every.unwrap_or(SignedDuration::from_hours(1));
            return Ok(Self::Every(every.max(SignedDuration::from_secs(1))));
        };
        let name = window.time_zone.as_deref().unwrap_or("UTC");
        let zone = ZONES.get(name).map_err(|_| {
            Problem::new(
                "TimeZoneUnknown",
                format!("spec.window.timeZone: there is no time zone {name:?}; give one of the IANA time zone database, such as Europe/Berlin, or leave it out for UTC"),
            )
        })?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let invalid = |why: &str| {
            Problem::new(
                "ScheduleInvalid",
                format!(
                    "spec.window.schedule: {text:?} is no cron schedule of five fields (minute, hour, day of the month, month, day of the week), such as \"0 6 * * MON-FRI\"{why}"
                ),
            )
        };
        if fields.len() != FIELDS {
            return Err(invalid(&format!(": it has {} fields", fields.len())));
        }
        let crontab = parse_crontab_with(&fields.join(" "), options).map_err(|error| {
            let said = error.to_string();
            let last = said.lines().last().unwrap_or_default();
            invalid(&format!(": {}", last.trim_matches([' ', '^'])))
        })?;
        let schedule = Self::Cron(Box::new(Cron { crontab, zone }));
        if schedule.next(now).is_none() {
            return Err(Problem::new(
                "ScheduleNeverFires",
                format!(
                    "spec.window.schedule: {text:?} names no time of the next four years, so that no window would ever end; give days that the months have"
                ),
            ));
        }
        Ok(schedule)
    }

    /// The first end after this time.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(every) => {
                let every = every.as_secs();
                let multiple = after.as_second().div_euclid(every) + 1;
                Timestamp::from_second(multiple.checked_mul(every)?).ok()
            }
            Self::Cron(cron) => cron.next(after),
        }
    }

    /// The newest ends after the one time and not after the other, so many at most, in order.
    pub fn newest(&self, after: Timestamp, until: Timestamp, most: usize) -> Vec<Timestamp> {
        let mut back = match self {
            Self::Every(every) => *every * i32::try_from(most).unwrap_or(i32::MAX),
            Self::Cron(_) => BACK.0,
        };
        loop {
            let from = until
                .checked_sub(back)
                .map_or(after, |from| from.max(after));
            let mut ends: Vec<Timestamp> = self.between(from, until).collect();
            if ends.len() >= most || from <= after {
                ends.drain(..ends.len().saturating_sub(most));
                return ends;
            }
            back *= 4;
        }
    }

    /// The last end before this one.
    pub fn before(&self, end: Timestamp) -> Option<Timestamp> {
        let after = end.checked_sub(BACK.1).unwrap_or(Timestamp::MIN);
        let until = end.checked_sub(SignedDuration::from_secs(1)).ok()?;
        self.newest(after, until, 1).pop()
    }

    /// How many ends lie between two others, the first and the last of them. Past ten thousand are not counted.
    pub fn count(
        &self,
        after: Timestamp,
        before: Timestamp,
    ) -> Option<(i64, Timestamp, Timestamp)> {
        let first = self.next(after).filter(|first| *first < before)?;
        let last = self.before(before)?;
        let until = before.checked_sub(SignedDuration::from_secs(1)).ok()?;
        let count = match self {
            Self::Every(every) => (last.as_second() - first.as_second()) / every.as_secs() + 1,
            Self::Cron(_) => {
                let counted = self.between(after, until).take(COUNTED).count();
                i64::try_from(counted).unwrap_or(i64::MAX)
            }
        };
        Some((count, first, last))
    }

    fn between(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.next(after), |end| self.next(*end))
            .take_while(move |end| *end <= until)
    }
}

impl Cron {
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        // Clocks are read here, and the schedule goes by what they show; it knows of no zone itself.
        let shown = after.to_zoned(self.zone.clone()).datetime();
        let mut shown = TimeZone::UTC.to_timestamp(shown).ok()?;
        loop {
            let next = self.crontab.find_next(MakeTimestamp(shown)).ok()?;
            let end = self.zone.to_zoned(next.datetime()).ok()?.timestamp();
            // Where an hour comes twice, what the clocks show the second time lies behind.
            if end > after {
                return Some(end);
            }
            shown = next.timestamp();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::object;
    use proptest::prelude::*;
    use serde_json::json;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn cron(schedule: &str, zone: &str) -> Result<Schedule, Problem> {
        let window: MonitorWindow = object(json!({"schedule": schedule, "timeZone": zone}));
        Schedule::of(&window, time("2026-11-01T00:00:00Z"))
    }

    fn every(text: &str) -> Schedule {
        let window: MonitorWindow = object(json!({"every": text}));
        Schedule::of(&window, Timestamp::UNIX_EPOCH).expect("an interval")
    }

    #[test]
    fn a_schedule_fires_by_the_clocks_of_its_zone() {
        let rows = [
            (
                "0 6 * * *",
                "UTC",
                "2026-11-01T06:00:00Z",
                "2026-11-02T06:00:00Z",
            ),
            (
                "0 6 * * *",
                "Europe/Berlin",
                "2026-07-01T00:00:00Z",
                "2026-07-01T04:00:00Z",
            ),
            (
                "0 6 * * *",
                "Europe/Berlin",
                "2026-12-01T00:00:00Z",
                "2026-12-01T05:00:00Z",
            ),
            (
                "0 6 * * MON-FRI",
                "America/New_York",
                "2026-11-06T11:00:00Z",
                "2026-11-09T11:00:00Z",
            ),
            (
                "*/15 * * * *",
                "Asia/Kathmandu",
                "2026-11-01T00:01:00Z",
                "2026-11-01T00:15:00Z",
            ),
            // Clocks go from 2 to 3: what they leave out is the hour after it, once.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-03-28T12:00:00Z",
                "2026-03-29T01:30:00Z",
            ),
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-03-29T01:30:00Z",
                "2026-03-30T00:30:00Z",
            ),
            // They go back from 3 to 2: what comes twice is the first of both.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-10-24T12:00:00Z",
                "2026-10-25T00:30:00Z",
            ),
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-10-25T00:30:00Z",
                "2026-10-26T01:30:00Z",
            ),
            (
                "*/30 * * * *",
                "Europe/Berlin",
                "2026-10-25T00:30:00Z",
                "2026-10-25T02:00:00Z",
            ),
            (
                "0 0 29 2 *",
                "UTC",
                "2026-11-01T00:00:00Z",
                "2028-02-29T00:00:00Z",
            ),
            (
                "0 0 L * *",
                "UTC",
                "2026-11-01T00:00:00Z",
                "2026-11-30T00:00:00Z",
            ),
        ];
        for (schedule, zone, after, expected) in rows {
            let next = cron(schedule, zone).expect(schedule).next(time(after));
            assert_eq!(
                next,
                Some(time(expected)),
                "{schedule} in {zone} after {after}"
            );
        }
    }

    #[test]
    fn a_schedule_that_is_none_is_named() {
        let rows = [
            ("0 0 30 2 *", "UTC", "ScheduleNeverFires", "names no time"),
            ("0 6 * *", "UTC", "ScheduleInvalid", "it has 4 fields"),
            ("0 6 * * * UTC", "UTC", "ScheduleInvalid", "it has 6 fields"),
            ("61 6 * * *", "UTC", "ScheduleInvalid", "61"),
            (
                "0 6 * * FOO",
                "UTC",
                "ScheduleInvalid",
                "spec.window.schedule",
            ),
            (
                "0 6 * * *",
                "Europe/Berlim",
                "TimeZoneUnknown",
                "Europe/Berlim",
            ),
            ("0 6 * * *", "", "TimeZoneUnknown", "spec.window.timeZone"),
        ];
        for (schedule, zone, reason, part) in rows {
            let problem = cron(schedule, zone).expect_err(schedule);
            assert_eq!(problem.reason, reason, "{schedule} in {zone}");
            assert!(problem.message.contains(part), "{}", problem.message);
        }
    }

    #[test]
    fn ends_that_are_passed_over_are_counted() {
        let (from, to) = (time("2026-11-01T00:00:00Z"), time("2026-11-03T00:00:00Z"));
        let hourly = every("1h");
        let daily = cron("0 12 * * *", "UTC").expect("a schedule");
        assert_eq!(
            hourly.count(from, to),
            Some((
                47,
                time("2026-11-01T01:00:00Z"),
                time("2026-11-02T23:00:00Z")
            ))
        );
        assert_eq!(
            daily.count(from, to),
            Some((
                2,
                time("2026-11-01T12:00:00Z"),
                time("2026-11-02T12:00:00Z")
            ))
        );
        assert_eq!(daily.count(from, time("2026-11-01T12:00:00Z")), None);
        assert_eq!(daily.newest(from, to, 1), [time("2026-11-02T12:00:00Z")]);
        let yearly = cron("0 0 1 1 *", "UTC").expect("a schedule");
        assert_eq!(
            yearly.before(time("2026-01-01T00:00:00Z")),
            Some(time("2025-01-01T00:00:00Z"))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever the zone and the moment: ends rise, the newest are the last of all, and the one before is before.
        #[test]
        fn ends_are_the_same_from_either_side(
            schedule in prop::sample::select(vec!["*/20 * * * *", "0 */5 * * *", "30 2 * * *", "0 6 * * MON", "every"]),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]),
            from in 1_760_000_000i64..1_800_000_000, hours in 1i64..200, most in 1usize..30,
        ) {
            let schedule = if schedule == "every" { every("50m") } else { cron(schedule, zone).expect(schedule) };
            let from = Timestamp::from_second(from).expect("a time");
            let until = from + SignedDuration::from_hours(hours);
            let all: Vec<Timestamp> = schedule.between(from, until).collect();
            prop_assert!(all.is_sorted_by(|one, next| one < next));
            let newest = schedule.newest(from, until, most);
            prop_assert_eq!(&all[all.len().saturating_sub(most)..], &newest[..]);
            for pair in all.windows(2) {
                prop_assert_eq!(schedule.before(pair[1]), Some(pair[0]));
            }
        }
    }
}
