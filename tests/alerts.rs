//! The chart's alerts on a real Prometheus, which is told what proxies tell.

#[path = "support/prometheus.rs"]
#[allow(
    dead_code,
    reason = "not every program that includes this module uses all of it"
)]
mod prometheus;

use std::time::Instant;

use anyhow::{Result, ensure};
use prometheus::{Exporter, Prometheus, SEEN};
use serde_json::Value;

const RULES: &str = include_str!("../charts/windlass/files/alerts.yaml");
/// What rows are dropped for, and of which nobody is told: clients that hang up.
const BROKEN_OFF: &str = "broken_off";

/// What pods of two ModelDeployments tell after so many rows of each kind.
fn told(dropped: u64, failed: u64, logged: u64) -> String {
    let pods = [
        ("churn-v3-7d9f8b6c5-x2x4z", dropped, failed),
        ("quiet-v1-6c5b4d3f2-abcde", 0, 0),
    ];
    let of = |(pod, dropped, failed): (&str, u64, u64)| {
        let labels = format!("namespace=\"growth\",pod=\"{pod}\"");
        let row = |reason: &str, rows: u64| {
            format!(
                "windlass_proxy_payload_rows_dropped_total{{{labels},reason=\"{reason}\"}} {rows}\n"
            )
        };
        row("spool_full", dropped)
            + &row("behind", 0)
            + &row("unreadable", dropped)
            + &row("too_large", 0)
            + &row(BROKEN_OFF, logged)
            + &format!("windlass_proxy_payload_uploads_failed_total{{{labels}}} {failed}\n")
            + &format!("windlass_proxy_payload_rows_logged_total{{{labels}}} {logged}\n")
    };
    pods.map(of).concat()
}

async fn asked(prometheus: &Prometheus, path: &str) -> Option<Value> {
    let answer = reqwest::get(format!("{}{path}", prometheus.url())).await;
    answer.ok()?.json().await.ok()
}

/// What is alerted of: the names of alerts, ModelDeployments and reasons.
async fn alerts(prometheus: &Prometheus) -> Vec<String> {
    let said = asked(prometheus, "/api/v1/alerts")
        .await
        .unwrap_or_default();
    let all = said["data"]["alerts"].as_array().cloned();
    let one = |alert: &Value| {
        let labels = ["alertname", "namespace", "deployment", "reason"];
        let labels = labels.map(|label| {
            alert["labels"][label]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        });
        labels.join(" ").trim_end().to_owned()
    };
    let mut all: Vec<String> = all.iter().flatten().map(one).collect();
    all.sort();
    all
}

#[tokio::test]
async fn rows_that_a_payload_log_loses_are_alerted_of_with_the_model_deployment_and_why()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let (proxies, none) = (Exporter::start().await?, Exporter::start().await?);
    // What overdue is, is the chart's to fill in.
    let rules = RULES.replace("OVERDUE_SECONDS", "3600");
    proxies.tell(told(0, 0, 100));
    let prometheus = Prometheus::start_with(folder.path(), &proxies, &none, &rules)?;
    let start = Instant::now();
    let mut count = 0;
    let expected = [
        "WindlassPayloadRowsDropped growth churn spool_full",
        "WindlassPayloadRowsUnread growth churn unreadable",
        "WindlassPayloadUploadsFail growth churn",
    ];
    let mut found = Vec::new();
    while found != expected {
        ensure!(start.elapsed() < SEEN, "{found:?}");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        // Nothing is dropped until it has been seen once that nothing is.
        let is_seen = asked(
            &prometheus,
            "/api/v1/query?query=windlass_proxy_payload_rows_logged_total",
        )
        .await;
        let is_seen = is_seen.is_some_and(|said| {
            said["data"]["result"]
                .as_array()
                .is_some_and(|all| all.len() == 2)
        });
        if count == 0 && is_seen {
            ensure!(alerts(&prometheus).await.is_empty());
        }
        count += u64::from(is_seen);
        proxies.tell(told(5 * count, count, 100 + 10 * count));
        found = alerts(&prometheus).await;
    }
    let rules = asked(&prometheus, "/api/v1/rules")
        .await
        .unwrap_or_default();
    let groups = rules["data"]["groups"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let rules = groups
        .iter()
        .filter_map(|group| group["rules"].as_array())
        .flatten();
    for rule in rules.clone() {
        ensure!(rule["health"] == "ok", "{rule}");
    }
    ensure!(rules.count() >= 9);
    Ok(())
}
