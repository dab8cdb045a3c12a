//! What a person has to mend is said where it is wrong, and holds up nothing else.

use anyhow::Result;
use windlass_api::condition;

use crate::objects::{self, Looking};
use crate::support::operator::Operator;
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
