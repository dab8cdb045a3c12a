//! That a payload log loses rows, as an Event of its ModelDeployment: what is judged then is judged on fewer rows.
//!
//! Proxies are asked only while a version is tried or kept warm, so that it is told only then; at all times their metrics
//! tell it, and the chart's alerts.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use windlass_api::agent::Observations;

/// How often it is told of a ModelDeployment, at most.
const EVERY: Duration = Duration::from_mins(10);
/// The part of the rows that may be lost without a word: clients hang up, too.
const SILENT_PART: f64 = 0.01;
/// Rows that are looked at together, at least: of a few a single one would be much.
const TOGETHER: u64 = 100;

/// Rows that a payload log was to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    logged: u64,
    dropped: u64,
}

impl Rows {
    /// What a proxy has counted between two looks; of one that was started again, nothing.
    pub fn between(before: &Observations, now: &Observations) -> Self {
        let logged = now.rows_logged.checked_sub(before.rows_logged);
        let dropped = now.rows_dropped.checked_sub(before.rows_dropped);
        logged
            .zip(dropped)
            .map_or_else(Self::default, |(logged, dropped)| Self { logged, dropped })
    }

    /// Those of several proxies.
    pub fn add(&mut self, other: Self) {
        self.logged += other.logged;
        self.dropped += other.dropped;
    }

    #[allow(clippy::cast_precision_loss)] // a share
    fn are_worth_a_word(self) -> bool {
        let all = self.logged + self.dropped;
        self.dropped as f64 > SILENT_PART * all as f64
    }
}

/// What is known of a ModelDeployment.
#[derive(Debug, Default)]
struct Known {
    /// Rows that are too few yet to be judged.
    rows: Rows,
    /// When it was told last.
    told: Option<Instant>,
}

/// What is known, by the uid of the ModelDeployment.
#[derive(Debug, Default)]
pub(super) struct Losses {
    known: Mutex<HashMap<String, Known>>,
}

impl Losses {
    /// What is to be told of a ModelDeployment whose proxies have had these rows since they were asked last.
    pub fn say(&self, deployment: &str, rows: Rows, now: Instant) -> Option<String> {
        if rows == Rows::default() {
            return None;
        }
        let mut known = self.known.lock().expect("no holder panics");
        let known = known.entry(deployment.to_owned()).or_default();
        known.rows.add(rows);
        let rows = known.rows;
        if rows.logged + rows.dropped < TOGETHER {
            return None;
        }
        known.rows = Rows::default();
        let is_told = (known.told).is_some_and(|told| now.duration_since(told) < EVERY);
        if is_told || !rows.are_worth_a_word() {
            return None;
        }
        known.told = Some(now);
        Some(format!(
            "the payload log loses rows: {} of the last {}. No request waits for it; what is judged of this time, drift too, \
             is judged on fewer rows. Why, say windlass_proxy_payload_rows_dropped_total by its reason, and the log of the container windlass-agent: \
             spec.observe.logPayloads.uri that cannot be written to, bodies above spec.observe.maxBodyBytes, or more than can be read \
             (lower spec.observe.logPayloads.sample)",
            rows.dropped,
            rows.logged + rows.dropped
        ))
    }

    pub fn forget_all_but(&self, deployments: &HashSet<String>) {
        let mut known = self.known.lock().expect("no holder panics");
        known.retain(|deployment, _| deployments.contains(deployment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(logged: u64, dropped: u64) -> Observations {
        Observations {
            rows_logged: logged,
            rows_dropped: dropped,
            ..Observations::default()
        }
    }

    #[test]
    fn rows_that_are_lost_are_told_of_now_and_then_and_a_few_are_not() {
        let losses = Losses::default();
        let start = Instant::now();
        let say = |rows, seconds| losses.say("uid", rows, start + Duration::from_secs(seconds));
        let rows = |logged, dropped| Rows { logged, dropped };
        assert_eq!(say(rows(0, 0), 0), None);
        assert_eq!(say(rows(990, 10), 0), None);
        let said = say(rows(900, 100), 0).expect("a word");
        assert!(said.contains("100 of the last 1000"), "{said}");
        assert_eq!(say(rows(0, 900), 599), None, "it was told a moment ago");
        assert!(losses.say("other", rows(0, 900), start).is_some());
        assert!(say(rows(0, 900), 600).is_some());
        losses.forget_all_but(&HashSet::new());
        assert!(say(rows(0, 900), 601).is_some(), "another roll-out");
        // One client that hangs up says nothing, one row in ten over a while does.
        let say = |rows| losses.say("seldom", rows, start);
        assert_eq!(say(rows(8, 1)), None);
        let said: Vec<_> = (0..12).filter_map(|_| say(rows(8, 1))).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("12 of the last 108"), "{said:?}");
    }

    #[test]
    fn of_a_proxy_that_was_started_again_nothing_is_told() {
        assert_eq!(Rows::between(&seen(100, 50), &seen(3, 2)), Rows::default());
        let mut rows = Rows::between(&seen(100, 50), &seen(107, 52));
        rows.add(Rows::between(&seen(0, 0), &seen(1, 1)));
        assert_eq!((rows.logged, rows.dropped), (8, 3));
        // It has dropped more than the one before it by now.
        assert_eq!(Rows::between(&seen(100, 2), &seen(50, 30)), Rows::default());
    }
}
