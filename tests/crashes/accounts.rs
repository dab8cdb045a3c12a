//! Whether what trainings used is counted once, wherever it is told: how many seconds it was is another in every run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::end::text;

/// Says of each sum whether it is that of its parts, in place of the number; and of windows what they showed, one after the
/// other, as long as they showed something else.
pub fn settle(found: &mut [(&str, Value)]) {
    let mut used = BTreeMap::new();
    for (_, object) in of(found, "TrainingJob") {
        let name = text(&object["metadata"]["name"]).to_owned();
        let told = settle_training(&mut object["status"]);
        used.insert(name, told);
    }
    for (_, object) in of(found, "DriftMonitor") {
        settle_monitor(&mut object["status"], &used);
    }
}

fn of<'a, 'b>(
    found: &'a mut [(&'b str, Value)],
    kind: &'a str,
) -> impl Iterator<Item = &'a mut (&'b str, Value)> {
    found.iter_mut().filter(move |(of, _)| *of == kind)
}

/// Returns what the status says that was used.
fn settle_training(status: &mut Value) -> i64 {
    let told = status["gpuSeconds"].as_i64().unwrap_or(0);
    let mut sum = 0;
    for attempt in status["attempts"].as_array_mut().into_iter().flatten() {
        if let Some(seconds) = attempt["gpuSeconds"].as_i64() {
            sum += seconds;
            attempt["gpuSeconds"] = json!("(seconds)");
        }
    }
    if !status.is_null() {
        status["gpuSeconds"] = word(told, sum, "its attempts");
    }
    told
}

fn settle_monitor(status: &mut Value, used: &BTreeMap<String, i64>) {
    for entry in status["retrainings"].as_array_mut().into_iter().flatten() {
        let name = text(&entry["trainingJob"]).to_owned();
        let told = entry["gpuSeconds"].as_i64().unwrap_or(0);
        entry["gpuSeconds"] = word(told, used.get(&name).copied().unwrap_or(0), &name);
    }
    let mut windows: Vec<String> = Vec::new();
    let mut last = String::new();
    for window in status["windows"].as_array().into_iter().flatten() {
        let end = text(&window["end"]).to_owned();
        if end <= last {
            windows.push(format!("{end} does not come after {last}"));
        }
        let said = format!("{} {}", text(&window["version"]), text(&window["verdict"]));
        if windows.last() != Some(&said) {
            windows.push(said);
        }
        last = end;
    }
    if !status.is_null() {
        status["windows"] = json!(windows);
    }
}

fn word(told: i64, sum: i64, whose: &str) -> Value {
    if told == sum {
        return json!(format!("as {whose} told"));
    }
    json!(format!(
        "{told} seconds and not the {sum} that {whose} told"
    ))
}
