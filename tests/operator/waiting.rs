//! What a person has to mend is said where it is wrong, and holds up nothing else.

use std::time::Duration;

use anyhow::Result;
use kube::ResourceExt;
use windlass_api::condition;

use crate::objects::{self, Looking, PATIENCE};
use crate::support::operator::Operator;
use crate::support::{audit, wait};
use crate::turn;

#[tokio::test]
async fn a_missing_claim_stalls_and_goes_on_when_it_is_there() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "claim");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    let operator = Operator::lead(bed, "claim")?;
    kubectl.apply(&objects::training(
        space,
        "train",
        "  inputs: [{name: rows, uri: 'pvc://rows/2026', format: CSV}]",
    ))?;

    let look = Looking::new(&bed.client().await?, space);
    let (reason, message) = look.until("train", condition::STALLED).await;
    assert_eq!(reason, "VolumeClaimNotFound");
    assert!(
        message.starts_with("spec.inputs[0].uri:") && message.contains("rows"),
        "{message}"
    );
    assert!(
        look.jobs.get_opt("train-1").await?.is_none(),
        "nothing is started without its data"
    );

    kubectl.apply(&format!(
        "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: rows, namespace: {space}}}, \
         spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}}}"
    ))?;
    look.until_job("train-1", None).await;
    look.until("train", condition::RECONCILING).await;
    assert!(operator.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_bad_object_is_told_where_it_is_wrong_and_holds_no_other_up() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "bad");
    objects::namespace(bed, space).await?;
    let good = objects::training(space, "z-good", "");
    let without_command =
        objects::training(space, "a-silent", "").replace(", command: [train]", "");
    let unknown_field =
        objects::training(space, "b-misspelt", "").replace("command:", "commnad: [x], command:");
    let account = objects::training(space, "c-account", "")
        .replace("containers:", "serviceAccountName: nobody, containers:");
    bed.cluster
        .kubectl()?
        .apply(&[without_command, unknown_field, account, good].join("---\n"))?;
    // They are there before the operator is: it finds the bad ones first.
    let operator = Operator::lead(bed, "bad")?;

    let look = Looking::new(&bed.client().await?, space);
    let rows = [
        (
            "a-silent",
            "InvalidTemplate",
            "spec.workers.template.spec.containers[0].command",
        ),
        (
            "b-misspelt",
            "InvalidTemplate",
            "spec.workers.template.spec.containers[0].commnad",
        ),
        (
            "c-account",
            "ServiceAccountNotFound",
            "spec.workers.template.spec.serviceAccountName",
        ),
    ];
    for (name, expected, path) in rows {
        let (reason, message) = look.until(name, condition::STALLED).await;
        assert_eq!(reason, expected, "{name}");
        assert!(message.starts_with(path), "{name}: {message}");
        assert!(
            look.jobs.get_opt(&format!("{name}-1")).await?.is_none(),
            "{name} must not run"
        );
    }
    look.until_job("z-good-1", None).await;
    look.end_pods("z-good-1", 1, "").await?;
    look.until("z-good", condition::COMPLETE).await;
    assert!(operator.stop()?.success());
    Ok(())
}

/// What only the API server knows to be wrong is told in its words, with the field's path.
#[tokio::test]
async fn a_pod_that_the_api_server_refuses_is_told_in_its_words() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "refused");
    objects::namespace(bed, space).await?;
    let operator = Operator::lead(bed, "refused")?;
    let job = objects::training(space, "greedy", "").replace(
        ", command: [train]",
        ", command: [train], resources: {requests: {cpu: 2}, limits: {cpu: 1}}",
    );
    bed.cluster.kubectl()?.apply(&job)?;
    let look = Looking::new(&bed.client().await?, space);
    let (reason, message) = look.until("greedy", condition::STALLED).await;
    assert_eq!(reason, "Refused");
    assert!(
        message.contains("Job refused/greedy-1")
            && message.contains("spec.template.spec.containers[0].resources.requests"),
        "{message}"
    );
    let start = audit::mark(&bed.cluster);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let statuses = audit::writes_of(&bed.cluster, "refused", start)
        .into_iter()
        .filter(|write| write.code < 300)
        .count();
    assert_eq!(statuses, 0, "it is said once, however often it is tried");
    // It would be tried again by the operators of the tests after this one.
    let kubectl = bed.cluster.kubectl()?;
    kubectl.run(&["delete", "trainingjob", "greedy", "-n", space])?;
    assert!(operator.stop()?.success());
    Ok(())
}

/// Another's object of the name that we need stays as it is.
#[tokio::test]
async fn a_service_of_somebody_else_is_not_taken_over() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "taken");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    kubectl.apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: churn, namespace: {space}}}, spec: {{selector: {{app: shop}}, ports: [{{name: web, port: 8080}}]}}}}"
    ))?;
    let look = Looking::new(&bed.client().await?, space);
    let before = look.services.get("churn").await?;
    let operator = Operator::lead(bed, "taken")?;
    kubectl.apply(
        &[
            objects::version(space, "churn", 1),
            objects::deployment(space, "churn", 1),
        ]
        .join("---\n"),
    )?;
    let said = async || {
        let path = "jsonpath={.status.conditions[?(@.type==\"Stalled\")].message}";
        let message = kubectl
            .run(&["get", "md", "churn", "-n", space, "-o", path])
            .ok()?;
        message
            .contains("belongs to somebody else")
            .then_some(message)
    };
    let message = wait("the ModelDeployment to say whose it is", PATIENCE, said).await;
    assert!(message.starts_with("Service taken/churn"), "{message}");
    let after = look.services.get("churn").await?;
    assert_eq!(
        before.metadata.resource_version,
        after.metadata.resource_version
    );

    // Out of the way, it is made.
    kubectl.run(&["delete", "service", "churn", "-n", space])?;
    wait("our own Service", PATIENCE, async || {
        let service = look.services.get_opt("churn").await.ok()??;
        service
            .labels()
            .get("app.kubernetes.io/managed-by")
            .cloned()
    })
    .await;
    assert!(operator.stop()?.success());
    Ok(())
}
