//! What the proxy has measured, for the operator and for Prometheus.
//!
//! Atomics throughout: a request waits for no other to be counted. Predictions are counted by the log's thread alone.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tracing::warn;
use windlass_api::agent::{Mirrored, Observations, Tokens};

use super::exposition::{Exposition, Format};
use super::histogram::{FINE_BOUNDS_MS, Histogram};
use super::outcome::{Loss, Outcome};
use super::trace::Trace;

/// How long a warning of lost rows stands before it is said again.
const SAID_FOR: Duration = Duration::from_mins(1);

/// Which of the measurements are made at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// Predictions are counted.
    pub predictions: bool,
    /// Requests are mirrored.
    pub mirror: bool,
    /// The model server streams tokens.
    pub tokens: bool,
}

/// Counters since the proxy started.
#[derive(Debug, Default)]
pub struct Measurements {
    measured: Measured,
    classes: [AtomicU64; Outcome::CLASSES.len()],
    errors: AtomicU64,
    refused: AtomicU64,
    latency: Histogram,
    rows_logged: AtomicU64,
    rows_dropped: [AtomicU64; Loss::ALL.len()],
    rows_withheld: AtomicU64,
    said: Mutex<Option<Instant>>,
    uploads_failed: AtomicU64,
    predictions: Mutex<BTreeMap<i32, u64>>,
    mirror: Mutex<Mirrored>,
    first_token: Histogram,
    token_time: Histogram,
    tokens: AtomicU64,
    token_nanoseconds: AtomicU64,
}

/// What is so at the moment, as gauges say it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Requests that wait for their turn.
    pub waiting: u64,
    /// Whether the model server is left alone because it took no connections.
    pub is_open: bool,
    /// Bytes in the spool.
    pub spool_bytes: u64,
}

impl Measurements {
    /// Nothing yet.
    pub fn new(measured: Measured) -> Self {
        Self {
            measured,
            ..Self::default()
        }
    }

    /// Counts a request to the model. One that its client broke off says nothing about the model, neither good nor bad:
    /// it is counted in its class alone.
    pub fn count(&self, outcome: Outcome, latency: Duration, trace: Option<Trace>) {
        self.classes[outcome.class()].fetch_add(1, Relaxed);
        if outcome == Outcome::Cancelled {
            return;
        }
        self.latency.observe(latency, trace);
        if outcome.is_error() {
            self.errors.fetch_add(1, Relaxed);
        }
    }

    /// Counts a request that the model server was never asked, because too many were waiting.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Counts rows that are in the payload log.
    pub fn logged(&self, rows: u64) {
        self.rows_logged.fetch_add(rows, Relaxed);
    }

    /// Counts rows that the payload log could not take, and says so now and then.
    pub fn dropped(&self, rows: u64, why: Loss) {
        self.rows_dropped[why as usize].fetch_add(rows, Relaxed);
        let Ok(mut said) = self.said.try_lock() else {
            return;
        };
        if said.is_none_or(|at| at.elapsed() >= SAID_FOR) {
            *said = Some(Instant::now());
            let all: u64 = self
                .rows_dropped
                .iter()
                .map(|rows| rows.load(Relaxed))
                .sum();
            warn!(
                "{all} rows of the payload log were dropped so far, the last because {}",
                why.in_words()
            );
        }
    }

    /// Counts rows whose features are not in the payload log, since it is not known which of them is redacted.
    pub fn withheld(&self, rows: u64) {
        self.rows_withheld.fetch_add(rows, Relaxed);
    }

    /// Counts an upload that has to be tried again.
    pub fn upload_failed(&self) {
        self.uploads_failed.fetch_add(1, Relaxed);
    }

    /// Uploads that had to be tried again.
    #[cfg(test)]
    pub fn uploads_failed(&self) -> u64 {
        self.uploads_failed.load(Relaxed)
    }

    /// Counts predictions by their bins.
    pub fn predicted(&self, bins: impl IntoIterator<Item = i32>) {
        let mut predictions = self.predictions.lock().expect("no thread panics with it");
        for bin in bins {
            *predictions.entry(bin).or_default() += 1;
        }
    }

    /// Counts what became of a copy.
    pub fn mirrored(&self, more: Mirrored) {
        let mut all = self.mirror.lock().expect("no thread panics with it");
        all.sent += more.sent;
        all.errors += more.errors;
        all.dropped += more.dropped;
        all.compared += more.compared;
        all.agreed += more.agreed;
    }

    /// Counts an answer that was streamed: when its first token came, how many there were, and over how long.
    pub fn streamed(&self, first: Duration, tokens: u64, over: Duration, trace: Option<Trace>) {
        self.first_token.observe(first, trace);
        self.tokens.fetch_add(tokens, Relaxed);
        // The first is over at the beginning: the time is that of those after it.
        let after = u32::try_from(tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        if let Some(each) = over.checked_div(after) {
            self.token_time.observe(each, trace);
        }
        let nanoseconds = u64::try_from(over.as_nanos()).unwrap_or(u64::MAX);
        self.token_nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    fn rows_dropped(&self) -> u64 {
        self.rows_dropped
            .iter()
            .map(|rows| rows.load(Relaxed))
            .sum()
    }

    fn token_seconds(&self) -> Duration {
        Duration::from_nanos(self.token_nanoseconds.load(Relaxed))
    }

    /// What was measured, for the operator.
    pub fn observations(&self, version: &str) -> Observations {
        let latency_counts = self.latency.fine_counts();
        let predictions = || {
            self.predictions
                .lock()
                .expect("no thread panics with it")
                .clone()
        };
        let mirror = || *self.mirror.lock().expect("no thread panics with it");
        let tokens = || Tokens {
            first_token_counts: self.first_token.fine_counts(),
            time_per_token_counts: self.token_time.fine_counts(),
            tokens: self.tokens.load(Relaxed),
            seconds: self.token_seconds().as_secs(),
        };
        Observations {
            version: version.to_owned(),
            requests: latency_counts.iter().sum(),
            errors: self.errors.load(Relaxed),
            latency_bounds_ms: FINE_BOUNDS_MS.clone(),
            latency_counts,
            rows_logged: self.rows_logged.load(Relaxed),
            rows_dropped: self.rows_dropped(),
            predictions: self.measured.predictions.then(predictions),
            mirror: self.measured.mirror.then(mirror),
            tokens: self.measured.tokens.then(tokens),
        }
    }

    /// What was measured, for Prometheus.
    pub fn metrics(&self, format: Format, now: Now) -> String {
        let mut text = Exposition::new(format);
        let classes = self.classes.iter().map(|count| count.load(Relaxed));
        text.counter(
            "windlass_proxy_requests",
            "Requests to the model, by the class of their status.",
            Some("code_class"),
            Outcome::CLASSES.into_iter().zip(classes),
        );
        text.counter(
            "windlass_proxy_requests_refused",
            "Requests that the model server was not asked, because too many were waiting.",
            None,
            [("", self.refused.load(Relaxed))],
        );
        text.histogram(
            "windlass_proxy_request_duration_seconds",
            "Time from a request's head to the end of its answer, without those that clients broke off.",
            &self.latency,
        );
        text.gauge(
            "windlass_proxy_requests_waiting",
            "Requests that wait for their turn.",
            now.waiting,
        );
        text.gauge(
            "windlass_proxy_circuit_open",
            "1 while the model server is left alone, because it took no connections.",
            now.is_open.into(),
        );
        self.write_log(&mut text, now);
        if self.measured.mirror {
            self.write_mirror(&mut text);
        }
        if self.measured.tokens {
            self.write_tokens(&mut text);
        }
        text.finish()
    }

    fn write_log(&self, text: &mut Exposition, now: Now) {
        text.counter(
            "windlass_proxy_payload_rows_logged",
            "Rows written to the payload log.",
            None,
            [("", self.rows_logged.load(Relaxed))],
        );
        let dropped =
            Loss::ALL.map(|why| (why.as_str(), self.rows_dropped[why as usize].load(Relaxed)));
        text.counter(
            "windlass_proxy_payload_rows_dropped",
            "Rows that the payload log could not take, by why.",
            Some("reason"),
            dropped,
        );
        text.counter(
            "windlass_proxy_payload_rows_withheld",
            "Rows logged without their features: without a signature it is not known which of these is redacted.",
            None,
            [("", self.rows_withheld.load(Relaxed))],
        );
        text.counter(
            "windlass_proxy_payload_uploads_failed",
            "Uploads of the payload log that had to be tried again.",
            None,
            [("", self.uploads_failed.load(Relaxed))],
        );
        text.gauge(
            "windlass_proxy_payload_spool_bytes",
            "Bytes of the payload log that are on local disk and not yet uploaded.",
            now.spool_bytes,
        );
    }

    fn write_mirror(&self, text: &mut Exposition) {
        let mirror = *self.mirror.lock().expect("no thread panics with it");
        let outcomes = [
            ("answered", mirror.sent - mirror.errors),
            ("failed", mirror.errors),
            ("dropped", mirror.dropped),
        ];
        text.counter(
            "windlass_proxy_mirrored_requests",
            "Copies of requests for another version, by what became of them.",
            Some("outcome"),
            outcomes,
        );
        let rows = [
            ("same", mirror.agreed),
            ("different", mirror.compared - mirror.agreed),
        ];
        text.counter(
            "windlass_proxy_mirrored_rows",
            "Rows of which both versions' answers were compared, by whether these were the same.",
            Some("answer"),
            rows,
        );
    }

    fn write_tokens(&self, text: &mut Exposition) {
        text.histogram(
            "windlass_proxy_time_to_first_token_seconds",
            "Time from a request's head to the first token of its streamed answer.",
            &self.first_token,
        );
        text.histogram(
            "windlass_proxy_time_per_output_token_seconds",
            "Mean time of a token after the first, of each streamed answer of two tokens or more.",
            &self.token_time,
        );
        text.counter(
            "windlass_proxy_tokens",
            "Tokens of streamed answers, or events that carried some.",
            None,
            [("", self.tokens.load(Relaxed))],
        );
        text.counter(
            "windlass_proxy_token_seconds",
            "Time from the first token of each streamed answer to its last, in all.",
            None,
            [("", self.token_seconds().as_secs_f64())],
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn errors_are_5xx_and_what_was_not_answered_and_what_was_broken_off_is_not_judged() {
        let measurements = Measurements::default();
        for outcome in [200, 404, 429, 499, 500, 503]
            .map(Outcome::Status)
            .into_iter()
            .chain([Outcome::Unanswered, Outcome::Cancelled])
        {
            measurements.count(outcome, Duration::from_millis(1), None);
        }
        let observations = measurements.observations("v");
        assert_eq!((observations.requests, observations.errors), (7, 3));
    }

    #[test]
    fn what_is_not_measured_is_not_told() {
        let measurements = Measurements::default();
        measurements.predicted([1]);
        let observations = measurements.observations("v");
        assert_eq!(
            (
                observations.predictions,
                observations.mirror,
                observations.tokens
            ),
            (None, None, None)
        );
        let text = measurements.metrics(Format::Classical, Now::default());
        assert!(
            !text.contains("mirrored") && !text.contains("token"),
            "{text}"
        );
        let all = Measured {
            predictions: true,
            mirror: true,
            tokens: true,
        };
        let measurements = Measurements::new(all);
        measurements.predicted([1, 1, -4]);
        measurements.streamed(
            Duration::from_millis(3),
            5,
            Duration::from_millis(1500),
            None,
        );
        measurements.streamed(
            Duration::from_millis(3),
            5,
            Duration::from_millis(600),
            None,
        );
        let observations = measurements.observations("v");
        assert_eq!(
            observations.predictions,
            Some(BTreeMap::from([(-4, 1), (1, 2)]))
        );
        assert_eq!(observations.mirror, Some(Mirrored::default()));
        let tokens = observations.tokens.expect("tokens");
        assert_eq!((tokens.tokens, tokens.seconds), (10, 2));
        assert_eq!(tokens.first_token_counts.iter().sum::<u64>(), 2);
        assert_eq!(tokens.time_per_token_counts.iter().sum::<u64>(), 2);
    }

    #[test]
    fn the_time_of_a_token_is_that_of_those_after_the_first() {
        let measurements = Measurements::new(Measured {
            tokens: true,
            ..Measured::default()
        });
        let (first, over) = (Duration::from_millis(80), Duration::from_millis(400));
        measurements.streamed(first, 5, over, None);
        // Of one token there is none after the first.
        measurements.streamed(first, 1, Duration::ZERO, None);
        let tokens = measurements.observations("v").tokens.expect("tokens");
        let bucket = FINE_BOUNDS_MS.partition_point(|bound| *bound < 100.0);
        assert_eq!(tokens.time_per_token_counts[bucket], 1);
        assert_eq!(tokens.time_per_token_counts.iter().sum::<u64>(), 1);
        let text = measurements.metrics(Format::Classical, Now::default());
        for line in [
            "windlass_proxy_time_to_first_token_seconds_bucket{le=\"0.05\"} 0",
            "windlass_proxy_time_to_first_token_seconds_bucket{le=\"0.1\"} 2",
            "windlass_proxy_time_per_output_token_seconds_bucket{le=\"0.05\"} 0",
            "windlass_proxy_time_per_output_token_seconds_bucket{le=\"0.1\"} 1",
            "windlass_proxy_time_per_output_token_seconds_count 1",
            "windlass_proxy_tokens_total 6",
        ] {
            assert!(
                text.lines().any(|there| there == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn names_of_metrics_say_what_they_count() {
        let measurements = Measurements::default();
        measurements.count(Outcome::Status(502), Duration::from_millis(2), None);
        measurements.refused();
        measurements.dropped(3, Loss::Behind);
        measurements.withheld(2);
        measurements.count(Outcome::Cancelled, Duration::from_millis(2), None);
        let now = Now {
            waiting: 4,
            is_open: true,
            spool_bytes: 5,
        };
        let text = measurements.metrics(Format::Classical, now);
        for line in [
            "windlass_proxy_requests_total{code_class=\"5xx\"} 1",
            "windlass_proxy_requests_total{code_class=\"cancelled\"} 1",
            "windlass_proxy_requests_refused_total 1",
            "windlass_proxy_request_duration_seconds_count 1",
            "windlass_proxy_payload_rows_withheld_total 2",
            "windlass_proxy_payload_rows_dropped_total{reason=\"behind\"} 3",
            "windlass_proxy_requests_waiting 4",
            "windlass_proxy_circuit_open 1",
            "windlass_proxy_payload_spool_bytes 5",
        ] {
            assert!(
                text.lines().any(|there| there == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn what_the_chart_alerts_of_and_shows_is_measured_under_these_names() {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/windlass/files");
        let text = Measurements::default().metrics(Format::Classical, Now::default());
        let measured: BTreeSet<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .collect();
        for (file, least) in [("alerts.yaml", 3), ("dashboard.json", 2)] {
            let content = std::fs::read_to_string(chart.join(file)).expect("the chart's");
            let is_of_a_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
            let named: BTreeSet<&str> = content
                .match_indices("windlass_proxy_")
                .map(|(at, _)| &content[at..])
                .filter_map(|rest| rest.split(|letter: char| !is_of_a_name(letter)).next())
                .collect();
            assert!(named.len() >= least, "{file}: {named:?}");
            for name in named {
                assert!(measured.contains(name), "{file}: {name} is not in\n{text}");
            }
            // A reason that no row is dropped for would never be told.
            let asked = content.split("reason=~").skip(1);
            for reasons in
                asked.filter_map(|rest| rest.split(['"', '\\']).find(|one| !one.is_empty()))
            {
                for reason in reasons.split('|') {
                    let is_known = Loss::ALL.iter().any(|why| why.as_str() == reason);
                    assert!(is_known, "{file}: {reason}");
                }
            }
        }
    }
}
