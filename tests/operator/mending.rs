//! What others do to children is seen, and mended.

use anyhow::Result;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use windlass_api::condition;

use crate::objects::{self, Looking, PATIENCE};
use crate::support::operator::Operator;
use crate::support::wait;
use crate::turn;

#[tokio::test]
async fn another_s_edit_of_the_service_is_mended() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "edit");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    let operator = Operator::lead(bed, "edit")?;
    kubectl.apply(
        &[
            objects::version(space, "churn", 1),
            objects::deployment(space, "churn", 1),
        ]
        .join("---\n"),
    )?;

    let look = Looking::new(&bed.client().await?, space);
    let selector = async || look.services.get_opt("churn").await.ok()??.spec?.selector;
    let wanted = wait("the deployment's Service", PATIENCE, selector).await;
    let mut edited = wanted.clone();
    for value in edited.values_mut() {
        "nobody".clone_into(value);
    }
    let edit = json!({"spec": {"selector": edited}});
    look.services
        .patch("churn", &PatchParams::default(), &Patch::Merge(edit))
        .await?;
    wait("the selector as it was", PATIENCE, async || {
        (selector().await? == wanted).then_some(())
    })
    .await;

    look.services
        .delete("churn", &DeleteParams::default())
        .await?;
    wait("the Service again", PATIENCE, async || {
        (selector().await? == wanted).then_some(())
    })
    .await;
    assert!(operator.stop()?.success());
    Ok(())
}

/// A Job that is taken away is a gang that is started again, as the next attempt: never two at once under one name.
#[tokio::test]
async fn a_job_that_somebody_deletes_is_started_again_and_counts_as_no_failure() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "deleted");
    objects::namespace(bed, space).await?;
    let operator = Operator::lead(bed, "deleted")?;
    bed.cluster
        .kubectl()?
        .apply(&objects::training(space, "train", "  backoffLimit: 0"))?;

    let look = Looking::new(&bed.client().await?, space);
    let first = look.until_job("train-1", None).await;
    look.jobs
        .delete("train-1", &DeleteParams::background())
        .await?;
    look.until_job("train-2", first.uid().as_deref()).await;
    look.end_pods("train-2", 1, "").await?;
    look.until("train", condition::COMPLETE).await;
    let status = look
        .training_jobs
        .get("train")
        .await?
        .status
        .unwrap_or_default();
    assert_eq!((status.attempt, status.failures), (Some(2), 0));
    assert!(operator.stop()?.success());
    Ok(())
}

/// Kubernetes' own time to live would take the Job away before its TrainingJob has read it.
#[tokio::test]
async fn a_training_job_goes_when_its_time_is_over_and_takes_along_what_it_made() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "short-lived");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    let operator = Operator::lead(bed, "short-lived")?;
    let job = objects::training(space, "train", "  ttlSecondsAfterFinished: 3");
    kubectl.apply(&[job, objects::training(space, "kept", "")].join("---\n"))?;
    let look = Looking::new(&bed.client().await?, space);
    for name in ["train-1", "kept-1"] {
        let made = look.until_job(name, None).await;
        let lives = made.spec.and_then(|spec| spec.ttl_seconds_after_finished);
        assert_eq!(lives, None, "{name}");
        look.end_pods(name, 1, "").await?;
    }
    look.until("kept", condition::COMPLETE).await;
    let gone = async || {
        let job = look.training_jobs.get_opt("train").await.ok()?;
        let made = look.jobs.get_opt("train-1").await.ok()?;
        (job.is_none() && made.is_none()).then_some(())
    };
    // Kubernetes' collector learns of a new kind within half a minute.
    wait("the job and what it made to go", 3 * PATIENCE, gone).await;
    look.jobs.get("kept-1").await?;
    look.training_jobs.get("kept").await?;
    assert!(operator.stop()?.success());
    Ok(())
}
