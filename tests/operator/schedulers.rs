//! What schedules gangs may be installed, and taken away, while the operator runs.

use std::time::Duration;

use anyhow::Result;
use windlass_api::condition;

use crate::objects::{self, Looking, PATIENCE};
use crate::support::operator::Operator;
use crate::support::wait;
use crate::turn;

/// The operator asks every half minute.
const FOUND: Duration = Duration::from_mins(2);

/// As much of Volcano's kind as an API server needs.
const PODGROUPS: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: podgroups.scheduling.volcano.sh}
spec:
  group: scheduling.volcano.sh
  scope: Namespaced
  names: {plural: podgroups, singular: podgroup, kind: PodGroup, listKind: PodGroupList}
  versions:
  - name: v1beta1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

#[tokio::test]
async fn a_scheduler_that_comes_later_is_found_and_one_that_goes_is_missed() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "schedulers");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    let operator = Operator::lead(bed, "schedulers")?;
    let gang = |name| {
        let gang = objects::gang(space, name);
        gang.replace("spec:\n", "spec:\n  scheduling: {gang: Volcano}\n")
    };
    kubectl.apply(&gang("early"))?;
    let look = Looking::new(&bed.client().await?, space);
    let (reason, message) = look.until("early", condition::STALLED).await;
    assert_eq!(reason, "GangSchedulerNotFound");
    assert!(
        message.contains("spec.scheduling.gang") && message.contains("install it"),
        "{message}"
    );

    kubectl.apply(PODGROUPS)?;
    let group = || {
        kubectl
            .run(&[
                "get",
                "podgroups.scheduling.volcano.sh",
                "early-1",
                "-n",
                space,
                "-o",
                "jsonpath={.spec.minMember}",
            ])
            .ok()
    };
    let members = wait("the gang's PodGroup", FOUND, async || group()).await;
    assert_eq!(members, "2");
    let job = look.until_job("early-1", None).await;
    let pods = job.spec.and_then(|spec| spec.template.spec);
    let scheduler = pods.and_then(|pods| pods.scheduler_name);
    assert_eq!(scheduler.as_deref(), Some("volcano"));
    wait("the status to say who schedules", PATIENCE, async || {
        let status = look.training_jobs.get("early").await.ok()?.status?;
        (status.scheduling?.gang == "Volcano").then_some(())
    })
    .await;

    // Its attempt runs on without the PodGroup; a gang that is new is told.
    kubectl.run(&["delete", "crd", "podgroups.scheduling.volcano.sh"])?;
    let missed = async || {
        let has_changed = operator
            .said()
            .matches("the cluster serves something else")
            .count()
            == 2;
        (has_changed && operator.leads()).then_some(())
    };
    wait("the operator to miss it", FOUND, missed).await;
    kubectl.apply(&gang("late"))?;
    let (reason, _) = look.until("late", condition::STALLED).await;
    assert_eq!(reason, "GangSchedulerNotFound");
    let kept = look.jobs.get("early-1").await?;
    assert_eq!(
        kept.metadata.uid, job.metadata.uid,
        "nothing is started anew"
    );
    look.end_pods("early-1", 2, "").await?;
    look.until("early", condition::COMPLETE).await;
    assert!(operator.stop()?.success());
    Ok(())
}
