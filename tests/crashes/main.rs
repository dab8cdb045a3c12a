//! The operator is killed at each of its writes in the course of a life, before the API server sees it and after it has
//! answered; another is started, and the life has to go on from where it was. A read needs no kill of its own: to die before
//! one is to die after the write before it.
//!
//! ```text
//!   operator ──> Between (kills at write n) ──> API server <── kwok plays nodes and pods, agents.rs what works in them
//!        └────── asks the proxies ──> proxies.rs      └── gateway.rs takes routes, seen.rs watches
//! ```
//!
//! Each point has a namespace, an operator and a Lease of its own, so that several are tried beside each other. What each run
//! showed on its way, and all objects in the end, are compared with a run in which nobody was killed; and that one with what
//! `lives.rs` says. Every record of a decision has to be in what some operator said. `make test-crashes` tries every point;
//! otherwise it is some of each life, more of the shortest roll-out. `WINDLASS_CRASHES` may be `all`, or how many of each, or
//! all of one life, such as `training`, or one write of it, such as `gateway:17`; `WINDLASS_CRASH_SEED` chooses others.
//!
//! Events are not compared: one that a crash loses is no reason to do anything again.

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod agents;
mod deletions;
mod drifts;
mod end;
mod gateway;
mod lives;
mod proxies;
mod rollouts;
mod seen;
mod stage;
mod trainings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use futures::future::join_all;
use futures::{StreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;
use windlass_testcluster::programs::Program;
use windlass_testcluster::{Options, Shape};

use lives::Life;
use seen::Watching;
use stage::{Outcome, Stage, Tried};
use support::Bed;
use support::between::{Point, When};

/// How many points are tried beside each other.
const AT_ONCE: usize = 8;
/// How many points of a life are tried, where not all are; of some it is more, or less.
const SOME: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_goes_on_from_where_the_operator_was_killed() -> Result<()> {
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
    let options = Options::new("test-crashes", Shape::Kwok)
        .with_pods_on_loopback()
        .with_jobs_that_stay();
    let bed = Bed::up(options).await?;
    gateway::install(&bed.cluster)?;
    let client = bed.client().await?;
    let watching = Watching::start(&client);
    let proxies = proxies::answer(&client, &watching).await?;
    let mut others = JoinSet::new();
    others.spawn(gateway::play(client.clone()));
    others.spawn(agents::play(client.clone()));
    let stage = Stage {
        watching,
        _played: [proxies, others],
        client,
        bed: Arc::new(bed),
    };

    let lives = choice.lives();
    let undisturbed = stream::iter(&lives).map(|life| stage.run(*life, None));
    let undisturbed: Vec<Result<Outcome>> = undisturbed.buffered(AT_ONCE).collect().await;
    let (mut expected, mut astray) = (BTreeMap::new(), Vec::new());
    for (life, outcome) in lives.iter().zip(undisturbed) {
        let outcome = outcome.with_context(|| format!("{life:?}, nobody killed"))?;
        println!("{life:?} takes {} writes", outcome.writes);
        astray.extend(strays(*life, &outcome));
        expected.insert(*life, outcome);
    }
    assert!(astray.is_empty(), "nobody killed: {}", astray.join("\n"));

    let began = Instant::now();
    let points: Vec<(Life, Point)> = expected
        .iter()
        .flat_map(|(life, outcome)| {
            let points = choice.points(*life, outcome.writes, &mut random);
            points.into_iter().map(|point| (*life, point))
        })
        .collect();
    let (all, done) = (points.len(), AtomicUsize::new(0));
    let tried = stream::iter(points).map(|(life, point)| {
        let (stage, expected, done) = (&stage, &expected[&life], &done);
        async move {
            let tried = stage.try_at(life, point, expected).await;
            let number = done.fetch_add(1, Ordering::Relaxed) + 1;
            println!("  {number} of {all} after {:.0?}", began.elapsed());
            tried
        }
    });
    let mut tried: Vec<Tried> = tried.buffer_unordered(AT_ONCE).collect().await;
    if matches!(choice, Choice::All | Choice::Each(_)) {
        // The writes of a life whose operator is killed are not always as many.
        let more = lives
            .iter()
            .map(|life| stage.beyond(*life, &expected[life]));
        tried.extend(join_all(more).await.into_iter().flatten());
    }
    let killed = tried.iter().filter(|tried| tried.is_reached).count();
    println!("killed at {killed} points in {:.0?}", began.elapsed());
    let wrong: Vec<String> = tried.into_iter().filter_map(|tried| tried.wrong).collect();
    assert!(
        wrong.is_empty(),
        "{} of {killed} lives did not go on as they have to:\n{}",
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
    /// Every one of a life.
    Each(Life),
    /// So many of each, spread over its course, and more of the shortest.
    Some(usize),
    /// Both sides of one write.
    One(Life, usize),
}

impl Choice {
    fn of_environment() -> Result<Self> {
        let Ok(asked) = std::env::var("WINDLASS_CRASHES") else {
            return Ok(Self::Some(SOME));
        };
        let named = |word: &str| Life::all().into_iter().find(|life| life.word() == word);
        let choice = match asked.split_once(':') {
            None if asked == "all" => Some(Self::All),
            None => match named(&asked) {
                Some(life) => Some(Self::Each(life)),
                None => asked.parse().map(Self::Some).ok(),
            },
            Some((word, call)) => named(word)
                .zip(call.parse().ok())
                .map(|(life, call)| Self::One(life, call)),
        };
        choice.context("WINDLASS_CRASHES: all, a number, the word of a life, or such as gateway:17")
    }

    /// The lives that there are points of.
    fn lives(self) -> Vec<Life> {
        match self {
            Self::All | Self::Some(_) => Life::all(),
            Self::Each(life) | Self::One(life, _) => vec![life],
        }
    }

    /// The points of a life that takes so many writes.
    fn points(self, life: Life, writes: usize, random: &mut StdRng) -> Vec<Point> {
        let both = |call| [When::Before, When::After].map(|when| Point { call, when });
        let all: Vec<Point> = (1..=writes).flat_map(both).collect();
        match self {
            Self::One(_, call) => both(call).to_vec(),
            Self::Some(some) => {
                // One of each part of its course.
                let parts = all.chunks(all.len().div_ceil(life.some(some).max(1)));
                parts
                    .map(|part| part[random.random_range(0..part.len())])
                    .collect()
            }
            Self::All | Self::Each(_) => all,
        }
    }
}

fn seed() -> Result<u64> {
    let seed = std::env::var("WINDLASS_CRASH_SEED").unwrap_or_else(|_| "7".to_owned());
    seed.parse().context("WINDLASS_CRASH_SEED: a number")
}

/// How a life in which nobody is killed goes otherwise than `lives.rs` says.
fn strays(life: Life, outcome: &Outcome) -> Vec<String> {
    let all = life.found(outcome).into_iter();
    let astray =
        all.filter(|(_, found, expected)| found != expected)
            .map(|(what, found, expected)| {
                format!("{life:?}, {what}: {found:?}, and not {expected:?}")
            });
    astray.chain(outcome.lost.iter().cloned()).collect()
}
