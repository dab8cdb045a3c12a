//! How much is written for one TrainingJob over its life.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::api::Api;
use windlass_api::TrainingJob;
use windlass_testcluster::{Options, Shape};

use crate::shared::figures::{Figure, count, figure, goal};
use crate::shared::objects::{All as _, create, gang, has_ended, worker};
use crate::support::audit::{by_kind, mark, read, writes_of};
use crate::support::operator::Operator;
use crate::support::{Bed, settled, wait};

const USER: &str = "bench-writes";
/// Jobs of each size: every one has to write the same.
const JOBS: usize = 10;

/// Single workers, and gangs of four in a PodGroup, one size after the other.
pub async fn measure(figures: &mut Vec<Figure>) -> Result<()> {
    let options = Options::new("bench-writes", Shape::Kwok).with_audit_log();
    let bed = Bed::up(options).await?;
    let client = bed.client().await?;
    let operator = Operator::lead(&bed, USER)?;
    for (what, replicas, budget) in [("1 worker", 1, 3), ("4 workers, PodGroup", 4, 5)] {
        let namespace = format!("workers-{replicas}");
        bed.namespace(&namespace)?;
        let start = mark(&bed.cluster);
        let api = Api::<TrainingJob>::namespaced(client.clone(), &namespace);
        create(
            &api,
            (0..JOBS).map(|number| gang(number, replicas, &worker())),
        )
        .await?;
        let all_ended = async || {
            let all = api.all().await.ok()?;
            (all.iter().filter(|job| has_ended(job)).count() == JOBS).then_some(())
        };
        wait("the jobs' ends", Duration::from_mins(3), all_ended).await;
        let wrote = async || writes_of(&bed.cluster, USER, start).len();
        settled(Duration::from_secs(5), Duration::from_mins(1), wrote).await;
        let writes = writes_of(&bed.cluster, USER, start);
        let each = count(writes.len()) / count(JOBS);
        figures.push(goal(
            format!("writes: {what}"),
            each,
            "1/job",
            &format!("<= {budget}"),
            writes.len() <= budget * JOBS,
        ));
        for (kind, number) in by_kind(&writes) {
            let each = count(number) / count(JOBS);
            figures.push(figure(format!("writes: {what}: {kind}"), each, "1/job"));
        }
        let events = read(&bed.cluster, start);
        let events = events
            .iter()
            .filter(|write| write.user == USER && write.resource == "events")
            .count();
        figures.push(figure(
            format!("writes: {what}: Events, apart"),
            count(events) / count(JOBS),
            "1/job",
        ));
    }
    ensure!(operator.stop()?.success(), "the operator did not stop well");
    Ok(())
}
