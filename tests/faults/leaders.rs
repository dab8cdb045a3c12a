//! Two replicas: how long until the other leads, and that only one ever writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use k8s_openapi::api::batch::v1::Job;
use kube::Client;
use kube::api::Api;
use rustix::process::Signal;
use serde_json::json;

use crate::figures::{count, goal};
use crate::support::audit::{self, Mark};
use crate::support::between::{Between, Call};
use crate::support::operator::Operator;
use crate::support::{Bed, lets_lead_in, wait};
use crate::{objects, show, turn};

/// How long anything may take on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(40);
/// The namespace, and the beginning of the operators' names.
const SPACE: &str = "leaders";

/// Where the replicas of this test are.
struct Place {
    bed: Arc<Bed>,
    client: Client,
    between: Between,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_leads_soon_after_a_stop_a_crash_or_a_freeze_and_only_one_ever_writes() -> Result<()>
{
    let Some(turn) = turn().await? else {
        return Ok(());
    };
    let place = Place::new(turn.bed.clone()).await?;
    let since = audit::mark(&turn.bed.cluster);

    let (first, second) = (place.start(1).await?, place.start(2).await?);
    leads(&first).await;
    place.train("one").await?;
    let stopped = Instant::now();
    let stopping = tokio::task::spawn_blocking(move || first.stop());
    leads(&second).await;
    let after_stop = stopped.elapsed();
    stopping.await??;
    place.train("two").await?;

    let third = place.start(3).await?;
    let killed = Instant::now();
    second.kill()?;
    leads(&third).await;
    let after_crash = killed.elapsed();
    place.train("three").await?;

    let fourth = place.start(4).await?;
    // There is always something that it is about to write.
    place.apply(0..20).await?;
    let frozen = Instant::now();
    third.signal(Signal::STOP)?;
    place.apply(20..40).await?;
    leads(&fourth).await;
    let after_freeze = frozen.elapsed();
    for number in 0..40 {
        place.until_job(&format!("job-{number}")).await;
    }
    third.signal(Signal::CONT)?;
    wait("who was frozen to end", PATIENCE, async || {
        third.has_ended().then_some(())
    })
    .await;
    let astray = astray(&place.bed, since);
    let seconds = |time: Duration| time.as_secs_f64();
    show(vec![
        goal(
            "another leads after SIGTERM",
            seconds(after_stop),
            "s",
            "<= 2 s",
            after_stop <= Duration::from_secs(2),
        ),
        goal(
            "another leads after kill -9",
            seconds(after_crash),
            "s",
            "<= 20 s",
            after_crash <= Duration::from_secs(20),
        ),
        goal(
            "another leads after SIGSTOP",
            seconds(after_freeze),
            "s",
            "<= 20 s",
            after_freeze <= Duration::from_secs(20),
        ),
        goal(
            "writes of one that led, after the next began to",
            count(astray),
            "1",
            "0",
            astray == 0,
        ),
    ])
}

/// How many writes there were of one after whose successor had begun to write.
fn astray(bed: &Bed, since: Mark) -> usize {
    let mut all = audit::read(&bed.cluster, since);
    let prefix = format!("{SPACE}-");
    all.retain(|write| write.counts() && write.user.starts_with(&prefix));
    all.sort_by(|a, b| a.at.cmp(&b.at));
    let mut newest = String::new();
    let mut astray = 0;
    for write in all {
        if write.user < newest {
            println!("astray: {write:?}");
            astray += 1;
        } else {
            newest = write.user;
        }
    }
    assert_eq!(newest, format!("{SPACE}-4"), "the last one wrote as well");
    astray
}

async fn leads(operator: &Operator) {
    let end = Instant::now() + PATIENCE;
    while !operator.leads() {
        assert!(
            Instant::now() < end,
            "{} does not lead; it said:\n{}",
            operator.user,
            operator.said()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Place {
    async fn new(bed: Arc<Bed>) -> Result<Self> {
        let made = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SPACE}}}\n---\n{}",
            lets_lead_in(SPACE)
        );
        bed.cluster.kubectl()?.create(&made)?;
        let client = bed.client().await?;
        let between = Between::start(client.clone(), SPACE, Call::is_write, None).await?;
        Ok(Self {
            bed,
            client,
            between,
        })
    }

    async fn start(&self, number: u32) -> Result<Operator> {
        let (bed, server) = (self.bed.clone(), self.between.url());
        let user = format!("{SPACE}-{number}");
        tokio::task::spawn_blocking(move || Operator::start_by(&bed, &user, &server, SPACE)).await?
    }

    async fn create(&self, names: Vec<String>) -> Result<()> {
        let items: Vec<_> = names
            .iter()
            .map(|name| {
                let mut job = objects::training(name, 1);
                job["metadata"]["namespace"] = json!(SPACE);
                job
            })
            .collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        let bed = self.bed.clone();
        tokio::task::spawn_blocking(move || bed.cluster.kubectl()?.apply(&list)).await??;
        Ok(())
    }

    async fn apply(&self, numbers: std::ops::Range<u32>) -> Result<()> {
        let names = numbers.map(|number| format!("job-{number}"));
        self.create(names.collect()).await
    }

    /// Has a job run, so that who leads has written something.
    async fn train(&self, name: &str) -> Result<()> {
        self.create(vec![name.to_owned()]).await?;
        self.until_job(name).await;
        Ok(())
    }

    async fn until_job(&self, name: &str) {
        let jobs = Api::<Job>::namespaced(self.client.clone(), SPACE);
        let name = format!("{name}-1");
        wait(&format!("Job {name}"), PATIENCE, async || {
            jobs.get_opt(&name).await.ok()?
        })
        .await;
    }
}
