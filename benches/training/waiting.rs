//! Gangs that do not fit: what it costs that they wait.
//!
//! Two nodes hold two workers; each gang has four, in a PodGroup. In the first of three minutes nothing changes. In the
//! others a node without GPUs comes and goes every ten seconds: the scheduler then looks at the pods again, and has
//! something else to say of them, which must not become a write each time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};
use windlass_api::TrainingJob;
use windlass_testcluster::{Options, Shape};

use crate::count::between;
use crate::shared::figures::{Figure, count, figure, goal};
use crate::shared::objects::{All as _, create, gang, job_name};
use crate::support::Bed;
use crate::support::audit::{Write, mark, writes_of};
use crate::support::operator::Operator;

const USER: &str = "bench-waiting";
const NAMESPACE: &str = "waiting";
const WORKERS: usize = 4;
/// How long a gang may take, on its own, until it is said of it that it waits.
const TELLING: Duration = Duration::from_secs(5);
/// How long the last gang may take until it is said of it that it waits.
const PATIENCE: Duration = Duration::from_mins(8);
const MINUTE: Duration = Duration::from_mins(1);
/// A write a minute may come a moment early: the operator reads the clock before it writes.
const WINDOW: f64 = 59.0;

/// So many gangs.
pub async fn measure(gangs: usize, figures: &mut Vec<Figure>) -> Result<()> {
    let options = Options::new("bench-waiting", Shape::Kwok)
        .with_audit_log()
        .with_fake_nodes(2);
    let bed = Bed::up(options).await?;
    let client = bed.client().await?;
    bed.namespace(NAMESPACE)?;
    let operator = Operator::lead(&bed, USER)?;
    let api = Api::<TrainingJob>::namespaced(client, NAMESPACE);
    let said = one(&api).await?;
    figures.push(goal(
        "waiting: one gang, from its creation to what its status says it waits for",
        said.as_secs_f64(),
        "s",
        "<= 5",
        said <= TELLING,
    ));
    let started = Instant::now();
    create(
        &api,
        (0..gangs).map(|number| gang(number, WORKERS, &template())),
    )
    .await?;
    let waiting = until_waiting(&api, gangs).await?;
    figures.push(figure("waiting: gangs of 4", count(gangs), "1"));
    figures.push(goal(
        "waiting: gangs whose status says so",
        count(waiting),
        "1",
        "all",
        waiting == gangs,
    ));
    figures.push(figure(
        "waiting: said of all after",
        started.elapsed().as_secs_f64(),
        "s",
    ));

    for (what, minutes, changes) in [
        ("nothing changes", 1, false),
        ("a node comes and goes", 2, true),
    ] {
        let (start, before, at) = (mark(&bed.cluster), operator.cpu()?, Instant::now());
        wait(&bed, minutes * MINUTE, changes).await?;
        let cpu = operator.cpu()?.checked_sub(before).unwrap_or_default();
        let writes = writes_of(&bed.cluster, USER, start);
        let most = most_in_a_minute(&writes)?;
        figures.push(goal(
            format!("waiting: {what}: most writes of a job in a minute"),
            count(most),
            "1",
            "<= 1",
            most <= 1,
        ));
        let all = count(writes.len()) / count(gangs) / f64::from(minutes);
        figures.push(figure(
            format!("waiting: {what}: writes a job and minute"),
            all,
            "1",
        ));
        figures.push(figure(
            format!("waiting: {what}: operator's CPU"),
            100.0 * cpu.as_secs_f64() / at.elapsed().as_secs_f64(),
            "% core",
        ));
    }
    let jobs = api.all().await?;
    let attempts = jobs.iter().filter(|job| {
        let status = job.status.as_ref();
        status.and_then(|status| status.attempt) != Some(1)
    });
    let repeated = attempts.count();
    figures.push(goal(
        "waiting: gangs that were started anew",
        count(repeated),
        "1",
        "0",
        repeated == 0,
    ));
    ensure!(operator.stop()?.success(), "the operator did not stop well");
    Ok(())
}

fn template() -> Value {
    json!({"spec": {"restartPolicy": "Never", "containers": [{
        "name": "trainer", "image": "localhost/busybox:test", "command": ["train"],
        "resources": {"limits": {"nvidia.com/gpu": "8"}},
    }]}})
}

/// How long one gang takes, alone in the cluster; it is taken away again.
async fn one(api: &Api<TrainingJob>) -> Result<Duration> {
    let name = job_name(0);
    let started = Instant::now();
    create(api, std::iter::once(gang(0, WORKERS, &template()))).await?;
    let waits = |job: TrainingJob| job.status.is_some_and(|status| status.waiting.is_some());
    while !waits(api.get(&name).await?) && started.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let said = started.elapsed();
    api.delete(&name, &DeleteParams::foreground()).await?;
    while api.get_opt(&name).await?.is_some() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(said)
}

/// Waits until the status of every gang says what it waits for, or as long as is bearable.
async fn until_waiting(api: &Api<TrainingJob>, gangs: usize) -> Result<usize> {
    let started = Instant::now();
    loop {
        let jobs = api.all().await?;
        let waits = jobs.iter().filter(|job| {
            let status = job.status.as_ref();
            status.is_some_and(|status| status.waiting.is_some())
        });
        let waiting = waits.count();
        eprintln!("{waiting} of {gangs} gangs are said to wait");
        if waiting >= gangs || started.elapsed() > PATIENCE {
            return Ok(waiting);
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

/// Lets time pass, in which nothing changes, or a node comes and goes.
async fn wait(bed: &Bed, time: Duration, changes: bool) -> Result<()> {
    let started = Instant::now();
    let kubectl = bed.cluster.kubectl()?;
    let mut is_there = false;
    while started.elapsed() < time {
        if changes && is_there {
            kubectl.run(&["delete", "node", "passing", "--wait=false"])?;
        } else if changes {
            kubectl.create(NODE)?;
        }
        is_there = !is_there;
        let left = time.checked_sub(started.elapsed()).unwrap_or_default();
        tokio::time::sleep(left.min(Duration::from_secs(10))).await;
    }
    Ok(())
}

const NODE: &str = "\
apiVersion: v1
kind: Node
metadata: {name: passing, annotations: {kwok.x-k8s.io/node: fake}, labels: {kubernetes.io/hostname: passing}}
status:
  capacity: {cpu: '64', memory: 512Gi, pods: '250'}
  allocatable: {cpu: '64', memory: 512Gi, pods: '250'}
";

/// The most that was written of one TrainingJob, or of anything that belongs to it, within a minute.
fn most_in_a_minute(writes: &[Write]) -> Result<usize> {
    let mut times: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for write in writes {
        // Jobs and PodGroups have the TrainingJob's name and the attempt.
        let name = write.name.get(..9).unwrap_or(&write.name);
        times.entry(name).or_default().push(&write.at);
    }
    let mut most = 0;
    for of_job in times.values_mut() {
        of_job.sort_unstable();
        for (from, first) in of_job.iter().enumerate() {
            let mut within = 0;
            for at in &of_job[from..] {
                within += usize::from(between(first, at)? < WINDOW);
            }
            most = most.max(within);
        }
    }
    Ok(most)
}
