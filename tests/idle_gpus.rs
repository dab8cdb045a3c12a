//! The operator with a real Prometheus, on fake nodes: GPUs that are held and not used are told, and stopped by policy.
//!
//! The exporter plays DCGM's, the pods are kwok's; Prometheus, and the queries that the operator asks it, are real.

#[path = "support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use windlass_api::{TrainingJob, condition, find_condition, labels};
use windlass_testcluster::{Options, Shape};

use support::audit::{mark, writes_of};
use support::operator::Operator;
use support::prometheus::{Exporter, Prometheus, SEEN};
use support::{Bed, wait};

const SPACE: &str = "idle";
/// The shortest window that there is, and what comes and goes around it.
const WINDOW: Duration = Duration::from_mins(1);
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// So many workers of one GPU each, whose pods run until they are deleted.
fn training(name: &str, workers: u32, action: &str) -> String {
    format!(
        "---\napiVersion: windlass.dev/v1alpha1\nkind: TrainingJob\nmetadata: {{name: {name}, namespace: {SPACE}}}\nspec:\n  backoffLimit: 0\n\
         \x20 idleGPUs: {{below: \"5\", for: 1m, action: {action}}}\n  scheduling: {{gang: None}}\n  workers:\n    replicas: {workers}\n    template:\n\
         \x20     metadata: {{annotations: {{testcluster.windlass.dev/stays: \"yes\"}}}}\n      spec:\n        containers:\n\
         \x20       - {{name: trainer, image: none, command: [train], resources: {{limits: {{nvidia.com/gpu: 1}}}}}}\n"
    )
}

/// What is looked at.
struct Looking {
    jobs: Api<TrainingJob>,
    pods: Api<Pod>,
}

impl Looking {
    /// A condition of a job as `status reason`, and its message.
    async fn said(&self, job: &str, condition: &str) -> (String, String) {
        let job = self.jobs.get(job).await.expect("it is there");
        let conditions = job.status.map(|status| status.conditions);
        let found = find_condition(conditions.as_deref().unwrap_or_default(), condition);
        found.map_or_else(<(String, String)>::default, |found| {
            (
                format!("{} {}", found.status, found.reason),
                found.message.clone(),
            )
        })
    }

    /// Waits until it is so, and returns the message.
    async fn until(&self, job: &str, condition: &str, expected: &str, within: Duration) -> String {
        let what = format!("{job}: {condition} {expected}");
        let is_so = async || {
            let (head, message) = self.said(job, condition).await;
            (head == expected).then_some(message)
        };
        wait(&what, within, is_so).await
    }

    /// The names of a job's pods that run, by rank.
    async fn pods_of(&self, job: &str) -> Vec<String> {
        let selector = format!("{}={job}", labels::TRAINING_JOB);
        let list = ListParams::default().labels(&selector);
        let mut pods = self.pods.list(&list).await.expect("pods").items;
        pods.retain(|pod| {
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            phase == Some("Running")
        });
        let mut names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
        // `<job>-<attempt>-<rank>-<random>`
        names.sort();
        names
    }

    async fn until_running(&self, job: &str, workers: usize) -> Vec<String> {
        let all_run = async || {
            let names = self.pods_of(job).await;
            (names.len() == workers).then_some(names)
        };
        wait(&format!("the workers of {job}"), PATIENCE, all_run).await
    }
}

/// The lines of DCGM's exporter for GPUs of pods, by the metric that each has.
fn lines(metric: &str, of: &[(&str, f64)]) -> String {
    let mut text = format!("# TYPE {metric} gauge\n");
    for (pod, value) in of {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{metric}{{gpu=\"0\",UUID=\"GPU-{pod}\",device=\"nvidia0\",modelName=\"NVIDIA H100 80GB HBM3\",Hostname=\"n\",\
             container=\"trainer\",namespace=\"{SPACE}\",pod=\"{pod}\"}} {value}"
        );
    }
    text
}

const UTILIZATION: &str = "DCGM_FI_DEV_GPU_UTIL";
const ACTIVE: &str = "DCGM_FI_PROF_GR_ENGINE_ACTIVE";

#[tokio::test(flavor = "multi_thread")]
#[allow(
    clippy::too_many_lines,
    reason = "one story: every part of it needs GPUs that were idle for the whole window"
)]
async fn idle_gpus_are_told_and_an_attempt_is_stopped_only_where_all_are_known_to_be_idle()
-> Result<()> {
    let options = Options::new("idle-gpus", Shape::Kwok)
        .with_fake_nodes(2)
        .with_audit_log();
    let bed = Bed::up(options).await?;
    let kubectl = bed.cluster.kubectl()?;
    bed.namespace(SPACE)?;
    let (honoured, renamed) = (Exporter::start().await?, Exporter::start().await?);
    let prometheus = Prometheus::start(&bed.folder.join("prometheus"), &honoured, &renamed)?;

    // One that is no Prometheus, by https: nothing is known, and nothing happens for it.
    let (url, ca) = (
        bed.cluster.server(),
        bed.cluster.pki_folder().join("ca.crt"),
    );
    let ca = ca.display().to_string();
    let wrong = [
        ("WINDLASS_PROMETHEUS_URL", url.as_str()),
        ("WINDLASS_PROMETHEUS_CA_FILE", ca.as_str()),
    ];
    let operator = Operator::lead_with(&bed, "idle-wrong", &wrong)?;
    kubectl.apply(
        &[
            training("reported", 2, "Report"),
            training("stopped", 2, "Fail"),
            training("half", 2, "Fail"),
            training("slice", 1, "Report"),
            training("unmeasured", 1, "Fail"),
        ]
        .concat(),
    )?;
    let client = bed.client().await?;
    let look = Looking {
        jobs: Api::namespaced(client.clone(), SPACE),
        pods: Api::namespaced(client, SPACE),
    };
    let reported = look.until_running("reported", 2).await;
    let stopped = look.until_running("stopped", 2).await;
    let half = look.until_running("half", 2).await;
    let slice = look.until_running("slice", 1).await;
    look.until_running("unmeasured", 1).await;
    let tell = |reported_uses: f64| {
        honoured.tell(
            lines(
                UTILIZATION,
                &[
                    (&*reported[0], reported_uses),
                    (&*reported[1], 0.0),
                    (&*half[0], 4.0),
                    (&*half[1], 97.0),
                ],
            ) + &lines(ACTIVE, &[(&*slice[0], 0.6)]),
        );
    };
    tell(0.0);
    renamed.tell(lines(
        UTILIZATION,
        &[(&*stopped[0], 3.0), (&*stopped[1], 0.0)],
    ));
    wait("the answer of no Prometheus", PATIENCE, async || {
        operator
            .said()
            .contains("Prometheus answered 40")
            .then_some(())
    })
    .await;
    assert!(operator.stop()?.success());

    // The operator is another now; Prometheus has not forgotten.
    let url = prometheus.url();
    let right = [("WINDLASS_PROMETHEUS_URL", url.as_str())];
    let operator = Operator::lead_with(&bed, "idle-first", &right)?;
    let message = look
        .until(
            "reported",
            condition::GPUS_IDLE,
            "True AllIdle",
            WINDOW + PATIENCE,
        )
        .await;
    assert!(
        message.starts_with("all GPUs of its 2 workers, 2, stayed below 5 % for 1m; "),
        "{message}"
    );
    let message = look
        .until("half", condition::GPUS_IDLE, "True SomeIdle", PATIENCE)
        .await;
    assert!(
        message.starts_with(
            "1 of the 2 GPUs of its 2 workers stayed below 5 % for 1m: 1 of worker 0; "
        ),
        "{message}"
    );
    look.until("slice", condition::GPUS_IDLE, "False InUse", PATIENCE)
        .await;
    let message = look
        .until("stopped", condition::FAILED, "True GPUsIdle", PATIENCE)
        .await;
    assert!(
        message.starts_with("all GPUs of its 2 workers, 2, stayed below 5 % for 1m; ")
            && message.ends_with("the attempt was stopped, as spec.idleGPUs.action is Fail"),
        "{message}"
    );
    wait("its pods are gone", PATIENCE, async || {
        look.pods_of("stopped").await.is_empty().then_some(())
    })
    .await;
    let events = kubectl.run(&[
        "get",
        "events.events.k8s.io",
        "-n",
        SPACE,
        "-o",
        "jsonpath={range .items[*]}{.reason} {.regarding.name}{'\\n'}{end}",
    ])?;
    assert!(
        events.lines().any(|line| line == "GPUsIdle reported"),
        "{events}"
    );
    assert!(operator.stop()?.success());

    // A restart writes nothing, however often Prometheus is asked.
    let start = mark(&bed.cluster);
    let operator = Operator::lead_with(&bed, "idle-second", &right)?;
    wait("three answers", PATIENCE, async || {
        asked(&operator, "ok").filter(|count| *count >= 3)
    })
    .await;
    let writes = writes_of(&bed.cluster, "idle-second", start);
    let of_jobs: Vec<_> = writes
        .iter()
        .filter(|write| write.name != "unmeasured")
        .collect();
    assert!(of_jobs.is_empty(), "{of_jobs:?}");

    // Used again, at once.
    tell(60.0);
    look.until("reported", condition::GPUS_IDLE, "True SomeIdle", SEEN)
        .await;

    // What is not known any more is said so, and never a reason to stop.
    drop(prometheus);
    for name in ["half", "reported", "slice", "unmeasured"] {
        look.until(
            name,
            condition::GPUS_IDLE,
            "Unknown PrometheusNotAnswering",
            SEEN + PATIENCE,
        )
        .await;
        assert!(!look.pods_of(name).await.is_empty(), "{name} runs");
        assert_eq!(look.said(name, condition::FAILED).await.0, "", "{name}");
    }
    assert!(asked(&operator, "error").is_some());
    assert!(operator.stop()?.success());
    Ok(())
}

/// How many queries an operator says that it asked, with this outcome.
fn asked(operator: &Operator, outcome: &str) -> Option<u64> {
    let metrics = operator.get("/metrics").ok()?;
    let name = format!("windlass_prometheus_queries_total{{outcome=\"{outcome}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name))?;
    line.parse().ok()
}
