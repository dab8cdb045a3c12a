//! When, at the rate at which requests come, so many more will have come.

use jiff::{SignedDuration, Timestamp, Unit};

use super::traffic::float;

/// Below this, a rate is that of a moment.
const LEAST: SignedDuration = SignedDuration::from_secs(5);
/// Past this, no time is named: nobody waits for it.
const MOST_SECONDS: f64 = 100.0 * 86_400.0;

/// How fast something comes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How many have come.
    pub count: u64,
    /// Since when.
    pub since: Timestamp,
    /// Until now.
    pub now: Timestamp,
}

impl Pace {
    /// When so many more will have come, in words.
    pub fn until(&self, more: f64) -> String {
        let over = self.now.duration_since(self.since);
        if self.count == 0 {
            return "none come at the moment, so that no time can be told".to_owned();
        }
        if over < LEAST {
            return "how fast they come is not known yet".to_owned();
        }
        let rate = float(self.count) / over.as_secs_f64();
        let (seconds, rate) = (more.max(0.0) / rate, in_words(rate));
        if seconds > MOST_SECONDS {
            return format!("at {rate} that takes more than 100 days");
        }
        let end = SignedDuration::try_from_secs_f64(seconds)
            .ok()
            .and_then(|left| self.now.checked_add(left).ok())
            .and_then(|end| end.round(Unit::Second).ok());
        let end = end.map(|end| format!(", until {end}")).unwrap_or_default();
        format!("about {} at {rate}{end}", span(seconds))
    }
}

/// A rate as people say it.
fn in_words(rate: f64) -> String {
    let (value, unit) = match rate {
        rate if rate >= 0.5 => (rate, "a second"),
        rate if rate * 60.0 >= 0.5 => (rate * 60.0, "a minute"),
        rate => (rate * 3600.0, "an hour"),
    };
    if value >= 10.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// A time that is left, in the unit that makes it a small number.
fn span(seconds: f64) -> String {
    let (value, unit) = match seconds {
        seconds if seconds < 90.0 => (seconds, "second"),
        seconds if seconds < 5400.0 => (seconds / 60.0, "minute"),
        seconds if seconds < 129_600.0 => (seconds / 3600.0, "hour"),
        seconds => (seconds / 86_400.0, "day"),
    };
    let value = value.ceil().max(1.0);
    let plural = if value > 1.0 { "s" } else { "" };
    format!("{value:.0} more {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(count: u64, over: i64) -> Pace {
        let at = |second| Timestamp::from_second(second).expect("a time");
        Pace {
            count,
            since: at(0),
            now: at(over),
        }
    }

    #[test]
    fn what_is_missing_is_told_in_time_where_there_is_a_rate() {
        for (count, over, more, expected) in [
            (
                310,
                100,
                2232.0,
                "about 12 more minutes at 3.1 a second, until 1970-01-01T00:13:40Z",
            ),
            (
                310,
                100,
                0.0,
                "about 1 more second at 3.1 a second, until 1970-01-01T00:01:40Z",
            ),
            (
                6000,
                100,
                600.0,
                "about 10 more seconds at 60 a second, until 1970-01-01T00:01:50Z",
            ),
            (
                3,
                60,
                30.0,
                "about 10 more minutes at 3.0 a minute, until 1970-01-01T00:11:00Z",
            ),
            (
                1,
                3600,
                5.0,
                "about 5 more hours at 1.0 an hour, until 1970-01-01T06:00:00Z",
            ),
            (
                10,
                3600,
                1000.0,
                "about 5 more days at 10 an hour, until 1970-01-05T05:00:00Z",
            ),
            (1, 3600, 1e9, "at 1.0 an hour that takes more than 100 days"),
            (
                0,
                3600,
                100.0,
                "none come at the moment, so that no time can be told",
            ),
            (5, 1, 100.0, "how fast they come is not known yet"),
            (5, -7, 100.0, "how fast they come is not known yet"),
            (
                5,
                100,
                f64::INFINITY,
                "at 3.0 a minute that takes more than 100 days",
            ),
        ] {
            let said = pace(count, over).until(more);
            assert_eq!(said, expected, "{count} in {over} s, {more} more");
        }
    }
}
