//! Plays the agents in the pods of Jobs, which kwok starts and does not end: each leaves the report that it was told to make.
//!
//! What an agent finds is told from its arguments alone, so that it is the same whoever made its pod, and when.

use anyhow::Result;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::json;
use windlass_api::agent::{
    CheckReport, CheckedInput, DeleteReport, Deleted, DriftReport, EvaluationReport, FailureReason,
    FailureReport, FetchReport, InputTree, Report, TrainingReport, Tree, Verdict, WindowVerdict,
};
use windlass_api::labels;

use super::lives::Life;
use super::seen::changes;
use super::trainings::{INPUT, INPUT_ADDRESS};

/// How a container ends.
struct Ending {
    exit_code: i32,
    report: Report,
}

/// Plays all of them, for as long as it is polled.
pub async fn play(client: Client) {
    let mut changes = changes(watcher(
        Api::<Pod>::all(client.clone()),
        watcher::Config::default(),
    ));
    while let Some((pod, is_there)) = changes.next().await {
        let status = pod.status.as_ref();
        let runs = status.is_some_and(|status| status.phase.as_deref() == Some("Running"));
        if is_there
            && runs
            && pod.metadata.deletion_timestamp.is_none()
            && let Some(ending) = ending(&pod)
            && let Err(error) = end(&client, &pod, &ending).await
        {
            // It may have gone meanwhile, with its attempt or its namespace.
            eprintln!("pod {} was not ended: {error:#}", pod.name_any());
        }
    }
}

async fn end(client: &Client, pod: &Pod, ending: &Ending) -> Result<()> {
    let pods = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let started = pod
        .status
        .as_ref()
        .and_then(|status| status.start_time.clone());
    let message = serde_json::to_string(&ending.report)?;
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let containers: Vec<_> = containers
        .map(|container| {
            json!({
                "name": container.name, "image": container.image, "imageID": "localhost/image@sha256:1", "ready": false,
                "started": false, "restartCount": 0,
                "state": {"running": null, "terminated": {
                    "exitCode": ending.exit_code, "reason": if ending.exit_code == 0 { "Completed" } else { "Error" },
                    "message": message, "startedAt": started, "finishedAt": Timestamp::now(),
                }},
            })
        })
        .collect();
    let phase = if ending.exit_code == 0 {
        "Succeeded"
    } else {
        "Failed"
    };
    let status = json!({"status": {"phase": phase, "containerStatuses": containers}});
    // What the scheduler and kwok said of it stays.
    let patch = Patch::Strategic(status);
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// How the agent of a pod ends, where it does.
fn ending(pod: &Pod) -> Option<Ending> {
    let role = pod.labels().get(labels::ROLE)?;
    let life = Life::of_namespace(&pod.namespace().unwrap_or_default())?;
    let container = pod.spec.as_ref()?.containers.first()?;
    let told = Told(container.args.as_deref()?);
    if role == "serving" || !life.ends(pod) {
        return None;
    }
    let report = match told.0.first()?.as_str() {
        "check" => Report::Check(checked()),
        "run" => return trained(pod, life, &told),
        "evaluate" => Report::Evaluation(evaluated(&told)),
        "digest" => Report::Fetch(FetchReport {
            tree: tree(told.0.get(1)?),
        }),
        "drift" => Report::Drift(compared(&told)?),
        "delete" => Report::Delete(DeleteReport {
            deleted: told.all("--uri").map(deleted).collect(),
        }),
        _ => return None,
    };
    Some(Ending {
        exit_code: 0,
        report,
    })
}

/// What an agent was told.
struct Told<'a>(&'a [String]);

impl Told<'_> {
    fn all(&self, flag: &str) -> impl Iterator<Item = &str> {
        let pairs = self.0.windows(2).filter(move |pair| pair[0] == flag);
        pairs.map(|pair| pair[1].as_str())
    }

    fn one(&self, flag: &str) -> Option<&str> {
        self.all(flag).next()
    }
}

fn tree(uri: &str) -> Tree {
    Tree {
        uri: uri.to_owned(),
        digest: format!("sha256:{}", "d".repeat(64)),
        files: 1,
        bytes: 10,
    }
}

fn deleted(uri: &str) -> Deleted {
    Deleted {
        uri: uri.to_owned(),
        files: 1,
        bytes: 10,
    }
}

fn checked() -> CheckReport {
    CheckReport {
        inputs: vec![CheckedInput {
            name: INPUT.to_owned(),
            tree: tree(INPUT_ADDRESS),
            as_of: None,
            rows: Some(900),
            profile: None,
        }],
        rules: 1,
    }
}

/// The first worker of an attempt that fails ends by its trainer's doing; the others are stopped with it.
fn trained(pod: &Pod, life: Life, told: &Told<'_>) -> Option<Ending> {
    let is_first = pod
        .labels()
        .get("batch.kubernetes.io/job-completion-index")
        .is_some_and(|rank| rank == "0");
    if life.fails_at_first() && told.one("--attempt") == Some("1") {
        return is_first.then(|| Ending {
            exit_code: 1,
            report: Report::Failure(FailureReport {
                reason: FailureReason::TrainerFailed,
                message: "the trainer ended with exit code 1".to_owned(),
                exit_code: Some(1),
                log_tail: "ran out of luck".to_owned(),
                resumed: None,
            }),
        });
    }
    let inputs = told.all("--input").map(|_| InputTree {
        name: INPUT.to_owned(),
        tree: tree(INPUT_ADDRESS),
    });
    Some(Ending {
        exit_code: 0,
        report: Report::Training(TrainingReport {
            inputs: inputs.collect(),
            output: told.one("--output").filter(|_| is_first).map(tree),
            metrics: [("rocAuc".to_owned(), 0.9)].into(),
            resumed: None,
            environment: [("architecture".to_owned(), "x86_64".to_owned())].into(),
        }),
    })
}

fn evaluated(told: &Told<'_>) -> EvaluationReport {
    let output = told.one("--output").unwrap_or_default();
    EvaluationReport {
        verdict: Verdict::Pass,
        message: "every gate holds".to_owned(),
        rows: 900,
        metrics: Vec::new(),
        champion: told.one("--champion-name").map(str::to_owned),
        report: Some(tree(&format!("{output}/report.json"))),
        baseline: Some(tree(&format!("{output}/baseline.json"))),
    }
}

/// The first version drifts, and what is trained for that does not.
fn compared(told: &Told<'_>) -> Option<DriftReport> {
    let time = |flag: &str| told.one(flag)?.parse().ok();
    let has_drifted = told.one("--version")?.ends_with("-1");
    let (verdict, message) = if has_drifted {
        (WindowVerdict::Drifted, "much has moved")
    } else {
        (WindowVerdict::Healthy, "nothing has moved")
    };
    Some(DriftReport {
        verdict,
        message: message.to_owned(),
        start: time("--window-start")?,
        end: time("--window-end")?,
        rows: 900,
        columns: 3,
        drifted: if has_drifted { 3 } else { 0 },
        top: Vec::new(),
        performance: None,
        report: Some(tree(told.one("--output")?)),
    })
}
