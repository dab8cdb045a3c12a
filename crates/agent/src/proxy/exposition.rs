//! Metrics as text: Prometheus' classical format, and OpenMetrics, which has exemplars.
//!
//! Absent on purpose: `prometheus-client`'s registry. It writes OpenMetrics alone, and its histograms lock for each request.

use std::fmt::{Display, Write};

use super::histogram::{BOUNDS, Histogram};

/// A format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text, version 0.0.4.
    Classical,
    /// OpenMetrics' text, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` field asks for.
    pub fn of(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            Some(_) | None => Self::Classical,
        }
    }

    /// How it is named in `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Classical => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A text that is written family by family.
#[derive(Debug)]
pub struct Exposition {
    format: Format,
    text: String,
}

impl Exposition {
    /// An empty one.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            text: String::new(),
        }
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// A counter; `name` is without `_total`. A sample's label is its name and its value.
    pub fn counter<'a, N: Display>(
        &mut self,
        name: &str,
        help: &str,
        label: Option<&str>,
        samples: impl IntoIterator<Item = (&'a str, N)>,
    ) {
        // OpenMetrics names the family, the classical text each of its series.
        let family = match self.format {
            Format::Classical => format!("{name}_total"),
            Format::OpenMetrics => name.to_owned(),
        };
        self.head(&family, help, "counter");
        for (value, count) in samples {
            match label {
                Some(label) => {
                    self.line(format_args!("{name}_total{{{label}=\"{value}\"}} {count}"));
                }
                None => self.line(format_args!("{name}_total {count}")),
            }
        }
    }

    /// A gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "gauge");
        self.line(format_args!("{name} {value}"));
    }

    /// A histogram of times, seconds.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, "histogram");
        let mut cumulative = 0;
        let bounds = BOUNDS.iter().map(Some).chain([None]);
        for (bound, (count, exemplar)) in bounds.zip(histogram.buckets()) {
            cumulative += count;
            let bound = match (bound, self.format) {
                (None, _) => "+Inf".to_owned(),
                (Some(bound), Format::Classical) => format!("{bound}"),
                (Some(bound), Format::OpenMetrics) => format!("{bound:?}"),
            };
            let mut line = format!("{name}_bucket{{le=\"{bound}\"}} {cumulative}");
            if let (Some(exemplar), Format::OpenMetrics) = (exemplar, self.format) {
                let (seconds, time) = (exemplar.seconds, exemplar.time.as_millisecond());
                let trace = exemplar.trace;
                write!(
                    line,
                    " # {{trace_id=\"{trace:032x}\"}} {seconds} {}.{:03}",
                    time / 1000,
                    time % 1000
                )
                .expect("a text takes what is written to it");
            }
            self.line(format_args!("{line}"));
        }
        self.line(format_args!("{name}_sum {}", histogram.sum().as_secs_f64()));
        self.line(format_args!("{name}_count {cumulative}"));
    }

    fn head(&mut self, family: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP {family} {help}"));
        self.line(format_args!("# TYPE {family} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a text takes what is written to it");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proxy::trace::Trace;

    fn text(format: Format) -> String {
        let histogram = Histogram::default();
        let trace = Trace {
            id: 0xab,
            is_sampled: true,
        };
        histogram.observe(Duration::from_millis(2), Some(trace));
        histogram.observe(Duration::from_secs(20), None);
        let mut exposition = Exposition::new(format);
        exposition.counter("a_requests", "Requests.", Some("code"), [("2xx", 7)]);
        exposition.gauge("a_queue", "Waiting.", 3);
        exposition.histogram("a_seconds", "Times.", &histogram);
        exposition.finish()
    }

    fn assert_lines(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(
                text.lines().any(|there| there == *line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn the_classical_text_is_cumulative_and_has_no_exemplars() {
        let text = text(Format::Classical);
        assert_lines(
            &text,
            &[
                "# TYPE a_requests_total counter",
                "a_requests_total{code=\"2xx\"} 7",
                "a_queue 3",
                "a_seconds_bucket{le=\"0.001\"} 0",
                "a_seconds_bucket{le=\"0.0025\"} 1",
                "a_seconds_bucket{le=\"10\"} 1",
                "a_seconds_bucket{le=\"+Inf\"} 2",
                "a_seconds_count 2",
                "a_seconds_sum 20.002",
            ],
        );
        assert!(
            !text.contains("trace_id") && !text.contains("EOF"),
            "{text}"
        );
    }

    #[test]
    fn open_metrics_names_the_family_and_gives_the_trace_of_an_example() {
        let text = text(Format::OpenMetrics);
        assert_lines(
            &text,
            &[
                "# TYPE a_requests counter",
                "a_requests_total{code=\"2xx\"} 7",
                "a_seconds_bucket{le=\"10.0\"} 1",
                "a_seconds_bucket{le=\"+Inf\"} 2",
            ],
        );
        let start = "a_seconds_bucket{le=\"0.0025\"} 1 # {trace_id=\"000000000000000000000000000000ab\"} 0.002 ";
        assert!(text.lines().any(|line| line.starts_with(start)), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn open_metrics_is_written_for_who_asks_for_it() {
        let asked =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        assert_eq!(Format::of(Some(asked)), Format::OpenMetrics);
        assert_eq!(Format::of(Some("*/*")), Format::Classical);
        assert_eq!(Format::of(None), Format::Classical);
    }
}
