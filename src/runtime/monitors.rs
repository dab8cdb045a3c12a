//! DriftMonitors in numbers, for Prometheus: what each was found to be when it was looked at last.
//!
//! A monitor has some fifty series at most, whatever its data has, and none once it is gone: they are written from what is
//! kept here as they are asked for, so that a column that left the newest report is no longer among them.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Mutex;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use windlass_api::agent::WindowVerdict;
use windlass_plan::driftmonitor::{Column, Columns, Figures, Newest};

/// Namespace and name of a monitor.
pub type Of = (String, String);

/// What is shown of all of them.
#[derive(Debug, Default)]
pub struct Monitors(Mutex<BTreeMap<Of, Figures>>);

impl Monitors {
    /// A monitor was looked at. What a window's report says of columns stays when its pod goes.
    pub fn show(&self, of: Of, mut figures: Figures) {
        let mut all = self.0.lock().expect("no holder panics");
        let before = all.remove(&of).and_then(|before| before.window);
        if let Some(window) = &mut figures.window
            && window.columns.is_none()
        {
            let same = before.filter(|before| before.end == window.end);
            window.columns = same.and_then(|before| before.columns);
        }
        all.insert(of, figures);
    }

    /// Somebody else looks at them from now on.
    pub fn clear(&self) {
        self.0.lock().expect("no holder panics").clear();
    }

    /// A monitor is gone.
    pub fn hide(&self, of: &Of) {
        self.0.lock().expect("no holder panics").remove(of);
    }
}

/// Labels beside namespace and monitor, and a value.
type Series<'a> = (Vec<(&'static str, &'a str)>, f64);

/// Writes one family: of each monitor the series that `series` finds.
fn family(
    encoder: &mut DescriptorEncoder<'_>,
    all: &BTreeMap<Of, Figures>,
    (name, help): (&str, &str),
    series: impl for<'a> Fn(&'a Figures) -> Vec<Series<'a>>,
) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for ((namespace, monitor), figures) in all {
        for (more, value) in series(figures) {
            let mut labels = vec![("namespace", &**namespace), ("monitor", &**monitor)];
            labels.extend(more);
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
    }
    Ok(())
}

fn one<'a>(value: Option<f64>) -> Vec<Series<'a>> {
    value.map(|value| (Vec::new(), value)).into_iter().collect()
}

#[allow(clippy::cast_precision_loss)] // a series is a float
fn float(whole: i64) -> f64 {
    whole as f64
}

fn seconds(time: Timestamp) -> f64 {
    float(time.as_second())
}

fn of_window(figures: &Figures, value: impl Fn(&Newest) -> f64) -> Vec<Series<'_>> {
    one(figures.window.as_ref().map(value))
}

fn columns(figures: &Figures) -> Option<&Columns> {
    figures.window.as_ref()?.columns.as_ref()
}

fn of_columns(figures: &Figures, value: impl Fn(&Column) -> f64) -> Vec<Series<'_>> {
    let top = columns(figures)
        .into_iter()
        .flat_map(|columns| &columns.top);
    top.map(|column| {
        let labels = vec![("column", &*column.name), ("method", &*column.method)];
        (labels, value(column))
    })
    .collect()
}

fn word(verdict: WindowVerdict) -> &'static str {
    match verdict {
        WindowVerdict::Healthy => "Healthy",
        WindowVerdict::Drifting => "Drifting",
        WindowVerdict::Drifted => "Drifted",
        WindowVerdict::NotEnoughData => "NotEnoughData",
        WindowVerdict::DataBroken => "DataBroken",
        WindowVerdict::Failed => "Failed",
    }
}

impl Collector for Monitors {
    #[allow(clippy::cast_precision_loss)] // counts of columns and of trainings
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let all = self.0.lock().expect("no holder panics");
        let mut write = |name, help, series: &dyn for<'a> Fn(&'a Figures) -> Vec<Series<'a>>| {
            family(&mut encoder, &all, (name, help), series)
        };
        write(
            "window_verdict",
            "1, with the verdict on the newest window",
            &|all| {
                let window = all.window.iter();
                window
                    .map(|one| (vec![("verdict", word(one.verdict))], 1.0))
                    .collect()
            },
        )?;
        write(
            "window_end_timestamp_seconds",
            "When the newest window that was looked at ended",
            &|all| of_window(all, |window| seconds(window.end)),
        )?;
        write(
            "window_due_timestamp_seconds",
            "When the window after the newest is to be looked at",
            &|all| one(all.due.map(seconds)),
        )?;
        write("window_rows", "Rows of the newest window", &|all| {
            of_window(all, |window| float(window.rows))
        })?;
        write(
            "window_columns",
            "Columns of the newest window that were compared",
            &|all| one(columns(all).map(|columns| columns.compared as f64)),
        )?;
        write(
            "window_columns_drifted",
            "Columns of the newest window that drifted",
            &|all| one(columns(all).map(|columns| columns.drifted as f64)),
        )?;
        write(
            "column_value",
            "Distance of a column of the newest window from the reference, of the ten that moved most",
            &|all| of_columns(all, |column| column.value),
        )?;
        write(
            "column_lower",
            "Lower confidence bound of a column's distance",
            &|all| of_columns(all, |column| column.lower),
        )?;
        write(
            "column_threshold",
            "What the lower bound of a column's distance has to pass",
            &|all| of_columns(all, |column| column.threshold),
        )?;
        write(
            "retrainings",
            "Trainings of the newest twenty that were asked for, by what came of them",
            &|all| {
                let counts = all.retrainings.iter();
                counts
                    .map(|(outcome, count)| (vec![("outcome", *outcome)], *count as f64))
                    .collect()
            },
        )?;
        write(
            "circuit_open",
            "1 while too many trainings in a row came to nothing",
            &|all| one(Some(f64::from(u8::from(all.is_circuit_open)))),
        )?;
        write(
            "budget_used_gpu_seconds",
            "Seconds of GPUs that trainings used or may use yet, of the budget's period",
            &|all| one(all.budget.map(|(used, _)| float(used))),
        )?;
        write(
            "budget_gpu_seconds",
            "Seconds of GPUs that the budget has for its period",
            &|all| one(all.budget.map(|(_, budget)| float(budget))),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::runtime::metrics::Metrics;

    fn figures(columns: Option<&[&str]>) -> Figures {
        let column = |name: &&str| Column {
            name: (*name).into(),
            method: "PSI".into(),
            value: 0.5,
            lower: 0.25,
            threshold: 0.2,
        };
        let end = Timestamp::from_second(1_800_000_000).expect("a time");
        Figures {
            window: Some(Newest {
                end,
                verdict: WindowVerdict::Drifted,
                rows: 900,
                columns: columns.map(|names| Columns {
                    compared: 30,
                    drifted: 2,
                    top: names.iter().map(column).collect(),
                }),
            }),
            due: Some(end),
            retrainings: [("Held", 2)].into(),
            is_circuit_open: true,
            budget: Some((3600, 7200)),
        }
    }

    fn of(name: &str) -> Of {
        ("growth".to_owned(), name.to_owned())
    }

    /// The series of a metric, in order.
    fn series(metrics: &Metrics, name: &str) -> Vec<String> {
        let text = metrics.text();
        let lines = text
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")));
        lines.map(|line| line[name.len()..].to_owned()).collect()
    }

    #[test]
    fn columns_that_leave_the_newest_report_and_monitors_that_go_are_shown_no_more() {
        let metrics = Metrics::new();
        let monitors = metrics.monitors();
        monitors.show(of("churn"), figures(Some(&["age", "plan \"free\""])));
        monitors.show(of("fraud"), figures(None));
        assert_eq!(
            series(&metrics, "windlass_drift_column_lower"),
            [
                r#"{namespace="growth",monitor="churn",column="age",method="PSI"} 0.25"#,
                r#"{namespace="growth",monitor="churn",column="plan \"free\"",method="PSI"} 0.25"#
            ]
        );
        assert_eq!(
            series(&metrics, "windlass_drift_window_verdict"),
            [
                r#"{namespace="growth",monitor="churn",verdict="Drifted"} 1.0"#,
                r#"{namespace="growth",monitor="fraud",verdict="Drifted"} 1.0"#
            ]
        );
        let retrainings = r#"{namespace="growth",monitor="churn",outcome="Held"} 2.0"#;
        assert_eq!(
            series(&metrics, "windlass_drift_retrainings")[0],
            retrainings
        );
        // The pod of its Job is gone, and it is the same window.
        monitors.show(of("churn"), figures(None));
        assert_eq!(series(&metrics, "windlass_drift_column_value").len(), 2);
        monitors.show(of("churn"), figures(Some(&["fare"])));
        assert_eq!(
            series(&metrics, "windlass_drift_column_threshold"),
            [r#"{namespace="growth",monitor="churn",column="fare",method="PSI"} 0.2"#]
        );
        monitors.hide(&of("churn"));
        for name in [
            "column_value",
            "window_rows",
            "circuit_open",
            "budget_gpu_seconds",
        ] {
            let left = series(&metrics, &format!("windlass_drift_{name}"));
            assert!(left.iter().all(|one| one.contains("fraud")), "{left:?}");
        }
    }

    /// What begins as our metrics do, in a text.
    fn named(text: &str) -> BTreeSet<String> {
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let words = text.split(|letter| !is_name(letter));
        words
            .filter(|word| word.starts_with("windlass_"))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn dashboard_and_alerts_ask_for_nothing_that_the_operator_does_not_export() {
        let metrics = Metrics::new();
        metrics
            .monitors()
            .show(of("churn"), figures(Some(&["age"])));
        metrics.cloud_event("sent");
        let exported = named(&metrics.text());
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/windlass");
        for (file, least) in [("files/dashboard.json", 10), ("files/alerts.yaml", 4)] {
            let text = std::fs::read_to_string(chart.join(file)).expect(file);
            let asked = named(&text);
            assert!(asked.len() >= least, "{file} asks for {asked:?}");
            // Those of the proxies are the agent's, whose own tests look for them.
            let unknown: Vec<_> = asked
                .difference(&exported)
                .filter(|name| !name.starts_with("windlass_proxy_"))
                .collect();
            assert!(unknown.is_empty(), "{file}: {unknown:?}");
        }
    }
}
