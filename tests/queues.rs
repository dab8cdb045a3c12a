//! The operator with a real Kueue, on fake nodes: jobs wait in a queue, are let in whole, and lose their room to what matters more.

#[path = "support/mod.rs"]
mod support;

use std::time::Duration;

use anyhow::Result;
use kube::api::Api;
use kube::{Client, ResourceExt};
use windlass_api::TrainingJob;
use windlass_testcluster::{Addition, Options, Shape};

use support::operator::Operator;
use support::{Bed, said, wait};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Eight GPUs; who matters more may take them from who matters less.
const QUEUES: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: queues}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: plain}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: gpus}
spec:
  namespaceSelector: {}
  preemption: {withinClusterQueue: LowerPriority}
  resourceGroups:
  - coveredResources: [nvidia.com/gpu]
    flavors:
    - name: plain
      resources:
      - {name: nvidia.com/gpu, nominalQuota: 8}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: team, namespace: queues}
spec: {clusterQueue: gpus}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: urgent}
value: 1000
";

/// Two workers of so many GPUs each in this queue, whose pods run until they are deleted.
fn training(name: &str, queue: &str, gpus: u32, priority: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: TrainingJob\nmetadata: {{name: {name}, namespace: queues}}\nspec:\n  backoffLimit: 0\n\
         \x20 scheduling: {{queueName: {queue}{priority}}}\n  workers:\n    replicas: 2\n    template:\n      metadata: {{annotations: {{testcluster.windlass.dev/stays: \"yes\"}}}}\n      spec:\n        containers:\n\
         \x20       - {{name: trainer, image: none, command: [train], resources: {{limits: {{nvidia.com/gpu: {gpus}}}}}}}\n"
    )
}

async fn until_said(jobs: &Api<TrainingJob>, name: &str, words: &[&str]) {
    said::until_said(jobs, name, words, PATIENCE).await;
}

async fn running_pods(client: &Client, job: &str) -> usize {
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), "queues");
    let all = pods
        .list(&kube::api::ListParams::default())
        .await
        .expect("pods");
    let of_job = all.items.iter().filter(|pod| {
        pod.labels()
            .get("windlass.dev/training-job")
            .map(String::as_str)
            == Some(job)
            && pod.metadata.deletion_timestamp.is_none()
    });
    of_job.count()
}

#[tokio::test]
async fn jobs_wait_in_kueues_queue_and_lose_their_room_to_what_matters_more() -> Result<()> {
    let options = Options::new("queues", Shape::Kwok)
        .with_fake_nodes(4)
        .with(Addition::Kueue);
    let bed = Bed::up(options).await?;
    let kubectl = bed.cluster.kubectl()?;
    wait("the queues are taken", PATIENCE, async || {
        kubectl.apply(QUEUES).ok()
    })
    .await;
    let operator = Operator::lead(&bed, "queues")?;
    let client = bed.client().await?;
    let jobs: Api<TrainingJob> = Api::namespaced(client.clone(), "queues");

    // Let in.
    kubectl.apply(&training("first", "team", 4, ""))?;
    until_said(&jobs, "first", &["Running: attempt 1 is under way"]).await;
    let first = jobs.get("first").await?.status.unwrap_or_default();
    assert_eq!(
        first.scheduling.map(|one| one.gang).as_deref(),
        Some("Kueue")
    );
    assert!(first.attempts[0].admitted.is_some() && first.start_time.is_some());
    wait("its pods", PATIENCE, async || {
        (running_pods(&client, "first").await == 2).then_some(())
    })
    .await;

    // No room; never any room; no such queue. Each in Kueue's own words.
    kubectl.apply(&training("second", "team", 2, ""))?;
    until_said(
        &jobs,
        "second",
        &[
            "Queued: attempt 1, Job second-1, waits in queue team",
            "insufficient unused quota for nvidia.com/gpu",
        ],
    )
    .await;
    kubectl.apply(&training("huge", "team", 6, ""))?;
    until_said(&jobs, "huge", &["QuotaNeverFits", "maximum capacity (8)"]).await;
    kubectl.apply(&training("lost", "nowhere", 1, ""))?;
    until_said(
        &jobs,
        "lost",
        &["QueueNotFound", "LocalQueue nowhere doesn't exist"],
    )
    .await;
    assert_eq!(running_pods(&client, "second").await, 0);
    let second = jobs.get("second").await?.status.unwrap_or_default();
    assert_eq!(
        second.start_time, None,
        "the time in a queue is not the job's"
    );

    // What matters more takes the room: the attempt ends whole, does not count, and the next one waits again.
    kubectl.apply(&training(
        "urgent",
        "team",
        4,
        ", priorityClassName: urgent",
    ))?;
    until_said(&jobs, "urgent", &["Running: attempt 1"]).await;
    until_said(&jobs, "first", &["Queued: attempt 2, Job first-2"]).await;
    let first = jobs.get("first").await?.status.unwrap_or_default();
    assert_eq!((first.attempt, first.failures), (Some(2), 0));
    assert_eq!(first.attempts[0].reason, "Disrupted");
    assert!(
        first.attempts[0]
            .message
            .contains("took back the room of queue team")
    );
    wait(
        "the pods of its first attempt are gone",
        PATIENCE,
        async || (running_pods(&client, "first").await == 0).then_some(()),
    )
    .await;

    // And it comes in again when there is room.
    kubectl.run(&["-n", "queues", "delete", "tj", "urgent", "second"])?;
    until_said(&jobs, "first", &["Running: attempt 2 is under way"]).await;
    // `first` twice, `urgent` once; the others were never let in.
    let waited = "windlass_training_queue_wait_seconds_count{namespace=\"queues\",model=\"\"} 3";
    wait(
        "each time in the queue to be counted",
        PATIENCE,
        async || {
            let metrics = operator.get("/metrics").ok()?;
            metrics.lines().find(|line| *line == waited).map(|_| ())
        },
    )
    .await;
    assert!(operator.stop()?.success());
    Ok(())
}
