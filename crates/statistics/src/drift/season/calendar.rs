//! Days, weeks and months of local time.

pub(super) const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A time on the wall.
pub(super) struct Local {
    /// Days since 1970-01-01, a Thursday.
    day: i64,
    hour: i64,
}

impl Local {
    pub(super) fn of(time: i64, offset: i32) -> Self {
        let local = time.saturating_add(i64::from(offset));
        Self {
            day: local.div_euclid(86_400),
            hour: local.rem_euclid(86_400) / 3600,
        }
    }

    /// From Monday 00:00.
    pub(super) fn hour_of_week(&self) -> u16 {
        let hour = (self.day + 3).rem_euclid(7) * 24 + self.hour;
        u16::try_from(hour).expect("below 168")
    }

    /// Weeks since that of 1970-01-01, which begin on Monday.
    pub(super) fn week(&self) -> i64 {
        (self.day + 3).div_euclid(7)
    }

    /// From 1.
    pub(super) fn month(&self) -> u16 {
        self.year_and_month().1
    }

    pub(super) fn year(&self) -> i64 {
        self.year_and_month().0
    }

    /// Of the Gregorian calendar.
    ///
    /// Source: Hinnant (2014), "chrono-compatible low-level date algorithms", `civil_from_days`: years that begin in March, in
    /// eras of 400.
    fn year_and_month(&self) -> (i64, u16) {
        let day = self.day + 719_468;
        let era = day.div_euclid(146_097);
        let of_era = day.rem_euclid(146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = year + era * 400 + i64::from(month <= 2);
        (year, u16::try_from(month).expect("at most 12"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (time, offset, hour_of_week, year, month) in [
            // 1970-01-01 00:00, a Thursday.
            (0, 0, 72, 1970, 1),
            // 2013-03-01 05:00, a Friday; in New York still midnight of it.
            (1_362_114_000, 0, 4 * 24 + 5, 2013, 3),
            (1_362_114_000, -5 * 3600, 4 * 24, 2013, 3),
            (1_362_114_000, -6 * 3600, 3 * 24 + 23, 2013, 2),
            // 2000-02-29 12:00, a Tuesday.
            (951_825_600, 0, 24 + 12, 2000, 2),
            // 2100-02-28 12:00, a Sunday of a year that is no leap year, and the day after.
            (4_107_499_200, 0, 6 * 24 + 12, 2100, 2),
            (4_107_499_200 + 86_400, 0, 12, 2100, 3),
            // 1969-12-31 23:59:59.
            (-1, 0, 2 * 24 + 23, 1969, 12),
        ] {
            let local = Local::of(time, offset);
            assert_eq!(local.hour_of_week(), hour_of_week, "{time}");
            assert_eq!((local.year(), local.month()), (year, month), "{time}");
        }
        // From Sunday to Monday.
        assert_eq!(Local::of(4 * 86_400 - 1, 0).week(), 0);
        assert_eq!(Local::of(4 * 86_400, 0).week(), 1);
    }
}
