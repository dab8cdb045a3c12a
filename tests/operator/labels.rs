//! A roll-out that is judged by labels, on the real API server: Jobs read them one at a time, what they report decides, and
//! a failing one decides nothing.
//!
//! The kubelet's part and the agent's report are played here. No proxy runs, so that no step ever passes; harm does not wait
//! for requests.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod, ResourceQuota};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use windlass_api::{
    CanaryStatus, ModelDeployment, RolloutOutcome, condition, find_condition, labels,
};

use crate::support::audit::{mark, writes_of};
use crate::support::operator::Operator;
use crate::support::wait;
use crate::{objects, turn};

const SPACE: &str = "labels";
const REFUSED: &str = "labels-refused";
const PATIENCE: Duration = Duration::from_mins(2);

struct Looking {
    deployments: Api<ModelDeployment>,
    pods: Api<Pod>,
    jobs: Api<Job>,
}

impl Looking {
    fn within(namespace: &str, client: &Client) -> Self {
        Self {
            deployments: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            jobs: Api::namespaced(client.clone(), namespace),
        }
    }

    async fn patch(&self, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let parameters = PatchParams::default();
        let patched = self.deployments.patch("churn", &parameters, &patch);
        patched.await.expect("it is taken");
    }

    async fn write(&self, pod: &Pod, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        let name = pod.name_any();
        // It may go meanwhile.
        let parameters = PatchParams::default();
        let _ = self.pods.patch_status(&name, &parameters, &patch).await;
    }

    async fn pods_for(&self, role: &str) -> Vec<Pod> {
        let selector = ListParams::default().labels(&format!("{}={role}", labels::ROLE));
        self.pods.list(&selector).await.expect("pods").items
    }

    /// All pods that serve are ready, as a kubelet says it.
    async fn all_ready(&self) {
        let ready =
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        for pod in self.pods_for("serving").await {
            self.write(&pod, ready.clone()).await;
        }
    }

    /// Pods that read labels end so, where they have not.
    async fn report(&self, exit_code: i32, message: &Value) {
        let phase = if exit_code == 0 {
            "Succeeded"
        } else {
            "Failed"
        };
        for pod in self.pods_for("labels").await {
            let now = pod.status.as_ref().and_then(|status| status.phase.clone());
            if matches!(now.as_deref(), Some("Succeeded" | "Failed")) {
                continue;
            }
            let ended = json!({"terminated": {
                "exitCode": exit_code, "reason": "Ended", "message": message.to_string(),
                "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z",
            }});
            let container = json!({
                "name": "windlass-agent", "image": "agent", "imageID": "agent", "ready": false,
                "started": false, "restartCount": 0, "state": ended,
            });
            self.write(
                &pod,
                json!({"phase": phase, "containerStatuses": [container]}),
            )
            .await;
        }
    }

    async fn jobs(&self) -> Vec<Job> {
        let selector = ListParams::default().labels(&format!("{}=labels", labels::ROLE));
        let jobs = self.jobs.list(&selector).await.expect("jobs").items;
        assert!(jobs.len() <= 1, "one at a time");
        jobs
    }

    async fn status(&self) -> windlass_api::ModelDeploymentStatus {
        let deployment = self.deployments.get("churn").await.expect("it is there");
        deployment.status.unwrap_or_default()
    }

    /// Plays on until something is so.
    async fn until<T>(
        &self,
        what: &str,
        (exit_code, message): (i32, &Value),
        is_so: impl AsyncFn() -> Option<T>,
    ) -> T {
        let question = async || {
            self.all_ready().await;
            self.report(exit_code, message).await;
            is_so().await
        };
        wait(what, PATIENCE, question).await
    }

    async fn canary(&self) -> Option<CanaryStatus> {
        self.status().await.canary
    }
}

/// One step, judged by labels that are read every five seconds.
fn by_labels() -> Value {
    json!({"rollout": {
        "steps": [{"weight": 50, "hold": "1s"}],
        "analysis": [{
            "metric": "LabelledErrorRate", "notWorseThan": "0.01", "interval": "5s",
            "labels": {"uri": "s3://labels/churn", "column": "churned"},
        }],
    }})
}

#[tokio::test]
async fn labels_that_show_harm_take_a_canary_back_and_those_that_cannot_be_read_hold_it()
-> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let bed = turn.bed;
    objects::namespace(bed, SPACE).await?;
    let kubectl = bed.cluster.kubectl()?;
    let client = bed.client().await?;
    let look = Looking::within(SPACE, &client);
    let operator = Operator::lead(bed, "labels")?;
    for number in [1, 2] {
        kubectl.apply(&objects::version(SPACE, "churn", number))?;
    }
    kubectl.apply(&objects::deployment(SPACE, "churn", 1))?;
    look.patch(by_labels()).await;
    let failure = json!({
        "kind": "Failure", "reason": "LabelsUnreadable",
        "message": "the labels: s3://labels/churn: 403 Forbidden",
    });
    let serves = async || look.status().await.stable;
    look.until("a version to serve", (1, &failure), serves)
        .await;
    look.patch(json!({"version": 2})).await;

    // Two looks fail, and it is said where, why and when it is tried again.
    let failed_twice = async || {
        look.jobs().await;
        let status = look.status().await;
        let labelled = status.canary?.labelled?;
        let ready = find_condition(&status.conditions, condition::READY)?;
        let is_said = ready.message.contains("403 Forbidden");
        (labelled.failures == Some(2) && is_said).then(|| ready.message.clone())
    };
    let said = look
        .until("labels to fail twice", (1, &failure), failed_twice)
        .await;
    let part = "spec.rollout.analysis[0].labels cannot be read, and the step waits: LabelsUnreadable: the labels: s3://labels/churn: 403 Forbidden; it is tried again, next at about";
    assert!(said.contains(part), "{said}");
    let events = Api::<Event>::namespaced(client, SPACE);
    let told = events.list(&ListParams::default()).await?.items;
    let told = told
        .iter()
        .filter(|event| event.reason.as_deref() == Some("LabelsNotRead"));
    assert_eq!(told.count(), 1, "once");

    // Then they can be read: the same counts again and again are evidence once.
    let few = json!({"kind": "Labels", "labels": 60, "versions": {
        "churn-2": [[400, 30, 6]], "churn-1": [[400, 30, 3]],
    }});
    let read_thrice = async || {
        look.jobs().await;
        let labelled = look.canary().await?.labelled?;
        (labelled.failures.is_none() && labelled.looks >= 5).then_some(labelled)
    };
    let labelled = look.until("three looks", (0, &few), read_thrice).await;
    let counted = labelled.compared.canary;
    assert_eq!((counted.requests, counted.hits), (30, 6));
    assert!(look.canary().await.is_some(), "that may be chance");

    // More come, of which most of the canary's are wrong.
    let many = |wrong: u64| {
        json!({"kind": "Labels", "labels": 2000, "versions": {
            "churn-2": [[2000, 400 + 30, wrong]], "churn-1": [[2000, 400 + 30, 23]],
        }})
    };
    let decided = async || look.status().await.last_rollout;
    let last = look.until("a decision", (0, &many(306)), decided).await;
    assert_eq!(last.outcome, RolloutOutcome::RolledBack);
    assert!(
        last.message
            .contains("labels call 306/430 predictions wrong against 23/430 of the stable version"),
        "{}",
        last.message
    );
    let gone = async || look.jobs().await.is_empty().then_some(());
    wait("the Jobs to go", PATIENCE, gone).await;
    let stable = look.status().await.stable.expect("it serves");
    assert_eq!(stable.version, "churn-1");
    assert!(operator.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_look_that_is_refused_is_told_and_not_asked_for_all_the_time() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let bed = turn.bed;
    objects::namespace(bed, REFUSED).await?;
    let kubectl = bed.cluster.kubectl()?;
    let client = bed.client().await?;
    let look = Looking::within(REFUSED, &client);
    let operator = Operator::lead(bed, "labels-refused")?;
    for number in [1, 2] {
        kubectl.apply(&objects::version(REFUSED, "churn", number))?;
    }
    kubectl.apply(&objects::deployment(REFUSED, "churn", 1))?;
    look.patch(by_labels()).await;
    let nothing = json!({});
    let serves = async || look.status().await.stable;
    look.until("a version to serve", (0, &nothing), serves)
        .await;
    // As a quota does it that is used up.
    let rule = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-jobs", "namespace": REFUSED},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    });
    kubectl.apply(&rule.to_string())?;
    let quotas = Api::<ResourceQuota>::namespaced(client.clone(), REFUSED);
    let is_counted = async || {
        let quota = quotas.get("no-jobs").await.ok()?;
        quota.status?.hard
    };
    wait("the quota to be counted", PATIENCE, is_counted).await;
    let start = mark(&bed.cluster);
    look.patch(json!({"version": 2})).await;

    let refused = || {
        let writes = writes_of(&bed.cluster, "labels-refused", start);
        let jobs = writes.into_iter().filter(|write| write.resource == "jobs");
        let jobs: Vec<_> = jobs.collect();
        assert!(jobs.iter().all(|write| write.code == 403), "{jobs:?}");
        jobs.len()
    };
    let first = async || (refused() > 0).then_some(());
    look.until("the first to be refused", (0, &nothing), first)
        .await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(refused(), 1, "it is left alone for half a minute");
    let again = async || (refused() > 1).then_some(());
    look.until("it to be tried again", (0, &nothing), again)
        .await;
    let events = Api::<Event>::namespaced(client, REFUSED);
    let told = events.list(&ListParams::default()).await?.items;
    let said = told.iter().filter_map(|event| event.message.as_deref());
    let said: Vec<&str> = said
        .filter(|said| said.contains("exceeded quota"))
        .collect();
    assert!(
        said.iter()
            .any(|said| said.contains("the API server refuses Job")),
        "{said:?}"
    );
    assert!(look.canary().await.is_some(), "it holds up nothing else");
    assert!(operator.stop()?.success());
    Ok(())
}
