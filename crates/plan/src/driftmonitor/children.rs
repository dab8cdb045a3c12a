//! Builders of a DriftMonitor's children.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use kube::ResourceExt;
use windlass_api::{
    Address, CAUSE, Decimal, DriftMethod, DriftMonitor, DriftMonitorSpec, Mode, ModelVersion,
    OnFinding, Retrain, Stored, TrainingJob, TriggerCause, Window, WindowStatus, asked, labels,
};

use super::observed::Engine;
use crate::pods::{self, Agent, flag};
use crate::{digest, reports, storage, template};

/// For how many periods the Job of a window is kept, for its logs and for what it found: that is not written down at once where
/// it is nothing new.
const KEPT_PERIODS: i64 = 5;
/// Seconds that it is kept at least and at most.
const KEPT_SECONDS: (i64, i64) = (600, 7 * 86_400);

/// Seconds that the evaluation of a window may take.
const MAX_SECONDS: i64 = 6 * 3600;

/// Name of the Job of the window that ends at `end`.
pub fn job_name(monitor: &DriftMonitor, end: Timestamp) -> String {
    format!("{}-{}", monitor.name_any(), end.as_second())
}

/// What a window is judged by.
pub struct Evaluation<'a> {
    /// For whom.
    pub monitor: &'a DriftMonitor,
    /// Whose traffic it is.
    pub version: &'a ModelVersion,
    /// What it is compared with.
    pub baseline: &'a Stored,
    /// Where the traffic is logged.
    pub payloads: &'a Address,
    /// Columns that are null there, whatever they are.
    pub redacted: &'a [String],
    /// From when to when.
    pub window: &'a Window,
    /// From one window to the next.
    pub period: SignedDuration,
    /// The agent's image.
    pub agent_image: &'a str,
    /// What counts in its place; its image has the agent too, of the same version as the cluster.
    pub engine: Option<&'a Engine>,
}

impl Evaluation<'_> {
    /// Where the full results go.
    fn output(&self) -> Address {
        let name = self.monitor.name_any();
        let end = self.window.end.as_second();
        match &self.monitor.spec.reports {
            Some(reports) => reports.uri.join(&format!("{name}/{end}")),
            // Traffic lies below the names of versions, of which none is this.
            None => self.payloads.join(&format!("drift/{name}/{end}")),
        }
    }
}

/// The Job that judges one window.
pub fn window_job(evaluation: &Evaluation<'_>) -> Job {
    let Evaluation {
        monitor,
        version,
        baseline,
        payloads,
        window,
        agent_image,
        engine,
        ..
    } = *evaluation;
    let mut spec = PodSpec::default();
    let agent = Agent {
        image: engine.map_or(agent_image, |engine| &engine.image),
        storage: monitor.spec.storage.as_ref(),
    };
    let mut drift = pods::agent_container(&mut spec, pods::AGENT, agent, arguments(evaluation));
    let labels_address = monitor
        .spec
        .performance
        .as_ref()
        .map(|performance| &performance.labels.uri);
    pods::mount_claims(
        &mut spec,
        &mut drift,
        [&baseline.uri, payloads].into_iter().chain(labels_address),
        [&evaluation.output()],
    );
    spec.containers.push(drift);
    storage::run_as(&mut spec, agent.storage);
    spec.restart_policy = Some("Never".to_owned());
    template::harden(&mut spec);
    reports::limit(&mut spec);
    let (name, version_name) = (monitor.name_any(), version.name_any());
    let more = [
        (labels::MONITOR, name.as_str()),
        (labels::DEPLOYMENT, monitor.spec.deployment.as_str()),
        (labels::MODEL, version.spec.model.as_str()),
        (labels::VERSION, version_name.as_str()),
    ];
    let metadata = pods::child_meta(monitor, job_name(monitor, window.end), "drift", &more);
    Job {
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            pod_failure_policy: Some(pods::ignore_disruption()),
            // One window at a time: one that hangs must not hold up those after it for ever.
            active_deadline_seconds: Some(MAX_SECONDS),
            ttl_seconds_after_finished: Some(kept_seconds(evaluation.period)),
            template: PodTemplateSpec {
                metadata: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                    labels: metadata.labels.clone(),
                    ..Default::default()
                }),
                spec: Some(spec),
            },
            ..JobSpec::default()
        }),
        metadata,
        status: None,
    }
}

fn kept_seconds(period: SignedDuration) -> i32 {
    let kept = period.as_secs().saturating_mul(KEPT_PERIODS);
    i32::try_from(kept.clamp(KEPT_SECONDS.0, KEPT_SECONDS.1)).unwrap_or(i32::MAX)
}

/// The start of the window that a Job judges, as it was told.
pub fn start_of(job: &Job) -> Option<Timestamp> {
    let pod = job.spec.as_ref()?.template.spec.as_ref()?;
    let mut arguments = pod.containers.first()?.args.iter().flatten();
    arguments.find(|argument| *argument == "--window-start")?;
    arguments.next()?.parse().ok()
}

fn arguments(evaluation: &Evaluation<'_>) -> Vec<String> {
    let Evaluation {
        monitor,
        version,
        baseline,
        payloads,
        window,
        ..
    } = *evaluation;
    let spec = &monitor.spec;
    let mut arguments = vec!["drift".to_owned()];
    let mut add = |name: &str, value: String| flag(&mut arguments, name, value);
    add("output", evaluation.output().0);
    add("reference", baseline.uri.0.clone());
    add("reference-digest", baseline.digest.clone());
    add("payloads", payloads.0.clone());
    add("version", version.name_any());
    add("window-start", window.start.to_string());
    add("window-end", window.end.to_string());
    add("min-samples", spec.window.min_samples.to_string());
    if let Some(engine) = evaluation.engine {
        add("engine", engine.address.clone());
    }
    measures(spec, &mut add);
    for column in evaluation.redacted {
        add("ignore", column.clone());
    }
    if let Some(performance) = &spec.performance {
        add("labels", performance.labels.uri.0.clone());
        add(
            "labels-format",
            performance.labels.format.as_str().to_owned(),
        );
        add("label", performance.labels.column.clone());
        add("join-on", performance.join_on.clone());
        add("metric", performance.metric.as_str().to_owned());
        add("metric-min", performance.min.0.clone());
    }
    arguments
}

/// How columns are measured and what is asked of the data. What is not said is left to the agent, and so is its own default: it
/// tells a threshold that a person gave from one that is usual of a method, since a column may be measured by another.
fn measures(spec: &DriftMonitorSpec, add: &mut impl FnMut(&str, String)) {
    let default = &spec.features.default;
    if default.method != DriftMethod::default() {
        add("method", default.method.as_str().to_owned());
    }
    if let Some(threshold) = &default.threshold {
        add("threshold", threshold.0.clone());
    }
    for column in &spec.features.overrides {
        let method = column.method.unwrap_or(default.method);
        if method != default.method {
            let method = method.as_str();
            add("column-method", format!("{}={method}", column.column));
        }
        if let Some(threshold) = &column.threshold {
            add("column-threshold", format!("{}={threshold}", column.column));
        }
    }
    add("drifted-share", spec.trigger_when.drifted_share.0.clone());
    if let Some(predictions) = &spec.predictions {
        if predictions.method != default.method {
            add("prediction-method", predictions.method.as_str().to_owned());
        }
        add("prediction-threshold", predictions.threshold().0);
    }
    let mut given = |name: &str, value: Option<&String>| {
        if let Some(value) = value {
            add(name, value.clone());
        }
    };
    let when = &spec.trigger_when;
    let decimal = |value: &'_ Option<Decimal>| value.as_ref().map(|value| value.0.clone());
    given("confidence", decimal(&when.confidence).as_ref());
    let rate = decimal(&when.false_discovery_rate);
    given("false-discovery-rate", rate.as_ref());
    given("unit", spec.unit.as_ref());
    for segment in &spec.segments {
        given("segment", Some(segment));
    }
    let quality = spec.quality.clone().unwrap_or_default();
    let word = |on: Option<OnFinding>| on.map(|on| on.as_str().to_owned());
    let max_age = quality.max_age.map(|age| age.0);
    for (name, value) in [
        ("max-null-fraction", decimal(&quality.max_null_fraction)),
        ("max-null-increase", decimal(&quality.max_null_increase)),
        ("new-categories", word(quality.new_categories)),
        ("beyond-range", word(quality.range)),
        ("duplicates", word(quality.duplicates)),
        ("volume", word(quality.volume)),
        ("max-age", max_age),
    ] {
        given(name, value.as_ref());
    }
}

/// A training that is asked for.
pub struct Asking<'a> {
    /// By whom.
    pub monitor: &'a DriftMonitor,
    /// As what.
    pub retrain: &'a Retrain,
    /// The version that was found drifted.
    pub version: &'a ModelVersion,
    /// The TrainingJobs that monitors of the deployment asked for so far.
    pub known: &'a [&'a str],
    /// The span of the windows that ask.
    pub window: Window,
    /// The newest of them.
    pub newest: &'a WindowStatus,
    /// Why.
    pub cause: TriggerCause,
    /// Seconds that it may take.
    pub deadline: Option<i64>,
}

/// Letters of a TrainingJob's name.
const MOST_NAME: usize = 52;
/// Those of its end that tells trainings of one version apart: `-r` and up to four digits.
const MOST_END: usize = 6;

/// Name of the next TrainingJob: the deployment, the version that drifted, and how often one was asked for because of it. All
/// monitors of a deployment come to the same name, so that the API server lets but one of them make it.
fn training_job_name(asking: &Asking<'_>) -> String {
    let deployment = &asking.monitor.spec.deployment;
    let mut base = format!("{deployment}-v{}", asking.version.spec.version);
    if base.len() > MOST_NAME - MOST_END {
        let digest = digest::short(&base);
        let kept = MOST_NAME - MOST_END - digest.len() - 1;
        base = format!("{}-{digest}", &base[..base.floor_char_boundary(kept)]);
    }
    let numbers = asking.known.iter().filter_map(|name| {
        let number = name.strip_prefix(&base)?.strip_prefix("-r")?;
        number.parse::<u32>().ok()
    });
    format!("{base}-r{}", numbers.max().unwrap_or(0) + 1)
}

/// The number of a version, by its name.
pub fn number_of(version: &str) -> Option<i64> {
    version.rsplit('-').next()?.parse().ok()
}

/// The version that was found drifted, of what [`training_job`] says of why.
pub fn drifted_version(cause: &str) -> Option<&str> {
    let mut words = cause.split(' ');
    words.nth(1).filter(|word| *word == "of")?;
    words.next()
}

/// What was found in the newest window, of what [`training_job`] says of why.
pub fn found_in_newest(cause: &str) -> &str {
    cause.split_once(": ").map_or(cause, |(_, found)| found)
}

/// The TrainingJob that drift asks for. Its record carries why: the windows, what was found, and the digest of the results.
pub fn training_job(asking: &Asking<'_>) -> TrainingJob {
    let Asking {
        monitor,
        retrain,
        newest,
        ..
    } = asking;
    let window = &asking.window;
    let word = format!("{:?}", asking.cause);
    let evidence = newest.digest.as_ref();
    let evidence = evidence.map_or_else(String::new, |digest| format!(" ({digest})"));
    let cause = format!(
        "{word} of {} from {} to {}{evidence}: {}",
        asking.version.name_any(),
        window.start,
        window.end,
        newest.message
    );
    let mut spec = retrain.template.spec.clone();
    spec.window = Some(window.clone());
    spec.active_deadline_seconds = asking.deadline;
    if monitor.spec.mode == Mode::Suggest {
        spec.suspend = true;
    }
    let mut job = TrainingJob::new(&training_job_name(asking), spec);
    let template = retrain.template.metadata.clone().unwrap_or_default();
    let mut all = template.labels;
    let model = job.spec.model.clone().unwrap_or_default();
    let name = monitor.name_any();
    all.extend(pods::child_labels(
        &name,
        "retraining",
        &[
            (labels::MONITOR, &name),
            (labels::DEPLOYMENT, &monitor.spec.deployment),
            (labels::MODEL, &model),
        ],
    ));
    job.metadata.namespace = monitor.namespace();
    job.metadata.labels = Some(all);
    let mut annotations = template.annotations;
    annotations.insert(CAUSE.to_owned(), cause);
    annotations.insert(asked::VERDICT.to_owned(), word);
    annotations.insert(asked::VERSION.to_owned(), asking.version.name_any());
    if let Some(digest) = &newest.digest {
        annotations.insert(asked::DIGEST.to_owned(), digest.clone());
    }
    job.metadata.annotations = Some(annotations);
    job
}
