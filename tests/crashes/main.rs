//! The operator is killed at each of its writes in the course of a roll-out, before the API server sees it and after it has
//! answered; another is started, and the roll-out has to go on from where it was.
//!
//! ```text
//!   operator ──> Between (kills at write n) ──> API server <── kwok plays nodes and pods
//!        └────── asks the proxies ──> proxies.rs      └── gateway.rs takes routes, seen.rs watches
//! ```
//!
//! Each point has a namespace, an operator and a Lease of its own, so that several are tried beside each other. What each run
//! showed on its way, and all objects in the end, are compared with a run in which nobody was killed; and that one with what
//! `rollouts.rs` says. `make test-crashes` tries every point; otherwise it is some of each roll-out, four times as many of
//! the shortest. `WINDLASS_CRASHES` may be `all`, or how many of each, or one write, such as `gateway:17`;
//! `WINDLASS_CRASH_SEED` chooses others.
//!
//! Events are not compared: one that a crash loses is no reason to do anything again.

#[path = "../support/mod.rs"]
mod support;

mod end;
mod gateway;
mod proxies;
mod rollouts;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::join_all;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use tokio::task::JoinSet;
use windlass_api::{ModelDeployment, condition, is_true};
use windlass_testcluster::programs::Program;
use windlass_testcluster::{Options, Shape};

use end::{End, differences, records};
use rollouts::{NAME, RollOut};
use seen::{Watching, Ways};
use support::between::{Between, Call, Point, When};
use support::operator::Operator;
use support::{Bed, lets_lead_in};

/// How long a roll-out may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);
/// How long it may take after a roll-out is over until all is as it is to be.
const SETTLES: Duration = Duration::from_mins(1);
/// How long nothing is written after a roll-out that is over: longer than anything that it waits for by the clock, the time
/// for which a version is kept apart.
const STILL: Duration = Duration::from_secs(8);
/// The same where it is known what the end is: longer than the operator's pause between two looks.
const STILL_SO: Duration = Duration::from_millis(2500);
/// How many points are tried beside each other.
const AT_ONCE: usize = 8;
/// How many points of a roll-out that is not the shortest are tried, where not all are.
const SOME: usize = 5;
/// How many times as many of the shortest.
const OF_SHORTEST: usize = 4;

/// Everything that runs share.
struct Stage {
    watching: Watching,
    _played: [JoinSet<()>; 2],
    client: Client,
    // It goes down last.
    bed: Arc<Bed>,
}

/// How a run went.
struct Outcome {
    /// At which write the operator was killed, if it came so far.
    killed_at: Option<Call>,
    ways: Ways,
    end: End,
    /// How many writes the operator took.
    writes: usize,
}

/// What came of a point.
struct Tried {
    is_reached: bool,
    /// What was not as it has to be.
    wrong: Option<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roll_out_goes_on_from_where_the_operator_was_killed() -> Result<()> {
    let needed = Program::of(Shape::Kwok).iter();
    for program in needed.chain([&Program::Kubectl, &Program::Traefik]) {
        let path = program.path()?;
        if !path.exists() {
            let path = path.display();
            println!("skipped: {path} is not built; `make programs` builds it");
            return Ok(());
        }
    }
    let (choice, mut random) = (Choice::of_environment()?, StdRng::seed_from_u64(seed()?));
    let options = Options::new("test-crashes", Shape::Kwok).with_pods_on_loopback();
    let bed = Bed::up(options).await?;
    gateway::install(&bed.cluster)?;
    let client = bed.client().await?;
    let watching = Watching::start(&client);
    let proxies = proxies::answer(&client, &watching).await?;
    let mut gateway = JoinSet::new();
    gateway.spawn(gateway::play(client.clone()));
    let stage = Stage {
        watching,
        _played: [proxies, gateway],
        client,
        bed: Arc::new(bed),
    };

    let rollouts = choice.rollouts();
    let undisturbed = stream::iter(&rollouts).map(|rollout| stage.run(*rollout, None));
    let undisturbed: Vec<Result<Outcome>> = undisturbed.buffered(AT_ONCE).collect().await;
    let (mut expected, mut astray) = (BTreeMap::new(), Vec::new());
    for (rollout, outcome) in rollouts.iter().zip(undisturbed) {
        let outcome = outcome.with_context(|| format!("{rollout:?}, nobody killed"))?;
        println!("{rollout:?} takes {} writes", outcome.writes);
        astray.extend(strays(*rollout, &outcome));
        expected.insert(*rollout, outcome);
    }
    assert!(astray.is_empty(), "nobody killed: {}", astray.join("\n"));

    let began = Instant::now();
    let points: Vec<(RollOut, Point)> = expected
        .iter()
        .flat_map(|(rollout, outcome)| {
            let points = choice.points(*rollout, outcome.writes, &mut random);
            points.into_iter().map(|point| (*rollout, point))
        })
        .collect();
    let (all, done) = (points.len(), AtomicUsize::new(0));
    let tried = stream::iter(points).map(|(rollout, point)| {
        let (stage, expected, done) = (&stage, &expected[&rollout], &done);
        async move {
            let tried = stage.try_at(rollout, point, expected).await;
            let number = done.fetch_add(1, Ordering::Relaxed) + 1;
            println!("  {number} of {all} after {:.0?}", began.elapsed());
            tried
        }
    });
    let mut tried: Vec<Tried> = tried.buffer_unordered(AT_ONCE).collect().await;
    if choice == Choice::All {
        // The writes of a roll-out whose operator is killed are not always as many.
        let more = rollouts
            .iter()
            .map(|rollout| stage.beyond(*rollout, &expected[rollout]));
        tried.extend(join_all(more).await.into_iter().flatten());
    }
    let killed = tried.iter().filter(|tried| tried.is_reached).count();
    println!("killed at {killed} points in {:.0?}", began.elapsed());
    let wrong: Vec<String> = tried.into_iter().filter_map(|tried| tried.wrong).collect();
    assert!(
        wrong.is_empty(),
        "{} of {killed} roll-outs did not go on as they have to:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// Which points are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// Every one.
    All,
    /// So many of each, spread over its course, and four times as many of the shortest.
    Some(usize),
    /// Both sides of one write.
    One(RollOut, usize),
}

impl Choice {
    fn of_environment() -> Result<Self> {
        let Ok(asked) = std::env::var("WINDLASS_CRASHES") else {
            return Ok(Self::Some(SOME));
        };
        let choice = match asked.split_once(':') {
            None if asked == "all" => Some(Self::All),
            None => asked.parse().map(Self::Some).ok(),
            Some((word, call)) => RollOut::ALL
                .into_iter()
                .find(|rollout| rollout.word() == word)
                .zip(call.parse().ok())
                .map(|(rollout, call)| Self::One(rollout, call)),
        };
        choice.context("WINDLASS_CRASHES: all, a number, or such as gateway:17")
    }

    /// The roll-outs that there are points of.
    fn rollouts(self) -> Vec<RollOut> {
        match self {
            Self::All | Self::Some(_) => RollOut::ALL.to_vec(),
            Self::One(rollout, _) => vec![rollout],
        }
    }

    /// The points of a roll-out that takes so many writes.
    fn points(self, rollout: RollOut, writes: usize, random: &mut StdRng) -> Vec<Point> {
        let both = |call| [When::Before, When::After].map(|when| Point { call, when });
        let all: Vec<Point> = (1..=writes).flat_map(both).collect();
        match self {
            Self::One(_, call) => both(call).to_vec(),
            Self::Some(some) => {
                let some = if rollout == RollOut::ALL[0] {
                    some * OF_SHORTEST
                } else {
                    some
                };
                // One of each part of its course.
                let parts = all.chunks(all.len().div_ceil(some.max(1)));
                parts
                    .map(|part| part[random.random_range(0..part.len())])
                    .collect()
            }
            Self::All => all,
        }
    }
}

fn seed() -> Result<u64> {
    let seed = std::env::var("WINDLASS_CRASH_SEED").unwrap_or_else(|_| "7".to_owned());
    seed.parse().context("WINDLASS_CRASH_SEED: a number")
}

/// How a roll-out in which nobody is killed goes otherwise than `rollouts.rs` says.
fn strays(rollout: RollOut, outcome: &Outcome) -> Vec<String> {
    let way = |what: &str| outcome.ways.get(what).cloned().unwrap_or_default();
    let mut all = vec![
        ("steps".to_owned(), way("steps"), rollout.steps()),
        ("route".to_owned(), way("route"), rollout.routes()),
        ("pods".to_owned(), way("ready pods"), &["too few", "enough"]),
    ];
    for (number, expected) in (1..).zip(rollout.records()) {
        let version = format!("{NAME}-{number}");
        all.push((
            format!("records of {version}"),
            records(&outcome.end, &version),
            expected,
        ));
    }
    all.into_iter()
        .filter(|(_, found, expected)| found != expected)
        .map(|(what, found, expected)| {
            format!("{rollout:?}, {what}: {found:?}, and not {expected:?}")
        })
        .collect()
}

impl Stage {
    /// Kills the operator at a point of a roll-out, and compares with one in which nobody is killed.
    async fn try_at(&self, rollout: RollOut, point: Point, expected: &Outcome) -> Tried {
        let (is_reached, how, wrong) = match self.run(rollout, Some((point, &expected.end))).await {
            Ok(outcome) => {
                let how = outcome.killed_at.as_ref().map_or_else(
                    || "it did not come so far".to_owned(),
                    |call| format!("killed {:?} {call}", point.when),
                );
                (outcome.killed_at.is_some(), how, wrong(&outcome, expected))
            }
            Err(error) => (
                false,
                "it was not to be seen".to_owned(),
                Some(format!("{error:#}")),
            ),
        };
        let what = format!("{rollout:?}, write {}: {how}", point.call);
        let verdict = wrong
            .as_ref()
            .map_or_else(String::new, |wrong| format!(": WRONG\n{wrong}"));
        println!("{what}{verdict}");
        Tried {
            is_reached,
            wrong: wrong.map(|wrong| format!("{what}\n{wrong}")),
        }
    }

    /// Goes on after the last write of a roll-out in which nobody is killed, until there is none to be killed at.
    async fn beyond(&self, rollout: RollOut, expected: &Outcome) -> Vec<Tried> {
        let mut all = Vec::new();
        for call in expected.writes + 1.. {
            let point = Point {
                call,
                when: When::After,
            };
            let tried = self.try_at(rollout, point, expected).await;
            let is_last = !tried.is_reached;
            all.push(tried);
            if is_last {
                break;
            }
        }
        all
    }

    /// A roll-out from the beginning to the end; where the operator is killed, and what the end is to be.
    async fn run(&self, rollout: RollOut, killed: Option<(Point, &End)>) -> Result<Outcome> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("{}-{number}", rollout.word());
        let objects = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\n{}---\n{}",
            lets_lead_in(&namespace),
            rollout.objects(&namespace)
        );
        let bed = self.bed.clone();
        tokio::task::spawn_blocking(move || bed.cluster.kubectl()?.create(&objects)).await??;
        let client = self.client.clone();
        let point = killed.map(|(point, _)| point);
        let between = Between::start(client, &namespace, Call::is_write, point).await?;
        let operator = Mutex::new(Some(self.operator(&between, &namespace).await?));
        let killed_at = Mutex::new(None);
        let keep_running = self.keep_running(&between, &namespace, &operator, &killed_at);
        let outcome = tokio::select! {
            end = self.follow(&namespace, &between, killed.map(|(_, end)| end)) => end,
            failed = keep_running => failed.map(|never| match never {}),
        };
        let end = outcome.with_context(|| {
            let operator = operator.lock().expect("no holder panics");
            let said = operator.as_ref().map(Operator::said).unwrap_or_default();
            format!("{namespace}; the operator said:\n{said}")
        })?;
        let outcome = Outcome {
            killed_at: killed_at.into_inner().expect("no holder panics"),
            ways: self.watching.of(&namespace).ways,
            end,
            writes: between.calls().len(),
        };
        // Nothing waits for it to be gone.
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces
            .delete(&namespace, &DeleteParams::default())
            .await?;
        Ok(outcome)
    }

    /// Kills the operator once the point is reached, and starts another where one has ended.
    async fn keep_running(
        &self,
        between: &Between,
        namespace: &str,
        operator: &Mutex<Option<Operator>>,
        killed_at: &Mutex<Option<Call>>,
    ) -> Result<Infallible> {
        loop {
            let is_killed = killed_at.lock().expect("no holder panics").is_some();
            tokio::select! {
                call = between.reached(), if !is_killed => {
                    *killed_at.lock().expect("no holder panics") = Some(call?);
                }
                // One that loses its Lease on a busy machine ends, and is started again as its pod would be.
                () = ended(operator) => {}
            }
            let last = operator.lock().expect("no holder panics").take();
            last.context("an operator")?.kill()?;
            between.open();
            let next = self.operator(between, namespace).await?;
            *operator.lock().expect("no holder panics") = Some(next);
        }
    }

    async fn operator(&self, between: &Between, namespace: &str) -> Result<Operator> {
        let (bed, server, namespace) = (self.bed.clone(), between.url(), namespace.to_owned());
        let started =
            move || Operator::lead_by(&bed, &format!("crash-{namespace}"), &server, &namespace);
        tokio::task::spawn_blocking(started).await?
    }

    /// Asks for version 2 once version 1 serves, waits until the roll-out is over and nothing more is done, and returns what
    /// is there then. Where it is not what it is to be for too long, it is returned as it is.
    async fn follow(
        &self,
        namespace: &str,
        between: &Between,
        expected: Option<&End>,
    ) -> Result<End> {
        let status = || self.watching.of(namespace).status;
        let serves = async || {
            status().filter(|status| {
                status.stable.is_some() && is_true(&status.conditions, condition::READY)
            })
        };
        until("version 1 to serve", serves).await?;
        let deployments = Api::<ModelDeployment>::namespaced(self.client.clone(), namespace);
        let patch = Patch::Merge(json!({"spec": {"version": 2}}));
        deployments
            .patch(NAME, &PatchParams::default(), &patch)
            .await?;
        let is_over = async || {
            status().filter(|status| status.last_rollout.is_some() && status.bake.is_none())
        };
        let still = if expected.is_some() { STILL_SO } else { STILL };
        until("the roll-out to be over", is_over).await?;
        let began = Instant::now();
        loop {
            let is_too_long = began.elapsed() > SETTLES;
            if between.quiet() >= still || is_too_long {
                let end = end::end(&self.client, namespace).await?;
                if is_too_long || expected.is_none_or(|expected| end == *expected) {
                    return Ok(end);
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Waits until an operator has ended.
async fn ended(operator: &Mutex<Option<Operator>>) {
    let has_ended = || {
        let operator = operator.lock().expect("no holder panics");
        operator.as_ref().is_some_and(Operator::has_ended)
    };
    while !has_ended() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits for an answer; an error where there is none for too long.
async fn until<T>(what: &str, question: impl AsyncFn() -> Option<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = question().await {
            return Ok(answer);
        }
        ensure!(
            began.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain for {what}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What is not as it was when nobody was killed.
fn wrong(found: &Outcome, expected: &Outcome) -> Option<String> {
    let mut wrong = String::new();
    let ways: BTreeSet<&String> = expected.ways.keys().chain(found.ways.keys()).collect();
    for what in ways {
        let (expected, found) = (expected.ways.get(what), found.ways.get(what));
        if expected != found {
            let _ = write!(wrong, "  {what}:\n    - {expected:?}\n    + {found:?}\n");
        }
    }
    wrong += &differences(&expected.end, &found.end).unwrap_or_default();
    (!wrong.is_empty()).then_some(wrong)
}
