//! What can be seen of the operator from outside.

use anyhow::Result;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use windlass_api::condition;

use crate::objects::{self, Looking, PATIENCE};
use crate::support::operator::Operator;
use crate::support::wait;
use crate::turn;

#[tokio::test]
async fn endpoints_answer_logs_are_json_and_events_tell() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "seeing");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    let operator = Operator::lead(bed, "seeing")?;
    kubectl.apply(&objects::training(space, "train", ""))?;
    let look = Looking::new(&bed.client().await?, space);
    look.until_job("train-1", None).await;
    look.until("train", "Reconciling").await;

    for path in ["/livez", "/readyz"] {
        let answer = operator.get(path)?;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"),
            "{path}: {answer}"
        );
    }
    assert!(operator.get("/nothing")?.starts_with("HTTP/1.1 404"));
    let metrics = operator.get("/metrics")?;
    for line in [
        "windlass_leading 1",
        "windlass_writes_total{kind=\"Job\",verb=\"apply\"}",
        "windlass_reconciles_total{kind=\"TrainingJob\",outcome=\"ok\"}",
        "# EOF",
    ] {
        assert!(
            metrics.lines().any(|found| found.starts_with(line)),
            "{line} is not in\n{metrics}"
        );
    }
    let events = kubectl.run(&["get", "events.events.k8s.io", "-n", space, "-o", "jsonpath={range .items[*]}{.reason} {.regarding.kind}/{.regarding.name}: {.note}{'\\n'}{end}"])?;
    assert!(
        events.contains("AttemptStarted TrainingJob/train: started attempt 1"),
        "{events}"
    );

    let said = operator.said();
    assert!(said.lines().count() >= 3, "{said}");
    for line in said.lines() {
        let entry: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        if entry.get("audit").is_some() {
            // On standard output, beside the log.
            assert!(entry["audit"]["decision"]["digest"].is_string(), "{line}");
            continue;
        }
        for field in ["timestamp", "level", "fields", "target"] {
            assert!(entry.get(field).is_some(), "{field} is not in {line}");
        }
        // The shipped rights are enough: nothing was refused.
        assert!(!line.contains("orbidden"), "{line}");
    }
    assert!(operator.stop()?.success());
    Ok(())
}

/// Queue wait stands beside the real Kueue, in `tests/queues.rs`: here is no queue.
#[tokio::test]
async fn metrics_tell_of_trainings_by_namespace_and_model() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "counted");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    let operator = Operator::lead(bed, "counted")?;
    let gang = format!(
        "{}  backoffLimit: 0\n{}\n",
        objects::gang(space, "counted").replace(
            "command: [train]",
            "command: [train], resources: {limits: {nvidia.com/gpu: 4}}"
        ),
        objects::WITH_MODEL
    );
    kubectl.apply(&gang)?;
    let look = Looking::new(&bed.client().await?, space);
    look.until_job("counted-1", None).await;

    // The kubelet is played: each worker of four GPUs got its node at second 0, ran from 30 on, and failed at 90.
    let at = |second: u32| format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
    let selector = ListParams::default().labels("batch.kubernetes.io/job-name=counted-1");
    let made = async || {
        let pods = look.pods.list(&selector).await.ok()?.items;
        (pods.len() == 2).then_some(pods)
    };
    let pods = wait("the pods of the gang", PATIENCE, made).await;
    let ended = json!({"terminated": {"exitCode": 1, "reason": "Error", "startedAt": at(30), "finishedAt": at(90)}});
    let status = json!({"status": {
        "phase": "Failed",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(0)}],
        "containerStatuses": [{"name": "trainer", "image": "busybox", "imageID": "busybox", "ready": false, "started": false, "restartCount": 0, "state": ended}],
    }});
    for pod in &pods {
        let (name, patch) = (pod.name_any(), Patch::Merge(&status));
        look.pods
            .patch_status(&name, &PatchParams::default(), &patch)
            .await?;
    }
    let (reason, message) = look.until("counted", condition::FAILED).await;
    assert_eq!(reason, "TrainerFailed", "{message}");

    let of = "namespace=\"counted\",model=\"churn\"";
    let value = |name: &str| -> Option<f64> {
        let text = operator.get("/metrics").ok()?;
        let start = format!("{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start))?;
        line.parse().ok()
    };
    let attempts = format!("windlass_training_attempts_total{{{of},reason=\"TrainerFailed\"}}");
    wait("the attempt to be counted", PATIENCE, async || {
        value(&attempts)
    })
    .await;
    // Two workers of four GPUs, for ninety seconds.
    for (name, expected) in [
        (attempts, 1.0),
        (
            format!("windlass_training_gpu_seconds_total{{{of}}}"),
            720.0,
        ),
        (format!("windlass_training_run_seconds_count{{{of}}}"), 1.0),
        (
            format!("windlass_training_start_up_seconds_count{{{of}}}"),
            1.0,
        ),
    ] {
        assert_eq!(value(&name), Some(expected), "{name}");
    }
    let text = operator.get("/metrics")?;
    for (name, kind) in [
        ("start_up_seconds", "histogram"),
        ("run_seconds", "histogram"),
        ("attempts", "counter"),
        ("gpu_seconds", "counter"),
    ] {
        let line = format!("# TYPE windlass_training_{name} {kind}");
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(
        !text.contains("windlass_training_queue_wait_seconds_count{"),
        "it stood in no queue"
    );
    assert!(operator.stop()?.success());
    Ok(())
}
