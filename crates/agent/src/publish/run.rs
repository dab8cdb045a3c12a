//! The experiment and the run: found again, or made, and made complete.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tracing::warn;

use super::record::{self, Texts};
use super::tracking::{Tracking, TrackingError, if_there, unless_there};

/// How many parameters, metrics or tags one request carries: of parameters and tags MLflow takes no more.
const BATCH_ITEMS: usize = 100;
/// How many bytes of them: MLflow takes requests of a million.
const BATCH_BYTES: usize = 500_000;

#[derive(Deserialize)]
struct Pair {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct MetricSeen {
    key: String,
    /// A number, or a text such as `NaN`.
    value: Value,
}

#[derive(Deserialize)]
struct Info {
    run_id: String,
    status: String,
    end_time: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    params: Vec<Pair>,
    metrics: Vec<MetricSeen>,
    tags: Vec<Pair>,
}

#[derive(Deserialize)]
struct DatasetSeen {
    name: String,
    digest: String,
}

#[derive(Deserialize)]
struct DatasetInput {
    dataset: DatasetSeen,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Inputs {
    dataset_inputs: Vec<DatasetInput>,
}

/// A run as MLflow shows it.
#[derive(Deserialize)]
struct Run {
    info: Info,
    #[serde(default)]
    data: Data,
    #[serde(default)]
    inputs: Inputs,
}

#[derive(Deserialize)]
struct OneRun {
    run: Run,
}

#[derive(Deserialize)]
struct Runs {
    #[serde(default)]
    runs: Vec<Run>,
}

/// Makes the run so in the experiment of a name; its id.
pub(super) async fn publish(
    tracking: &mut Tracking,
    experiment: &str,
    wanted: &record::Run,
) -> Result<String, TrackingError> {
    let experiment = experiment_id(tracking, experiment).await?;
    let seen = match find(tracking, &experiment, wanted).await? {
        Some(run) => run,
        None => make(tracking, &experiment, wanted).await?,
    };
    let run_id = seen.info.run_id.as_str();
    put_batches(
        tracking,
        run_id,
        "params",
        lacking_parameters(&seen, wanted),
    )
    .await?;
    put_batches(tracking, run_id, "metrics", lacking_metrics(&seen, wanted)).await?;
    let tags = lacking_tags(&texts(&seen.data.tags), &wanted.tags);
    put_batches(tracking, run_id, "tags", tags).await?;
    put_datasets(tracking, &seen, wanted).await?;
    finish(tracking, &seen.info, wanted).await?;
    Ok(seen.info.run_id)
}

async fn experiment_id(tracking: &mut Tracking, name: &str) -> Result<String, TrackingError> {
    #[derive(Deserialize)]
    struct Made {
        experiment_id: String,
    }
    if let Some(id) = find_experiment(tracking, name).await? {
        return Ok(id);
    }
    let made = tracking
        .write::<Made>(&Method::POST, "experiments/create", &json!({"name": name}))
        .await;
    if let Some(made) = unless_there(made)? {
        return Ok(made.experiment_id);
    }
    let id = find_experiment(tracking, name).await?;
    id.ok_or_else(|| deleted(name))
}

async fn find_experiment(tracking: &Tracking, name: &str) -> Result<Option<String>, TrackingError> {
    #[derive(Deserialize)]
    struct Experiment {
        experiment_id: String,
        lifecycle_stage: Option<String>,
    }
    #[derive(Deserialize)]
    struct Found {
        experiment: Experiment,
    }
    let query = [("experiment_name", name)];
    let found = tracking
        .get::<Found>("experiments/get-by-name", &query)
        .await;
    let Some(Found { experiment }) = if_there(found)? else {
        return Ok(None);
    };
    if experiment.lifecycle_stage.as_deref() == Some("deleted") {
        return Err(deleted(name));
    }
    Ok(Some(experiment.experiment_id))
}

fn deleted(experiment: &str) -> TrackingError {
    TrackingError::Deleted {
        what: format!("the experiment '{experiment}'"),
        option: "--experiment",
    }
}

/// The run with the tag that it is to be found by. Of several, which only two calls at once can have made, always the same.
async fn find(
    tracking: &Tracking,
    experiment: &str,
    wanted: &record::Run,
) -> Result<Option<Run>, TrackingError> {
    let body = json!({
        "experiment_ids": [experiment],
        "filter": format!("tags.`{}` = '{}'", wanted.key, quoted(&wanted.tags[wanted.key])),
        "run_view_type": "ACTIVE_ONLY",
        "max_results": 100,
    });
    let found = tracking.search::<Runs>("runs/search", &body).await?.runs;
    if found.len() > 1 {
        warn!(
            "{} runs have the tag {} of this version; the one of the lowest id is kept up to date, delete the others",
            found.len(),
            wanted.key
        );
    }
    let ids = found.into_iter().map(|run| run.info.run_id);
    let Some(id) = ids.min() else {
        return Ok(None);
    };
    // What a search finds need not hold everything.
    let query = [("run_id", id.as_str())];
    let one = tracking.get::<OneRun>("runs/get", &query).await?;
    Ok(Some(one.run))
}

async fn make(
    tracking: &mut Tracking,
    experiment: &str,
    wanted: &record::Run,
) -> Result<Run, TrackingError> {
    let body = json!({
        "experiment_id": experiment,
        "run_name": wanted.name,
        "start_time": wanted.started,
        "tags": [pair(wanted.key, &wanted.tags[wanted.key])],
    });
    let made = tracking.write::<OneRun>(&Method::POST, "runs/create", &body);
    Ok(made.await?.run)
}

/// Those that are not there. One that is there with another value stays: MLflow lets nobody change it.
fn lacking_parameters(seen: &Run, wanted: &record::Run) -> Vec<Value> {
    let there = texts(&seen.data.params);
    let mut lacking = Vec::new();
    for (name, value) in &wanted.parameters {
        match there.get(name) {
            None => lacking.push(pair(name, value)),
            Some(other) if other != value => warn!(
                "the run has the parameter '{name}' with another value, which MLflow does not let anyone change"
            ),
            Some(_) => {}
        }
    }
    lacking
}

fn lacking_metrics(seen: &Run, wanted: &record::Run) -> Vec<Value> {
    let there: BTreeMap<&str, f64> = seen
        .data
        .metrics
        .iter()
        .filter_map(|metric| Some((metric.key.as_str(), metric.value.as_f64()?)))
        .collect();
    // Not every database keeps all digits.
    let is_same = |one: f64, other: f64| (one - other).abs() <= 1e-9 * one.abs().max(other.abs());
    let lacking = wanted.metrics.iter().filter(|(name, metric)| {
        let value = there.get(name.as_str());
        !value.is_some_and(|value| is_same(*value, metric.value))
    });
    lacking
        .map(|(name, metric)| {
            json!({"key": name, "value": metric.value, "timestamp": metric.time, "step": 0})
        })
        .collect()
}

/// Tags that are not there, or have another value.
pub(super) fn lacking_tags(there: &Texts, wanted: &Texts) -> Vec<Value> {
    let lacking = wanted
        .iter()
        .filter(|(name, value)| there.get(*name) != Some(*value));
    lacking.map(|(name, value)| pair(name, value)).collect()
}

async fn put_batches(
    tracking: &mut Tracking,
    run_id: &str,
    kind: &str,
    items: Vec<Value>,
) -> Result<(), TrackingError> {
    for batch in batches(items) {
        let body = json!({"run_id": run_id, kind: batch});
        tracking
            .write::<IgnoredAny>(&Method::POST, "runs/log-batch", &body)
            .await?;
    }
    Ok(())
}

/// The items in order, in portions that MLflow takes.
fn batches(items: Vec<Value>) -> Vec<Vec<Value>> {
    let mut batches: Vec<Vec<Value>> = Vec::new();
    let mut bytes = 0;
    for item in items {
        let size = item.to_string().len();
        match batches.last_mut() {
            Some(last) if last.len() < BATCH_ITEMS && bytes + size <= BATCH_BYTES => {
                bytes += size;
                last.push(item);
            }
            _ => {
                bytes = size;
                batches.push(vec![item]);
            }
        }
    }
    batches
}

async fn put_datasets(
    tracking: &mut Tracking,
    seen: &Run,
    wanted: &record::Run,
) -> Result<(), TrackingError> {
    let is_there = |dataset: &record::Dataset| {
        seen.inputs.dataset_inputs.iter().any(|input| {
            input.dataset.name == dataset.name && input.dataset.digest == dataset.short_digest
        })
    };
    let lacking = wanted.datasets.iter().filter(|dataset| !is_there(dataset));
    let lacking: Vec<Value> = lacking
        .map(|dataset| {
            json!({
                "tags": [pair("mlflow.data.context", "training"), pair("windlass.digest", &dataset.digest)],
                "dataset": {
                    "name": dataset.name,
                    "digest": dataset.short_digest,
                    "source_type": dataset.source_type,
                    "source": dataset.source,
                },
            })
        })
        .collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let body = json!({"run_id": seen.info.run_id, "datasets": lacking});
    tracking
        .write::<IgnoredAny>(&Method::POST, "runs/log-inputs", &body)
        .await?;
    Ok(())
}

/// Last of all: a run that has ended is complete.
async fn finish(
    tracking: &mut Tracking,
    seen: &Info,
    wanted: &record::Run,
) -> Result<(), TrackingError> {
    if seen.status == wanted.status && seen.end_time == Some(wanted.ended) {
        return Ok(());
    }
    let body = json!({"run_id": seen.run_id, "status": wanted.status, "end_time": wanted.ended});
    tracking
        .write::<IgnoredAny>(&Method::POST, "runs/update", &body)
        .await?;
    Ok(())
}

/// A text between single quotes of MLflow's filters, which know no escape.
pub(super) fn quoted(text: &str) -> String {
    text.replace('\'', "")
}

fn texts(pairs: &[Pair]) -> Texts {
    let pairs = pairs.iter();
    pairs
        .map(|pair| (pair.key.clone(), pair.value.clone()))
        .collect()
}

fn pair(key: &str, value: &str) -> Value {
    json!({"key": key, "value": value})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_of_a_size_that_mlflow_takes_and_lose_nothing() {
        let short: Vec<Value> = (0..250).map(|number| json!(number)).collect();
        let sizes = |items: Vec<Value>| batches(items).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(short.clone()), [100, 100, 50]);
        assert_eq!(batches(short.clone()).concat(), short);
        assert_eq!(sizes(vec![json!("x".repeat(200_000)); 5]), [2, 2, 1]);
        assert_eq!(sizes(Vec::new()), [0; 0]);
    }
}
