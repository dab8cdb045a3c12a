//! How much is written, and that nothing is where nothing changed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use windlass_api::agent::{Report, TrainingReport, Tree};
use windlass_api::condition;

use crate::objects::{self, Looking};
use crate::support::audit::{self, by_kind, mark, writes_of};
use crate::support::operator::Operator;
use crate::support::settled;
use crate::turn;

const SETTLED: Duration = Duration::from_secs(3);
const MINUTE: Duration = Duration::from_mins(1);

/// All four kinds, in states that differ: running, complete, suspended, stalled, waiting.
#[tokio::test]
async fn restart_with_objects_writes_nothing() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "restart");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    let operator = Operator::lead(bed, "restart-before")?;
    kubectl.apply(
        &[
            objects::training(space, "running", ""),
            objects::gang(space, "gang"),
            objects::training(space, "complete", ""),
            objects::training(space, "suspended", "  suspend: true"),
            objects::training(
                space,
                "stalled",
                "  inputs: [{name: rows, uri: 'pvc://missing/rows', format: CSV}]",
            ),
            objects::version(space, "churn", 1),
            objects::deployment(space, "churn", 1),
            objects::deployment(space, "nothing", 1),
            objects::monitor(space, "churn"),
            objects::monitor(space, "nowhere"),
        ]
        .join("---\n"),
    )?;
    let look = Looking::new(&bed.client().await?, space);
    look.until_job("complete-1", None).await;
    look.end_pods("complete-1", 1, "").await?;
    look.until("complete", condition::COMPLETE).await;
    look.until("stalled", condition::STALLED).await;
    look.until("suspended", condition::SUSPENDED).await;
    settled(SETTLED, MINUTE, async || {
        writes_of(&bed.cluster, &operator.user, audit::Mark::default()).len()
    })
    .await;
    assert!(operator.stop()?.success());

    let before = mark(&bed.cluster);
    let operator = Operator::lead(bed, "restart-after")?;
    let reconciled = async || {
        let text = operator.get("/metrics").unwrap_or_default();
        let counts = text
            .lines()
            .filter(|line| line.starts_with("windlass_reconciles_total"))
            .map(|line| {
                line.rsplit(' ')
                    .next()
                    .and_then(|count| count.parse::<u32>().ok())
            });
        counts.flatten().sum::<u32>()
    };
    // A ModelDeployment is looked at again and again: what counts is that all ten have been.
    crate::support::wait("ten reconciles", MINUTE, async || {
        (reconciled().await >= 10).then_some(())
    })
    .await;
    tokio::time::sleep(SETTLED).await;
    let wrote = writes_of(&bed.cluster, &operator.user, before);
    assert!(
        wrote.is_empty(),
        "a restart over unchanged objects wrote {wrote:#?}"
    );
    assert!(operator.stop()?.success());
    Ok(())
}

/// `design.md`, section 3: 3 writes, and one each for a headless Service and a PodGroup. A model that is registered
/// is one write more, its ModelVersion, whose own status is that kind's budget.
#[tokio::test]
async fn the_writes_of_a_training_job_are_within_its_budget() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "budget");
    objects::namespace(bed, space).await?;
    let operator = Operator::lead(bed, "budget")?;
    let manifests = [
        objects::training(space, "plain", ""),
        objects::gang(space, "gang"),
        objects::training(space, "model", objects::WITH_MODEL),
    ];
    bed.cluster.kubectl()?.apply(&manifests.join("---\n"))?;

    let look = Looking::new(&bed.client().await?, space);
    for (name, workers, message) in [
        ("plain", 1, String::new()),
        ("gang", 2, String::new()),
        ("model", 1, report(&look.place("model").await?)),
    ] {
        let job = format!("{name}-1");
        look.until_job(&job, None).await;
        look.end_pods(&job, workers, &message).await?;
    }
    for name in ["plain", "gang", "model"] {
        look.until(name, condition::COMPLETE).await;
    }
    settled(SETTLED, MINUTE, async || {
        writes_of(&bed.cluster, &operator.user, audit::Mark::default()).len()
    })
    .await;

    let all = writes_of(&bed.cluster, &operator.user, audit::Mark::default());
    let of = |name: &str| -> BTreeMap<String, usize> {
        let mine = [
            name.to_owned(),
            format!("{name}-1"),
            format!("{name}-workers"),
        ];
        by_kind(
            &all.iter()
                .filter(|write| write.namespace == space && mine.contains(&write.name))
                .cloned()
                .collect::<Vec<_>>(),
        )
    };
    let expected = |more: &[&str]| -> BTreeMap<String, usize> {
        let always = [("patch jobs", 1), ("patch trainingjobs/status", 2)];
        always
            .into_iter()
            .chain(more.iter().map(|kind| (*kind, 1)))
            .map(|(kind, count)| (kind.to_owned(), count))
            .collect()
    };
    assert_eq!(of("plain"), expected(&[]));
    assert_eq!(of("gang"), expected(&["patch services", "patch podgroups"]));
    assert_eq!(of("model"), expected(&[]));
    let version: Vec<_> = all
        .iter()
        .filter(|write| write.namespace == space && write.resource.starts_with("modelversions"))
        .cloned()
        .collect();
    assert_eq!(
        by_kind(&version),
        [
            ("create modelversions", 1),
            ("patch modelversions/status", 1)
        ]
        .map(|(kind, count)| (kind.to_owned(), count))
        .into()
    );
    assert!(operator.stop()?.success());
    Ok(())
}

/// What the agent of the first worker leaves behind, of a TrainingJob whose outputs lie below this.
pub fn report(place: &str) -> String {
    let output = Tree {
        uri: format!("{place}/1/model"),
        digest: format!("sha256:{}", "1".repeat(64)),
        files: 1,
        bytes: 10,
    };
    let report = Report::Training(TrainingReport {
        inputs: Vec::new(),
        output: Some(output),
        metrics: BTreeMap::new(),
        resumed: None,
        environment: BTreeMap::new(),
    });
    serde_json::to_string(&report).expect("a report serializes")
}
