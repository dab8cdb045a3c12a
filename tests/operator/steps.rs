//! Steps before the workers, and what another job's steps made.

use std::collections::BTreeMap;

use anyhow::Result;
use windlass_api::agent::{Report, TrainingReport, Tree};
use windlass_api::{StepPhase, StepStatus, condition, labels};

use crate::objects::{self, Looking};
use crate::support::audit::{self, by_kind, writes_of};
use crate::support::operator::Operator;
use crate::turn;

/// Two steps, of which the second reads what the first wrote.
fn pipeline(reuse: &str) -> String {
    let template = "template: {spec: {containers: [{name: trainer, image: localhost/busybox:test, command: [work]}]}}";
    format!(
        "  output: {{uri: 's3://models/churn', format: LightGBM}}\n  steps:\n  \
         - {{name: extract, reuse: {reuse}, {template}}}\n  \
         - {{name: features, inputs: [extract], reuse: {reuse}, {template}}}"
    )
}

#[tokio::test]
async fn steps_run_before_the_workers_and_are_taken_over_by_a_job_that_asks_for_the_same()
-> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "steps");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    let operator = Operator::lead(bed, "steps")?;
    kubectl.apply(&objects::training(space, "first", &pipeline("Never")))?;
    let look = Looking::new(&bed.client().await?, space);

    let extract = look.until_job("first-extract", None).await;
    let labels = extract.metadata.labels.unwrap_or_default();
    assert_eq!(labels[labels::STEP], "extract");
    let (reason, message) = look.until("first", condition::RECONCILING).await;
    assert_eq!(reason, "RunningSteps");
    assert_eq!(message, "0 of 2 steps are complete; extract runs");
    assert!(look.jobs.get_opt("first-features").await?.is_none());
    let place = look.place("first").await?;
    look.end_pods("first-extract", 1, &report(&place, "extract", '1'))
        .await?;
    let features = look.until_job("first-features", None).await;
    assert!(look.jobs.get_opt("first-1").await?.is_none());
    let pods = features.spec.and_then(|spec| spec.template.spec);
    let arguments = pods.and_then(|pods| pods.containers[0].args.clone());
    let arguments = arguments.unwrap_or_default().join(" ");
    let told = format!("--input-digest extract=sha256:{}", "1".repeat(64));
    assert!(arguments.contains(&told), "{arguments}");
    look.end_pods("first-features", 1, &report(&place, "features", '2'))
        .await?;
    look.until_job("first-1", None).await;
    look.end_pods("first-1", 1, "").await?;
    look.until("first", condition::COMPLETE).await;

    let all = writes_of(&bed.cluster, &operator.user, audit::Mark::default());
    let of_first: Vec<_> = all
        .into_iter()
        .filter(|write| write.namespace == space && write.name.starts_with("first"))
        .collect();
    let expected = [("patch jobs", 3), ("patch trainingjobs/status", 4)];
    assert_eq!(
        by_kind(&of_first),
        expected
            .map(|(kind, count)| (kind.to_owned(), count))
            .into()
    );

    // Another job of the same steps runs none of them.
    kubectl.apply(&objects::training(
        space,
        "second",
        &pipeline("IfUnchanged"),
    ))?;
    look.until_job("second-1", None).await;
    let jobs = look.jobs.list(&kube::api::ListParams::default()).await?;
    let steps = jobs.items.iter().filter_map(|job| {
        let labels = job.metadata.labels.as_ref()?;
        labels.get(labels::STEP).map(|_| job.metadata.name.clone())
    });
    assert_eq!(steps.count(), 2, "those of the first");
    let taken = async || {
        let status = look.training_jobs.get("second").await.ok()?.status?;
        (!status.steps.is_empty()).then_some(status.steps)
    };
    let taken: Vec<StepStatus> = crate::support::wait("its steps", objects::PATIENCE, taken).await;
    for step in &taken {
        assert_eq!(step.phase, StepPhase::Reused, "{step:?}");
        assert_eq!(step.reused_from.as_deref(), Some("first"));
    }
    assert!(operator.stop()?.success());
    Ok(())
}

/// What the agent of a step leaves behind.
fn report(place: &str, step: &str, digit: char) -> String {
    let report = Report::Training(TrainingReport {
        inputs: Vec::new(),
        output: Some(Tree {
            uri: format!("{place}/steps/{step}/pod"),
            digest: format!("sha256:{}", digit.to_string().repeat(64)),
            files: 1,
            bytes: 10,
        }),
        metrics: BTreeMap::new(),
        resumed: None,
        environment: BTreeMap::new(),
    });
    serde_json::to_string(&report).expect("a report serializes")
}
