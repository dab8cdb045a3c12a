//! DriftMonitors on the real API server: windows are judged by Jobs, one drift makes one training, and nothing is written
//! while nothing is new. The kubelet's part, and the agent's report, are played here.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use windlass_api::{
    CAUSE, DriftMonitor, ModelDeployment, ModelVersion, TrainingJob, condition, find_condition,
    labels,
};

use crate::objects::{self, PATIENCE};
use crate::support::audit::{self, by_kind, mark, writes_of};
use crate::support::operator::Operator;
use crate::support::{Bed, settled, wait};
use crate::turn;

const MINUTE: Duration = Duration::from_mins(1);
const TRAINING: &str = "{model: churn, validation: {dataset: {uri: 's3://models/holdout', label: churned}, metrics: [{name: rocAuc, min: '0.5'}]}, output: {uri: 's3://models/churn', format: LightGBM}, workers: {template: {spec: {containers: [{name: trainer, image: 'localhost/busybox:test', command: [train]}]}}}}";

fn monitor(space: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: DriftMonitor\nmetadata: {{name: {name}, namespace: {space}}}\n\
         spec:\n  deployment: churn\n{spec}\n"
    )
}

struct Looking {
    monitors: Api<DriftMonitor>,
    trainings: Api<TrainingJob>,
    jobs: Api<Job>,
    pods: Api<Pod>,
}

impl Looking {
    async fn new(bed: &Bed, space: &str) -> Result<Self> {
        let client = bed.client().await?;
        Ok(Self {
            monitors: Api::namespaced(client.clone(), space),
            trainings: Api::namespaced(client.clone(), space),
            jobs: Api::namespaced(client.clone(), space),
            pods: Api::namespaced(client, space),
        })
    }

    /// Waits until a condition of a monitor has this reason, and returns its message.
    async fn until(&self, name: &str, type_: &str, reason: &str) -> String {
        let is_said = async || {
            let status = self.monitors.get(name).await.ok()?.status?;
            let found = find_condition(&status.conditions, type_)?;
            (found.reason == reason).then(|| found.message.clone())
        };
        wait(
            &format!("{type_} of {name} to be {reason}"),
            MINUTE,
            is_said,
        )
        .await
    }

    /// The Jobs of a monitor's windows, oldest first.
    async fn windows(&self, monitor: &str) -> Vec<Job> {
        let selector = ListParams::default().labels(&format!("{}={monitor}", labels::MONITOR));
        let mut jobs = self.jobs.list(&selector).await.expect("jobs").items;
        jobs.sort_by_key(ResourceExt::name_any);
        jobs
    }

    /// Plays the agent in the pods of a monitor's windows that have not ended.
    async fn judge(&self, monitor: &str, verdict: &str) {
        let selector = ListParams::default().labels(&format!("{}={monitor}", labels::MONITOR));
        for pod in self.pods.list(&selector).await.expect("pods") {
            let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
            if phase.as_deref() == Some("Succeeded") {
                continue;
            }
            let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": report(verdict), "finishedAt": "2026-01-01T00:00:01Z", "startedAt": "2026-01-01T00:00:00Z"}});
            let container = json!({"name": "windlass-agent", "image": "agent", "imageID": "agent", "ready": false, "started": false, "restartCount": 0, "state": ended});
            let status =
                json!({"status": {"phase": "Succeeded", "containerStatuses": [container]}});
            // It may have gone meanwhile.
            let _ = self
                .pods
                .patch_status(
                    &pod.name_any(),
                    &PatchParams::default(),
                    &Patch::Merge(status),
                )
                .await;
        }
    }

    /// Plays the agent until something is so.
    async fn judge_until<T>(
        &self,
        what: &str,
        monitors: &[&str],
        verdict: &str,
        is_so: impl AsyncFn() -> Option<T>,
    ) -> T {
        let question = async || {
            for monitor in monitors {
                self.judge(monitor, verdict).await;
            }
            is_so().await
        };
        wait(what, MINUTE, question).await
    }
}

fn report(verdict: &str) -> String {
    let digest = format!("sha256:{}", "d".repeat(64));
    json!({"kind": "Drift", "verdict": verdict, "message": format!("it is {verdict}"), "start": Timestamp::UNIX_EPOCH, "end": Timestamp::UNIX_EPOCH,
        "rows": 900, "columns": 3, "drifted": 1, "top": [{"column": "age", "psi": 0.9, "lower": 0.8, "threshold": 0.2, "drifted": verdict == "Drifted", "moved": "mean 3 → 9"}],
        "report": {"uri": "s3://payloads/churn/drift/1/report.json", "digest": digest, "files": 1, "bytes": 10}})
    .to_string()
}

/// A version that was judged, and serves since a while.
async fn serving(bed: &Bed, space: &str) -> Result<()> {
    objects::namespace(bed, space).await?;
    let kubectl = bed.cluster.kubectl()?;
    kubectl.apply(
        &[
            objects::version(space, "churn", 1),
            objects::deployment(space, "churn", 1),
        ]
        .join("---\n"),
    )?;
    let client = bed.client().await?;
    let digest = format!("sha256:{}", "b".repeat(64));
    let found = json!({"status": {"validation": {"verdict": "Pass", "message": "judged", "rows": 900, "baseline": {"uri": "s3://models/churn/baseline.json", "digest": digest}}}});
    let versions = Api::<ModelVersion>::namespaced(client.clone(), space);
    versions
        .patch_status("churn-1", &PatchParams::default(), &Patch::Merge(found))
        .await?;
    let since = Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let serves = json!({"status": {"stable": {"version": "churn-1", "since": since}}});
    let deployments = Api::<ModelDeployment>::namespaced(client, space);
    deployments
        .patch_status("churn", &PatchParams::default(), &Patch::Merge(serves))
        .await?;
    Ok(())
}

#[tokio::test]
async fn one_drift_that_two_monitors_see_makes_one_training_and_the_version_says_why() -> Result<()>
{
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "drift");
    serving(bed, space).await?;
    let operator = Operator::lead(bed, "drift")?;
    let spec = format!(
        "  window: {{every: 5s, size: 20s, lateness: 1s}}\n  triggerWhen: {{windows: 2}}\n  mode: Suggest\n  retrain: {{template: {{spec: {TRAINING}}}}}"
    );
    let manifests = [monitor(space, "one", &spec), monitor(space, "two", &spec)];
    bed.cluster.kubectl()?.apply(&manifests.join("---\n"))?;

    let look = Looking::new(bed, space).await?;
    let made = async || {
        let made = look
            .trainings
            .list(&ListParams::default())
            .await
            .ok()?
            .items;
        (!made.is_empty()).then_some(made)
    };
    look.judge_until("a training", &["one", "two"], "Drifted", made)
        .await;
    // More windows drift, and nothing more is asked for.
    let before = look.windows("one").await.len();
    let more = async || (look.windows("one").await.len() >= before + 3).then_some(());
    look.judge_until("three more windows", &["one", "two"], "Drifted", more)
        .await;
    let all = made().await.expect("it is there");
    let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["churn-v1-r1"]);
    let job = &all[0];
    assert!(job.spec.suspend, "it is suggested");
    let window = job.spec.window.as_ref().expect("a window");
    let cause = &job.annotations()[CAUSE];
    assert!(
        cause.starts_with(&format!(
            "Drift of churn-1 from {} to {} (sha256:dddd",
            window.start, window.end
        )),
        "{cause}"
    );
    let said = look
        .until("one", condition::RETRAINING, "TrainingSuggested")
        .await;
    assert!(
        said.contains("kubectl patch trainingjob churn-v1-r1 -n drift"),
        "{said}"
    );
    // What a person sees who asks as usual.
    let kubectl = bed.cluster.kubectl()?;
    let wide = kubectl.run(&["get", "driftmonitor", "one", "-n", space, "-o", "wide"])?;
    let columns = [
        "VERDICT",
        "RETRAINING",
        "WINDOW",
        "ROWS",
        "MESSAGE",
        "Drifted",
        "TrainingSuggested",
        "900",
        "it is Drifted",
    ];
    for part in columns {
        assert!(wide.contains(part), "{part} is not in {wide}");
    }
    let described = kubectl.run(&["describe", "driftmonitor", "one", "-n", space])?;
    for part in [said.as_str(), "drift in 2 windows: it is Drifted", "age"] {
        assert!(described.contains(part), "{part} is not in {described}");
    }
    assert!(operator.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn while_windows_say_nothing_new_the_status_is_not_written_and_a_restart_writes_nothing()
-> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "drift-quiet");
    serving(bed, space).await?;
    let operator = Operator::lead(bed, "drift-quiet")?;
    let spec = "  window: {every: 10s, lateness: 1s}\n  mode: Observe";
    bed.cluster
        .kubectl()?
        .apply(&monitor(space, "quiet", spec))?;
    let look = Looking::new(bed, space).await?;
    let written = async || {
        let status = look.monitors.get("quiet").await.ok()?.status?;
        (!status.windows.is_empty()).then_some(())
    };
    look.judge_until("the first window", &["quiet"], "Healthy", written)
        .await;
    let before = mark(&bed.cluster);
    let jobs = look.windows("quiet").await.len();
    let more = async || (look.windows("quiet").await.len() >= jobs + 3).then_some(());
    look.judge_until("three more windows", &["quiet"], "Healthy", more)
        .await;
    let wrote = writes_of(&bed.cluster, &operator.user, before);
    let of_monitor: Vec<_> = wrote
        .into_iter()
        .filter(|write| write.namespace == space && !write.resource.starts_with("modeldeployments"))
        .collect();
    let kinds = by_kind(&of_monitor);
    assert_eq!(kinds.get("patch driftmonitors/status"), None, "{kinds:?}");
    assert!(operator.stop()?.success());

    // From now on no window ends.
    let patch = json!({"spec": {"window": {"every": null, "schedule": "0 0 1 1 *"}}});
    look.monitors
        .patch("quiet", &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    look.judge("quiet", "Healthy").await;
    let operator = Operator::lead(bed, "drift-still")?;
    let seen = async || {
        let monitor = look.monitors.get("quiet").await.ok()?;
        let observed = monitor.status.as_ref()?.observed_generation;
        (observed == monitor.metadata.generation).then_some(())
    };
    wait("the change to be seen", PATIENCE, seen).await;
    settled(Duration::from_secs(12), MINUTE, async || {
        writes_of(&bed.cluster, &operator.user, audit::Mark::default()).len()
    })
    .await;
    assert!(operator.stop()?.success());
    let before = mark(&bed.cluster);
    let operator = Operator::lead(bed, "drift-again")?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let wrote: Vec<_> = writes_of(&bed.cluster, &operator.user, before)
        .into_iter()
        .filter(|write| write.namespace == space)
        .collect();
    assert!(wrote.is_empty(), "{wrote:#?}");
    assert!(operator.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn where_no_ballista_cluster_is_configured_nothing_is_tried_and_it_goes_on_when_one_is()
-> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "drift-engine");
    serving(bed, space).await?;
    let operator = Operator::lead(bed, "drift-engine")?;
    let spec = "  window: {every: 5s, lateness: 1s}\n  mode: Observe\n  engine: Ballista";
    let kubectl = bed.cluster.kubectl()?;
    kubectl.apply(&monitor(space, "large", spec))?;
    let look = Looking::new(bed, space).await?;
    let reason = "EngineNotConfigured";
    let said = look.until("large", condition::STALLED, reason).await;
    let names_field = said.starts_with("spec.engine: ");
    assert!(
        names_field && said.contains(&format!("{space:?}")),
        "{said}"
    );
    let before = mark(&bed.cluster);
    tokio::time::sleep(Duration::from_secs(12)).await;
    let wrote: Vec<_> = writes_of(&bed.cluster, &operator.user, before)
        .into_iter()
        .filter(|write| write.namespace == space && write.resource.starts_with("driftmonitors"))
        .collect();
    assert!(wrote.is_empty(), "{wrote:#?}");
    assert!(look.windows("large").await.is_empty());
    assert!(operator.stop()?.success());

    let address = "ballista://windlass-ballista.drift-engine.svc:50050";
    let clusters = format!("other=ballista://other:50050,{space}={address}");
    let variables = [
        ("WINDLASS_BALLISTA", clusters.as_str()),
        (
            "WINDLASS_BALLISTA_IMAGE",
            "localhost/windlass-ballista:test",
        ),
    ];
    let operator = Operator::lead_with(bed, "drift-engine-on", &variables)?;
    let made = async || look.windows("large").await.into_iter().next();
    let job = wait("a window", MINUTE, made).await;
    let pod = job.spec.and_then(|spec| spec.template.spec).expect("a pod");
    let container = &pod.containers[0];
    let image = container.image.as_deref();
    assert_eq!(image, Some("localhost/windlass-ballista:test"));
    let arguments = container.args.clone().unwrap_or_default().join(" ");
    let told = format!("--engine {address}");
    assert!(arguments.contains(&told), "{arguments}");
    let written = async || {
        let status = look.monitors.get("large").await.ok()?.status?;
        (!status.windows.is_empty()).then_some(())
    };
    look.judge_until("the first window", &["large"], "Healthy", written)
        .await;
    look.until("large", condition::READY, "Healthy").await;
    assert!(operator.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_schedule_that_never_fires_and_a_time_zone_that_is_none_are_named() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "drift-schedules");
    serving(bed, space).await?;
    let operator = Operator::lead(bed, "drift-schedules")?;
    let rows = [
        ("never", "{schedule: '0 0 30 2 *'}", "ScheduleNeverFires"),
        (
            "nowhere",
            "{schedule: '0 6 * * *', timeZone: Mars/Olympus}",
            "TimeZoneUnknown",
        ),
        ("nothing", "{schedule: '0 99 * * *'}", "ScheduleInvalid"),
        (
            "good",
            "{schedule: '0 6 * * MON-FRI', timeZone: Europe/Berlin, size: 24h}",
            "WaitingForWindow",
        ),
    ];
    let manifests: Vec<String> = rows
        .iter()
        .map(|(name, window, _)| {
            monitor(space, name, &format!("  window: {window}\n  mode: Observe"))
        })
        .collect();
    bed.cluster.kubectl()?.apply(&manifests.join("---\n"))?;
    let look = Looking::new(bed, space).await?;
    for (name, _, reason) in rows {
        let said = look.until(name, condition::READY, reason).await;
        let names_field = said.starts_with("spec.window.");
        assert_eq!(names_field, reason != "WaitingForWindow", "{said}");
    }
    assert!(operator.stop()?.success());
    Ok(())
}

/// The alert on windows that nobody judges has to know when they were due.
#[tokio::test]
async fn a_monitor_whose_windows_cannot_be_begun_is_shown_all_the_same() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "drift-refused");
    serving(bed, space).await?;
    let kubectl = bed.cluster.kubectl()?;
    let quota = format!(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: none, namespace: {space}}}\nspec: {{hard: {{count/jobs.batch: '0'}}}}\n"
    );
    kubectl.apply(&quota)?;
    let operator = Operator::lead(bed, "drift-refused")?;
    let spec = "  window: {every: 5s, lateness: 1s}\n  mode: Observe";
    kubectl.apply(&monitor(space, "refused", spec))?;
    let due = format!(
        r#"windlass_drift_window_due_timestamp_seconds{{namespace="{space}",monitor="refused"}}"#
    );
    let shown = async || operator.get("/metrics").ok()?.contains(&due).then_some(());
    wait("when it is due to be shown", PATIENCE, shown).await;
    let look = Looking::new(bed, space).await?;
    assert!(look.windows("refused").await.is_empty(), "it is refused");
    assert!(operator.stop()?.success());
    Ok(())
}

/// Ann may edit; Rita may close a circuit too.
#[tokio::test]
async fn who_closes_a_circuit_says_who_he_is_and_may() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "circuits");
    objects::namespace(bed, space).await?;
    let kubectl = bed.cluster.kubectl()?;
    let bind = |user: &str, role: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {user}, namespace: {space}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\n\
             subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]\n"
        )
    };
    let manifests = [
        bind("ann", "windlass-edit"),
        bind("rita", "windlass-retrain"),
        objects::monitor(space, "churn"),
    ];
    kubectl.apply(&manifests.join("---\n"))?;
    let user = async |name: &str| {
        Ok::<_, anyhow::Error>(Api::<DriftMonitor>::namespaced(
            bed.client_of(name).await?,
            space,
        ))
    };
    let (ann, rita) = (user("ann").await?, user("rita").await?);
    let says = async |who: &Api<DriftMonitor>, annotations: Value| {
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        let said = who.patch("churn", &PatchParams::default(), &patch).await;
        said.err().map(|error| error.to_string())
    };
    let close =
        |by: &str| json!({"windlass.dev/close-circuit": "churn-v1-r3", "windlass.dev/by": by});
    // A policy takes effect a moment after it is there.
    let refused = async || says(&ann, close("ann")).await;
    let message = wait("a refusal", PATIENCE, refused).await;
    assert!(
        message.contains("ann may not say windlass.dev/close-circuit of DriftMonitor churn")
            && message.contains("the ClusterRole windlass-retrain gives"),
        "{message}"
    );
    let message = says(&rita, close("ann")).await.expect("another's name");
    assert!(
        message.contains("must be rita, who writes it, and not ann"),
        "{message}"
    );
    assert_eq!(says(&rita, close("rita")).await, None);
    let message = says(&ann, json!({"windlass.dev/by": "ann"})).await;
    assert!(message.is_some_and(|message| message.contains("was said by another")));
    assert_eq!(says(&ann, json!({"team": "growth"})).await, None);
    Ok(())
}

/// What a monitor's training may use of the budget is bounded by its deadline: Ann may edit, Rita may lengthen it too.
#[tokio::test]
async fn a_training_of_a_monitor_gets_no_longer_deadline_from_one_who_may_not_retrain() -> Result<()>
{
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "deadlines");
    objects::namespace(bed, space).await?;
    let bind = |user: &str, role: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {user}-{role}, namespace: {space}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\n\
             subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]\n"
        )
    };
    let training = |name: &str, labels: &str| {
        format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: TrainingJob\nmetadata: {{name: {name}, namespace: {space}, labels: {labels}}}\n\
             spec: {{suspend: true, activeDeadlineSeconds: 600, workers: {{template: {{spec: {{containers: [{{name: trainer, image: 'localhost/busybox:test', command: [train]}}]}}}}}}}}\n"
        )
    };
    let manifests = [
        bind("ann", "windlass-edit"),
        bind("rita", "windlass-edit"),
        bind("rita", "windlass-retrain"),
        training(
            "asked",
            "{windlass.dev/monitor: churn, windlass.dev/deployment: churn}",
        ),
        training("own", "{}"),
    ];
    // Who makes an object must be one who may run pods as its service account.
    bed.cluster.kubectl()?.apply(&manifests.join("---\n"))?;
    let user = async |name: &str| {
        Ok::<_, anyhow::Error>(Api::<TrainingJob>::namespaced(
            bed.client_of(name).await?,
            space,
        ))
    };
    let (ann, rita) = (user("ann").await?, user("rita").await?);
    let says = async |who: &Api<TrainingJob>, job: &str, patch: Value| {
        let patch = Patch::Merge(patch);
        let said = who.patch(job, &PatchParams::default(), &patch).await;
        said.err().map(|error| error.to_string())
    };
    let deadline = |seconds: Value| json!({"spec": {"activeDeadlineSeconds": seconds}});
    // A policy takes effect a moment after it is there.
    let refused = async || says(&ann, "asked", deadline(json!(601))).await;
    let message = wait("a refusal", PATIENCE, refused).await;
    let expected = "spec.activeDeadlineSeconds: ann may not lengthen what TrainingJob asked may use of the budget of DriftMonitor churn; it takes the verb retrain";
    assert!(message.contains(expected), "{message}");
    assert!(says(&ann, "asked", deadline(Value::Null)).await.is_some());
    for label in ["windlass.dev/monitor", "windlass.dev/deployment"] {
        let message = says(
            &ann,
            "asked",
            json!({"metadata": {"labels": {label: null}}}),
        )
        .await;
        let message = message.expect("a refusal");
        assert!(
            message.contains(
                "may not change what is counted of TrainingJob asked by DriftMonitor churn"
            ),
            "{message}"
        );
    }
    // What takes nothing of the budget anybody may do who may edit; and with a training of his own all.
    assert_eq!(says(&ann, "asked", deadline(json!(500))).await, None);
    assert_eq!(
        says(&ann, "asked", json!({"spec": {"suspend": false}})).await,
        None
    );
    assert_eq!(says(&ann, "own", deadline(json!(6000))).await, None);
    assert_eq!(says(&rita, "asked", deadline(json!(6000))).await, None);
    Ok(())
}

/// Takes what is sent to it over HTTP, and answers that it took it.
fn listen() -> Result<(String, Arc<Mutex<Vec<Value>>>)> {
    let heard = Arc::<Mutex<Vec<Value>>>::default();
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/growth/default", listener.local_addr()?);
    let events = heard.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let events = events.clone();
            std::thread::spawn(move || hear(stream, &events));
        }
    });
    Ok((url, heard))
}

/// The requests of one connection, one after the other.
fn hear(stream: TcpStream, events: &Mutex<Vec<Value>>) {
    let mut answers = stream.try_clone().expect("a socket");
    let mut lines = BufReader::new(stream);
    loop {
        let mut length = 0;
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
            if let Some(given) = line.to_lowercase().strip_prefix("content-length: ") {
                length = given.trim().parse().expect("a length");
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if length == 0 || lines.read_exact(&mut body).is_err() {
            return;
        }
        let event = serde_json::from_slice(&body).expect("JSON");
        events.lock().expect("no holder panics").push(event);
        let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
        answers.write_all(answer).expect("it listens");
    }
}

#[tokio::test]
async fn what_is_found_is_shown_and_told_and_a_monitor_that_goes_is_shown_no_more() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "drift-seen");
    serving(bed, space).await?;
    let (url, heard) = listen()?;
    let operator = Operator::lead_with(bed, "drift-seen", &[("WINDLASS_EVENTS_URL", &url)])?;
    let spec = format!(
        "  window: {{every: 5s, size: 20s, lateness: 1s}}\n  triggerWhen: {{windows: 2}}\n  mode: Suggest\n  retrain: {{template: {{spec: {TRAINING}}}}}"
    );
    bed.cluster
        .kubectl()?
        .apply(&monitor(space, "seen", &spec))?;
    let look = Looking::new(bed, space).await?;
    let shown = async |part: &str| {
        let text = operator.get("/metrics").ok()?;
        text.contains(part).then_some(text)
    };
    let verdict = r#"windlass_drift_window_verdict{namespace="drift-seen",monitor="seen",verdict="Drifted"} 1"#;
    let text = look
        .judge_until(
            "the verdict to be shown",
            &["seen"],
            "Drifted",
            async || shown(verdict).await,
        )
        .await;
    for part in [
        r#"windlass_drift_column_lower{namespace="drift-seen",monitor="seen",column="age",method="PSI"} 0.8"#,
        r#"windlass_drift_retrainings{namespace="drift-seen",monitor="seen",outcome="UnderWay"} 1"#,
        r#"windlass_drift_circuit_open{namespace="drift-seen",monitor="seen"} 0"#,
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let told = async || {
        let events = heard.lock().expect("no holder panics").clone();
        let kinds = events.iter();
        let kinds: Vec<_> = kinds
            .map(|event| event["type"].as_str().unwrap_or_default().to_owned())
            .collect();
        (kinds.len() >= 3).then_some((kinds, events))
    };
    let (kinds, events) = wait("three events", PATIENCE, told).await;
    let kinds: Vec<_> = kinds
        .iter()
        .map(|kind| kind.trim_start_matches("dev.windlass.driftmonitor."))
        .collect();
    assert_eq!(
        kinds,
        ["verdict.changed", "verdict.changed", "training.requested"],
        "Drifting, Drifted: {events:#?}"
    );
    assert_eq!(events[2]["subject"], "churn-v1-r1");

    look.monitors
        .delete("seen", &kube::api::DeleteParams::default())
        .await?;
    let gone = async || {
        let text = operator.get("/metrics").ok()?;
        (!text.contains(r#"monitor="seen""#)).then_some(())
    };
    wait("it to be shown no more", PATIENCE, gone).await;
    assert!(operator.stop()?.success());
    Ok(())
}
