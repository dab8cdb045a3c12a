//! A roll-out that is judged by a query of a real Prometheus: what is no answer holds it, and so does a bad one while the
//! canary has had no request. That bad ones in a row end it otherwise is for the planner's tests.
//!
//! The kubelet's part is played here: pods are said to be ready. No proxy runs, so that no step ever passes.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use windlass_api::{ModelDeployment, condition, find_condition};

use crate::support::operator::Operator;
use crate::support::prometheus::{Exporter, Prometheus};
use crate::support::wait;
use crate::{objects, turn};

const SPACE: &str = "queries";
/// Longer than what is said of a step stands, and than an answer may take.
const PATIENCE: Duration = Duration::from_mins(2);

struct Looking {
    deployments: Api<ModelDeployment>,
    pods: Api<Pod>,
}

impl Looking {
    async fn patch(&self, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let parameters = PatchParams::default();
        let patched = self.deployments.patch("churn", &parameters, &patch);
        patched.await.expect("it is taken");
    }

    /// The roll-out is judged by this query from now on.
    async fn asks(&self, query: &str) {
        self.patch(json!({"rollout": {"analysis": [{
            "metric": "Prometheus", "query": query, "max": "0.01", "interval": "5s", "count": 2,
        }]}}))
        .await;
    }

    /// All pods are ready, as a kubelet says it.
    async fn all_ready(&self) {
        let pods = self.pods.list(&ListParams::default()).await.expect("pods");
        let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        for pod in pods {
            // One may go meanwhile.
            let _ = self
                .pods
                .patch_status(
                    &pod.name_any(),
                    &PatchParams::default(),
                    &Patch::Merge(&ready),
                )
                .await;
        }
    }

    /// Waits until Ready says so, and returns it.
    async fn until_said(&self, part: &str) -> String {
        let is_said = async || {
            self.all_ready().await;
            let status = self.deployments.get("churn").await.ok()?.status?;
            let ready = find_condition(&status.conditions, condition::READY)?;
            ready.message.contains(part).then(|| ready.message.clone())
        };
        wait(&format!("{part:?} to be said"), PATIENCE, is_said).await
    }
}

#[tokio::test]
async fn a_query_that_has_no_answer_holds_a_roll_out_and_bad_answers_are_not_held_against_a_canary_without_requests()
-> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let bed = turn.bed;
    objects::namespace(bed, SPACE).await?;
    let kubectl = bed.cluster.kubectl()?;
    let (exporter, other) = (Exporter::start().await?, Exporter::start().await?);
    let tell = |canary: f64| {
        let of = |version, value| format!("model_errors{{version=\"{version}\"}} {value}\n");
        exporter.tell(of("churn-1", 0.0) + &of("churn-2", canary));
    };
    tell(0.0);
    let prometheus = Prometheus::start(&bed.folder.join("queries"), &exporter, &other)?;
    let client = bed.client().await?;
    let look = Looking {
        deployments: Api::namespaced(client.clone(), SPACE),
        pods: Api::namespaced(client, SPACE),
    };

    // Nobody listens there.
    let wrong = [("WINDLASS_PROMETHEUS_URL", "http://127.0.0.1:1")];
    let operator = Operator::lead_with(bed, "queries-wrong", &wrong)?;
    for number in [1, 2] {
        kubectl.apply(&objects::version(SPACE, "churn", number))?;
    }
    kubectl.apply(&objects::deployment(SPACE, "churn", 1))?;
    look.patch(json!({"rollout": {"steps": [{"weight": 50, "hold": "1s"}]}}))
        .await;
    look.asks("model_errors{version=\"{{ canary }}\"}").await;
    look.until_said("churn-1 serves").await;
    look.patch(json!({"version": 2})).await;
    let said = look
        .until_said("spec.rollout.analysis[0].query has no answer: asking Prometheus")
        .await;
    assert!(said.contains("waits until Prometheus answers"), "{said}");
    assert!(operator.stop()?.success());

    let url = prometheus.url();
    let right = [("WINDLASS_PROMETHEUS_URL", url.as_str())];
    let operator = Operator::lead_with(bed, "queries-right", &right)?;
    for (query, part) in [
        ("model_errors{version=", "is refused by Prometheus: "),
        (
            "model_errors{version=\"{{ stable }}\"} / 0",
            "answers NaN, which is no number",
        ),
        (
            "model_errors{version=\"{{ canary }}\"}",
            "answers 0 (0.01 or less is good), 2 times one after the other",
        ),
    ] {
        look.asks(query).await;
        let said = look.until_said(part).await;
        assert!(said.contains("spec.rollout.analysis[0].query "), "{said}");
        assert!(said.starts_with("churn-2 is tried"), "{said}");
    }
    tell(0.5);
    // What is wrong may be so with the stable version: no request has come to the canary here.
    let said = look.until_said("it is not held against it").await;
    assert!(
        said.contains("answers 0.5 (0.01 or less is good), 2 times one after the other"),
        "{said}"
    );
    assert!(operator.stop()?.success());
    Ok(())
}
