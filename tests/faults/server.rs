//! An API server that is not well, or behind: live objects of each kind go on once it is over, and end as undisturbed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use windlass_api::{ModelDeployment, condition, is_true};

use crate::end::{self, End, differences};
use crate::figures::{Figure, count, figure, goal};
use crate::rollouts::NAME;
use crate::seen::Watching;
use crate::support::befall::Fault;
use crate::support::between::{Between, Call};
use crate::support::operator::Operator;
use crate::support::{Bed, lets_lead_in};
use crate::{is_all, objects, proxies, show, turn};

/// How long until version 1 serves, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long nothing is written once all is as it is to be.
const STILL: Duration = Duration::from_secs(6);
/// How long after a fault all may go on. Beyond it, what was left to do takes as long as it does undisturbed.
const RECOVERY: Duration = Duration::from_secs(10);
/// How long it is waited for beyond that, so as to know how long it does take.
const BEYOND: Duration = Duration::from_mins(2);
/// How many requests a second an operator may send on average while a fault lasts.
const RATE: f64 = 20.0;
/// How many faults are tried beside each other.
const AT_ONCE: usize = 4;

/// What a run suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suffers {
    Nothing,
    /// So many of a hundred requests, or of a hundred events, are befallen for a while.
    Of(Fault, u32),
    /// The operator is killed; the next is told of all changes late.
    RestartLate,
    /// The operator is killed; the next is told at first what was so at the beginning. No API server does so to who asks for
    /// the newest state, as the operator does. This is tried where it is named only, since the end is not always the same: a
    /// TrainingJob that is known to have made a Job, and a Job that is not known yet, look as if somebody had deleted it.
    RestartBehind,
}

impl Suffers {
    /// Of an API server that is not well.
    fn faults() -> Vec<Self> {
        let all = [
            Fault::TooManyRequests,
            Fault::InternalError,
            Fault::Conflict,
            Fault::Gone,
            Fault::Silence,
            Fault::Cut,
            Fault::Slow,
        ];
        let both = all.into_iter().flat_map(|fault| {
            let shares = [20, 100];
            shares.map(|percent| Self::Of(fault, percent))
        });
        both.collect()
    }

    /// Of news that is not what is so.
    fn stale() -> Vec<Self> {
        vec![
            Self::Of(Fault::Late, 100),
            Self::Of(Fault::Lost, 40),
            Self::Of(Fault::Twice, 100),
            Self::RestartLate,
            Self::RestartBehind,
        ]
    }

    fn said(self) -> String {
        match self {
            Self::Nothing => "undisturbed".to_owned(),
            Self::Of(fault, percent) => format!("{fault:?} {percent}%"),
            Self::RestartLate => "restart, late".to_owned(),
            Self::RestartBehind => "restart, behind".to_owned(),
        }
    }
}

/// How a run went.
struct Outcome {
    end: End,
    /// From the end of the fault until all was as it is to be; undisturbed, from its beginning until nothing was written.
    took: Duration,
    /// Requests a second while the fault lasted.
    rate: f64,
    /// How often the operator ended and was started again.
    restarts: usize,
    /// What it said of panics.
    panics: usize,
}

struct Stage {
    bed: Arc<Bed>,
    client: Client,
    watching: Watching,
    _proxies: JoinSet<()>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_go_on_and_end_as_undisturbed_after_an_api_server_was_not_well() -> Result<()> {
    try_all(&Suffers::faults(), Some(RECOVERY)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_end_as_undisturbed_where_news_is_late_lost_doubled_or_old() -> Result<()> {
    try_all(&Suffers::stale(), None).await
}

async fn try_all(all: &[Suffers], recovery: Option<Duration>) -> Result<()> {
    let Some(turn) = turn().await? else {
        return Ok(());
    };
    let client = turn.bed.client().await?;
    let watching = Watching::start(&client);
    let stage = Stage {
        _proxies: play_proxies(&client, &watching).await?,
        bed: turn.bed.clone(),
        client,
        watching,
    };
    let undisturbed = stage.run(Suffers::Nothing, None).await?;
    let mut figures = vec![figure(
        "undisturbed: until all is done",
        undisturbed.took.as_secs_f64(),
        "s",
    )];
    let chosen = chosen(all);
    let runs = stream::iter(chosen).map(|suffers| {
        let (stage, expected) = (&stage, &undisturbed.end);
        async move { (suffers, stage.run(suffers, Some(expected)).await) }
    });
    let runs: Vec<_> = runs.buffered(AT_ONCE).collect().await;
    let mut wrong = Vec::new();
    for (suffers, outcome) in runs {
        let said = suffers.said();
        match outcome {
            Err(error) => wrong.push(format!("{said}: {error:#}")),
            Ok(outcome) => {
                if let Some(differs) = differences(&undisturbed.end, &outcome.end) {
                    wrong.push(format!("{said}: it ended otherwise:\n{differs}"));
                }
                figures.extend(of(&said, &outcome, &undisturbed, recovery));
            }
        }
    }
    let shown = show(figures);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    shown
}

/// Plays the proxies of all pods; a moment later where the test before this one does so still.
async fn play_proxies(client: &Client, watching: &Watching) -> Result<JoinSet<()>> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match proxies::answer(client, watching).await {
            Err(_) if Instant::now() < end => tokio::time::sleep(Duration::from_millis(500)).await,
            playing => return playing,
        }
    }
}

/// All, or where only a part is asked for, one half: the worst of each fault.
fn chosen(all: &[Suffers]) -> Vec<Suffers> {
    let one = std::env::var("WINDLASS_FAULT").ok();
    let is_meant = |suffers: &Suffers| match (suffers, &one) {
        (_, Some(one)) => suffers.said().contains(one.as_str()),
        (Suffers::Of(_, percent), None) => is_all() || *percent != 20,
        (Suffers::Nothing | Suffers::RestartLate, None) => true,
        (Suffers::RestartBehind, None) => false,
    };
    all.iter().copied().filter(is_meant).collect()
}

fn of(
    said: &str,
    outcome: &Outcome,
    undisturbed: &Outcome,
    recovery: Option<Duration>,
) -> Vec<Figure> {
    let took = outcome.took.as_secs_f64();
    let until = format!("{said}: from its end until all is done");
    let until = match recovery {
        Some(recovery) => {
            let most = (undisturbed.took + recovery).as_secs_f64();
            let most_said = format!("<= {most:.0} s, undisturbed and 10 s");
            goal(until, took, "s", &most_said, took <= most)
        }
        None => figure(until, took, "s"),
    };
    let panics = outcome.panics;
    vec![
        until,
        goal(
            format!("{said}: requests a second"),
            outcome.rate,
            "1/s",
            "<= 20 1/s",
            outcome.rate <= RATE,
        ),
        goal(
            format!("{said}: panics"),
            count(panics),
            "1",
            "0",
            panics == 0,
        ),
        figure(
            format!("{said}: restarts of the operator"),
            count(outcome.restarts),
            "1",
        ),
    ]
}

/// How long a fault lasts: longer than a leader holds on without an API server.
fn lasts() -> Duration {
    Duration::from_secs(if is_all() { 15 } else { 12 })
}

/// The operators of a run, one after the other.
struct Operators<'a> {
    stage: &'a Stage,
    between: &'a Between,
    namespace: &'a str,
    now: Option<Operator>,
    said: String,
    restarts: usize,
}

impl Operators<'_> {
    /// Starts another where one has ended, as its pod would be.
    async fn keep(&mut self) -> Result<()> {
        if self.now.as_ref().is_some_and(Operator::has_ended) {
            self.restart().await?;
        }
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        self.end()?;
        self.restarts += 1;
        let (bed, server) = (self.stage.bed.clone(), self.between.url());
        let namespace = self.namespace.to_owned();
        let started = move || Operator::spawn_by(&bed, &user(&namespace), &server, &namespace);
        self.now = Some(tokio::task::spawn_blocking(started).await??);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some(operator) = self.now.take() {
            self.said += &operator.said();
            operator.kill()?;
        }
        Ok(())
    }

    fn panics(&self) -> usize {
        let now = self.now.as_ref().map(Operator::said).unwrap_or_default();
        let of = |said: &str| said.matches("panicked at").count();
        of(&self.said) + of(&now)
    }

    /// Keeps one running for so long.
    async fn run_for(&mut self, time: Duration) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < time {
            self.keep().await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}

fn user(namespace: &str) -> String {
    format!("faults-{namespace}")
}

impl Stage {
    async fn apply(&self, objects: &Value) -> Result<()> {
        let (bed, text) = (self.bed.clone(), objects.to_string());
        tokio::task::spawn_blocking(move || bed.cluster.kubectl()?.apply(&text)).await??;
        Ok(())
    }

    async fn run(&self, suffers: Suffers, expected: Option<&End>) -> Result<Outcome> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("server-{number}");
        let made = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\n{}",
            lets_lead_in(&namespace)
        );
        let bed = self.bed.clone();
        tokio::task::spawn_blocking(move || bed.cluster.kubectl()?.create(&made)).await??;
        self.apply(&objects::before(&namespace)).await?;
        let between = Between::start(self.client.clone(), &namespace, Call::is_write, None).await?;
        let mut operators = Operators {
            stage: self,
            between: &between,
            namespace: &namespace,
            now: None,
            said: String::new(),
            restarts: 0,
        };
        operators.restart().await?;
        operators.restarts = 0;
        let outcome = self.suffer(suffers, expected, &mut operators).await;
        operators.end()?;
        let outcome = outcome.with_context(|| {
            let said: Vec<&str> = operators.said.lines().rev().take(30).collect();
            format!(
                "{namespace}; the operator said at last:\n{}",
                said.join("\n")
            )
        })?;
        // Nothing waits for it to be gone.
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let _ = namespaces
            .delete(&namespace, &DeleteParams::default())
            .await;
        println!("{}: {:.1?}", suffers.said(), outcome.took);
        Ok(outcome)
    }

    async fn suffer(
        &self,
        suffers: Suffers,
        expected: Option<&End>,
        operators: &mut Operators<'_>,
    ) -> Result<Outcome> {
        let (between, namespace) = (operators.between, operators.namespace);
        let began = Instant::now();
        while !self.serves(namespace) {
            ensure!(
                began.elapsed() < PATIENCE,
                "version 1 does not serve within {PATIENCE:?}"
            );
            operators.run_for(Duration::from_millis(200)).await?;
        }
        self.apply(&objects::with_it(namespace)).await?;
        let (began, before) = (Instant::now(), between.requests());
        if let Suffers::Of(fault, percent) = suffers {
            between.befall(Some((fault, percent)));
        }
        let deployments = Api::<ModelDeployment>::namespaced(self.client.clone(), namespace);
        let patch = Patch::Merge(json!({"spec": {"version": 2}}));
        deployments
            .patch(NAME, &PatchParams::default(), &patch)
            .await?;
        match suffers {
            Suffers::Nothing => {}
            Suffers::Of(..) => {
                operators.run_for(lasts()).await?;
                between.befall(None);
            }
            Suffers::RestartLate | Suffers::RestartBehind => {
                operators.run_for(Duration::from_secs(3)).await?;
                between.fall_behind(suffers == Suffers::RestartBehind);
                operators.restart().await?;
                between.befall(Some((Fault::Late, 100)));
                operators.run_for(lasts()).await?;
                between.fall_behind(false);
                between.befall(None);
            }
        }
        let (lasted, requests) = (began.elapsed(), between.requests() - before);
        let rate = count(requests) / lasted.as_secs_f64().max(1.0);
        let over = Instant::now();
        let (end, took) = match expected {
            None => self.settled(operators, over).await?,
            Some(expected) => self.until(expected, operators, over).await?,
        };
        Ok(Outcome {
            end,
            took,
            rate,
            restarts: operators.restarts,
            panics: operators.panics(),
        })
    }

    fn serves(&self, namespace: &str) -> bool {
        let status = self.watching.of(namespace).status;
        status.is_some_and(|status| {
            status.stable.is_some() && is_true(&status.conditions, condition::READY)
        })
    }

    /// What is there once nothing more is written, and how long it took until then.
    async fn settled(
        &self,
        operators: &mut Operators<'_>,
        over: Instant,
    ) -> Result<(End, Duration)> {
        loop {
            operators.run_for(Duration::from_millis(300)).await?;
            let quiet = operators.between.quiet();
            if quiet >= STILL && over.elapsed() > STILL {
                let end = end::end(&self.client, operators.namespace).await?;
                return Ok((end, over.elapsed().saturating_sub(quiet)));
            }
            ensure!(over.elapsed() < PATIENCE, "it does not settle");
        }
    }

    /// Waits until all is as expected, or for too long; what is there then, and how long it took.
    async fn until(
        &self,
        expected: &End,
        operators: &mut Operators<'_>,
        over: Instant,
    ) -> Result<(End, Duration)> {
        loop {
            let end = end::end(&self.client, operators.namespace).await?;
            let took = over.elapsed();
            if end == *expected {
                // And it stays so.
                operators.run_for(STILL / 2).await?;
                return Ok((end::end(&self.client, operators.namespace).await?, took));
            }
            if took > BEYOND {
                return Ok((end, took));
            }
            operators.run_for(Duration::from_millis(300)).await?;
        }
    }
}
