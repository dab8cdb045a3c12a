//! What the proxy has measured: counters and the histogram of latencies.
//!
//! Atomics throughout: a request waits for no other to be counted.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use windlass_api::agent::Observations;

/// Upper bounds of the histogram's buckets, milliseconds.
pub const BOUNDS_MS: [f64; 14] = [
    0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0,
];

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client was given this status.
    Status(u16),
    /// The answer did not come, or broke off: the server failed, or the client had gone before it answered.
    Unanswered,
}

impl Outcome {
    /// Classes as metrics name them, in the order of [`Outcome::class`].
    const CLASSES: [&'static str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "unanswered"];

    fn class(self) -> usize {
        match self {
            Self::Status(status) => usize::from((status / 100).clamp(1, 5)) - 1,
            Self::Unanswered => 5,
        }
    }

    fn is_error(self) -> bool {
        matches!(self, Self::Unanswered | Self::Status(500..))
    }
}

/// Counters since the proxy started.
#[derive(Debug, Default)]
pub struct Measurements {
    classes: [AtomicU64; 6],
    errors: AtomicU64,
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    nanoseconds: AtomicU64,
    rows_logged: AtomicU64,
    rows_dropped: AtomicU64,
}

impl Measurements {
    /// Counts a request to the model.
    pub fn count(&self, outcome: Outcome, latency: Duration) {
        let milliseconds = latency.as_secs_f64() * 1000.0;
        let bucket = BOUNDS_MS.partition_point(|bound| *bound < milliseconds);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(
            u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX),
            Relaxed,
        );
        self.classes[outcome.class()].fetch_add(1, Relaxed);
        if outcome.is_error() {
            self.errors.fetch_add(1, Relaxed);
        }
    }

    /// Counts rows that are in the payload log.
    pub fn logged(&self, rows: u64) {
        self.rows_logged.fetch_add(rows, Relaxed);
    }

    /// Counts rows that the payload log could not take.
    pub fn dropped(&self, rows: u64) {
        self.rows_dropped.fetch_add(rows, Relaxed);
    }

    /// What was measured, for the operator.
    pub fn observations(&self, version: &str) -> Observations {
        let latency_counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|bucket| bucket.load(Relaxed))
            .collect();
        Observations {
            version: version.to_owned(),
            requests: latency_counts.iter().sum(),
            errors: self.errors.load(Relaxed),
            latency_bounds_ms: BOUNDS_MS.to_vec(),
            latency_counts,
            rows_logged: self.rows_logged.load(Relaxed),
            rows_dropped: self.rows_dropped.load(Relaxed),
            ..Observations::default()
        }
    }

    /// What was measured, in Prometheus' text format.
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        self.write(&mut text)
            .expect("a text takes what is written to it");
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        const REQUESTS: &str = "windlass_proxy_requests_total";
        const DURATION: &str = "windlass_proxy_request_duration_seconds";
        writeln!(
            text,
            "# HELP {REQUESTS} Requests to the model, by the class of their status."
        )?;
        writeln!(text, "# TYPE {REQUESTS} counter")?;
        for (class, count) in Outcome::CLASSES.iter().zip(&self.classes) {
            writeln!(
                text,
                "{REQUESTS}{{code_class=\"{class}\"}} {}",
                count.load(Relaxed)
            )?;
        }
        writeln!(
            text,
            "# HELP {DURATION} Time from a request's head to the end of its answer."
        )?;
        writeln!(text, "# TYPE {DURATION} histogram")?;
        let mut cumulative = 0;
        for (bound, count) in BOUNDS_MS.iter().zip(&self.buckets) {
            cumulative += count.load(Relaxed);
            writeln!(
                text,
                "{DURATION}_bucket{{le=\"{}\"}} {cumulative}",
                bound / 1000.0
            )?;
        }
        cumulative += self.buckets[BOUNDS_MS.len()].load(Relaxed);
        writeln!(text, "{DURATION}_bucket{{le=\"+Inf\"}} {cumulative}")?;
        let sum = Duration::from_nanos(self.nanoseconds.load(Relaxed));
        writeln!(text, "{DURATION}_sum {}", sum.as_secs_f64())?;
        writeln!(text, "{DURATION}_count {cumulative}")?;
        for (what, help, count) in [
            (
                "logged",
                "Rows written to the payload log.",
                &self.rows_logged,
            ),
            (
                "dropped",
                "Rows that the payload log could not take.",
                &self.rows_dropped,
            ),
        ] {
            writeln!(
                text,
                "# HELP windlass_proxy_payload_rows_{what}_total {help}"
            )?;
            writeln!(
                text,
                "# TYPE windlass_proxy_payload_rows_{what}_total counter"
            )?;
            writeln!(
                text,
                "windlass_proxy_payload_rows_{what}_total {}",
                count.load(Relaxed)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_on_a_bound_is_in_the_bucket_that_the_bound_closes() {
        let measurements = Measurements::default();
        for (micros, bucket) in [
            (1, 0),
            (500, 0),
            (501, 1),
            (1000, 1),
            (10_000_000, 13),
            (10_000_001, 14),
        ] {
            let before = measurements.observations("v").latency_counts[bucket];
            measurements.count(Outcome::Status(200), Duration::from_micros(micros));
            assert_eq!(
                measurements.observations("v").latency_counts[bucket],
                before + 1,
                "{micros}"
            );
        }
    }

    #[test]
    fn errors_are_5xx_and_what_was_not_answered() {
        let measurements = Measurements::default();
        for outcome in [200, 404, 499, 500, 503]
            .map(Outcome::Status)
            .into_iter()
            .chain([Outcome::Unanswered])
        {
            measurements.count(outcome, Duration::from_millis(1));
        }
        let observations = measurements.observations("v");
        assert_eq!((observations.requests, observations.errors), (6, 3));
    }

    #[test]
    fn the_text_is_cumulative_and_in_seconds() {
        let measurements = Measurements::default();
        measurements.count(Outcome::Status(200), Duration::from_millis(2));
        measurements.count(Outcome::Status(502), Duration::from_secs(20));
        measurements.dropped(3);
        let text = measurements.prometheus();
        for line in [
            "windlass_proxy_requests_total{code_class=\"5xx\"} 1",
            "windlass_proxy_request_duration_seconds_bucket{le=\"0.001\"} 0",
            "windlass_proxy_request_duration_seconds_bucket{le=\"0.0025\"} 1",
            "windlass_proxy_request_duration_seconds_bucket{le=\"10\"} 1",
            "windlass_proxy_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "windlass_proxy_request_duration_seconds_count 2",
            "windlass_proxy_request_duration_seconds_sum 20.002",
            "windlass_proxy_payload_rows_dropped_total 3",
        ] {
            assert!(
                text.lines().any(|there| there == line),
                "{line} is not in\n{text}"
            );
        }
    }
}
